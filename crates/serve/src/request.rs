//! One request as the server keeps it: what was asked, what is owed, and how it ended.

use crate::course::Course;
use crate::trail::Trail;
use statmux_core::backend::{BackendError, Fault, Input, Output};
use statmux_core::{ModelId, RequestId, Span, Time};
use statmux_sched::Reason;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use tokio::sync::{mpsc, oneshot};

/// A request on its way to the driver.
#[derive(Debug)]
pub(crate) struct Submission {
    pub(crate) id: RequestId,
    pub(crate) model: ModelId,
    pub(crate) input: Input,
    /// When it reached the server.
    pub(crate) arrived: Time,
    /// When its answer stops being useful.
    pub(crate) deadline: Time,
    /// How many came together, this one included.
    pub(crate) together: usize,
    pub(crate) reply: Reply,
}

/// Where the one answer goes, and tokens before it for streaming clients.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) answer: oneshot::Sender<Result<Answer, Refusal>>,
    pub(crate) tokens: Option<mpsc::UnboundedSender<u32>>,
    /// Where what becomes of it is noted.
    pub(crate) trail: Option<Arc<Trail>>,
    pub(crate) departure: Departure,
}

/// Whether the client of a request has gone without its answer: set at the client's side, seen where its batch runs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Departure(Arc<AtomicBool>);

impl Departure {
    pub(crate) fn happens(&self) {
        self.0.store(true, Relaxed);
    }

    pub(crate) fn has_happened(&self) -> bool {
        self.0.load(Relaxed)
    }
}

/// A request that ran to its end.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// What the model said.
    pub output: Output,
    /// How it came about.
    pub course: Course,
}

/// Why a request was not answered.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{cause}")]
pub struct Refusal {
    /// What stood in the way.
    pub cause: Cause,
    /// The latency that was predicted, if that is why.
    pub predicted: Option<Span>,
    /// The latency that was asked for, if any was.
    pub deadline: Option<Span>,
    /// After how long another try may succeed; absent where there is no telling, or none would.
    pub retry_after: Option<Span>,
    /// Whether the same request would be refused at any time.
    pub hopeless: bool,
}

/// What stood in the way of an answer.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Cause {
    /// It would have been too late.
    #[error("the answer would come after the deadline")]
    TooLate,
    /// Too many requests wait already.
    #[error("too many requests are waiting")]
    QueueFull,
    /// No living group holds the model.
    #[error("no group that holds the model is up")]
    NoReplica,
    /// Its group died, and no other could answer in time.
    #[error("the group that held the request was lost")]
    GroupLost,
    /// Its group died of it, and it may not run again.
    #[error("the request took down the group that ran it, and is not run again")]
    CostGroup,
    /// Whoever asked is gone.
    #[error("the request was cancelled")]
    Cancelled,
    /// The server takes in nothing more.
    #[error("the server is shutting down")]
    Draining,
    /// Another placement is about to take the place of this one.
    #[error("the server is changing its placement")]
    Replacing,
    /// As many requests as allowed are inside already.
    #[error("too many requests are being served")]
    Overloaded,
    /// The backend could not run it.
    #[error("{0}")]
    Backend(Arc<BackendError>),
}

impl Refusal {
    /// A refusal without times.
    pub fn new(cause: Cause) -> Self {
        Self { cause, predicted: None, deadline: None, retry_after: None, hopeless: false }
    }
}

impl Cause {
    /// Its name in error bodies and metrics.
    pub fn name(&self) -> &'static str {
        match self {
            Self::TooLate => "too_late",
            Self::QueueFull => "queue_full",
            Self::NoReplica => "no_replica",
            Self::GroupLost => "group_lost",
            Self::CostGroup => "cost_group",
            Self::Cancelled => "cancelled",
            Self::Draining => "draining",
            Self::Replacing => "replacing",
            Self::Overloaded => "overloaded",
            Self::Backend(error) => match error.fault() {
                Fault::Request => "bad_input",
                Fault::Capacity => "out_of_memory",
                Fault::Setup | Fault::Stage => "backend_failed",
            },
        }
    }
}

impl From<Reason> for Cause {
    fn from(reason: Reason) -> Self {
        match reason {
            Reason::TooLate { .. } => Self::TooLate,
            Reason::QueueFull => Self::QueueFull,
            Reason::NoReplica => Self::NoReplica,
            Reason::GroupLost => Self::GroupLost,
            Reason::CostGroup => Self::CostGroup,
            Reason::Cancelled => Self::Cancelled,
        }
    }
}
