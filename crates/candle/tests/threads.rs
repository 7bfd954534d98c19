//! Devices do not get in each other's way: all of a device's work is done by its own thread.
//!
//! This is the only test of its binary, so that no other test's threads are counted.
#![cfg(target_os = "linux")]

#[allow(dead_code)]
mod common;

use common::{backend, finish, generate, open, tokens};
use statmux_candle::{ModelChoice, ModelSource};
use statmux_core::backend::{Backend, Input, Sampling};
use statmux_core::{ModelId, ParallelConfig, Seed};
use std::fs;

/// How many threads this process has.
fn threads() -> usize {
    fs::read_dir("/proc/self/task").expect("Linux lists threads").count()
}

#[test]
fn no_thread_is_started_by_running_a_model() {
    let config = ParallelConfig::new(2, 2);
    // Threads of a dropped backend end in their own time, which would spoil the count.
    let mut kept = Vec::new();
    for name in ["bert-mini", "moe-tiny", "llama-tiny"] {
        let choice = ModelChoice::new(ModelSource::Preset { name: name.into(), seed: Seed(0) });
        let backend = backend(&choice, config);
        let before = threads();
        let mut stages = open(&backend, config).expect("the model fits");
        let input = match name {
            "llama-tiny" => generate(tokens(200, 1), 5, Sampling::Greedy),
            _ => Input::embed(tokens(200, 1)),
        };
        let flow = backend.start(ModelId(0), vec![input]).expect("the input is good");
        finish(&mut stages, flow).expect("nothing fails");
        assert_eq!(threads(), before, "running {name} started threads");
        kept.push(backend);
    }
}
