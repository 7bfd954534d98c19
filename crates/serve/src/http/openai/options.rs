//! How a text is to go on: the fields that completions, chats and `/v2` share.

use crate::http::error::ApiError;
use crate::http::fields::{Field, Fields, Neutral, any_of, ignored, neutral, schema, taken};
use crate::http::json::{FromJson, Json, Wrong};
use statmux_core::backend::{Generate, Input, Sampling};
use utoipa::PartialSchema;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::Schema;

/// Tokens generated where nobody says how many, and the endpoint has no other default.
pub(crate) const DEFAULT_MAX_TOKENS: u32 = 16;
/// The most answers to one prompt.
const MOST_ANSWERS: u32 = 128;
/// The most tokens of prompts, each counted as often as it is answered, where several answers are asked for: a short
/// body must not become a large piece of memory.
const MOST_REPEATED_TOKENS: usize = 1 << 20;
/// The longest stop text, in bytes.
const LONGEST_STOP: usize = 1024;
/// The most stop texts.
const MOST_STOPS: usize = 4;

/// How a text is to go on.
#[derive(Clone, Debug, Default)]
pub(crate) struct GenerationOptions {
    pub(crate) max_tokens: Option<u32>,
    pub(crate) max_completion_tokens: Option<u32>,
    pub(crate) temperature: Option<f64>,
    pub(crate) top_p: Option<f64>,
    pub(crate) seed: Option<i64>,
    pub(crate) stop: Option<Stop>,
    pub(crate) stream: Option<bool>,
    pub(crate) stream_options: Option<StreamOptions>,
    pub(crate) n: Option<u32>,
    pub(crate) deadline_ms: Option<f64>,
}

/// One text or several.
#[derive(Clone, Debug)]
pub(crate) struct Stop(Vec<String>);

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct StreamOptions {
    include_usage: Option<bool>,
}

/// Objects that say how a text is to go on.
pub(crate) trait Generates: AsMut<GenerationOptions> + Sized + 'static {
    /// What `/v2` has too.
    const SAMPLING: &'static [Field<Self>] = &[
        taken("max_tokens", u32::schema, "The most tokens to add.", |ask, v| v.put(&mut ask.as_mut().max_tokens)),
        taken("temperature", f64::schema, "0 for the likeliest tokens; 1 if absent.", |ask, v| {
            v.put(&mut ask.as_mut().temperature)
        }),
        taken("top_p", f64::schema, "Draws only from the likeliest tokens with this much probability.", |ask, v| {
            v.put(&mut ask.as_mut().top_p)
        }),
        taken("seed", i64::schema, "The same seed and request give the same answer.", |ask, v| {
            v.put(&mut ask.as_mut().seed)
        }),
        taken("stop", Stop::schema, "Up to four texts that end the answer.", |ask, v| v.put(&mut ask.as_mut().stop)),
        taken("deadline_ms", f64::schema, "The latency asked for, if shorter than the model's SLO.", |ask, v| {
            v.put(&mut ask.as_mut().deadline_ms)
        }),
    ];

    /// What completions and chats share.
    const SHARED: &'static [Field<Self>] = &[
        taken("n", u32::schema, "How many answers, up to 128.", |ask, v| v.put(&mut ask.as_mut().n)),
        taken("stream", bool::schema, "Whether text is sent as it comes, as server-sent events.", |ask, v| {
            v.put(&mut ask.as_mut().stream)
        }),
        taken("stream_options", schema::<StreamOptions>, "What a stream tells besides.", |ask, v| {
            v.put(&mut ask.as_mut().stream_options)
        }),
        neutral("presence_penalty", &[Neutral::Number(0.0)]),
        neutral("frequency_penalty", &[Neutral::Number(0.0)]),
        neutral("logit_bias", &[Neutral::EmptyObject]),
        ignored("user"),
    ];
}

impl<T: AsMut<GenerationOptions> + 'static> Generates for T {}

impl Fields for StreamOptions {
    const TABLES: &'static [&'static [Field<Self>]] = &[&[
        taken("include_usage", bool::schema, "Whether a last event tells the usage.", |options: &mut Self, v| {
            v.put(&mut options.include_usage)
        }),
        neutral("include_obfuscation", &[Neutral::Flag(false)]),
    ]];
}

impl FromJson for Stop {
    fn from_json(value: Json) -> Result<Self, Wrong> {
        let stops = match value {
            Json::Text(stop) => vec![stop],
            list @ (Json::List(_) | Json::Integers(_)) => Vec::from_json(list)?,
            other => return Err(other.instead_of("a text or a list of texts")),
        };
        if stops.len() > MOST_STOPS {
            return Err(Wrong::new(format!("holds {} texts; up to {MOST_STOPS} are taken", stops.len())));
        }
        if let Some(long) = stops.iter().find(|stop| stop.len() > LONGEST_STOP) {
            return Err(Wrong::new(format!("holds a text of {} bytes; up to {LONGEST_STOP} are taken", long.len())));
        }
        match stops.iter().any(String::is_empty) {
            true => Err(Wrong::new("must hold texts that are not empty")),
            false => Ok(Self(stops)),
        }
    }
}

impl Stop {
    fn schema() -> RefOr<Schema> {
        any_of([String::schema(), Vec::<String>::schema()])
    }
}

impl GenerationOptions {
    /// The first field that says how a text is to go on, for models that write none.
    pub(crate) fn first_given(&self) -> Option<&'static str> {
        let given = [
            ("max_tokens", self.max_tokens.is_some()),
            ("temperature", self.temperature.is_some()),
            ("top_p", self.top_p.is_some()),
            ("seed", self.seed.is_some()),
            ("stop", self.stop.is_some()),
        ];
        given.into_iter().find(|&(_, given)| given).map(|(name, _)| name)
    }

    /// How many answers each prompt gets.
    pub(crate) fn answers(&self) -> Result<u32, ApiError> {
        match self.n.unwrap_or(1) {
            n @ 1..=MOST_ANSWERS => Ok(n),
            n => Err(ApiError::invalid("n", format!("`n` must lie between 1 and {MOST_ANSWERS}, but is {n}"))),
        }
    }

    /// The payloads: for each prompt as many as answers are asked for. `default` is the most tokens to add to a prompt
    /// of a length where the request does not say.
    pub(crate) fn inputs(
        &self,
        prompts: Vec<Vec<u32>>,
        default: impl Fn(usize) -> u32,
    ) -> Result<Vec<Input>, ApiError> {
        let most = self.most_new_tokens()?;
        let answers = self.answers()?;
        let tokens: usize = prompts.iter().map(Vec::len).sum();
        if answers > 1 && tokens.saturating_mul(answers as usize) > MOST_REPEATED_TOKENS {
            let message = format!(
                "{answers} answers to {tokens} tokens are too many: tokens times `n` may be up to {MOST_REPEATED_TOKENS}"
            );
            return Err(ApiError::invalid("n", message));
        }
        let mut inputs = Vec::new();
        for tokens in prompts {
            let max_new_tokens = most.unwrap_or_else(|| default(tokens.len()));
            for _ in 0..answers {
                let sampling = self.sampling(inputs.len() as u64)?;
                let tokens = tokens.clone();
                let (stop_tokens, stop_texts) = (Vec::new(), self.stops());
                inputs.push(Input::Generate(Generate { tokens, max_new_tokens, stop_tokens, stop_texts, sampling }));
            }
        }
        Ok(inputs)
    }

    fn most_new_tokens(&self) -> Result<Option<u32>, ApiError> {
        let given = [("max_completion_tokens", self.max_completion_tokens), ("max_tokens", self.max_tokens)];
        if let Some((name, _)) = given.into_iter().find(|&(_, most)| most == Some(0)) {
            return Err(ApiError::invalid(name, format!("`{name}` must be at least 1, but is 0")));
        }
        match (self.max_completion_tokens, self.max_tokens) {
            (Some(newer), Some(older)) if newer != older => {
                let message =
                    format!("`max_tokens` is {older}, but `max_completion_tokens` is {newer}: give one of them");
                Err(ApiError::invalid("max_tokens", message))
            }
            (newer, older) => Ok(newer.or(older)),
        }
    }

    /// How tokens of the answer with this `index` in the request are chosen.
    fn sampling(&self, index: u64) -> Result<Sampling, ApiError> {
        let temperature = self.temperature.unwrap_or(1.0);
        if !(0.0..=100.0).contains(&temperature) {
            let message = format!("`temperature` must lie between 0 and 100, but is {temperature}");
            return Err(ApiError::invalid("temperature", message));
        }
        let top_p = self.top_p.unwrap_or(1.0);
        if !(top_p > 0.0 && top_p <= 1.0) {
            let message = format!("`top_p` must lie above 0 and up to 1, but is {top_p}");
            return Err(ApiError::invalid("top_p", message));
        }
        if temperature == 0.0 {
            return Ok(Sampling::Greedy);
        }
        let seed = self.seed.map_or_else(rand::random, |seed| seed.cast_unsigned() ^ scattered(index));
        Ok(Sampling::Draw { temperature, top_p, seed })
    }

    pub(crate) fn stops(&self) -> Vec<String> {
        self.stop.as_ref().map_or_else(Vec::new, |Stop(stops)| stops.clone())
    }

    pub(crate) fn streams(&self) -> bool {
        self.stream.unwrap_or(false)
    }

    pub(crate) fn includes_usage(&self) -> bool {
        self.stream_options.and_then(|options| options.include_usage).unwrap_or(false)
    }
}

/// A number that is 0 for 0 and far from those of all other indices: equal prompts of one request get seeds of their own.
fn scattered(index: u64) -> u64 {
    let mut bits = index.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits ^ (bits >> 27)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn seeds(options: &GenerationOptions, prompts: usize) -> Vec<u64> {
        let inputs = options.inputs(vec![vec![1]; prompts], |_| 1).expect("good options");
        let seed = |input| match input {
            Input::Generate(Generate { sampling: Sampling::Draw { seed, .. }, .. }) => seed,
            other => panic!("{other:?}"),
        };
        inputs.into_iter().map(seed).collect()
    }

    #[test]
    fn every_answer_of_a_request_has_its_own_seed() {
        let check = |seed: Option<i64>| {
            let options = GenerationOptions { seed, n: Some(7), ..GenerationOptions::default() };
            let drawn = seeds(&options, 9);
            assert_eq!(drawn.iter().collect::<BTreeSet<_>>().len(), 63);
            assert_eq!(seeds(&options, 9) == drawn, seed.is_some(), "repeatable if, and only if, a seed is given");
            drawn
        };
        assert_eq!(check(Some(-5))[0], (-5_i64).cast_unsigned());
        check(Some(0));
        check(None);
    }
}
