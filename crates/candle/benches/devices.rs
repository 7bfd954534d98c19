//! What virtual devices are worth: `cargo bench -p statmux-candle`; with `--features cuda`, what GPUs are.
//!
//! BERT-base, batch 1, sequence 128: alone on one device, cut by tensors over two, and as a pipeline of two stages fed
//! with 32 batches, beside as many on one device. Wants two idle cores, or GPUs.

use divan::Bencher;
use divan::counter::ItemsCount;
use statmux_candle::{
    CandleBackend, CandleStage, DeviceKind, DeviceSpec, Flow, ModelChoice, ModelSource, use_one_thread_per_device,
};
use statmux_core::backend::{Backend, Generate, Input, Sampling, Stage, StagePlan, Step};
use statmux_core::{Bytes, DeviceId, GroupId, ModelId, ParallelConfig, Seed};
use std::sync::mpsc::sync_channel;

fn main() {
    use_one_thread_per_device();
    divan::main();
}

fn backend(name: &str) -> CandleBackend {
    let devices = [0, 1].map(|number| DeviceSpec { kind: kind(number), memory: Bytes::from_gib(4) });
    let source = ModelSource::Preset { name: name.into(), seed: Seed(0) };
    CandleBackend::new(&devices, &[ModelChoice::new(source)]).expect("the preset exists")
}

#[cfg(not(feature = "cuda"))]
fn kind(_number: usize) -> DeviceKind {
    DeviceKind::Cpu
}

#[cfg(feature = "cuda")]
fn kind(number: usize) -> DeviceKind {
    DeviceKind::Cuda(number % statmux_candle::gpus().expect("the driver can be asked"))
}

fn open(backend: &CandleBackend, config: ParallelConfig) -> Vec<CandleStage> {
    let stage = |stage: u32| StagePlan {
        group: GroupId(0),
        config,
        stage,
        devices: (stage * config.op..(stage + 1) * config.op).map(DeviceId).collect(),
        models: vec![ModelId(0)],
    };
    (0..config.pp).map(|number| backend.open(&stage(number)).expect("the model fits")).collect()
}

fn embed(backend: &CandleBackend) -> Flow {
    let tokens = (0..128).map(|i| 1000 + i * 11).collect();
    backend.start(ModelId(0), vec![Input::embed(tokens)]).expect("the input is good")
}

#[divan::bench(args = [1, 2], sample_count = 12, sample_size = 1)]
fn bert_base_by_tensors(bencher: Bencher<'_, '_>, op: u32) {
    let backend = backend("bert-base");
    let mut stages = open(&backend, ParallelConfig::new(op, 1));
    bencher.bench_local(|| stages[0].run(embed(&backend)).expect("nothing fails"));
}

/// Enough that filling and draining the pipeline costs 3 %.
const BATCHES: usize = 32;

#[divan::bench(args = [1, 2], sample_count = 4, sample_size = 1)]
fn bert_base_by_stages(bencher: Bencher<'_, '_>, pp: u32) {
    let backend = backend("bert-base");
    let mut stages = open(&backend, ParallelConfig::new(1, pp));
    bencher.counter(ItemsCount::new(BATCHES)).bench_local(|| {
        std::thread::scope(|scope| {
            let (first, mut inbox) = sync_channel(BATCHES);
            for stage in &mut stages {
                let (next, outbox) = sync_channel(BATCHES);
                let flows = std::mem::replace(&mut inbox, outbox);
                scope.spawn(move || {
                    for flow in flows {
                        if let Step::Next(flow) = stage.run(flow).expect("nothing fails") {
                            next.send(flow).expect("the next stage outlives this one");
                        }
                    }
                });
            }
            for _ in 0..BATCHES {
                first.send(embed(&backend)).expect("the first stage waits");
            }
            drop(first);
        });
    });
}

/// Time per token with 128 tokens of context: a prompt of 128, then 16 more.
#[divan::bench(args = [1, 2], sample_count = 3, sample_size = 1)]
fn llama_110m_sixteen_tokens(bencher: Bencher<'_, '_>, op: u32) {
    let backend = backend("llama-110m");
    let mut stages = open(&backend, ParallelConfig::new(op, 1));
    let start = || {
        let request = Generate {
            tokens: (0..128).map(|i| 1000 + i * 11).collect(),
            max_new_tokens: 17,
            stop_tokens: Vec::new(),
            stop_texts: Vec::new(),
            sampling: Sampling::Greedy,
        };
        backend.start(ModelId(0), vec![Input::Generate(request)]).expect("the input is good")
    };
    let stages = std::cell::RefCell::new(&mut stages);
    bencher
        .counter(ItemsCount::new(16usize))
        .with_inputs(|| match stages.borrow_mut()[0].run(start()).expect("nothing fails") {
            Step::Again { flow, .. } => flow,
            _ => unreachable!("seventeen tokens take seventeen laps"),
        })
        .bench_local_values(|mut flow| {
            while let Step::Again { flow: next, .. } = stages.borrow_mut()[0].run(flow).expect("nothing fails") {
                flow = next;
            }
        });
}
