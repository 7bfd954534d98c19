//! Groups that die and come back, and batches that fail for one of their members.
//!
//! What took a group down is not to take down another. A batch that was on the lost stage has cost its group: each
//! of its members may run again while that is no more than [`Settings::retries_after_loss`](crate::Settings). Beyond
//! that, one that was alone is refused, and of several, of which one at most is to blame, each runs again by itself,
//! and nowhere but on the group that they cost already. Whatever else was on the group runs elsewhere, or waits for
//! the group where no other can take it.

use super::{Machine, Origin, Place};
use crate::group::OnTime;
use crate::{Action, Dispatch, Feedback, Loss, Reason};
use statmux_core::{BatchId, GroupId, ModelId, Request, RequestId, Span, Time};

impl Machine {
    pub(super) fn lost(&mut self, now: Time, loss: Loss, actions: &mut Vec<Action>) {
        let Loss { group, culprit, returns } = loss;
        let Some(state) = self.groups.get_mut(group.index()) else { return };
        let news = state.alive || state.returns != returns;
        state.returns = returns;
        if !news {
            return;
        }
        let queued = state.queue.len();
        let (guilty, mut innocent) = state.lose(culprit);
        self.waiting -= queued;
        innocent.sort_unstable_by_key(|request| (request.arrived, request.id));
        for request in innocent {
            self.move_on(now, group, request, actions);
        }
        if let Some(guilty) = guilty {
            let guilty = guilty.as_slice();
            for &request in guilty {
                let cost = self.apart.entry(request.id).or_insert(0);
                *cost += 1;
                if *cost > self.settings.retries_after_loss && guilty.len() == 1 {
                    actions.push(Action::Reject(request.id, Reason::CostGroup));
                } else {
                    self.move_on(now, group, request, actions);
                }
            }
        }
        if self.settings.dispatch == Dispatch::LateBinding {
            self.refuse_orphans(actions);
        }
    }

    /// Finds a place for `request`, which ran on `lost` or waited there.
    fn move_on(&mut self, now: Time, lost: GroupId, request: Request, actions: &mut Vec<Action>) {
        let waits_at = if self.is_confined(request.id) {
            self.groups[lost.index()].returns.then_some(lost)
        } else if self.times.holders(request.model).iter().any(|group| self.groups[group.index()].alive) {
            return self.admit(now, request, Origin::LostGroup, actions);
        } else {
            let held = self.times.holders(request.model).iter().copied();
            std::iter::once(lost).chain(held).find(|group| self.groups[group.index()].returns)
        };
        match waits_at {
            Some(group) => self.wait_for_return(now, group, request),
            None => actions.push(Action::Reject(request.id, Reason::GroupLost)),
        }
    }

    /// Queues `request` at `group`, which is down; when that will run it, nobody knows.
    fn wait_for_return(&mut self, now: Time, group: GroupId, request: Request) {
        let replica = self.times.awaited(group, request.model);
        let rank = self.queue_at(now, replica, request);
        self.note_expiry(request, Place::At(group), rank);
    }

    /// Late binding: refuses what waits for a model of which no group is up or expected back.
    fn refuse_orphans(&mut self, actions: &mut Vec<Action>) {
        for index in 0..self.central.len() {
            let mut holders = self.times.holders(ModelId::from_index(index)).iter().map(|group| group.index());
            if !holders.any(|group| self.groups[group].alive || self.groups[group].returns) {
                self.waiting -= self.central[index].len();
                actions
                    .extend(self.central[index].drain().map(|request| Action::Reject(request.id, Reason::GroupLost)));
            }
        }
    }

    pub(super) fn restored(&mut self, now: Time, group: GroupId, actions: &mut Vec<Action>) {
        let Some(state) = self.groups.get_mut(group.index()).filter(|state| !state.alive) else { return };
        state.restore(now);
        self.after_drift(now, group, OnTime::No);
        self.launch_next(now, group, actions);
        for request in self.stranded(group) {
            self.admit(now, request, Origin::LostGroup, actions);
        }
    }

    /// Takes what waits for groups that are still down and could run on `group`, in order of arrival.
    fn stranded(&mut self, group: GroupId) -> Vec<Request> {
        let mut stranded = Vec::new();
        for index in 0..self.groups.len() {
            let mut position = 0;
            while !self.groups[index].alive
                && let Some(&(_, request)) = self.groups[index].queue.get(position)
            {
                if self.is_confined(request.id) || self.times.replica(group, request.model).is_none() {
                    position += 1;
                } else {
                    stranded.push(self.leave(Place::At(GroupId::from_index(index)), position));
                }
            }
        }
        stranded.sort_unstable_by_key(|request| (request.arrived, request.id));
        stranded
    }

    /// Takes a batch out of its group's pipeline, and lets each of its members run by itself.
    pub(super) fn split(&mut self, now: Time, group: GroupId, batch: BatchId, actions: &mut Vec<Action>) {
        let Some(state) = self.groups.get_mut(group.index()) else { return };
        let finished = state.finished(now, batch, Span::ZERO, Feedback::Off, self.times.group(group));
        let Some((done, on_time)) = finished else { return };
        self.after_drift(now, group, on_time);
        match done.requests.as_slice() {
            // There is nothing to split.
            [only] => actions.push(Action::Complete(only.id)),
            several => {
                for &request in several {
                    self.apart.entry(request.id).or_insert(0);
                    self.admit(now, request, Origin::SplitBatch, actions);
                }
            }
        }
        self.launch_next(now, group, actions);
    }

    /// Whether `id` may run only where it cost a group already.
    fn is_confined(&self, id: RequestId) -> bool {
        self.apart.get(&id).is_some_and(|&cost| cost > self.settings.retries_after_loss)
    }
}
