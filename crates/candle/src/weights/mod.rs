//! Where weights come from, and how a shard gets its part.
//!
//! A [`Source`] knows whole tensors by their Hugging Face names; a [`Loader`] reads the blocks that one device needs,
//! a few rows at a time, straight into the layout the kernels want: inputs by outputs. No device ever holds
//! more than its part, and no more than a few rows lie in between.

mod loader;
mod random;
mod safetensors;

pub(crate) use loader::{Block, Loader, Stored};
pub(crate) use random::Random;
pub(crate) use safetensors::Files;

use std::ops::Range;
use std::path::PathBuf;

/// Whole tensors by name.
pub(crate) trait Source: Send + Sync {
    /// Whether there is a tensor of this name.
    fn has(&self, name: &str) -> bool;

    /// Hands rows of a tensor to `sink`, in order, a few at a time: the number of the first row, and the values.
    ///
    /// Fails if the tensor's shape is not `shape`. A vector is a tensor of one dimension, read as one row per value.
    fn read(
        &self,
        name: &str,
        shape: &[usize],
        rows: Range<usize>,
        sink: &mut dyn FnMut(usize, &[f32]),
    ) -> Result<(), WeightsError>;
}

/// Why weights cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)]
pub enum WeightsError {
    #[error("cannot read {}", .path.display())]
    Io {
        path: PathBuf,
        #[source]
        cause: std::io::Error,
    },
    #[error("{} is not a safetensors file: {reason}", .path.display())]
    NotSafetensors { path: PathBuf, reason: String },
    #[error("{} is truncated: its header promises {promised} bytes, the file has {found}", .path.display())]
    Truncated { path: PathBuf, promised: u64, found: u64 },
    #[error("{} has no tensor {name}", .path.display())]
    Missing { path: PathBuf, name: String },
    #[error("tensor {name} of {} has shape {found:?}, but config.json implies {expected:?}", .path.display())]
    WrongShape { path: PathBuf, name: String, expected: Vec<usize>, found: Vec<usize> },
    #[error("tensor {name} of {} has values of type {found}; F32, F16 and BF16 can be read", .path.display())]
    WrongType { path: PathBuf, name: String, found: String },
    #[error("{} names neither model.safetensors nor model.safetensors.index.json", .path.display())]
    NoWeights { path: PathBuf },
}

/// How many rows to hand over at once: enough to transpose well, few enough to stay in the cache.
const ROWS_AT_ONCE: usize = 64;

/// Cuts `rows` into runs of at most [`ROWS_AT_ONCE`].
fn runs(rows: Range<usize>) -> impl Iterator<Item = Range<usize>> {
    let end = rows.end;
    rows.step_by(ROWS_AT_ONCE).map(move |start| start..end.min(start + ROWS_AT_ONCE))
}
