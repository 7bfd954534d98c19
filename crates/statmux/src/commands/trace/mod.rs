//! `statmux trace`: look at traces, convert, fit and synthesise them.

mod convert;
mod fit;
mod inspect;
mod synth;

use crate::args::Common;
use crate::output::{End, UsageError};
use clap::{Args, Subcommand};
use statmux_core::Span;
use statmux_core::files::FileError;
use statmux_workload::Format;
use statmux_workload::recorded::Trace;
use statmux_workload::table::{Mapping, TraceTime, cut};
use std::path::PathBuf;

/// Arguments of `statmux trace`.
#[derive(Debug, Args)]
pub(crate) struct TraceArgs {
    #[command(subcommand)]
    command: TraceCommand,
}

#[derive(Debug, Subcommand)]
enum TraceCommand {
    /// Span, counts, rates, burstiness, skew, and a picture of load over time
    Inspect(inspect::InspectArgs),
    /// Turn a trace into a requests file
    Convert(convert::ConvertArgs),
    /// Rate and CV of each function or model in each window, as CSV
    Fit(fit::FitArgs),
    /// Draw a synthetic trace that looks like a public one
    Synth(synth::SynthArgs),
}

pub(crate) fn run(args: &TraceArgs, common: Common) -> anyhow::Result<End> {
    match &args.command {
        TraceCommand::Inspect(args) => inspect::run(args, common),
        TraceCommand::Convert(args) => convert::run(args, common),
        TraceCommand::Fit(args) => fit::run(args, common),
        TraceCommand::Synth(args) => synth::run(args, common),
    }
}

/// The trace that most subcommands take.
#[derive(Debug, Args)]
struct Source {
    /// The trace's files, all of one format; gzip and Zstandard are fine
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// The format; told from the first file's beginning if left out
    #[arg(long, value_name = "FORMAT")]
    from: Option<Format>,
    /// The part to use, such as `0.8.0..0.9.0` (day.hour.minute) or `8h..9h`; either side may be empty
    #[arg(long, value_name = "START..END")]
    window: Option<String>,
}

/// Which model a function belongs to.
#[derive(Debug, Args)]
struct Onto {
    /// Sums the functions into so many models, m0, m1, …; each function is a model of its own if left out
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    models: Option<u32>,
    /// How functions become models: stripe, blocks
    #[arg(long, value_name = "RULE", default_value = "stripe", value_parser = mapping)]
    mapping: Mapping,
}

fn mapping(name: &str) -> Result<Mapping, String> {
    match name {
        "stripe" => Ok(Mapping::Stripe),
        "blocks" => Ok(Mapping::Blocks),
        _ => Err("one of stripe, blocks".to_owned()),
    }
}

impl Source {
    fn format(&self) -> Result<Format, FileError> {
        match self.from {
            Some(format) => Ok(format),
            None => Format::detect(&self.files[0]),
        }
    }

    /// Where the window starts and ends.
    fn bounds(&self) -> Result<(Option<TraceTime>, Option<TraceTime>), UsageError> {
        let Some(text) = &self.window else { return Ok((None, None)) };
        let wrong = |what: String| UsageError(format!("--window {text}: {what}"));
        let (start, end) = text.split_once("..").ok_or_else(|| wrong("write START..END".to_owned()))?;
        let side = |text: &str| if text.is_empty() { Ok(None) } else { text.parse().map(Some).map_err(wrong) };
        let (start, end) = (side(start)?, side(end)?);
        if start.is_some() && end.is_some() && start >= end {
            return Err(wrong("ends before it starts".to_owned()));
        }
        Ok((start, end))
    }

    /// The window's part of the trace, and the window's length.
    fn read(&self) -> anyhow::Result<(Format, Trace, Span)> {
        let (start, end) = self.bounds()?;
        let (start, end) = (start.map(|time| time.0), end.map(|time| time.0));
        let format = self.format()?;
        let trace = format.read(&self.files, end.unwrap_or(statmux_core::Time::NEVER))?;
        let (trace, span) = cut(trace, start, end);
        if trace.counts().iter().all(|&count| count == 0) {
            return Err(FileError::whole(&self.files[0], "holds no request in this window").into());
        }
        Ok((format, trace, span))
    }
}
