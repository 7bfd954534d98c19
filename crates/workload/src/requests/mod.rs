//! Requests files, our own format: `arrival_s,model[,slo_s][,prompt_tokens,output_tokens]`, as CSV or Parquet.
//!
//! Read with [`read_requests`], write with [`write_requests`]; the results of a run go out with [`write_results`] and
//! come back with [`read_results`].
//! The name's ending says which: `.csv`, `.csv.gz`, `.csv.zst` (read only) or `.parquet`.

mod builder;
mod csv_read;
mod csv_write;
mod decimal;
mod parquet_read;
mod parquet_write;
mod results_read;

pub(crate) use decimal::push_seconds;

pub use results_read::{Recorded, read_results};

use crate::names::Names;
use builder::Builder;
use statmux_core::files::{FileError, nearest};
use statmux_core::{Outcome, Workload};
use std::path::Path;

/// The columns of a requests file, in the order in which we write them.
const COLUMNS: [&str; 5] = ["arrival_s", "model", "slo_s", "prompt_tokens", "output_tokens"];

/// Reads a requests file whose models all are in `model_names`.
///
/// The workload lasts until its last arrival. Ten million requests take 120 MB, plus 80 MB for each optional column
/// group.
pub fn read_requests(path: &Path, model_names: &[impl AsRef<str>]) -> Result<Workload, FileError> {
    read(path, Names::closed(model_names)).map(|(workload, _)| workload)
}

/// Reads a requests file and collects the names of its models, in order of first appearance.
pub fn read_requests_and_names(path: &Path) -> Result<(Workload, Vec<String>), FileError> {
    read(path, Names::default())
}

fn read(path: &Path, names: Names) -> Result<(Workload, Vec<String>), FileError> {
    let builder = Builder::new(names);
    match Kind::of(path)? {
        Kind::Parquet => parquet_read::read(path, builder),
        Kind::Csv | Kind::CsvGz | Kind::CsvZst => csv_read::read(path, builder),
    }
}

/// Writes `workload` as a requests file, whole or not at all; `names` are the models' names by id.
pub fn write_requests(path: &Path, workload: &Workload, names: &[impl AsRef<str>]) -> Result<(), FileError> {
    let names = as_strs(names);
    match Kind::of(path)? {
        Kind::Parquet => parquet_write::requests(path, workload, &names),
        kind => csv_write::requests(path, kind == Kind::CsvGz, workload, &names),
    }
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
    assert_eq!(workload.len(), outcomes.len(), "one outcome per request");
    let names = as_strs(names);
    match Kind::of(path)? {
        Kind::Parquet => parquet_write::results(path, workload, &names, outcomes),
        kind => csv_write::results(path, kind == Kind::CsvGz, workload, &names, outcomes),
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

/// Where each of [`COLUMNS`] stands in a file.
struct Layout {
    arrival: usize,
    model: usize,
    slo: Option<usize>,
    lengths: Option<(usize, usize)>,
}

impl Layout {
    /// Checks a header: all names known, none twice, the required ones there.
    fn of(path: &Path, header: &[String]) -> Result<Self, FileError> {
        let at = |name: &str| header.iter().position(|column| column == name);
        for (position, column) in header.iter().enumerate() {
            if !COLUMNS.contains(&column.as_str()) {
                let error = FileError::at_line(path, 1, format!("unknown column `{}`", crate::rows::shorten(column)));
                let known = COLUMNS.join(",");
                return Err(error.with_help(match nearest(column, &COLUMNS) {
                    Some(near) => format!("did you mean `{near}`? Known: {known}"),
                    None => format!("known: {known}"),
                }));
            }
            if at(column) != Some(position) {
                return Err(FileError::at_line(path, 1, format!("column `{column}` stands twice in the header")));
            }
        }
        let required = |name: &str| {
            at(name).ok_or_else(|| {
                FileError::at_line(path, 1, format!("the header has no column `{name}`"))
                    .with_help("requests files begin with arrival_s,model[,slo_s][,prompt_tokens,output_tokens]")
            })
        };
        let lengths = match (at("prompt_tokens"), at("output_tokens")) {
            (None, None) => None,
            _ => Some((required("prompt_tokens")?, required("output_tokens")?)),
        };
        Ok(Self { arrival: required("arrival_s")?, model: required("model")?, slo: at("slo_s"), lengths })
    }
}
