//! The server's log lines, on stderr.

use crate::args::Common;
use clap::ValueEnum;
use std::ffi::OsString;
use std::fmt::Display;
use std::io::IsTerminal;
use std::panic::PanicHookInfo;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people
    Text,
    /// One JSON object a line, whatever is said
    Json,
}

/// What talk goes under in a log that takes it.
const TALK: &str = "statmux::talk";

/// Begins to log: warnings with `-q`, everything of interest by default, every connection with `-v`. What operators
/// did, and the access log if it is wanted, are logged in any case. As JSON, everything that the program says on
/// stderr from now on is a log line.
pub(crate) fn begin(format: LogFormat, access_log: bool, common: Common) {
    let level = match (common.quiet, common.verbose) {
        (true, _) => LevelFilter::WARN,
        (_, true) => LevelFilter::DEBUG,
        _ => LevelFilter::INFO,
    };
    let mut wanted = Targets::new().with_default(level).with_target("statmux::audit", level.max(LevelFilter::INFO));
    if access_log {
        wanted = wanted.with_target("statmux::access", level.max(LevelFilter::INFO));
    }
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    match format {
        LogFormat::Text => {
            let lines = lines.with_ansi(std::io::stderr().is_terminal());
            let wanted = wanted.with_target(TALK, LevelFilter::OFF);
            tracing_subscriber::registry().with(lines).with(wanted).init();
        }
        LogFormat::Json => {
            let wanted = wanted.with_target(TALK, LevelFilter::TRACE);
            tracing_subscriber::registry().with(lines.json()).with(wanted).init();
            std::panic::set_hook(Box::new(log_panic));
        }
    }
}

/// Takes what is said on stderr into the log, if there is one and it takes everything.
pub(crate) fn takes(line: impl Display) -> bool {
    if !tracing::enabled!(target: TALK, tracing::Level::INFO) {
        return false;
    }
    let line = line.to_string();
    if let Some(error) = line.strip_prefix("error: ") {
        tracing::error!(target: TALK, "{error}");
    } else if let Some(warning) = line.strip_prefix("warning: ") {
        tracing::warn!(target: TALK, "{warning}");
    } else {
        tracing::info!(target: TALK, "{line}");
    }
    true
}

fn log_panic(panic: &PanicHookInfo<'_>) {
    let payload = panic.payload();
    let message =
        payload.downcast_ref::<String>().map(String::as_str).or_else(|| payload.downcast_ref::<&str>().copied());
    let message = message.unwrap_or("no message");
    let location = panic.location().map(ToString::to_string);
    let thread = std::thread::current();
    tracing::error!(target: TALK, thread = thread.name(), location, "panicked: {message}");
}

/// Whether a command line that could not be understood asks for a log in JSON: then what is wrong with it is said so.
pub(crate) fn is_json_asked_for(args: impl Iterator<Item = OsString>) -> bool {
    let args: Vec<OsString> = args.skip(1).collect();
    let serves = args.iter().any(|arg| arg == "serve");
    serves
        && (args.iter().any(|arg| arg == "--log=json")
            || args.windows(2).any(|two| two[0] == "--log" && two[1] == "json"))
}
