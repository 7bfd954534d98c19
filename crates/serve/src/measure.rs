//! Measures a backend into a profile: stage times and memory by configuration, batch size and length.
//!
//! Each point of the grid is first run alone on an otherwise idle pipeline, which warms it up and shows what memory a
//! batch takes; then as often as asked for with all stages at work, of which the median counts and the spread is kept.
//! Stages that share a machine slow each other down, and in service it is the busy pipeline that decides what is late.
//! Every finished point goes into a *journal*, so that a measurement that was interrupted goes on where it stopped.

mod journal;
mod pipeline;

pub use journal::{Journal, Measurement, Point};

use pipeline::Pipeline;
use statmux_core::backend::{Backend, BackendError, Fault, Generate, Input, Sampling, Task};
use statmux_core::files::FileError;
use statmux_core::{Bytes, ConfigProfile, ModelId, ModelProfile, ParallelConfig, Profile};
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

/// What is measured, and how thoroughly.
#[derive(Clone, Debug, PartialEq)]
pub struct MeasureSettings {
    /// The kind of device, for the file.
    pub device: String,
    /// The models, with their names in the file.
    pub models: Vec<(ModelId, String)>,
    /// Configurations, batch sizes and lengths in tokens: every combination is a point.
    pub configs: Vec<ParallelConfig>,
    /// See `configs`.
    pub batches: Vec<u32>,
    /// See `configs`. With several, models are named `name@length` in the file.
    pub lengths: Vec<u32>,
    /// Tokens that decoders generate.
    pub output_tokens: u32,
    /// Runs that do not count; there is always one.
    pub warm_up: u32,
    /// Runs that count.
    pub repeats: u32,
    /// What else is at work during these.
    pub load: Load,
}

/// What is at work beside the stage that is measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Load {
    /// All other stages, as in service.
    #[default]
    Busy,
    /// Nothing: one batch at a time goes through the stages. For times of single layers.
    Alone,
}

/// How far a measurement is.
#[derive(Clone, Debug, PartialEq)]
pub struct Progress<'a> {
    /// Points done, this one included.
    pub done: usize,
    /// All points.
    pub total: usize,
    /// This one.
    pub point: &'a Point,
    /// What came of it: the reason, if it cannot be run here.
    pub result: Result<&'a Measurement, &'a str>,
}

/// A finished measurement.
#[derive(Clone, Debug)]
pub struct Measured {
    /// What was found.
    pub profile: Profile,
    /// Points that could not be run, and why.
    pub skipped: Vec<(Point, String)>,
    /// How many points were left when `progress` ended the work.
    pub left: usize,
}

/// Why a measurement ended early.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MeasureError {
    /// The journal cannot be used.
    #[error(transparent)]
    Journal(#[from] FileError),
    /// The backend does not know a model.
    #[error("cannot measure {model}")]
    Model {
        /// Which.
        model: String,
        /// Why.
        #[source]
        cause: BackendError,
    },
}

/// Measures every point that `journal` does not hold yet, telling `progress` of each, which may end the work there.
///
/// Points that do not fit the devices, or cannot be split as asked, are skipped. Configurations of which batch
/// size 1 could not be run are left out of the profile.
///
/// # Errors
/// If a model is unknown or the journal cannot be written.
pub fn measure<B: Backend>(
    backend: &B,
    settings: &MeasureSettings,
    journal: &mut Journal,
    mut progress: impl FnMut(Progress<'_>) -> ControlFlow<()>,
) -> Result<Measured, MeasureError> {
    let points = points(settings);
    let (mut skipped, mut left) = (Vec::new(), 0);
    for (done, (model, point)) in points.iter().enumerate() {
        let done = done + 1;
        let result = match journal.find(point) {
            Some(known) => Ok(known.clone()),
            None => measure_point(backend, *model, point, settings),
        };
        let flow = match result {
            Ok(measurement) => {
                journal.add(&measurement)?;
                progress(Progress { done, total: points.len(), point, result: Ok(&measurement) })
            }
            Err(cause) if cause.fault() == Fault::Setup && backend.card(*model).is_err() => {
                return Err(MeasureError::Model { model: point.model.clone(), cause });
            }
            Err(cause) => {
                let reason = crate::board::chain(&cause);
                skipped.push((point.clone(), reason.clone()));
                progress(Progress { done, total: points.len(), point, result: Err(&reason) })
            }
        };
        if flow.is_break() {
            left = points.len() - done;
            break;
        }
    }
    let points = points.into_iter().map(|(_, point)| point);
    let found: Vec<Measurement> = points.filter_map(|point| journal.find(&point).cloned()).collect();
    Ok(Measured { profile: profile(settings, &found), skipped, left })
}

/// Every combination, model by model, so that what is loaded is used.
fn points(settings: &MeasureSettings) -> Vec<(ModelId, Point)> {
    let mut points = Vec::new();
    for (model, name) in &settings.models {
        for &config in &settings.configs {
            for &tokens in &settings.lengths {
                for &batch in &settings.batches {
                    let point = Point { model: name.clone(), op: config.op, pp: config.pp, batch, tokens };
                    points.push((*model, point));
                }
            }
        }
    }
    points
}

fn measure_point(
    backend: &impl Backend,
    model: ModelId,
    point: &Point,
    settings: &MeasureSettings,
) -> Result<Measurement, BackendError> {
    let card = backend.card(model)?;
    let tokens: Vec<u32> = (0..point.tokens.max(1)).map(|n| (n * 7 + 1) % card.vocabulary.max(1)).collect();
    let input = match card.task {
        Task::Encode { .. } => Input::embed(tokens),
        Task::Generate => Input::Generate(Generate {
            tokens,
            max_new_tokens: settings.output_tokens.max(1),
            stop_tokens: Vec::new(),
            stop_texts: Vec::new(),
            sampling: Sampling::Greedy,
        }),
    };
    let inputs = vec![input; point.batch as usize];
    let stages = point.pp as usize;
    let start = || backend.start(model, inputs.clone());
    Pipeline::with(backend, model, point.config(), |pipeline| {
        let weights = pipeline.memory().to_vec();
        let alone = pipeline.run(settings.warm_up.max(1) as usize, 1, start)?;
        let mut peak = weights.clone();
        for ran in &alone {
            peak.iter_mut().zip(&ran.memory).for_each(|(peak, &now)| *peak = (*peak).max(now));
        }
        // A batch more than there are stages, so that the slowest never waits; while the first batches come in and the
        // last ones go, some stages have nothing to do.
        let repeats = settings.repeats.max(1) as usize;
        let (inside, ends) = match settings.load {
            Load::Busy if stages > 1 => (stages + 1, stages - 1),
            _ => (1, 0),
        };
        let mut runs = pipeline.run(repeats + 2 * ends, inside, start)?;
        runs.drain(..ends);
        runs.truncate(repeats);
        let times = |stage: usize| runs.iter().map(|ran| ran.seconds[stage]).collect();
        let by_stage: Vec<Vec<f64>> = (0..stages).map(times).collect();
        Ok(Measurement {
            point: point.clone(),
            stage_seconds: by_stage.iter().map(|times| quantile(times, 0.5)).collect(),
            stage_spread: by_stage.iter().map(|times| spread(times)).collect(),
            stage_weights: weights.iter().map(|bytes| bytes.get()).collect(),
            stage_activations: peak
                .iter()
                .zip(&weights)
                .map(|(peak, &weights)| peak.saturating_sub(weights).get())
                .collect(),
            repeats: settings.repeats.max(1),
        })
    })
}

fn quantile(values: &[f64], q: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    sorted[((sorted.len() - 1) as f64 * q).round() as usize]
}

/// The distance between the quartiles, as a share of the median.
fn spread(values: &[f64]) -> f64 {
    (quantile(values, 0.75) - quantile(values, 0.25)) / quantile(values, 0.5).max(f64::MIN_POSITIVE)
}

fn profile(settings: &MeasureSettings, found: &[Measurement]) -> Profile {
    // By name: each is of texts of one length.
    let mut models: BTreeMap<String, (u32, BTreeMap<ParallelConfig, ConfigProfile>)> = BTreeMap::new();
    for measurement in found {
        let Point { model, batch, tokens, .. } = &measurement.point;
        let name = if settings.lengths.len() > 1 { format!("{model}@{tokens}") } else { model.clone() };
        let (_, configs) = models.entry(name).or_insert_with(|| (*tokens, BTreeMap::new()));
        let config = configs.entry(measurement.point.config()).or_default();
        let bytes = |numbers: &[u64]| numbers.iter().copied().map(Bytes::new).collect::<Vec<_>>();
        config.stage_seconds.insert(*batch, measurement.stage_seconds.clone());
        config.stage_weights = bytes(&measurement.stage_weights);
        config.stage_activations.insert(*batch, bytes(&measurement.stage_activations));
    }
    let provenance = provenance(settings, found);
    let models = models.into_iter().filter_map(|(name, (tokens, mut configs))| {
        configs.retain(|_, config| config.stage_seconds.contains_key(&1));
        let measured = !configs.is_empty();
        let profile = || ModelProfile::new(name.clone(), provenance.clone(), configs).with_tokens(Some(tokens));
        measured.then(|| (name.clone(), Arc::new(profile())))
    });
    let models = models.collect();
    Profile { device: settings.device.clone(), provenance, models }
}

fn provenance(settings: &MeasureSettings, found: &[Measurement]) -> String {
    let worst = found.iter().flat_map(|m| &m.stage_spread).copied().fold(0.0, f64::max);
    let lengths: Vec<String> = settings.lengths.iter().map(u32::to_string).collect();
    format!(
        "measured: medians of {} runs {}, after {} alone, {} tokens in, {} tokens out for decoders; largest spread \
         (quartile distance over median) {:.1} %",
        settings.repeats,
        match settings.load {
            Load::Busy => "with all stages at work",
            Load::Alone => "with one stage at work",
        },
        settings.warm_up.max(1),
        lengths.join(" or "),
        settings.output_tokens,
        100.0 * worst
    )
}
