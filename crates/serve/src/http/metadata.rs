//! What models under `/v2` take and give: what clients are told, and what requests are checked against.

use crate::gateway::ServedModel;
use serde::Serialize;
use statmux_core::backend::Task;
use utoipa::ToSchema;

/// The only version that models have.
pub(super) const VERSION: &str = "1";

#[derive(Serialize, ToSchema)]
pub(super) struct ModelMetadata<'a> {
    name: &'a str,
    versions: [&'static str; 1],
    pub(super) platform: String,
    pub(super) inputs: Vec<TensorMetadata>,
    pub(super) outputs: Vec<TensorMetadata>,
}

/// A tensor that a model takes or gives; -1 stands for any length.
#[derive(Serialize, ToSchema)]
pub(super) struct TensorMetadata {
    pub(super) name: &'static str,
    pub(super) datatype: &'static str,
    pub(super) shape: Vec<i64>,
}

/// The tensors of `model`, by its task and by what it has.
pub(super) fn metadata(model: &ServedModel) -> ModelMetadata<'_> {
    let tensor = |name, datatype, shape: &[i64]| TensorMetadata { name, datatype, shape: shape.to_vec() };
    let mut inputs = vec![tensor("input_ids", "INT64", &[-1, -1]), tensor("attention_mask", "INT64", &[-1, -1])];
    let mut outputs = Vec::new();
    if model.card.token_types > 0 && matches!(model.card.task, Task::Encode { .. }) {
        inputs.push(tensor("token_type_ids", "INT64", &[-1, -1]));
    }
    if model.text.is_some() {
        inputs.push(tensor("text", "BYTES", &[-1]));
    }
    match model.card.task {
        Task::Encode { masked_logits } => {
            outputs.push(tensor("embedding", "FP32", &[-1, i64::from(model.card.embedding)]));
            if masked_logits {
                inputs.push(tensor("positions", "INT64", &[-1, -1]));
                outputs.push(tensor("logits", "FP32", &[-1, -1, i64::from(model.card.vocabulary)]));
            }
        }
        Task::Generate => {
            outputs.push(tensor("output_ids", "INT64", &[-1, -1]));
            if model.text.is_some() {
                outputs.push(tensor("text", "BYTES", &[-1]));
            }
        }
    }
    let platform = format!("statmux_{}", model.card.architecture);
    ModelMetadata { name: &model.name, versions: [VERSION], platform, inputs, outputs }
}
