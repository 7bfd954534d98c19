//! Requests from CSV.

use super::Layout;
use super::builder::{Builder, Raw};
use crate::rows::{Row, Rows};
use statmux_core::Workload;
use statmux_core::files::FileError;
use std::path::Path;

pub(super) fn read(path: &Path, mut builder: Builder) -> Result<(Workload, Vec<String>), FileError> {
    let mut rows = Rows::open(path)?;
    let layout = Layout::of(path, rows.header())?;
    while let Some(row) = rows.next()? {
        let raw = raw(&row, &layout)?;
        builder.push(raw).map_err(|what| row.error(what))?;
    }
    Ok(builder.finish())
}

fn raw<'a>(row: &Row<'a>, layout: &Layout) -> Result<Raw<'a>, FileError> {
    let (prompt, output) = layout.lengths.unzip();
    Ok(Raw {
        arrival_s: row.number(layout.arrival, "arrival_s")?,
        model: row.bytes(layout.model),
        slo_s: optional(row, layout.slo, "slo_s")?,
        prompt_tokens: optional(row, prompt, "prompt_tokens")?,
        output_tokens: optional(row, output, "output_tokens")?,
    })
}

/// A number, or NaN where the column or its value is absent.
fn optional(row: &Row<'_>, column: Option<usize>, name: &str) -> Result<f64, FileError> {
    match column {
        Some(index) if !row.bytes(index).is_empty() => {
            let number = row.number(index, name)?;
            if number.is_nan() { Err(row.error(format!("{name} is not a number"))) } else { Ok(number) }
        }
        _ => Ok(f64::NAN),
    }
}
