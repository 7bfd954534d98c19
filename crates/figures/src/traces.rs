//! The three kinds of recorded traffic: where their files are, and the scenario lines that replay them.

use crate::error::FiguresError;
use crate::options::{Options, make_folder};
use statmux_core::Seed;
use statmux_core::files::{FileError, write_atomically};
use statmux_workload::synth::azure_functions_2021;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Calls per minute of 500 real functions over eight hours.
const MAF1_SAMPLE: (&str, &[u8]) = (
    "azure-functions-2019-sample500.csv.gz",
    include_bytes!("../../statmux/demo/azure-functions-2019-sample500.csv.gz"),
);
/// Rate and CV of 73 real clients of a reasoning model, every ten minutes of a day.
const SERVEGEN_SAMPLE: (&str, &[u8]) = ("servegen-reason.csv.gz", include_bytes!("../data/servegen-reason.csv.gz"));
/// Drawn from the published statistics of the applications of the 2021 trace.
const MAF2_STAND_IN: &str = "azure-functions-2021-synthetic.csv.gz";
/// The stand-in holds the last two of the fourteen days.
const STAND_IN_FROM_S: f64 = 12.0 * 86_400.0;

/// A trace that figures replay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// Azure Functions 2019: steady and dense.
    Maf1,
    /// Azure Functions 2021: bursty and skewed.
    Maf2,
    /// Clients of a language model service.
    Servegen,
}

/// Which part of the trace is planned on, and which is scored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Planned {
    /// The same requests, as published.
    OnItself,
    /// On the stretch just before.
    Before,
}

/// The files of each source.
#[derive(Clone, Debug, Default)]
pub struct Traces {
    files: BTreeMap<Source, Vec<String>>,
    /// Whether the user gave the trace.
    given: BTreeMap<Source, bool>,
}

impl Source {
    /// All, in the order of the columns.
    pub const ALL: [Self; 3] = [Self::Maf1, Self::Maf2, Self::Servegen];

    /// Its name in `--trace NAME=DIR`.
    pub const fn key(self) -> &'static str {
        match self {
            Self::Maf1 => "maf1",
            Self::Maf2 => "maf2",
            Self::Servegen => "servegen",
        }
    }

    const fn format(self) -> &'static str {
        match self {
            Self::Maf1 => "azure-functions-2019",
            Self::Maf2 => "azure-functions-2021",
            Self::Servegen => "servegen",
        }
    }

    /// The first minute that is scored: an hour of traffic lies before it.
    fn first_minute(self, given: bool) -> u32 {
        match (self, given) {
            (Self::Maf1, true) => 60,
            // The sample begins at minute 479.
            (Self::Maf1, false) => 9 * 60,
            (Self::Maf2, _) => 13 * 1440,
            (Self::Servegen, _) => 10 * 60,
        }
    }
}

impl Traces {
    /// Puts the embedded traces into `folder`, or names the files of those that were given.
    pub(crate) fn write(folder: &Path, options: &Options) -> Result<Self, FiguresError> {
        if let Some(name) = options.traces.keys().find(|name| Source::ALL.iter().all(|source| source.key() != **name)) {
            return Err(FiguresError::UnknownTrace(name.clone()));
        }
        make_folder(folder)?;
        let mut traces = Self::default();
        for source in Source::ALL {
            let files = match options.traces.get(source.key()) {
                Some(given) => files_in(given)?,
                None => vec![format!("../../data/{}", embedded(source, folder)?)],
            };
            traces.files.insert(source, files);
            traces.given.insert(source, options.traces.contains_key(source.key()));
        }
        Ok(traces)
    }

    /// What stands above a column, and whether the data are real.
    pub fn label(&self, source: Source) -> &'static str {
        match (source, self.given[&source]) {
            (Source::Maf1, true) => "MAF1",
            (Source::Maf1, false) => "MAF1 (real sample)",
            (Source::Maf2, true) => "MAF2",
            (Source::Maf2, false) => "MAF2-like (synthetic)",
            (Source::Servegen, _) => "ServeGen (real)",
        }
    }

    /// `[workload]` and `[workload.train]` lines: `minutes` of traffic, with rates times `rate_scale`, and a CV that is
    /// `cv` (MAF1, where gaps were not recorded) or `cv` times the recorded one.
    pub fn workload(
        &self,
        source: Source,
        minutes: u32,
        planned: Planned,
        rate_scale: f64,
        cv: f64,
    ) -> (String, Option<String>) {
        let test = source.first_minute(self.given[&source]);
        let train = (planned == Planned::Before).then(|| test - minutes);
        self.stretches(source, minutes, (test, train), rate_scale, cv)
    }

    /// The same, scored on the stretch from minute `test` and planned on that from minute `train`.
    fn stretches(
        &self,
        source: Source,
        minutes: u32,
        (test, train): (u32, Option<u32>),
        rate_scale: f64,
        cv: f64,
    ) -> (String, Option<String>) {
        let window = |from: u32| {
            let time = |minute: u32| format!("{}.{}.{}", minute / 1440, minute / 60 % 24, minute % 60);
            format!("window = {{ start = \"{}\", end = \"{}\" }}\n", time(from), time(from + minutes))
        };
        let resample = match source {
            Source::Maf1 => format!("fit = \"count\", interval = \"60 s\", rate_scale = {rate_scale:?}, cv = {cv:?}"),
            Source::Maf2 => {
                format!("fit = \"gamma\", interval = \"300 s\", rate_scale = {rate_scale:?}, cv_scale = {cv:?}")
            }
            Source::Servegen => format!("fit = \"gamma\", rate_scale = {rate_scale:?}, cv_scale = {cv:?}"),
        };
        let files: Vec<String> = self.files[&source].iter().map(|file| format!("{file:?}")).collect();
        let text = format!(
            "kind = \"trace\"\nformat = \"{}\"\nfiles = [{}]\n{}mapping = \"stripe\"\nresample = {{ {resample} }}\n",
            source.format(),
            files.join(", "),
            window(test),
        );
        (text, train.map(window))
    }

    /// `[workload]` and `[workload.train]` lines for two hours of MAF1, counted from the one that is usually scored.
    pub fn two_hours(&self, minutes: u32, test: u32, train: Option<u32>, rate_scale: f64) -> (String, Option<String>) {
        let first = Source::Maf1.first_minute(self.given[&Source::Maf1]);
        let at = |hour: u32| first + 60 * hour;
        self.stretches(Source::Maf1, minutes, (at(test), train.map(at)), rate_scale, 4.0)
    }
}

/// The files of a folder with a public trace, in order of their names.
fn files_in(folder: &Path) -> Result<Vec<String>, FiguresError> {
    let failed = |cause| FileError::io(folder, "cannot be read", cause);
    let folder = folder.canonicalize().map_err(failed)?;
    let mut files = Vec::new();
    for entry in std::fs::read_dir(&folder).map_err(failed)? {
        let path: PathBuf = entry.map_err(failed)?.path();
        let name = path.to_string_lossy().into_owned();
        if [".csv", ".csv.gz", ".csv.zst", ".txt"].iter().any(|ending| name.ends_with(ending)) {
            files.push(name);
        }
    }
    if files.is_empty() {
        return Err(FileError::whole(&folder, "holds no .csv, .csv.gz, .csv.zst or .txt file of a trace").into());
    }
    files.sort();
    Ok(files)
}

/// Writes the trace that stands for a source, and returns its name.
fn embedded(source: Source, folder: &Path) -> Result<&'static str, FiguresError> {
    let (name, bytes) = match source {
        Source::Maf1 => MAF1_SAMPLE,
        Source::Servegen => SERVEGEN_SAMPLE,
        Source::Maf2 => {
            let path = folder.join(MAF2_STAND_IN);
            if !path.exists() {
                let mut synthetic = azure_functions_2021(14.0, None, Seed(0));
                synthetic.calls.retain(|(at, _)| at.seconds() >= STAND_IN_FROM_S);
                synthetic.write(&path)?;
            }
            return Ok(MAF2_STAND_IN);
        }
    };
    write_atomically(&folder.join(name), bytes)?;
    Ok(name)
}
