//! `statmux trace synth`: a synthetic trace that looks like a public one.

use crate::args::Common;
use crate::output::{End, UsageError, print_beside};
use clap::{Args, ValueEnum};
use serde::Serialize;
use statmux_core::Seed;
use statmux_core::files::check_output;
use statmux_report::number;
use statmux_workload::synth::azure_functions_2021;
use std::path::PathBuf;

/// Arguments of `statmux trace synth`.
#[derive(Debug, Args)]
pub(super) struct SynthArgs {
    /// The trace to look like
    #[arg(long, value_enum)]
    like: Like,
    /// The file to write: .csv or .csv.gz; `-` is stdout
    #[arg(short, long, value_name = "OUT")]
    output: PathBuf,
    /// How many of the fourteen days to keep
    #[arg(long, value_name = "DAYS", default_value_t = 14.0)]
    days: f64,
    /// Draws so many applications from the 119 published ones; all of them, once each, if left out
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    apps: Option<u32>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Like {
    /// Per-application counts and gap statistics of Azure Functions 2021
    #[value(name = "azure-functions-2021")]
    AzureFunctions2021,
}

#[derive(Serialize)]
struct Data {
    file: String,
    synthetic: bool,
    like: &'static str,
    requests: usize,
    apps: u32,
    seed: u64,
}

pub(super) fn run(args: &SynthArgs, common: Common) -> anyhow::Result<End> {
    if !args.days.is_finite() || args.days <= 0.0 {
        return Err(UsageError(format!("--days {}: a number above 0 was expected", args.days)).into());
    }
    const RECORDED: f64 = 14.0;
    if args.days > RECORDED {
        return Err(UsageError(format!("--days {}: the published trace has {RECORDED}", args.days)).into());
    }
    check_output(&args.output)?;
    let Like::AzureFunctions2021 = args.like;
    let seed = Seed(common.seed.unwrap_or(0));
    let trace = azure_functions_2021(args.days, args.apps, seed);
    if trace.calls.is_empty() {
        return Err(UsageError(format!("--days {}: no call comes so soon", args.days)).into());
    }
    trace.write(&args.output)?;
    let data = Data {
        file: args.output.display().to_string(),
        synthetic: true,
        like: "azure-functions-2021",
        requests: trace.calls.len(),
        apps: trace.apps,
        seed: seed.0,
    };
    let text = || {
        format!(
            "{}: SYNTHETIC, {} requests of {} applications over {}, seed {}\n\
             Real: each application's count, and of busy ones the active time and the mean, median and largest gap.\n\
             Invented: all else (independent log-normal gaps, one function per application, calls of no duration).\n",
            data.file,
            number::count(data.requests as u64),
            data.apps,
            number::duration(trace.duration().seconds()),
            data.seed,
        )
    };
    print_beside(Some(&args.output), common.format, text, &data)?;
    Ok(End::Done)
}
