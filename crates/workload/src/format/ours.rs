//! Our own requests files as a trace: a function is a model.

use crate::names::Names;
use crate::recorded::{Instants, Trace};
use crate::requests::read_requests_and_names;
use statmux_core::files::FileError;
use std::path::PathBuf;

pub(super) fn read(files: &[PathBuf]) -> Result<Trace, FileError> {
    let mut names = Names::default();
    let mut instants = Instants::default();
    for path in files {
        let (workload, own_names) = read_requests_and_names(path)?;
        let known: Option<Vec<u32>> = own_names.iter().map(|name| names.id(name.as_bytes())).collect();
        let known = known.ok_or_else(|| FileError::whole(path, "brings too many models"))?;
        let with_lengths = !workload.lengths.is_empty();
        if !instants.arrived.is_empty() && !workload.is_empty() && with_lengths == instants.lengths.is_empty() {
            return Err(FileError::whole(path, "and the files before it do not agree on having token counts"));
        }
        instants.function.extend(workload.model.iter().map(|model| known[model.index()]));
        instants.arrived.extend(workload.arrived);
        instants.lengths.extend(workload.lengths);
    }
    Ok(Trace::of_instants(names.into_list(), instants))
}
