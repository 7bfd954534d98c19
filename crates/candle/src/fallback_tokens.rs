//! Text to tokens and back for models that have no words of their own.

use statmux_core::backend::{BackendError, ChatMessage, Text};

/// The tokens of presets, which have weights from a seed and so no words of their own: a token for each byte.
///
/// Encoders' texts stand between [`START`](Self::START) and [`END`](Self::END), decoders' prompts after
/// [`START`](Self::START).
pub(crate) struct FallbackTokens {
    pub(crate) ends: bool,
}

impl FallbackTokens {
    const START: u32 = 1;
    pub(crate) const END: u32 = 2;
    /// The token of byte 0; those below are special.
    const FIRST_BYTE: u32 = 4;
    /// How many tokens have a meaning. Above are those only a model can say: made-up words.
    pub(crate) const COUNT: u32 = Self::FIRST_BYTE + 256;
}

impl Text for FallbackTokens {
    fn encode(&self, text: &str) -> Result<Vec<u32>, BackendError> {
        let bytes = text.bytes().map(|byte| Self::FIRST_BYTE + u32::from(byte));
        let end = self.ends.then_some(Self::END);
        Ok(std::iter::once(Self::START).chain(bytes).chain(end).collect())
    }

    fn decode(&self, tokens: &[u32]) -> Result<String, BackendError> {
        let mut bytes = Vec::new();
        for &token in tokens {
            match token {
                0..Self::FIRST_BYTE => {}
                Self::FIRST_BYTE..Self::COUNT => bytes.push((token - Self::FIRST_BYTE) as u8),
                _ => bytes.extend(word(token - Self::COUNT)),
            }
        }
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn chat(&self, _messages: &[ChatMessage]) -> Result<Option<Vec<u32>>, BackendError> {
        Ok(None)
    }
}

/// A space and a pronounceable word for any number.
fn word(mut number: u32) -> Vec<u8> {
    const CONSONANTS: &[u8; 16] = b"bdfghjklmnprstvz";
    const VOWELS: &[u8; 5] = b"aeiou";
    let mut word = vec![b' '];
    loop {
        word.push(CONSONANTS[number as usize % 16]);
        number /= 16;
        word.push(VOWELS[number as usize % 5]);
        number /= 5;
        if number == 0 {
            return word;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_text_comes_back(text in ".*", ends: bool) {
            let tokens = FallbackTokens { ends }.encode(&text).expect("bytes have tokens");
            prop_assert!(tokens.iter().all(|&token| token < FallbackTokens::COUNT));
            prop_assert_eq!(FallbackTokens { ends }.decode(&tokens).expect("tokens have bytes"), text);
        }

        #[test]
        fn every_token_has_a_text(tokens: Vec<u32>) {
            FallbackTokens { ends: false }.decode(&tokens).expect("never fails");
        }
    }
}
