//! Memory budgets are kept, bad inputs and plans refused, and nothing is left behind.

#[allow(dead_code)]
mod common;

use common::{backend, devices, finish, generate, open, plan, tokens};
use statmux_candle::{CandleBackend, ModelChoice, ModelSource, SourceError};
use statmux_core::backend::{Backend, BackendError, Fault, Generate, Input, Output, Passage, Sampling, Stage, Step};
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
fn answers_count_before_they_are_made_and_positions_may_repeat() {
    let stages_with = |memory: Bytes, config: ParallelConfig| {
        let backend =
            CandleBackend::new(&devices(config.devices(), memory), &[preset("bert-tiny")]).expect("it exists");
        let stages = open(&backend, config).expect("it fits");
        (backend, stages)
    };
    let guess = |positions: Vec<u32>| Input::masked_logits(tokens(20, 1), positions);
    for config in [ParallelConfig::SINGLE, ParallelConfig::new(2, 1), ParallelConfig::new(1, 2)] {
        let (_, stages) = stages_with(Bytes::from_gib(4), config);
        let loaded = stages.iter().map(|stage| stage.memory().get()).max().expect("there is a stage");
        // Room for some answers of 30,522 values, not for hundreds.
        let (backend, mut stages) = stages_with(Bytes::new(loaded + 20_000_000), config);
        let mut run = |inputs: Vec<Input>| finish(&mut stages, backend.start(ModelId(0), inputs).expect("good inputs"));
        for inputs in [
            vec![guess(vec![3; 512])],
            vec![guess((0..20).cycle().take(300).collect())],
            vec![guess((0..20).collect()); 16],
        ] {
            let error = run(inputs).expect_err("the answers do not fit");
            assert_eq!(error.fault(), Fault::Capacity, "{error}");
            assert!(error.to_string().contains("answers"), "{error}");
        }
        let Output::MaskedLogits(some) = run(vec![guess(vec![19, 3, 3, 0, 19])]).expect("a few fit").0.remove(0) else {
            panic!("asked for logits")
        };
        assert!(some[0] == some[4] && some[1] == some[2] && some[0] != some[1] && some[1] != some[3]);
        let (backend, mut stages) = stages_with(Bytes::from_gib(4), config);
        let mut run = |inputs: Vec<Input>| finish(&mut stages, backend.start(ModelId(0), inputs).expect("good inputs"));
        let Output::MaskedLogits(all) =
            run(vec![guess((0..20).cycle().take(200).collect())]).expect("fits").0.remove(0)
        else {
            panic!("asked for logits")
        };
        assert!(all.iter().enumerate().all(|(index, logits)| *logits == all[index % 20]) && all.len() == 200);
        assert!(all[3].iter().zip(&some[1]).all(|(a, b)| (a - b).abs() < 1e-4));
        assert!(stages.iter().all(|stage| stage.memory().get() <= loaded), "all is free again");
    }
}

#[test]
fn what_waits_between_stages_counts() {
    let config = ParallelConfig::new(1, 2);
    let backend = backend(&preset("bert-tiny"), config);
    let mut stages = open(&backend, config).expect("it fits");
    let loaded = stages[0].memory();
    let flow = backend.start(ModelId(0), vec![Input::embed(tokens(300, 1)); 2]).expect("good inputs");
    let Ok(Step::Next(flow)) = stages[0].run(flow) else { panic!("there are two stages") };
    assert_eq!(stages[0].memory(), loaded + Bytes::new(2 * 300 * 128 * 4));
    let Ok(Step::Done(_)) = stages[1].run(flow) else { panic!("there are two stages") };
    assert_eq!(stages[0].memory(), loaded);
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
    let masked = |mask: Vec<bool>, positions: Vec<u32>| {
        let passage = Passage { mask: Some(mask), ..Passage::new(vec![5; 3]) };
        Input::MaskedLogits { passage, positions }
    };
    let cases = [
        (0, Input::embed(vec![]), "no tokens"),
        (0, Input::embed(vec![1; 513]), "513 tokens; the model takes 512"),
        (0, Input::embed(vec![30_522]), "token 30522 is not in the vocabulary"),
        (0, Input::masked_logits(vec![1], vec![1]), "position 1 is beyond"),
        (0, Input::masked_logits(vec![1], vec![0; 513]), "513 positions"),
        (0, masked(vec![true, false, true], vec![0, 1]), "position 1 is padding"),
        (0, masked(vec![true, false], vec![0]), "2 entries for 3 tokens"),
        (0, masked(vec![false; 3], vec![0]), "leaves no token"),
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
