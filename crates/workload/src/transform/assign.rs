//! Which function's calls go to which model.

use super::TransformError;
use crate::recorded::Trace;
use serde::Deserialize;
use statmux_core::ModelId;
use std::collections::HashMap;

/// How a trace's functions become models.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mapping {
    /// The i-th function that is kept, from 0, goes to model i mod n: AlpaServe's rule.
    #[default]
    Stripe,
    /// The functions that are kept are cut into n runs of equal length, one for each model.
    Blocks,
    /// A function goes to the model of its name; others are dropped.
    ByName,
}

/// Which functions are kept at all. Those without a call never are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keep {
    /// Only functions with at least so many calls.
    pub min_calls: u64,
    /// Only the so many busiest; ties go to the earlier.
    pub top: Option<usize>,
}

/// Each function's model, if it has one.
#[derive(Clone, Debug, PartialEq)]
pub struct Assignment {
    model: Vec<Option<ModelId>>,
    /// How many models there are.
    pub models: usize,
}

impl Assignment {
    /// The model of a function.
    pub fn of(&self, function: u32) -> Option<ModelId> {
        self.model[function as usize]
    }

    /// How many functions have a model.
    pub fn functions(&self) -> usize {
        self.model.iter().flatten().count()
    }

    /// Every function is a model of its own, without calls or with.
    pub fn identity(functions: usize) -> Self {
        Self { model: (0..functions).map(|function| Some(ModelId::from_index(function))).collect(), models: functions }
    }
}

/// Assigns the functions of `trace` to models, in their order in the trace.
pub fn assign(
    trace: &Trace,
    model_names: &[impl AsRef<str>],
    mapping: Mapping,
    keep: Keep,
) -> Result<Assignment, TransformError> {
    let kept = kept(&trace.counts(), keep);
    let models = model_names.len();
    let mut model = vec![None; trace.functions.len()];
    match mapping {
        Mapping::Stripe => {
            for (index, &function) in kept.iter().enumerate() {
                model[function] = Some(ModelId::from_index(index % models));
            }
        }
        Mapping::Blocks => {
            for (index, &function) in kept.iter().enumerate() {
                model[function] = Some(ModelId::from_index(index * models / kept.len()));
            }
        }
        Mapping::ByName => {
            let ids: HashMap<&str, usize> = model_names.iter().map(AsRef::as_ref).zip(0..).collect();
            for &function in &kept {
                model[function] = ids.get(trace.functions[function].as_str()).copied().map(ModelId::from_index);
            }
            if let (Some(&first), true) = (kept.first(), model.iter().all(Option::is_none)) {
                return Err(TransformError::NoSuchNames { example: trace.functions[first].clone() });
            }
        }
    }
    Ok(Assignment { model, models })
}

/// The functions that are kept, in the trace's order.
fn kept(counts: &[u64], keep: Keep) -> Vec<usize> {
    let least = keep.min_calls.max(1);
    let mut kept: Vec<usize> = (0..counts.len()).filter(|&function| counts[function] >= least).collect();
    if let Some(top) = keep.top {
        kept.sort_by_key(|&function| (std::cmp::Reverse(counts[function]), function));
        kept.truncate(top);
        kept.sort_unstable();
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recorded::{MinuteCount, Recorded};
    use statmux_core::Time;

    fn assigned(
        counts: &[u32],
        models: &[&str],
        mapping: Mapping,
        keep: Keep,
    ) -> Result<Vec<Option<u32>>, TransformError> {
        let minutes = |&count: &u32| if count == 0 { vec![] } else { vec![MinuteCount { minute: 0, count }] };
        let trace = Trace {
            functions: (0..counts.len()).map(|function| format!("f{function}")).collect(),
            start: Time::ZERO,
            end: Time::from_nanos(60_000_000_000),
            recorded: Recorded::PerMinute(counts.iter().map(minutes).collect()),
            taken_off: statmux_core::Span::ZERO,
            remarks: Vec::new(),
        };
        let assignment = assign(&trace, models, mapping, keep)?;
        Ok(assignment.model.into_iter().map(|model| model.map(|model| model.0)).collect())
    }

    #[test]
    fn functions_find_their_models() {
        let all = Keep::default();
        let counts = [5, 0, 1, 9, 2];
        let names = ["a", "b"];
        assert_eq!(assigned(&counts, &names, Mapping::Stripe, all), Ok(vec![Some(0), None, Some(1), Some(0), Some(1)]));
        assert_eq!(assigned(&counts, &names, Mapping::Blocks, all), Ok(vec![Some(0), None, Some(0), Some(1), Some(1)]));
        let by_name = assigned(&counts, &["f3", "f0"], Mapping::ByName, all);
        assert_eq!(by_name, Ok(vec![Some(1), None, None, Some(0), None]));
        let none = assigned(&counts, &names, Mapping::ByName, all);
        assert_eq!(none, Err(TransformError::NoSuchNames { example: "f0".to_owned() }));
        let top = assigned(&counts, &names, Mapping::Stripe, Keep { min_calls: 2, top: Some(2) });
        assert_eq!(top, Ok(vec![Some(0), None, None, Some(1), None]));
    }
}
