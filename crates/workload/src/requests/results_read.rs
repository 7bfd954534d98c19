//! What became of each request, read back from the file of a run.

use super::Kind;
use crate::input::MOST_REQUESTS;
use crate::messages::{bad_seconds, shorten};
use crate::names::Names;
use crate::rows::{Row, Rows, whole};
use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field;
use statmux_core::files::FileError;
use statmux_core::{GroupId, ModelId, Outcome, Served, Time};
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

/// The columns, in the order in which they are written.
const COLUMNS: [&str; 7] = ["request", "model", "arrival_s", "group", "start_s", "finish_s", "outcome"];

/// A finished run, request by request.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Recorded {
    /// When each request arrived.
    pub arrived: Vec<Time>,
    /// Which model each asked for: a position in `names`.
    pub model: Vec<ModelId>,
    /// The models' names, in order of first appearance.
    pub names: Vec<String>,
    /// What became of each.
    pub outcomes: Vec<Outcome>,
}

/// Reads what [`write_results`](super::write_results) wrote.
///
/// # Errors
/// If the file cannot be read, or a row is not the next request or contradicts itself.
pub fn read_results(path: &Path) -> Result<Recorded, FileError> {
    let mut builder = Builder::default();
    match Kind::of(path)? {
        Kind::Parquet => {
            let file = File::open(path).map_err(|cause| FileError::io(path, "cannot read", cause))?;
            // As for requests: damaged files have been seen to make the decoder panic.
            catch_unwind(AssertUnwindSafe(|| read_parquet(path, file, &mut builder)))
                .unwrap_or_else(|_| Err(FileError::whole(path, "is damaged: its Parquet data contradicts itself")))?;
        }
        Kind::Csv | Kind::CsvGz | Kind::CsvZst => read_csv(path, &mut builder)?,
    }
    let Builder { mut recorded, names } = builder;
    recorded.names = names.into_list();
    Ok(recorded)
}

/// One row as it stands in a file.
struct Raw<'a> {
    request: f64,
    model: &'a [u8],
    arrived: Time,
    /// Where something ran.
    group: Option<f64>,
    started: Option<Time>,
    finished: Option<Time>,
    outcome: &'a str,
}

#[derive(Default)]
struct Builder {
    names: Names,
    recorded: Recorded,
}

impl Builder {
    fn push(&mut self, raw: &Raw<'_>) -> Result<(), String> {
        let expected = self.recorded.outcomes.len();
        if raw.request != expected as f64 {
            return Err(format!("request is {}, but {expected} comes next", raw.request));
        }
        let model = self.names.id(raw.model).ok_or("model is not UTF-8 text")?;
        let served = match (raw.group, raw.started, raw.finished) {
            (None, None, None) => None,
            (Some(group), Some(started), Some(finished)) => Some(Served {
                group: GroupId(whole(group).ok_or_else(|| format!("group is {group}, which is no group"))?),
                started,
                finished,
                in_slo: false,
            }),
            _ => return Err("of group, start_s and finish_s some are empty and some are not".to_owned()),
        };
        let outcome = Outcome::named(raw.outcome, served).ok_or_else(|| {
            let ran = if served.is_some() { "something ran" } else { "nothing ran" };
            format!("outcome is `{}`, though {ran}", shorten(raw.outcome))
        })?;
        self.recorded.arrived.push(raw.arrived);
        self.recorded.model.push(ModelId(model));
        self.recorded.outcomes.push(outcome);
        Ok(())
    }
}

fn read_csv(path: &Path, builder: &mut Builder) -> Result<(), FileError> {
    let mut rows = Rows::open(path)?;
    let mut at = [0; 7];
    for (at, name) in at.iter_mut().zip(COLUMNS) {
        *at = rows.column(name)?;
    }
    while let Some(row) = rows.next()? {
        let raw = Raw {
            request: row.number(at[0], COLUMNS[0])?,
            model: row.bytes(at[1]),
            arrived: row.seconds(at[2], COLUMNS[2])?,
            group: optional(&row, at[3], |at| row.number(at, COLUMNS[3]))?,
            started: optional(&row, at[4], |at| row.seconds(at, COLUMNS[4]))?,
            finished: optional(&row, at[5], |at| row.seconds(at, COLUMNS[5]))?,
            outcome: row.text(at[6], COLUMNS[6])?,
        };
        builder.push(&raw).map_err(|what| row.error(what))?;
    }
    Ok(())
}

fn optional<T>(
    row: &Row<'_>,
    column: usize,
    read: impl FnOnce(usize) -> Result<T, FileError>,
) -> Result<Option<T>, FileError> {
    if row.bytes(column).is_empty() { Ok(None) } else { read(column).map(Some) }
}

fn read_parquet(path: &Path, file: File, builder: &mut Builder) -> Result<(), FileError> {
    let damaged = |error: ParquetError| FileError::whole(path, format!("cannot be read as Parquet: {error}"));
    let reader = SerializedFileReader::new(file).map_err(damaged)?;
    let schema = reader.metadata().file_metadata().schema_descr();
    let header: Vec<String> = schema.columns().iter().map(|column| column.path().string()).collect();
    if header != COLUMNS {
        let what = format!("has the columns {}; results have {}", header.join(","), COLUMNS.join(","));
        return Err(FileError::whole(path, what));
    }
    if u64::try_from(reader.metadata().file_metadata().num_rows()).is_ok_and(|rows| rows > MOST_REQUESTS) {
        return Err(FileError::whole(path, format!("has more than {MOST_REQUESTS} rows; split it")));
    }
    for (index, row) in reader.get_row_iter(None).map_err(damaged)?.enumerate() {
        let row = row.map_err(damaged)?;
        let fields: Vec<&Field> = row.get_column_iter().map(|(_, field)| field).collect();
        let wrong = |what: String| FileError::at_field(path, format!("row {}:", index + 1), what);
        let number = |at: usize| number(fields[at]);
        let required = |at: usize| number(at).ok_or_else(|| wrong(format!("{} is not a number", COLUMNS[at])));
        let time = |at: usize| {
            let time = |seconds| Time::from_seconds(seconds).ok_or_else(|| wrong(bad_seconds(COLUMNS[at], seconds)));
            number(at).map(time).transpose()
        };
        let text = |at: usize| text(fields[at]).ok_or_else(|| wrong(format!("{} is not text", COLUMNS[at])));
        let raw = Raw {
            request: required(0)?,
            model: text(1)?.as_bytes(),
            arrived: time(2)?.ok_or_else(|| wrong("arrival_s is not a number".to_owned()))?,
            group: number(3),
            started: time(4)?,
            finished: time(5)?,
            outcome: text(6)?,
        };
        builder.push(&raw).map_err(wrong)?;
    }
    Ok(())
}

fn number(field: &Field) -> Option<f64> {
    match field {
        Field::Int(value) => Some(f64::from(*value)),
        Field::Long(value) => Some(*value as f64),
        Field::Float(value) => Some(f64::from(*value)),
        Field::Double(value) => Some(*value),
        _ => None,
    }
}

fn text(field: &Field) -> Option<&str> {
    match field {
        Field::Str(text) => Some(text),
        Field::Bytes(bytes) => std::str::from_utf8(bytes.data()).ok(),
        _ => None,
    }
}
