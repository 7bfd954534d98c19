//! The backend does what every backend must do.

#[allow(dead_code)]
mod common;

use common::{backend, devices, encoder_inputs, generate, open, tokens};
use statmux_candle::{CandleBackend, ModelChoice, ModelSource};
use statmux_core::backend::{Backend, Input, Output, Passage, Sampling, Stage, Step};
use statmux_core::{Bytes, GroupId, ModelId, ParallelConfig, Seed};
use statmux_serve::conformance::{Subject, all};

fn preset(name: &str) -> ModelChoice {
    ModelChoice::new(ModelSource::Preset { name: name.into(), seed: Seed(5) })
}

/// Of different lengths, for prompts and answers.
fn decoder_inputs() -> Vec<Input> {
    let drawn = Sampling::Draw { temperature: 0.8, top_p: 0.95, seed: 3 };
    vec![
        generate(tokens(12, 1), 9, Sampling::Greedy),
        generate(tokens(3, 2), 4, drawn),
        generate(tokens(33, 3), 1, drawn),
        generate(tokens(7, 4), 6, drawn),
    ]
}

#[test]
fn every_architecture_conforms_however_it_is_cut() {
    for name in ["bert-tiny", "moe-tiny", "gpt2-tiny", "llama-tiny"] {
        for config in [ParallelConfig::SINGLE, ParallelConfig::new(2, 1), ParallelConfig::new(2, 2)] {
            let backend = backend(&preset(name), config);
            let inputs =
                if name.contains("gpt") || name.contains("llama") { decoder_inputs() } else { encoder_inputs() };
            let subject =
                Subject { backend: &backend, model: ModelId(0), config, group: GroupId(0), inputs, tolerance: 1e-5 };
            all(&subject);
        }
    }
}

#[test]
fn keys_and_values_of_members_that_end_are_free_at_once() {
    for name in ["gpt2-tiny", "llama-tiny"] {
        let backend = CandleBackend::new(&devices(1, Bytes::from_gib(1)), &[preset(name)]).expect("the model exists");
        let mut stages = open(&backend, ParallelConfig::SINGLE).expect("it fits");
        let stage = &mut stages[0];
        let idle = stage.memory();
        // The third has said all it may after the first lap.
        let flow = backend.start(ModelId(0), decoder_inputs()).expect("good inputs");
        let Ok(Step::Again { flow, .. }) = stage.run(flow) else { panic!("nine tokens need more than one lap") };
        let held = (stage.memory().get() - idle.get()) as f64;
        let (rows, after_one) = ((12 + 9) + (3 + 4) + (7 + 6), (12 + 9) + (7 + 6));
        let Step::Again { flow, .. } = backend.end(flow, &[1, 2]) else { panic!("two go on") };
        let still = (stage.memory().get() - idle.get()) as f64;
        assert!((still / held - f64::from(after_one) / f64::from(rows)).abs() < 1e-9, "{name}: {still} of {held}");
        let Step::Done(_) = backend.end(flow, &[0, 1, 3]) else { panic!("nobody is left") };
        assert_eq!(stage.memory(), idle);
    }
}

#[test]
fn token_types_reach_the_model_and_leave_batch_mates_alone() {
    let backend = backend(&preset("bert-tiny"), ParallelConfig::SINGLE);
    let mut stages = open(&backend, ParallelConfig::SINGLE).expect("it fits");
    let mut run = |inputs: Vec<Input>| {
        let flow = backend.start(ModelId(0), inputs).expect("good inputs");
        common::finish(&mut stages, flow).expect("nothing fails").0
    };
    let pair = |types: Vec<u32>| Input::Embed(Passage { types: Some(types), ..Passage::new(tokens(4, 1)) });
    let plain = run(vec![Input::embed(tokens(4, 1))]);
    assert_eq!(run(vec![pair(vec![0; 4])]), plain);
    let typed = run(vec![pair(vec![0, 0, 1, 1])]);
    assert!(common::difference(&typed[0], &plain[0]) > 1e-3, "the types make a difference");
    let together = run(vec![Input::embed(tokens(4, 1)), pair(vec![0, 0, 1, 1])]);
    let near = |a: &[Output], b: &[Output]| a.iter().zip(b).all(|(a, b)| common::difference(a, b) < 1e-6);
    assert!(near(&together, &[plain, typed].concat()));
    // Types move with their tokens where padding goes.
    let mask = vec![false, true, true, false, true, true];
    let words = tokens(4, 1);
    let padded = Passage {
        tokens: vec![9, words[0], words[1], 9, words[2], words[3]],
        mask: Some(mask),
        types: Some(vec![1, 0, 0, 0, 1, 1]),
    };
    assert!(near(&run(vec![Input::Embed(padded)]), &together[1..]));
}
