//! `statmux compare-runs`: a simulated and a served run of one workload, side by side.

use crate::args::{Common, limit};
use crate::output::{End, UsageError, print};
use clap::Args;
use serde::Serialize;
use statmux_report::number;
use statmux_report::table::{Cell, Column, Table};
use statmux_serve::compare::{Causes, Comparison, FinishedRun, Side, compare};
use statmux_workload::requests::{Recorded, read_results};
use std::path::PathBuf;

/// Arguments of `statmux compare-runs`.
#[derive(Debug, Args)]
pub(crate) struct CompareRunsArgs {
    /// What became of each request as simulated (`simulate --requests-out`)
    #[arg(value_name = "SIMULATED")]
    simulated: PathBuf,
    /// What became of each as served (`replay --requests-out`)
    #[arg(value_name = "SERVED")]
    served: PathBuf,
    /// Ends with exit code 3 if attainment differs by more percentage points
    #[arg(long, value_name = "POINTS", value_parser = limit)]
    max_attainment_points: Option<f64>,
    /// Ends with exit code 3 if mean latency differs by more per cent
    #[arg(long, value_name = "PERCENT", value_parser = limit)]
    max_mean_percent: Option<f64>,
}

/// What `--format json` prints.
#[derive(Serialize)]
struct CompareResult {
    version: u32,
    #[serde(flatten)]
    comparison: Comparison,
    within_limits: bool,
}

pub(crate) fn run(args: &CompareRunsArgs, common: Common) -> anyhow::Result<End> {
    let simulated = read_results(&args.simulated)?;
    let served = read_results(&args.served)?;
    let names = |run: &Recorded| run.model.iter().map(|model| run.names[model.index()].clone()).collect::<Vec<_>>();
    let comparison = compare(finished(&simulated), finished(&served)).map_err(|error| UsageError(error.to_string()))?;
    if names(&simulated) != names(&served) {
        return Err(
            UsageError("the runs are not of the same workload: they ask for different models".to_owned()).into()
        );
    }
    let attainment = comparison.attainment_percent.difference.abs();
    let mean = comparison.mean_s.relative_percent.map_or(0.0, f64::abs);
    let within_limits = args.max_attainment_points.is_none_or(|most| attainment <= most)
        && args.max_mean_percent.is_none_or(|most| mean <= most);
    let result = CompareResult { version: statmux_core::files::VERSION, comparison, within_limits };
    print(common.format, || text(&result.comparison), &result)?;
    Ok(if within_limits { End::Done } else { End::TargetMissed })
}

fn finished(run: &Recorded) -> FinishedRun<'_> {
    FinishedRun { arrived: &run.arrived, outcomes: &run.outcomes }
}

fn text(comparison: &Comparison) -> String {
    let mut text = format!("{} requests\n\n", number::count(comparison.requests as u64));
    text.push_str(&table(comparison).to_text());
    text.push_str(&causes(&comparison.causes));
    text
}

fn table(comparison: &Comparison) -> Table {
    let columns = ["simulated", "served", "difference"].map(Column::number);
    let mut table = Table::new([Column::text("")].into_iter().chain(columns));
    let Side { simulated, served, difference, .. } = comparison.attainment_percent;
    table.row([
        Cell::from("SLO attainment"),
        Cell::percent(simulated / 100.0),
        Cell::percent(served / 100.0),
        Cell::from(number::percentage_points(difference / 100.0).as_str()),
    ]);
    let latencies = [
        ("mean latency", comparison.mean_s),
        ("p50", comparison.p50_s),
        ("p90", comparison.p90_s),
        ("p99", comparison.p99_s),
        ("max", comparison.max_s),
    ];
    for (name, side) in latencies {
        let relative =
            side.relative_percent.map_or_else(Cell::nothing, |percent| Cell::from(format!("{percent:+.1} %").as_str()));
        table.row([Cell::from(name), Cell::latency(side.simulated), Cell::latency(side.served), relative]);
    }
    table
}

/// Where differences come from, in sentences.
fn causes(causes: &Causes) -> String {
    let different: u64 = causes.changed.values().sum();
    let mut text = format!(
        "\nDecisions: {} requests ended alike, {} otherwise",
        number::count(causes.same_outcome),
        number::count(different)
    );
    let changed: Vec<String> = causes.changed.iter().map(|(pair, count)| format!("{pair} {count}")).collect();
    if !changed.is_empty() {
        text.push_str(&format!(" ({})", changed.join(", ")));
    }
    let milliseconds = |seconds: f64| format!("{:+.2} ms", 1e3 * seconds);
    text.push_str(&format!(
        ".\nOf {} served in both, served took longer by {} waiting and {} running on average; a single latency is off by {:.2} ms.\n",
        number::count(causes.served_in_both),
        milliseconds(causes.waiting_s),
        milliseconds(causes.running_s),
        1e3 * causes.absolute_s,
    ));
    text
}
