//! What devices must be able to do: the seam between the server and whatever runs models.
//!
//! A [`Backend`] opens one [`Stage`] for each pipeline stage of a group, on the thread that will own it.
//! A batch becomes a *flow* with [`Backend::start`]; the driver hands the flow to stage 0, then 1, and so on.
//! The last stage says whether the batch is [done](Step::Done) or must go [round again](Step::Again): decoders
//! go round once for each token they generate.
//!
//! **Invariant:** all that a batch needs between stages and laps (activations, key-value caches) travels inside
//! its flow. A stage keeps nothing of a batch, so dropping a flow, anywhere, cancels it and frees its memory,
//! and a stage can be reopened after a fault without cleaning up.

use crate::ids::{DeviceId, GroupId, ModelId};
use crate::placement::ParallelConfig;
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

/// One request's payload.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// Asks an encoder for one vector that stands for the whole text.
    Embed {
        /// The text, special tokens included.
        tokens: Vec<u32>,
    },
    /// Asks an encoder for its guess over the vocabulary at some positions.
    MaskedLogits {
        /// The text, special tokens included.
        tokens: Vec<u32>,
        /// Where to guess: indices into `tokens`.
        positions: Vec<u32>,
    },
    /// Asks a decoder to go on.
    Generate(Generate),
}

impl Input {
    /// The text that it is about.
    pub fn tokens(&self) -> &[u32] {
        match self {
            Self::Embed { tokens } | Self::MaskedLogits { tokens, .. } => tokens,
            Self::Generate(generate) => &generate.tokens,
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
    /// A vector of Euclidean length 1.
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
    /// The model or the caller's stop token ended it.
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
    /// The length of its hidden vectors, and of embeddings.
    pub hidden: u32,
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
