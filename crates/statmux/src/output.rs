//! What leaves the program: data on stdout, errors on stderr, and the exit code.

use crate::args::{Common, Format};
use crate::log::{self, LogFormat};
use serde::Serialize;
use statmux_core::files::{FileError, is_stdout};
use statmux_scenario::ScenarioError;
use std::fmt::Display;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

/// How a command ended when nothing failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// All was done.
    Done,
    /// A target asked for was not reached.
    TargetMissed,
    /// A signal came before all was done; what was finished is kept.
    Interrupted,
}

impl End {
    /// How a command ends whose work was cut short or not.
    pub(crate) fn of(interrupted: bool) -> Self {
        if interrupted { Self::Interrupted } else { Self::Done }
    }
}

/// Arguments that make no sense together or name something unknown.
#[derive(Debug)]
pub(crate) struct UsageError(pub(crate) String);

impl Display for UsageError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for UsageError {}

/// Prints the error with its causes and returns its exit code: 2 if the user's input is at fault, else 1.
pub(crate) fn fail(error: &anyhow::Error) -> ExitCode {
    let causes: Vec<String> = error.chain().map(ToString::to_string).collect();
    say(format!("error: {}", causes.join(": ")));
    let is_input = error.chain().any(|cause| {
        let of_scenario = cause.downcast_ref::<ScenarioError>().is_some_and(ScenarioError::is_input);
        let of_file = cause.downcast_ref::<FileError>().is_some_and(|error| !error.is_while_writing());
        of_scenario || of_file || cause.is::<UsageError>()
    });
    ExitCode::from(if is_input { 2 } else { 1 })
}

/// What the command line gets as an answer without a command: help, the version, or what is wrong with it.
pub(crate) fn answer(answer: &clap::Error) -> ExitCode {
    if answer.use_stderr() && log::is_json_asked_for(std::env::args_os()) {
        log::begin(LogFormat::Json, false, Common::default());
        say(answer.render().to_string().trim());
        return ExitCode::from(u8::try_from(answer.exit_code()).unwrap_or(1));
    }
    match answer.print() {
        Err(error) if answer.exit_code() == 0 && error.kind() != std::io::ErrorKind::BrokenPipe => fail(&error.into()),
        _ => ExitCode::from(u8::try_from(answer.exit_code()).unwrap_or(1)),
    }
}

/// Talk: a line on stderr, or in the log of a command that takes everything into it. That nobody can read it is no reason to stop.
pub(crate) fn say(line: impl Display) {
    if !log::takes(&line) {
        let _ = writeln!(std::io::stderr(), "{line}");
    }
}

/// Writes a command's result to stdout: `text` for people, `data` for programs.
///
/// A reader that closes the pipe early is not an error.
pub(crate) fn print(format: Format, text: impl FnOnce() -> String, data: &impl Serialize) -> anyhow::Result<()> {
    write_out(&rendered(format, text, data)?)
}

/// The same for a command that writes a file, too: if the file goes to stdout, the result goes to stderr.
pub(crate) fn print_beside(
    file: Option<&Path>,
    format: Format,
    text: impl FnOnce() -> String,
    data: &impl Serialize,
) -> anyhow::Result<()> {
    let out = rendered(format, text, data)?;
    if file.is_some_and(is_stdout) {
        say(out.trim_end_matches('\n'));
        return Ok(());
    }
    write_out(&out)
}

fn rendered(format: Format, text: impl FnOnce() -> String, data: &impl Serialize) -> anyhow::Result<String> {
    let mut out = match format {
        Format::Text => text(),
        Format::Json => serde_json::to_string_pretty(data)?,
    };
    if !out.ends_with('\n') {
        out.push('\n');
    }
    Ok(out)
}

/// Writes one line to stdout at once, for scripts that wait for it: `text` for people, `data` for programs.
pub(crate) fn print_line(format: Format, text: &str, data: &impl Serialize) -> anyhow::Result<()> {
    match format {
        Format::Text => write_out(&format!("{text}\n")),
        Format::Json => write_out(&format!("{}\n", serde_json::to_string(data)?)),
    }
}

fn write_out(out: &str) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(out.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(anyhow::Error::from(error).context("cannot write to stdout"))
        }
        _ => Ok(()),
    }
}
