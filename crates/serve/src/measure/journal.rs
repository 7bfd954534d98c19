//! Finished points, one JSON object a line.

use serde::{Deserialize, Serialize};
use statmux_core::ParallelConfig;
use statmux_core::files::{FileError, parse_json, read_text, unwritten};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

/// One combination of what is measured.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub struct Point {
    /// The model's name.
    pub model: String,
    /// Devices per stage.
    pub op: u32,
    /// Stages.
    pub pp: u32,
    /// Requests that run together.
    pub batch: u32,
    /// Tokens of each.
    pub tokens: u32,
}

impl Point {
    /// Its parallel configuration.
    pub fn config(&self) -> ParallelConfig {
        ParallelConfig::new(self.op, self.pp)
    }
}

/// What was found at one point.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Measurement {
    /// Which.
    pub point: Point,
    /// Median time on each stage, in seconds.
    pub stage_seconds: Vec<f64>,
    /// Quartile distance over median, by stage.
    pub stage_spread: Vec<f64>,
    /// Memory of the fullest device of each stage before the first run, in bytes.
    pub stage_weights: Vec<u64>,
    /// What runs added to that at most, in bytes.
    pub stage_activations: Vec<u64>,
    /// Runs that counted.
    pub repeats: u32,
}

/// Measurements so far, in memory and, if it has a file, on disk.
#[derive(Debug, Default)]
pub struct Journal {
    found: Vec<Measurement>,
    file: Option<(PathBuf, File)>,
}

impl Journal {
    /// A journal that is not kept.
    pub fn in_memory() -> Self {
        Self::default()
    }

    /// Goes on with the journal at `path`, or begins it; `how` is its first line and says how points are measured.
    ///
    /// # Errors
    /// If it cannot be read or written, or its points were measured otherwise. A last line that broke off is
    /// forgotten.
    pub fn open(path: &Path, how: &str) -> Result<Self, FileError> {
        let text = if path.exists() { read_text(path)? } else { String::new() };
        let mut found: Vec<Measurement> = Vec::new();
        let whole = &text[..text.rfind('\n').map_or(0, |end| end + 1)];
        let mut lines = whole.lines();
        let begun = lines.next();
        if begun.is_some_and(|begun| begun != how) {
            let error = FileError::at_line(path, 1, "is of a measurement made in another way");
            return Err(error.with_help(format!("delete {} to begin anew", path.display())));
        }
        for line in lines.filter(|line| !line.is_empty()) {
            found.push(parse_json(path, line)?);
        }
        let io = |cause| FileError::io(path, "cannot be written", cause);
        let mut file = OpenOptions::new().create(true).append(true).open(path).map_err(io)?;
        if whole.len() < text.len() {
            file.set_len(whole.len() as u64).map_err(io)?;
        }
        if begun.is_none() {
            writeln!(file, "{how}").map_err(io)?;
        }
        Ok(Self { found, file: Some((path.to_owned(), file)) })
    }

    /// What is known of `point`.
    pub fn find(&self, point: &Point) -> Option<&Measurement> {
        self.found.iter().find(|measurement| measurement.point == *point)
    }

    /// Notes a measurement, unless it is known.
    pub(super) fn add(&mut self, measurement: &Measurement) -> Result<(), FileError> {
        if self.find(&measurement.point).is_some() {
            return Ok(());
        }
        if let Some((path, file)) = &mut self.file {
            let mut line = serde_json::to_string(measurement).expect("plain data serialises");
            line.push('\n');
            file.write_all(line.as_bytes()).map_err(|cause| unwritten(path, cause))?;
        }
        self.found.push(measurement.clone());
        Ok(())
    }
}
