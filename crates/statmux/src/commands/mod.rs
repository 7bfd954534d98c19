//! One file per command. Each takes its arguments, calls the libraries, and prints.

pub(crate) mod compare;
pub(crate) mod demo;
pub(crate) mod figures;
pub(crate) mod plan;
pub(crate) mod policies;
pub(crate) mod simulate;
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
        Command::Sweep(sweep) => sweep::run(&sweep, common),
        Command::Trace(trace) => trace::run(&trace, common),
        Command::Figures(figures) => figures::run(&figures, common),
        Command::Policies => policies::run(common),
    }
}
