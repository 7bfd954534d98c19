//! What is sent for each request of a workload.

use crate::replay::connection::{Message, Pool};
use crate::replay::{ReplayError, ReplaySettings};
use hyper::body::Bytes;
use hyper::header::HeaderValue;
use serde::Deserialize;
use statmux_core::{Lengths, ModelId, ModelSpec, Span, Workload};
use std::fmt::Write;

/// Prompts of any length, for models of any kind.
pub(super) struct Payloads {
    /// By model.
    kinds: Vec<Kind>,
    model: Vec<ModelId>,
    lengths: Vec<Lengths>,
    slo: Vec<Span>,
    default: Lengths,
    /// By model: the message where lengths are not recorded, since all are alike.
    alike: Vec<Bytes>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Kind {
    /// The name of the model, as JSON.
    name: String,
    generates: bool,
}

/// `/v2/models/{model}`, as far as it matters here.
#[derive(Deserialize)]
struct Metadata {
    outputs: Vec<Output>,
}

#[derive(Deserialize)]
struct Output {
    name: String,
}

impl Payloads {
    /// Asks the server what the models of `workload` are.
    pub(super) async fn new(
        pool: &Pool,
        workload: &Workload,
        models: &[ModelSpec],
        settings: &ReplaySettings,
    ) -> Result<Self, ReplayError> {
        let used = workload.counts(models.len());
        let mut kinds = Vec::with_capacity(models.len());
        for (model, requests) in models.iter().zip(used) {
            let generates = requests > 0 && generates(pool, &model.name).await?;
            let name = serde_json::to_string(&model.name).expect("a string serialises");
            kinds.push(Kind { name, generates });
        }
        let default = Lengths { prompt: settings.prompt_tokens, output: settings.output_tokens };
        let alike = kinds.iter().map(|kind| kind.body(default)).collect();
        let lengths = workload.lengths.clone();
        Ok(Self { kinds, model: workload.model.clone(), lengths, slo: workload.slo.clone(), default, alike })
    }

    pub(super) fn len(&self) -> usize {
        self.model.len()
    }

    /// What is sent for the `index`-th request.
    pub(super) fn of(&self, index: usize) -> Message {
        let model = self.model[index].index();
        let kind = &self.kinds[model];
        let body = match self.lengths.get(index) {
            Some(&lengths) if lengths != self.default => kind.body(lengths),
            _ => self.alike[model].clone(),
        };
        let deadline = self.slo.get(index).filter(|&&slo| slo != Span::MAX).map(|slo| {
            let text = format!("{}", slo.nanos() as f64 / 1e6);
            HeaderValue::try_from(text).expect("a number is a valid header")
        });
        Message { path: if kind.generates { "/v1/completions" } else { "/v1/embeddings" }, body, deadline }
    }
}

async fn generates(pool: &Pool, model: &str) -> Result<bool, ReplayError> {
    let path = format!("/v2/models/{}", escaped(model));
    match pool.fetch::<Metadata>(&path).await {
        Ok(metadata) => Ok(metadata.outputs.iter().any(|output| output.name == "output_ids")),
        Err(ReplayError::Unexpected { status: 404, .. }) => Err(ReplayError::NoModel { model: model.to_owned() }),
        Err(error) => Err(error),
    }
}

/// A name as one segment of a path.
fn escaped(name: &str) -> String {
    let mut path = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            path.push(char::from(byte));
        } else {
            write!(path, "%{byte:02X}").expect("writing to a string succeeds");
        }
    }
    path
}

impl Kind {
    /// A body with a prompt of the given length.
    fn body(&self, lengths: Lengths) -> Bytes {
        let mut body = format!("{{\"model\":{},", self.name);
        body.push_str(if self.generates { "\"prompt\":[" } else { "\"input\":[" });
        // Small ids, which every vocabulary has.
        for position in 0..lengths.prompt.max(1) {
            let comma = if position == 0 { "" } else { "," };
            write!(body, "{comma}{}", 1 + position % 100).expect("writing to a string succeeds");
        }
        body.push(']');
        if self.generates {
            write!(body, ",\"max_tokens\":{},\"temperature\":0", lengths.output.max(1))
                .expect("writing to a string succeeds");
        } else {
            body.push_str(",\"encoding_format\":\"base64\"");
        }
        body.push('}');
        Bytes::from(body)
    }
}
