//! The scheduler on the real clock. The simulator's loop is its twin; neither decides anything.
//!
//! One thread owns the scheduler. It takes messages from a bounded inbox, lets its [`World`] turn them into
//! events, stamps these as it takes them, and has the world perform the actions. The record of events is
//! therefore totally ordered, and replaying it through a fresh scheduler gives the same actions.

use crate::clock::Clock;
use statmux_core::Time;
use statmux_sched::log::Entry;
use statmux_sched::{Action, Event, Scheduler};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

/// What surrounds the scheduler: sources of events, performers of actions.
pub trait World {
    /// What is sent to the driver's thread.
    type Message;

    /// What `message`, which was taken from the inbox at `now`, means to the scheduler.
    fn receive(&mut self, now: Time, message: Self::Message) -> Meaning;

    /// Carries out one action.
    fn perform(&mut self, now: Time, action: Action);
}

/// What a message means to the scheduler.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// Something it must know.
    Event(Event),
    /// Nothing.
    Nothing,
    /// That its work is over.
    Stop,
}

/// Notes what was handled, as the world stands before the actions are performed.
pub type Note<'a, W> = &'a mut dyn FnMut(Entry, &W);

/// Drives `scheduler` until it is told to stop, or nobody can send any more; notes everything with `note`.
pub fn drive<W: World>(
    mut scheduler: impl Scheduler,
    inbox: &Receiver<W::Message>,
    clock: Clock,
    world: &mut W,
    mut note: Option<Note<'_, W>>,
) {
    let mut actions = Vec::new();
    loop {
        let received = match scheduler.next_wakeup().map(|at| clock.until(at)) {
            // Overdue: a busy inbox must not starve it.
            Some(Duration::ZERO) => Err(RecvTimeoutError::Timeout),
            Some(wait) => inbox.recv_timeout(wait),
            None => inbox.recv().map_err(RecvTimeoutError::from),
        };
        let now = clock.now();
        let meaning = match received {
            Ok(message) => world.receive(now, message),
            Err(RecvTimeoutError::Timeout) => Meaning::Event(Event::Woke),
            Err(RecvTimeoutError::Disconnected) => return,
        };
        match meaning {
            Meaning::Event(event) => {
                if let Some(note) = &mut note {
                    scheduler.handle(now, event.clone(), &mut actions);
                    note(Entry { now, event, actions: actions.clone() }, world);
                } else {
                    scheduler.handle(now, event, &mut actions);
                }
            }
            Meaning::Nothing => {}
            Meaning::Stop => return,
        }
        for action in actions.drain(..) {
            world.perform(now, action);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use statmux_core::RequestId;
    use statmux_sched::{EventLog, Reason};
    use std::sync::mpsc::channel;

    /// Wakes once, at `at`, and then refuses request 7.
    struct Alarm(Option<Time>);

    impl Scheduler for Alarm {
        fn handle(&mut self, now: Time, event: Event, actions: &mut Vec<Action>) {
            if event == Event::Woke {
                assert!(self.0.take().is_some_and(|at| now >= at), "woken early, or twice");
                actions.push(Action::Reject(RequestId(7), Reason::Cancelled));
            }
        }

        fn next_wakeup(&self) -> Option<Time> {
            self.0
        }
    }

    /// Notes what it performs; `true` is an event, `false` is none.
    struct Notes(Vec<Action>);

    impl World for Notes {
        type Message = bool;

        fn receive(&mut self, _now: Time, message: bool) -> Meaning {
            if message { Meaning::Event(Event::Cancelled(RequestId(1))) } else { Meaning::Nothing }
        }

        fn perform(&mut self, _now: Time, action: Action) {
            self.0.push(action);
        }
    }

    #[test]
    fn an_overdue_wake_up_goes_before_a_full_inbox() {
        let clock = Clock::start();
        let (send, inbox) = channel();
        (0..4).for_each(|n| send.send(n % 2 == 0).expect("open"));
        drop(send);
        let mut log = EventLog::default();
        let mut notes = Notes(Vec::new());
        let mut note = |entry, _: &Notes| log.entries.push(entry);
        drive(Alarm(Some(Time::ZERO)), &inbox, clock, &mut notes, Some(&mut note));
        assert_eq!(notes.0, [Action::Reject(RequestId(7), Reason::Cancelled)]);
        let events: Vec<_> = log.entries.iter().map(|entry| entry.event.clone()).collect();
        let cancelled = || Event::Cancelled(RequestId(1));
        assert_eq!(events, [Event::Woke, cancelled(), cancelled()]);
        assert_eq!(log.replay(&mut Alarm(Some(Time::ZERO))), Ok(()));
    }
}
