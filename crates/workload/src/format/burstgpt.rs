//! BurstGPT: `Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type`, seconds since the first day began.
//!
//! A function is a model. Failed calls, which have no response tokens, are calls like any other. The clock starts with
//! the first day (of the second release: months before its first call). Wang et al., BurstGPT, 2024.

use crate::clock::{Clock, Unit};
use crate::names::Names;
use crate::recorded::{Instants, Trace};
use crate::rows::Rows;
use statmux_core::Lengths;
use statmux_core::files::FileError;
use std::path::PathBuf;

pub(super) fn read(files: &[PathBuf]) -> Result<Trace, FileError> {
    let mut names = Names::default();
    let mut instants = Instants::default();
    let mut clock = Clock::new("Timestamp", Unit::Seconds);
    for path in files {
        let mut rows = Rows::open(path)?;
        let [at, model] = [rows.column("Timestamp")?, rows.column("Model")?];
        let [request, response] = [rows.column("Request tokens")?, rows.column("Response tokens")?];
        while let Some(row) = rows.next()? {
            let arrived = row.time(at, &mut clock)?;
            let function = names.id(row.bytes(model)).ok_or_else(|| row.error("Model is not UTF-8 text"))?;
            let prompt = row.count(request, "Request tokens")?;
            let output = row.count(response, "Response tokens")?;
            instants.push(arrived, function);
            instants.lengths.push(Lengths { prompt, output });
        }
    }
    Ok(Trace::of_instants(names.into_list(), instants, &clock))
}
