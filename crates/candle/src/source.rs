//! What to load: a directory in Hugging Face's layout, or a preset.

use crate::chat::ChatFiles;
use crate::fallback_tokens::FallbackTokens;
use crate::models::{Config, StopTokens};
use crate::preset::preset;
use crate::sentence::{Sentence, read_folder};
use crate::source_error::{SourceError, optional};
use crate::tokenizer::FileTokenizer;
use crate::weights::{Files, Random, Source};
use serde::Deserialize;
use statmux_core::Seed;
use statmux_core::backend::Text;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where a model comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ModelSource {
    /// A directory with `config.json`, `model.safetensors` (or its index and parts) and perhaps `tokenizer.json` and a
    /// chat template.
    Directory(PathBuf),
    /// A published shape with weights drawn from a seed.
    Preset {
        /// One of [`preset_names`](crate::preset_names).
        name: String,
        /// Where the weights come from.
        seed: Seed,
    },
}

/// A model whose files have been opened, and nothing loaded yet.
pub(crate) struct OpenedModel {
    pub(crate) config: Config,
    pub(crate) weights: Box<dyn Source>,
    pub(crate) text: Option<Arc<dyn Text>>,
    /// How an encoder's token vectors become one.
    pub(crate) sentence: Sentence,
    /// The longest text, in tokens.
    pub(crate) max_tokens: usize,
    pub(crate) stop_tokens: Vec<u32>,
}

impl ModelSource {
    /// Takes `text` for a directory if there is one, else for the name of a preset with weights from `seed`.
    pub fn parse(text: &str, seed: Seed) -> Result<Self, SourceError> {
        if Path::new(text).is_dir() {
            return Ok(Self::Directory(text.into()));
        }
        match preset(text) {
            Some(_) => Ok(Self::Preset { name: text.to_owned(), seed }),
            None => Err(SourceError::Unknown { name: text.to_owned() }),
        }
    }

    /// Reads configuration, headers and tokenizer.
    pub(crate) fn open(&self) -> Result<OpenedModel, SourceError> {
        match self {
            Self::Preset { name, seed } => {
                let config = preset(name).ok_or_else(|| SourceError::Unknown { name: name.clone() })?;
                Ok(OpenedModel {
                    weights: Box::new(Random::new(seed.stream(name))),
                    text: Some(Arc::new(FallbackTokens { ends: !config.is_decoder() })),
                    sentence: Sentence::mean(),
                    max_tokens: config.sizes().max_tokens,
                    stop_tokens: config.stop_tokens(),
                    config,
                })
            }
            Self::Directory(directory) => open_directory(directory),
        }
    }
}

fn open_directory(directory: &Path) -> Result<OpenedModel, SourceError> {
    let folder = read_folder(directory)?;
    let encoder = &*folder.encoder;
    let path = encoder.join("config.json");
    let text = std::fs::read_to_string(&path).map_err(|cause| SourceError::Io { path: path.clone(), cause })?;
    let config = Config::from_json(&text).map_err(|cause| SourceError::Config { path, cause })?;
    if folder.has_modules && config.is_decoder() {
        let reason =
            format!("it makes sentence vectors of a decoder ({}), which only generates here", config.architecture());
        return Err(SourceError::Modules { path: directory.join("modules.json"), reason });
    }
    folder.check_width(directory, config.sizes().hidden)?;
    let mut sentence = folder.sentence;
    let path = encoder.join("tokenizer.json");
    let (text, end): (Option<Arc<dyn Text>>, _) = if path.is_file() {
        let bad = |reason| SourceError::Tokenizer { path: path.clone(), reason };
        let tokenizer = FileTokenizer::open(&path).map_err(bad)?;
        let tokenizer = if folder.lower_case { tokenizer.lowering_case().map_err(bad)? } else { tokenizer };
        if !folder.pools_prompt {
            sentence.left_out = tokenizer.prompt_tokens(&folder.prompt).map_err(bad)?;
        }
        let tokenizer = tokenizer.with_prompt(folder.prompt);
        let chat = ChatFiles::read(encoder)?;
        let end = chat.end_of_text().and_then(|text| tokenizer.token(text));
        (Some(Arc::new(tokenizer.with_template(chat.template()?))), end)
    } else {
        (None, None)
    };
    let generation: GenerationFile = optional(&encoder.join("generation_config.json"))?;
    let mut stop_tokens = config.stop_tokens();
    stop_tokens.extend(generation.eos_token_id.tokens());
    // Where the tokenizer names another than the configuration, it is the one that ends a turn.
    stop_tokens.extend(end);
    Ok(OpenedModel {
        weights: Box::new(Files::open(encoder)?),
        text,
        sentence,
        max_tokens: folder.max_tokens.unwrap_or(usize::MAX).min(config.sizes().max_tokens),
        stop_tokens,
        config,
    })
}

/// What decoders say besides `config.json`.
#[derive(Default, Deserialize)]
struct GenerationFile {
    #[serde(default)]
    eos_token_id: StopTokens,
}
