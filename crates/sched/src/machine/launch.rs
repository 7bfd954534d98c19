//! How what waits comes to run: the batch that fits, and its start.

use super::{Machine, Place};
use crate::batching::{companions, largest_in_time};
use crate::group::Launch;
use crate::queue::Queue;
use crate::times::Replica;
use crate::{Action, Admission, Batch, Dispatch, Members};
use statmux_core::{BatchId, GroupId, ModelId, Request, Time};

/// A batch that can be launched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fit {
    /// Its row of stage times.
    pub(super) row: usize,
    /// How many of the candidates are in it, the first of them first.
    pub(super) size: usize,
}

impl Machine {
    /// Launches the most urgent request that `group` can still answer in time, with companions, if its first
    /// stage is free; refuses what it comes across that nobody can answer in time any more.
    pub(super) fn launch_next(&mut self, now: Time, group: GroupId, actions: &mut Vec<Action>) {
        if !self.groups[group.index()].is_idle() {
            return;
        }
        // Under late binding, only what may run nowhere else waits at a group.
        self.launch_from_group(now, group, actions);
        if self.settings.dispatch == Dispatch::LateBinding && self.groups[group.index()].is_idle() {
            self.launch_from_central(now, group, actions);
        }
    }

    /// Positions in `queue`, from `first` on, of the most urgent requests for `model` that may run together.
    pub(super) fn together(&self, queue: &Queue, first: usize, model: ModelId) -> Vec<usize> {
        companions(queue, first, self.settings.max_batch as usize, |request| {
            request.model == model && !self.apart.contains_key(&request.id)
        })
    }

    /// The largest batch of the requests at positions `candidates` of `queue` that can be answered in time if it starts
    /// now on `replica`. Without admission control, the largest batch.
    pub(super) fn fit(&self, now: Time, replica: Replica, queue: &Queue, candidates: &[usize]) -> Option<Fit> {
        let unlimited = self.settings.admission == Admission::None;
        let deadline = |&position: &usize| {
            let (_, request) = queue.get(position).expect("a candidate is in the queue");
            if unlimited { Time::NEVER } else { request.deadline }
        };
        let deadlines: Vec<Time>;
        let single;
        let deadlines: &[Time] = if let [only] = candidates {
            single = [deadline(only)];
            &single
        } else {
            deadlines = candidates.iter().map(deadline).collect();
            &deadlines
        };
        let rows = self.times.of(replica).rows_up_to(candidates.len(), self.settings.max_batch.max(1));
        let (row, size) = largest_in_time(rows, deadlines, |row| self.answer(now, replica, row))?;
        Some(Fit { row, size })
    }

    /// When a batch of a replica's `row` that starts now, or as soon as its first stage is free, would be answered.
    #[inline]
    fn answer(&self, now: Time, replica: Replica, row: usize) -> Time {
        let state = &self.groups[replica.group.index()];
        state.finish_if_next(now, replica.slot, self.times.row(replica, row)) + self.settings.fixed_overhead
    }

    /// When a request that runs next on a replica would be answered.
    #[inline]
    pub(super) fn answer_if_next(&self, now: Time, replica: Replica) -> Time {
        self.answer(now, replica, 0)
    }

    /// Launches the requests at `positions` of where they wait, which [`Self::fit`] found to fit.
    pub(super) fn launch(
        &mut self,
        now: Time,
        replica: Replica,
        place: Place,
        positions: &[usize],
        row: usize,
        actions: &mut Vec<Action>,
    ) {
        let requests = match positions {
            [only] => Members::One(self.leave(place, *only)),
            // From the back, so that positions stay valid.
            several => {
                let mut requests: Vec<_> = several.iter().rev().map(|&position| self.leave(place, position)).collect();
                requests.reverse();
                Members::Many(requests)
            }
        };
        self.start(now, replica, requests, row, actions);
    }

    /// Puts `requests` on the first stage of a replica's group, which is free.
    pub(super) fn start(
        &mut self,
        now: Time,
        replica: Replica,
        requests: Members<Request>,
        row: usize,
        actions: &mut Vec<Action>,
    ) {
        let Replica { group, slot } = replica;
        let model = requests.as_slice()[0].model;
        let members = requests.map(|request| request.id);
        let id = BatchId(self.next_batch);
        self.next_batch += 1;
        let launch = Launch { batch: id, requests, slot, row };
        let predicted = self.groups[group.index()].launch(now, launch, self.times.row(replica, row));
        actions.push(Action::Launch(Batch { id, group, model, requests: members, predicted }));
    }

    /// Takes a request out of where it waits.
    pub(super) fn leave(&mut self, place: Place, position: usize) -> Request {
        self.waiting -= 1;
        match place {
            Place::At(group) => {
                let state = &mut self.groups[group.index()];
                let request = state.queue.remove_at(position).expect("the position is in the queue");
                state.note_left_queue(self.times.of(self.times.awaited(group, request.model)).bottleneck);
                request
            }
            Place::Central(model) => {
                self.central[model.index()].remove_at(position).expect("the position is in the queue")
            }
        }
    }
}
