//! `statmux trace`: look at traces, convert, fit and synthesise them.

mod convert;
mod fit;
mod inspect;
mod synth;

use crate::args::Common;
use crate::output::{End, UsageError};
use clap::{Args, Subcommand};
use statmux_core::files::FileError;
use statmux_core::{Span, Time};
use statmux_workload::Format;
use statmux_workload::recorded::{Recorded, Trace};
use statmux_workload::requests::Columns;
use statmux_workload::table::{Mapping, TraceTime, begin, cut, far_apart};
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
    /// The columns of somebody else's log, such as `arrival=timestamp,model=endpoint`; also slo, prompt_tokens,
    /// output_tokens, and arrival_unit=ms|us|ns
    #[arg(long, value_name = "WHAT=COLUMN,…")]
    columns: Option<Columns>,
    /// The part to use, such as `0.8.0..0.9.0` (day.hour.minute) or `8h..9h`; either side may be empty. Without it,
    /// everything from the first request on
    #[arg(long, value_name = "START..END")]
    window: Option<String>,
}

/// Which model a function belongs to.
#[derive(Debug, Args)]
struct Onto {
    /// Sums the functions into so many models, m0, m1, …; each function is a model of its own if left out
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1 << 20))]
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
    fn format(&self) -> anyhow::Result<Format> {
        match (self.from, &self.columns) {
            (None | Some(Format::Requests), Some(_)) => Ok(Format::Requests),
            (Some(format), Some(_)) => {
                Err(UsageError(format!("--columns: the format {format} has columns of its own")).into())
            }
            (Some(format), None) => Ok(format),
            (None, None) => Ok(Format::detect(&self.files[0])?),
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

    /// The window's part of the trace, or all of it from its first call on.
    fn read(&self) -> anyhow::Result<Part> {
        let (start, end) = self.bounds()?;
        let (start, end) = (start.map(|time| time.0), end.map(|time| time.0));
        let format = self.format()?;
        let trace = format.read_mapped(&self.files, end.unwrap_or(Time::NEVER), self.columns.as_ref())?;
        let starts = begin(&trace, start, end) + trace.taken_off;
        let (mut trace, span) = cut(trace, start, end);
        if trace.counts().iter().all(|&count| count == 0) {
            return Err(FileError::whole(&self.files[0], "holds no request in this window").into());
        }
        if let Recorded::Instants(calls) = &trace.recorded {
            trace.remarks.extend(far_apart(calls.arrived.len(), span));
        }
        Ok(Part { format, trace, span, starts })
    }
}

/// A part of a trace.
struct Part {
    format: Format,
    /// The part, on a clock that starts with it.
    trace: Trace,
    /// How long it is.
    span: Span,
    /// When it starts on the clock of the file.
    starts: Time,
}
