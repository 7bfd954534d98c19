//! The sleep backend is a backend, and can be measured.

mod common;

use common::{deployment, sleeper};
use statmux_core::backend::{Generate, Input, Sampling};
use statmux_core::{GroupId, ModelId, ParallelConfig, Seed, Slo, Span};
use statmux_serve::conformance::{Subject, all};
use statmux_serve::faulty::{FaultRates, Faulty};
use statmux_serve::measure::{Journal, Load, MeasureSettings, Progress, measure};
use std::ops::ControlFlow;

#[test]
fn the_sleep_backend_conforms_and_so_does_one_whose_faults_never_happen() {
    let deployment = deployment(1, 2, 2, Span::from_nanos(10_000), Slo::None);
    let backend = sleeper(&deployment, 2);
    let config = ParallelConfig::new(1, 2);
    let embed = |token| Input::embed(vec![token, 2]);
    let masked = |position| Input::masked_logits(vec![1, 2, 3], vec![position]);
    let generate = |token, max_new_tokens| {
        Input::Generate(Generate {
            tokens: vec![token, 5],
            max_new_tokens,
            stop_tokens: vec![7],
            stop_texts: Vec::new(),
            sampling: Sampling::Greedy,
        })
    };
    let kinds = [
        (0, vec![embed(1), embed(9)]),
        (0, vec![masked(0), masked(2)]),
        (1, vec![generate(3, 5), generate(7, 4)]),
        (1, vec![generate(3, 5), generate(4, 2)]),
    ];
    for (model, inputs) in kinds {
        let group = GroupId(0);
        let model = ModelId(model);
        all(&Subject { backend: &backend, model, config, group, inputs: inputs.clone(), tolerance: 0.0 });
        let faulty = Faulty::new(backend.clone(), FaultRates::default(), Seed(1));
        all(&Subject { backend: &faulty, model, config, group, inputs, tolerance: 0.0 });
    }
}

#[test]
fn a_measurement_finds_the_profile_and_goes_on_where_it_stopped() {
    let stage = Span::from_millis(2);
    let deployment = deployment(1, 2, 2, stage, Slo::None);
    let backend = sleeper(&deployment, 2);
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("journal");
    let settings = MeasureSettings {
        device: "none".into(),
        models: vec![(ModelId(0), "encoder".into()), (ModelId(1), "decoder".into())],
        configs: vec![ParallelConfig::new(1, 2)],
        batches: vec![1, 2, 3],
        lengths: vec![4],
        output_tokens: 4,
        warm_up: 1,
        repeats: 5,
        load: Load::Busy,
    };
    let mut told = 0;
    let mut journal = Journal::open(&path, "1 ms a stage").expect("it opens");
    let count = |_: Progress<'_>| {
        told += 1;
        ControlFlow::Continue(())
    };
    let measured = measure(&backend, &settings, &mut journal, count).expect("it measures");
    assert_eq!((told, measured.skipped.len()), (6, 2), "batches of 3 are in no profile: {:?}", measured.skipped);
    for name in ["encoder", "decoder"] {
        let config = measured.profile.models[name].config(settings.configs[0]).expect("measured");
        let seconds = config.stage_seconds[&2][1];
        assert!((0.0019..0.02).contains(&seconds), "{name}: {seconds}");
    }
    assert!(measured.profile.provenance.starts_with("measured: medians of 5 runs"));
    // Half a line at the end, as after a crash.
    let text = std::fs::read_to_string(&path).expect("it is there");
    std::fs::write(&path, format!("{text}{{\"point\":")).expect("written");
    let mut journal = Journal::open(&path, "1 ms a stage").expect("it opens");
    let again = measure(&backend, &settings, &mut journal, |_| ControlFlow::Continue(())).expect("it measures");
    let key = settings.configs[0];
    assert_eq!(measured.profile.models["encoder"].config(key), again.profile.models["encoder"].config(key));
}
