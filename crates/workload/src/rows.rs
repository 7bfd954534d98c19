//! Rows of CSV files with checked headers, one at a time.

use crate::clock::{Clock, Unit, decimal, not_a_number};
use crate::input::{Allowance, Input, MOST_REQUESTS, read_error};
use crate::messages::{bad_seconds, shorten};
use csv::{ByteRecord, ReaderBuilder};
use statmux_core::files::{FileError, by_nearness};
use statmux_core::{Span, Time};
use std::path::Path;

/// A CSV file that is being read.
pub(crate) struct Rows<'a> {
    path: &'a Path,
    reader: csv::Reader<Input>,
    allowance: Allowance,
    record: ByteRecord,
    header: Vec<String>,
    row: u64,
}

/// One row of a CSV file, with what is needed to complain about it.
#[derive(Clone, Copy)]
pub(crate) struct Row<'a> {
    path: &'a Path,
    record: &'a ByteRecord,
    row: u64,
}

impl<'a> Rows<'a> {
    /// Opens a file with a header; an empty file is an error.
    pub(crate) fn open(path: &'a Path) -> Result<Self, FileError> {
        let mut rows = Self::start(path, ReaderBuilder::new().has_headers(true))?;
        let header = rows.reader.byte_headers().map_err(|error| csv_error(path, 0, error))?;
        if header.as_slice().contains(&0) {
            return Err(FileError::at_line(path, 1, NUL_BYTE).with_help(SAVE_AS_TEXT));
        }
        rows.header = header.iter().map(|name| bare(&String::from_utf8_lossy(name)).to_owned()).collect();
        if rows.header.iter().all(String::is_empty) {
            return Err(FileError::whole(path, "is empty; a header was expected in its first line"));
        }
        Ok(rows)
    }

    /// Opens a file whose first line is data already.
    pub(crate) fn open_without_header(path: &'a Path) -> Result<Self, FileError> {
        Self::start(path, ReaderBuilder::new().has_headers(false))
    }

    fn start(path: &'a Path, builder: &mut ReaderBuilder) -> Result<Self, FileError> {
        let input = Input::open(path)?;
        let allowance = input.allowance();
        let reader = builder.delimiter(separator(input.beginning())).from_reader(input);
        Ok(Self { path, reader, allowance, record: ByteRecord::new(), header: Vec::new(), row: 0 })
    }

    /// The names of the columns, in file order.
    pub(crate) fn header(&self) -> &[String] {
        &self.header
    }

    /// Where `name` stands; an error that names the nearest columns if it is missing.
    pub(crate) fn column(&self, name: &str) -> Result<usize, FileError> {
        self.find(name)?.ok_or_else(|| missing_column(self.path, name, &self.header))
    }

    /// Where `name` stands, if it is there; an error if it is there twice.
    pub(crate) fn find(&self, name: &str) -> Result<Option<usize>, FileError> {
        find_column(self.path, name, &self.header)
    }

    /// The next row, if any.
    pub(crate) fn next(&mut self) -> Result<Option<Row<'_>>, FileError> {
        self.allowance.renew();
        if !self.reader.read_byte_record(&mut self.record).map_err(|error| csv_error(self.path, self.row + 1, error))? {
            return Ok(None);
        }
        self.row += 1;
        if self.record.as_slice().contains(&0) {
            let row = Row { path: self.path, record: &self.record, row: self.row };
            return Err(row.error(NUL_BYTE).with_help(SAVE_AS_TEXT));
        }
        if self.row > MOST_REQUESTS {
            return Err(FileError::whole(self.path, format!("has more than {MOST_REQUESTS} rows; split it")));
        }
        Ok(Some(Row { path: self.path, record: &self.record, row: self.row }))
    }
}

impl<'a> Row<'a> {
    /// The field in column `index`, without blanks around it.
    pub(crate) fn bytes(&self, index: usize) -> &'a [u8] {
        self.record.get(index).unwrap_or_default().trim_ascii()
    }

    /// How many fields there are.
    pub(crate) fn len(&self) -> usize {
        self.record.len()
    }

    /// The field in column `index` as text.
    pub(crate) fn text(&self, index: usize, name: &str) -> Result<&'a str, FileError> {
        std::str::from_utf8(self.bytes(index)).map_err(|_| self.error(format!("{name} is not UTF-8 text")))
    }

    /// The number in column `index`.
    pub(crate) fn number(&self, index: usize, name: &str) -> Result<f64, FileError> {
        let text = self.text(index, name)?;
        match text.parse() {
            Ok(number) => Ok(number),
            Err(_) if text.is_empty() => Err(self.error(format!("{name} is missing"))),
            Err(_) => Err(self.error(not_a_number(name, text))),
        }
    }

    /// The time in column `index`, as `clock` reads it.
    pub(crate) fn time(&self, index: usize, clock: &mut Clock) -> Result<Time, FileError> {
        clock.read(self.bytes(index)).map_err(|what| self.error(what))
    }

    /// The seconds in column `index`, exact to the nanosecond.
    pub(crate) fn seconds(&self, index: usize, name: &str) -> Result<Time, FileError> {
        if let Some(time) = decimal(self.bytes(index), Unit::Seconds) {
            return Ok(time);
        }
        let number = self.number(index, name)?;
        Time::from_seconds(number).ok_or_else(|| self.error(bad_seconds(name, number)))
    }

    /// The whole number in column `index`, from 0 to 2^32 - 1; recorded tools often write it as `13.0`.
    pub(crate) fn count(&self, index: usize, name: &str) -> Result<u32, FileError> {
        let number = self.number(index, name)?;
        whole(number)
            .ok_or_else(|| self.error(format!("{name} is {number}, which is not a whole number from 0 to 2^32 - 1")))
    }

    /// Something wrong with this row.
    pub(crate) fn error(&self, what: impl std::fmt::Display) -> FileError {
        let line = self.record.position().map_or(0, csv::Position::line);
        FileError::at_line(self.path, usize::try_from(line).unwrap_or(usize::MAX), format!("row {}: {what}", self.row))
    }
}

/// The message for a span that is negative or not a number; infinity is allowed and means no limit.
pub(crate) fn span_or_none(seconds: f64) -> Option<Span> {
    if seconds == f64::INFINITY { Some(Span::MAX) } else { Span::from_seconds(seconds) }
}

/// `number` as an integer, if it is one from 0 to 2^32 - 1.
pub(crate) fn whole(number: f64) -> Option<u32> {
    (number.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(&number)).then_some(number as u32)
}

/// What separates the fields of a file that begins like this: the most frequent of `,`, `;`, tab and `|` in its first
/// line, outside quotes.
fn separator(beginning: &[u8]) -> u8 {
    let mut counts = [(b',', 0_usize), (b';', 0), (b'\t', 0), (b'|', 0)];
    let mut quoted = false;
    for &byte in beginning {
        if !quoted && matches!(byte, b'\n' | b'\r') {
            break;
        }
        quoted ^= byte == b'"';
        if let Some((_, count)) = counts.iter_mut().find(|&&mut (separator, _)| separator == byte && !quoted) {
            *count += 1;
        }
    }
    // Among equals, the comma comes first.
    counts.into_iter().rev().max_by_key(|&(_, count)| count).map_or(b',', |(separator, _)| separator)
}

/// A column's name without blanks and quotes around it.
fn bare(name: &str) -> &str {
    let name = name.trim();
    name.strip_prefix('"').and_then(|name| name.strip_suffix('"')).unwrap_or(name).trim()
}

/// Where `name` stands in `header`, if it is there: as it is written, or else in other case.
pub(crate) fn find_column(path: &Path, name: &str, header: &[String]) -> Result<Option<usize>, FileError> {
    let exact = |column: &String| column == name;
    let alike = |column: &String| column.eq_ignore_ascii_case(name);
    let all = |same: &dyn Fn(&String) -> bool| (0..header.len()).filter(|&at| same(&header[at])).collect::<Vec<_>>();
    let found = Some(all(&exact)).filter(|found| !found.is_empty()).unwrap_or_else(|| all(&alike));
    match found[..] {
        [] => Ok(None),
        [at] => Ok(Some(at)),
        _ => Err(FileError::at_line(path, 1, format!("column `{}` stands twice in the header", shorten(name)))),
    }
}

/// A column that should be there and is not.
pub(crate) fn missing_column(path: &Path, name: &str, header: &[String]) -> FileError {
    FileError::at_line(path, 1, format!("the header has no column `{}`", shorten(name)))
        .with_help(columns(name, header))
}

/// Which columns a file has, those most like `name` first.
pub(crate) fn columns(name: &str, header: &[String]) -> String {
    const SHOWN: usize = 12;
    let known: Vec<&str> = header.iter().map(String::as_str).collect();
    let shown: Vec<String> =
        by_nearness(name, &known).into_iter().take(SHOWN).map(|column| format!("`{}`", shorten(column))).collect();
    let more = known.len().saturating_sub(SHOWN);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("the file's columns, nearest first: {}{more}", shown.join(", "))
}

const NUL_BYTE: &str = "has a NUL byte";
const SAVE_AS_TEXT: &str = "the file is damaged, or no text in UTF-8: save or copy it again";

fn csv_error(path: &Path, row: u64, error: csv::Error) -> FileError {
    let line = error.position().map(csv::Position::line);
    match error.into_kind() {
        csv::ErrorKind::Io(cause) => read_error(path, cause),
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => FileError::at_line(
            path,
            line.and_then(|line| usize::try_from(line).ok()).unwrap_or(0),
            format!("row {row}: has {len} fields where {expected_len} were expected"),
        ),
        kind => FileError::whole(path, format!("row {row}: cannot be read: {kind:?}")),
    }
}
