//! Where cases are run: in parallel, each once, and remembered by content.

use crate::case::Case;
use crate::cell::{self, Measured};
use crate::error::FiguresError;
use crate::options::{Options, make_folder};
use crate::published::Arrivals;
use crate::support::Support;
use crate::traces::Traces;
use rayon::prelude::*;
use statmux_core::files::write_atomically;
use statmux_scenario::Workloads;
use statmux_workload::requests::write_requests;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Mutex;

/// Told how the work gets on, from any thread, and asked whether to go on.
pub trait Progress: Sync {
    /// `cells` cells will now be measured; those remembered are not among them.
    fn begin(&self, cells: usize);

    /// One cell is measured; `case` names it.
    fn done(&self, case: &str);

    /// Whether to stop. What is measured stays remembered.
    fn stop(&self) -> bool {
        false
    }
}

/// Tells nobody, and never stops.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Progress for Silent {
    fn begin(&self, _: usize) {}
    fn done(&self, _: &str) {}
}

/// Measures cases and keeps the results.
#[derive(Debug)]
pub struct Lab {
    /// What was asked for.
    pub options: Options,
    /// The files that scenarios name.
    pub support: Support,
    /// The traces that scenarios replay.
    pub traces: Traces,
    workloads: Workloads,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The figure whose cases are being named.
    figure: &'static str,
    results: BTreeMap<String, Measured>,
    /// By key, the figure that first asked for a case, and the case.
    pending: BTreeMap<String, (&'static str, Case)>,
    /// By figure, the cases it is made of.
    cases: BTreeMap<&'static str, Vec<Case>>,
}

impl Lab {
    /// A lab that writes below `options.out`, where it puts the files that scenarios name.
    pub fn open(options: &Options) -> Result<Self, FiguresError> {
        for folder in ["cache", "data", "scenarios"] {
            make_folder(&options.out.join(folder))?;
        }
        let support = Support::write(&options.out.join("data"))?;
        let traces = Traces::write(&options.out.join("data"), options)?;
        let workloads = Workloads::default();
        Ok(Self { options: options.clone(), support, traces, workloads, state: Mutex::default() })
    }

    /// From now on, cases belong to `figure`.
    pub(crate) fn enter(&self, figure: &'static str) -> Result<(), FiguresError> {
        // Scenarios name files relative to this folder, so it has to be there before they are run.
        make_folder(&self.options.out.join("scenarios").join(figure))?;
        let mut state = self.state.lock().expect("no thread panics while it holds this");
        state.figure = figure;
        state.cases.insert(figure, Vec::new());
        Ok(())
    }

    /// Whether this run is a quick one.
    pub fn quick(&self) -> bool {
        self.options.quick
    }

    /// `full`, or `quick` in a quick run.
    pub fn either<T>(&self, quick: T, full: T) -> T {
        if self.options.quick { quick } else { full }
    }

    /// The name of a file in the data folder with the published `arrivals`, which is written if it is not there yet.
    pub fn requests(&self, arrivals: &Arrivals) -> Result<String, FiguresError> {
        let name = arrivals.file_name();
        let path = self.options.out.join("data").join(&name);
        if !path.exists() {
            let names: Vec<String> = (0..arrivals.models).map(|model| format!("m{model}")).collect();
            write_requests(&path, &arrivals.draw(), &names)?;
        }
        Ok(name)
    }

    /// What came out of each of `cases`, in their order.
    ///
    /// # Errors
    /// [`FiguresError::Pending`] if some are not measured yet; they then will be, and the figure is asked again.
    pub fn measure(&self, cases: &[Case]) -> Result<Vec<Measured>, FiguresError> {
        let mut state = self.state.lock().expect("no thread panics while it holds this");
        let figure = state.figure;
        state.cases.entry(figure).or_default().extend_from_slice(cases);
        let mut found = Vec::with_capacity(cases.len());
        for case in cases {
            let key = case.key(&self.support.digest_for(&case.scenario));
            if let Some(measured) = state.results.get(&key) {
                found.push(measured.clone());
            } else if let Some(measured) = self.remembered(&key) {
                state.results.insert(key, measured.clone());
                found.push(measured);
            } else {
                state.pending.entry(key).or_insert_with(|| (figure, case.clone()));
            }
        }
        if found.len() == cases.len() { Ok(found) } else { Err(FiguresError::Pending) }
    }

    pub(crate) fn has_pending(&self) -> bool {
        !self.state.lock().expect("no thread panics while it holds this").pending.is_empty()
    }

    /// Measures what is pending, on as many threads as there are.
    pub(crate) fn run_pending(&self, progress: &dyn Progress) -> Result<(), FiguresError> {
        let pending = std::mem::take(&mut self.state.lock().expect("no thread panics while it holds this").pending);
        progress.begin(pending.len());
        // Any order would do; this one mixes cheap and dear cases of all figures, so that the estimate is fair.
        let results = pending.into_par_iter().map(|(key, (figure, case))| {
            if progress.stop() {
                return Err(FiguresError::Interrupted);
            }
            let measured = cell::run(&case, &self.scenario_path(figure, &case), &self.workloads)?;
            let json = serde_json::to_string(&measured).expect("plain data serialises");
            write_atomically(&self.cache_path(&key), json.as_bytes())?;
            progress.done(&format!("{figure}/{}", case.name));
            Ok((key, measured))
        });
        let results: Vec<_> = results.collect::<Result<_, _>>()?;
        self.state.lock().expect("no thread panics while it holds this").results.extend(results);
        Ok(())
    }

    /// The cases that `figure` is made of.
    pub(crate) fn cases(&self, figure: &str) -> Vec<Case> {
        let state = self.state.lock().expect("no thread panics while it holds this");
        state.cases.get(figure).cloned().unwrap_or_default()
    }

    /// Where the scenario of a case of `figure` stands.
    pub(crate) fn scenario_path(&self, figure: &str, case: &Case) -> PathBuf {
        self.options.out.join("scenarios").join(figure).join(format!("{}.toml", case.name))
    }

    fn cache_path(&self, key: &str) -> PathBuf {
        self.options.out.join("cache").join(format!("{key}.json"))
    }

    fn remembered(&self, key: &str) -> Option<Measured> {
        // A file that cannot be read or understood is as good as none: the cell is measured again.
        let text = std::fs::read_to_string(self.cache_path(key)).ok()?;
        serde_json::from_str(&text).ok()
    }
}
