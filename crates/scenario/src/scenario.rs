//! A scenario file, resolved: everything a run needs, read and checked once.

use crate::file::ScenarioFile;
use crate::overrides::{self, Override};
use crate::strange;
use crate::trained_on::TrainedOn;
use crate::workloads::{Wanted, Workloads};
use statmux_core::files::{self, FileError, ModelTable};
use statmux_core::{Cluster, ModelSpec, Profile, Seed, Share, Span, Workload};
use statmux_plan::PlannerTable;
use statmux_plan::derive::NamedProfile;
use statmux_sim::SimulationSettings;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Everything that determines a run.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Where it was read from.
    pub path: PathBuf,
    /// The root of all chance.
    pub seed: Seed,
    /// The devices.
    pub cluster: Cluster,
    /// The models, by id.
    pub models: Vec<ModelSpec>,
    /// What a server loads for each model, by id.
    pub sources: Vec<Source>,
    /// Where stage times come from, one line per profile file.
    pub provenance: Vec<String>,
    /// Scheduling policies, overheads, faults.
    pub simulation: SimulationSettings,
    /// The planner's policy and parameters.
    pub planner: PlannerTable,
    /// What results are about.
    pub test: Arc<Workload>,
    /// What the planner may see.
    pub train: Arc<Workload>,
    /// Whether the planner sees other requests than those the results are about.
    pub trained_on: TrainedOn,
    /// When the test window starts on the clock of the file that its requests are from.
    pub offset: Span,
    /// How the input was understood, where that is not plain.
    pub remarks: Vec<String>,
    /// What in the input looks like a mistake.
    pub warnings: Vec<String>,
}

/// What a server loads for a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// A folder or the name of a preset.
    pub text: String,
    /// The key of the scenario that says so.
    pub field: String,
}

impl Scenario {
    /// Reads the scenario file at `path` as it stands.
    ///
    /// # Errors
    /// Says which file, where in it, what is wrong and what to do.
    pub fn read(path: &Path) -> Result<Self, FileError> {
        Reader::default().read(path)
    }

    /// Reads a scenario with some of its values, and perhaps its seed, replaced.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn read_with(path: &Path, overrides: &[Override], seed: Option<u64>) -> Result<Self, FileError> {
        Reader { overrides, seed, ..Reader::default() }.read(path)
    }

    /// The share of its requests that every model is to be served in time: `each` if it is given, else what the
    /// scenario's `[planner] floor` says. Results of [`score`](Self::score) are judged by it.
    #[must_use]
    pub fn with_floor(mut self, each: Option<Share>) -> Self {
        self.planner = self.planner.with_floor(each);
        self
    }
}

/// How a scenario file is read; the default reads it as it stands.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reader<'a> {
    /// Values that take the place of the file's.
    pub overrides: &'a [Override],
    /// A seed that takes the place of the file's.
    pub seed: Option<u64>,
    /// Requests that other scenarios read before, and where those of this one are kept.
    pub kept: Option<&'a Workloads>,
}

impl Reader<'_> {
    /// Reads the scenario file at `path`, and the files that it names.
    ///
    /// # Errors
    /// Says which file, where in it, what is wrong and what to do.
    pub fn read(&self, path: &Path) -> Result<Scenario, FileError> {
        self.parse(path, &files::read_text(path)?)
    }

    /// The scenario that `text` describes, as if it stood at `path`: the files that it names are relative to that.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn parse(&self, path: &Path, text: &str) -> Result<Scenario, FileError> {
        // Parsed as written first, so that errors have lines.
        let mut file: ScenarioFile = files::parse_toml(path, text)?;
        if !self.overrides.is_empty() {
            file = overrides::apply(path, text, self.overrides)?;
        }
        self.resolve(path, file)
    }

    /// The devices alone of the scenario at `path`, linked as it says.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn cluster(&self, path: &Path) -> Result<Cluster, FileError> {
        let file = overrides::apply(path, &files::read_text(path)?, self.overrides)?;
        Ok(file.simulation.build(path)?.linked(file.cluster.build(path)?))
    }

    fn resolve(&self, path: &Path, file: ScenarioFile) -> Result<Scenario, FileError> {
        files::check_version(path, file.version)?;
        let seed = Seed(self.seed.unwrap_or(file.seed));
        let folder = path.parent().unwrap_or(Path::new(""));
        let simulation = file.simulation.build(path)?;
        let cluster = simulation.linked(file.cluster.build(path)?);
        let profiles = file.profiles.read(path, &cluster)?;
        let (files, profiles): (Vec<String>, Vec<Profile>) =
            profiles.into_iter().map(|NamedProfile { name, profile }| (name, profile)).unzip();
        let models = files::instances(path, &file.models, &profiles)?;
        let names: Vec<String> = models.iter().map(|model| model.name.clone()).collect();
        let table = file
            .workload
            .as_ref()
            .ok_or_else(|| FileError::at_field(path, "workload", "is missing: what arrives? Add a [workload] table"))?;
        let wanted = Wanted { table, path, names: &names, seed };
        let built = wanted.test(self.kept)?;
        let (mut remarks, mut warnings, test) = (built.remarks, built.warnings, built.workload);
        let (train, trained_on) = match wanted.train(self.kept)? {
            Some(train) => {
                // The same file gives rise to the same words.
                remarks
                    .extend(train.remarks.into_iter().filter(|remark| !remarks.contains(remark)).collect::<Vec<_>>());
                warnings.extend(train.warnings.into_iter().filter(|text| !warnings.contains(text)).collect::<Vec<_>>());
                (train.workload, TrainedOn::OwnWindow)
            }
            None => (Arc::clone(&test), TrainedOn::TestWindow),
        };
        if !test.lengths.is_empty() || !train.lengths.is_empty() {
            remarks.push(UNUSED_TOKENS.to_owned());
        }
        check_warmup(path, &simulation, &test)?;
        let looked = strange::Looked { cluster: &cluster, models: &models, settings: &simulation, test: &test };
        warnings.extend(looked.warnings());
        warnings.extend(strange::profiled_twice(&models, &profiles));
        let provenance = files
            .iter()
            .zip(&profiles)
            .map(|(name, profile)| format!("{name}: {} ({})", profile.provenance, profile.device));
        Ok(Scenario {
            path: path.to_owned(),
            seed,
            cluster,
            models,
            sources: sources(folder, &file.models),
            provenance: provenance.collect(),
            simulation,
            planner: file.planner,
            test,
            train,
            trained_on,
            offset: built.offset,
            remarks,
            warnings,
        })
    }
}

/// What is to be said of a workload with token counts as long as nothing is scheduled by them.
const UNUSED_TOKENS: &str = "the workload's token counts are read, but neither planner nor simulator uses them: every \
                             request takes as long as its model's profile says";

/// Refuses a warm-up that leaves no request for the statistics.
fn check_warmup(path: &Path, settings: &SimulationSettings, workload: &Workload) -> Result<(), FileError> {
    let (Some(first), Some(last)) = (workload.arrived.first(), workload.arrived.last()) else { return Ok(()) };
    let (warmup, span) = (settings.warmup, last.since(*first));
    if warmup == Span::ZERO || span == Span::ZERO || warmup * 2 < span {
        return Ok(());
    }
    let what = format!("is {warmup} at both ends, which leaves nothing of the {span} from first to last request");
    Err(FileError::at_field(path, "simulation.warmup", what))
}

/// By model: the folder or preset that its entry names, else the preset that its profile was made of.
fn sources(folder: &Path, tables: &[ModelTable]) -> Vec<Source> {
    let source = |(index, table): (usize, &ModelTable)| {
        let (key, text) = match &table.source {
            Some(text) if folder.join(text).is_dir() => ("source", folder.join(text).display().to_string()),
            Some(text) => ("source", text.clone()),
            // Profiles of several lengths are named `model@length`.
            None => ("profile", table.profile.split('@').next().unwrap_or_default().to_owned()),
        };
        std::iter::repeat_n(Source { text, field: format!("models[{index}].{key}") }, table.instances())
    };
    tables.iter().enumerate().flat_map(source).collect()
}
