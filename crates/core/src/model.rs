//! What the planner must know of a model instance.

use crate::profile::ModelProfile;
use crate::units::Span;
use std::sync::Arc;

/// A servable model instance: its own name, traffic and SLO; its profile may be shared with others.
#[derive(Clone, Debug)]
pub struct ModelSpec {
    /// Unique in the scenario, as used in request and placement files.
    pub name: String,
    /// The latency promised for each request.
    pub slo: Slo,
    /// Time and memory under each parallel configuration.
    pub profile: Arc<ModelProfile>,
}

/// A promised latency.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Slo {
    /// No promise.
    None,
    /// A fixed latency.
    Latency(Span),
    /// A multiple of the model's latency alone on one device at batch size 1.
    Scale(f64),
}

impl ModelSpec {
    /// The SLO in seconds, unrounded; infinite without a promise.
    ///
    /// `None` for a scaled SLO whose profile has no single-device measurement.
    pub fn slo_seconds(&self) -> Option<f64> {
        match self.slo {
            Slo::None => Some(f64::INFINITY),
            Slo::Latency(span) => Some(span.seconds()),
            Slo::Scale(scale) => self.profile.single_device_seconds().map(|base| base * scale),
        }
    }
}
