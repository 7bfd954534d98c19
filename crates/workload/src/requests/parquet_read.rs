//! Requests from Parquet, a batch of rows at a time.
//!
//! Any writer's file will do as long as its columns are flat: numbers of any width, nulls or NaN for absent values,
//! and for arrivals timestamps or texts as well.

use super::builder::{Builder, Raw};
use super::columns::{Column, Layout};
use super::{Columns, FileRequests};
use crate::clock::{Clock, Unit};
use crate::input::MOST_REQUESTS;
use crate::names::Names;
use parquet::basic::{ConvertedType, LogicalType, TimeUnit};
use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::{ByteArray, DataType};
use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, RowGroupReader, SerializedFileReader};
use parquet::schema::types::ColumnDescriptor;
use statmux_core::Time;
use statmux_core::files::FileError;
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

const BATCH_ROWS: usize = 1 << 13;

pub(super) fn read(path: &Path, names: Names, mapping: Option<&Columns>) -> Result<FileRequests, FileError> {
    let file = File::open(path).map_err(|cause| FileError::io(path, "cannot read", cause))?;
    // The decoder is not ours, and damaged files have been seen to make such decoders panic; the file is to blame.
    catch_unwind(AssertUnwindSafe(|| read_file(path, file, names, mapping)))
        .unwrap_or_else(|_| Err(FileError::whole(path, "is damaged: its Parquet data contradicts itself")))
}

fn read_file(path: &Path, file: File, names: Names, mapping: Option<&Columns>) -> Result<FileRequests, FileError> {
    let damaged = |error: ParquetError| FileError::whole(path, format!("cannot be read as Parquet: {error}"));
    let reader = SerializedFileReader::new(file).map_err(damaged)?;
    let metadata = reader.metadata().file_metadata();
    let header: Vec<String> = metadata.schema_descr().columns().iter().map(|column| column.path().string()).collect();
    let (columns, kept) = ours(&header);
    let layout = Layout::of(path, &kept, mapping)?;
    for column in layout.columns() {
        let descr = metadata.schema_descr().column(columns[column.at]);
        if descr.max_rep_level() > 0 || descr.max_def_level() > 1 {
            return Err(FileError::whole(
                path,
                format!("column `{}` is nested; a flat one was expected", descr.name()),
            ));
        }
    }
    let rows = usize::try_from(metadata.num_rows()).unwrap_or(0);
    if rows as u64 > MOST_REQUESTS {
        return Err(FileError::whole(path, format!("has more than {MOST_REQUESTS} rows; split it")));
    }
    let mut builder = Builder::new(path, names, &layout, &kept)?;
    // What a damaged header promises is not believed beyond 16 million rows.
    builder.reserve(rows.min(1 << 24));
    let arrival = metadata.schema_descr().column(columns[layout.arrival.at]);
    let mut clock = match unit(&arrival) {
        Some(unit) => Clock::new(&*layout.arrival.name, unit),
        None => layout.clock.clone(),
    };
    let mut row = 0_u64;
    for index in 0..reader.num_row_groups() {
        let group = reader.get_row_group(index).map_err(damaged)?;
        row = read_group(path, group.as_ref(), (&layout, &columns), &mut clock, &mut builder, row)?;
    }
    Ok(builder.finish(clock))
}

/// The unit of a column that is said to hold timestamps.
fn unit(column: &ColumnDescriptor) -> Option<Unit> {
    if let Some(LogicalType::Timestamp(timestamp)) = column.logical_type_ref() {
        return Some(match timestamp.unit {
            TimeUnit::MILLIS => Unit::Millis,
            TimeUnit::MICROS => Unit::Micros,
            TimeUnit::NANOS => Unit::Nanos,
        });
    }
    match column.converted_type() {
        ConvertedType::TIMESTAMP_MILLIS => Some(Unit::Millis),
        ConvertedType::TIMESTAMP_MICROS => Some(Unit::Micros),
        _ => None,
    }
}

/// The columns that are not some writer's row index: their positions in the file, and their names.
fn ours(header: &[String]) -> (Vec<usize>, Vec<String>) {
    let kept = header.iter().enumerate().filter(|(_, name)| !name.starts_with("__index_level_"));
    kept.map(|(column, name)| (column, name.clone())).unzip()
}

fn read_group(
    path: &Path,
    group: &dyn RowGroupReader,
    (layout, columns): (&Layout, &[usize]),
    clock: &mut Clock,
    builder: &mut Builder<'_>,
    mut row: u64,
) -> Result<u64, FileError> {
    let reader = |column: &Column| {
        group.get_column_reader(columns[column.at]).map_err(|error| damaged(path, &column.name, &error))
    };
    let mut arrival = match reader(&layout.arrival)? {
        texts @ ColumnReader::ByteArrayColumnReader(_) => {
            Arrivals::Texts(Texts::new(path, &layout.arrival.name, texts))
        }
        other => Arrivals::Numbers(Numbers::new(path, &layout.arrival.name, other)),
    };
    let mut model = match &layout.model {
        Some(column) => Some(Texts::new(path, &column.name, reader(column)?)),
        None => None,
    };
    let [mut slo, mut prompt, mut output] = [None, None, None];
    for (numbers, column) in [(&mut slo, &layout.slo), (&mut prompt, &layout.prompt), (&mut output, &layout.output)] {
        if let Some(column) = column {
            *numbers = Some(Numbers::new(path, &column.name, reader(column)?));
        }
    }
    loop {
        let rows = arrival.read()?;
        let mut others = Vec::new();
        if let Some(model) = &mut model {
            others.push(model.read()?);
        }
        for column in [&mut slo, &mut prompt, &mut output].into_iter().flatten() {
            others.push(column.read()?);
        }
        if others.iter().any(|&count| count != rows) {
            return Err(FileError::whole(
                path,
                format!("is damaged: after row {row} its columns have different lengths"),
            ));
        }
        if rows == 0 {
            return Ok(row);
        }
        for at in 0..rows {
            row += 1;
            let wrong = |what: String| FileError::at_field(path, format!("row {row}:"), what);
            let name = match &model {
                None => None,
                Some(texts) => Some(texts.get(at).ok_or_else(|| wrong(format!("{} is missing", texts.name)))?),
            };
            let optional = |column: &Option<Numbers<'_>>| column.as_ref().map_or(f64::NAN, |column| column.values[at]);
            let raw = Raw {
                arrived: arrival.time(at, clock).map_err(wrong)?,
                model: name,
                slo: optional(&slo),
                prompt_tokens: optional(&prompt),
                output_tokens: optional(&output),
            };
            builder.push(raw).map_err(wrong)?;
        }
    }
}

/// The column of arrivals.
enum Arrivals<'a> {
    Numbers(Numbers<'a>),
    Texts(Texts<'a>),
}

impl Arrivals<'_> {
    fn read(&mut self) -> Result<usize, FileError> {
        match self {
            Self::Numbers(numbers) => numbers.read(),
            Self::Texts(texts) => texts.read(),
        }
    }

    fn time(&self, row: usize, clock: &mut Clock) -> Result<Time, String> {
        match self {
            Self::Numbers(numbers) => match numbers.integers.get(row) {
                Some(&integer) if !numbers.values[row].is_nan() => clock.read_integer(integer),
                _ => clock.read_number(numbers.values[row]),
            },
            Self::Texts(texts) => clock.read(texts.get(row).unwrap_or_default().trim_ascii()),
        }
    }
}

/// A column of numbers; nulls become NaN.
struct Numbers<'a> {
    path: &'a Path,
    name: &'a str,
    reader: ColumnReader,
    values: Vec<f64>,
    /// The same exactly, of 64-bit integers.
    integers: Vec<i64>,
}

impl<'a> Numbers<'a> {
    fn new(path: &'a Path, name: &'a str, reader: ColumnReader) -> Self {
        Self { path, name, reader, values: Vec::with_capacity(BATCH_ROWS), integers: Vec::new() }
    }

    /// Reads the next batch and says how many rows it has.
    fn read(&mut self) -> Result<usize, FileError> {
        self.values.clear();
        let read = match &mut self.reader {
            ColumnReader::DoubleColumnReader(reader) => {
                batch(reader, |value| self.values.push(value.copied().unwrap_or(f64::NAN)))
            }
            ColumnReader::FloatColumnReader(reader) => {
                batch(reader, |value| self.values.push(value.copied().map_or(f64::NAN, f64::from)))
            }
            ColumnReader::Int32ColumnReader(reader) => {
                batch(reader, |value| self.values.push(value.copied().map_or(f64::NAN, f64::from)))
            }
            ColumnReader::Int64ColumnReader(reader) => {
                self.integers.clear();
                batch(reader, |value| {
                    self.values.push(value.map_or(f64::NAN, |&value| value as f64));
                    self.integers.push(value.copied().unwrap_or_default());
                })
            }
            _ => return Err(FileError::whole(self.path, format!("column `{}` does not hold numbers", self.name))),
        };
        read.map_err(|error| damaged(self.path, self.name, &error))?;
        Ok(self.values.len())
    }
}

/// A column of texts.
struct Texts<'a> {
    path: &'a Path,
    name: &'a str,
    reader: ColumnReader,
    values: Vec<Option<ByteArray>>,
}

impl<'a> Texts<'a> {
    fn new(path: &'a Path, name: &'a str, reader: ColumnReader) -> Self {
        Self { path, name, reader, values: Vec::with_capacity(BATCH_ROWS) }
    }

    fn read(&mut self) -> Result<usize, FileError> {
        self.values.clear();
        let ColumnReader::ByteArrayColumnReader(reader) = &mut self.reader else {
            return Err(FileError::whole(self.path, format!("column `{}` does not hold text", self.name)));
        };
        batch(reader, |value| self.values.push(value.cloned()))
            .map_err(|error| damaged(self.path, self.name, &error))?;
        Ok(self.values.len())
    }

    fn get(&self, row: usize) -> Option<&[u8]> {
        self.values[row].as_ref().map(ByteArray::data)
    }
}

fn damaged(path: &Path, column: &str, error: &ParquetError) -> FileError {
    FileError::whole(path, format!("column `{column}` cannot be read: {error}"))
}

/// Hands the next rows of a column to `take`, nulls as `None`.
fn batch<T: DataType>(
    reader: &mut ColumnReaderImpl<T>,
    mut take: impl FnMut(Option<&T::T>),
) -> Result<(), ParquetError> {
    let (mut values, mut defined) = (Vec::with_capacity(BATCH_ROWS), Vec::new());
    reader.read_records(BATCH_ROWS, Some(&mut defined), None, &mut values)?;
    if defined.is_empty() {
        values.iter().for_each(|value| take(Some(value)));
        return Ok(());
    }
    let mut present = values.iter();
    for &level in &defined {
        take(if level == 0 { None } else { present.next() });
    }
    Ok(())
}
