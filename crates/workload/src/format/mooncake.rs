//! Mooncake: JSON lines with `timestamp` (ms), `input_length` and `output_length`; one chat service per file.
//!
//! Timestamps come in steps of some seconds, so that bursts in it are an artefact. Blocks of shared prompts
//! (`hash_ids`) are not read. Qin et al., Mooncake, FAST 2025.

use super::stem;
use crate::input::{Lines, MOST_REQUESTS};
use crate::recorded::{Instants, Trace};
use crate::rows::{bad_seconds, whole};
use serde::Deserialize;
use statmux_core::files::FileError;
use statmux_core::{Lengths, Time};
use std::path::PathBuf;

#[derive(Deserialize)]
struct Call {
    timestamp: f64,
    input_length: f64,
    output_length: f64,
}

pub(super) fn read(files: &[PathBuf]) -> Result<Trace, FileError> {
    let mut functions = Vec::new();
    let mut instants = Instants::default();
    for (function, path) in (0_u32..).zip(files) {
        functions.push(stem(path));
        let mut lines = Lines::open(path)?;
        while let Some((number, line)) = lines.next()? {
            let wrong = |what: String| FileError::at_line(path, number, what);
            let call: Call = serde_json::from_slice(line).map_err(|error| {
                let message = error.to_string();
                wrong(message.split(" at line ").next().unwrap_or(&message).to_owned())
            })?;
            let arrived = Time::from_seconds(call.timestamp / 1e3)
                .ok_or_else(|| wrong(bad_seconds("timestamp in seconds", call.timestamp / 1e3)))?;
            let tokens = |name: &str, number: f64| {
                whole(number).ok_or_else(|| wrong(format!("{name} is {number}, which is not a whole number of tokens")))
            };
            let prompt = tokens("input_length", call.input_length)?;
            let output = tokens("output_length", call.output_length)?;
            instants.push(arrived, function);
            instants.lengths.push(Lengths { prompt, output });
            if instants.arrived.len() as u64 > MOST_REQUESTS {
                return Err(wrong(format!("the trace has more than {MOST_REQUESTS} calls; split it")));
            }
        }
    }
    Ok(Trace::of_instants(functions, instants))
}
