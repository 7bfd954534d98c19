//! A batch on its way through a pipeline.

use crate::cache::Cache;
use crate::device::{Device, Reservation};
use crate::lap::Lap;
use crate::sampling::choose;
use candle_core::Tensor;
use statmux_core::ModelId;
use statmux_core::backend::{BackendError, Finish, Generate, Input, Output, Passage, Step};

/// One batch: what was asked, how far it is, and all that stages keep of it.
///
/// Tensors are handles, so moving a flow to another thread copies nothing.
pub struct Flow {
    pub(crate) model: ModelId,
    pub(crate) work: Work,
    /// The tokens of this lap.
    pub(crate) lap: Lap,
    /// What the stage before made of them.
    pub(crate) hidden: Option<Hidden>,
    /// Keys and values, by stage and shard.
    pub(crate) caches: Vec<Vec<Option<Cache>>>,
}

/// What one stage made for the next, accounted to the device that made it until then.
pub(crate) struct Hidden {
    pub(crate) tensor: Tensor,
    _memory: Reservation,
}

impl Hidden {
    pub(crate) fn new(tensor: Tensor, device: &Device) -> Result<Self, BackendError> {
        let memory = device.memory.reserve(4 * tensor.elem_count() as u64, "what one stage makes for the next")?;
        Ok(Self { tensor, _memory: memory })
    }
}

/// What was asked of the model, and what has become of it.
pub(crate) enum Work {
    Encode(Vec<Query>),
    Decode(Vec<Continuation>),
}

/// What to make of one encoded text.
pub(crate) enum Query {
    Embedding,
    /// At these of the tokens that are there; some perhaps more than once.
    MaskedLogits {
        positions: Vec<u32>,
    },
}

/// A prompt and what has been added to it.
pub(crate) struct Continuation {
    request: Generate,
    /// The most tokens to add, the model's context considered.
    limit: usize,
    generated: Vec<u32>,
    finish: Option<Finish>,
}

impl Flow {
    /// The first lap of a batch of checked inputs for a model with room for `max_tokens`.
    pub(crate) fn new(model: ModelId, inputs: Vec<Input>, stop_tokens: &[u32], max_tokens: usize) -> Self {
        let mut lap = Lap::default();
        let mut queries = Vec::new();
        let mut continuations = Vec::new();
        for (sequence, input) in inputs.into_iter().enumerate() {
            match input {
                Input::Embed(passage) => {
                    read(&mut lap, sequence, &passage);
                    queries.push(Query::Embedding);
                }
                Input::MaskedLogits { passage, positions } => {
                    let places = read(&mut lap, sequence, &passage);
                    let rows = positions.iter().map(|&position| places[position as usize]).collect();
                    queries.push(Query::MaskedLogits { positions: rows });
                }
                Input::Generate(mut request) => {
                    lap.push(sequence, 0, &request.tokens);
                    let room = max_tokens.saturating_sub(request.tokens.len());
                    let limit = room.min(request.max_new_tokens as usize);
                    request.stop_tokens.extend_from_slice(stop_tokens);
                    continuations.push(Continuation { request, limit, generated: Vec::new(), finish: None });
                }
            }
        }
        let work = if queries.is_empty() { Work::Decode(continuations) } else { Work::Encode(queries) };
        Self { model, work, lap, hidden: None, caches: Vec::new() }
    }

    /// The full length of each sequence, prompt and answer, for the caches; empty for encoders.
    pub(crate) fn full_lengths(&self) -> Vec<usize> {
        match &self.work {
            Work::Encode(_) => Vec::new(),
            Work::Decode(all) => all.iter().map(|one| one.request.tokens.len() + one.limit).collect(),
        }
    }
}

impl Flow {
    /// Takes `members` out between two laps: see [`statmux_core::backend::Backend::end`].
    pub(crate) fn end(mut self, members: &[usize]) -> Step<Self> {
        let Work::Decode(all) = &mut self.work else { unreachable!("encoders are through after one lap") };
        for &member in members {
            all[member].finish.get_or_insert(Finish::Stop);
        }
        self.lap = self.lap.without(members);
        if self.lap.tokens.is_empty() {
            return Step::Done(outputs(all));
        }
        let tokens = vec![None; all.len()];
        self.free_ended();
        Step::Again { flow: self, tokens }
    }

    /// Frees the keys and values of the sequences that have ended.
    pub(crate) fn free_ended(&mut self) {
        let Work::Decode(all) = &self.work else { return };
        let ended = all.iter().enumerate().filter(|(_, one)| one.finish.is_some());
        for (sequence, _) in ended {
            self.caches.iter_mut().flatten().flatten().for_each(|cache| cache.free(sequence));
        }
    }
}

/// Adds the tokens of `passage` that are there to `lap`, as if the others did not exist. Returns, for each token of
/// the passage, its place among them.
fn read(lap: &mut Lap, sequence: usize, passage: &Passage) -> Vec<u32> {
    let mut places = vec![0; passage.tokens.len()];
    let (mut tokens, mut types) = (Vec::new(), Vec::new());
    for index in passage.present() {
        places[index] = tokens.len() as u32;
        tokens.push(passage.tokens[index]);
        types.push(passage.types.as_ref().map_or(0, |types| types[index]));
    }
    lap.push(sequence, 0, &tokens);
    lap.types.extend(types);
    places
}

impl Continuation {
    /// Adds the token that `logits` choose, and gives it back unless it is a stop token.
    fn advance(&mut self, logits: &[f32]) -> Option<u32> {
        let token = choose(logits, self.request.sampling, self.generated.len());
        if self.request.stop_tokens.contains(&token) {
            self.finish = Some(Finish::Stop);
            return None;
        }
        self.generated.push(token);
        if self.generated.len() >= self.limit {
            self.finish = Some(Finish::Length);
        }
        Some(token)
    }
}

/// What the last stage's logits lead to.
pub(crate) enum Advance {
    /// Another lap, which shows these tokens.
    Again {
        lap: Lap,
        tokens: Vec<Option<u32>>,
    },
    Done(Vec<Output>),
}

/// Adds a token to every continuation in `lap`; `logits` has a row for each.
pub(crate) fn advance(all: &mut [Continuation], lap: &Lap, logits: &[Vec<f32>]) -> Advance {
    let mut tokens = vec![None; all.len()];
    let mut next = Lap::default();
    for ((&sequence, rows), logits) in lap.sequences.iter().zip(&lap.rows).zip(logits) {
        let past = lap.positions[rows.end - 1] as usize + 1;
        let one = &mut all[sequence];
        tokens[sequence] = one.advance(logits);
        if let (Some(token), None) = (tokens[sequence], one.finish) {
            next.push(sequence, past, &[token]);
        }
    }
    if !next.tokens.is_empty() {
        return Advance::Again { lap: next, tokens };
    }
    Advance::Done(outputs(all))
}

/// The answers of a batch of which all sequences have ended.
fn outputs(all: &mut [Continuation]) -> Vec<Output> {
    let output = |one: &mut Continuation| Output::Generated {
        tokens: std::mem::take(&mut one.generated),
        finish: one.finish.expect("nothing is left to do for any sequence"),
    };
    all.iter_mut().map(output).collect()
}
