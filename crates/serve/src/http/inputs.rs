//! From the tensors of a request under `/v2` to what models take.

use super::metadata::metadata;
use super::openai::options::{DEFAULT_MAX_TOKENS, GenerationOptions};
use super::tensor::{Elements, Tensor};
use crate::gateway::ServedModel;
use crate::http::Front;
use crate::http::ask::encode;
use crate::http::error::ApiError;
use statmux_core::backend::{Input, Passage, Task};

/// One payload for each row of the inputs.
pub(super) async fn payloads(
    front: &Front,
    model: &ServedModel,
    tensors: &[Tensor],
    options: &GenerationOptions,
) -> Result<Vec<Input>, ApiError> {
    check(model, tensors)?;
    let passages = passages(front, model, tensors).await?;
    let given = |name: &str| tensors.iter().find(|tensor| tensor.name == name);
    let positions = match given("positions") {
        None => None,
        Some(positions) => {
            let rows = positions.rows().filter(|rows| rows.len() == passages.len());
            let rows = rows.ok_or_else(|| wrong("input `positions` must have as many rows as there are texts"))?;
            let read = || rows.into_iter().map(indices).collect::<Option<Vec<_>>>();
            let rows = front.workbench.work(positions.size(), read).await?;
            Some(rows.ok_or_else(|| wrong("input `positions` must hold indices, none of them negative"))?)
        }
    };
    match (positions, model.card.task) {
        (_, Task::Generate) => options.inputs(passages.into_iter().map(present).collect(), |_| DEFAULT_MAX_TOKENS),
        (_, Task::Encode { .. }) if options.first_given().is_some() => {
            let name = options.first_given().unwrap_or_default();
            let message = format!("`{name}` is for models that write; {} does not", model.name);
            Err(ApiError::invalid(format!("parameters.{name}"), message))
        }
        (Some(positions), _) => {
            let pairs = passages.into_iter().zip(positions);
            Ok(pairs.map(|(passage, positions)| Input::MaskedLogits { passage, positions }).collect())
        }
        (None, _) => Ok(passages.into_iter().map(Input::Embed).collect()),
    }
}

fn wrong(message: impl Into<String>) -> ApiError {
    ApiError::invalid("inputs", message)
}

/// Every tensor must be one that the model takes, of its datatype, and given once.
fn check(model: &ServedModel, tensors: &[Tensor]) -> Result<(), ApiError> {
    let known = metadata(model).inputs;
    for (index, tensor) in tensors.iter().enumerate() {
        let name = &tensor.name;
        let Some(expected) = known.iter().find(|input| input.name == name) else {
            let names: Vec<&str> = known.iter().map(|input| input.name).collect();
            let message = format!("{} takes no input `{name}`; it takes `{}`", model.name, names.join("`, `"));
            return Err(ApiError::invalid(format!("inputs[{index}].name"), message));
        };
        if tensors[..index].iter().any(|before| before.name == *name) {
            return Err(ApiError::invalid(format!("inputs[{index}].name"), format!("input `{name}` is given twice")));
        }
        if tensor.datatype() != expected.datatype {
            let kind = if expected.datatype == "BYTES" { "BYTES" } else { "INT64 (or INT32, UINT32, UINT64)" };
            let message = format!("input `{name}` must have the datatype {kind}");
            return Err(ApiError::invalid(format!("inputs[{index}].datatype"), message));
        }
    }
    Ok(())
}

/// The texts, a row each, with what is said of their tokens.
async fn passages(front: &Front, model: &ServedModel, tensors: &[Tensor]) -> Result<Vec<Passage>, ApiError> {
    let given = |name: &str| tensors.iter().find(|tensor| tensor.name == name);
    let (mask, types) = (given("attention_mask"), given("token_type_ids"));
    let passages: Vec<Passage> = match (given("input_ids"), given("text")) {
        (Some(ids), None) => {
            let rows = ids.rows().ok_or_else(|| wrong("input `input_ids` must be a row or rows of integers"))?;
            front.settings.request.inputs("inputs", rows.len())?;
            let masks = mask.map(|mask| beside(ids, mask)).transpose()?;
            let types = types.map(|types| beside(ids, types)).transpose()?;
            let passage = |(row, &tokens): (usize, &&[i64])| {
                passage(row, tokens, masks.as_ref().map(|masks| masks[row]), types.as_ref().map(|types| types[row]))
            };
            let read = || rows.iter().enumerate().map(passage).collect::<Result<_, _>>();
            front.workbench.work(ids.size(), read).await??
        }
        (None, Some(Tensor { elements: Elements::Texts(texts), .. })) => {
            if let Some(alone) = mask.or(types) {
                return Err(wrong(format!("input `{}` needs `input_ids`", alone.name)));
            }
            encode(front, model, "inputs", texts).await?.into_iter().map(Passage::new).collect()
        }
        _ => return Err(wrong("give either `input_ids` (integers) or `text` (BYTES)")),
    };
    if passages.is_empty() {
        return Err(wrong("the inputs are empty"));
    }
    Ok(passages)
}

/// The rows of a tensor that says something of each token.
fn beside<'a>(ids: &Tensor, tensor: &'a Tensor) -> Result<Vec<&'a [i64]>, ApiError> {
    let Tensor { name, shape, .. } = tensor;
    if *shape != ids.shape {
        return Err(wrong(format!(
            "input `{name}` must have the shape of `input_ids`, {:?}, but has {shape:?}",
            ids.shape
        )));
    }
    Ok(tensor.rows().expect("a tensor of the shape of rows has rows"))
}

/// A row. Padding at its end is cut off, for it changes nothing and would cost time; elsewhere it is marked.
fn passage(row: usize, tokens: &[i64], mask: Option<&[i64]>, types: Option<&[i64]>) -> Result<Passage, ApiError> {
    let mut length = tokens.len();
    let mut marks = None;
    if let Some(mask) = mask {
        if mask.iter().any(|on| !matches!(on, 0 | 1)) {
            return Err(wrong(format!("row {row} of `attention_mask` must hold zeros and ones")));
        }
        let last = mask.iter().rposition(|&on| on == 1);
        length = last.ok_or_else(|| wrong(format!("row {row} of `attention_mask` leaves no token")))? + 1;
        let kept = &mask[..length];
        marks = kept.contains(&0).then(|| kept.iter().map(|&on| on == 1).collect());
    }
    let kept = |name: &str, numbers: &[i64]| {
        let kept = indices(&numbers[..length]);
        kept.ok_or_else(|| wrong(format!("row {row} of `{name}` must hold whole numbers of 32 bits, none negative")))
    };
    let types = types.map(|types| kept("token_type_ids", types)).transpose()?;
    Ok(Passage { tokens: kept("input_ids", tokens)?, mask: marks, types })
}

/// The tokens that are there: a model that goes on with a text sees nothing else.
fn present(passage: Passage) -> Vec<u32> {
    match passage.mask {
        None => passage.tokens,
        Some(mask) => passage.tokens.into_iter().zip(mask).filter_map(|(token, on)| on.then_some(token)).collect(),
    }
}

fn indices(row: &[i64]) -> Option<Vec<u32>> {
    row.iter().map(|&id| u32::try_from(id).ok()).collect()
}
