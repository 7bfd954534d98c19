//! Our answers are those of PyTorch, from files in Hugging Face's layout. See `scripts/make_fixtures.py`.

#[allow(dead_code)]
mod common;

use common::{answer, backend, difference, generate, generated};
use serde::Deserialize;
use statmux_candle::{ModelChoice, ModelSource};
use statmux_core::backend::{Backend, Input, Output, Sampling, Task};
use statmux_core::{ModelId, ParallelConfig};
use std::path::{Path, PathBuf};

const CONFIGS: [ParallelConfig; 3] = [ParallelConfig::SINGLE, ParallelConfig::new(2, 1), ParallelConfig::new(4, 2)];

#[derive(Deserialize)]
struct Expected<C> {
    cases: Vec<C>,
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join("fixtures").join(name)
}

fn expected<C: for<'a> Deserialize<'a>>(path: &Path) -> Vec<C> {
    let text = std::fs::read(path).expect("the file is committed");
    serde_json::from_slice::<Expected<C>>(&text).expect("the script writes what we read").cases
}

fn directory(path: impl Into<PathBuf>) -> ModelChoice {
    ModelChoice::new(ModelSource::Directory(path.into()))
}

#[test]
fn bert_embeds_and_guesses_words_as_pytorch_does() {
    #[derive(Deserialize)]
    struct Case {
        tokens: Vec<u32>,
        embedding: Vec<f32>,
        last_logits: Vec<f32>,
    }
    for config in CONFIGS {
        let cases: Vec<Case> = expected(&fixture("bert").join("expected.json"));
        let inputs = |case: &Case| {
            let tokens = case.tokens.clone();
            let positions = vec![tokens.len() as u32 - 1];
            [Input::embed(tokens.clone()), Input::masked_logits(tokens, positions)]
        };
        let outputs = answer(&directory(fixture("bert")), config, cases.iter().flat_map(inputs).collect());
        for (case, found) in cases.into_iter().zip(outputs.chunks_exact(2)) {
            let embedding = difference(&found[0], &Output::Embedding(case.embedding));
            let logits = difference(&found[1], &Output::MaskedLogits(vec![case.last_logits]));
            assert!(embedding < 1e-5, "{config}: {embedding}");
            assert!(logits < 1e-4, "{config}: {logits}");
        }
    }
}

#[test]
fn decoders_continue_as_pytorch_does() {
    #[derive(Deserialize)]
    struct Case {
        tokens: Vec<u32>,
        generated: Vec<u32>,
    }
    // GPT-2's weights are stored in half precision, Llama's as bfloat16, and its rotary positions are stretched.
    for name in ["gpt2", "llama"] {
        for config in CONFIGS {
            let cases: Vec<Case> = expected(&fixture(name).join("expected.json"));
            let inputs = cases.iter().map(|case| generate(case.tokens.clone(), 12, Sampling::Greedy)).collect();
            let outputs = answer(&directory(fixture(name)), config, inputs);
            for (case, output) in cases.iter().zip(&outputs) {
                assert_eq!(generated(output).0, case.generated, "{name}, {config}, after {:?}", case.tokens);
            }
        }
    }
}

/// Runs only where `STATMUX_MINILM` names the model's directory; `scripts/check_minilm.sh` does all of it.
#[test]
fn a_real_embedding_model_embeds_as_pytorch_does() {
    #[derive(Deserialize)]
    struct Case {
        sentence: String,
        tokens: Vec<u32>,
        embedding: Vec<f32>,
    }
    let Some(path) = std::env::var_os("STATMUX_MINILM") else { return };
    let choice = directory(PathBuf::from(path));
    let cases: Vec<Case> = expected(&fixture("minilm.json"));
    for config in [ParallelConfig::SINGLE, ParallelConfig::new(2, 1), ParallelConfig::new(4, 2)] {
        let backend = backend(&choice, config);
        let card = backend.card(ModelId(0)).expect("there is a model");
        assert_eq!((card.hidden, card.task), (384, Task::Encode { masked_logits: false }));
        let text = backend.text(ModelId(0)).expect("there is a model").expect("it has a tokenizer");
        for case in &cases {
            assert_eq!(text.encode(&case.sentence).expect("any text has tokens"), case.tokens, "{}", case.sentence);
        }
        let inputs = cases.iter().map(|case| Input::embed(case.tokens.clone())).collect();
        let outputs = answer(&choice, config, inputs);
        let largest = cases
            .iter()
            .zip(&outputs)
            .map(|(case, output)| difference(output, &Output::Embedding(case.embedding.clone())))
            .fold(0.0, f32::max);
        println!("all-MiniLM-L6-v2, {config}: largest difference to PyTorch {largest:e}");
        assert!(largest < 1e-5);
    }
}
