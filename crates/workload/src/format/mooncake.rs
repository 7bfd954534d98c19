//! Mooncake: JSON lines with `timestamp` (ms), `input_length` and `output_length`; one chat service per file.
//!
//! Token counts may be missing, and count as none; `model`, if there, says which of several services a call was for.
//! Timestamps come in steps of some seconds, so that bursts in it are an artefact. Blocks of shared prompts
//! (`hash_ids`) and all other fields are not read. Qin et al., Mooncake, FAST 2025.

use crate::clock::{Clock, Unit};
use crate::input::{Lines, MOST_REQUESTS, stem};
use crate::names::Names;
use crate::recorded::{Instants, Trace};
use crate::rows::whole;
use serde::de::{Deserialize, Deserializer, Error, Visitor};
use statmux_core::files::FileError;
use statmux_core::{Lengths, Time};
use std::fmt;
use std::path::PathBuf;

#[derive(serde::Deserialize, Default)]
#[serde(default)]
struct Call {
    timestamp: Field,
    input_length: Field,
    output_length: Field,
    model: Option<String>,
}

/// A number, or a text that may be one; nothing if it is missing or null.
#[derive(Default)]
enum Field {
    #[default]
    Missing,
    Integer(i64),
    Number(f64),
    Text(String),
}

pub(super) fn read(files: &[PathBuf]) -> Result<Trace, FileError> {
    let mut names = Names::default();
    let mut instants = Instants::default();
    let mut clock = Clock::new("timestamp", Unit::Millis);
    let mut any_length = false;
    for (file, path) in files.iter().enumerate() {
        let own_name = stem(path);
        let own_key = format!("\0{file}");
        let mut lines = Lines::open(path)?;
        while let Some((number, line)) = lines.next()? {
            let wrong = |what: String| FileError::at_line(path, number, what);
            let call: Call = serde_json::from_slice(line).map_err(|error| {
                let message = error.to_string();
                wrong(message.split(" at line ").next().unwrap_or(&message).to_owned())
            })?;
            let arrived = time(&call.timestamp, &mut clock).map_err(wrong)?;
            let prompt = tokens("input_length", &call.input_length).map_err(wrong)?;
            let output = tokens("output_length", &call.output_length).map_err(wrong)?;
            let function = match &call.model {
                Some(model) => names.id(model.as_bytes()),
                None => names.id_shown_as(own_key.as_bytes(), &own_name),
            };
            instants.push(arrived, function.ok_or_else(|| wrong("brings too many models".to_owned()))?);
            any_length |= prompt.or(output).is_some();
            let (prompt, output) = (prompt.unwrap_or(0), output.unwrap_or(0));
            instants.lengths.push(Lengths { prompt, output });
            if instants.arrived.len() as u64 > MOST_REQUESTS {
                return Err(wrong(format!("the trace has more than {MOST_REQUESTS} calls; split it")));
            }
        }
    }
    if !any_length {
        instants.lengths.clear();
    }
    Ok(Trace::of_instants(names.into_list(), instants, &clock))
}

fn time(field: &Field, clock: &mut Clock) -> Result<Time, String> {
    match field {
        Field::Missing => Err("lacks `timestamp`: when did the call arrive?".to_owned()),
        Field::Integer(number) => clock.read_integer(*number),
        Field::Number(number) => clock.read_number(*number),
        Field::Text(text) => clock.read(text.trim().as_bytes()),
    }
}

fn tokens(name: &str, field: &Field) -> Result<Option<u32>, String> {
    let wrong = |shown: &dyn fmt::Display| format!("{name} is {shown}, which is not a whole number of tokens");
    match field {
        Field::Missing => Ok(None),
        Field::Integer(number) => u32::try_from(*number).map(Some).map_err(|_| wrong(number)),
        Field::Number(number) => whole(*number).map(Some).ok_or_else(|| wrong(number)),
        Field::Text(text) => text.trim().parse().map(Some).map_err(|_| wrong(&format_args!("`{text}`"))),
    }
}

impl<'de> Deserialize<'de> for Field {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;

        impl<'de> Visitor<'de> for Any {
            type Value = Field;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number")
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<Field, E> {
                Ok(Field::Integer(number))
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Field, E> {
                Ok(i64::try_from(number).map_or(Field::Number(number as f64), Field::Integer))
            }

            fn visit_f64<E: Error>(self, number: f64) -> Result<Field, E> {
                Ok(Field::Number(number))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Field, E> {
                Ok(Field::Text(text.to_owned()))
            }

            fn visit_unit<E: Error>(self) -> Result<Field, E> {
                Ok(Field::Missing)
            }
        }

        deserializer.deserialize_any(Any)
    }
}
