//! The engine without HTTP: its record replays, and every request gets exactly one answer whatever breaks.

mod common;

use common::{deployment, sleeper};
use statmux_core::backend::{Generate, Input, Sampling};
use statmux_core::files::{FileError, PlacementFile};
use statmux_core::{Bytes, ModelId, PlacementWindows, Seed, Slo, Span};
use statmux_sched::{Dispatch, Settings, StageTimes, machine};
use statmux_serve::event_log::{LogHeader, LogReader, LogWriter};
use statmux_serve::faulty::{FaultRates, Faulty};
use statmux_serve::gateway::Event;
use statmux_serve::{Cause, Deployment, Engine, EngineSettings, Question, Record, Refusal, SleepBackend, Supervision};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

fn embed(model: u32, engine: &Engine) -> Question {
    let arrived = engine.gateway().clock().now();
    Question { model: ModelId(model), input: Input::embed(vec![1, 2]), arrived, deadline: None, streams: false }
}

/// Asks `requests` questions, a few at a time from each of some clients, and counts the ways they ended.
fn load(engine: &Engine, clients: usize, requests: usize) -> BTreeMap<&'static str, usize> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("it builds");
    let tasks: Vec<_> = (0..clients)
        .map(|client| {
            let gateway = Arc::clone(engine.gateway());
            let questions: Vec<_> = (0..requests).map(|n| embed(((client + n) % 3) as u32, engine)).collect();
            runtime.spawn(async move {
                let mut ends = Vec::new();
                for mut question in questions {
                    question.arrived = gateway.clock().now();
                    let ended = match gateway.submit(question) {
                        Ok(mut pending) => pending.answer().await.map(drop),
                        Err(refusal) => Err(refusal),
                    };
                    if ended.is_err() {
                        // As a client would that was told to come back.
                        tokio::time::sleep(Duration::from_millis(3)).await;
                    }
                    ends.push(ended.map_or_else(|refusal: Refusal| refusal.cause.name(), |()| "served"));
                }
                ends
            })
        })
        .collect();
    let mut counts = BTreeMap::new();
    for task in tasks {
        for end in runtime.block_on(task).expect("no client panics") {
            *counts.entry(end).or_insert(0) += 1;
        }
    }
    counts
}

fn times(deployment: &Deployment, settings: Settings) -> StageTimes {
    let Deployment { cluster, models, placement } = deployment;
    StageTimes::new(placement, cluster, models, 0.0, settings.max_batch).expect("every configuration has a profile")
}

#[test]
fn the_record_of_a_run_replays_to_the_same_actions() {
    for (dispatch, max_batch) in
        [(Dispatch::EarliestFinish, 1), (Dispatch::LateBinding, 2), (Dispatch::ShortestQueue, 2)]
    {
        let settings = Settings { dispatch, max_batch, ..Settings::default() };
        let deployment = deployment(3, 2, 3, Span::from_nanos(300_000), Slo::Latency(Span::from_millis(8)));
        let rates = FaultRates { panic: 0.002, fail: 0.01, ..FaultRates::default() };
        let backend = Faulty::new(sleeper(&deployment, max_batch), rates, Seed(1));
        let engine = EngineSettings { scheduler: settings, record: Record::Memory, ..EngineSettings::default() };
        let engine = Engine::start(Arc::new(backend), deployment.clone(), engine).expect("it starts");
        let counts = load(&engine, 30, 20);
        assert_eq!(counts.values().sum::<usize>(), 600);
        let log = engine.stop();
        assert!(log.entries.len() > 600);
        log.replay(&mut machine(settings, times(&deployment, settings))).expect("the same actions");
    }
}

#[test]
fn the_log_on_disk_replays_to_the_same_actions() {
    let settings = Settings::default();
    let deployment = deployment(2, 2, 3, Span::from_nanos(300_000), Slo::Latency(Span::from_millis(3)));
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("events.jsonl");
    let placement = PlacementFile::new(&PlacementWindows::fixed(deployment.placement.clone()), &deployment.models);
    let names = deployment.models.iter().map(|model| model.name.clone()).collect();
    let writer = LogWriter::create(&path, &LogHeader::new(names, placement, 0)).expect("the folder is ours");
    let rates = FaultRates { panic: 0.002, fail: 0.01, ..FaultRates::default() };
    let backend = Faulty::new(sleeper(&deployment, 1), rates, Seed(2));
    let engine = EngineSettings { record: Record::Sent(writer.lines()), ..EngineSettings::default() };
    let engine = Engine::start(Arc::new(backend), deployment.clone(), engine).expect("it starts");
    let counts = load(&engine, 20, 20);
    assert!(engine.stop().entries.is_empty());
    let end = writer.finish();
    assert!(end.is_complete(), "{end:?}");
    let written = end.written;
    assert!(written > 400, "{written}");
    let fresh = |_: &LogHeader| Ok::<_, FileError>((2, machine(settings, times(&deployment, settings))));
    let replay = |path| LogReader::open(path).expect("it opens").replay(fresh);
    let whole = replay(&path).expect("well formed");
    assert_eq!((whole.entries, whole.cut_off, &whole.difference), (written, false, &None));
    assert!(whole.actions >= counts.values().sum::<usize>() as u64);

    let text = std::fs::read_to_string(&path).expect("it is there");
    let other = folder.path().join("other.jsonl");
    std::fs::write(&other, &text[..text.len() - 5]).expect("written");
    let cut = replay(&other).expect("a line that broke off is left out");
    assert_eq!((cut.entries, cut.cut_off), (written - 1, true));
    std::fs::write(&other, text.replacen("\"complete\":{\"request\":", "\"complete\":{\"request\":1", 1))
        .expect("written");
    assert!(replay(&other).expect("well formed").difference.is_some());
    std::fs::write(&other, text.replacen("\"group\":", "\"group\":7", 1)).expect("written");
    assert!(replay(&other).expect_err("no such group").to_string().contains("but there are 2"));
}

#[test]
fn every_request_gets_one_answer_whatever_breaks() {
    let deployment = deployment(4, 2, 3, Span::from_nanos(50_000), Slo::None);
    let rates = FaultRates {
        panic: 0.000_5,
        lost: 0.002,
        hang: 0.000_5,
        fail: 0.005,
        slow: 0.01,
        open: 0.1,
        hang_lasts: Duration::from_millis(300),
        slow_by: Duration::from_millis(1),
        at_most: u64::MAX,
    };
    let backend = Arc::new(Faulty::new(sleeper(&deployment, 1), rates, Seed(7)));
    let supervision = Supervision {
        hang_minimum: Span::from_millis(50),
        backoff: Span::from_millis(1),
        attempts: 1000,
        ..Supervision::default()
    };
    let settings = EngineSettings { supervision, ..EngineSettings::default() };
    let engine = Engine::start(Arc::clone(&backend), deployment, settings).expect("it starts");
    let counts = load(&engine, 50, 100);
    assert_eq!(counts.values().sum::<usize>(), 5000, "{counts:?}");
    assert!(counts["served"] > 2500, "{counts:?}");
    assert!(backend.faults() > 50, "{} faults", backend.faults());
    let gateway = Arc::clone(engine.gateway());
    assert_eq!(gateway.inside(), 0);
    assert!(gateway.board().groups.iter().map(|group| group.restarts.load(Relaxed)).sum::<u64>() > 5);
    engine.stop();
}

#[test]
fn a_group_that_keeps_failing_is_taken_out_and_the_others_serve() {
    let deployment = deployment(2, 1, 3, Span::from_nanos(50_000), Slo::None);
    let rates = FaultRates { panic: 1.0, at_most: 3, ..FaultRates::default() };
    let backend = Arc::new(Faulty::new(sleeper(&deployment, 1), rates, Seed(7)));
    let supervision = Supervision { attempts: 1, ..Supervision::default() };
    let engine = Engine::start(backend, deployment, EngineSettings { supervision, ..EngineSettings::default() });
    let engine = engine.expect("it starts");
    let counts = load(&engine, 1, 5);
    assert_eq!(counts, BTreeMap::from([("cost_group", 2), ("no_replica", 3)]));
    assert!(engine.gateway().board().groups.iter().all(|group| group.state() == "taken_out"));
    engine.stop();
}

#[test]
fn a_deployment_without_a_working_group_does_not_start() {
    let deployment = deployment(2, 1, 3, Span::from_millis(1), Slo::None);
    let rates = FaultRates { open: 1.0, ..FaultRates::default() };
    let backend = Arc::new(Faulty::new(sleeper(&deployment, 1), rates, Seed(7)));
    let supervision = Supervision { attempts: 2, backoff: Span::from_millis(1), ..Supervision::default() };
    let settings = EngineSettings { supervision, ..EngineSettings::default() };
    let error = Engine::start(backend, deployment, settings).expect_err("nothing opens");
    assert!(error.to_string().contains("injected: did not open"), "{error}");
}

#[test]
fn what_nobody_waits_for_does_not_start() {
    let deployment = deployment(1, 1, 3, Span::from_millis(30), Slo::None);
    let backend = Arc::new(sleeper(&deployment, 1));
    let engine = Engine::start(backend, deployment, EngineSettings::default()).expect("it starts");
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("it builds");
    let mut first = engine.gateway().submit(embed(0, &engine)).expect("taken in");
    let second = engine.gateway().submit(embed(0, &engine)).expect("taken in");
    drop(second);
    runtime.block_on(first.answer()).expect("served");
    let mut third = engine.gateway().submit(embed(0, &engine)).expect("taken in");
    runtime.block_on(third.answer()).expect("served");
    assert_eq!(engine.gateway().board().groups[0].stages[0].laps.load(Relaxed), 2);
    engine.stop();
}

#[test]
fn the_limit_of_concurrency_refuses_at_once() {
    let deployment = deployment(1, 1, 3, Span::from_millis(20), Slo::None);
    let backend = Arc::new(sleeper(&deployment, 1));
    let settings = EngineSettings { concurrency: 2, ..EngineSettings::default() };
    let engine = Engine::start(backend, deployment, settings).expect("it starts");
    let kept: Vec<_> = (0..2).map(|_| engine.gateway().submit(embed(0, &engine)).expect("room")).collect();
    let refusal = engine.gateway().submit(embed(0, &engine)).expect_err("full");
    assert!(matches!(refusal.cause, Cause::Overloaded));
    drop(kept);
    engine.stop();
}

#[test]
fn a_stream_that_runs_again_elsewhere_repeats_nothing() {
    // The second lap of the first run panics, after a token was sent.
    let deployment = deployment(2, 1, 1, Span::from_millis(20), Slo::None);
    for seed in 0..6 {
        let rates = FaultRates { lost: 0.2, at_most: 1, ..FaultRates::default() };
        let backend: Faulty<SleepBackend> = Faulty::new(sleeper(&deployment, 1), rates, Seed(seed));
        let scheduler = Settings { retries_after_loss: 1, ..Settings::default() };
        let settings = EngineSettings { scheduler, ..EngineSettings::default() };
        let engine = Engine::start(Arc::new(backend), deployment.clone(), settings).expect("starts");
        let generate = Generate {
            tokens: vec![10, 11, 12],
            max_new_tokens: 8,
            stop_tokens: Vec::new(),
            stop_texts: Vec::new(),
            sampling: Sampling::Greedy,
        };
        let question = Question { input: Input::Generate(generate), streams: true, ..embed(0, &engine) };
        let mut pending = engine.gateway().submit(question).expect("taken in");
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("it builds");
        let mut tokens = Vec::new();
        let answer = loop {
            match runtime.block_on(pending.next()) {
                Event::Token(token) => tokens.push(token),
                Event::Answer(answer) => break answer,
            }
        };
        answer.expect("the other group serves it");
        assert_eq!(tokens, [10, 11, 12, 10, 11, 12, 10], "all but the last, once each");
        engine.stop();
    }
}

#[test]
fn memory_is_what_the_profile_says() {
    let deployment = deployment(1, 2, 3, Span::from_millis(1), Slo::None);
    let backend = Arc::new(sleeper(&deployment, 1));
    let engine = Engine::start(backend, deployment, EngineSettings::default()).expect("it starts");
    let stage = &engine.gateway().board().groups[0].stages[1];
    assert_eq!(Bytes::new(stage.memory.load(Relaxed)), Bytes::new(3 << 20));
    engine.stop();
}

#[test]
fn a_log_that_cannot_keep_up_has_gaps_where_it_says_so_and_delays_nobody() {
    let settings = Settings::default();
    let deployment = deployment(2, 1, 3, Span::from_nanos(20_000), Slo::None);
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("events.jsonl");
    let placement = PlacementFile::new(&PlacementWindows::fixed(deployment.placement.clone()), &deployment.models);
    let names: Vec<_> = deployment.models.iter().map(|model| model.name.clone()).collect();
    // Without room, a line is written only where the writer waits for it just then.
    let writer = LogWriter::with_room(&path, &LogHeader::new(names, placement, 0), 0).expect("the folder is ours");
    let engine = EngineSettings { record: Record::Sent(writer.lines()), ..EngineSettings::default() };
    let engine = Engine::start(Arc::new(sleeper(&deployment, 1)), deployment.clone(), engine).expect("it starts");
    assert_eq!(load(&engine, 20, 50), BTreeMap::from([("served", 1000)]));
    let metrics = engine.gateway().statistics().text();
    engine.stop();
    let end = writer.finish();
    assert!(end.missing > 0 && end.failure.is_none() && !end.is_complete(), "{end:?}");
    assert!(metrics.contains("statmux_event_log_missing_lines_total"), "{metrics}");
    let fresh = |_: &LogHeader| Ok::<_, FileError>((2, machine(settings, times(&deployment, settings))));
    let replay = LogReader::open(&path).expect("it opens").replay(fresh).expect("well formed");
    assert_eq!(replay.difference, None);
    assert_eq!(replay.gaps.iter().map(|gap| gap.missing).sum::<u64>(), end.missing);
    assert_eq!(replay.entries + replay.unchecked, end.written);
}
