//! Rows of figures, kept in files so that a long run can be taken up again.

use super::Result;
use std::io::Write;

/// Where rows of a kind are kept, and their columns.
#[derive(Clone, Copy)]
pub(super) struct File {
    path: &'static str,
    columns: &'static str,
}

pub(super) const SUITE: File = File {
    path: "docs/suite.csv",
    columns: "scenario,policy,train_slo_attainment,test_slo_attainment,requests,missed,fixed_bound,bound,plan_wall_s",
};

pub(super) const DEVICES: File =
    File { path: "docs/suite-devices.csv", columns: "scenario,policy,devices,plan_wall_s" };

pub(super) const SCALE: File = File {
    path: "docs/suite-scale.csv",
    columns: "models,devices,requests,plan_wall_s,peak_bytes,train_slo_attainment,test_slo_attainment,bound",
};

pub(super) const UNSEEN: File = File {
    path: "docs/suite-unseen.csv",
    columns: "family,scenario,policy,train_slo_attainment,test_slo_attainment,requests,missed,fixed_bound,plan_wall_s",
};

/// The rows of a file.
pub(super) struct Rows(Vec<Vec<String>>);

impl Rows {
    /// Reads the rows of `file`; none if there is no file yet.
    pub(super) fn read(file: File) -> Result<Self> {
        let text = if std::fs::exists(file.path)? { std::fs::read_to_string(file.path)? } else { String::new() };
        Ok(Self(text.lines().skip(1).map(|line| line.split(',').map(str::to_owned).collect()).collect()))
    }

    /// Adds a row to `file`.
    pub(super) fn add(file: File, row: &str) -> Result<()> {
        let fresh = !std::fs::exists(file.path)?;
        let mut open = std::fs::OpenOptions::new().create(true).append(true).open(file.path)?;
        if fresh {
            writeln!(open, "{}", file.columns)?;
        }
        Ok(writeln!(open, "{row}")?)
    }

    /// The first row that begins with `key`.
    pub(super) fn find(&self, key: &[&str]) -> Option<&[String]> {
        self.0.iter().map(Vec::as_slice).find(|row| row.iter().zip(key).all(|(cell, key)| cell == key))
    }

    /// What stands in the second column of rows that begin with `first`, each once, in order of appearance.
    pub(super) fn seconds(&self, first: &str) -> Vec<&str> {
        let mut found: Vec<&str> = Vec::new();
        for row in self.0.iter().filter(|row| row.first().is_some_and(|cell| cell == first)) {
            if let Some(second) = row.get(1).filter(|second| !found.contains(&second.as_str())) {
                found.push(second);
            }
        }
        found
    }

    /// What stands in the first column, each once, in order of appearance.
    pub(super) fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for name in self.0.iter().filter_map(|row| row.first()) {
            if !names.contains(&name.as_str()) {
                names.push(name);
            }
        }
        names
    }

    /// All rows as numbers; cells that are none count as not a number.
    pub(super) fn numbers(&self) -> Vec<Vec<f64>> {
        self.0.iter().map(|row| row.iter().map(|cell| cell.parse().unwrap_or(f64::NAN)).collect()).collect()
    }
}

/// Cell `column` of a row as a number.
pub(super) fn number(row: &[String], column: usize) -> f64 {
    row.get(column).and_then(|cell| cell.parse().ok()).unwrap_or(f64::NAN)
}
