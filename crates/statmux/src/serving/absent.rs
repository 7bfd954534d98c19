//! A build without real models.

use super::{BackendKind, not_in_this_build};
use crate::scenario::Scenario;
use statmux_serve::{Deployment, Server, ServerSettings};

/// Nothing needs preparing.
pub(crate) fn prepare_threads() {}

/// Says that this build cannot.
pub(crate) fn start_real(
    kind: BackendKind,
    _scenario: &Scenario,
    _deployment: Deployment,
    _settings: ServerSettings,
) -> anyhow::Result<Server> {
    let features = if kind == BackendKind::Cuda { "`--features cuda`" } else { "its default features" };
    Err(not_in_this_build(kind.name(), features).into())
}
