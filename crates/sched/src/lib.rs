//! The scheduler: decides which request runs where and when, and does nothing else.
//!
//! A *driver* feeds it [`Event`]s, each stamped with the driver's idea of now, and carries out the
//! [`Action`]s it gives back. Start with those two enums; [`machine()`] makes the one implementation, [`Machine`].
//!
//! **Invariant:** the same events at the same times yield the same actions, on any machine. The planner,
//! the fault tests and the server's replay test rest on it.
//!
//! **Invariant:** nothing here reads a clock, draws a number, sends, spawns, locks or logs.

pub mod admission;
pub mod batching;
pub mod discipline;
pub mod dispatch;
mod group;
pub mod log;
mod machine;
mod queue;
pub mod rules;
pub mod settings;
pub mod times;

pub use admission::{Admission, Feedback};
pub use discipline::{AnyDiscipline, DeadlineOrder, Discipline};
pub use dispatch::Dispatch;
pub use log::EventLog;
pub use machine::{Machine, machine};
pub use settings::Settings;
pub use times::{StageTimes, TimesError};

use statmux_core::{BatchId, GroupId, ModelId, Request, RequestId, Span, Time};

/// Something that happened outside the scheduler.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A request reached the system. Its id must be new.
    Arrived(Request),
    /// Requests for one model and with one deadline came together, such as the inputs of one call: all are taken in,
    /// or all are refused at once, for one reason. What may become of each later is its own. Their ids must be new.
    ArrivedTogether(Vec<Request>),
    /// A group's first stage can take another batch, the one on it having moved on to the next stage.
    ///
    /// It names no batch, so a driver sends it once for each batch, before that batch is [`Event::Finished`], and
    /// never for a batch that was lost with its group. Groups of one stage do without it.
    StageFreed(GroupId),
    /// A batch left a group's last stage; whatever stage it still held is free.
    Finished {
        /// Where it ran.
        group: GroupId,
        /// Which one.
        batch: BatchId,
        /// Time its stages really spent computing, waits between them excluded.
        busy: Span,
    },
    /// Whoever asked for the request is gone.
    Cancelled(RequestId),
    /// A batch left its group without answers, for the sake of one of its members or because there is no memory for all
    /// of them at once: each may do better alone.
    ///
    /// For batches of several; the only member of a batch is answered as with [`Event::Finished`].
    Split {
        /// Where it ran.
        group: GroupId,
        /// Which one.
        batch: BatchId,
    },
    /// A group died, and everything on it with it.
    GroupLost(Loss),
    /// A lost group can take work again.
    GroupRestored(GroupId),
    /// The deadline last returned by [`Scheduler::next_wakeup`] has come.
    Woke,
}

/// What is known of the loss of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loss {
    /// Which group.
    pub group: GroupId,
    /// The batch that was on the stage that died: what took the group down, as far as can be told. None if the stage
    /// died by itself.
    pub culprit: Option<BatchId>,
    /// Whether the group is expected back: then what no other group can run waits for it. That it will not come back
    /// after all is told by another [`Event::GroupLost`].
    pub returns: bool,
}

impl Loss {
    /// The loss of `group` by itself, for good or for so long that nothing should wait for it.
    pub const fn of(group: GroupId) -> Self {
        Self { group, culprit: None, returns: false }
    }
}

/// Something the driver must now do. A rejection is an outcome, not an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Start a batch on the first stage of its group, which is free.
    Launch(Batch),
    /// Answer a request: its batch has finished.
    Complete(RequestId),
    /// Refuse a request, and say why.
    Reject(RequestId, Reason),
}

/// Requests that run together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Unique within a run.
    pub id: BatchId,
    /// The group that runs it.
    pub group: GroupId,
    /// The model it runs.
    pub model: ModelId,
    /// What is in it.
    pub requests: Members,
    /// When its answers should be ready, without the fixed overhead.
    pub predicted: Time,
}

/// The requests of a batch; a batch of one needs no allocation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Members<T = RequestId> {
    /// Just this one.
    One(T),
    /// Several, the most urgent first.
    Many(Vec<T>),
}

impl<T> Members<T> {
    /// The members, the most urgent first.
    pub fn as_slice(&self) -> &[T] {
        match self {
            Self::One(member) => std::slice::from_ref(member),
            Self::Many(members) => members,
        }
    }

    /// What `of` says of each member.
    pub fn map<U>(&self, of: impl Fn(&T) -> U) -> Members<U> {
        match self {
            Self::One(member) => Members::One(of(member)),
            Self::Many(members) => Members::Many(members.iter().map(of).collect()),
        }
    }
}

/// Why a request was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// No living group holds its model.
    NoReplica,
    /// It could not have been answered before `predicted`, which is after its deadline.
    TooLate {
        /// The earliest answer, fixed overhead included.
        predicted: Time,
    },
    /// As many requests as allowed are waiting already.
    QueueFull,
    /// Its group died and no other could answer in time.
    GroupLost,
    /// It took its group down, and may not run again.
    CostGroup,
    /// Whoever asked for it is gone.
    Cancelled,
}

/// What every scheduler is to its drivers.
pub trait Scheduler {
    /// Takes in one event and appends what must now be done to `actions`.
    ///
    /// `now` never decreases. Actions are carried out in order. Stale events (the end of a batch that was
    /// lost, the loss of a lost group as it was told before, the cancellation of an answered request) are ignored, so drivers need not
    /// filter them; [`Event::StageFreed`] is the one exception. Of events at the same time, drivers deliver losses and
    /// restorations first, then what freed a device, then wake-ups, then arrivals in the order of their ids.
    fn handle(&mut self, now: Time, event: Event, actions: &mut Vec<Action>);

    /// When to deliver [`Event::Woke`] if nothing else happens first.
    fn next_wakeup(&self) -> Option<Time>;
}

impl<S: Scheduler + ?Sized> Scheduler for Box<S> {
    fn handle(&mut self, now: Time, event: Event, actions: &mut Vec<Action>) {
        (**self).handle(now, event, actions);
    }

    fn next_wakeup(&self) -> Option<Time> {
        (**self).next_wakeup()
    }
}

// Random stage times are shared with the tests outside, which know this crate by its name.
#[cfg(test)]
extern crate self as statmux_sched;

#[cfg(test)]
#[path = "../tests/common/mod.rs"]
mod test_times;
