//! What the driver's thread and those of the stages send each other.

use crate::request::{Cause, Departure, Submission};
use statmux_core::backend::{BackendError, Input, Output};
use statmux_core::{BatchId, GroupId, ModelId, RequestId, Span};
use statmux_sched::Loss;
use std::fmt;

/// What is sent to the driver's thread.
#[derive(Debug)]
pub(crate) enum Message {
    /// From a client.
    Submit(Submission),
    /// From a client: what is to be taken in as a whole, or not at all.
    SubmitTogether(Vec<Submission>),
    /// A client is gone.
    Cancel(RequestId),
    /// From a stage: the first one can take another batch.
    Freed { group: GroupId, epoch: u64, batch: BatchId },
    /// From the last stage, for batches that stream: what one lap added, by member.
    Tokens { group: GroupId, epoch: u64, batch: BatchId, tokens: Vec<Option<u32>> },
    /// From a stage: a batch is over.
    Finished(Finished),
    /// From the supervisor: a run of a group is over, or its group will not come back after all.
    Lost(Loss),
    /// From the supervisor: a group can take work.
    Restored { group: GroupId, epoch: u64, entry: Entry },
    /// From the owner: whatever is inside is refused for this reason, and nothing more is launched.
    Stop(Cause),
}

/// The end of a batch.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) group: GroupId,
    pub(crate) epoch: u64,
    pub(crate) batch: BatchId,
    /// Time its stages spent computing.
    pub(crate) busy: Span,
    pub(crate) outputs: Result<Vec<Output>, BackendError>,
}

/// A batch to run.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) batch: BatchId,
    pub(crate) model: ModelId,
    pub(crate) inputs: Vec<Input>,
    /// For each input, whether its client has gone.
    pub(crate) departures: Vec<Departure>,
    /// Whether a client wants tokens as they come.
    pub(crate) streams: bool,
}

/// Where batches enter one run of a group.
pub(crate) struct Entry(Box<dyn Fn(Job) + Send>);

impl Entry {
    pub(crate) fn new(launch: impl Fn(Job) + Send + 'static) -> Self {
        Self(Box::new(launch))
    }

    /// Hands `job` to the first stage. Never blocks. A job for a group that has just died is dropped: its loss is
    /// on the way to the driver.
    pub(crate) fn launch(&self, job: Job) {
        (self.0)(job);
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Entry")
    }
}
