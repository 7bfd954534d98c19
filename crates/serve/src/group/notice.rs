//! What stage threads tell the supervisor.

use statmux_core::backend::BackendError;
use statmux_core::{BatchId, GroupId};

/// What the supervisor is told.
#[derive(Debug)]
pub(crate) enum Notice {
    /// A stage is ready.
    Opened { group: GroupId, epoch: u64 },
    /// A stage is lost, to this batch if it ran one.
    Failed { group: GroupId, epoch: u64, batch: Option<BatchId>, failure: BackendError },
    /// The probe came through.
    Probed { group: GroupId, epoch: u64 },
    /// The server stops.
    Stop,
}
