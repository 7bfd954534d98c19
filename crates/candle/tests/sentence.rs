//! Folders of sentence-transformers answer as sentence-transformers does, or are refused. See
//! `scripts/make_sentence_fixtures.py`.

#[allow(dead_code)]
mod common;

use common::{answer, backend, devices, difference, setup_fault};
use serde::Deserialize;
use statmux_candle::{CandleBackend, ModelChoice, ModelSource};
use statmux_core::backend::{Backend, Fault, Input, Output, Passage};
use statmux_core::{Bytes, ModelId, ParallelConfig};
use std::fs;
use std::path::{Path, PathBuf};

#[derive(Deserialize)]
struct Expected {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    tokens: Vec<u32>,
    padding: usize,
    types: Vec<u32>,
    embedding: Vec<f32>,
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join("fixtures")
}

/// Copies a folder with all that is in it.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("there is room");
    for entry in fs::read_dir(from).expect("it is committed") {
        let path = entry.expect("it is readable").path();
        let target = to.join(path.file_name().expect("entries have names"));
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, target).expect("there is room");
        }
    }
}

/// The tiny BERT, with what `sentence` says of it if that is not empty.
fn folder(sentence: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("there is room for a few files");
    copy(&fixtures().join("bert"), folder.path());
    if !sentence.is_empty() {
        copy(&fixtures().join("sentence").join(sentence), folder.path());
    }
    folder
}

fn choice(folder: &Path) -> ModelChoice {
    ModelChoice::new(ModelSource::Directory(folder.to_owned()))
}

fn write(folder: &Path, name: &str, text: &str) {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().expect("it is in the folder")).expect("there is room");
    fs::write(path, text).expect("there is room");
}

#[test]
fn every_pooling_and_layer_answers_as_the_reference_does_wherever_padding_stands() {
    let mut seen = 0;
    for entry in fs::read_dir(fixtures().join("sentence")).expect("it is committed") {
        let name = entry.expect("it is readable").file_name().into_string().expect("plain names");
        let folder = folder(&name);
        let text = fs::read(fixtures().join("sentence").join(&name).join("expected.json")).expect("it is committed");
        let Expected { cases } = serde_json::from_slice(&text).expect("the script writes what we read");
        for config in [ParallelConfig::SINGLE, ParallelConfig::new(2, 2)] {
            let card = backend(&choice(folder.path()), config).card(ModelId(0)).expect("there is a model");
            assert_eq!((card.embedding as usize, card.hidden), (cases[0].embedding.len(), 32), "{name}");
            // The reference has its padding at the end; before, between and behind the tokens it changes nothing.
            for shift in 0..3 {
                let input = |case: &Case| {
                    let mut passage = Passage { mask: Some(Vec::new()), types: Some(Vec::new()), ..Passage::default() };
                    let mut push = |token: u32, kind: u32, there: bool| {
                        passage.tokens.push(token);
                        passage.types.get_or_insert_default().push(kind);
                        passage.mask.get_or_insert_default().push(there);
                    };
                    for (place, (&token, &kind)) in case.tokens.iter().zip(&case.types).enumerate() {
                        if shift > 0 && case.padding > 0 && place % shift == 0 {
                            push(7, 1, false);
                        }
                        push(token, kind, true);
                    }
                    (0..case.padding).for_each(|_| push(0, 0, false));
                    Input::Embed(passage)
                };
                let outputs = answer(&choice(folder.path()), config, cases.iter().map(input).collect());
                for (case, output) in cases.iter().zip(&outputs) {
                    let difference = difference(output, &Output::Embedding(case.embedding.clone()));
                    assert!(difference < 2e-5, "{name}, {config}, {:?}: {difference}", case.tokens);
                }
            }
        }
        seen += 1;
    }
    assert!(seen >= 10, "{seen} folders");
}

#[test]
fn folders_without_modules_are_pooled_as_they_say_and_normalised() {
    let embed = |pooling: Option<&str>| {
        let folder = folder("");
        if let Some(pooling) = pooling {
            write(folder.path(), "1_Pooling/config.json", pooling);
        }
        let input = Input::embed(vec![1, 17, 33, 5]);
        match answer(&choice(folder.path()), ParallelConfig::SINGLE, vec![input]).remove(0) {
            Output::Embedding(vector) => vector,
            other => panic!("{other:?}"),
        }
    };
    let plain = embed(None);
    let vectors =
        [plain.clone(), embed(Some(r#"{"pooling_mode_cls_token": true}"#)), embed(Some(r#"{"pooling_mode": "max"}"#))];
    assert!(vectors.iter().all(|vector| (vector.iter().map(|x| x * x).sum::<f32>() - 1.0).abs() < 1e-5));
    assert!(vectors[0] != vectors[1] && vectors[0] != vectors[2] && vectors[1] != vectors[2]);
    assert_eq!(embed(Some("{}")), plain);
}

/// Why the model of `folder` is refused.
fn failure(folder: &Path) -> String {
    let error = CandleBackend::new(&devices(1, Bytes::from_gib(1)), &[choice(folder)]).err().expect("it is refused");
    setup_fault(&error)
}

#[test]
fn what_is_not_known_is_refused_by_file_and_reason() {
    let check = |sentence: &str, file: &str, text: &str, expected: &[&str]| {
        let folder = folder(sentence);
        write(folder.path(), file, text);
        let reason = failure(folder.path());
        for expected in expected {
            assert!(reason.contains(expected), "{reason} does not say \"{expected}\"");
        }
    };
    let module = |path: &str, kind: &str| {
        let first = r#"{"path": "", "type": "sentence_transformers.models.Transformer"}"#;
        let pooling = r#"{"path": "1_Pooling", "type": "sentence_transformers.models.Pooling"}"#;
        format!(r#"[{first}, {pooling}, {{"path": "{path}", "type": "{kind}"}}]"#)
    };
    let modules = "modules.json";
    check("cls", modules, &module("2_CNN", "sentence_transformers.models.CNN"), &[modules, "CNN", "Dense"]);
    check("cls", modules, &module("2", "my_code.Normalize"), &[modules, "my_code.Normalize", "not known"]);
    check("cls", modules, &module("../x", "sentence_transformers.models.Dense"), &[modules, "in the folder"]);
    check("cls", modules, &module("", "sentence_transformers.models.Pooling"), &[modules, "cannot be used"]);
    check("cls", modules, r#"[{"path": "", "type": "sentence_transformers.models.Transformer"}]"#, &["no Pooling"]);
    check("cls", modules, r#"[{"path": "", "type": "sentence_transformers.models.BoW"}]"#, &["must be a Transformer"]);
    check("cls", modules, "[{", &[modules]);
    check("dense", modules, &module("3_Dense", "sentence_transformers.models.Dense"), &["takes 24 values, but 64"]);
    check("cls", modules, &module("9_Dense", "sentence_transformers.models.Dense"), &["9_Dense", "no such file"]);
    let pooling = "1_Pooling/config.json";
    check("cls", pooling, r#"{"pooling_mode": "attention"}"#, &[pooling, "attention", "weightedmean"]);
    check("cls", pooling, r#"{"pooling_mode": ["cls", "best"]}"#, &[pooling, "best"]);
    check("cls", pooling, r#"{"pooling_mode_new_tokens": true}"#, &[pooling, "pooling_mode_new_tokens", "lasttoken"]);
    check("cls", pooling, r#"{"pooling_mode_cls_token": "yes"}"#, &[pooling, "not understood"]);
    check("", pooling, r#"{"pooling_mode": "attention"}"#, &[pooling, "attention"]);
    let dense = "2_Dense/config.json";
    let layer = |more: &str| format!(r#"{{"in_features": 64, "out_features": 24, {more}}}"#);
    check("dense", dense, &layer(r#""activation_function": "my.Swoosh""#), &[dense, "my.Swoosh", "Tanh"]);
    check("dense", dense, &layer(r#""module_input_name": "token_embeddings""#), &[dense, "token_embeddings"]);
    check("dense", dense, &layer(r#""use_residual": true"#), &[dense, "use_residual"]);
    let prompts = r#"{"prompts": {"query": "q: "}, "default_prompt_name": "document"}"#;
    check("cls", "config_sentence_transformers.json", prompts, &["config_sentence_transformers.json", "document"]);

    let folder = folder("dense");
    fs::rename(folder.path().join("2_Dense/model.safetensors"), folder.path().join("2_Dense/pytorch_model.bin"))
        .expect("it is there");
    assert!(failure(folder.path()).contains("save them as model.safetensors"));

    let decoder = tempfile::tempdir().expect("there is room for a few files");
    copy(&fixtures().join("gpt2"), decoder.path());
    copy(&fixtures().join("sentence").join("lasttoken"), decoder.path());
    assert!(failure(decoder.path()).contains("decoder (gpt2)"));
}

#[test]
fn an_encoder_may_have_a_folder_of_its_own_and_is_measured_by_it() {
    let outer = folder("cls");
    let inner = outer.path().join("0_Transformer");
    fs::create_dir(&inner).expect("there is room");
    for name in ["config.json", "model.safetensors"] {
        fs::rename(outer.path().join(name), inner.join(name)).expect("it is there");
    }
    let modules = fs::read_to_string(outer.path().join("modules.json")).expect("it is there");
    write(outer.path(), "modules.json", &modules.replacen(r#""path": """#, r#""path": "0_Transformer""#, 1));
    write(outer.path(), "0_Transformer/sentence_bert_config.json", r#"{"max_seq_length": 5, "do_lower_case": false}"#);
    let inputs = |length: usize| vec![Input::embed(vec![3; length])];
    let whole = answer(&choice(folder("cls").path()), ParallelConfig::SINGLE, inputs(5));
    assert_eq!(answer(&choice(outer.path()), ParallelConfig::SINGLE, inputs(5)), whole);
    let backend = backend(&choice(outer.path()), ParallelConfig::SINGLE);
    assert_eq!(backend.card(ModelId(0)).expect("there is a model").max_tokens, 5);
    let error = backend.start(ModelId(0), inputs(6)).err().expect("it is too long");
    assert!(error.fault() == Fault::Request && error.to_string().contains("6 tokens; the model takes 5"), "{error}");
}

#[test]
fn dense_layers_count_against_the_memory_of_their_device() {
    let memory = |sentence: &str| {
        let config = ParallelConfig::new(2, 1);
        let backend = backend(&choice(folder(sentence).path()), config);
        let stage = common::open(&backend, config).expect("it fits").remove(0);
        statmux_core::backend::Stage::memory(&stage).get()
    };
    assert_eq!(memory("dense") - memory("mean"), 4 * (64 * 24 + 24 + 24 * 10));
}

#[test]
fn texts_are_lowered_and_prompted_as_the_folder_says() {
    let outer = folder("mean");
    let tokenizer = r#"{"version": "1.0", "added_tokens": [
        {"id": 2, "content": "</s>", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true}],
        "normalizer": null, "pre_tokenizer": {"type": "Whitespace"}, "decoder": null,
        "truncation": {"direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 0},
        "padding": {"strategy": {"Fixed": 9}, "direction": "Left", "pad_to_multiple_of": null, "pad_id": 0, "pad_type_id": 0, "pad_token": "?"},
        "post_processor": {"type": "TemplateProcessing",
            "single": [{"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": "</s>", "type_id": 0}}], "pair": [],
            "special_tokens": {"</s>": {"id": "</s>", "ids": [2], "tokens": ["</s>"]}}},
        "model": {"type": "WordLevel", "vocab": {"?": 0, "q": 1, "</s>": 2, "a": 3, "b": 4, "B": 5, "c": 6}, "unk_token": "?"}}"#;
    write(outer.path(), "tokenizer.json", tokenizer);
    let tokens = |text: &str| {
        let backend = backend(&choice(outer.path()), ParallelConfig::SINGLE);
        backend.text(ModelId(0)).expect("a model").expect("it has a tokenizer").encode(text).expect("any text")
    };
    // Neither cut nor padded, whatever the tokenizer's own settings are.
    assert_eq!(tokens("a B </s> c a b"), [3, 5, 2, 6, 3, 4, 2]);
    write(outer.path(), "sentence_bert_config.json", r#"{"do_lower_case": true}"#);
    assert_eq!(tokens("a B </s> C"), [3, 4, 2, 6, 2]);
    let prompts = r#"{"prompts": {"query": "q ", "none": ""}, "default_prompt_name": "query"}"#;
    write(outer.path(), "config_sentence_transformers.json", prompts);
    assert_eq!(tokens("a b"), [1, 3, 4, 2]);

    // The prompt is read, and counts in the pooling unless it must not.
    let embed =
        |tokens: Vec<u32>| answer(&choice(outer.path()), ParallelConfig::SINGLE, vec![Input::embed(tokens)]).remove(0);
    let with_prompt = embed(vec![1, 3, 4, 2]);
    write(outer.path(), "1_Pooling/config.json", r#"{"pooling_mode": "cls", "include_prompt": false}"#);
    let second = embed(vec![1, 3, 4, 2]);
    assert!(difference(&with_prompt, &second) > 1e-3);
    write(outer.path(), "1_Pooling/config.json", r#"{"pooling_mode": "cls"}"#);
    assert!(difference(&embed(vec![1, 3, 4, 2]), &second) > 1e-3, "the first token after the prompt, not the prompt's");
}
