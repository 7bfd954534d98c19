//! The two integer programs of AlpaServe's published code.
//!
//! Both choose replicas so as to maximise the smallest *tolerance* of a model plus 1e-4 times the sum of
//! all tolerances, where a tolerance says how large a burst, relative to the model's rate, its replicas can
//! take:
//!
//! - [`SelectiveReplication`]: every device is on its own, and a replica adds `1 / (latency x rate)`;
//! - [`ModelParallel`]: devices form pipelines of 1, 2, 4 or 8, and a replica on a pipeline of `pp` stages adds
//!   `0.99^pp x (floor((slo - sum of stages) / slowest stage) + 1) / rate`, or nothing if that is negative.
//!   Memory is counted as published: whole models against the memory of the whole pipeline.
//!
//! The optimum is rarely unique; what can be compared is [`Solution::ilp_objective`].
//!
//! Devices are alike, which makes a general solver try the same thing over and over under other names. This
//! one uses that they are: a bound that pools all memory (`relaxation`), constructions that aim at the
//! few values the smallest tolerance can have (`construct`), and an exact sweep over the models that
//! merges alike partial solutions (`sweep`). How far it goes is set by a count of steps, so that the
//! result is the same on every machine; the time limit is only a brake.

mod capacity;
mod construct;
mod knapsack;
mod program;
mod relaxation;
mod solve;
mod sweep;

use program::{Filled, Program};
use statmux_core::units::Bytes;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// The pipelines a group of [`ModelParallel`] can be, in stages (and devices).
pub const PIPELINES: [u32; 4] = [1, 2, 4, 8];

/// What a stage more costs a replica's value: a hundredth.
const STAGE_FACTOR: f64 = 0.99;

/// Selective replication: which models go on which single devices.
#[derive(Clone, Debug, PartialEq)]
pub struct SelectiveReplication {
    /// Devices.
    pub devices: u32,
    /// Memory for weights on each.
    pub budget: Bytes,
    /// The models.
    pub models: Vec<ReplicatedModel>,
}

/// What [`SelectiveReplication`] needs to know of a model.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ReplicatedModel {
    /// Its weights on one device.
    pub weights: Bytes,
    /// Its latency on one device at batch size 1, in seconds.
    pub latency: f64,
    /// Requests per second. Models without requests have no tolerance: they are left out of the program
    /// and get one replica where memory is left.
    pub rate: f64,
}

/// Model parallelism: which pipelines devices form, and which models go on which.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelParallel {
    /// Devices; all are used.
    pub devices: u32,
    /// Memory for weights on each.
    pub budget: Bytes,
    /// The models.
    pub models: Vec<PipelinedModel>,
}

/// What [`ModelParallel`] needs to know of a model.
#[derive(Clone, Debug, PartialEq)]
pub struct PipelinedModel {
    /// Its weights on one device.
    pub weights: Bytes,
    /// Requests per second; see [`ReplicatedModel::rate`] for models without requests.
    pub rate: f64,
    /// The latency promised, in seconds.
    pub slo: f64,
    /// Seconds of each stage at batch size 1, by number of stages; where it is missing, a replica adds nothing.
    pub stages: BTreeMap<u32, Vec<f64>>,
}

/// How far to search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Pairs of a model and a group to look at: what usually ends the search, the same on every machine.
    /// Roughly ten million take a second.
    pub work: u64,
    /// Time after which to stop even so.
    pub time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { work: 60_000_000, time: Duration::from_secs(30) }
    }
}

/// Groups and their models.
#[derive(Clone, Debug, PartialEq)]
pub struct Solution {
    /// The groups, in order of their stages, then of their models.
    pub groups: Vec<SolvedGroup>,
    /// The smallest tolerance plus 1e-4 times the sum of all.
    pub ilp_objective: f64,
    /// No solution has a larger objective than this.
    pub bound: f64,
    /// Whether the solution is the best there is (to nine digits).
    pub proven: bool,
}

/// One group of a [`Solution`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SolvedGroup {
    /// Stages, one device each.
    pub pp: u32,
    /// The models on it, by position in the problem, in increasing order.
    pub models: Vec<usize>,
}

/// Why a program has no meaning.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum IntegerProgramError {
    /// A rate below zero, or no number.
    #[error("model {model} has a rate of {rate} requests per second; it must be 0 or more")]
    Rate {
        /// Its position in the problem.
        model: usize,
        /// What was given.
        rate: f64,
    },
    /// A latency or stage time that is not above zero, or not finite.
    #[error("model {model} takes {seconds} seconds, which must be above 0 and finite")]
    Latency {
        /// Its position in the problem.
        model: usize,
        /// What was given.
        seconds: f64,
    },
    /// Without an SLO every replica's value is infinite.
    #[error("model {model} has an SLO of {seconds} seconds; the program has a meaning only for finite ones")]
    Slo {
        /// Its position in the problem.
        model: usize,
        /// What was given.
        seconds: f64,
    },
}

impl SelectiveReplication {
    /// Finds the best replicas within `limits`.
    pub fn solve(&self, limits: &Limits) -> Result<Solution, IntegerProgramError> {
        let value = |(index, model): (usize, &ReplicatedModel)| {
            check_rate(index, model.rate)?;
            check_latency(index, model.latency)?;
            Ok(vec![1.0 / model.latency / model.rate])
        };
        let values = self.models.iter().enumerate().map(value).collect::<Result<_, _>>()?;
        let program = Program {
            devices: self.devices,
            budget: self.budget.get(),
            kinds: vec![1],
            weights: self.models.iter().map(|model| model.weights.get()).collect(),
            values,
        };
        Ok(solve_used(&program, limits))
    }
}

impl ModelParallel {
    /// Finds the best pipelines and replicas within `limits`.
    pub fn solve(&self, limits: &Limits) -> Result<Solution, IntegerProgramError> {
        let value = |(index, model): (usize, &PipelinedModel)| {
            check_rate(index, model.rate)?;
            if !model.slo.is_finite() {
                return Err(IntegerProgramError::Slo { model: index, seconds: model.slo });
            }
            PIPELINES.iter().map(|&pp| Ok(model.capability(index, pp)? / model.rate)).collect()
        };
        let values = self.models.iter().enumerate().map(value).collect::<Result<_, _>>()?;
        let program = Program {
            devices: self.devices,
            budget: self.budget.get(),
            kinds: PIPELINES.to_vec(),
            weights: self.models.iter().map(|model| model.weights.get()).collect(),
            values,
        };
        Ok(solve_used(&program, limits))
    }
}

impl PipelinedModel {
    /// How many requests that arrive together one pipeline can finish in time, less a hundredth per stage.
    fn capability(&self, index: usize, pp: u32) -> Result<f64, IntegerProgramError> {
        let Some(stages) = self.stages.get(&pp) else { return Ok(0.0) };
        stages.iter().try_for_each(|&seconds| check_latency(index, seconds))?;
        let slowest = stages.iter().copied().fold(0.0, f64::max);
        check_latency(index, slowest)?;
        let together = floor_divide(self.slo - stages.iter().sum::<f64>(), slowest) + 1.0;
        Ok(together.max(0.0) * STAGE_FACTOR.powi(pp as i32))
    }
}

/// The largest whole number not above the exact quotient; plain division may round up to the next.
fn floor_divide(dividend: f64, divisor: f64) -> f64 {
    ((dividend - dividend.rem_euclid(divisor)) / divisor).round()
}

fn check_rate(model: usize, rate: f64) -> Result<(), IntegerProgramError> {
    let sound = rate >= 0.0 && rate.is_finite();
    sound.then_some(()).ok_or(IntegerProgramError::Rate { model, rate })
}

fn check_latency(model: usize, seconds: f64) -> Result<(), IntegerProgramError> {
    let sound = seconds > 0.0 && seconds.is_finite();
    sound.then_some(()).ok_or(IntegerProgramError::Latency { model, seconds })
}

/// Solves for the models that have requests (the others have infinite values, or none), then adds the others.
#[allow(clippy::disallowed_methods, reason = "the clock only stops the search early; work decides otherwise")]
fn solve_used(program: &Program, limits: &Limits) -> Solution {
    let is_used = |&model: &usize| program.values[model].iter().all(|value| value.is_finite());
    let used: Vec<_> = (0..program.weights.len()).filter(is_used).collect();
    let of_used = Program {
        weights: used.iter().map(|&model| program.weights[model]).collect(),
        values: used.iter().map(|&model| program.values[model].clone()).collect(),
        ..program.clone()
    };
    let started = Instant::now();
    let found = solve::solve(&of_used, limits.work, &|| started.elapsed() > limits.time);
    debug_assert!(of_used.is_legal(&found.groups), "solutions keep to memory and devices");
    let mut groups = found.groups;
    for group in &mut groups {
        group.models.iter_mut().for_each(|model| *model = used[*model]);
    }
    for unused in (0..program.weights.len()).filter(|model| !is_used(model)) {
        add_where_most_is_free(program, &mut groups, unused);
    }
    let mut groups: Vec<_> =
        groups.into_iter().map(|group| SolvedGroup { pp: program.kinds[group.kind], models: group.models }).collect();
    groups.sort();
    Solution {
        groups,
        ilp_objective: found.objective,
        bound: found.bound,
        proven: !program::exceeds(found.bound, found.objective),
    }
}

fn add_where_most_is_free(program: &Program, groups: &mut [Filled], model: usize) {
    let free = |group: &Filled| {
        let held: u64 = group.models.iter().map(|&model| program.weights[model]).sum();
        program.capacity(group.kind).saturating_sub(held)
    };
    let roomiest = groups.iter_mut().rev().max_by_key(|group| free(group));
    if let Some(group) = roomiest.filter(|group| free(group) >= program.weights[model]) {
        group.models.push(model);
        group.models.sort_unstable();
    }
}

#[cfg(test)]
mod tests;
