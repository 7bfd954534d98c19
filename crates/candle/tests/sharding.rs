//! However a model is cut, it gives the same answer.

#[allow(dead_code)]
mod common;

use common::{answer, backend, difference, encoder_inputs, finish, generate, generated, open, tokens};
use statmux_candle::{ModelChoice, ModelSource};
use statmux_core::backend::{Backend, Finish, Input, Output, Sampling};
use statmux_core::{ModelId, ParallelConfig, Seed};

const CONFIGS: [(u32, u32); 9] = [(1, 1), (1, 2), (1, 4), (2, 1), (2, 2), (2, 4), (4, 1), (4, 2), (4, 4)];

fn preset(name: &str) -> ModelChoice {
    ModelChoice::new(ModelSource::Preset { name: name.into(), seed: Seed(11) })
}

#[test]
fn encoders_answer_the_same_however_they_are_cut() {
    for name in ["bert-tiny", "moe-tiny"] {
        let whole = answer(&preset(name), ParallelConfig::SINGLE, encoder_inputs());
        let Output::Embedding(vector) = &whole[0] else { panic!("asked for an embedding") };
        assert!((vector.iter().map(|x| x * x).sum::<f32>() - 1.0).abs() < 1e-5);
        for (op, pp) in CONFIGS {
            let cut = answer(&preset(name), ParallelConfig::new(op, pp), encoder_inputs());
            for (whole, cut) in whole.iter().zip(&cut) {
                let difference = difference(whole, cut);
                assert!(difference < 1e-4, "{name}, op {op}, pp {pp}: {difference}");
            }
        }
    }
}

#[test]
fn decoders_answer_the_same_however_they_are_cut() {
    let drawn = Sampling::Draw { temperature: 0.8, top_p: 0.95, seed: 3 };
    let inputs = || {
        vec![
            generate(tokens(12, 1), 9, Sampling::Greedy),
            generate(tokens(1, 2), 4, drawn),
            generate(tokens(33, 3), 12, drawn),
        ]
    };
    for name in ["gpt2-tiny", "llama-tiny"] {
        let whole = answer(&preset(name), ParallelConfig::SINGLE, inputs());
        assert_eq!(whole.iter().map(|output| generated(output).0.len()).collect::<Vec<_>>(), [9, 4, 12]);
        for (op, pp) in CONFIGS {
            let cut = answer(&preset(name), ParallelConfig::new(op, pp), inputs());
            assert_eq!(whole, cut, "{name}, op {op}, pp {pp}");
        }
    }
}

#[test]
fn an_answer_does_not_depend_on_what_shares_its_batch() {
    let config = ParallelConfig::new(2, 2);
    let together = answer(&preset("moe-tiny"), config, encoder_inputs());
    for (input, together) in encoder_inputs().into_iter().zip(&together) {
        let alone = answer(&preset("moe-tiny"), config, vec![input]);
        assert!(difference(&alone[0], together) < 1e-5);
    }
}

/// With a cache a token costs one row; without one the whole text is computed again. Both must agree.
#[test]
fn the_cache_changes_nothing() {
    for name in ["gpt2-tiny", "llama-tiny"] {
        let choice = preset(name);
        let backend = backend(&choice, ParallelConfig::SINGLE);
        let mut stages = open(&backend, ParallelConfig::SINGLE).expect("the model fits");
        let mut next = |prompt: &[u32], count| {
            let input = generate(prompt.to_vec(), count, Sampling::Greedy);
            let flow = backend.start(ModelId(0), vec![input]).expect("the input is good");
            generated(&finish(&mut stages, flow).expect("nothing fails").0[0]).0.to_vec()
        };
        let mut text = tokens(20, 5);
        let cached = next(&text, 10);
        for token in cached {
            assert_eq!(next(&text, 1), [token], "{name} after {} tokens", text.len());
            text.push(token);
        }
    }
}

#[test]
fn tokens_are_shown_as_they_come_and_answers_end_for_a_reason() {
    let choice = preset("llama-tiny");
    let config = ParallelConfig::new(1, 2);
    let backend = backend(&choice, config);
    let mut stages = open(&backend, config).expect("the model fits");
    let mut run = |inputs: Vec<Input>| {
        let flow = backend.start(ModelId(0), inputs).expect("the inputs are good");
        finish(&mut stages, flow).expect("nothing fails")
    };
    let (outputs, shown) =
        run(vec![generate(tokens(5, 1), 6, Sampling::Greedy), generate(tokens(7, 2), 3, Sampling::Greedy)]);
    let (first, second) = (generated(&outputs[0]).0.to_vec(), generated(&outputs[1]).0.to_vec());
    assert_eq!((&shown[0][..], &shown[1][..]), (&first[..5], &second[..]), "the last lap's tokens come with the end");
    assert_eq!(generated(&outputs[0]).1, Finish::Length);

    // The fourth token as a stop token ends the answer before it, where it first occurs.
    let stop = first[3];
    let kept = first.iter().position(|&token| token == stop).expect("it occurs");
    let mut input = generate(tokens(5, 1), 6, Sampling::Greedy);
    if let Input::Generate(request) = &mut input {
        request.stop_tokens.push(stop);
    }
    let (outputs, _) = run(vec![input]);
    assert_eq!(generated(&outputs[0]), (&first[..kept], Finish::Stop));

    // The context has 512 places: the answer ends when they are taken.
    let (outputs, _) = run(vec![generate(tokens(509, 1), 100, Sampling::Greedy)]);
    assert_eq!((generated(&outputs[0]).0.len(), generated(&outputs[0]).1), (3, Finish::Length));
}

#[test]
fn measured_cuts_are_obeyed_and_bad_ones_refused() {
    let mut choice = preset("bert-tiny");
    choice.cuts.insert(ParallelConfig::new(1, 2), vec![1]);
    choice.cuts.insert(ParallelConfig::new(1, 4), vec![1, 1, 2]);
    let uncut = answer(&preset("bert-tiny"), ParallelConfig::SINGLE, encoder_inputs());
    let cut = answer(&choice, ParallelConfig::new(1, 2), encoder_inputs());
    assert!(uncut.iter().zip(&cut).all(|(uncut, cut)| difference(uncut, cut) < 1e-4));
    let backend = backend(&choice, ParallelConfig::new(1, 4));
    let error = open(&backend, ParallelConfig::new(1, 4)).err().expect("the cuts do not increase");
    assert!(error.to_string().contains("[1, 1, 2]"), "{error}");
}
