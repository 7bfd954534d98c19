//! Weight files that are damaged, or of another model, are refused with a reason.

#[allow(dead_code)]
mod common;

use common::{devices, plan, setup_fault};
use statmux_candle::{CandleBackend, ModelChoice, ModelSource};
use statmux_core::backend::{Backend, BackendError, Fault};
use statmux_core::{Bytes, ParallelConfig};
use std::fs;
use std::path::Path;

/// Loads a model from `folder`, and gives the reason why that failed.
fn failure(folder: &Path) -> String {
    let choice = ModelChoice::new(ModelSource::Directory(folder.to_owned()));
    let load = || -> Result<(), BackendError> {
        let backend = CandleBackend::new(&devices(1, Bytes::from_gib(1)), &[choice])?;
        backend.open(&plan(ParallelConfig::SINGLE, 0, 1)).map(drop)
    };
    let error = load().expect_err("the files are bad");
    setup_fault(&error)
}

/// A copy of the tiny BERT, changed by `change`.
fn changed(change: impl FnOnce(&Path)) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("there is room for a few files");
    let original = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join("fixtures").join("bert");
    for name in ["config.json", "model.safetensors"] {
        fs::copy(original.join(name), folder.path().join(name)).expect("the files are committed");
    }
    change(folder.path());
    folder
}

fn check(expected: &[&str], change: impl FnOnce(&Path)) {
    let folder = changed(change);
    let reason = failure(folder.path());
    for expected in expected {
        assert!(reason.contains(expected), "{reason} does not say \"{expected}\"");
    }
}

fn replace_in_config(folder: &Path, from: &str, to: &str) {
    let path = folder.join("config.json");
    let text = fs::read_to_string(&path).expect("copied");
    assert!(text.contains(from), "config.json has no {from}");
    fs::write(path, text.replace(from, to)).expect("writable");
}

/// Changes the header of the weights, whose length stays.
fn replace_in_header(folder: &Path, from: &str, to: &str) {
    assert_eq!(from.len(), to.len());
    let path = folder.join("model.safetensors");
    let mut bytes = fs::read(&path).expect("copied");
    let at = bytes.windows(from.len()).position(|window| window == from.as_bytes()).expect("the header has it");
    bytes[at..at + from.len()].copy_from_slice(to.as_bytes());
    fs::write(path, bytes).expect("writable");
}

#[test]
fn truncated_files_are_refused() {
    for keep in [0, 4, 100, 5000, 80_000] {
        check(&["model.safetensors", "truncated"], |folder| {
            let path = folder.join("model.safetensors");
            let bytes = fs::read(&path).expect("copied");
            fs::write(path, &bytes[..keep]).expect("writable");
        });
    }
}

#[test]
fn wrong_shapes_name_the_tensor_and_both_shapes() {
    check(&["bert.embeddings.word_embeddings.weight", "[64, 32]", "[65, 32]"], |folder| {
        replace_in_config(folder, "\"vocab_size\": 64", "\"vocab_size\": 65");
    });
    check(&["intermediate.dense.weight", "[48, 32]", "[40, 32]"], |folder| {
        replace_in_config(folder, "\"intermediate_size\": 48", "\"intermediate_size\": 40");
    });
}

#[test]
fn missing_tensors_are_named() {
    check(&["no tensor", "bert.encoder.layer.1.output.dense.weight"], |folder| {
        replace_in_header(
            folder,
            "bert.encoder.layer.1.output.dense.weight",
            "bert.encoder.layer.7.output.dense.weight",
        );
    });
    check(&["no tensor", "bert.encoder.layer.2.attention"], |folder| {
        replace_in_config(folder, "\"num_hidden_layers\": 2", "\"num_hidden_layers\": 3");
    });
}

#[test]
fn garbage_is_refused() {
    check(&["not a safetensors file"], |folder| replace_in_header(folder, "\"dtype\"", "\"dtipe\""));
    check(&["not a safetensors file", "[64, 33]"], |folder| replace_in_header(folder, "[64,32]", "[64,33]"));
    check(&["I32", "F16"], |folder| replace_in_header(folder, "F32", "I32"));
    check(&["header would be"], |folder| fs::write(folder.join("model.safetensors"), [0xff; 64]).expect("writable"));
    check(&["model.safetensors.index.json"], |folder| {
        fs::remove_file(folder.join("model.safetensors")).expect("copied");
    });
    check(&["config.json", "is not understood"], |folder| {
        fs::write(folder.join("config.json"), "{\"model_type\":\"bert\"}").expect("writable");
    });
    check(&["\"t5\"", "llama"], |folder| replace_in_config(folder, "\"bert\"", "\"t5\""));
    check(&["hidden_act", "swoosh"], |folder| replace_in_config(folder, "\"gelu\"", "\"swoosh\""));
    check(&["attention heads"], |folder| {
        replace_in_config(folder, "\"num_attention_heads\": 4", "\"num_attention_heads\": 0");
    });
}

#[test]
fn weights_may_lie_in_several_files() {
    let folder = changed(|folder| {
        fs::rename(folder.join("model.safetensors"), folder.join("model-00001-of-00001.safetensors")).expect("copied");
        let index =
            r#"{"weight_map": {"a": "model-00001-of-00001.safetensors", "b": "model-00001-of-00001.safetensors"}}"#;
        fs::write(folder.join("model.safetensors.index.json"), index).expect("writable");
    });
    let choice = ModelChoice::new(ModelSource::Directory(folder.path().to_owned()));
    let backend = CandleBackend::new(&devices(1, Bytes::from_gib(1)), &[choice]).expect("the files are good");
    backend.open(&plan(ParallelConfig::SINGLE, 0, 1)).expect("the tensors are there");
    let half = Bytes::new(40_000);
    let choice = ModelChoice::new(ModelSource::Directory(folder.path().to_owned()));
    let backend = CandleBackend::new(&devices(1, half), &[choice]).expect("the files are good");
    let error = backend.open(&plan(ParallelConfig::SINGLE, 0, 1)).err().expect("80 kB do not fit");
    assert_eq!(error.fault(), Fault::Capacity);
}
