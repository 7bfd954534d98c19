//! What devices must be able to do: the seam between the server and whatever runs models.
//!
//! A [`Backend`] opens one [`Stage`] for each pipeline stage of a group, on the thread that will own it.
//! A batch becomes a *flow* with [`Backend::start`]; the driver hands the flow to stage 0, then 1, and so on.
//! The last stage says whether the batch is [done](Step::Done) or must go [round again](Step::Again): decoders
//! go round once for each token they generate. Between two laps [`Backend::end`] takes out members that have said
//! enough, or that nobody listens to any more.
//!
//! **Invariant:** all that a batch needs between stages and laps (activations, key-value caches) travels inside
//! its flow. A stage keeps nothing of a batch, so dropping a flow, anywhere, cancels it and frees its memory,
//! and a stage can be reopened after a fault without cleaning up.

use crate::ids::{DeviceId, GroupId, ModelId};
use crate::parallel::ParallelConfig;
use crate::units::Bytes;
use std::error::Error;
use std::sync::Arc;

/// Something that can run models on devices.
pub trait Backend: Send + Sync {
    /// One batch on its way through a pipeline; cheap to move between threads.
    type Flow: Send + 'static;
    /// One pipeline stage of one group.
    type Stage: Stage<Flow = Self::Flow>;

    /// Loads a stage's part of every model of its group.
    ///
    /// Called on the thread that will own the stage. Opening a stage again after its predecessor was dropped
    /// (a restarted group, another placement) is fine.
    fn open(&self, plan: &StagePlan) -> Result<Self::Stage, BackendError>;

    /// Checks `inputs` and makes one batch of them, ready for the first stage of any group that holds `model`.
    ///
    /// Loads nothing and computes nothing: callers may check a request at once with a batch of one.
    fn start(&self, model: ModelId, inputs: Vec<Input>) -> Result<Self::Flow, BackendError>;

    /// Ends some members of a batch between two laps: `flow` is what the last stage gave back as [`Step::Again`].
    ///
    /// Each of `members` (their places in the batch) gets no more tokens, and what was held for it is free at once; its
    /// output has the tokens so far and [`Finish::Stop`]. Members that have ended already are left as they are, and
    /// the others say what they would have said. Returns [`Step::Done`] if nobody is left, else [`Step::Again`] without
    /// tokens.
    fn end(&self, flow: Self::Flow, members: &[usize]) -> Step<Self::Flow>;

    /// What callers may ask of `model`.
    fn card(&self, model: ModelId) -> Result<ModelCard, BackendError>;

    /// Turns text into tokens and back for `model`, if it knows how.
    fn text(&self, model: ModelId) -> Result<Option<Arc<dyn Text>>, BackendError>;
}

/// One pipeline stage of one group, owned by one thread.
pub trait Stage {
    /// See [`Backend::Flow`].
    type Flow;

    /// Runs this stage's part of one lap; returns when the devices are done with it.
    ///
    /// An error concerns this batch alone, unless [`BackendError::fault`] says that the stage is lost.
    fn run(&mut self, flow: Self::Flow) -> Result<Step<Self::Flow>, BackendError>;

    /// Memory now in use on the fullest of this stage's devices: weights, and what flows hold there.
    fn memory(&self) -> Bytes;
}

/// Which stage of which group to open, and what to load on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StagePlan {
    /// The group it belongs to.
    pub group: GroupId,
    /// How the group splits its models.
    pub config: ParallelConfig,
    /// Which of the group's stages, from 0.
    pub stage: u32,
    /// This stage's devices, in shard order: as many as `config.op`.
    pub devices: Vec<DeviceId>,
    /// The models the group holds.
    pub models: Vec<ModelId>,
}

/// What became of a flow in one stage.
#[derive(Debug)]
pub enum Step<F> {
    /// The flow goes to the next stage.
    Next(F),
    /// The last stage is through, but the flow must go round again from stage 0.
    Again {
        /// The batch, for the next lap.
        flow: F,
        /// For each input, the token this lap added, if any: what a streaming client may see now.
        tokens: Vec<Option<u32>>,
    },
    /// The batch is complete: one output for each input, in order.
    Done(Vec<Output>),
}

impl<F> Step<F> {
    /// The same step of another kind of flow.
    pub fn map<G>(self, change: impl FnOnce(F) -> G) -> Step<G> {
        match self {
            Self::Next(flow) => Step::Next(change(flow)),
            Self::Again { flow, tokens } => Step::Again { flow: change(flow), tokens },
            Self::Done(outputs) => Step::Done(outputs),
        }
    }
}

/// One request's payload.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// Asks an encoder for one vector that stands for the whole text.
    Embed(Passage),
    /// Asks an encoder for its guess over the vocabulary at some positions.
    MaskedLogits {
        /// The text.
        passage: Passage,
        /// Where to guess: indices into the passage's tokens.
        positions: Vec<u32>,
    },
    /// Asks a decoder to go on.
    Generate(Generate),
}

/// A text as an encoder reads it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Passage {
    /// The text, special tokens included.
    pub tokens: Vec<u32>,
    /// For each token, whether it is there. Those that are not are padding, wherever they stand: the answer is that of
    /// the text without them. All are there if absent.
    pub mask: Option<Vec<bool>>,
    /// For each token, the kind of text it belongs to, such as 0 for the first and 1 for the second of a pair; all 0 if
    /// absent.
    pub types: Option<Vec<u32>>,
}

impl Input {
    /// [`Self::Embed`] for a text without padding, all of one kind.
    pub fn embed(tokens: Vec<u32>) -> Self {
        Self::Embed(Passage::new(tokens))
    }

    /// [`Self::MaskedLogits`] for a text without padding, all of one kind.
    pub fn masked_logits(tokens: Vec<u32>, positions: Vec<u32>) -> Self {
        Self::MaskedLogits { passage: Passage::new(tokens), positions }
    }

    /// The text that it is about.
    pub fn tokens(&self) -> &[u32] {
        match self {
            Self::Embed(passage) | Self::MaskedLogits { passage, .. } => &passage.tokens,
            Self::Generate(generate) => &generate.tokens,
        }
    }
}

impl Passage {
    /// A text without padding, all of one kind.
    pub fn new(tokens: Vec<u32>) -> Self {
        Self { tokens, mask: None, types: None }
    }

    /// Whether token `index` is there, rather than padding.
    pub fn has(&self, index: usize) -> bool {
        self.mask.as_ref().map_or(index < self.tokens.len(), |mask| mask.get(index) == Some(&true))
    }

    /// The places of the tokens that are there.
    pub fn present(&self) -> impl Iterator<Item = usize> {
        (0..self.tokens.len()).filter(|&index| self.has(index))
    }

    /// Checks that mask and types fit the tokens, for a model that tells `token_types` kinds of text apart.
    ///
    /// # Errors
    /// [`BackendError::BadInput`] if there is not one of each for each token, nothing but padding, or a kind that the
    /// model does not know.
    pub fn check_marks(&self, token_types: u32) -> Result<(), BackendError> {
        let length = self.tokens.len();
        let bad = |reason: String| Err(BackendError::BadInput { reason });
        if let Some(mask) = &self.mask {
            if mask.len() != length {
                return bad(format!(
                    "the attention mask has {} entries for {length} tokens: give one each",
                    mask.len()
                ));
            }
            if !mask.contains(&true) && length > 0 {
                return bad("the attention mask leaves no token: give at least one".to_owned());
            }
        }
        let Some(types) = &self.types else { return Ok(()) };
        if types.len() != length {
            return bad(format!("there are {} token types for {length} tokens: give one each", types.len()));
        }
        if token_types == 0 {
            return bad("the model takes no token types: leave them out".to_owned());
        }
        match types.iter().find(|&&kind| kind >= token_types) {
            Some(kind) => bad(format!("token type {kind} is unknown: the model has {token_types}, counted from 0")),
            None => Ok(()),
        }
    }
}

/// How a decoder is to continue a prompt.
#[derive(Clone, Debug, PartialEq)]
pub struct Generate {
    /// The prompt, at least one token.
    pub tokens: Vec<u32>,
    /// The most tokens to add; the model's context may end it sooner.
    pub max_new_tokens: u32,
    /// Tokens that end the answer, besides the model's own; they are not part of it.
    pub stop_tokens: Vec<u32>,
    /// Texts that end the answer when they appear in it, perhaps across tokens. Backends need not look at them: whoever
    /// drives the flow watches for them and calls [`Backend::end`].
    pub stop_texts: Vec<String>,
    /// How to choose among likely tokens.
    pub sampling: Sampling,
}

/// How the next token is chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Sampling {
    /// The likeliest token; the lower id on a tie.
    Greedy,
    /// A draw from the distribution.
    Draw {
        /// Divides the logits before the softmax; above 0.
        temperature: f64,
        /// Draws only from the smallest set of tokens with at least this much probability; 1 for all.
        top_p: f64,
        /// The same seed, prompt and model give the same tokens, whatever shares the batch.
        seed: u64,
    },
}

/// One request's answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// A vector; of Euclidean length 1 unless the model's own files say that it is not normalised.
    Embedding(Vec<f32>),
    /// For each asked position, a logit for each word of the vocabulary.
    MaskedLogits(Vec<Vec<f32>>),
    /// A continuation.
    Generated {
        /// All tokens added; those of the last lap have not been in [`Step::Again`] before.
        tokens: Vec<u32>,
        /// Why it ended.
        finish: Finish,
    },
}

/// Why a continuation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// The model, a stop token, or the caller ended it.
    Stop,
    /// The asked number of tokens was reached, or the model's context was full.
    Length,
}

/// What callers may ask of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelCard {
    /// Its architecture, such as `bert`.
    pub architecture: String,
    /// What it answers.
    pub task: Task,
    /// How many words its vocabulary has; tokens are below this.
    pub vocabulary: u32,
    /// The longest text, prompt and answer together, in tokens.
    pub max_tokens: u32,
    /// The length of its hidden vectors.
    pub hidden: u32,
    /// The length of its embeddings.
    pub embedding: u32,
    /// How many kinds of text it tells apart by [`Passage::types`]; 0 if it takes none.
    pub token_types: u32,
    /// The most tokens of an answer in a conversation where nobody says; to the end of the context if absent.
    pub usual_answer: Option<u32>,
}

/// What a model answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// Encoders: [`Input::Embed`], and [`Input::MaskedLogits`] if `masked_logits`.
    Encode {
        /// Whether the model came with a masked-language-model head.
        masked_logits: bool,
    },
    /// Decoders: [`Input::Generate`].
    Generate,
}

/// Turns text into tokens and back.
pub trait Text: Send + Sync {
    /// The tokens of `text`, with the model's special tokens.
    fn encode(&self, text: &str) -> Result<Vec<u32>, BackendError>;

    /// The text of `tokens`, special tokens left out; bytes that are no whole character yet become U+FFFD.
    fn decode(&self, tokens: &[u32]) -> Result<String, BackendError>;

    /// The tokens of the prompt that asks for the turn after `messages`, in the form that the model was trained on;
    /// `None` for models without one.
    fn chat(&self, messages: &[ChatMessage]) -> Result<Option<Vec<u32>>, BackendError>;
}

/// One turn of a conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChatMessage {
    /// Who speaks: `system`, `user`, `assistant`, or what else the model knows.
    pub role: String,
    /// What is said; nothing in turns that only call tools.
    pub content: Option<String>,
    /// What else templates read, by the names they know: `name`, `tool_calls`, `tool_call_id`.
    pub more: serde_json::Map<String, serde_json::Value>,
}

impl ChatMessage {
    /// A turn in which something is said, and that is all.
    pub fn said(role: impl Into<String>, content: impl Into<String>) -> Self {
        Self { role: role.into(), content: Some(content.into()), more: serde_json::Map::new() }
    }
}

/// Who is to blame for a [`BackendError`], and so what to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The request: it will fail again anywhere.
    Request,
    /// The want of memory: it may succeed later, or elsewhere.
    Capacity,
    /// The model's files or the plan: it will fail until they are mended.
    Setup,
    /// The stage or its devices: reopen the stage, or take the group out.
    Stage,
}

/// Why a backend could not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackendError {
    /// The request asks for what the model cannot do.
    #[error("{reason}")]
    BadInput {
        /// What was wrong, and what would be right.
        reason: String,
    },
    /// A device's memory budget is too small.
    #[error(
        "device {} has {budget} ({} bytes), of which {used} ({} bytes) are in use: no room for {what}, which needs {needed} ({} bytes)",
        .device.0, .budget.get(), .used.get(), .needed.get()
    )]
    OutOfMemory {
        /// The device.
        device: DeviceId,
        /// What was to be put there.
        what: String,
        /// Its size.
        needed: Bytes,
        /// What is there already.
        used: Bytes,
        /// All the device may hold.
        budget: Bytes,
    },
    /// A model cannot be loaded.
    #[error("cannot load model {model}")]
    Load {
        /// The model.
        model: ModelId,
        /// Why.
        #[source]
        cause: Box<dyn Error + Send + Sync>,
    },
    /// There is no such model, device or stage, or the models cannot be split as planned.
    #[error("{reason}")]
    BadPlan {
        /// What was wrong.
        reason: String,
    },
    /// The computation failed or panicked: the stage cannot be trusted any more.
    #[error("stage lost: {reason}")]
    StageLost {
        /// What happened.
        reason: String,
    },
}

impl BackendError {
    /// Who is to blame.
    pub fn fault(&self) -> Fault {
        match self {
            Self::BadInput { .. } => Fault::Request,
            Self::OutOfMemory { .. } => Fault::Capacity,
            Self::Load { .. } | Self::BadPlan { .. } => Fault::Setup,
            Self::StageLost { .. } => Fault::Stage,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_must_fit_the_tokens() {
        let check = |mask: Option<&[bool]>, types: Option<&[u32]>, token_types, expected: Option<&str>| {
            let (mask, types) = (mask.map(<[bool]>::to_vec), types.map(<[u32]>::to_vec));
            let passage = Passage { tokens: vec![5, 6, 7], mask, types };
            let found = passage.check_marks(token_types).err().map(|error| error.to_string());
            let fits = match (&found, expected) {
                (Some(found), Some(expected)) => found.contains(expected),
                (found, expected) => found.is_none() && expected.is_none(),
            };
            assert!(fits, "{found:?}, not {expected:?}");
        };
        check(None, None, 0, None);
        check(Some(&[false, true, false]), Some(&[0, 1, 1]), 2, None);
        check(Some(&[true, true]), None, 2, Some("2 entries for 3 tokens"));
        check(Some(&[true; 4]), None, 2, Some("4 entries for 3 tokens"));
        check(Some(&[false; 3]), None, 2, Some("leaves no token"));
        check(None, Some(&[0, 1]), 2, Some("2 token types for 3 tokens"));
        check(None, Some(&[0, 2, 1]), 2, Some("token type 2"));
        check(None, Some(&[0, 0, 0]), 0, Some("takes no token types"));
        let passage = Passage { mask: Some(vec![true, false, true]), ..Passage::new(vec![5, 6, 7]) };
        assert_eq!(passage.present().collect::<Vec<_>>(), [0, 2]);
        assert_eq!(Passage::new(vec![5, 6]).present().count(), 2);
    }

    #[test]
    fn a_lack_of_memory_is_told_in_bytes() {
        let error = BackendError::OutOfMemory {
            device: DeviceId(3),
            what: "tensor w".into(),
            needed: Bytes::new(2048),
            used: Bytes::new(1000),
            budget: Bytes::new(1024),
        };
        assert_eq!(error.fault(), Fault::Capacity);
        assert_eq!(
            error.to_string(),
            "device 3 has 1.0 KiB (1024 bytes), of which 1000 B (1000 bytes) are in use: no room for tensor w, \
             which needs 2.0 KiB (2048 bytes)"
        );
    }
}
