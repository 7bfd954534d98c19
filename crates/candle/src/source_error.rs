//! Why a model cannot be had, and the one way of reading a file that need not be there.

use crate::models::ConfigError;
use crate::preset::preset_names;
use crate::weights::WeightsError;
use serde::Deserialize;
use std::io;
use std::path::{Path, PathBuf};

/// Why a model cannot be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)]
pub enum SourceError {
    #[error("there is neither a directory nor a preset \"{name}\"; presets are {}", preset_names().collect::<Vec<_>>().join(", "))]
    Unknown { name: String },
    #[error("cannot read {}", .path.display())]
    Io {
        path: PathBuf,
        #[source]
        cause: io::Error,
    },
    #[error("cannot use {}", .path.display())]
    Config {
        path: PathBuf,
        #[source]
        cause: ConfigError,
    },
    #[error(transparent)]
    Weights(#[from] WeightsError),
    #[error("cannot use {}: {reason}", .path.display())]
    Tokenizer { path: PathBuf, reason: String },
    #[error("cannot use {}: {reason}", .path.display())]
    Modules { path: PathBuf, reason: String },
    #[error("cannot use the chat template of {}: {reason}", .path.display())]
    Template { path: PathBuf, reason: String },
}

/// Reads a JSON file if there is one; the default is for none.
pub(crate) fn optional<T: Default + for<'a> Deserialize<'a>>(path: &Path) -> Result<T, SourceError> {
    match std::fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map_err(|error| SourceError::Config { path: path.to_owned(), cause: error.into() }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(T::default()),
        Err(cause) => Err(SourceError::Io { path: path.to_owned(), cause }),
    }
}
