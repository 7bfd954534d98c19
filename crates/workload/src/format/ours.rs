//! Requests files as a trace, our own or, with a mapping of columns, anybody's: a function is a model.

use crate::clock::{Clock, Epoch, Unit};
use crate::names::Names;
use crate::recorded::{Instants, Trace};
use crate::requests::{self, Columns};
use statmux_core::files::FileError;
use std::path::PathBuf;

pub(super) fn read(files: &[PathBuf], mapping: Option<&Columns>) -> Result<Trace, FileError> {
    let mut names = Names::default();
    let mut instants = Instants::default();
    let mut clock: Option<Clock> = None;
    let mut with_slo = false;
    for path in files {
        let read = requests::read(path, Names::default(), mapping)?;
        let known: Option<Vec<u32>> = read.names.iter().map(|name| names.id(name.as_bytes())).collect();
        let known = known.ok_or_else(|| FileError::whole(path, "brings too many models"))?;
        let workload = read.workload;
        with_slo |= !workload.slo.is_empty();
        let with_lengths = !workload.lengths.is_empty();
        if !instants.arrived.is_empty() && !workload.is_empty() && with_lengths == instants.lengths.is_empty() {
            return Err(FileError::whole(path, "and the files before it do not agree on having token counts"));
        }
        let own = |clock: &Clock| clock.epoch() == Epoch::Own;
        if clock.as_ref().is_some_and(|before| own(before) != own(&read.clock)) && !workload.is_empty() {
            return Err(FileError::whole(
                path,
                "and the files before it do not agree on a clock that counts from 1970",
            ));
        }
        instants.function.extend(workload.model.iter().map(|model| known[model.index()]));
        instants.arrived.extend(workload.arrived);
        instants.lengths.extend(workload.lengths);
        clock.get_or_insert(read.clock);
    }
    let clock = clock.unwrap_or_else(|| Clock::new("arrival_s", Unit::Seconds));
    let mut trace = Trace::of_instants(names.into_list(), instants, &clock);
    if with_slo {
        trace.remarks.push("the requests' own SLOs are left out: a trace has none".to_owned());
    }
    Ok(trace)
}
