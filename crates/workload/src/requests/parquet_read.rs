//! Requests from Parquet, a batch of rows at a time.
//!
//! Any writer's file will do as long as its columns are flat: numbers of any width, nulls or NaN for absent values.

use super::builder::{Builder, Raw};
use super::{COLUMNS, Layout};
use crate::input::MOST_REQUESTS;
use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::{ByteArray, DataType};
use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, RowGroupReader, SerializedFileReader};
use statmux_core::Workload;
use statmux_core::files::FileError;
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

const BATCH_ROWS: usize = 1 << 13;

pub(super) fn read(path: &Path, builder: Builder) -> Result<(Workload, Vec<String>), FileError> {
    let file = File::open(path).map_err(|cause| FileError::io(path, "cannot read", cause))?;
    // The decoder is not ours, and damaged files have been seen to make such decoders panic; the file is to blame.
    catch_unwind(AssertUnwindSafe(|| read_file(path, file, builder)))
        .unwrap_or_else(|_| Err(FileError::whole(path, "is damaged: its Parquet data contradicts itself")))
}

fn read_file(path: &Path, file: File, mut builder: Builder) -> Result<(Workload, Vec<String>), FileError> {
    let damaged = |error: ParquetError| FileError::whole(path, format!("cannot be read as Parquet: {error}"));
    let reader = SerializedFileReader::new(file).map_err(damaged)?;
    let metadata = reader.metadata().file_metadata();
    let header: Vec<String> = metadata.schema_descr().columns().iter().map(|column| column.path().string()).collect();
    let (columns, kept) = ours(&header);
    let layout = Layout::of(path, &kept)?;
    for &column in &columns {
        let descr = metadata.schema_descr().column(column);
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
    // What a damaged header promises is not believed beyond 16 million rows.
    builder.reserve(rows.min(1 << 24), layout.slo.is_some(), layout.lengths.is_some());
    let mut row = 0_u64;
    for index in 0..reader.num_row_groups() {
        let group = reader.get_row_group(index).map_err(damaged)?;
        row = read_group(path, group.as_ref(), &layout, &columns, &mut builder, row)?;
    }
    Ok(builder.finish())
}

/// The columns that are not some writer's row index: their positions in the file, and their names.
fn ours(header: &[String]) -> (Vec<usize>, Vec<String>) {
    let kept = header.iter().enumerate().filter(|(_, name)| !name.starts_with("__index_level_"));
    kept.map(|(column, name)| (column, name.clone())).unzip()
}

fn read_group(
    path: &Path,
    group: &dyn RowGroupReader,
    layout: &Layout,
    columns: &[usize],
    builder: &mut Builder,
    mut row: u64,
) -> Result<u64, FileError> {
    let open = |position: usize, name: &'static str| Numbers::open(path, group, columns[position], name);
    let mut arrival = open(layout.arrival, COLUMNS[0])?;
    let mut model = Texts::open(path, group, columns[layout.model])?;
    let mut slo = layout.slo.map(|at| open(at, COLUMNS[2])).transpose()?;
    let mut prompt = layout.lengths.map(|(at, _)| open(at, COLUMNS[3])).transpose()?;
    let mut output = layout.lengths.map(|(_, at)| open(at, COLUMNS[4])).transpose()?;
    loop {
        let rows = arrival.read()?;
        let mut others = vec![model.read()?];
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
            let model = model.get(at).ok_or_else(|| wrong("model is missing".to_owned()))?;
            let optional = |column: &Option<Numbers<'_>>| column.as_ref().map_or(f64::NAN, |column| column.values[at]);
            let raw = Raw {
                arrival_s: arrival.values[at],
                model,
                slo_s: optional(&slo),
                prompt_tokens: optional(&prompt),
                output_tokens: optional(&output),
            };
            builder.push(raw).map_err(wrong)?;
        }
    }
}

/// A column of numbers; nulls become NaN.
struct Numbers<'a> {
    path: &'a Path,
    name: &'static str,
    reader: ColumnReader,
    values: Vec<f64>,
}

impl<'a> Numbers<'a> {
    fn open(path: &'a Path, group: &dyn RowGroupReader, column: usize, name: &'static str) -> Result<Self, FileError> {
        let reader = group.get_column_reader(column).map_err(|error| damaged(path, name, &error))?;
        Ok(Self { path, name, reader, values: Vec::with_capacity(BATCH_ROWS) })
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
                batch(reader, |value| self.values.push(value.map_or(f64::NAN, |&value| value as f64)))
            }
            _ => return Err(FileError::whole(self.path, format!("column `{}` does not hold numbers", self.name))),
        };
        read.map_err(|error| damaged(self.path, self.name, &error))?;
        Ok(self.values.len())
    }
}

/// A column of names.
struct Texts<'a> {
    path: &'a Path,
    reader: ColumnReader,
    values: Vec<Option<ByteArray>>,
}

impl<'a> Texts<'a> {
    fn open(path: &'a Path, group: &dyn RowGroupReader, column: usize) -> Result<Self, FileError> {
        let reader = group.get_column_reader(column).map_err(|error| damaged(path, "model", &error))?;
        Ok(Self { path, reader, values: Vec::with_capacity(BATCH_ROWS) })
    }

    fn read(&mut self) -> Result<usize, FileError> {
        self.values.clear();
        let ColumnReader::ByteArrayColumnReader(reader) = &mut self.reader else {
            return Err(FileError::whole(self.path, "column `model` does not hold text"));
        };
        batch(reader, |value| self.values.push(value.cloned())).map_err(|error| damaged(self.path, "model", &error))?;
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
