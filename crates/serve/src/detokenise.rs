//! From tokens to text as it comes: only whole characters, and nothing after a stop.

use statmux_core::backend::{BackendError, Text};
use std::sync::Arc;

/// Turns a growing list of tokens into a growing text, in time that grows with the number of tokens alone.
///
/// The same tokens give the same text, however many come at once.
pub(crate) struct TextStream {
    codec: Option<Arc<dyn Text>>,
    stops: Vec<String>,
    /// The last tokens: what the next one's text depends on.
    window: Vec<u32>,
    /// Bytes of the window's text that were read.
    read: usize,
    /// Text that was read and not given out, because it may be the beginning of a stop.
    kept: String,
    stopped: bool,
}

/// Beyond so many tokens the window is cut, if its end alone has the same text.
const WINDOW: usize = 8;
/// So many stay.
const CONTEXT: usize = 4;
/// Beyond so many it is cut in any case: nothing but bytes that are no characters gets there.
const LONGEST_WINDOW: usize = 64;

impl TextStream {
    /// Without a codec, tokens become numbers with spaces between them.
    pub(crate) fn new(codec: Option<Arc<dyn Text>>, stops: Vec<String>) -> Self {
        Self { codec, stops, window: Vec::new(), read: 0, kept: String::new(), stopped: false }
    }

    /// Whether one of the stops was met.
    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped
    }

    /// Takes in more tokens; returns what can be said now. Tokens after a stop say nothing.
    pub(crate) fn push(&mut self, tokens: &[u32]) -> Result<String, BackendError> {
        let mut said = String::new();
        for &token in tokens {
            if self.stopped {
                break;
            }
            self.window.push(token);
            let text = self.decode(&self.window)?;
            // The last character may still be incomplete.
            let complete = text.trim_end_matches('\u{fffd}').len();
            self.read_up_to(&text, complete);
            self.cut_window(&text, complete == text.len())?;
            said.push_str(&self.give(true));
        }
        Ok(said)
    }

    /// What was held back and will not become anything else.
    pub(crate) fn finish(&mut self) -> Result<String, BackendError> {
        if self.stopped {
            return Ok(String::new());
        }
        let text = self.decode(&self.window)?;
        self.read_up_to(&text, text.len());
        Ok(self.give(false))
    }

    fn read_up_to(&mut self, text: &str, end: usize) {
        if end > self.read {
            self.kept.push_str(text.get(self.read..end).unwrap_or_default());
            self.read = end;
        }
    }

    /// Forgets tokens that the text of later ones no longer depends on; `text` is that of all in the window.
    fn cut_window(&mut self, text: &str, complete: bool) -> Result<(), BackendError> {
        let must = self.window.len() >= LONGEST_WINDOW;
        if self.window.len() < WINDOW || !(complete || must) {
            return Ok(());
        }
        let rest = &self.window[self.window.len() - CONTEXT..];
        let rest_text = self.decode(rest)?;
        // Special tokens have no text, and the next one could take itself for the first of all.
        if must || (!rest_text.is_empty() && text.ends_with(&rest_text)) {
            self.read = rest_text.trim_end_matches('\u{fffd}').len();
            self.window = rest.to_vec();
        }
        Ok(())
    }

    /// Gives out what was kept, up to the first stop; if more may come, without what may be the beginning of one.
    fn give(&mut self, more: bool) -> String {
        let stop = self.stops.iter().filter_map(|stop| self.kept.find(stop.as_str())).min();
        if let Some(stop) = stop {
            self.stopped = true;
            self.kept.truncate(stop);
            return std::mem::take(&mut self.kept);
        }
        let safe = self.kept.len() - if more { self.held_back() } else { 0 };
        let rest = self.kept.split_off(safe);
        std::mem::replace(&mut self.kept, rest)
    }

    /// The length of the longest end of what is kept that begins a stop.
    fn held_back(&self) -> usize {
        let begun = |stop: &String| {
            let lengths =
                (1..stop.len().min(self.kept.len() + 1)).rev().filter(|&length| stop.is_char_boundary(length));
            lengths.into_iter().find(|&length| self.kept.ends_with(&stop[..length])).unwrap_or(0)
        };
        self.stops.iter().map(begun).max().unwrap_or(0)
    }

    fn decode(&self, tokens: &[u32]) -> Result<String, BackendError> {
        match &self.codec {
            Some(codec) => codec.decode(tokens),
            None => Ok(tokens.iter().map(|token| format!("{token} ")).collect()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use proptest::prelude::*;
    use statmux_core::backend::ChatMessage;
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    /// A token a byte.
    #[derive(Default)]
    struct Bytes {
        decoded: AtomicUsize,
    }

    impl Text for Bytes {
        fn encode(&self, text: &str) -> Result<Vec<u32>, BackendError> {
            Ok(text.bytes().map(u32::from).collect())
        }

        fn decode(&self, tokens: &[u32]) -> Result<String, BackendError> {
            self.decoded.fetch_add(tokens.len(), Relaxed);
            let bytes: Vec<u8> = tokens.iter().map(|&token| token as u8).collect();
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        }

        fn chat(&self, _messages: &[ChatMessage]) -> Result<Option<Vec<u32>>, BackendError> {
            Ok(None)
        }
    }

    fn pieces(text: &str, stops: &[&str]) -> (Vec<String>, bool) {
        let stops = stops.iter().map(|&stop| stop.to_owned()).collect();
        let mut stream = TextStream::new(Some(Arc::<Bytes>::default()), stops);
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

    /// Words, of which all but the first begin with a space, as SentencePiece writes them.
    struct Words;

    impl Text for Words {
        fn encode(&self, _: &str) -> Result<Vec<u32>, BackendError> {
            unreachable!("only decodes")
        }

        fn decode(&self, tokens: &[u32]) -> Result<String, BackendError> {
            let words: Vec<_> = tokens.iter().filter(|&&token| token > 9).map(|token| format!("w{token}")).collect();
            Ok(words.join(" "))
        }

        fn chat(&self, _: &[ChatMessage]) -> Result<Option<Vec<u32>>, BackendError> {
            Ok(None)
        }
    }

    proptest! {
        #[test]
        fn pieces_add_up_to_the_text_of_all_tokens(
            words in proptest::collection::vec(7..30_u32, 0..200),
            text in ".{0,100}",
            at_once in 1..7_usize,
        ) {
            let bytes: Vec<u32> = text.bytes().map(u32::from).collect();
            let codecs: [(Arc<dyn Text>, Vec<u32>); 2] = [(Arc::new(Words), words), (Arc::<Bytes>::default(), bytes)];
            for (codec, tokens) in codecs {
                let mut stream = TextStream::new(Some(Arc::clone(&codec)), Vec::new());
                let mut pieces = String::new();
                for chunk in tokens.chunks(at_once) {
                    pieces.push_str(&stream.push(chunk).expect("decodes"));
                }
                pieces.push_str(&stream.finish().expect("decodes"));
                prop_assert_eq!(pieces, codec.decode(&tokens).expect("decodes"));
            }
        }

        #[test]
        fn a_text_ends_before_its_first_stop_however_it_comes(
            text in "[abé]{0,60}",
            stops in proptest::collection::vec("[abé]{1,4}", 1..4),
            at_once in 1..7_usize,
        ) {
            // The stop that is complete first ends the text; of several at once, the one that begins first.
            let ends = |stop: &String| text.find(stop.as_str()).map(|start| (start + stop.len(), start));
            let end = stops.iter().filter_map(ends).map(|(end, _)| end).min();
            let start = stops.iter().filter_map(ends).filter(|&(e, _)| Some(e) == end).map(|(_, start)| start).min();
            let tokens: Vec<u32> = text.bytes().map(u32::from).collect();
            let mut stream = TextStream::new(Some(Arc::<Bytes>::default()), stops.clone());
            let mut pieces = String::new();
            for chunk in tokens.chunks(at_once) {
                pieces.push_str(&stream.push(chunk).expect("decodes"));
            }
            pieces.push_str(&stream.finish().expect("decodes"));
            prop_assert_eq!(stream.is_stopped(), start.is_some());
            prop_assert_eq!(pieces, &text[..start.unwrap_or(text.len())]);
        }
    }

    #[test]
    fn the_work_grows_with_the_number_of_tokens_alone() {
        // Characters, bytes that are none, and what looks like the beginning of a stop for long.
        for tokens in [vec![97; 20_000], vec![0xff; 20_000], vec![0x80; 20_000]] {
            let codec = Arc::<Bytes>::default();
            let mut stream = TextStream::new(Some(Arc::clone(&codec) as _), vec!["a".repeat(100) + "b"]);
            tokens.iter().for_each(|&token| drop(stream.push(&[token]).expect("decodes")));
            let decoded = codec.decoded.load(Relaxed);
            assert!(decoded < 80 * tokens.len(), "{decoded} tokens were decoded");
        }
    }
}
