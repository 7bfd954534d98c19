//! Requests that come together, as the inputs of one call do: all of them are taken in, or none.
//!
//! A gang is admitted if the machine itself, tried on a copy, takes in each member after the ones before it and then,
//! with nothing else arriving and every batch as fast as predicted, launches all of them in time. Where a finish is
//! known on arrival the first half is exact; elsewhere the second half sees what waits already and leaves nothing
//! to be found out after half of the work is done.

use super::{Machine, Origin};
use crate::{Action, Admission, Discipline, Reason};
use statmux_core::{GroupId, Request, RequestId, Time};
use std::collections::BTreeSet;

impl<D: Discipline + Clone> Machine<D> {
    /// Takes in all of `requests`, in their order, or refuses them all for the reason that stops the first of them.
    pub(super) fn admit_together(&mut self, now: Time, requests: &[Request], actions: &mut Vec<Action>) {
        if requests.len() > 1
            && let Some(reason) = self.clone().obstacle(now, requests)
        {
            actions.extend(requests.iter().map(|request| Action::Reject(request.id, reason)));
            return;
        }
        for &request in requests {
            self.admit(now, request, Origin::Arrival, actions);
        }
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
