//! Requests files, our own format: `arrival_s,model[,slo_s][,prompt_tokens,output_tokens]`, as CSV or Parquet.
//!
//! Read with [`read_requests`], write with [`write_requests`]; the results of a run go out with [`write_results`] and
//! come back with [`read_results`].
//! The name's ending says which: `.csv`, `.csv.gz`, `.csv.zst` or `.parquet`; pipes and devices get plain CSV.

mod builder;
mod columns;
mod csv_read;
mod csv_write;
mod decimal;
mod parquet_read;
mod parquet_write;
mod results_read;

pub(crate) use decimal::push_seconds;

pub use columns::Columns;
pub use results_read::{Recorded, read_results};

use crate::clock::Clock;
use crate::names::Names;
use statmux_core::files::{self, FileError};
use statmux_core::{Outcome, Span, Workload};
use std::path::Path;

/// What a requests file holds.
pub(crate) struct FileRequests {
    /// The requests, on the clock of the file; dates are times since 1970.
    pub(crate) workload: Workload,
    /// The models' names by id.
    pub(crate) names: Vec<String>,
    /// What has read the times.
    pub(crate) clock: Clock,
}

/// Reads a requests file whose models all are in `model_names`.
///
/// The workload lasts until its last arrival. Ten million requests take 120 MB, plus 80 MB for each optional column
/// group.
pub fn read_requests(path: &Path, model_names: &[impl AsRef<str>]) -> Result<Workload, FileError> {
    read(path, Names::closed(model_names), None).map(|read| read.workload)
}

/// Reads a requests file and collects the names of its models, in order of first appearance.
pub fn read_requests_and_names(path: &Path) -> Result<(Workload, Vec<String>), FileError> {
    read(path, Names::default(), None).map(|read| (read.workload, read.names))
}

/// Reads a requests file, or with a `mapping` of columns somebody else's log. With closed `names`, all models must be
/// among them.
pub(crate) fn read(path: &Path, names: Names, mapping: Option<&Columns>) -> Result<FileRequests, FileError> {
    match Kind::of(path)? {
        Kind::Parquet => parquet_read::read(path, names, mapping),
        Kind::Csv | Kind::CsvGz | Kind::CsvZst => csv_read::read(path, names, mapping),
    }
}

/// Writes `workload` as a requests file, whole or not at all; `names` are the models' names by id.
pub fn write_requests(path: &Path, workload: &Workload, names: &[impl AsRef<str>]) -> Result<(), FileError> {
    let names = as_strs(names);
    match Kind::to_write(path)? {
        Kind::Parquet => parquet_write::requests(path, workload, &names),
        kind => csv_write::requests(path, kind, workload, &names),
    }
}

/// Finds out whether a file of requests or results can be written to `path`, and leaves everything as it was.
pub fn check_output(path: &Path) -> Result<(), FileError> {
    Kind::to_write(path)?;
    files::check_output(path)
}

/// Writes what became of each request of `workload`, in its order, whole or not at all.
///
/// The columns are `request,model,arrival_s,group,start_s,finish_s,outcome`; the middle three are empty where nothing
/// ran. `names` are the models' names by id.
///
/// # Panics
/// If there are not as many outcomes as requests.
pub fn write_results(
    path: &Path,
    workload: &Workload,
    names: &[impl AsRef<str>],
    outcomes: &[Outcome],
) -> Result<(), FileError> {
    write_results_at(path, workload, names, outcomes, Span::ZERO)
}

/// The same for a run that started at `offset` on the clock of the file that its requests are from: all times are
/// written on that clock.
///
/// # Panics
/// If there are not as many outcomes as requests.
pub fn write_results_at(
    path: &Path,
    workload: &Workload,
    names: &[impl AsRef<str>],
    outcomes: &[Outcome],
    offset: Span,
) -> Result<(), FileError> {
    assert_eq!(workload.len(), outcomes.len(), "one outcome per request");
    let names = as_strs(names);
    match Kind::to_write(path)? {
        Kind::Parquet => parquet_write::results(path, workload, &names, outcomes, offset),
        kind => csv_write::results(path, kind, workload, &names, outcomes, offset),
    }
}

fn as_strs(names: &[impl AsRef<str>]) -> Vec<&str> {
    names.iter().map(AsRef::as_ref).collect()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Csv,
    CsvGz,
    CsvZst,
    Parquet,
}

impl Kind {
    /// How `path` is written; what is no regular file has no ending that would say, and gets CSV.
    fn to_write(path: &Path) -> Result<Self, FileError> {
        match Self::of(path) {
            Err(_) if files::is_written_through(path) => Ok(Self::Csv),
            named => named,
        }
    }

    fn of(path: &Path) -> Result<Self, FileError> {
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
        let endings =
            [(".csv", Self::Csv), (".csv.gz", Self::CsvGz), (".csv.zst", Self::CsvZst), (".parquet", Self::Parquet)];
        endings.into_iter().find(|(ending, _)| name.ends_with(ending)).map(|(_, kind)| kind).ok_or_else(|| {
            FileError::whole(path, "is neither CSV nor Parquet by its name")
                .with_help("requests files end in .csv, .csv.gz, .csv.zst or .parquet")
        })
    }
}
