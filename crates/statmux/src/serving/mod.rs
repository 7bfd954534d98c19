//! What commands that run models share: which backend there is, and a server for a scenario.

#[cfg(not(feature = "candle"))]
mod absent;
#[cfg(feature = "candle")]
pub(crate) mod layers;
#[cfg(feature = "candle")]
pub(crate) mod machine;
#[cfg(feature = "candle")]
pub(crate) mod measuring;
#[cfg(feature = "candle")]
mod real;

#[cfg(not(feature = "candle"))]
pub(crate) use absent::{prepare_threads, serve_real};
#[cfg(feature = "candle")]
pub(crate) use real::{RealDevices, open_backend, prepare_threads, serve_real};

use crate::output::UsageError;
use clap::ValueEnum;
use statmux_core::files::FileError;
use statmux_core::{Placement, PlacementWindows};
use statmux_scenario::Scenario;
use statmux_serve::{
    Deployment, EngineSettings, Listening, ServeError, Server, ServerSettings, SleepBackend, StartError,
};
use std::path::Path;
use std::sync::Arc;

/// What runs the models.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum BackendKind {
    /// Nothing: each stage sleeps as long as its profile says
    Sleep,
    /// Real models, one processor core for each device
    Candle,
    /// Real models on GPUs (builds with `--features cuda`)
    Cuda,
}

impl BackendKind {
    /// Its name on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Sleep => "sleep",
            Self::Candle => "candle",
            Self::Cuda => "cuda",
        }
    }
}

/// The one window of `windows`; a server does not re-place.
pub(crate) fn fixed(windows: &PlacementWindows, path: &Path, field: &str) -> Result<Placement, FileError> {
    match &windows.0[..] {
        [only] => Ok(only.placement.clone()),
        several => {
            let what = format!("re-places {} times, but a server carries out one placement", several.len());
            Err(FileError::at_field(path, field, what).with_help("choose a policy that plans once, such as alpaserve"))
        }
    }
}

/// How the engine is told to serve `scenario`: as it is simulated.
pub(crate) fn engine_settings(scenario: &Scenario) -> EngineSettings {
    EngineSettings {
        scheduler: scenario.simulation.scheduler,
        stage_penalty: scenario.simulation.stage_penalty,
        ..EngineSettings::default()
    }
}

/// A server for `scenario` with `placement` loaded.
#[cfg(feature = "candle")]
pub(crate) fn start(
    kind: BackendKind,
    scenario: &Scenario,
    placement: Placement,
    settings: ServerSettings,
) -> anyhow::Result<Server> {
    let engine = settings.engine.clone();
    serve(listen(settings)?, kind, scenario, placement, engine)
}

/// A server that listens, and has nothing to serve yet.
pub(crate) fn listen(settings: ServerSettings) -> anyhow::Result<Listening> {
    Listening::start(settings).map_err(blamed)
}

/// Loads `placement` for `scenario`, and serves it.
pub(crate) fn serve(
    listening: Listening,
    kind: BackendKind,
    scenario: &Scenario,
    placement: Placement,
    engine: EngineSettings,
) -> anyhow::Result<Server> {
    let deployment = Deployment { cluster: scenario.cluster.clone(), models: scenario.models.clone(), placement };
    match kind {
        BackendKind::Sleep => {
            let backend = SleepBackend::new(&deployment, engine.stage_penalty, engine.scheduler.max_batch);
            let backend = backend.map_err(|error| blamed(StartError::from(error).into()))?;
            listening.serve(Arc::new(backend), deployment, engine).map_err(blamed)
        }
        real => serve_real(listening, real, scenario, deployment, engine),
    }
}

/// Why there is no server; what was asked for may be to blame.
fn blamed(error: ServeError) -> anyhow::Error {
    if !error.is_of_input() {
        return error.into();
    }
    let help = match error {
        ServeError::Listen { .. } | ServeError::Socket { .. } => "; name another place to listen at",
        _ => "",
    };
    UsageError(format!("{:#}{help}", anyhow::Error::new(error))).into()
}

/// An error that says which build has what was asked for; builds for GPUs have everything.
#[cfg(not(feature = "cuda"))]
pub(crate) fn not_in_this_build(backend: &str, features: &str) -> UsageError {
    UsageError(format!(
        "the backend `{backend}` is not in this build of statmux: build it with {features}, or use --backend sleep"
    ))
}
