//! The command line as typed.

use crate::commands;
use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

/// Serves many deep-learning models from few devices and keeps their latency promises.
///
/// Ctrl-C and SIGTERM ask a long command to stop: what is finished is kept, written and marked as interrupted, and the
/// exit code is 130 or 143; a second one ends it at once. Other exit codes: 0 done, 1 the run failed, 2 bad usage or
/// bad input, 3 a target asked for was not reached.
///
/// Start with `statmux demo`. A scenario file says everything a run needs; docs/formats.md describes it.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 110, after_long_help = crate::words::lines())]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options that every command takes.
#[derive(Clone, Copy, Debug, Default, ClapArgs)]
pub(crate) struct Common {
    /// How results are printed on stdout
    #[arg(long, value_enum, default_value_t = Format::Text, global = true)]
    pub(crate) format: Format,
    /// Replaces the scenario's seed
    #[arg(long, value_name = "N", global = true)]
    pub(crate) seed: Option<u64>,
    /// Say less on stderr (no progress, no remarks)
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
    /// Say more on stderr
    #[arg(short, long, global = true, conflicts_with = "quiet")]
    pub(crate) verbose: bool,
}

/// How results are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Tables for people
    #[default]
    Text,
    /// One JSON value for programs
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// The two-minute tour on data in the repository; needs nothing else
    Demo(commands::demo::DemoArgs),
    /// Search a placement: what was found, and how good it is
    Plan(commands::plan::PlanArgs),
    /// Simulate a placement under the scenario's workload
    Simulate(commands::simulate::SimulateArgs),
    /// Plan and simulate with several policies, side by side
    Compare(commands::compare::CompareArgs),
    /// Which models miss, when and why; what would help; what a lost device costs
    Explain(commands::explain::ExplainArgs),
    /// The fewest devices, the highest rate or CV, or the tightest SLOs for a target
    Size(commands::size::SizeArgs),
    /// A grid of scenarios, in parallel, resumable
    Sweep(commands::sweep::SweepArgs),
    /// The real server: models over HTTP, scheduled as simulated
    Serve(commands::serve::ServeArgs),
    /// Send the scenario's workload to a server; report as `simulate` does
    Replay(commands::replay::ReplayArgs),
    /// A simulated and a served run side by side
    CompareRuns(commands::compare_runs::CompareRunsArgs),
    /// Give a server's event log to a fresh scheduler, which must act the same
    ReplayLog(commands::replay_log::ReplayLogArgs),
    /// Measure models on this machine into a profile file
    Profile(commands::profile::ProfileArgs),
    /// Look at traces, convert, fit and synthesise them
    Trace(commands::trace::TraceArgs),
    /// Every figure and table of the AlpaServe paper and of a report that reproduces it, as CSV, SVG and PNG
    Figures(commands::figures::FiguresArgs),
    /// What can be named in a scenario, one line each
    Policies,
}

/// Reads a number, size or time that must be above 0.
pub(crate) fn positive<T>(text: &str) -> Result<T, String>
where
    T: std::str::FromStr + Default + PartialEq,
    T::Err: std::fmt::Display,
{
    match text.parse::<T>() {
        Ok(value) if value == T::default() => Err("must be above 0".to_owned()),
        Ok(value) => Ok(value),
        Err(error) => Err(error.to_string()),
    }
}

/// Reads a number that is 0 or more, and finite.
pub(crate) fn limit(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() && number >= 0.0 => Ok(number),
        Ok(_) => Err("must be a number from 0 on".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// A placement to look at, whole or after a loss.
#[derive(Clone, Debug, ClapArgs)]
pub(crate) struct PlacementArg {
    /// The placement file, as written by `statmux plan -o`
    #[arg(long, value_name = "FILE")]
    pub(crate) placement: PathBuf,
    /// Loses these devices from the beginning, and with them the groups that use them
    #[arg(long, value_name = "DEVICE,…", value_delimiter = ',')]
    pub(crate) without: Vec<u32>,
}

/// The scenario that most commands take.
#[derive(Clone, Debug, ClapArgs)]
pub(crate) struct ScenarioArg {
    /// The scenario file
    #[arg(value_name = "SCENARIO")]
    pub(crate) path: PathBuf,
    /// Replaces a value of the scenario, such as `cluster.devices=12` or `models.slo.scale=3.0`
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
}
