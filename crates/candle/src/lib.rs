//! The real backend: transformers on virtual CPU devices or GPUs, cut into pipeline stages and tensor shards.
//!
//! Start with [`CandleBackend`], which implements [`statmux_core::backend`]; say what it has to run on with
//! [`DeviceSpec`]s and what to run with [`ModelChoice`]s. Below it lie `models` (one architecture to a
//! file), built from the layers in `parallel`, which stand on the arithmetic in `kernels`.
//!
//! **Invariant:** this is the only crate that names candle or CUDA, and a model gives the same answer however it is cut.

#[cfg(test)]
extern crate self as statmux_candle;

mod backend;
mod cache;
mod chat;
mod device;
mod fallback_tokens;
mod flow;
mod kernels;
mod lap;
mod model;
mod models;
mod parallel;
mod preset;
mod sampling;
mod sentence;
mod source;
mod source_error;
mod stage;
mod tokenizer;
mod weights;

pub use backend::{CandleBackend, ModelChoice};
#[cfg(feature = "cuda")]
pub use device::gpus;
pub use device::{DeviceKind, DeviceSpec, use_one_thread_per_device};
pub use flow::Flow;
pub use models::ConfigError;
pub use preset::preset_names;
pub use source::ModelSource;
pub use source_error::SourceError;
pub use stage::CandleStage;
pub use weights::WeightsError;
