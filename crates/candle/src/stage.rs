//! One stage of a pipeline: its shards in step.

use crate::cache::Cache;
use crate::device::{Device, Reservation};
use crate::flow::{Advance, Flow, Hidden, Query, Work, advance};
use crate::kernels::composed_on;
use crate::kernels::lookup::lookup;
use crate::lap::Lap;
use crate::model::Model;
use crate::models::{Part, PartPlan, Sizes};
use crate::parallel::team::{Member, ShardError, Team};
use crate::parallel::{Ring, Shard};
use crate::sentence::{Sentence, SentenceHead};
use crate::weights::Loader;
use candle_core::Tensor;
use statmux_core::backend::{BackendError, Output, Stage, StagePlan, Step};
use statmux_core::units::Bytes;
use statmux_core::{ModelId, ParallelConfig};
use std::collections::{BTreeMap, BTreeSet};
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
    /// What makes vectors of texts, where they are made.
    sentence: Option<SentenceHead>,
    _memory: Vec<Reservation>,
}

/// What a stage makes of a lap.
enum Made {
    /// By a shard that leaves the rest to the first.
    Nothing,
    /// For the next stage.
    Hidden(Hidden),
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
                let mut memory = loader.into_reservations();
                let embeds = part_plan.last && member.rank == 0 && !model.opened.config.is_decoder();
                let sentence = &model.opened.sentence;
                let sentence = embeds.then(|| sentence.load(&devices[member.rank], *id, &mut memory)).transpose()?;
                Ok(LoadedShard { part, sentence, _memory: memory })
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
        let last = self.stage + 1 == self.config.pp as usize;
        let asked = if last { asked_rows(flow) } else { Vec::new() };
        let answers = if last { answer_bytes(flow, &asked, sizes, shard, &model.model.opened.sentence) } else { 0 };
        let _answers = device.memory.reserve(answers, "answers")?;
        if cache.is_none() && matches!(flow.work, Work::Decode(_)) {
            let width = sizes.heads.cache_width(shard);
            *cache = Some(Cache::new(device, model.layers.len(), &flow.full_lengths(), width)?);
        }
        let hidden = match &flow.hidden {
            None => part.embed(&flow.lap, member)?,
            Some(hidden) => hidden.tensor.to_device(&device.tensors)?,
        };
        let cache = cache.as_mut().map_or(&mut [][..], Cache::layers);
        let hidden = part.layers(hidden, &flow.lap, cache, member)?;
        if !last {
            return Ok(if member.rank == 0 { Made::Hidden(Hidden::new(hidden, device)?) } else { Made::Nothing });
        }
        let logits = gather_logits(part, &hidden, &asked, member)?;
        match &flow.work {
            _ if member.rank > 0 => Ok(Made::Nothing),
            Work::Decode(_) => Ok(Made::Logits(logits)),
            Work::Encode(queries) => {
                let guesses = Guesses { asked: &asked, logits };
                Ok(Made::Outputs(encoded(&hidden, &flow.lap, queries, &guesses, model)?))
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
    // Experts are whole on their shard.
    let inner = if sizes.experts.is_some() { sizes.widest } else { sizes.widest / shard.size };
    let cut = inner + 3 * sizes.heads.queries * sizes.heads.dim / shard.size;
    let heads = sizes.heads.queries.div_ceil(shard.size);
    let attention = flow.lap.rows.iter().map(|rows| {
        let seen = flow.lap.positions[rows.end - 1] as usize + 1;
        let scores = rows.len() * seen;
        if composed { heads * (5 * scores + 5 * seen * sizes.heads.dim) } else { scores }
    });
    let copies = if composed { 3 } else { 1 };
    4 * (copies * tokens * (4 * sizes.hidden + cut) + attention.max().unwrap_or(0)) as u64
}

/// So many rows get their logits at once.
const LOGITS_AT_ONCE: usize = 64;

/// The rows of the last layer's output that logits are wanted for, each once.
fn asked_rows(flow: &Flow) -> Vec<u32> {
    let rows = flow.lap.rows.iter();
    match &flow.work {
        Work::Decode(_) => rows.map(|rows| rows.end as u32 - 1).collect(),
        Work::Encode(queries) => {
            let wanted = rows.zip(queries).flat_map(|(rows, query)| {
                let positions = if let Query::MaskedLogits { positions } = query { &positions[..] } else { &[] };
                positions.iter().map(|&position| rows.start as u32 + position)
            });
            wanted.collect::<BTreeSet<_>>().into_iter().collect()
        }
    }
}

/// What the answers of a lap need: on every shard the logits of its words for some rows at a time, on the first those of
/// all words for all of `asked`, all answers, and a text's vectors as it is pooled.
fn answer_bytes(flow: &Flow, asked: &[u32], sizes: Sizes, shard: Shard, sentence: &Sentence) -> u64 {
    let at_once = asked.len().min(LOGITS_AT_ONCE);
    let mut values = at_once * (2 * sizes.vocabulary.div_ceil(shard.size) + 4 * sizes.hidden);
    if shard.rank == 0 {
        values += (asked.len() + at_once) * sizes.vocabulary;
        if let Work::Encode(queries) = &flow.work {
            let longest = flow.lap.rows.iter().map(Range::len).max().unwrap_or(0);
            values += longest * sizes.hidden + sentence.widest(sizes.hidden);
            let answer = |query: &Query| match query {
                Query::Embedding => sentence.width(sizes.hidden),
                Query::MaskedLogits { positions } => positions.len() * sizes.vocabulary,
            };
            values += queries.iter().map(answer).sum::<usize>();
        }
    }
    4 * values as u64
}

/// For the given rows of `hidden`, the logits of all words, on the first shard; nothing on the others.
fn gather_logits(
    part: &dyn Part,
    hidden: &Tensor,
    rows: &[u32],
    member: &Member<'_>,
) -> Result<Vec<Vec<f32>>, ShardError> {
    let own = 0..hidden.dim(0)?;
    let mut logits = Vec::new();
    for rows in rows.chunks(LOGITS_AT_ONCE) {
        let parts = member.exchange(part.logits(&lookup(hidden, &own, rows)?)?)?;
        if member.rank == 0 {
            let parts = parts.iter().map(|part| part.to_vec2::<f32>()).collect::<candle_core::Result<Vec<_>>>()?;
            let whole = |row: usize| parts.iter().flat_map(|part| part[row].iter().copied()).collect();
            logits.extend((0..rows.len()).map(whole));
        }
    }
    Ok(logits)
}

/// The logits of some rows, in their order.
struct Guesses<'a> {
    asked: &'a [u32],
    logits: Vec<Vec<f32>>,
}

impl Guesses<'_> {
    fn of(&self, row: u32) -> Vec<f32> {
        self.logits[self.asked.binary_search(&row).expect("all that is wanted was asked for")].clone()
    }
}

/// One output for each query.
fn encoded(
    hidden: &Tensor,
    lap: &Lap,
    queries: &[Query],
    guesses: &Guesses<'_>,
    model: &StageModel,
) -> Result<Vec<Output>, ShardError> {
    let head = model.shards[0].sentence.as_ref().expect("loaded where vectors of texts are made");
    let output = |(rows, query): (&Range<usize>, &Query)| match query {
        Query::MaskedLogits { positions } => {
            let guess = |&position: &u32| guesses.of(rows.start as u32 + position);
            Ok(Output::MaskedLogits(positions.iter().map(guess).collect()))
        }
        Query::Embedding => {
            let (sentence, tokens) = (&model.model.opened.sentence, &lap.tokens[rows.clone()]);
            Ok(Output::Embedding(head.embed(sentence, hidden, rows.clone(), tokens)?))
        }
    };
    lap.rows.iter().zip(queries).map(output).collect()
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
