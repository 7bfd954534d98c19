//! The statmux command: arguments in, one library call, data out.
//!
//! Data goes to stdout, talk to stderr. Exit codes: 0 done, 1 the run failed, 2 bad usage or bad input,
//! 3 a target asked for was not reached, 130 and 143 interrupted or told to end.

mod args;
mod commands;
mod interrupt;
mod log;
mod output;
mod planning;
mod progress;
mod scenario;
mod serving;
mod sizing;
mod words;

use clap::Parser;
use output::End;
use std::process::ExitCode;

fn main() -> ExitCode {
    // Before any other thread exists.
    serving::prepare_threads();
    let args = match commands::Args::try_parse() {
        Ok(args) => args,
        Err(answer) => return output::answer(&answer),
    };
    interrupt::listen();
    match commands::run(args) {
        Ok(End::Done) => ExitCode::SUCCESS,
        Ok(End::TargetMissed) => ExitCode::from(3),
        Ok(End::Interrupted) => ExitCode::from(interrupt::exit_code()),
        Err(error) => output::fail(&error),
    }
}
