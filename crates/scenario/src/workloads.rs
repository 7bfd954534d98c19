//! Requests kept for scenarios that share them.

use statmux_core::files::FileError;
use statmux_core::{Seed, Span, Workload};
use statmux_workload::WorkloadTable;
use statmux_workload::table::{Built, WorkloadKind};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

/// Requests replayed from traces, so that scenarios which differ in something else need not read the trace again.
///
/// Generated requests are made faster than kept. Files are taken not to change meanwhile.
#[derive(Debug, Default)]
pub struct Workloads(Mutex<BTreeMap<String, Window>>);

/// The requests of one window, and what there is to say of them.
#[derive(Clone, Debug)]
pub(crate) struct Window {
    pub(crate) workload: Arc<Workload>,
    pub(crate) offset: Span,
    pub(crate) remarks: Vec<String>,
    pub(crate) warnings: Vec<String>,
}

impl From<Built> for Window {
    fn from(Built { workload, offset, remarks, warnings, .. }: Built) -> Self {
        Self { workload: Arc::new(workload), offset, remarks, warnings }
    }
}

/// What requests are built from.
pub(crate) struct Wanted<'a> {
    pub(crate) table: &'a WorkloadTable,
    pub(crate) path: &'a Path,
    pub(crate) names: &'a [String],
    pub(crate) seed: Seed,
}

impl Wanted<'_> {
    /// The requests that are scored.
    pub(crate) fn test(&self, kept: Option<&Workloads>) -> Result<Window, FileError> {
        let table = WorkloadTable { train: None, ..self.table.clone() };
        let build = || Ok(table.build_with_provenance(self.path, self.names, self.seed)?.into());
        match kept {
            Some(kept) if table.kind == Some(WorkloadKind::Trace) => kept.once(self.key("test", &table), build),
            _ => build(),
        }
    }

    /// The requests that a planner may see, if the scenario says so.
    pub(crate) fn train(&self, kept: Option<&Workloads>) -> Result<Option<Window>, FileError> {
        if self.table.train.is_none() {
            return Ok(None);
        }
        let build = || {
            let built = self.table.build_train_with_provenance(self.path, self.names, self.seed)?;
            Ok(built.expect("there is a table").into())
        };
        match kept {
            Some(kept) => kept.once(self.key("train", self.table), build),
            None => build(),
        }
        .map(Some)
    }

    fn key(&self, which: &str, table: &WorkloadTable) -> String {
        format!("{which} {table:?} {:?} {:?} {:?}", self.path.parent(), self.names, self.seed)
    }
}

impl Workloads {
    /// What `build` builds, built at most once but for races, which cost time only.
    fn once(&self, key: String, build: impl FnOnce() -> Result<Window, FileError>) -> Result<Window, FileError> {
        let lock = || self.0.lock().expect("no thread panics while it holds this");
        if let Some(known) = lock().get(&key) {
            return Ok(known.clone());
        }
        let built = build()?;
        Ok(lock().entry(key).or_insert(built).clone())
    }
}
