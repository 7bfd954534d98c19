//! `statmux trace convert`: a trace as a requests file.

use super::{Onto, Source};
use crate::args::{Common, positive};
use crate::output::{End, UsageError, print_beside, say};
use clap::Args;
use serde::Serialize;
use statmux_core::files::Quantity;
use statmux_core::{Seed, Span};
use statmux_report::number;
use statmux_workload::requests::{check_output, write_requests};
use statmux_workload::table::{Mapping, ResampleTable, WindowTable, WorkloadKind};
use statmux_workload::{Format, WorkloadTable};
use std::path::{Path, PathBuf};

/// Arguments of `statmux trace convert`.
#[derive(Debug, Args)]
pub(super) struct ConvertArgs {
    #[command(flatten)]
    source: Source,
    /// The requests file to write: .csv, .csv.gz, .csv.zst or .parquet; `-` is stdout
    #[arg(long, value_name = "OUT")]
    to: PathBuf,
    #[command(flatten)]
    onto: Onto,
    /// Draws arrivals anew from a Gamma fit of each window instead of replaying them
    #[arg(long)]
    resample: bool,
    /// How long the windows of `--resample` are
    #[arg(long, value_name = "SPAN", requires = "resample")]
    interval: Option<Span>,
    /// Multiplies every window's rate
    #[arg(long, value_name = "FACTOR", requires = "resample")]
    rate_scale: Option<f64>,
    /// Sets every window's CV
    #[arg(long, value_name = "CV", requires = "resample", conflicts_with = "cv_scale")]
    cv: Option<f64>,
    /// Multiplies every window's CV
    #[arg(long, value_name = "FACTOR", requires = "resample")]
    cv_scale: Option<f64>,
    /// Lets the clock run so many times faster than recorded
    #[arg(long, value_name = "FACTOR")]
    time_scale: Option<f64>,
    /// Keeps each recorded request with this probability
    #[arg(long, value_name = "SHARE", conflicts_with = "resample")]
    thin: Option<f64>,
    /// Keeps only the first so many requests
    #[arg(long, value_name = "N", value_parser = positive::<u64>)]
    max_requests: Option<u64>,
}

#[derive(Serialize)]
struct Data {
    file: String,
    requests: usize,
    models: usize,
    duration_s: f64,
    /// When its first request arrived on the clock of the trace; requests are written on a clock that starts there.
    starts_at_s: f64,
    seed: u64,
    provenance: String,
}

pub(super) fn run(args: &ConvertArgs, common: Common) -> anyhow::Result<End> {
    check_output(&args.to)?;
    let format = args.source.format()?;
    let (start, end) = args.source.bounds()?;
    let (names, mapping) = match args.onto.models {
        Some(models) => ((0..models).map(|model| format!("m{model}")).collect(), args.onto.mapping),
        None => (args.source.read()?.trace.functions, Mapping::ByName),
    };
    let absolute = |file: &PathBuf| std::path::absolute(file).map_err(|error| UsageError(error.to_string()));
    let files: Vec<PathBuf> = args.source.files.iter().map(absolute).collect::<Result<_, _>>()?;
    // Requests that stay what they are keep their SLOs, which traces do not have.
    let as_listed = format == Format::Requests
        && matches!(files[..], [_])
        && !args.resample
        && (args.onto.models.is_none() && args.time_scale.is_none() && args.thin.is_none());
    let table = WorkloadTable {
        kind: Some(if as_listed { WorkloadKind::Requests } else { WorkloadKind::Trace }),
        format: (!as_listed).then_some(format),
        file: as_listed.then(|| files[0].clone()),
        files: (!as_listed).then_some(files),
        window: (start.is_some() || end.is_some()).then_some(WindowTable { start, end }),
        columns: args.source.columns.clone(),
        mapping: (!as_listed).then_some(mapping),
        resample: args.resample.then(|| ResampleTable {
            interval: args.interval.map(Quantity),
            rate_scale: args.rate_scale,
            cv: args.cv,
            cv_scale: args.cv_scale,
            ..ResampleTable::default()
        }),
        time_scale: args.time_scale,
        thin: args.thin,
        max_requests: args.max_requests,
        ..WorkloadTable::default()
    };
    let seed = Seed(common.seed.unwrap_or(0));
    let built = table.build_with_provenance(Path::new("command line"), &names, seed)?;
    for text in built.warnings.iter().filter(|_| !common.quiet) {
        say(format!("warning: {text}"));
    }
    for text in built.remarks.iter().filter(|_| !common.quiet) {
        say(format!("note: {text}"));
    }
    write_requests(&args.to, &built.workload, &names)?;
    let data = Data {
        file: args.to.display().to_string(),
        requests: built.workload.len(),
        models: names.len(),
        duration_s: built.workload.duration.seconds(),
        starts_at_s: built.offset.seconds(),
        seed: seed.0,
        provenance: built.provenance,
    };
    let text = || {
        let (requests, span) = (number::count(data.requests as u64), number::duration(data.duration_s));
        format!("{}: {requests} requests over {span}, seed {}\n{}\n", data.file, data.seed, data.provenance)
    };
    print_beside(Some(&args.to), common.format, text, &data)?;
    Ok(End::Done)
}
