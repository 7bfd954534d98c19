//! Models from folders, served by the real backend: what their files say, and what becomes of bad ones.
#![cfg(all(feature = "candle", unix))]

mod common;

use common::Session;
use common::serving::Serving;
use std::fs;
use std::path::{Path, PathBuf};

/// A scenario whose two models are the folders `good` and `other`, each alone on a device.
fn session() -> Session {
    let session = Session::new(|text| {
        let model = |name: &str| {
            format!("[[models]]\nname = \"{name}\"\nprofile = \"small\"\nsource = \"{name}\"\nslo = \"none\"\n\n")
        };
        let (before, rest) = text.split_once("[[models]]").expect("the scenario has models");
        let (_, after) = rest.split_once("[workload]").expect("and a workload");
        format!("{before}{}{}[workload]{after}", model("good"), model("other"))
    });
    let group = |device: u32, model: &str| {
        format!("{{\"devices\": [{device}], \"op\": 1, \"pp\": 1, \"models\": [\"{model}\"]}}")
    };
    let groups = [group(0, "good"), group(1, "other")].join(", ");
    session.write("p.json", &format!("{{\"version\": 1, \"windows\": [{{\"groups\": [{groups}]}}]}}"));
    for name in ["good", "other"] {
        folder(&session, name);
    }
    session
}

/// The tiny Llama that the real backend is tested with, and its tokenizer of nine words.
fn folder(session: &Session, name: &str) -> PathBuf {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../candle/tests/fixtures");
    let folder = session.folder().join(name);
    fs::create_dir(&folder).expect("the session is ours");
    for name in ["config.json", "model.safetensors"] {
        fs::copy(fixtures.join("llama").join(name), folder.join(name)).expect("the files are committed");
    }
    fs::copy(fixtures.join("words.json"), folder.join("tokenizer.json")).expect("the file is committed");
    folder
}

fn chat(server: &Serving, model: &str, role: &str) -> (u16, serde_json::Value) {
    let body = format!(
        "{{\"model\": \"{model}\", \"max_tokens\": 1, \"messages\": [{{\"role\": \"{role}\", \"content\": \"hello there\"}}]}}"
    );
    let (status, answer) = server.ask("POST", "/v1/chat/completions", "", &body);
    let (_, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    (status, serde_json::from_str(body).expect("JSON"))
}

#[test]
fn chats_use_the_template_of_the_folder() {
    let session = session();
    session.write(
        "good/chat_template.jinja",
        "{{ bos_token }}{% for m in messages %}{% if m.role == 'tool' %}{{ raise_exception('No tools here.') }}{% endif %}\
         <turn> {{ m.content }}{% endfor %}",
    );
    session.write("good/tokenizer_config.json", "{\"bos_token\": \"<s>\"}");
    let server = Serving::start_on("candle", &session, "--placement p.json");
    let (status, answer) = chat(&server, "good", "user");
    assert_eq!((status, &answer["usage"]["prompt_tokens"]), (200, &4.into()), "<s> <turn> hello there: {answer}");
    let (status, answer) = chat(&server, "other", "user");
    assert_eq!((status, &answer["usage"]["prompt_tokens"]), (200, &7.into()), "<s> and lines of words: {answer}");
    let (status, answer) = chat(&server, "good", "tool");
    assert_eq!((status, &answer["error"]["message"]), (400, &"No tools here.".into()));
    assert_eq!(answer["error"]["reason"], "bad_input");
    assert_eq!(server.terminate(), Some(0));
}

#[test]
fn files_that_are_broken_on_their_face_are_refused_before_anything_is_served() {
    let session = session();
    session.write("other/chat_template.jinja", "{% for m in messages %}");
    session.refuses("serve s.toml --placement p.json", &["chat_template.jinja", "syntax error"]);
    session.write("other/chat_template.jinja", "");
    let weights = session.folder().join("other/model.safetensors");
    let bytes = fs::read(&weights).expect("copied");
    fs::write(&weights, &bytes[..bytes.len() / 2]).expect("writable");
    session.refuses("serve s.toml --placement p.json", &["model.safetensors", "truncated"]);
}

#[test]
fn weights_of_the_wrong_shape_take_their_group_out_and_the_others_serve() {
    let session = session();
    let config = session.read("other/config.json");
    session.write("other/config.json", &config.replace("\"intermediate_size\": 48", "\"intermediate_size\": 40"));
    let server = Serving::start_on("candle", &session, "--placement p.json");
    let (_, placement) = server.ask("GET", "/admin/placement", "", "");
    assert!(placement.contains("\"taken_out\"") && placement.contains("[48, 32]"), "{placement}");
    assert_eq!(chat(&server, "good", "user").0, 200);
    let (status, answer) = chat(&server, "other", "user");
    assert_eq!((status, &answer["error"]["reason"]), (503, &"no_replica".into()));
    // A placement of nothing else cannot be started: the one before serves again.
    let alone = r#"{"version": 1, "windows": [{"groups": [{"op": 1, "pp": 1, "models": ["other"]}]}]}"#;
    let (status, answer) = server.ask("PUT", "/admin/placement", "", alone);
    assert_eq!(status, 500, "{answer}");
    assert!(answer.contains("the one before serves again") && answer.contains("[48, 32]"), "{answer}");
    assert_eq!(chat(&server, "good", "user").0, 200);
    assert_eq!(server.terminate(), Some(0));
}
