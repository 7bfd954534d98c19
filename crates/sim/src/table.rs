//! The `[simulation]` table of a scenario.

use crate::fault::{Fault, FaultKind};
use crate::settings::SimulationSettings;
use serde::Deserialize;
use statmux_core::files::{FileError, Quantity};
use statmux_core::{GroupId, Named, Span, Time};
use statmux_sched::{Feedback, Settings};
use std::path::Path;

/// `[simulation]`, as written.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SimulationTable {
    fixed_overhead: Option<Quantity<Span>>,
    stage_penalty: f64,
    warmup: Option<Quantity<Span>>,
    dispatch: Option<String>,
    admission: Option<String>,
    discipline: Option<String>,
    max_batch: Option<u32>,
    max_waiting: Option<usize>,
    feedback: Option<f64>,
    faults: Vec<FaultTable>,
}

/// `[[simulation.faults]]`: a group that is lost, or slows down, for a while.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FaultTable {
    group: u32,
    at: Quantity<Span>,
    lasts: Quantity<Span>,
    slowdown: Option<f64>,
}

impl SimulationTable {
    /// The settings described; `path` is named in errors.
    pub fn build(&self, path: &Path) -> Result<SimulationSettings, FileError> {
        let wrong = |key: &str, what: String| FileError::at_field(path, format!("simulation.{key}"), what);
        if !(self.stage_penalty >= 0.0 && self.stage_penalty <= 1.0) {
            return Err(wrong("stage_penalty", format!("is {}: it lies between 0 and 1", self.stage_penalty)));
        }
        let max_batch = self.max_batch.unwrap_or(1);
        if max_batch == 0 {
            return Err(wrong("max_batch", "is 0: 1 turns batching off".to_owned()));
        }
        let feedback = match self.feedback {
            None => Feedback::Off,
            Some(weight) if (0.0..=1.0).contains(&weight) => Feedback::Ewma { weight },
            Some(weight) => return Err(wrong("feedback", format!("is {weight}: a weight lies between 0 and 1"))),
        };
        Ok(SimulationSettings {
            scheduler: Settings {
                dispatch: option(path, "simulation.dispatch", self.dispatch.as_deref())?,
                admission: option(path, "simulation.admission", self.admission.as_deref())?,
                discipline: option(path, "simulation.discipline", self.discipline.as_deref())?,
                max_batch,
                fixed_overhead: self.fixed_overhead.map_or(Span::ZERO, |quantity| quantity.0),
                max_waiting: self.max_waiting.unwrap_or(usize::MAX),
                feedback,
                ..Settings::default()
            },
            stage_penalty: self.stage_penalty,
            warmup: self.warmup.map_or(Span::ZERO, |quantity| quantity.0),
            faults: self.faults.iter().map(|fault| fault.build(path)).collect::<Result<_, _>>()?,
        })
    }
}

/// The option that `field` names, or the default of its kind.
fn option<T: Named + Default>(path: &Path, field: &str, name: Option<&str>) -> Result<T, FileError> {
    name.map_or_else(|| Ok(T::default()), |name| FileError::option(path, field, name))
}

impl FaultTable {
    fn build(&self, path: &Path) -> Result<Fault, FileError> {
        let kind = match self.slowdown {
            None => FaultKind::Lost,
            Some(factor) if factor > 0.0 && factor <= 1e6 => FaultKind::Slow(factor),
            Some(factor) => {
                let what = format!("is {factor}: it must be positive");
                return Err(FileError::at_field(path, "simulation.faults.slowdown", what));
            }
        };
        if self.lasts.0 == Span::ZERO {
            return Err(FileError::at_field(path, "simulation.faults.lasts", "is 0: a fault lasts for some time"));
        }
        Ok(Fault { group: GroupId(self.group), at: Time::ZERO + self.at.0, lasts: self.lasts.0, kind })
    }
}
