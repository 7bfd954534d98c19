//! One file per command. Each takes its arguments, calls the libraries, and prints.

pub(crate) mod compare;
pub(crate) mod compare_runs;
pub(crate) mod demo;
pub(crate) mod explain;
pub(crate) mod figures;
pub(crate) mod plan;
pub(crate) mod policies;
pub(crate) mod profile;
pub(crate) mod replay;
pub(crate) mod replay_log;
pub(crate) mod serve;
pub(crate) mod simulate;
pub(crate) mod size;
pub(crate) mod sweep;
mod tables;
pub(crate) mod trace;

use crate::args::Common;
use crate::output::End;
use clap::{Parser, Subcommand};

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

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// The two-minute tour on data in the repository; needs nothing else
    Demo(demo::DemoArgs),
    /// Search a placement: what was found, and how good it is
    Plan(plan::PlanArgs),
    /// Simulate a placement under the scenario's workload
    Simulate(simulate::SimulateArgs),
    /// Plan and simulate with several policies, side by side
    Compare(compare::CompareArgs),
    /// Which models miss, when and why; what would help; what a lost device costs
    Explain(explain::ExplainArgs),
    /// The fewest devices, the highest rate or CV, or the tightest SLOs for a target
    Size(size::SizeArgs),
    /// A grid of scenarios, in parallel, resumable
    Sweep(sweep::SweepArgs),
    /// The real server: models over HTTP, scheduled as simulated
    Serve(serve::ServeArgs),
    /// Send the scenario's workload to a server; report as `simulate` does
    Replay(replay::ReplayArgs),
    /// A simulated and a served run side by side
    CompareRuns(compare_runs::CompareRunsArgs),
    /// Give a server's event log to a fresh scheduler, which must act the same
    ReplayLog(replay_log::ReplayLogArgs),
    /// Measure models on this machine into a profile file
    Profile(profile::ProfileArgs),
    /// Look at traces, convert, fit and synthesise them
    Trace(trace::TraceArgs),
    /// Every figure and table of the AlpaServe paper and of a report that reproduces it, as CSV, SVG and PNG
    Figures(figures::FiguresArgs),
    /// What can be named in a scenario, one line each
    Policies,
}

/// Runs the command that was typed.
pub(crate) fn run(args: Args) -> anyhow::Result<End> {
    let common = args.common;
    match args.command {
        Command::Demo(demo) => demo::run(&demo, common),
        Command::Plan(plan) => plan::run(&plan, common),
        Command::Simulate(simulate) => simulate::run(&simulate, common),
        Command::Compare(compare) => compare::run(&compare, common),
        Command::Explain(explain) => explain::run(&explain, common),
        Command::Size(size) => size::run(&size, common),
        Command::Sweep(sweep) => sweep::run(&sweep, common),
        Command::Serve(serve) => serve::run(&serve, common),
        Command::Replay(replay) => replay::run(&replay, common),
        Command::CompareRuns(compare) => compare_runs::run(&compare, common),
        Command::ReplayLog(replay) => replay_log::run(&replay, common),
        Command::Profile(profile) => profile::run(&profile, common),
        Command::Trace(trace) => trace::run(&trace, common),
        Command::Figures(figures) => figures::run(&figures, common),
        Command::Policies => policies::run(common),
    }
}
