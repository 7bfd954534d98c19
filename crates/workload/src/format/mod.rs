//! Readers of recorded traces, one file per public format.
//!
//! To add a format, write a module with a `read` function and a sample of some twenty lines beside the others, and add
//! a variant to [`Format`]; the all-formats test reads [`Format::ALL`].

mod alibaba_genai;
mod azure_functions_2019;
mod azure_functions_2021;
mod azure_llm_2023;
mod burstgpt;
mod lmsys_arena;
mod mooncake;
mod ours;
mod servegen;
mod splitwise;

use crate::input::Input;
use crate::messages::shorten;
use crate::recorded::Trace;
use crate::requests::Columns;
use serde::Deserialize;
use statmux_core::Time;
use statmux_core::files::FileError;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// A trace format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// Calls per function and minute, one file per day.
    #[serde(rename = "azure-functions-2019")]
    AzureFunctions2019,
    /// One row per call: end and duration.
    #[serde(rename = "azure-functions-2021")]
    AzureFunctions2021,
    /// One file per service, one row per call.
    #[serde(rename = "azure-llm-2023")]
    AzureLlm2023,
    /// JSON lines of one chat service.
    Mooncake,
    /// Rate and gap distribution per client and ten minutes.
    #[serde(rename = "servegen")]
    ServeGen,
    /// One row per call of two chat models.
    #[serde(rename = "burstgpt")]
    BurstGpt,
    /// One row per image request, by base model.
    AlibabaGenai,
    /// One row per chat request, by model.
    LmsysArena,
    /// One row per request, by application.
    Splitwise,
    /// Our own requests files.
    Requests,
}

impl Format {
    /// Every format.
    pub const ALL: [Self; 10] = [
        Self::AzureFunctions2019,
        Self::AzureFunctions2021,
        Self::AzureLlm2023,
        Self::Mooncake,
        Self::ServeGen,
        Self::BurstGpt,
        Self::AlibabaGenai,
        Self::LmsysArena,
        Self::Splitwise,
        Self::Requests,
    ];

    /// The word used in scenarios and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::AzureFunctions2019 => "azure-functions-2019",
            Self::AzureFunctions2021 => "azure-functions-2021",
            Self::AzureLlm2023 => "azure-llm-2023",
            Self::Mooncake => "mooncake",
            Self::ServeGen => "servegen",
            Self::BurstGpt => "burstgpt",
            Self::AlibabaGenai => "alibaba-genai",
            Self::LmsysArena => "lmsys-arena",
            Self::Splitwise => "splitwise",
            Self::Requests => "requests",
        }
    }

    /// One line on what it holds.
    pub fn about(self) -> &'static str {
        match self {
            Self::AzureFunctions2019 => "Azure Functions 2019: calls per function and minute, one file per day",
            Self::AzureFunctions2021 => "Azure Functions 2021: app,func,end_timestamp,duration",
            Self::AzureLlm2023 => {
                "Azure LLM inference 2023: TIMESTAMP,ContextTokens,GeneratedTokens, one file per service"
            }
            Self::Mooncake => "Mooncake (Kimi): JSON lines with timestamp in ms and token counts",
            Self::ServeGen => "ServeGen: rate and gap distribution per client and ten minutes",
            Self::BurstGpt => "BurstGPT: Timestamp,Model,Request tokens,Response tokens,…",
            Self::AlibabaGenai => "Alibaba GenAI 2026: image requests by base model",
            Self::LmsysArena => "LMSYS Chatbot Arena: req_id,arrival_s,model_index,prompt_len,output_len",
            Self::Splitwise => "splitwise-sim: request_id,…,arrival_timestamp,…,prompt_size,token_size",
            Self::Requests => "our own: arrival_s,model[,slo_s][,prompt_tokens,output_tokens], CSV or Parquet",
        }
    }

    /// Tells a file's format by its beginning.
    pub fn detect(path: &Path) -> Result<Self, FileError> {
        if path.extension().is_some_and(|ending| ending == "parquet") {
            return Ok(Self::Requests);
        }
        let input = Input::open(path)?;
        let line = input.beginning().split(|byte| matches!(byte, b'\n' | b'\r')).find(|line| !line.is_empty());
        let first = String::from_utf8_lossy(line.unwrap_or_default());
        let line = first.to_lowercase();
        if line.is_empty() {
            return Err(FileError::whole(path, "is empty"));
        }
        // The column, or the first character, that only this format has.
        let marks = [
            ("hashfunction", Self::AzureFunctions2019),
            ("end_timestamp", Self::AzureFunctions2021),
            ("contexttokens", Self::AzureLlm2023),
            ("input_length", Self::Mooncake),
            ("iat_cv", Self::ServeGen),
            ("request tokens", Self::BurstGpt),
            ("gmt_create", Self::AlibabaGenai),
            ("model_index", Self::LmsysArena),
            ("arrival_timestamp", Self::Splitwise),
            ("arrival_s", Self::Requests),
        ];
        let marked = marks.into_iter().find(|(mark, _)| line.contains(mark)).map(|(_, format)| format);
        let headless = line.split([',', ';', '\t', '|']).count() == 6 && line.starts_with(|c: char| c.is_ascii_digit());
        marked.or(headless.then_some(Self::ServeGen)).ok_or_else(|| {
            let names: Vec<&str> = Self::ALL.iter().map(|format| format.name()).collect();
            FileError::at_line(
                path,
                1,
                format!("is the beginning of no trace format we know: {}", shorten(first.trim())),
            )
            .with_help(format!(
                "name the format, one of {}; or the columns, such as arrival=timestamp,model=endpoint",
                names.join(", ")
            ))
        })
    }

    /// Reads a trace, all files together; of per-minute formats only what begins before `until`.
    pub fn read(self, files: &[PathBuf], until: Time) -> Result<Trace, FileError> {
        self.read_mapped(files, until, None)
    }

    /// The same with the columns that a `mapping` names; only [`Format::Requests`] takes one.
    pub fn read_mapped(self, files: &[PathBuf], until: Time, mapping: Option<&Columns>) -> Result<Trace, FileError> {
        match self {
            Self::AzureFunctions2019 => azure_functions_2019::read(files, until),
            Self::AzureFunctions2021 => azure_functions_2021::read(files),
            Self::AzureLlm2023 => azure_llm_2023::read(files),
            Self::Mooncake => mooncake::read(files),
            Self::ServeGen => servegen::read(files, until),
            Self::BurstGpt => burstgpt::read(files),
            Self::AlibabaGenai => alibaba_genai::read(files),
            Self::LmsysArena => lmsys_arena::read(files),
            Self::Splitwise => splitwise::read(files),
            Self::Requests => ours::read(files, mapping),
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Format {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|format| format.name() == name).ok_or_else(|| {
            let names: Vec<&str> = Self::ALL.iter().map(|format| format.name()).collect();
            match statmux_core::files::nearest(name, &names) {
                Some(near) => format!("unknown format `{name}`; did you mean `{near}`?"),
                None => format!("unknown format `{name}`; known: {}", names.join(", ")),
            }
        })
    }
}
