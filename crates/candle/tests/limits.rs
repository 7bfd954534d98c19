//! Memory budgets are kept, bad inputs and plans refused, and nothing is left behind.

#[allow(dead_code)]
mod common;

use common::{backend, devices, finish, generate, open, plan, tokens};
use statmux_candle::{CandleBackend, ModelChoice, ModelSource, SourceError};
use statmux_core::backend::{Backend, BackendError, Fault, Generate, Input, Sampling, Stage, Step};
use statmux_core::{Bytes, ModelId, ParallelConfig, Seed};

fn preset(name: &str) -> ModelChoice {
    ModelChoice::new(ModelSource::Preset { name: name.into(), seed: Seed(1) })
}

#[test]
fn a_model_that_does_not_fit_is_refused_in_bytes_and_leaves_nothing_behind() {
    let memory = Bytes::new(3_000_000);
    let backend = CandleBackend::new(&devices(2, memory), &[preset("gpt2-tiny")]).expect("the model exists");
    let error = backend.open(&plan(ParallelConfig::SINGLE, 0, 1)).err().expect("3.9 MB do not fit");
    assert_eq!(error.fault(), Fault::Capacity);
    assert!(error.to_string().contains("3000000 bytes"), "{error}");
    // Cut in two it fits the same devices, which a failed attempt must not have filled.
    let config = ParallelConfig::new(1, 2);
    let stages = open(&backend, config).expect("half the model fits");
    assert!(stages.iter().all(|stage| stage.memory() <= memory && stage.memory() > Bytes::new(1_500_000)));
}

#[test]
fn shards_share_the_weights() {
    let whole = backend(&preset("llama-tiny"), ParallelConfig::SINGLE);
    let whole = open(&whole, ParallelConfig::SINGLE).expect("fits")[0].memory().get();
    let config = ParallelConfig::new(4, 1);
    let quarter = backend(&preset("llama-tiny"), config);
    let quarter = open(&quarter, config).expect("fits")[0].memory().get();
    // Norms, and one of two key heads per shard instead of half of one, make it a little more than a quarter.
    assert!(quarter * 4 < whole * 12 / 10, "{quarter} of {whole}");
}

#[test]
fn caches_count_and_are_freed_with_their_flow() {
    let backend = backend(&preset("gpt2-tiny"), ParallelConfig::SINGLE);
    let mut stages = open(&backend, ParallelConfig::SINGLE).expect("fits");
    let stage = &mut stages[0];
    let loaded = stage.memory();
    let input = generate(tokens(10, 1), 30, Sampling::Greedy);
    let flow = backend.start(ModelId(0), vec![input.clone()]).expect("good");
    let Ok(Step::Again { flow, .. }) = stage.run(flow) else { panic!("thirty tokens need more than one lap") };
    let cache = 4 * 40 * 128 * 2 * 4;
    assert_eq!(stage.memory(), loaded + Bytes::new(cache));
    drop(flow);
    assert_eq!(stage.memory(), loaded);
    let flow = backend.start(ModelId(0), vec![input]).expect("good");
    finish(&mut stages, flow).expect("nothing fails");
    assert_eq!(stages[0].memory(), loaded);
}

#[test]
fn a_batch_that_does_not_fit_fails_alone() {
    let memory = Bytes::new(6_000_000);
    let backend = CandleBackend::new(&devices(1, memory), &[preset("gpt2-tiny")]).expect("the model exists");
    let mut stages = open(&backend, ParallelConfig::SINGLE).expect("3.9 MB fit");
    let long = vec![generate(tokens(500, 1), 12, Sampling::Greedy); 8];
    let flow = backend.start(ModelId(0), long).expect("the inputs are good");
    let error = finish(&mut stages, flow).expect_err("the caches do not fit");
    assert_eq!(error.fault(), Fault::Capacity);
    let flow = backend.start(ModelId(0), vec![generate(tokens(5, 1), 2, Sampling::Greedy)]).expect("good");
    finish(&mut stages, flow).expect("a small batch still runs");
}

#[test]
fn bad_inputs_are_refused_with_a_reason() {
    let backend = CandleBackend::new(&devices(1, Bytes::from_gib(1)), &[preset("bert-tiny"), preset("gpt2-tiny")])
        .expect("exist");
    let request = |change: fn(&mut Generate)| {
        let mut request = Generate {
            tokens: vec![5],
            max_new_tokens: 4,
            stop_tokens: vec![],
            stop_texts: vec![],
            sampling: Sampling::Greedy,
        };
        change(&mut request);
        Input::Generate(request)
    };
    let cases = [
        (0, Input::embed(vec![]), "no tokens"),
        (0, Input::embed(vec![1; 513]), "513 tokens; the model takes 512"),
        (0, Input::embed(vec![30_522]), "token 30522 is not in the vocabulary"),
        (0, Input::masked_logits(vec![1], vec![1]), "position 1 is beyond"),
        (0, request(|_| ()), "does not generate"),
        (1, Input::embed(vec![1]), "does not embed"),
        (1, request(|request| request.tokens.clear()), "no tokens"),
        (1, request(|request| request.tokens = vec![1; 512]), "leaves no room"),
        (1, request(|request| request.max_new_tokens = 0), "max_new_tokens"),
        (
            1,
            request(|request| request.sampling = Sampling::Draw { temperature: f64::NAN, top_p: 1.0, seed: 0 }),
            "temperature",
        ),
        (1, request(|request| request.sampling = Sampling::Draw { temperature: 1.0, top_p: 0.0, seed: 0 }), "top_p"),
    ];
    for (model, input, expected) in cases {
        let error = backend.start(ModelId(model), vec![input]).err().expect(expected);
        assert_eq!(error.fault(), Fault::Request);
        assert!(error.to_string().contains(expected), "{error} does not say \"{expected}\"");
    }
    assert!(backend.start(ModelId(0), vec![]).is_err());
    assert!(matches!(backend.card(ModelId(2)), Err(BackendError::BadPlan { .. })));
}

#[test]
fn bad_plans_are_refused_with_a_reason() {
    let backend = CandleBackend::new(&devices(8, Bytes::from_gib(1)), &[preset("bert-tiny")]).expect("exists");
    let cases = [
        (plan(ParallelConfig::new(8, 1), 0, 1), "4 attention heads"),
        (plan(ParallelConfig::new(1, 8), 0, 1), "4 layers"),
        (plan(ParallelConfig::new(1, 1), 1, 1), "no stage 1"),
        (plan(ParallelConfig::new(4, 4), 3, 1), "no device"),
        (plan(ParallelConfig::SINGLE, 0, 2), "no model"),
    ];
    for (plan, expected) in cases {
        let error = backend.open(&plan).err().expect(expected);
        assert_eq!(error.fault(), Fault::Setup);
        assert!(error.to_string().contains(expected), "{error} does not say \"{expected}\"");
    }
}

#[test]
fn an_unknown_name_is_answered_with_the_known_ones() {
    let error = ModelSource::parse("bert-huge", Seed(0)).expect_err("no such preset");
    assert!(matches!(&error, SourceError::Unknown { .. }));
    assert!(error.to_string().contains("bert-large"), "{error}");
}
