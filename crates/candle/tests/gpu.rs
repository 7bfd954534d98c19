//! On GPUs models answer as on the processor, however they are cut: compiled with `--features cuda`, and wants a GPU.
//!
//! With one GPU the devices share it; with several, stages and shards lie on different ones.
#![cfg(feature = "cuda")]

#[allow(dead_code)]
mod common;

use common::assert_same_answers_on;
use statmux_candle::{DeviceKind, gpus};

#[test]
fn models_answer_on_gpus_as_on_the_processor() {
    let gpus = gpus().expect("the driver can be asked");
    assert!(gpus > 0, "there is no GPU");
    assert_same_answers_on(|device| DeviceKind::Cuda(device % gpus));
}
