//! What happened to a scheduler and what it did, so that it can be done again.

use crate::{Action, Event, Scheduler};
use statmux_core::Time;

/// Every event a scheduler was given, with the actions it answered.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EventLog {
    /// In the order in which they were handled.
    pub entries: Vec<Entry>,
}

/// One event and its answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// When it was handled.
    pub now: Time,
    /// What happened.
    pub event: Event,
    /// What the scheduler did.
    pub actions: Vec<Action>,
}

/// A replay that did not go as recorded.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("entry {index} at {} differs: recorded {:?}, replayed {replayed:?}", .recorded.now, .recorded.actions)]
pub struct Difference {
    /// The position in the log.
    pub index: usize,
    /// What the log says.
    pub recorded: Entry,
    /// What the fresh scheduler did.
    pub replayed: Vec<Action>,
}

impl EventLog {
    /// Hands `event` to `scheduler`, noting it and the answer.
    pub fn record(&mut self, scheduler: &mut impl Scheduler, now: Time, event: Event, actions: &mut Vec<Action>) {
        let before = actions.len();
        scheduler.handle(now, event.clone(), actions);
        self.entries.push(Entry { now, event, actions: actions[before..].to_vec() });
    }

    /// Gives every event to a fresh scheduler, which must act as recorded.
    ///
    /// # Errors
    /// The first difference.
    pub fn replay(&self, scheduler: &mut impl Scheduler) -> Result<(), Box<Difference>> {
        let mut actions = Vec::new();
        for (index, entry) in self.entries.iter().enumerate() {
            scheduler.handle(entry.now, entry.event.clone(), &mut actions);
            if actions != entry.actions {
                return Err(Box::new(Difference { index, recorded: entry.clone(), replayed: actions }));
            }
            actions.clear();
        }
        Ok(())
    }
}
