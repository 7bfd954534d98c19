//! Real models, through candle.

use super::{BackendKind, blamed};
use crate::output::UsageError;
use statmux_candle::{CandleBackend, DeviceKind, DeviceSpec, ModelChoice, ModelSource, use_one_thread_per_device};
use statmux_core::Bytes;
use statmux_core::backend::{BackendError, Fault};
use statmux_core::files::FileError;
use statmux_scenario::Scenario;
use statmux_serve::{Deployment, EngineSettings, Listening, Server};
use std::num::NonZero;
use std::sync::Arc;

/// Keeps candle from starting threads beside its devices' own, while planning may still use all cores.
pub(crate) fn prepare_threads() {
    let asked = std::env::var("RAYON_NUM_THREADS").ok().and_then(|text| text.parse().ok());
    use_one_thread_per_device();
    let all = || std::thread::available_parallelism().map_or(1, NonZero::get);
    let threads = asked.filter(|&threads| threads > 0).unwrap_or_else(all);
    rayon::ThreadPoolBuilder::new().num_threads(threads).build_global().expect("nothing has used the pool before");
}

/// Devices for real models.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RealDevices {
    /// Processor cores.
    Cpu,
    /// GPUs.
    #[cfg(feature = "cuda")]
    Cuda,
}

impl RealDevices {
    fn of(kind: BackendKind) -> Result<Self, UsageError> {
        match kind {
            #[cfg(feature = "cuda")]
            BackendKind::Cuda => Ok(Self::Cuda),
            #[cfg(not(feature = "cuda"))]
            BackendKind::Cuda => Err(super::not_in_this_build("cuda", "`--features cuda`")),
            _ => Ok(Self::Cpu),
        }
    }

    fn spec(self, (index, memory): (usize, Bytes)) -> DeviceSpec {
        let kind = match self {
            Self::Cpu => DeviceKind::Cpu,
            #[cfg(feature = "cuda")]
            Self::Cuda => DeviceKind::Cuda(index),
        };
        // Only GPUs have numbers.
        let _ = index;
        DeviceSpec { kind, memory }
    }
}

/// Serves the scenario's real models.
pub(crate) fn serve_real(
    listening: Listening,
    kind: BackendKind,
    scenario: &Scenario,
    deployment: Deployment,
    engine: EngineSettings,
) -> anyhow::Result<Server> {
    let devices = RealDevices::of(kind)?;
    let choices = scenario.sources.iter().zip(&scenario.models).map(|(source, model)| {
        // Models of one preset differ in their weights, as fine-tuned ones would.
        let parsed = ModelSource::parse(&source.text, scenario.seed.stream("weights").stream(&model.name));
        let unknown = |error: statmux_candle::SourceError| {
            FileError::at_field(&scenario.path, &source.field, format!("is nothing that can be loaded: {error}"))
                .with_help("name a preset or a folder in models.source, or serve with --backend sleep")
        };
        Ok(ModelChoice { cuts: model.profile.cuts().clone(), ..ModelChoice::new(parsed.map_err(unknown)?) })
    });
    let choices = choices.collect::<Result<Vec<_>, FileError>>()?;
    let memory = deployment.cluster.devices().iter().map(|device| device.memory);
    let backend = open_backend(devices, memory, &choices)?;
    listening.serve(Arc::new(backend), deployment, engine).map_err(blamed)
}

/// A backend with devices of the given memory and the given models.
pub(crate) fn open_backend(
    devices: RealDevices,
    memory: impl IntoIterator<Item = Bytes>,
    choices: &[ModelChoice],
) -> anyhow::Result<CandleBackend> {
    let devices: Vec<_> = memory.into_iter().enumerate().map(|device| devices.spec(device)).collect();
    CandleBackend::new(&devices, choices).map_err(|error| match error.fault() {
        // Files that were named and are not what they should be.
        Fault::Setup => UsageError(chain(&error)).into(),
        _ => error.into(),
    })
}

fn chain(error: &BackendError) -> String {
    let causes: Vec<String> =
        anyhow::Chain::new(error).map(|cause: &(dyn std::error::Error + 'static)| cause.to_string()).collect();
    causes.join(": ")
}
