//! A build without real models.

use super::{BackendKind, not_in_this_build};
use statmux_scenario::Scenario;
use statmux_serve::{Deployment, EngineSettings, Listening, Server};

/// Nothing needs preparing.
pub(crate) fn prepare_threads() {}

/// Says that this build cannot.
pub(crate) fn serve_real(
    _listening: Listening,
    kind: BackendKind,
    _scenario: &Scenario,
    _deployment: Deployment,
    _engine: EngineSettings,
) -> anyhow::Result<Server> {
    let features = if kind == BackendKind::Cuda { "`--features cuda`" } else { "its default features" };
    Err(not_in_this_build(kind.name(), features).into())
}
