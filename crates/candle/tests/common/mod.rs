//! Runs whole batches through all stages of a group, as the server would, on one thread.

use statmux_candle::{CandleBackend, CandleStage, DeviceKind, DeviceSpec, Flow, ModelChoice, ModelSource};
use statmux_core::backend::{
    Backend, BackendError, Fault, Finish, Generate, Input, Output, Sampling, Stage, StagePlan, Step,
};
use statmux_core::{Bytes, DeviceId, GroupId, ModelId, ParallelConfig, Seed};
use std::error::Error;

/// `count` virtual devices of the given memory.
pub(crate) fn devices(count: u32, memory: Bytes) -> Vec<DeviceSpec> {
    vec![DeviceSpec { kind: DeviceKind::Cpu, memory }; count as usize]
}

/// A backend with enough devices for `config`, and one model.
pub(crate) fn backend(choice: &ModelChoice, config: ParallelConfig) -> CandleBackend {
    let devices = devices(config.devices(), Bytes::from_gib(4));
    CandleBackend::new(&devices, std::slice::from_ref(choice)).expect("the model exists")
}

/// A setup error with all its causes, as one line.
pub(crate) fn setup_fault(error: &BackendError) -> String {
    assert_eq!(error.fault(), Fault::Setup);
    let mut reason = String::new();
    let mut cause: Option<&dyn Error> = Some(error);
    while let Some(error) = cause {
        reason += &format!("{error}: ");
        cause = error.source();
    }
    reason
}

/// The plan of stage `stage` of a group that holds all of `models`.
pub(crate) fn plan(config: ParallelConfig, stage: u32, models: u32) -> StagePlan {
    StagePlan {
        group: GroupId(0),
        config,
        stage,
        devices: (stage * config.op..(stage + 1) * config.op).map(DeviceId).collect(),
        models: (0..models).map(ModelId).collect(),
    }
}

/// All stages of a group with the backend's first model.
pub(crate) fn open(backend: &CandleBackend, config: ParallelConfig) -> Result<Vec<CandleStage>, BackendError> {
    (0..config.pp).map(|stage| backend.open(&plan(config, stage, 1))).collect()
}

/// Runs `flow` to its end; also gives back, for each input, the tokens that were shown on the way.
pub(crate) fn finish(stages: &mut [CandleStage], mut flow: Flow) -> Result<(Vec<Output>, Vec<Vec<u32>>), BackendError> {
    let mut shown: Vec<Vec<u32>> = Vec::new();
    let mut stage = 0;
    loop {
        match stages[stage].run(flow)? {
            Step::Next(next) => {
                flow = next;
                stage += 1;
            }
            Step::Again { flow: next, tokens } => {
                flow = next;
                stage = 0;
                shown.resize(tokens.len(), Vec::new());
                for (shown, token) in shown.iter_mut().zip(tokens) {
                    shown.extend(token);
                }
            }
            Step::Done(outputs) => return Ok((outputs, shown)),
        }
    }
}

/// What `inputs` give in one batch.
pub(crate) fn answer(choice: &ModelChoice, config: ParallelConfig, inputs: Vec<Input>) -> Vec<Output> {
    answer_on(&devices(config.devices(), Bytes::from_gib(4)), choice, config, inputs)
}

/// What `inputs` give in one batch on these devices.
pub(crate) fn answer_on(
    devices: &[DeviceSpec],
    choice: &ModelChoice,
    config: ParallelConfig,
    inputs: Vec<Input>,
) -> Vec<Output> {
    let backend = CandleBackend::new(devices, std::slice::from_ref(choice)).expect("the devices and the model exist");
    let mut stages = open(&backend, config).expect("the model fits");
    let flow = backend.start(ModelId(0), inputs).expect("the inputs are good");
    finish(&mut stages, flow).expect("nothing fails").0
}

/// Asserts that every architecture, cut over devices of the kinds that `kind` gives them by number, answers as on one
/// core of the processor: vectors within 1e-3, and the same tokens.
pub(crate) fn assert_same_answers_on(kind: impl Fn(usize) -> DeviceKind) {
    let decoder_inputs =
        || vec![generate(tokens(33, 1), 9, Sampling::Greedy), generate(tokens(1, 2), 5, Sampling::Greedy)];
    for name in ["bert-tiny", "moe-tiny", "gpt2-tiny", "llama-tiny"] {
        let inputs =
            || if name.starts_with("gpt") || name.starts_with("llama") { decoder_inputs() } else { encoder_inputs() };
        let choice = ModelChoice::new(ModelSource::Preset { name: name.into(), seed: Seed(11) });
        let expected = answer(&choice, ParallelConfig::SINGLE, inputs());
        for (op, pp) in [(1, 1), (1, 2), (2, 1), (2, 2), (4, 1)] {
            let config = ParallelConfig::new(op, pp);
            let device = |number| DeviceSpec { kind: kind(number), memory: Bytes::from_gib(4) };
            let devices: Vec<_> = (0..config.devices() as usize).map(device).collect();
            for (expected, found) in expected.iter().zip(answer_on(&devices, &choice, config, inputs())) {
                match expected {
                    Output::Generated { .. } => assert_eq!(*expected, found, "{name}, op {op}, pp {pp}"),
                    _ => {
                        let difference = difference(expected, &found);
                        assert!(difference < 1e-3, "{name}, op {op}, pp {pp}: {difference}");
                    }
                }
            }
        }
    }
}

/// Texts to encode, of several lengths.
pub(crate) fn encoder_inputs() -> Vec<Input> {
    vec![
        Input::embed(tokens(17, 1)),
        Input::masked_logits(tokens(9, 2), vec![0, 8, 3]),
        Input::embed(tokens(1, 3)),
        Input::embed(tokens(64, 4)),
    ]
}

/// Some tokens that depend on `salt`.
pub(crate) fn tokens(count: u32, salt: u32) -> Vec<u32> {
    (0..count).map(|i| 4 + (i * 37 + salt * 101 + i * i * 7) % 256).collect()
}

/// A continuation without stop tokens of its own.
pub(crate) fn generate(prompt: Vec<u32>, max_new_tokens: u32, sampling: Sampling) -> Input {
    Input::Generate(Generate {
        tokens: prompt,
        max_new_tokens,
        stop_tokens: Vec::new(),
        stop_texts: Vec::new(),
        sampling,
    })
}

/// The tokens of a continuation.
pub(crate) fn generated(output: &Output) -> (&[u32], Finish) {
    match output {
        Output::Generated { tokens, finish } => (tokens, *finish),
        other => panic!("not generated: {other:?}"),
    }
}

/// The largest difference between two outputs of the same kind.
pub(crate) fn difference(a: &Output, b: &Output) -> f32 {
    let vectors = |a: &[f32], b: &[f32]| {
        assert_eq!(a.len(), b.len());
        // A not-a-number must not pass for a small difference.
        a.iter().zip(b).map(|(a, b)| if (a - b).is_nan() { f32::INFINITY } else { (a - b).abs() }).fold(0.0, f32::max)
    };
    match (a, b) {
        (Output::Embedding(a), Output::Embedding(b)) => vectors(a, b),
        (Output::MaskedLogits(a), Output::MaskedLogits(b)) => {
            assert_eq!(a.len(), b.len());
            a.iter().zip(b).map(|(a, b)| vectors(a, b)).fold(0.0, f32::max)
        }
        _ => panic!("different kinds of output"),
    }
}
