//! Rows of CSV files with checked headers, one at a time.

use crate::input::{Allowance, Input, MOST_REQUESTS, read_error};
use csv::{ByteRecord, ReaderBuilder};
use statmux_core::files::{FileError, nearest};
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
        rows.header = header
            .iter()
            .map(|name| String::from_utf8_lossy(name).trim().trim_start_matches('\u{feff}').to_owned())
            .collect();
        if rows.header.iter().all(String::is_empty) {
            return Err(FileError::whole(path, "is empty; a header was expected in its first line"));
        }
        Ok(rows)
    }

    /// Opens a file whose first line is data already.
    pub(crate) fn open_without_header(path: &'a Path) -> Result<Self, FileError> {
        Self::start(path, ReaderBuilder::new().has_headers(false))
    }

    fn start(path: &'a Path, builder: &ReaderBuilder) -> Result<Self, FileError> {
        let input = Input::open(path)?;
        let allowance = input.allowance();
        let reader = builder.from_reader(input);
        Ok(Self { path, reader, allowance, record: ByteRecord::new(), header: Vec::new(), row: 0 })
    }

    /// The names of the columns, in file order.
    pub(crate) fn header(&self) -> &[String] {
        &self.header
    }

    /// Where `name` stands; an error that names the nearest column if it is missing.
    pub(crate) fn column(&self, name: &str) -> Result<usize, FileError> {
        self.header
            .iter()
            .position(|column| column == name)
            .ok_or_else(|| missing_column(self.path, name, &self.header))
    }

    /// The next row, if any.
    pub(crate) fn next(&mut self) -> Result<Option<Row<'_>>, FileError> {
        self.allowance.renew();
        if !self.reader.read_byte_record(&mut self.record).map_err(|error| csv_error(self.path, self.row + 1, error))? {
            return Ok(None);
        }
        self.row += 1;
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
        text.parse().map_err(|_| self.error(format!("{name} is `{}`, which is not a number", shorten(text))))
    }

    /// The time in column `index`, in seconds: zero or more.
    pub(crate) fn time(&self, index: usize, name: &str) -> Result<Time, FileError> {
        let seconds = self.number(index, name)?;
        Time::from_seconds(seconds).ok_or_else(|| self.error(bad_seconds(name, seconds)))
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

/// The message for a time that is negative, not a number or absurdly late.
pub(crate) fn bad_seconds(name: &str, seconds: f64) -> String {
    let why = if seconds < 0.0 { "which is negative" } else { "which is not a time in seconds" };
    format!("{name} is {seconds}, {why}")
}

/// The message for a span that is negative or not a number; infinity is allowed and means no limit.
pub(crate) fn span_or_none(seconds: f64) -> Option<Span> {
    if seconds == f64::INFINITY { Some(Span::MAX) } else { Span::from_seconds(seconds) }
}

/// `number` as an integer, if it is one from 0 to 2^32 - 1.
pub(crate) fn whole(number: f64) -> Option<u32> {
    (number.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(&number)).then_some(number as u32)
}

/// A column that should be there and is not.
pub(crate) fn missing_column(path: &Path, name: &str, header: &[String]) -> FileError {
    let known: Vec<&str> = header.iter().map(String::as_str).collect();
    let error = FileError::at_line(path, 1, format!("the header has no column `{name}`"));
    match nearest(name, &known) {
        Some(near) => error.with_help(format!("is `{}` meant to be `{name}`?", shorten(near))),
        None => {
            let shown: Vec<String> = known.iter().take(8).map(|column| shorten(column)).collect();
            let more = if known.len() > 8 { ",…" } else { "" };
            error.with_help(format!("it has {}{more}", shown.join(",")))
        }
    }
}

/// A name cut to what fits in a message.
pub(crate) fn shorten(text: &str) -> String {
    if text.chars().count() <= 60 { text.to_owned() } else { text.chars().take(57).chain("…".chars()).collect() }
}

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
