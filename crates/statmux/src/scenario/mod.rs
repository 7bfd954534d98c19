//! A scenario file, resolved: everything a run needs, read and checked once.

mod file;
mod overrides;
mod strange;

pub(crate) use overrides::{Override, parse_over};

use crate::args::{Common, ScenarioArg};
use crate::output::say;
use file::ScenarioFile;
use statmux_core::files::{self, FileError, ModelTable};
use statmux_core::{Cluster, ModelSpec, Profile, Seed, Span, Workload};
use statmux_plan::PlannerTable;
use statmux_sim::SimulationSettings;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Everything that determines a run.
#[derive(Clone, Debug)]
pub(crate) struct Scenario {
    /// Where it was read from.
    pub(crate) path: PathBuf,
    /// The root of all chance.
    pub(crate) seed: Seed,
    /// The devices.
    pub(crate) cluster: Cluster,
    /// The models, by id.
    pub(crate) models: Vec<ModelSpec>,
    /// What a server loads for each model, by id.
    #[cfg_attr(not(feature = "candle"), allow(dead_code))]
    pub(crate) sources: Vec<Source>,
    /// Where stage times come from, one line per profile file.
    pub(crate) provenance: Vec<String>,
    /// Scheduling policies, overheads, faults.
    pub(crate) simulation: SimulationSettings,
    /// The planner's policy and parameters.
    pub(crate) planner: PlannerTable,
    /// What results are about.
    pub(crate) test: Arc<Workload>,
    /// What the planner may see.
    pub(crate) train: Arc<Workload>,
    /// Whether the planner sees other requests than those the results are about.
    pub(crate) trained_on: TrainedOn,
    /// When the test window starts on the clock of the file that its requests are from.
    pub(crate) offset: Span,
    /// How the input was understood, where that is not plain.
    pub(crate) remarks: Vec<String>,
    /// What in the input looks like a mistake.
    pub(crate) warnings: Vec<String>,
}

/// What a server loads for a model.
// Read by builds that can load something.
#[cfg_attr(not(feature = "candle"), allow(dead_code))]
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Source {
    /// A folder or the name of a preset.
    pub(crate) text: String,
    /// The key of the scenario that says so.
    pub(crate) field: String,
}

/// What the planner saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TrainedOn {
    /// The very requests that the results are about, as in the published experiments.
    TestWindow,
    /// A workload of its own.
    OwnWindow,
}

impl TrainedOn {
    /// The word used in result files.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::TestWindow => "test window",
            Self::OwnWindow => "train window",
        }
    }

    /// The sentence every report carries.
    pub(crate) fn sentence(self) -> &'static str {
        match self {
            Self::TestWindow => "Planned on the same requests that are scored (no [workload.train]): optimistic.",
            Self::OwnWindow => "Planned on the train window, scored on the test window, which the planner never saw.",
        }
    }
}

impl ScenarioArg {
    /// What `--set` replaces.
    pub(crate) fn overrides(&self) -> Result<Vec<Override>, FileError> {
        let overrides = self.set.iter().map(|text| Override::parse(text)).collect::<Result<_, _>>();
        overrides.map_err(|what| FileError::whole(&self.path, what))
    }
}

impl Scenario {
    /// Reads the scenario that the command line names, and says on stderr what there is to say of it.
    pub(crate) fn load(arg: &ScenarioArg, common: Common) -> Result<Self, FileError> {
        let scenario = Self::load_with(&arg.path, &arg.overrides()?, common.seed)?;
        scenario.tell(common);
        Ok(scenario)
    }

    /// Warnings and remarks, on stderr.
    pub(crate) fn tell(&self, common: Common) {
        if common.quiet {
            return;
        }
        for warning in &self.warnings {
            say(format!("warning: {warning}"));
        }
        for remark in &self.remarks {
            say(format!("note: {remark}"));
        }
    }

    /// Reads a scenario with some of its values replaced.
    pub(crate) fn load_with(path: &Path, overrides: &[Override], seed: Option<u64>) -> Result<Self, FileError> {
        let text = files::read_text(path)?;
        // Parsed as written first, so that errors have lines.
        let mut file: ScenarioFile = files::parse_toml(path, &text)?;
        if !overrides.is_empty() {
            file = overrides::apply(path, &text, overrides)?;
        }
        Self::resolve(path, file, seed)
    }

    /// The devices alone, with some values replaced.
    pub(crate) fn cluster_with(path: &Path, overrides: &[Override]) -> Result<Cluster, FileError> {
        overrides::apply(path, &files::read_text(path)?, overrides)?.cluster.build(path)
    }

    fn resolve(path: &Path, file: ScenarioFile, seed: Option<u64>) -> Result<Self, FileError> {
        files::check_version(path, file.version)?;
        let seed = Seed(seed.unwrap_or(file.seed));
        let folder = path.parent().unwrap_or(Path::new(""));
        let profiles = file.profiles.files.iter().map(|name| files::read_profile(&folder.join(name)));
        let profiles: Vec<Profile> = profiles.collect::<Result<_, _>>()?;
        let simulation = file.simulation.build(path)?;
        let cluster = simulation.linked(file.cluster.build(path)?);
        let models = files::instances(path, &file.models, &profiles)?;
        let names: Vec<String> = models.iter().map(|model| model.name.clone()).collect();
        let workload = file
            .workload
            .as_ref()
            .ok_or_else(|| FileError::at_field(path, "workload", "is missing: what arrives? Add a [workload] table"))?;
        let built = workload.build_with_provenance(path, &names, seed)?;
        let (mut remarks, mut warnings) = (built.remarks, built.warnings);
        let test = Arc::new(built.workload);
        let (train, trained_on) = match workload.build_train_with_provenance(path, &names, seed)? {
            Some(train) => {
                // The same file gives rise to the same words.
                remarks
                    .extend(train.remarks.into_iter().filter(|remark| !remarks.contains(remark)).collect::<Vec<_>>());
                warnings.extend(train.warnings.into_iter().filter(|text| !warnings.contains(text)).collect::<Vec<_>>());
                (Arc::new(train.workload), TrainedOn::OwnWindow)
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
        let provenance = file
            .profiles
            .files
            .iter()
            .zip(&profiles)
            .map(|(name, profile)| format!("{}: {} ({})", name.display(), profile.provenance, profile.device));
        Ok(Self {
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
