//! Azure Functions 2021: one row per call, `app,func,end_timestamp,duration`, in seconds, in order of end.
//!
//! A call arrives at its end minus its duration; those that began before the recording count as arriving at its start.
//! Functions are told apart by application and function, and named by the latter.
//!
//! Zhang et al., Faster and Cheaper Serverless Computing on Harvested Resources, SOSP 2021.

use crate::clock::{Clock, Unit};
use crate::messages::bad_seconds;
use crate::names::Names;
use crate::recorded::{Instants, Trace};
use crate::rows::Rows;
use statmux_core::files::FileError;
use statmux_core::{Span, Time};
use std::path::PathBuf;

pub(super) fn read(files: &[PathBuf]) -> Result<Trace, FileError> {
    let mut names = Names::default();
    let mut instants = Instants::default();
    let mut clock = Clock::new("end_timestamp", Unit::Seconds);
    let mut key = Vec::new();
    for path in files {
        let mut rows = Rows::open(path)?;
        let [app, func] = [rows.column("app")?, rows.column("func")?];
        let [end, duration] = [rows.column("end_timestamp")?, rows.column("duration")?];
        while let Some(row) = rows.next()? {
            let ended = row.time(end, &mut clock)?;
            let seconds = row.number(duration, "duration")?;
            let took = Span::from_seconds(seconds).ok_or_else(|| row.error(bad_seconds("duration", seconds)))?;
            let name = row.text(func, "func")?;
            key.clear();
            key.extend_from_slice(row.bytes(app));
            key.push(b'\n');
            key.extend_from_slice(name.as_bytes());
            let function = names.id_shown_as(&key, name).ok_or_else(|| row.error("there are too many functions"))?;
            instants.push(Time::before(ended, took), function);
        }
    }
    Ok(Trace::of_instants(names.into_list(), instants, &clock))
}
