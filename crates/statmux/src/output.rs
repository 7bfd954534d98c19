//! What leaves the program: data on stdout, errors on stderr, and the exit code.

use crate::args::Format;
use serde::Serialize;
use statmux_core::files::FileError;
use std::io::Write;
use std::process::ExitCode;

/// How a command ended when nothing failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// All was done.
    Done,
    /// A target asked for was not reached.
    TargetMissed,
}

impl From<End> for ExitCode {
    fn from(end: End) -> Self {
        match end {
            End::Done => Self::SUCCESS,
            End::TargetMissed => Self::from(3),
        }
    }
}

/// Arguments that make no sense together or name something unknown.
#[derive(Debug)]
pub(crate) struct UsageError(pub(crate) String);

impl std::fmt::Display for UsageError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for UsageError {}

/// Prints the error with its causes and returns its exit code: 2 if the user's input is at fault, else 1.
pub(crate) fn fail(error: &anyhow::Error) -> ExitCode {
    let causes: Vec<String> = error.chain().map(ToString::to_string).collect();
    eprintln!("error: {}", causes.join(": "));
    let is_input = error.chain().any(|cause| cause.is::<FileError>() || cause.is::<UsageError>());
    ExitCode::from(if is_input { 2 } else { 1 })
}

/// Writes a command's result to stdout: `text` for people, `data` for programs.
///
/// A reader that closes the pipe early is not an error.
pub(crate) fn print(format: Format, text: impl FnOnce() -> String, data: &impl Serialize) -> anyhow::Result<()> {
    let mut out = match format {
        Format::Text => text(),
        Format::Json => serde_json::to_string_pretty(data)?,
    };
    if !out.ends_with('\n') {
        out.push('\n');
    }
    write_out(&out)
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
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}
