//! The two integer programs as policies: no simulation, only rates, latencies and memory.

use super::filling::Filling;
use super::{Details, Parameter, Plan, PlanError, Policy, PolicyInfo, Search};
use crate::enumerate::all_devices;
use crate::integer::{
    IntegerProgramError, Limits, ModelParallel, PIPELINES, PipelinedModel, ReplicatedModel, SelectiveReplication,
    Solution,
};
use crate::problem::Problem;
use statmux_core::{Bytes, Group, ModelId, ModelSpec, ParallelConfig, Span};
use std::time::Duration;

const PARAMETERS: &[Parameter] =
    &[Parameter { key: "time_limit", about: "how long the integer program may be worked on (30 s)" }];

/// Replicas on single devices by integer program (`sr-ilp`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SelectiveReplicationIlp {
    limits: Limits,
}

/// Pipelines and replicas by integer program (`mp-ilp`).
///
/// The program counts whole models against the memory of a whole pipeline. What then does not fit a device, or
/// has no profile, is left out of the placement, and a note says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ModelParallelIlp {
    limits: Limits,
}

pub(super) const SELECTIVE_REPLICATION_ILP: PolicyInfo = PolicyInfo {
    name: "selective-replication-ilp",
    about: "every device by itself; replicas by an integer program over rates and latencies",
    published: true,
    clairvoyant: false,
    replaces: false,
    improves: false,
    parameters: PARAMETERS,
    build: |parameters| Box::new(SelectiveReplicationIlp { limits: limits(parameters.time_limit) }),
};

pub(super) const MODEL_PARALLEL_ILP: PolicyInfo = PolicyInfo {
    name: "model-parallel-ilp",
    about: "pipelines of 1, 2, 4 or 8 and their replicas by an integer program over rates, latencies and SLOs",
    published: true,
    clairvoyant: false,
    replaces: false,
    improves: false,
    parameters: PARAMETERS,
    build: |parameters| Box::new(ModelParallelIlp { limits: limits(parameters.time_limit) }),
};

fn limits(time: Option<Span>) -> Limits {
    let limits = Limits::default();
    Limits { time: time.map_or(limits.time, |time| Duration::from_nanos(time.nanos())), ..limits }
}

impl Policy for SelectiveReplicationIlp {
    fn name(&self) -> &'static str {
        SELECTIVE_REPLICATION_ILP.name
    }

    fn place(&self, search: &Search<'_>) -> Result<Plan, PlanError> {
        let Search { problem, .. } = *search;
        let budget = budget(problem);
        let model = |(model, rate): (&ModelSpec, f64)| ReplicatedModel {
            weights: weights(model, ParallelConfig::SINGLE, budget),
            // A model that was never measured on one device fits none.
            latency: model.profile.single_device_seconds().unwrap_or(1.0),
            rate,
        };
        let models = problem.models.iter().zip(problem.rates()).map(model).collect();
        let program = SelectiveReplication { devices: problem.cluster.len() as u32, budget, models };
        let solution = program.solve(&self.limits).map_err(|cause| refused(self.name(), problem, &cause))?;
        Ok(realise(search, &solution))
    }
}

impl Policy for ModelParallelIlp {
    fn name(&self) -> &'static str {
        MODEL_PARALLEL_ILP.name
    }

    fn place(&self, search: &Search<'_>) -> Result<Plan, PlanError> {
        let Search { problem, .. } = *search;
        let budget = budget(problem);
        let model = |(model, rate): (&ModelSpec, f64)| {
            let stages = |&pp: &u32| {
                let profile = model.profile.config(ParallelConfig::new(1, pp))?;
                profile.stage_seconds.get(&1).map(|stages| (pp, stages.clone()))
            };
            PipelinedModel {
                weights: whole(model),
                rate,
                slo: model.slo_seconds().unwrap_or(f64::INFINITY),
                stages: PIPELINES.iter().filter_map(stages).collect(),
            }
        };
        let models = problem.models.iter().zip(problem.rates()).map(model).collect();
        let program = ModelParallel { devices: problem.cluster.len() as u32, budget, models };
        let solution = program.solve(&self.limits).map_err(|cause| refused(self.name(), problem, &cause))?;
        Ok(realise(search, &solution))
    }
}

/// Memory for weights on each device, the smallest where they differ: room is kept for the largest activations.
fn budget(problem: &Problem<'_>) -> Bytes {
    let activations = problem.models.iter().filter_map(|model| {
        let profile = model.profile.config(ParallelConfig::SINGLE)?;
        profile.activations(problem.max_batch()).into_iter().max()
    });
    problem.cluster.smallest_memory().saturating_sub(activations.max().unwrap_or(Bytes::ZERO))
}

/// The weights of `model` under `config`; more than `budget` if it has no profile for it.
fn weights(model: &ModelSpec, config: ParallelConfig, budget: Bytes) -> Bytes {
    model.profile.config(config).map_or(budget + Bytes::new(1), |profile| profile.largest_stage_weight())
}

/// The weights of the whole model, by its profile on as few devices as it has.
fn whole(model: &ModelSpec) -> Bytes {
    let smallest = model.profile.configs().min_by_key(|(config, _)| config.devices());
    smallest.map_or(Bytes::ZERO, |(config, profile)| {
        profile.stage_weights.iter().copied().sum::<Bytes>() * u64::from(config.op)
    })
}

fn refused(policy: &'static str, problem: &Problem<'_>, cause: &IntegerProgramError) -> PlanError {
    let model = match *cause {
        IntegerProgramError::Rate { model, .. }
        | IntegerProgramError::Latency { model, .. }
        | IntegerProgramError::Slo { model, .. } => model,
    };
    PlanError::IntegerProgram { policy, model: problem.models[model].name.clone(), cause: cause.clone() }
}

/// The solution as a plan, without the replicas that devices cannot hold.
fn realise(search: &Search<'_>, solution: &Solution) -> Plan {
    let mut free = all_devices(search.problem.cluster);
    let mut groups = Vec::with_capacity(solution.groups.len());
    for group in &solution.groups {
        let config = ParallelConfig::new(1, group.pp);
        let devices = search.problem.cluster.seat(&mut free, config).expect("pipelines take any devices");
        groups.push(Group { devices, config, models: Vec::new() });
    }
    let mut filling = Filling::new(search.problem, groups);
    let mut left_out = 0;
    for (index, group) in solution.groups.iter().enumerate() {
        for model in group.models.iter().copied().map(ModelId::from_index) {
            if filling.fits(index, model) {
                filling.add_in_place(index, model);
            } else {
                left_out += 1;
            }
        }
    }
    let mut plan = search.plan(filling.placement());
    plan.details = Details {
        ilp_objective: Some(solution.ilp_objective),
        ilp_bound: Some(solution.bound),
        proven: Some(solution.proven),
    };
    if !solution.proven {
        plan.notes.push(format!(
            "The integer program was not solved to the end: objective {:.6}, at most {:.6} is possible.",
            solution.ilp_objective, solution.bound
        ));
    }
    if left_out > 0 {
        plan.notes.push(format!(
            "{left_out} replicas of the integer program's solution are left out: a device cannot hold its stage of \
             them (the program counts whole models against whole pipelines), or they have no profile."
        ));
    }
    plan
}
