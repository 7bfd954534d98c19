//! Text to tokens and back.

use crate::chat::ChatTemplate;
use statmux_core::backend::{BackendError, ChatMessage, Text};
use std::path::Path;
use tokenizers::normalizers::{Lowercase, Sequence};
use tokenizers::{NormalizerWrapper, Tokenizer};

/// A `tokenizer.json`, and the template of conversations that goes with it.
pub(crate) struct FileTokenizer {
    tokenizer: Tokenizer,
    /// What every text begins with.
    prompt: String,
    template: Option<ChatTemplate>,
}

impl FileTokenizer {
    /// Reads the file; the reason as text if it cannot be used.
    pub(crate) fn open(path: &Path) -> Result<Self, String> {
        let mut tokenizer = Tokenizer::from_file(path).map_err(|error| error.to_string())?;
        // Files of sentence encoders often ask for padding and cutting; batches here are packed, and texts that
        // are too long are refused rather than cut.
        tokenizer.with_padding(None);
        tokenizer.with_truncation(None).map_err(|error| error.to_string())?;
        Ok(Self { tokenizer, prompt: String::new(), template: None })
    }

    /// The same with a template of conversations.
    pub(crate) fn with_template(self, template: Option<ChatTemplate>) -> Self {
        Self { template, ..self }
    }

    /// The same with `prompt` before every text that is no conversation.
    pub(crate) fn with_prompt(self, prompt: String) -> Self {
        Self { prompt, ..self }
    }

    /// The same for texts in small letters; special tokens stay as they are. The reason as text if that cannot be.
    pub(crate) fn lowering_case(mut self) -> Result<Self, String> {
        let own = self.tokenizer.get_normalizer().cloned();
        let both = std::iter::once(NormalizerWrapper::Lowercase(Lowercase)).chain(own).collect();
        self.tokenizer.with_normalizer(Some(Sequence::new(both))).map_err(|error| error.to_string())?;
        Ok(self)
    }

    /// The tokens that texts with `prompt` begin with, if any; the reason as text if it cannot be told.
    pub(crate) fn prompt_tokens(&self, prompt: &str) -> Result<Vec<u32>, String> {
        if prompt.is_empty() {
            return Ok(Vec::new());
        }
        let mut tokens = self.tokens(prompt, true).map_err(|error| error.to_string())?;
        // What ends the prompt alone does not stand between it and a text.
        let special = self.tokenizer.get_added_tokens_decoder();
        if tokens.last().is_some_and(|last| special.get(last).is_some_and(|token| token.special)) {
            tokens.pop();
        }
        Ok(tokens)
    }

    /// The token that is written `text`.
    pub(crate) fn token(&self, text: &str) -> Option<u32> {
        self.tokenizer.token_to_id(text)
    }

    fn tokens(&self, text: &str, special: bool) -> Result<Vec<u32>, BackendError> {
        let encoding = self.tokenizer.encode(text, special).map_err(|error| refused(&*error))?;
        Ok(encoding.get_ids().to_vec())
    }
}

impl Text for FileTokenizer {
    fn encode(&self, text: &str) -> Result<Vec<u32>, BackendError> {
        match self.prompt.is_empty() {
            true => self.tokens(text, true),
            false => self.tokens(&format!("{}{text}", self.prompt), true),
        }
    }

    fn decode(&self, tokens: &[u32]) -> Result<String, BackendError> {
        self.tokenizer.decode(tokens, true).map_err(|error| refused(&*error))
    }

    fn chat(&self, messages: &[ChatMessage]) -> Result<Option<Vec<u32>>, BackendError> {
        let Some(template) = &self.template else { return Ok(None) };
        // Templates begin with the special tokens that the model wants.
        self.tokens(&template.render(messages)?, false).map(Some)
    }
}

fn refused(error: &dyn std::error::Error) -> BackendError {
    BackendError::BadInput { reason: format!("the tokenizer refuses the text: {error}") }
}
