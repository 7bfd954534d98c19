//! Late binding: requests that wait for whichever group takes them first.

use super::{Machine, Place, Placed};
use crate::rules::{in_time, least};
use crate::times::Replica;
use crate::{Action, Admission, Reason};
use statmux_core::{GroupId, ModelId, Request, Time};

impl Machine {
    /// Queues `request` centrally. Returns where it waits now, and the idle group that would answer it first,
    /// if one can answer in time.
    pub(super) fn wait_centrally(&mut self, now: Time, request: Request, has_room: bool) -> Result<Placed, Reason> {
        let replicas = self.times.replicas(request.model);
        let is_alive = |replica: &Replica| self.groups[replica.group.index()].alive;
        if !replicas.iter().any(is_alive) {
            return Err(Reason::NoReplica);
        }
        let unlimited = self.settings.admission == Admission::None;
        let admits = |answer| unlimited || in_time(request.arrived, answer, request.slo());
        let mut earliest = Time::NEVER;
        let answers = replicas.iter().copied().filter(is_alive).filter_map(|replica| {
            let answer = self.answer_if_next(now, replica);
            earliest = earliest.min(answer);
            let launches = self.groups[replica.group.index()].is_idle() && admits(answer);
            launches.then_some((replica, answer))
        });
        let idle = least(answers, |(_, answer)| answer).map(|(replica, _)| replica);
        if !admits(earliest) {
            return Err(Reason::TooLate { predicted: earliest });
        }
        if idle.is_none() && !has_room {
            return Err(Reason::QueueFull);
        }
        if let Some(replica) = idle.filter(|_| self.waiting == 0) {
            // With nothing else waiting, this is what the group would choose.
            return Ok(Placed::Starts(replica));
        }
        let latency = replicas.iter().map(|&replica| self.times.of(replica).latency).min();
        let latency = latency.expect("a living group holds the model");
        let rank = (self.settings.discipline.key(&request, latency), request.arrived, request.id);
        self.central[request.model.index()].insert(rank, request);
        self.waiting += 1;
        Ok(Placed::Waits(Place::Central(request.model), rank, idle.map(|replica| replica.group)))
    }

    /// The earliest that any living group could answer a request for `model` that runs next there.
    fn earliest_answer(&self, now: Time, model: ModelId) -> Time {
        let alive = self.times.replicas(model).iter().filter(|replica| self.groups[replica.group.index()].alive);
        alive.map(|&replica| self.answer_if_next(now, replica)).min().unwrap_or(Time::NEVER)
    }

    pub(super) fn launch_from_central(&mut self, now: Time, group: GroupId, actions: &mut Vec<Action>) {
        if self.waiting == 0 {
            return;
        }
        // Positions up to which each held model's queue was passed over, because this group would be too late.
        let mut passed = std::mem::take(&mut self.passed);
        passed.clear();
        passed.resize(self.times.group(group).models().len(), 0);
        while let Some((replica, model)) = self.most_urgent(group, &passed) {
            let first = passed[replica.slot];
            let place = Place::Central(model);
            let queue = &self.central[model.index()];
            let head = queue.get(first).expect("it was just found there").1;
            let several;
            let alone = self.settings.max_batch <= 1 || queue.len() == first + 1;
            let candidates: &[usize] = if alone || self.apart.contains_key(&head.id) {
                &[first]
            } else {
                several = self.together(queue, first, model);
                &several
            };
            if let Some(fit) = self.fit(now, replica, queue, candidates) {
                self.launch(now, replica, place, &candidates[..fit.size], fit.row, actions);
                break;
            }
            let earliest = self.earliest_answer(now, model);
            if in_time(head.arrived, earliest, head.slo()) {
                passed[replica.slot] += 1;
            } else {
                self.leave(place, first);
                actions.push(Action::Reject(head.id, Reason::TooLate { predicted: earliest }));
            }
        }
        self.passed = passed;
    }

    /// Of the models that `group` holds, the one whose central queue has the most urgent request from its position
    /// in `passed` on.
    fn most_urgent(&self, group: GroupId, passed: &[usize]) -> Option<(Replica, ModelId)> {
        let held = self.times.group(group).models().iter().map(|times| times.model);
        let heads = held.zip(passed).enumerate().filter_map(|(slot, (model, &at))| {
            Some(((Replica { group, slot }, model), self.central[model.index()].get(at)?.0))
        });
        least(heads, |(_, rank)| rank).map(|(head, _)| head)
    }
}
