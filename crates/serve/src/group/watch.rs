//! Who of a batch has heard enough: what is looked at between two laps.

use crate::detokenise::TextStream;
use crate::request::Departure;
use statmux_core::backend::{Input, Text};
use std::sync::Arc;

/// Watches the members of a batch while it goes round: an answer is over where one of its stop texts is complete, or
/// where nobody waits for it any more.
///
/// Stop texts are looked for here, lap by lap, and not where clients are talked to: so the same laps are run however
/// busy the server is.
pub(crate) struct Watch {
    members: Vec<Member>,
}

struct Member {
    /// What it says, if a text can end it.
    text: Option<TextStream>,
    departure: Departure,
    over: bool,
}

impl Watch {
    /// For a batch of `inputs` that are waited for by those of `departures`, with the model's tokenizer from `codec`.
    pub(crate) fn new(
        inputs: &[Input],
        departures: Vec<Departure>,
        codec: impl FnOnce() -> Option<Arc<dyn Text>>,
    ) -> Self {
        fn stops(input: &Input) -> &[String] {
            if let Input::Generate(ask) = input { &ask.stop_texts } else { &[] }
        }
        let codec = if inputs.iter().any(|input| !stops(input).is_empty()) { codec() } else { None };
        let member = |(input, departure)| {
            let stops = stops(input);
            let text = (!stops.is_empty()).then(|| TextStream::new(codec.clone(), stops.to_vec()));
            Member { text, departure, over: false }
        };
        Self { members: inputs.iter().zip(departures).map(member).collect() }
    }

    /// The members that are over since a lap that added `tokens`, each once.
    pub(crate) fn over(&mut self, tokens: &[Option<u32>]) -> Vec<usize> {
        let members = self.members.iter_mut().zip(tokens).enumerate().filter(|(_, (member, _))| !member.over);
        let over = members.filter_map(|(index, (member, token))| member.is_over_after(*token).then_some(index));
        over.collect()
    }
}

impl Member {
    fn is_over_after(&mut self, token: Option<u32>) -> bool {
        let said = |text: &mut TextStream| {
            // What cannot be decoded meets no stop; whoever writes the answer says what is wrong with it.
            token.is_some_and(|token| text.push(&[token]).is_ok() && text.is_stopped())
        };
        self.over = self.text.as_mut().is_some_and(said) || self.departure.has_happened();
        self.over
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use statmux_core::backend::{Generate, Sampling};

    fn generate(stop_texts: &[&str]) -> Input {
        let stop_texts = stop_texts.iter().map(|&stop| stop.to_owned()).collect();
        let (tokens, stop_tokens, sampling) = (vec![1], Vec::new(), Sampling::Greedy);
        Input::Generate(Generate { tokens, max_new_tokens: 9, stop_tokens, stop_texts, sampling })
    }

    #[test]
    fn members_are_over_once_at_their_stop_or_when_their_client_leaves() {
        // Without a tokenizer, tokens are numbers.
        let inputs = [generate(&["7 8"]), generate(&[]), generate(&["1 ", "5 5"]), Input::embed(vec![1])];
        let departures: Vec<_> = (0..4).map(|_| Departure::default()).collect();
        let mut watch = Watch::new(&inputs, departures.clone(), || None);
        assert_eq!(watch.over(&[Some(7), Some(7), Some(5), None]), [] as [usize; 0]);
        assert_eq!(watch.over(&[Some(8), Some(8), Some(5), None]), [0, 2]);
        assert_eq!(watch.over(&[None, Some(1), None, None]), [] as [usize; 0]);
        departures[1].happens();
        departures[2].happens();
        assert_eq!(watch.over(&[None, Some(1), None, None]), [1]);
    }
}
