//! Reads what a folder of sentence-transformers says of pooling, layers after it, and the texts it was made for.

use super::{Dense, Pooling, Sentence, Step};
use crate::kernels::activation::Activation;
use crate::source_error::{SourceError, optional};
use crate::weights::Files;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What a folder says besides the encoder itself.
pub(crate) struct Folder {
    /// Where the encoder's own files lie.
    pub(crate) encoder: PathBuf,
    pub(crate) sentence: Sentence,
    /// The longest text it was made for, if it says.
    pub(crate) max_tokens: Option<usize>,
    /// Whether texts are to be in small letters, whatever the tokenizer does by itself.
    pub(crate) lower_case: bool,
    /// What every text begins with.
    pub(crate) prompt: String,
    /// Whether the prompt counts in the pooling.
    pub(crate) pools_prompt: bool,
    /// Whether there is a `modules.json`.
    pub(crate) has_modules: bool,
}

#[derive(Deserialize)]
struct Module {
    #[serde(default)]
    path: String,
    r#type: String,
}

/// `sentence_bert_config.json`.
#[derive(Default, Deserialize)]
struct TextFile {
    max_seq_length: Option<usize>,
    do_lower_case: Option<bool>,
}

/// `config_sentence_transformers.json`.
#[derive(Default, Deserialize)]
struct PromptFile {
    #[serde(default)]
    prompts: Option<BTreeMap<String, String>>,
    default_prompt_name: Option<String>,
}

/// `config.json` of a dense layer.
#[derive(Deserialize)]
struct DenseFile {
    in_features: usize,
    out_features: usize,
    #[serde(default = "yes")]
    bias: bool,
    activation_function: Option<String>,
    #[serde(default)]
    use_residual: bool,
}

/// What every module may say of what it reads and writes.
#[derive(Default, Deserialize)]
struct Ends {
    module_input_name: Option<String>,
    module_output_name: Option<String>,
}

fn yes() -> bool {
    true
}

/// Reads the folder, whose encoder has vectors of length `hidden` once its configuration is read: see [`check_width`].
pub(crate) fn read_folder(directory: &Path) -> Result<Folder, SourceError> {
    let path = directory.join("modules.json");
    let modules: Option<Vec<Module>> = optional(&path)?;
    let has_modules = modules.is_some();
    let mut encoder = directory.to_owned();
    let mut pooled = None;
    let mut steps = Vec::new();
    for (index, module) in modules.unwrap_or_default().into_iter().enumerate() {
        let refused = |what: &str| Err(refused(&path, format!("module {index}, {}, {what}", module.r#type)));
        let inside = Path::new(&module.path);
        if inside.components().any(|part| !matches!(part, std::path::Component::Normal(_))) {
            return refused(&format!("has the path \"{}\", which must lie in the folder", module.path));
        }
        let folder = directory.join(inside);
        let kind = module.r#type.starts_with("sentence_transformers.").then(|| module.r#type.rsplit('.').next());
        match kind.flatten() {
            Some("Transformer") if index == 0 => encoder = folder,
            _ if index == 0 => return refused("is first; the first must be a Transformer"),
            Some("Pooling") if pooled.is_none() && steps.is_empty() => pooled = Some(read_pooling(&folder)?),
            Some("Dense") if pooled.is_some() => steps.push(Step::Dense(read_dense(&folder)?)),
            Some("Normalize") if pooled.is_some() => {
                check_ends(&folder.join("config.json"))?;
                steps.push(Step::Normalize);
            }
            // Nothing is dropped outside of training.
            Some("Dropout") if pooled.is_some() => {}
            Some("Pooling" | "Dense" | "Normalize" | "Dropout") => return refused("stands where it cannot be used"),
            _ => return refused("is not known: Transformer, Pooling, Dense, Dropout and Normalize are"),
        }
    }
    if has_modules && pooled.is_none() {
        return Err(refused(&path, "has no Pooling: token vectors would not become one".to_owned()));
    }
    if !has_modules {
        let folder = directory.join("1_Pooling");
        pooled = if folder.join("config.json").is_file() { Some(read_pooling(&folder)?) } else { None };
        steps.push(Step::Normalize);
    }
    let (poolings, pools_prompt) = pooled.unwrap_or((vec![Pooling::Mean], true));
    let text: TextFile = optional(&encoder.join("sentence_bert_config.json"))?;
    let prompt = if has_modules { read_prompt(directory)? } else { String::new() };
    let sentence = Sentence { poolings, left_out: Vec::new(), steps };
    Ok(Folder {
        encoder,
        sentence,
        max_tokens: text.max_seq_length,
        lower_case: text.do_lower_case.unwrap_or(false),
        prompt,
        pools_prompt,
        has_modules,
    })
}

impl Folder {
    /// Checks that the layers fit an encoder with vectors of length `hidden`, and each other.
    pub(crate) fn check_width(&self, directory: &Path, hidden: usize) -> Result<(), SourceError> {
        let mut width = hidden * self.sentence.poolings.len();
        for step in &self.sentence.steps {
            if let Step::Dense(dense) = step {
                if dense.inputs != width {
                    let reason = format!("a Dense layer takes {} values, but {width} come to it", dense.inputs);
                    return Err(refused(&directory.join("modules.json"), reason));
                }
                width = dense.outputs;
            }
        }
        Ok(())
    }
}

fn refused(path: &Path, reason: String) -> SourceError {
    SourceError::Modules { path: path.to_owned(), reason }
}

/// The poolings in their order, and whether the prompt counts.
fn read_pooling(folder: &Path) -> Result<(Vec<Pooling>, bool), SourceError> {
    let path = folder.join("config.json");
    let bad = |reason: String| Err(refused(&path, reason));
    let Some(file): Option<Map<String, Value>> = optional(&path)? else {
        return bad("there is no such file, but modules.json asks for it".to_owned());
    };
    let known = || Pooling::ALL.map(|(name, _)| name).join(", ");
    let named = |name: &str| Pooling::ALL.iter().find(|(known, _)| *known == name).map(|&(_, pooling)| pooling);
    let mut by_flag = Vec::new();
    let mut pools_prompt = true;
    for (key, value) in &file {
        match (key.as_str(), value) {
            ("word_embedding_dimension" | "embedding_dimension" | "pooling_mode", _) => {}
            ("include_prompt", Value::Bool(counts)) => pools_prompt = *counts,
            (_, Value::Bool(false) | Value::Null) => {}
            (flag, Value::Bool(true)) => {
                // `pooling_mode_cls_token`, `pooling_mode_mean_tokens`, `pooling_mode_mean_sqrt_len_tokens` and so on.
                let name = flag.strip_prefix("pooling_mode_").unwrap_or_default();
                let short = name.strip_suffix("_tokens").or(name.strip_suffix("_token"));
                match named(name).or(short.and_then(named)) {
                    Some(pooling) => by_flag.push(pooling),
                    None => return bad(format!("\"{key}\" is not known: poolings are {}", known())),
                }
            }
            _ => return bad(format!("\"{key}\": {value} is not understood")),
        }
    }
    // Flags have no order of their own.
    by_flag.sort_by_key(|pooling| Pooling::ALL.iter().position(|(_, known)| known == pooling));
    let mut poolings = Vec::new();
    let names = match file.get("pooling_mode") {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Array(names)) => names.clone(),
        Some(name) => vec![name.clone()],
    };
    for name in &names {
        match name.as_str().and_then(named) {
            Some(pooling) => poolings.push(pooling),
            None => return bad(format!("\"pooling_mode\": {name} is not known: poolings are {}", known())),
        }
    }
    // The newer word goes before the flags; where there is neither, the mean is meant.
    if poolings.is_empty() {
        poolings = if by_flag.is_empty() { vec![Pooling::Mean] } else { by_flag };
    }
    Ok((poolings, pools_prompt))
}

/// Refuses modules that work on something else than the vector of the text.
fn check_ends(path: &Path) -> Result<(), SourceError> {
    let ends: Ends = optional(path)?;
    let names = [ends.module_input_name, ends.module_output_name];
    match names.into_iter().flatten().find(|name| name != "sentence_embedding") {
        Some(name) => Err(refused(path, format!("only layers of the sentence_embedding are known, not of {name}"))),
        None => Ok(()),
    }
}

fn read_dense(folder: &Path) -> Result<Dense, SourceError> {
    let path = folder.join("config.json");
    let bad = |reason: String| Err(refused(&path, reason));
    let Some(file): Option<DenseFile> = optional(&path)? else {
        return bad("there is no such file, but modules.json asks for it".to_owned());
    };
    check_ends(&path)?;
    if file.use_residual {
        return bad("use_residual is not supported".to_owned());
    }
    let sizes = 1..=1 << 24;
    if !sizes.contains(&file.in_features) || !sizes.contains(&file.out_features) {
        return bad("in_features or out_features cannot be used".to_owned());
    }
    let name = file.activation_function.unwrap_or_else(|| "torch.nn.modules.activation.Tanh".to_owned());
    let activation = match name.strip_prefix("torch.nn.").and_then(|name| name.rsplit('.').next()) {
        Some("Tanh") => Activation::Tanh,
        Some("Identity") => Activation::Identity,
        Some("ReLU") => Activation::Relu,
        Some("GELU") => Activation::Gelu,
        Some("SiLU") => Activation::Silu,
        _ => {
            return bad(format!(
                "activation_function \"{name}\" is not known: Tanh, Identity, ReLU, GELU and SiLU are"
            ));
        }
    };
    if !folder.join("model.safetensors").is_file() && folder.join("pytorch_model.bin").is_file() {
        let reason = "its weights are in pytorch_model.bin: save them as model.safetensors".to_owned();
        return Err(refused(folder, reason));
    }
    Ok(Dense {
        weights: Box::new(Files::open(folder)?),
        inputs: file.in_features,
        outputs: file.out_features,
        bias: file.bias,
        activation,
    })
}

/// The prompt that texts get unless their author says otherwise.
fn read_prompt(directory: &Path) -> Result<String, SourceError> {
    let path = directory.join("config_sentence_transformers.json");
    let PromptFile { prompts, default_prompt_name } = optional(&path)?;
    let Some(name) = default_prompt_name else { return Ok(String::new()) };
    match prompts.unwrap_or_default().remove(&name) {
        Some(prompt) => Ok(prompt),
        None => Err(refused(&path, format!("default_prompt_name is \"{name}\", but prompts has none of that name"))),
    }
}
