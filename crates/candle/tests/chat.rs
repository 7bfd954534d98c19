//! Folders with a chat template are asked in its form.

#[allow(dead_code)]
mod common;

use common::devices;
use statmux_candle::{CandleBackend, ModelChoice, ModelSource};
use statmux_core::backend::{Backend, BackendError, ChatMessage, Fault, Finish, Output, Sampling, Text};
use statmux_core::{Bytes, ModelId, ParallelConfig};
use std::error::Error;
use std::fs;
use std::path::Path;
use std::sync::Arc;

/// The tiny Llama with a tokenizer and `files` beside it.
fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("there is room for a few files");
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join("fixtures");
    for name in ["config.json", "model.safetensors"] {
        fs::copy(fixtures.join("llama").join(name), folder.path().join(name)).expect("the files are committed");
    }
    // Written by hand: nine words between spaces, and `<s>` before each text unless asked not to.
    fs::copy(fixtures.join("words.json"), folder.path().join("tokenizer.json")).expect("the file is committed");
    for (name, text) in files {
        fs::write(folder.path().join(name), text).expect("writable");
    }
    folder
}

fn open(folder: &Path) -> Result<CandleBackend, BackendError> {
    let choice = ModelChoice::new(ModelSource::Directory(folder.to_owned()));
    CandleBackend::new(&devices(1, Bytes::from_gib(1)), &[choice])
}

fn text(folder: &Path) -> Arc<dyn Text> {
    open(folder).expect("it opens").text(ModelId(0)).expect("it is there").expect("it has a tokenizer")
}

fn say(role: &str, content: &str) -> ChatMessage {
    ChatMessage::said(role, content)
}

/// `<s>` once, then each turn.
const TEMPLATE: &str = "{{ bos_token }}{% for m in messages %}<turn> {{ m.role }} : {{ m.content }} {{ eos_token }}\
    {% endfor %}<turn> assistant :";
const PROMPT: [u32; 9] = [1, 3, 4, 8, 6, 2, 3, 5, 8];

#[test]
fn templates_are_found_wherever_they_are_kept() {
    let specials = r#""bos_token": "<s>", "eos_token": {"content": "</s>", "special": true}"#;
    let quoted = serde_json::to_string(TEMPLATE).expect("a text");
    let one = format!("{{{specials}, \"chat_template\": {quoted}}}");
    let several = format!(
        "{{{specials}, \"chat_template\": [{{\"name\": \"tool_use\", \"template\": \"tools\"}}, \
         {{\"name\": \"default\", \"template\": {quoted}}}]}}"
    );
    let none = format!("{{{specials}}}");
    let other = format!("{{{specials}, \"chat_template\": \"not this one\"}}");
    let places: [&[(&str, &str)]; 4] = [
        &[("tokenizer_config.json", &one)],
        &[("tokenizer_config.json", &several)],
        &[("tokenizer_config.json", &none), ("chat_template.jinja", TEMPLATE)],
        &[("tokenizer_config.json", &other), ("chat_template.jinja", TEMPLATE)],
    ];
    for files in places {
        let folder = folder(files);
        let text = text(folder.path());
        assert_eq!(text.chat(&[say("user", "hello")]).expect("it renders"), Some(PROMPT.to_vec()), "{files:?}");
        assert_eq!(text.encode("hello").expect("words"), [1, 6], "a text gets its special tokens");
    }
    assert_eq!(text(folder(&[]).path()).chat(&[say("user", "hello")]).expect("nothing to render"), None);
}

#[test]
fn the_token_that_ends_a_turn_ends_the_answer() {
    // The tiny model says something; the first word it says becomes the end of a turn.
    let answer = |folder: &Path| {
        let choice = ModelChoice::new(ModelSource::Directory(folder.to_owned()));
        let input = common::generate(vec![1, 3, 4], 4, Sampling::Greedy);
        common::answer(&choice, ParallelConfig::SINGLE, vec![input]).remove(0)
    };
    let plain = folder(&[]);
    let Output::Generated { tokens, .. } = answer(plain.path()) else { panic!("a decoder generates") };
    let first = tokens[0];
    let named = folder(&[("tokenizer_config.json", r#"{"eos_token": "stop"}"#)]);
    let path = named.path().join("tokenizer.json");
    let vocabulary = fs::read_to_string(&path).expect("written").replace("\":\": 8", &format!("\"stop\": {first}"));
    fs::write(path, vocabulary).expect("writable");
    let ended = answer(named.path());
    assert_eq!(ended, Output::Generated { tokens: vec![], finish: Finish::Stop });
}

#[test]
fn templates_that_cannot_be_used_name_their_file() {
    let check = |files: &[(&str, &str)], expected: &[&str]| {
        let folder = folder(files);
        let error = open(folder.path()).err().expect("the template is bad");
        assert_eq!(error.fault(), Fault::Setup);
        let reason = error.source().expect("a cause").to_string();
        for expected in expected {
            assert!(reason.contains(expected), "{reason} does not say \"{expected}\"");
        }
    };
    check(&[("chat_template.jinja", "{% if %}")], &["chat_template.jinja", "syntax error"]);
    check(&[("tokenizer_config.json", r#"{"chat_template": "{{ a"}"#)], &["tokenizer_config.json", "syntax error"]);
    let unnamed = r#"{"chat_template": [{"name": "rag", "template": "x"}]}"#;
    check(&[("tokenizer_config.json", unnamed)], &["tokenizer_config.json", "\"default\"", "rag"]);
    check(&[("tokenizer_config.json", "{")], &["tokenizer_config.json"]);
}

#[test]
fn what_a_template_raises_is_the_fault_of_the_request() {
    let folder = folder(&[("chat_template.jinja", "{{ raise_exception('only users may speak') }}")]);
    let error = text(folder.path()).chat(&[say("tool", "x")]).expect_err("it raises");
    assert_eq!((error.fault(), error.to_string().as_str()), (Fault::Request, "only users may speak"));
}
