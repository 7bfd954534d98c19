//! Requests that wait at a group of their own: given to it on arrival, and run there.

use super::{Machine, Place, Placed};
use crate::rules::{in_time, least};
use crate::times::Replica;
use crate::{Action, Admission, Dispatch, Reason};
use statmux_core::{GroupId, ModelId, Request, Time};

impl Machine {
    /// Gives `request` to a group, where it starts at once or waits.
    pub(super) fn wait_at_group(&mut self, now: Time, request: Request, has_room: bool) -> Result<Placed, Reason> {
        let replica = self.dispatch(now, request.model).ok_or(Reason::NoReplica)?;
        let spans = self.times.row(replica, 0);
        let state = &mut self.groups[replica.group.index()];
        debug_assert!(!self.in_order || !state.is_idle() || state.owes_nothing());
        let finish = if self.in_order {
            state.finish_if_last(now, replica.slot, spans)
        } else {
            state.finish_if_next(now, replica.slot, spans)
        };
        let answer = finish + self.settings.fixed_overhead;
        if self.settings.admission == Admission::Deadline && !in_time(request.arrived, answer, request.slo()) {
            return Err(Reason::TooLate { predicted: answer });
        }
        let starts = state.is_idle();
        if !starts && !has_room {
            return Err(Reason::QueueFull);
        }
        if self.in_order {
            state.promise(now, replica.slot, spans);
        }
        if starts {
            // Nothing waits at an idle group, or it would run.
            return Ok(Placed::Starts(replica));
        }
        let rank = self.queue_at(now, replica, request);
        Ok(Placed::Waits(Place::At(replica.group), rank, None))
    }

    /// The replica whose living group takes an arrival for `model`.
    fn dispatch(&self, now: Time, model: ModelId) -> Option<Replica> {
        let Self { settings, times, groups, in_order, .. } = self;
        if let &[only] = times.replicas(model) {
            return groups[only.group.index()].alive.then_some(only);
        }
        let alive = times.replicas(model).iter().copied().filter(|replica| groups[replica.group.index()].alive);
        match settings.dispatch {
            Dispatch::LeastClock => least(alive, |replica| groups[replica.group.index()].last_clock(*in_order)),
            Dispatch::ShortestQueue => least(alive, |replica| groups[replica.group.index()].in_flight),
            Dispatch::EarliestFinish | Dispatch::LateBinding => least(alive, |replica| {
                groups[replica.group.index()].finish_if_given(now, replica.slot, times.row(replica, 0), *in_order)
            }),
        }
    }

    pub(super) fn launch_from_group(&mut self, now: Time, group: GroupId, actions: &mut Vec<Action>) {
        let index = group.index();
        while let Some(&(_, head)) = self.groups[index].queue.get(0) {
            let several;
            let alone = self.settings.max_batch <= 1 || self.groups[index].queue.len() == 1;
            let candidates: &[usize] = if alone || self.apart.contains_key(&head.id) {
                &[0]
            } else {
                several = self.together(&self.groups[index].queue, 0, head.model);
                &several
            };
            let replica = self.times.awaited(group, head.model);
            if let Some(fit) = self.fit(now, replica, &self.groups[index].queue, candidates) {
                return self.launch(now, replica, Place::At(group), &candidates[..fit.size], fit.row, actions);
            }
            let predicted = self.answer_if_next(now, replica);
            self.leave(Place::At(group), 0);
            actions.push(Action::Reject(head.id, Reason::TooLate { predicted }));
            if self.in_order {
                self.groups[index].renew_promises(now, group, &self.times);
            }
        }
    }
}
