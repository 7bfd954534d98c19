//! A backend that holds each stage as long as its profile says: the server without a model.
//!
//! It answers with something deterministic, so that clients and tests can tell right from wrong, and understands
//! text as UTF-8 bytes. Conversations that do not say how long an answer may be get one of 256 tokens.

use crate::clock::Clock;
use crate::engine::Deployment;
use statmux_core::backend::{
    Backend, BackendError, ChatMessage, Finish, Generate, Input, ModelCard, Output, Passage, Stage, StagePlan, Step,
    Task, Text,
};
use statmux_core::{Bytes, Cluster, Group, GroupId, ModelId, ModelSpec, Placement, Span};
use statmux_sched::{StageTimes, TimesError};
use std::sync::Arc;

/// The length of its embeddings.
pub const HIDDEN: usize = 8;
/// One word per byte.
const VOCABULARY: u32 = 256;
/// As BERT, it tells the texts of a pair apart.
const TOKEN_TYPES: u32 = 2;
const MAX_TOKENS: u32 = 1 << 16;
/// It never comes to an end by itself, and every token is a lap: where nobody says how many, these are plenty.
const USUAL_ANSWER: u32 = 256;

/// Sleeps instead of computing.
#[derive(Clone, Debug)]
pub struct SleepBackend {
    cluster: Cluster,
    models: Vec<ModelSpec>,
    stage_penalty: f64,
    max_batch: u32,
    /// How long stages really take, by group, where that is not what the profiles say.
    truth: Option<Arc<StageTimes>>,
    tasks: Vec<Task>,
    clock: Clock,
}

impl SleepBackend {
    /// Sleeps as long as the profiles of `deployment` say, for batches up to `max_batch`.
    ///
    /// # Errors
    /// If the placement names a configuration without a profile.
    pub fn new(deployment: &Deployment, stage_penalty: f64, max_batch: u32) -> Result<Self, TimesError> {
        let Deployment { cluster, models, placement } = deployment;
        StageTimes::new(placement, cluster, models, stage_penalty, max_batch)?;
        Ok(Self {
            cluster: cluster.clone(),
            models: models.clone(),
            stage_penalty,
            max_batch,
            truth: None,
            tasks: vec![Task::Encode { masked_logits: true }; models.len()],
            clock: Clock::start(),
        })
    }

    /// The same, but sleeping as long as `times` say of the group: a machine that is not as profiled.
    pub fn with_times(self, times: StageTimes) -> Self {
        Self { truth: Some(Arc::new(times)), ..self }
    }

    /// The same, with `model` claiming to answer `task`.
    pub fn with_task(mut self, model: ModelId, task: Task) -> Self {
        self.tasks[model.index()] = task;
        self
    }

    fn task(&self, model: ModelId) -> Result<Task, BackendError> {
        let unknown = || BackendError::BadPlan { reason: format!("there is no model {model}") };
        self.tasks.get(model.index()).copied().ok_or_else(unknown)
    }
}

/// A batch on its way.
#[derive(Debug)]
pub struct SleepFlow {
    model: ModelId,
    members: Vec<Member>,
    lap: u32,
    /// As many laps share the time of the batch.
    laps: u32,
}

/// One input of a batch.
#[derive(Debug)]
struct Member {
    input: Input,
    /// After how many laps it was ended, if it was.
    ended: Option<u32>,
}

impl Member {
    /// How many laps it needs.
    fn laps(&self) -> u32 {
        let all = if let Input::Generate(ask) = &self.input { answer(ask).0.max(1) } else { 1 };
        self.ended.map_or(all, |ended| ended.min(all))
    }
}

/// A stage that sleeps.
#[derive(Debug)]
pub struct SleepStage {
    times: Arc<StageTimes>,
    /// The group as `times` knows it.
    group: GroupId,
    plan: StagePlan,
    memory: Bytes,
    clock: Clock,
}

impl Backend for SleepBackend {
    type Flow = SleepFlow;
    type Stage = SleepStage;

    fn open(&self, plan: &StagePlan) -> Result<SleepStage, BackendError> {
        let bad = |reason: String| BackendError::BadPlan { reason };
        if let Some(model) = plan.models.iter().find(|model| model.index() >= self.models.len()) {
            return Err(bad(format!("there is no model {model}")));
        }
        if let Some(device) = plan.devices.iter().find(|&&device| self.cluster.device(device).is_none()) {
            return Err(bad(format!("there is no device {device}")));
        }
        if plan.stage >= plan.config.pp || plan.devices.len() != plan.config.op as usize {
            return Err(bad(format!(
                "stage {} on {} devices is none of {}",
                plan.stage,
                plan.devices.len(),
                plan.config
            )));
        }
        // A group on whose every stage are the devices of this one: how long the others take is their affair.
        let devices = plan.devices.repeat(plan.config.pp as usize);
        let group = Group { devices, config: plan.config, models: plan.models.clone() };
        let memory = group.stage_memory(&self.models, self.max_batch);
        let memory = memory.ok_or_else(|| bad(format!("a model has no profile for {}", plan.config)))?;
        let (times, group) = match &self.truth {
            Some(truth) => (Arc::clone(truth), plan.group),
            None => {
                let (alone, penalty) = (Placement { groups: vec![group] }, self.stage_penalty);
                let times = StageTimes::new(&alone, &self.cluster, &self.models, penalty, self.max_batch);
                (Arc::new(times.map_err(|error| bad(error.to_string()))?), GroupId(0))
            }
        };
        let memory = memory[plan.stage as usize];
        Ok(SleepStage { times, group, plan: plan.clone(), memory, clock: self.clock })
    }

    fn start(&self, model: ModelId, inputs: Vec<Input>) -> Result<SleepFlow, BackendError> {
        self.task(model)?;
        inputs.iter().try_for_each(check)?;
        let members: Vec<_> = inputs.into_iter().map(|input| Member { input, ended: None }).collect();
        let laps = members.iter().map(Member::laps).max().unwrap_or(1);
        Ok(SleepFlow { model, members, lap: 0, laps })
    }

    fn end(&self, mut flow: SleepFlow, members: &[usize]) -> Step<SleepFlow> {
        for &member in members {
            flow.members[member].ended.get_or_insert(flow.lap);
        }
        let tokens = vec![None; flow.members.len()];
        flow.next(tokens)
    }

    fn card(&self, model: ModelId) -> Result<ModelCard, BackendError> {
        Ok(ModelCard {
            architecture: "sleep".to_owned(),
            task: self.task(model)?,
            vocabulary: VOCABULARY,
            max_tokens: MAX_TOKENS,
            hidden: HIDDEN as u32,
            embedding: HIDDEN as u32,
            token_types: TOKEN_TYPES,
            usual_answer: Some(USUAL_ANSWER),
        })
    }

    fn text(&self, model: ModelId) -> Result<Option<Arc<dyn Text>>, BackendError> {
        self.task(model)?;
        Ok(Some(Arc::new(BytesText)))
    }
}

impl Stage for SleepStage {
    type Flow = SleepFlow;

    fn run(&mut self, mut flow: SleepFlow) -> Result<Step<SleepFlow>, BackendError> {
        let size = flow.members.len() as u32;
        let spans = self.times.spans(self.group, flow.model, size).ok_or_else(|| BackendError::BadPlan {
            reason: format!("no profile of {} for batches of {size} on {}", flow.model, self.plan.group),
        })?;
        let span = spans[self.plan.stage as usize];
        let until = |lap: u32| span.nanos() / u64::from(flow.laps) * u64::from(lap);
        let share = if flow.laps == 1 { span } else { Span::from_nanos(until(flow.lap + 1) - until(flow.lap)) };
        self.clock.sleep_until(self.clock.now() + share);
        if self.plan.stage + 1 < self.plan.config.pp {
            return Ok(Step::Next(flow));
        }
        flow.lap += 1;
        let tokens = flow.members.iter().map(|member| member.token(flow.lap - 1)).collect();
        Ok(flow.next(tokens))
    }

    fn memory(&self) -> Bytes {
        self.memory
    }
}

fn check(input: &Input) -> Result<(), BackendError> {
    let bad = |reason: String| Err(BackendError::BadInput { reason });
    let (tokens, positions, new) = match input {
        Input::Embed(passage) => (&passage.tokens, &[][..], 0),
        Input::MaskedLogits { passage, positions } => (&passage.tokens, &positions[..], 0),
        Input::Generate(ask) => (&ask.tokens, &[][..], ask.max_new_tokens),
    };
    if let Input::Embed(passage) | Input::MaskedLogits { passage, .. } = input {
        passage.check_marks(TOKEN_TYPES)?;
        if let Some(position) =
            positions.iter().find(|&&position| passage.mask.is_some() && !passage.has(position as usize))
        {
            return bad(format!("position {position} is padding"));
        }
    }
    if positions.len() > MAX_TOKENS as usize {
        return bad(format!("{} positions are more than the {MAX_TOKENS} tokens the model can take", positions.len()));
    }
    if tokens.is_empty() {
        return bad("the input is empty: give at least one token".to_owned());
    }
    if tokens.len() as u64 + u64::from(new) > u64::from(MAX_TOKENS) {
        let length = tokens.len();
        return bad(format!("{length} tokens and {new} new ones are more than the {MAX_TOKENS} the model can take"));
    }
    if let Some(token) = tokens.iter().find(|&&token| token >= VOCABULARY) {
        return bad(format!("token {token} is outside the vocabulary of {VOCABULARY}"));
    }
    if let Some(position) = positions.iter().find(|&&position| position as usize >= tokens.len()) {
        return bad(format!("position {position} is outside the {} tokens", tokens.len()));
    }
    Ok(())
}

/// How many tokens a continuation has, and why it ends: the prompt is said again from its start.
fn answer(ask: &Generate) -> (u32, Finish) {
    let limit = ask.max_new_tokens as usize;
    let said = ask.tokens.iter().cycle().take(limit);
    match said.into_iter().position(|token| ask.stop_tokens.contains(token)) {
        Some(stop) => (stop as u32, Finish::Stop),
        None => (ask.max_new_tokens, Finish::Length),
    }
}

impl SleepFlow {
    /// What becomes of the flow after a lap that added `tokens`.
    fn next(self, tokens: Vec<Option<u32>>) -> Step<Self> {
        if self.members.iter().any(|member| member.laps() > self.lap) {
            return Step::Again { flow: self, tokens };
        }
        Step::Done(self.members.iter().map(Member::output).collect())
    }
}

impl Member {
    /// The token of a lap, counted from 0.
    fn token(&self, lap: u32) -> Option<u32> {
        let Input::Generate(ask) = &self.input else { return None };
        let said = lap < answer(ask).0 && self.ended.is_none_or(|ended| lap < ended);
        said.then(|| ask.tokens[lap as usize % ask.tokens.len()])
    }

    fn output(&self) -> Output {
        match &self.input {
            Input::Embed(passage) => Output::Embedding(embedding(passage)),
            Input::MaskedLogits { passage, positions } => {
                let logits = |position: &u32| {
                    let token = passage.tokens[*position as usize];
                    (0..VOCABULARY).map(|word| if word == token { 1.0 } else { 0.0 }).collect()
                };
                Output::MaskedLogits(positions.iter().map(logits).collect())
            }
            Input::Generate(ask) => {
                let (length, finish) = answer(ask);
                let (length, finish) = match self.ended {
                    Some(ended) if ended < length => (ended, Finish::Stop),
                    _ => (length, finish),
                };
                Output::Generated { tokens: (0..length).filter_map(|lap| self.token(lap)).collect(), finish }
            }
        }
    }
}

/// A direction that depends on every token that is there, and on the kind of text it belongs to.
fn embedding(passage: &Passage) -> Vec<f32> {
    let mut sums = [1.0_f32; HIDDEN];
    for (place, index) in passage.present().enumerate() {
        let kind = passage.types.as_ref().map_or(0, |types| types[index]);
        sums[place % HIDDEN] += (passage.tokens[index] + 300 * kind) as f32;
    }
    let length = sums.iter().map(|x| x * x).sum::<f32>().sqrt();
    sums.iter().map(|x| x / length).collect()
}

/// Text as bytes.
#[derive(Debug)]
struct BytesText;

impl Text for BytesText {
    fn encode(&self, text: &str) -> Result<Vec<u32>, BackendError> {
        Ok(text.bytes().map(u32::from).collect())
    }

    fn decode(&self, tokens: &[u32]) -> Result<String, BackendError> {
        let bytes: Vec<u8> = tokens.iter().map(|&token| u8::try_from(token).unwrap_or(b'?')).collect();
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn chat(&self, _messages: &[ChatMessage]) -> Result<Option<Vec<u32>>, BackendError> {
        Ok(None)
    }
}
