//! Requests and results to Parquet, a million rows to a row group, names as dictionaries.

use parquet::basic::{Compression, ZstdLevel};
use parquet::data_type::{ByteArray, ByteArrayType, DataType, DoubleType, Int32Type, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::parser::parse_message_type;
use parquet::schema::types::ColumnPath;
use statmux_core::files::{AtomicFile, FileError, unwritten};
use statmux_core::{Outcome, Served, Span, Workload};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

const GROUP_ROWS: usize = 1 << 20;
const BATCH_ROWS: usize = 1 << 14;

pub(super) fn requests(path: &Path, workload: &Workload, names: &[&str]) -> Result<(), FileError> {
    let names = byte_arrays(names);
    let mut schema = "message requests { required double arrival_s; required binary model (STRING);".to_owned();
    if !workload.slo.is_empty() {
        schema.push_str("required double slo_s;");
    }
    if !workload.lengths.is_empty() {
        schema.push_str("required int64 prompt_tokens; required int64 output_tokens;");
    }
    schema.push('}');
    write(path, &schema, workload.len(), |group, rows| {
        required::<DoubleType>(group, workload.arrived[rows.clone()].iter().map(|arrived| arrived.seconds()))?;
        required::<ByteArrayType>(
            group,
            workload.model[rows.clone()].iter().map(|model| names[model.index()].clone()),
        )?;
        if !workload.slo.is_empty() {
            let seconds = |slo: &Span| if *slo == Span::MAX { f64::INFINITY } else { slo.seconds() };
            required::<DoubleType>(group, workload.slo[rows.clone()].iter().map(seconds))?;
        }
        if !workload.lengths.is_empty() {
            let lengths = &workload.lengths[rows];
            required::<Int64Type>(group, lengths.iter().map(|lengths| lengths.prompt.into()))?;
            required::<Int64Type>(group, lengths.iter().map(|lengths| lengths.output.into()))?;
        }
        Ok(())
    })
}

pub(super) fn results(
    path: &Path,
    workload: &Workload,
    names: &[&str],
    outcomes: &[Outcome],
    offset: Span,
) -> Result<(), FileError> {
    const SCHEMA: &str = "message results {
        required int64 request; required binary model (STRING); required double arrival_s;
        optional int32 group; optional double start_s; optional double finish_s; required binary outcome (STRING);
    }";
    let names = byte_arrays(names);
    let served = |outcome: &Outcome| match outcome {
        Outcome::Served(served) => Some(*served),
        _ => None,
    };
    write(path, SCHEMA, workload.len(), |group, rows| {
        let outcomes = &outcomes[rows.clone()];
        required::<Int64Type>(group, rows.clone().map(|row| row as i64))?;
        required::<ByteArrayType>(
            group,
            workload.model[rows.clone()].iter().map(|model| names[model.index()].clone()),
        )?;
        required::<DoubleType>(group, workload.arrived[rows].iter().map(|&arrived| (arrived + offset).seconds()))?;
        let each = || outcomes.iter().map(served);
        optional::<Int32Type>(group, each().map(|s| s.map(|s: Served| i32::try_from(s.group.0).unwrap_or(i32::MAX))))?;
        optional::<DoubleType>(group, each().map(|s| s.map(|s| (s.started + offset).seconds())))?;
        optional::<DoubleType>(group, each().map(|s| s.map(|s| (s.finished + offset).seconds())))?;
        required::<ByteArrayType>(group, outcomes.iter().map(|outcome| ByteArray::from(outcome.name())))
    })
}

type Group<'a> = SerializedRowGroupWriter<'a, AtomicFile>;

fn write(
    path: &Path,
    schema: &str,
    rows: usize,
    mut fill: impl FnMut(&mut Group<'_>, Range<usize>) -> Result<(), ParquetError>,
) -> Result<(), FileError> {
    let mut file = Some(AtomicFile::create(path)?);
    let mut run = || -> Result<AtomicFile, ParquetError> {
        let schema = Arc::new(parse_message_type(schema)?);
        let file = file.take().expect("run once");
        let mut writer = SerializedFileWriter::new(file, schema, Arc::new(properties()?))?;
        let mut start = 0;
        while start < rows {
            let end = rows.min(start + GROUP_ROWS);
            let mut group = writer.next_row_group()?;
            fill(&mut group, start..end)?;
            group.close()?;
            start = end;
        }
        writer.into_inner()
    };
    let file = run().map_err(|error| match error {
        ParquetError::External(cause) => match cause.downcast::<std::io::Error>() {
            Ok(cause) => unwritten(path, *cause),
            Err(cause) => FileError::whole(path, format!("cannot be written: {cause}")).while_writing(),
        },
        error => FileError::whole(path, format!("cannot be written: {error}")).while_writing(),
    })?;
    file.commit()
}

fn properties() -> Result<WriterProperties, ParquetError> {
    let names = |name: &str| ColumnPath::from(name);
    Ok(WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?))
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_dictionary_enabled(false)
        .set_column_dictionary_enabled(names("model"), true)
        .set_column_dictionary_enabled(names("outcome"), true)
        .build())
}

fn required<T: DataType>(group: &mut Group<'_>, values: impl Iterator<Item = T::T>) -> Result<(), ParquetError> {
    let mut column = group.next_column()?.expect("as many columns as the schema says");
    let mut batch = Vec::with_capacity(BATCH_ROWS);
    for value in values {
        batch.push(value);
        if batch.len() == BATCH_ROWS {
            column.typed::<T>().write_batch(&batch, None, None)?;
            batch.clear();
        }
    }
    column.typed::<T>().write_batch(&batch, None, None)?;
    column.close()
}

fn optional<T: DataType>(
    group: &mut Group<'_>,
    values: impl Iterator<Item = Option<T::T>>,
) -> Result<(), ParquetError> {
    let mut column = group.next_column()?.expect("as many columns as the schema says");
    let (mut batch, mut defined) = (Vec::with_capacity(BATCH_ROWS), Vec::with_capacity(BATCH_ROWS));
    for value in values {
        defined.push(i16::from(value.is_some()));
        batch.extend(value);
        if defined.len() == BATCH_ROWS {
            column.typed::<T>().write_batch(&batch, Some(&defined), None)?;
            batch.clear();
            defined.clear();
        }
    }
    column.typed::<T>().write_batch(&batch, Some(&defined), None)?;
    column.close()
}

fn byte_arrays(names: &[&str]) -> Vec<ByteArray> {
    names.iter().map(|name| ByteArray::from(*name)).collect()
}
