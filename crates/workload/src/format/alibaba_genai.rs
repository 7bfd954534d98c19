//! Alibaba GenAI 2026: image requests, `gmt_create` to the second and `checkpoint_model_version_id`.
//!
//! A function is a base model; the few rows without one belong to a function called `unknown`. The clock starts with
//! the first request. Lin et al., SoCC 2025.

use crate::clock::{Clock, Unit};
use crate::names::Names;
use crate::recorded::{Instants, Trace};
use crate::rows::Rows;
use statmux_core::files::FileError;
use std::path::PathBuf;

pub(super) fn read(files: &[PathBuf]) -> Result<Trace, FileError> {
    let mut names = Names::default();
    let mut instants = Instants::default();
    let mut clock = Clock::new("gmt_create", Unit::Seconds);
    for path in files {
        let mut rows = Rows::open(path)?;
        let [at, model] = [rows.column("gmt_create")?, rows.column("checkpoint_model_version_id")?];
        while let Some(row) = rows.next()? {
            let arrived = row.time(at, &mut clock)?;
            let name = if row.bytes(model).is_empty() { b"unknown" } else { row.bytes(model) };
            let function = names.id(name).ok_or_else(|| row.error("checkpoint_model_version_id is not UTF-8 text"))?;
            instants.push(arrived, function);
        }
    }
    Ok(Trace::of_instants(names.into_list(), instants, &clock))
}
