//! From a recorded trace to requests for models: assign functions to models, then replay or resample.
//!
//! The order is AlpaServe's: slice ([`Trace::slice`](crate::recorded::Trace::slice)), drop empty functions, assign the
//! rest to models, sum what a model gets, fit each window, scale, and draw anew; or replay what was recorded.

mod assign;
mod fit;
mod replay;
mod resample;

pub use assign::{Assignment, Keep, Mapping, assign};
pub use fit::{Fit, GammaFit, WindowFit, fit_gamma, fit_window};
pub use replay::replay;
pub use resample::{CvRule, FittedWindow, Resample, fit_windows, resample};

use crate::recorded::{Instants, MinuteCount};
use statmux_core::{Lengths, Time};
use std::fmt;

/// Why a trace cannot be turned into requests.
#[derive(Clone, Debug, PartialEq)]
pub enum TransformError {
    /// More requests than fit in memory.
    TooMany(f64),
    /// No function bears a model's name.
    NoSuchNames {
        /// A name that occurs in the trace.
        example: String,
    },
    /// The interval does not fit the recording.
    Interval(&'static str),
}

impl fmt::Display for TransformError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooMany(count) => write!(f, "makes {count:.3e} requests, more than fit in memory"),
            Self::NoSuchNames { example } => {
                write!(f, "finds no function that bears a model's name (the trace has names such as `{example}`)")
            }
            Self::Interval(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for TransformError {}

/// What one model was asked for, in order of time.
#[derive(Clone, Debug, Default)]
struct Calls {
    arrived: Vec<Time>,
    lengths: Vec<Lengths>,
}

/// Each model's calls.
fn calls_by_model(instants: &Instants, assignment: &Assignment) -> Vec<Calls> {
    let mut models = vec![Calls::default(); assignment.models];
    for (position, (&arrived, &function)) in instants.arrived.iter().zip(&instants.function).enumerate() {
        if let Some(model) = assignment.of(function) {
            let calls = &mut models[model.index()];
            calls.arrived.push(arrived);
            calls.lengths.extend(instants.lengths.get(position));
        }
    }
    models
}

/// Each model's calls per minute.
fn minutes_by_model(functions: &[Vec<MinuteCount>], assignment: &Assignment) -> Vec<Vec<(u32, u64)>> {
    let mut models = vec![std::collections::BTreeMap::new(); assignment.models];
    for (function, minutes) in (0_u32..).zip(functions) {
        if let Some(model) = assignment.of(function) {
            for minute in minutes {
                *models[model.index()].entry(minute.minute).or_insert(0_u64) += u64::from(minute.count);
            }
        }
    }
    models.into_iter().map(|minutes| minutes.into_iter().collect()).collect()
}
