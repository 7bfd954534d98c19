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

use crate::args::{Args, Command};
use crate::output::End;

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
