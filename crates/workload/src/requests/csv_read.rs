//! Requests from CSV.

use super::builder::{Builder, Raw};
use super::columns::{Column, Layout};
use super::{Columns, FileRequests};
use crate::names::Names;
use crate::rows::{Row, Rows};
use statmux_core::files::FileError;
use std::path::Path;

pub(super) fn read(path: &Path, names: Names, mapping: Option<&Columns>) -> Result<FileRequests, FileError> {
    let mut rows = Rows::open(path)?;
    let layout = Layout::of(path, rows.header(), mapping)?;
    let mut builder = Builder::new(path, names, &layout, rows.header())?;
    let mut clock = layout.clock.clone();
    while let Some(row) = rows.next()? {
        let raw = Raw {
            arrived: row.time(layout.arrival.at, &mut clock)?,
            model: layout.model.as_ref().map(|column| row.bytes(column.at)),
            slo: optional(&row, layout.slo.as_ref())?,
            prompt_tokens: optional(&row, layout.prompt.as_ref())?,
            output_tokens: optional(&row, layout.output.as_ref())?,
        };
        builder.push(raw).map_err(|what| row.error(what))?;
    }
    Ok(builder.finish(clock))
}

/// A number, or NaN where the column or its value is absent.
fn optional(row: &Row<'_>, column: Option<&Column>) -> Result<f64, FileError> {
    match column {
        Some(Column { at, name }) if !row.bytes(*at).is_empty() => {
            let number = row.number(*at, name)?;
            if number.is_nan() { Err(row.error(format!("{name} is not a number"))) } else { Ok(number) }
        }
        _ => Ok(f64::NAN),
    }
}
