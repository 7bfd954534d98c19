//! Azure LLM inference 2023: `TIMESTAMP,ContextTokens,GeneratedTokens`, one file per service.
//!
//! Each file is one function, named by the file (`code`, `conv`); the clock starts at the first call of any.
//!
//! Patel et al., Splitwise, ISCA 2024.

use super::{datetime, stem};
use crate::recorded::{Instants, Recorded, Trace};
use crate::rows::Rows;
use statmux_core::Lengths;
use statmux_core::files::FileError;
use std::path::PathBuf;

pub(super) fn read(files: &[PathBuf]) -> Result<Trace, FileError> {
    let mut functions = Vec::new();
    let mut instants = Instants::default();
    for (function, path) in (0_u32..).zip(files) {
        let name = stem(path);
        functions.push(name.strip_prefix("AzureLLMInferenceTrace_").unwrap_or(&name).to_owned());
        let mut rows = Rows::open(path)?;
        let [at, context, generated] =
            [rows.column("TIMESTAMP")?, rows.column("ContextTokens")?, rows.column("GeneratedTokens")?];
        while let Some(row) = rows.next()? {
            let arrived = datetime::parse(row.bytes(at))
                .ok_or_else(|| row.error("TIMESTAMP is no date and time such as 2023-11-16 18:17:03.9799600"))?;
            let prompt = row.count(context, "ContextTokens")?;
            let output = row.count(generated, "GeneratedTokens")?;
            instants.push(arrived, function);
            instants.lengths.push(Lengths { prompt, output });
        }
    }
    Ok(on_own_clock(functions, instants))
}

/// A trace of dated calls, on a clock that starts with the first.
pub(super) fn on_own_clock(functions: Vec<String>, mut instants: Instants) -> Trace {
    instants.sort();
    instants.rebase();
    let trace = Trace::of_instants(functions, instants);
    debug_assert!(matches!(&trace.recorded, Recorded::Instants(instants) if instants.arrived.is_sorted()));
    trace
}
