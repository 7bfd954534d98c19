//! How an encoder's token vectors become the one vector of a text.
//!
//! Folders of sentence-transformers say it in `modules.json`: a pooling, then perhaps dense layers and a
//! normalisation. [`folder`] reads it and refuses what is not known; here it is loaded and computed. Other folders and
//! presets take the mean, scaled to length 1.
//!
//! **Invariant:** the vector of a text does not depend on what shares its batch.

mod folder;
mod pooling;

pub(crate) use folder::read_folder;
pub(crate) use pooling::Pooling;

use crate::device::{Device, Reservation};
use crate::kernels::activation::Activation;
use crate::parallel::layers::{ColumnLinear, LinearName};
use crate::parallel::team::ShardError;
use crate::weights::{Loader, Source};
use candle_core::Tensor;
use statmux_core::ModelId;
use statmux_core::backend::BackendError;
use std::ops::Range;

/// What is made of token vectors.
pub(crate) struct Sentence {
    /// At least one; their vectors lie one after another.
    pub(crate) poolings: Vec<Pooling>,
    /// A text's first tokens are left out of the pooling if they are these.
    pub(crate) left_out: Vec<u32>,
    /// What is done with the pooled vector, in order.
    pub(crate) steps: Vec<Step>,
}

/// One thing done with a pooled vector.
pub(crate) enum Step {
    Dense(Dense),
    /// Scales it to length 1.
    Normalize,
}

/// A linear layer with weights of its own.
pub(crate) struct Dense {
    pub(crate) weights: Box<dyn Source>,
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
    pub(crate) bias: bool,
    pub(crate) activation: Activation,
}

impl Sentence {
    /// The mean, scaled to length 1.
    pub(crate) fn mean() -> Self {
        Self { poolings: vec![Pooling::Mean], left_out: Vec::new(), steps: vec![Step::Normalize] }
    }

    /// The length of the vector, for token vectors of length `hidden`.
    pub(crate) fn width(&self, hidden: usize) -> usize {
        let dense = |step: &Step| if let Step::Dense(dense) = step { Some(dense.outputs) } else { None };
        self.steps.iter().rev().find_map(dense).unwrap_or(hidden * self.poolings.len())
    }

    /// Values that one text takes on its way, at most.
    pub(crate) fn widest(&self, hidden: usize) -> usize {
        let dense = |step: &Step| if let Step::Dense(dense) = step { dense.inputs + dense.outputs } else { 0 };
        self.steps.iter().map(dense).max().unwrap_or(0).max(2 * hidden * self.poolings.len())
    }

    /// Loads the weights of its dense layers.
    pub(crate) fn load(
        &self,
        device: &Device,
        model: ModelId,
        memory: &mut Vec<Reservation>,
    ) -> Result<SentenceHead, BackendError> {
        let mut dense = Vec::new();
        for step in &self.steps {
            if let Step::Dense(step) = step {
                let loader = Loader::new(&*step.weights, device, model);
                let name = LinearName::torch("linear", step.inputs, step.outputs);
                let name = if step.bias { name } else { name.unbiased() };
                dense.push(ColumnLinear::whole(&loader, &name)?);
                memory.extend(loader.into_reservations());
            }
        }
        Ok(SentenceHead { dense })
    }
}

/// The loaded layers of a [`Sentence`].
pub(crate) struct SentenceHead {
    dense: Vec<ColumnLinear>,
}

impl SentenceHead {
    /// The vector of the text whose tokens are `tokens`, with vectors in `rows` of `hidden`.
    pub(crate) fn embed(
        &self,
        sentence: &Sentence,
        hidden: &Tensor,
        rows: Range<usize>,
        tokens: &[u32],
    ) -> Result<Vec<f32>, ShardError> {
        let vectors = hidden.narrow(0, rows.start, rows.len())?.to_vec2::<f32>()?;
        let left_out = &sentence.left_out;
        // A text that is nothing else is pooled whole.
        let skipped = if tokens.starts_with(left_out) && tokens.len() > left_out.len() { left_out.len() } else { 0 };
        let pooled = sentence.poolings.iter().map(|pooling| pooling.of(&vectors, skipped));
        let mut vector = pooled.collect::<Vec<_>>().concat();
        let mut dense = self.dense.iter();
        for step in &sentence.steps {
            match step {
                Step::Normalize => normalize(&mut vector),
                Step::Dense(step) => {
                    let layer = dense.next().expect("every dense step was loaded");
                    let row = Tensor::from_vec(vector, (1, step.inputs), hidden.device())?;
                    vector = layer.forward(&row, step.activation)?.flatten_all()?.to_vec1()?;
                }
            }
        }
        Ok(vector)
    }
}

fn normalize(vector: &mut [f32]) {
    let length = vector.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>().sqrt();
    let scale = (1.0 / length.max(1e-12)) as f32;
    vector.iter_mut().for_each(|x| *x *= scale);
}
