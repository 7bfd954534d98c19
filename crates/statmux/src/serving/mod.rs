//! What commands that run models share: which backend there is, and a server for a scenario.

#[cfg(not(feature = "candle"))]
mod absent;
#[cfg(feature = "candle")]
pub(crate) mod machine;
#[cfg(feature = "candle")]
pub(crate) mod measuring;
#[cfg(feature = "candle")]
mod real;

#[cfg(not(feature = "candle"))]
pub(crate) use absent::{prepare_threads, start_real};
#[cfg(feature = "candle")]
pub(crate) use real::{RealDevices, open_backend, prepare_threads, start_real};

use crate::scenario::Scenario;
use clap::ValueEnum;
use statmux_core::files::FileError;
use statmux_core::{Placement, PlacementWindows};
use statmux_serve::{Deployment, EngineSettings, Server, ServerSettings, SleepBackend};
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
pub(crate) fn start(
    kind: BackendKind,
    scenario: &Scenario,
    placement: Placement,
    settings: ServerSettings,
) -> anyhow::Result<Server> {
    let deployment = Deployment { cluster: scenario.cluster.clone(), models: scenario.models.clone(), placement };
    match kind {
        BackendKind::Sleep => {
            let penalty = settings.engine.stage_penalty;
            let backend = SleepBackend::new(&deployment, penalty, settings.engine.scheduler.max_batch)?;
            Ok(Server::start(Arc::new(backend), deployment, settings)?)
        }
        real => start_real(real, scenario, deployment, settings),
    }
}

/// An error that says which build has what was asked for; builds for GPUs have everything.
#[cfg(not(feature = "cuda"))]
pub(crate) fn not_in_this_build(backend: &str, features: &str) -> crate::output::UsageError {
    crate::output::UsageError(format!(
        "the backend `{backend}` is not in this build of statmux: build it with {features}, or use --backend sleep"
    ))
}
