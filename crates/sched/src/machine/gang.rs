//! Requests that come together, as the inputs of one call do: all of them are taken in, or none.
//!
//! A gang is admitted if the machine itself, tried on a copy, takes in each member after the ones before it and then,
//! with nothing else arriving and every batch as fast as predicted, launches all of them in time. Where a finish is
//! known on arrival the first half is exact; elsewhere the second half sees what waits already and leaves nothing
//! to be found out after half of the work is done. A gang for which the queue has no room is refused before anything
//! is copied: what a full server is asked costs it little, however much waits.

use super::{Machine, Origin};
use crate::{Action, Admission, Reason};
use statmux_core::{GroupId, ModelId, Request, RequestId, Time};
use std::collections::BTreeSet;

impl Machine {
    /// Takes in all of `requests`, in their order, or refuses them all for the reason that stops the first of them.
    pub(super) fn admit_together(&mut self, now: Time, requests: &[Request], actions: &mut Vec<Action>) {
        if requests.len() > 1
            && let Some(reason) = self.overflow(now, requests).or_else(|| self.copy().obstacle(now, requests))
        {
            actions.extend(requests.iter().map(|request| Action::Reject(request.id, reason)));
            return;
        }
        for &request in requests {
            self.admit(now, request, Origin::Arrival, actions);
        }
    }

    /// Something to try requests on.
    fn copy(&self) -> Self {
        #[cfg(test)]
        tests::COPIES.with(|copies| copies.set(copies.get() + 1));
        self.clone()
    }

    /// Why not all of `requests` fit, if there are more than idle groups and the queue can take. Changes nothing.
    fn overflow(&mut self, now: Time, requests: &[Request]) -> Option<Reason> {
        let models: BTreeSet<ModelId> = requests.iter().map(|request| request.model).collect();
        let holders: BTreeSet<GroupId> = models.iter().flat_map(|&model| self.times.holders(model)).copied().collect();
        let idle = holders.iter().filter(|group| self.groups[group.index()].is_idle()).count();
        // Each idle group starts one of them; whoever does not start must wait.
        let room = self.settings.max_waiting.saturating_sub(self.waiting).saturating_add(idle);
        if requests.len() <= room {
            return None;
        }
        if room > 0 {
            return Some(Reason::QueueFull);
        }
        // The first of them is refused without a trace, for whatever stands in its way before the queue does.
        let mut actions = Vec::new();
        self.admit(now, requests[0], Origin::Arrival, &mut actions);
        actions.iter().find_map(|action| match action {
            Action::Reject(_, reason) => Some(*reason),
            _ => None,
        })
    }

    /// Why one of `requests` would be refused if they came now and nothing after them. Uses the machine up.
    fn obstacle(mut self, now: Time, requests: &[Request]) -> Option<Reason> {
        let mut watch = Watch { waiting: requests.iter().map(|request| request.id).collect() };
        let mut actions = Vec::new();
        for request in requests {
            self.admit(now, *request, Origin::Arrival, &mut actions);
            if let Some(reason) = watch.refusal(&mut actions) {
                return Some(reason);
            }
        }
        if self.in_order || self.settings.admission == Admission::None {
            return None;
        }
        while !watch.waiting.is_empty()
            && let Some((at, group)) = self.next_free()
        {
            let at = at.max(now);
            if self.expiry.peek().is_some_and(|entry| entry.0.0 < at) {
                self.woke(at, &mut actions);
            }
            self.stage_freed(at, group, &mut actions);
            if let Some(reason) = watch.refusal(&mut actions) {
                return Some(reason);
            }
        }
        None
    }

    /// The first stage that is next to come free, and when.
    fn next_free(&self) -> Option<(Time, GroupId)> {
        let ids = (0..self.groups.len()).map(GroupId::from_index);
        let free = ids.filter_map(|group| Some((self.groups[group.index()].frees_at()?, group)));
        free.min()
    }
}

/// Which members of a gang have not been launched yet.
struct Watch {
    waiting: BTreeSet<RequestId>,
}

impl Watch {
    /// Strikes off what is launched in `actions`, which are used up; the reason if a member is refused.
    fn refusal(&mut self, actions: &mut Vec<Action>) -> Option<Reason> {
        let mut refused = None;
        for action in actions.drain(..) {
            match action {
                Action::Launch(batch) => {
                    batch.requests.as_slice().iter().for_each(|id| {
                        self.waiting.remove(id);
                    });
                }
                Action::Reject(id, reason) if self.waiting.contains(&id) => refused = refused.or(Some(reason)),
                Action::Reject(..) | Action::Complete(_) => {}
            }
        }
        refused
    }
}

#[cfg(test)]
mod tests {
    use crate::test_times::times;
    use crate::{Action, AnyDiscipline, Dispatch, Event, Scheduler, Settings, machine};
    use proptest::prelude::*;
    use statmux_core::{ModelId, Request, RequestId, Span, Time};
    use std::cell::Cell;

    thread_local! {
        /// How often a machine was copied.
        pub(super) static COPIES: Cell<usize> = const { Cell::new(0) };
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1000))]

        #[test]
        fn what_a_full_queue_has_no_room_for_is_refused_without_a_copy(
            dispatch in proptest::sample::select(&Dispatch::ALL[..]),
            discipline in proptest::sample::select(&AnyDiscipline::ALL[..]),
            max_batch in 1_u32..5,
            max_waiting in 0_usize..6,
            calls in proptest::collection::vec((0_u64..30, 0_u32..2, 1_u64..13, 0_u64..200), 1..20),
        ) {
            let settings = Settings { dispatch, discipline, max_batch, max_waiting, ..Settings::default() };
            // The first model is on all groups, the second on the longest alone.
            let times = times(max_batch, [&[0], &[0], &[0, 1]], |size, stage| 0.003 * f64::from(size + 1 + stage));
            let groups = times.groups();
            let mut machine = machine(settings, times);
            let (mut now, mut first) = (Time::ZERO, 0);
            let mut running = Vec::new();
            for (after_ms, model, count, slo_ms) in calls {
                now += Span::from_millis(after_ms);
                let mut actions = Vec::new();
                if after_ms % 2 == 0 && !running.is_empty() {
                    let (group, batch) = running.remove(0);
                    machine.handle(now, Event::Finished { group, batch, busy: Span::ZERO }, &mut actions);
                }
                let before = actions.len();
                let deadline = if slo_ms == 0 { Time::NEVER } else { now + Span::from_millis(slo_ms) };
                let request = |id| Request { id: RequestId(id), model: ModelId(model), arrived: now, deadline };
                let requests: Vec<Request> = (first..first + count).map(request).collect();
                first += count;
                let room = max_waiting - machine.waiting() + groups;
                let copies = COPIES.get();
                machine.handle(now, Event::ArrivedTogether(requests), &mut actions);
                if count as usize > room {
                    let refused = actions[before..].iter().filter(|action| matches!(action, Action::Reject(..)));
                    prop_assert_eq!(refused.count(), count as usize);
                    prop_assert_eq!(COPIES.get(), copies);
                }
                running.extend(actions.iter().filter_map(|action| match action {
                    Action::Launch(batch) => Some((batch.group, batch.id)),
                    _ => None,
                }));
            }
        }
    }
}
