//! From tokens to text as it comes: only whole characters, and nothing after a stop.

use crate::http::error::ApiError;
use statmux_core::backend::Text;
use std::sync::Arc;

/// Turns a growing list of tokens into a growing text.
pub(crate) struct TextStream {
    codec: Option<Arc<dyn Text>>,
    stops: Vec<String>,
    tokens: Vec<u32>,
    /// Bytes of the decoded text that were given out.
    given: usize,
    stopped: bool,
}

impl TextStream {
    /// Without a codec, tokens become numbers with spaces between them.
    pub(crate) fn new(codec: Option<Arc<dyn Text>>, stops: Vec<String>) -> Self {
        Self { codec, stops, tokens: Vec::new(), given: 0, stopped: false }
    }

    /// Whether one of the stops was met.
    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped
    }

    /// Takes in more tokens; returns what can be said now.
    pub(crate) fn push(&mut self, tokens: &[u32]) -> Result<String, ApiError> {
        if self.stopped || tokens.is_empty() {
            return Ok(String::new());
        }
        self.tokens.extend_from_slice(tokens);
        let text = self.decode()?;
        // The last character may still be incomplete, and the last characters may be the first of a stop.
        let complete = text.trim_end_matches('\u{fffd}').len();
        let safe = complete - self.held_back(&text[..complete]);
        Ok(self.give(&text, safe))
    }

    /// What was held back and will not become anything else.
    pub(crate) fn finish(&mut self) -> Result<String, ApiError> {
        if self.stopped {
            return Ok(String::new());
        }
        let text = self.decode()?;
        let end = text.len();
        Ok(self.give(&text, end))
    }

    /// Gives out `text` up to `end`, or up to the first stop.
    fn give(&mut self, text: &str, mut end: usize) -> String {
        let stop = self.stops.iter().filter_map(|stop| text.find(stop.as_str())).min();
        if let Some(stop) = stop {
            self.stopped = true;
            end = stop;
        }
        let piece = text.get(self.given..end).unwrap_or_default().to_owned();
        self.given = self.given.max(end);
        piece
    }

    /// The length of the longest end of `text` that begins a stop.
    fn held_back(&self, text: &str) -> usize {
        let begun = |stop: &String| {
            let lengths = (1..stop.len()).rev().filter(|&length| stop.is_char_boundary(length));
            lengths.into_iter().find(|&length| text.ends_with(&stop[..length])).unwrap_or(0)
        };
        self.stops.iter().map(begun).max().unwrap_or(0)
    }

    fn decode(&self) -> Result<String, ApiError> {
        match &self.codec {
            Some(codec) => codec.decode(&self.tokens).map_err(|error| ApiError::backend(&error)),
            None => Ok(self.tokens.iter().map(|token| format!("{token} ")).collect()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use statmux_core::backend::{BackendError, ChatMessage};

    struct Bytes;

    impl Text for Bytes {
        fn encode(&self, text: &str) -> Result<Vec<u32>, BackendError> {
            Ok(text.bytes().map(u32::from).collect())
        }

        fn decode(&self, tokens: &[u32]) -> Result<String, BackendError> {
            let bytes: Vec<u8> = tokens.iter().map(|&token| token as u8).collect();
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        }

        fn chat(&self, _messages: &[ChatMessage]) -> Result<Option<Vec<u32>>, BackendError> {
            Ok(None)
        }
    }

    fn pieces(text: &str, stops: &[&str]) -> (Vec<String>, bool) {
        let stops = stops.iter().map(|&stop| stop.to_owned()).collect();
        let mut stream = TextStream::new(Some(Arc::new(Bytes)), stops);
        let mut pieces: Vec<_> = text.bytes().map(|byte| stream.push(&[u32::from(byte)]).expect("decodes")).collect();
        pieces.push(stream.finish().expect("decodes"));
        pieces.retain(|piece| !piece.is_empty());
        (pieces, stream.is_stopped())
    }

    #[test]
    fn characters_come_whole_and_stops_end_the_text() {
        let check = |text: &str, stops: &[&str], expected: &[&str], stopped| {
            assert_eq!(pieces(text, stops), (expected.iter().map(|&piece| piece.to_owned()).collect(), stopped));
        };
        check("aé€", &[], &["a", "é", "€"], false);
        check("one two", &[" tw"], &["o", "n", "e"], true);
        check("one to", &[" tw"], &["o", "n", "e", " to"], false);
        check("one t", &[" tw"], &["o", "n", "e", " t"], false);
        check("stop", &["stop"], &[], true);
    }
}
