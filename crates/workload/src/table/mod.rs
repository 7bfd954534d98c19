//! The `[workload]` and `[workload.train]` tables of a scenario.
//!
//! Every key stands in one struct, so that a key of another kind is told from a misspelt one. [`WorkloadTable::build`]
//! turns the table into requests; all chance in it comes from the seed.

mod keys;
mod listed;
mod remark;
mod synthetic;
mod trace;
mod window;

pub use remark::far_apart;
pub use trace::{Fit, Mapping, ResampleTable, begin, cut};
pub use window::{TraceTime, WindowTable};

use crate::format::Format;
use crate::requests::Columns;
use crate::split::Split;
use serde::Deserialize;
use statmux_core::files::{FileError, Quantity};
use statmux_core::{Seed, Span, Workload};
use std::path::{Path, PathBuf};

/// Where requests come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WorkloadKind {
    /// A requests file.
    Requests,
    /// Gamma-distributed gaps.
    Gamma,
    /// Exponential gaps.
    Poisson,
    /// Equal gaps.
    Deterministic,
    /// Poisson arrivals with a rate that jumps among states.
    Mmpp,
    /// Gaps with a power-law tail.
    Pareto,
    /// Weibull-distributed gaps.
    Weibull,
    /// A recorded trace.
    Trace,
}

impl WorkloadKind {
    /// The word used in scenarios.
    pub fn name(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Gamma => "gamma",
            Self::Poisson => "poisson",
            Self::Deterministic => "deterministic",
            Self::Mmpp => "mmpp",
            Self::Pareto => "pareto",
            Self::Weibull => "weibull",
            Self::Trace => "trace",
        }
    }
}

/// The `[workload]` table as written; `docs/formats.md` describes its keys.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WorkloadTable {
    /// Where requests come from.
    pub kind: Option<WorkloadKind>,
    /// Replaces the scenario's seed for this workload.
    pub seed: Option<u64>,
    /// Keeps only the first so many requests.
    pub max_requests: Option<u64>,
    /// How long requests arrive; for a requests file, how long they were collected, from the run's start.
    pub duration: Option<Quantity<Span>>,
    /// The requests file, relative to the scenario.
    pub file: Option<PathBuf>,
    /// Which columns of the file are meant, if it is somebody else's log.
    pub columns: Option<Columns>,
    /// Requests per second of all models together.
    pub rate: Option<f64>,
    /// Standard deviation of the gaps over their mean.
    pub cv: Option<f64>,
    /// The shape of Pareto or Weibull gaps, instead of `cv`.
    pub shape: Option<f64>,
    /// How the rate is divided among the models.
    pub split: Option<Split>,
    /// The rates of an MMPP's states, relative to each other.
    pub state_rates: Option<Vec<f64>>,
    /// The mean stay in each of an MMPP's states.
    pub state_durations: Option<Vec<Quantity<Span>>>,
    /// The trace's format.
    pub format: Option<Format>,
    /// The trace's files, relative to the scenario.
    pub files: Option<Vec<PathBuf>>,
    /// The part of the trace or requests file that is used; all of it, from the first request on, if absent.
    pub window: Option<WindowTable>,
    /// How the trace's functions become the scenario's models.
    pub mapping: Option<Mapping>,
    /// Draws new arrivals from what is fitted to the recorded ones; absent, they are replayed as recorded.
    pub resample: Option<ResampleTable>,
    /// How much faster than recorded the clock runs: 2 halves all gaps and the duration.
    pub time_scale: Option<f64>,
    /// Keeps each recorded request with this probability.
    pub thin: Option<f64>,
    /// Drops functions with fewer requests in the window than this; those without any are always dropped.
    pub min_function_requests: Option<u64>,
    /// Keeps only the so many busiest functions of the window.
    pub top_functions: Option<usize>,
    /// What the planner may see: the same keys, those left out as above.
    pub train: Option<Box<Self>>,
}

/// Requests with a sentence on where they come from.
#[derive(Clone, Debug, PartialEq)]
pub struct Built {
    /// The requests.
    pub workload: Workload,
    /// What of it is recorded, what is resampled, and what is synthetic.
    pub provenance: String,
    /// When the run starts on the clock of the file that the requests are from; zero if a window was asked for.
    pub offset: Span,
    /// What was understood in a way that a reader should know of.
    pub remarks: Vec<String>,
    /// What looks like a mistake.
    pub warnings: Vec<String>,
}

impl WorkloadTable {
    /// The requests for the models in `model_names`; files are relative to the scenario at `scenario_path`.
    pub fn build(&self, scenario_path: &Path, model_names: &[String], seed: Seed) -> Result<Workload, FileError> {
        self.build_with_provenance(scenario_path, model_names, seed).map(|built| built.workload)
    }

    /// Like [`WorkloadTable::build`], with a sentence on where the requests come from.
    pub fn build_with_provenance(
        &self,
        scenario_path: &Path,
        model_names: &[String],
        seed: Seed,
    ) -> Result<Built, FileError> {
        let stream = Seed(self.seed.unwrap_or(seed.0)).stream("workload");
        self.build_in(&Site { scenario: scenario_path, table: "workload" }, model_names, stream)
    }

    /// What the planner may see, if the scenario has a `[workload.train]` table.
    ///
    /// Keys left out there are as in `[workload]`. Without a `seed` of its own, its random draws are independent of
    /// those of the test workload.
    pub fn build_train(
        &self,
        scenario_path: &Path,
        model_names: &[String],
        seed: Seed,
    ) -> Result<Option<Workload>, FileError> {
        Ok(self.build_train_with_provenance(scenario_path, model_names, seed)?.map(|built| built.workload))
    }

    /// Like [`WorkloadTable::build_train`], with a sentence on where the requests come from.
    pub fn build_train_with_provenance(
        &self,
        scenario_path: &Path,
        model_names: &[String],
        seed: Seed,
    ) -> Result<Option<Built>, FileError> {
        let Some(train) = &self.train else { return Ok(None) };
        let site = Site { scenario: scenario_path, table: "workload.train" };
        if train.train.is_some() {
            return Err(site.error("train", "stands inside [workload.train] itself"));
        }
        let stream = match train.seed {
            Some(own) => Seed(own).stream("workload"),
            None => Seed(self.seed.unwrap_or(seed.0)).stream("workload.train"),
        };
        train.inherit(self).build_in(&site, model_names, stream).map(Some)
    }

    fn build_in(&self, site: &Site<'_>, model_names: &[String], seed: Seed) -> Result<Built, FileError> {
        let kind = self.kind.ok_or_else(|| {
            site.error("kind", "is missing")
                .with_help("one of requests, gamma, poisson, deterministic, mmpp, pareto, weibull, trace")
        })?;
        self.check_keys(site, kind)?;
        if model_names.is_empty() {
            return Err(site.error("kind", "asks for requests, but the scenario has no models"));
        }
        let zeros = [("max_requests", self.max_requests == Some(0)), ("top_functions", self.top_functions == Some(0))];
        if let Some((key, _)) = zeros.into_iter().find(|&(_, zero)| zero) {
            return Err(site.error(key, "is 0: nothing would be left"));
        }
        let mut built = match kind {
            WorkloadKind::Requests => self.build_requests(site, model_names)?,
            WorkloadKind::Trace => self.build_trace(site, model_names, seed)?,
            _ => self.build_synthetic(site, kind, model_names, seed)?,
        };
        if let Some(most) = self.max_requests {
            let most = usize::try_from(most).unwrap_or(usize::MAX);
            truncate(&mut built.workload, most);
        }
        if built.workload.is_empty() {
            return Err(site.error("kind", "gives no request at all").with_help("raise the rate or the duration"));
        }
        Ok(built)
    }
}

/// Keeps the first `most` requests; the duration then ends with the last of them.
fn truncate(workload: &mut Workload, most: usize) {
    if workload.len() > most {
        *workload = workload.slice(0..most);
        let last = workload.arrived.last().copied().unwrap_or_default();
        workload.duration = Span::from_nanos(last.nanos());
    }
}

/// Where a table stands, for messages and relative paths.
pub(crate) struct Site<'a> {
    pub(crate) scenario: &'a Path,
    pub(crate) table: &'a str,
}

impl Site<'_> {
    /// Something wrong with a key of the table.
    pub(crate) fn error(&self, key: &str, what: impl Into<String>) -> FileError {
        FileError::at_field(self.scenario, format!("{}.{key}", self.table), what)
    }

    /// A file named in the table.
    pub(crate) fn resolve(&self, file: &Path) -> PathBuf {
        self.scenario.parent().unwrap_or(Path::new("")).join(file)
    }

    /// A number that must be there, finite and above zero.
    pub(crate) fn positive(&self, key: &str, value: Option<f64>) -> Result<f64, FileError> {
        let value = value.ok_or_else(|| self.error(key, "is missing"))?;
        self.optional_positive(key, Some(value)).map(|_| value)
    }

    /// A number that must be finite and above zero if it is there.
    pub(crate) fn optional_positive(&self, key: &str, value: Option<f64>) -> Result<Option<f64>, FileError> {
        match value {
            Some(value) if !value.is_finite() || value <= 0.0 => {
                Err(self.error(key, format!("is {value}; a number above 0 was expected")))
            }
            value => Ok(value),
        }
    }
}
