//! What is asked for when figures are made.

use statmux_core::files::FileError;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What figures are made of, and where they go.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The folder that everything is written to.
    pub out: PathBuf,
    /// Shorter workloads and fewer points, and the figures say so.
    pub quick: bool,
    /// Folders with the full public traces, by the name of the column they replace: `maf1`, `maf2`, `servegen`.
    pub traces: BTreeMap<String, PathBuf>,
}

/// Creates `folder` and those above it.
pub(crate) fn make_folder(folder: &Path) -> Result<(), FileError> {
    std::fs::create_dir_all(folder).map_err(|cause| FileError::io(folder, "cannot be created", cause))
}
