//! splitwise-sim: `request_id,request_type,application_id,arrival_timestamp,batch_size,prompt_size,token_size`.
//!
//! A function is an application; where a file has none, all calls belong to one, named by the file. Timestamps are
//! seconds. Patel et al., Splitwise, ISCA 2024.

use crate::clock::{Clock, Unit};
use crate::input::stem;
use crate::names::Names;
use crate::recorded::{Instants, Trace};
use crate::rows::Rows;
use statmux_core::Lengths;
use statmux_core::files::FileError;
use std::path::PathBuf;

pub(super) fn read(files: &[PathBuf]) -> Result<Trace, FileError> {
    let mut names = Names::default();
    let mut instants = Instants::default();
    let mut clock = Clock::new("arrival_timestamp", Unit::Seconds);
    for path in files {
        let own_name = stem(path);
        let mut rows = Rows::open(path)?;
        let application = rows.find("application_id")?;
        let [at, prompt_size, token_size] =
            [rows.column("arrival_timestamp")?, rows.column("prompt_size")?, rows.column("token_size")?];
        while let Some(row) = rows.next()? {
            let arrived = row.time(at, &mut clock)?;
            let name = application.map_or(own_name.as_bytes(), |column| row.bytes(column));
            let function = names.id(name).ok_or_else(|| row.error("application_id is not UTF-8 text"))?;
            let prompt = row.count(prompt_size, "prompt_size")?;
            let output = row.count(token_size, "token_size")?;
            instants.push(arrived, function);
            instants.lengths.push(Lengths { prompt, output });
        }
    }
    Ok(Trace::of_instants(names.into_list(), instants, &clock))
}
