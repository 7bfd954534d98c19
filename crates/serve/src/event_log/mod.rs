//! The event log on disk: everything the scheduler was told and did, one JSON object a line.
//!
//! The first line says what was served from where, the others are [`Entry`]s in the order in which they were
//! handled, so that a fresh scheduler can be given the same events and must act the same ([`LogReader::replay`]).
//! Where the placement was replaced there is another line like the first: a new scheduler, and a new clock, begin.
//! The server writes through a thread of its own ([`LogWriter`]): a slow disk delays nobody, and little is kept in
//! memory. What could not be written leaves a gap, which the log tells in its place.

mod line;
mod writer;

pub use writer::{LogEnd, LogHealth, LogLines, LogWriter};

use line::{EntryLine, GapLine};
use serde::{Deserialize, Serialize};
use statmux_core::Time;
use statmux_core::files::{FileError, PlacementFile, VERSION, check_version, parse_json};
use statmux_sched::log::Entry;
use statmux_sched::{Action, Scheduler};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

/// The first line of a log.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct LogHeader {
    version: u32,
    /// Names of the models, by id.
    pub models: Vec<String>,
    /// What was loaded where.
    pub placement: PlacementFile,
    /// What the scheduler was told of this, which no scenario says; see
    /// [`Settings`](statmux_sched::Settings::retries_after_loss).
    #[serde(default, skip_serializing_if = "is_zero")]
    pub retries_after_loss: u32,
}

impl LogHeader {
    /// The header of a log about these models.
    pub fn new(models: Vec<String>, placement: PlacementFile, retries_after_loss: u32) -> Self {
        Self { version: VERSION, models, placement, retries_after_loss }
    }
}

// The signature is what serde asks for.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// One line of a log.
#[derive(Clone, Debug)]
pub enum Line {
    /// A placement takes the place of the one before, and a new scheduler begins.
    Placed(LogHeader),
    /// An event, what the scheduler did, and for an arrival over HTTP which request that was.
    Entry(Entry, Option<Origin>),
}

/// A client's request as the server's log lines name it; the scheduler knows nothing of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Its id.
    pub request_id: String,
    /// The trace it belongs to, if the client named one.
    pub trace_id: Option<String>,
}

/// A log that is being read.
#[derive(Debug)]
pub struct LogReader {
    path: PathBuf,
    lines: BufReader<File>,
    header: LogHeader,
}

/// What a replay found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LogReplay {
    /// Entries that were replayed.
    pub entries: u64,
    /// Actions the scheduler took, all as recorded up to the difference.
    pub actions: u64,
    /// Whether the last line broke off, as after a crash; it is left out.
    pub cut_off: bool,
    /// Where the log says that lines are missing.
    pub gaps: Vec<LogGap>,
    /// Entries after a gap and before the next placement: what the scheduler knew of is missing, so they say nothing.
    pub unchecked: u64,
    /// The first entry at which the fresh scheduler acted otherwise.
    pub difference: Option<LogDifference>,
}

/// A place where lines are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogGap {
    /// The line that says so, from 1.
    pub line: u64,
    /// How many are missing.
    pub missing: u64,
}

/// An entry that did not replay as recorded.
#[derive(Clone, Debug, PartialEq)]
pub struct LogDifference {
    /// Its line in the file, from 1.
    pub line: u64,
    /// What the log says.
    pub recorded: Entry,
    /// What the fresh scheduler did.
    pub replayed: Vec<Action>,
}

impl LogReader {
    /// Opens the log at `path`.
    ///
    /// # Errors
    /// If it cannot be read or does not begin as a log does.
    pub fn open(path: &Path) -> Result<Self, FileError> {
        let file = File::open(path).map_err(|cause| FileError::io(path, "cannot read", cause))?;
        let mut lines = BufReader::new(file);
        let first = next_line(path, &mut lines)?.map(|line| line.trim_start_matches('\u{feff}').to_owned());
        let first = first.ok_or_else(|| FileError::whole(path, "is empty: an event log begins with a header"))?;
        let header: LogHeader = parse_json(path, &first)?;
        check_version(path, header.version)?;
        Ok(Self { path: path.to_owned(), lines, header })
    }

    /// Its first line.
    pub fn header(&self) -> &LogHeader {
        &self.header
    }

    /// Gives every event to a fresh scheduler, up to the first difference. `fresh` makes one for what a header says,
    /// and tells how many groups it knows.
    ///
    /// # Errors
    /// If a line is no entry, names a model or group that is not there, or is earlier than the one before; and what
    /// `fresh` fails with.
    pub fn replay<S: Scheduler, E: From<FileError>>(
        mut self,
        mut fresh: impl FnMut(&LogHeader) -> Result<(usize, S), E>,
    ) -> Result<LogReplay, E> {
        let (mut groups, scheduler) = fresh(&self.header)?;
        // None after a gap.
        let mut scheduler = Some(scheduler);
        let mut result = LogReplay::default();
        let (mut line, mut last) = (1, Time::ZERO);
        let mut actions = Vec::new();
        while let Some(text) = next_line(&self.path, &mut self.lines)? {
            line += 1;
            if !text.ends_with('\n') {
                result.cut_off = true;
                break;
            }
            let wrong = |what: String| FileError::at_line(&self.path, line as usize, what);
            let entry = match parse(&text).map_err(|error| wrong(format!("is no entry: {error}")))? {
                Parsed::Entry(entry) => entry,
                Parsed::Gap(missing) => {
                    result.gaps.push(LogGap { line, missing });
                    scheduler = None;
                    continue;
                }
                Parsed::Placed(header) => {
                    let (of, begins) = fresh(&header)?;
                    (groups, scheduler, last) = (of, Some(begins), Time::ZERO);
                    continue;
                }
            };
            let Some(scheduler) = &mut scheduler else {
                result.unchecked += 1;
                continue;
            };
            line::check(&entry, self.header.models.len(), groups).map_err(wrong)?;
            if entry.now < last {
                return Err(wrong("is earlier than the line before".to_owned()).into());
            }
            last = entry.now;
            scheduler.handle(entry.now, entry.event.clone(), &mut actions);
            if actions != entry.actions {
                result.difference = Some(LogDifference { line, recorded: entry, replayed: actions });
                break;
            }
            result.entries += 1;
            result.actions += actions.len() as u64;
            actions.clear();
        }
        Ok(result)
    }
}

/// What a line says.
enum Parsed {
    Entry(Entry),
    Gap(u64),
    Placed(LogHeader),
}

/// Parses a line; the error is that of an entry, which most lines are.
fn parse(text: &str) -> Result<Parsed, serde_json::Error> {
    serde_json::from_str::<EntryLine>(text).map(|entry| Parsed::Entry(entry.into())).or_else(|error| {
        let gap = serde_json::from_str(text).map(|gap: GapLine| Parsed::Gap(gap.lines()));
        gap.or_else(|_| serde_json::from_str(text).map(Parsed::Placed)).map_err(|_| error)
    })
}

/// The next line, its end included; `None` after the last.
fn next_line(path: &Path, lines: &mut BufReader<File>) -> Result<Option<String>, FileError> {
    let mut text = String::new();
    match lines.read_line(&mut text) {
        Ok(0) => Ok(None),
        Ok(_) => Ok(Some(text)),
        Err(cause) => Err(FileError::io(path, "cannot read", cause)),
    }
}
