//! Azure LLM inference 2023: `TIMESTAMP,ContextTokens,GeneratedTokens`, one file per service.
//!
//! Each file is one function, named by the file (`code`, `conv`); the clock starts at the first call of any.
//!
//! Patel et al., Splitwise, ISCA 2024.

use crate::clock::{Clock, Unit};
use crate::input::stem;
use crate::recorded::{Instants, Trace};
use crate::rows::Rows;
use statmux_core::Lengths;
use statmux_core::files::FileError;
use std::path::PathBuf;

pub(super) fn read(files: &[PathBuf]) -> Result<Trace, FileError> {
    let mut functions = Vec::new();
    let mut instants = Instants::default();
    let mut clock = Clock::new("TIMESTAMP", Unit::Seconds);
    for (function, path) in (0_u32..).zip(files) {
        let name = stem(path);
        functions.push(name.strip_prefix("AzureLLMInferenceTrace_").unwrap_or(&name).to_owned());
        let mut rows = Rows::open(path)?;
        let [at, context, generated] =
            [rows.column("TIMESTAMP")?, rows.column("ContextTokens")?, rows.column("GeneratedTokens")?];
        while let Some(row) = rows.next()? {
            let arrived = row.time(at, &mut clock)?;
            let prompt = row.count(context, "ContextTokens")?;
            let output = row.count(generated, "GeneratedTokens")?;
            instants.push(arrived, function);
            instants.lengths.push(Lengths { prompt, output });
        }
    }
    Ok(Trace::of_instants(functions, instants, &clock))
}
