//! One stage of a pipeline: its shards in step.

use crate::backend::Model;
use crate::cache::Cache;
use crate::device::{Device, Reservation};
use crate::flow::{Advance, Flow, Query, Work, advance};
use crate::kernels::composed_on;
use crate::kernels::lookup::lookup;
use crate::models::{Part, PartPlan, Sizes};
use crate::parallel::team::{Member, ShardError, Team};
use crate::parallel::{Ring, Shard};
use crate::source::Pooling;
use crate::weights::Loader;
use candle_core::Tensor;
use statmux_core::backend::{BackendError, Output, Stage, StagePlan, Step};
use statmux_core::units::Bytes;
use statmux_core::{ModelId, ParallelConfig};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

/// An opened stage.
pub struct CandleStage {
    devices: Vec<Arc<Device>>,
    /// What adds the shards' sums if they are on GPUs that NCCL connects.
    ring: Option<Ring>,
    config: ParallelConfig,
    stage: usize,
    models: BTreeMap<ModelId, StageModel>,
}

/// What a stage holds of one model.
struct StageModel {
    model: Arc<Model>,
    layers: Range<usize>,
    shards: Vec<LoadedShard>,
}

struct LoadedShard {
    part: Box<dyn Part>,
    _memory: Vec<Reservation>,
}

/// What a stage makes of a lap.
enum Made {
    /// By a shard that leaves the rest to the first.
    Nothing,
    /// For the next stage.
    Hidden(Tensor),
    /// A row for each sequence of a decoder's lap.
    Logits(Vec<Vec<f32>>),
    Outputs(Vec<Output>),
}

impl CandleStage {
    /// Loads the stage's part of every model, each shard on its own device.
    pub(crate) fn open(
        plan: &StagePlan,
        devices: Vec<Arc<Device>>,
        models: &[(ModelId, Arc<Model>)],
    ) -> Result<Self, BackendError> {
        let stage = plan.stage as usize;
        let mut opened = BTreeMap::new();
        for (id, model) in models {
            let stages = model.stages(*id, plan.config)?;
            let layers = stages[stage].clone();
            let load = |member: &Member<'_>, _: &mut ()| {
                let part_plan = PartPlan {
                    shard: Shard { rank: member.rank, size: devices.len() },
                    layers: layers.clone(),
                    first: stage == 0,
                    last: stage + 1 == stages.len(),
                    masked_logits: model.masked_logits,
                };
                let loader = Loader::new(&*model.opened.weights, &devices[member.rank], *id);
                let part = model.opened.config.load(&loader, &part_plan)?;
                Ok(LoadedShard { part, _memory: loader.into_reservations() })
            };
            let shards = Team::new(devices.len(), None).run(&devices, &mut vec![(); devices.len()], load)?;
            opened.insert(*id, StageModel { model: Arc::clone(model), layers, shards });
        }
        let ring = Ring::over(&devices)?;
        Ok(Self { devices, ring, config: plan.config, stage, models: opened })
    }

    /// One shard's work on one lap.
    fn run_shard(
        &self,
        model: &StageModel,
        flow: &Flow,
        member: &Member<'_>,
        cache: &mut Option<Cache>,
    ) -> Result<Made, ShardError> {
        let made = self.compute(model, flow, member, cache)?;
        // GPUs only queue the work; a stage that says it is done must be.
        self.devices[member.rank].tensors.synchronize()?;
        Ok(made)
    }

    fn compute(
        &self,
        model: &StageModel,
        flow: &Flow,
        member: &Member<'_>,
        cache: &mut Option<Cache>,
    ) -> Result<Made, ShardError> {
        let device = &self.devices[member.rank];
        let shard = Shard { rank: member.rank, size: self.devices.len() };
        let part = &*model.shards[member.rank].part;
        let sizes = model.model.opened.config.sizes();
        let bytes = activation_bytes(flow, sizes, shard, composed_on(&device.tensors));
        let _activations = device.memory.reserve(bytes, "activations")?;
        if cache.is_none() && matches!(flow.work, Work::Decode(_)) {
            let width = sizes.heads.cache_width(shard);
            *cache = Some(Cache::new(device, model.layers.len(), &flow.full_lengths(), width)?);
        }
        let hidden = match &flow.hidden {
            None => part.embed(&flow.lap, member)?,
            Some(hidden) => hidden.to_device(&device.tensors)?,
        };
        let cache = cache.as_mut().map_or(&mut [][..], Cache::layers);
        let hidden = part.layers(hidden, &flow.lap, cache, member)?;
        if self.stage + 1 < self.config.pp as usize {
            return Ok(if member.rank == 0 { Made::Hidden(hidden) } else { Made::Nothing });
        }
        match &flow.work {
            Work::Decode(_) => {
                let last: Vec<u32> = flow.lap.rows.iter().map(|rows| rows.end as u32 - 1).collect();
                let logits = gather_logits(part, &hidden, &last, member)?;
                Ok(if member.rank == 0 { Made::Logits(logits) } else { Made::Nothing })
            }
            Work::Encode(queries) => {
                let mut asked = Vec::new();
                for (rows, query) in flow.lap.rows.iter().zip(queries) {
                    if let Query::MaskedLogits { positions } = query {
                        asked.extend(positions.iter().map(|&position| rows.start as u32 + position));
                    }
                }
                let logits = if asked.is_empty() { Vec::new() } else { gather_logits(part, &hidden, &asked, member)? };
                if member.rank > 0 {
                    return Ok(Made::Nothing);
                }
                Ok(Made::Outputs(encoded(&hidden, &flow.lap.rows, queries, logits, model.model.opened.pooling)?))
            }
        }
    }
}

impl Stage for CandleStage {
    type Flow = Flow;

    fn run(&mut self, mut flow: Flow) -> Result<Step<Flow>, BackendError> {
        let model = self.models.get(&flow.model).ok_or_else(|| BackendError::BadPlan {
            reason: format!("model {} is not loaded on this stage", flow.model),
        })?;
        if (self.stage > 0) != flow.hidden.is_some() {
            return Err(BackendError::BadPlan { reason: format!("a flow came to stage {} out of turn", self.stage) });
        }
        if flow.caches.len() <= self.stage {
            flow.caches.resize_with(self.stage + 1, Vec::new);
        }
        let mut caches = std::mem::take(&mut flow.caches[self.stage]);
        caches.resize_with(self.devices.len(), || None);
        let work = |member: &Member<'_>, cache: &mut Option<Cache>| self.run_shard(model, &flow, member, cache);
        let team = Team::new(self.devices.len(), self.ring.as_ref());
        let made = team.run(&self.devices, &mut caches, work)?;
        flow.caches[self.stage] = caches;
        flow.hidden = None;
        match made.into_iter().next().expect("a team has a first member") {
            Made::Nothing => unreachable!("the first shard always makes something"),
            Made::Hidden(hidden) => {
                flow.hidden = Some(hidden);
                Ok(Step::Next(flow))
            }
            Made::Outputs(outputs) => Ok(Step::Done(outputs)),
            Made::Logits(logits) => {
                let Work::Decode(continuations) = &mut flow.work else {
                    unreachable!("only decoders' laps end in logits")
                };
                match advance(continuations, &flow.lap, &logits) {
                    Advance::Done(outputs) => Ok(Step::Done(outputs)),
                    Advance::Again { lap, tokens } => {
                        flow.lap = lap;
                        flow.free_ended();
                        Ok(Step::Again { flow, tokens })
                    }
                }
            }
        }
    }

    fn memory(&self) -> Bytes {
        self.devices.iter().map(|device| device.memory.used()).max().unwrap_or(Bytes::ZERO)
    }
}

/// What a lap needs besides weights and caches, at its peak: a few vectors per token, the widest ones cut over
/// shards, and one head's scores. Composed kernels do not work in place, and have the scores of all heads, and keys and
/// values once for each query head.
fn activation_bytes(flow: &Flow, sizes: Sizes, shard: Shard, composed: bool) -> u64 {
    let tokens = flow.lap.tokens.len();
    let cut = (sizes.widest + 3 * sizes.heads.queries * sizes.heads.dim) / shard.size;
    let heads = sizes.heads.queries.div_ceil(shard.size);
    let attention = flow.lap.rows.iter().map(|rows| {
        let seen = flow.lap.positions[rows.end - 1] as usize + 1;
        let scores = rows.len() * seen;
        if composed { heads * (5 * scores + 5 * seen * sizes.heads.dim) } else { scores }
    });
    let copies = if composed { 3 } else { 1 };
    4 * (copies * tokens * (4 * sizes.hidden + cut) + attention.max().unwrap_or(0)) as u64
}

/// For the given rows of `hidden`, the logits of all words, on every shard.
fn gather_logits(
    part: &dyn Part,
    hidden: &Tensor,
    rows: &[u32],
    member: &Member<'_>,
) -> Result<Vec<Vec<f32>>, ShardError> {
    let rows = lookup(hidden, &(0..hidden.dim(0)?), rows)?;
    let parts = member.exchange(part.logits(&rows)?)?;
    if member.rank > 0 {
        return Ok(Vec::new());
    }
    let parts = parts.iter().map(|part| part.to_vec2::<f32>()).collect::<candle_core::Result<Vec<_>>>()?;
    Ok((0..rows.dim(0)?).map(|row| parts.iter().flat_map(|part| part[row].iter().copied()).collect()).collect())
}

/// One output for each query.
fn encoded(
    hidden: &Tensor,
    rows: &[Range<usize>],
    queries: &[Query],
    logits: Vec<Vec<f32>>,
    pooling: Pooling,
) -> candle_core::Result<Vec<Output>> {
    let mut logits = logits.into_iter();
    let output = |(rows, query): (&Range<usize>, &Query)| match query {
        Query::MaskedLogits { positions } => Ok(Output::MaskedLogits(logits.by_ref().take(positions.len()).collect())),
        Query::Embedding => {
            let vector = match pooling {
                Pooling::First => hidden.get(rows.start)?,
                Pooling::Mean => hidden.narrow(0, rows.start, rows.len())?.mean(0)?,
            };
            let mut vector = vector.to_vec1::<f32>()?;
            let length = vector.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>().sqrt();
            let scale = (1.0 / length.max(1e-12)) as f32;
            vector.iter_mut().for_each(|x| *x *= scale);
            Ok(Output::Embedding(vector))
        }
    };
    rows.iter().zip(queries).map(output).collect()
}

#[cfg(test)]
#[allow(dead_code)]
#[path = "../tests/common/mod.rs"]
mod common;

#[cfg(test)]
mod tests {
    use super::common::assert_same_answers_on;
    use crate::device::DeviceKind;

    #[test]
    fn models_composed_as_on_gpus_answer_as_our_kernels_do() {
        assert_same_answers_on(|_| DeviceKind::Composed);
    }
}
