//! Read, plan, score: what a program that uses this crate relies on.

mod common;

use common::{GAMMA, PEER, RECORDED, REQUESTS, folder, read, scenario};
use statmux_plan::{Silent, policy};
use statmux_scenario::{Override, Reader, Scenario, ScenarioError, TrainedOn, Workloads, is_clairvoyant};
use std::sync::Arc;

#[test]
fn read_plan_and_score_are_three_lines() {
    let (_folder, path) = folder(&scenario(&format!("{GAMMA}[workload.train]\nseed = 1\n"), ""));
    let scenario = read(&path);
    let planned = scenario.plan(None, &Silent).expect("two models fit");
    let scored = scenario.score(&planned.plan, &scenario.test).expect("it can be simulated");
    assert_eq!((planned.policy, planned.trained_on), ("selective-replication", TrainedOn::OwnWindow));
    assert_eq!(scored.results.requests as usize, scenario.test.len());
    assert_eq!(scored.run.outcomes.len(), scenario.test.len());
    assert!(scored.results.slo_attainment <= scenario.bound(&scenario.test));
}

#[test]
fn every_policy_sees_the_train_window_but_the_clairvoyant_see_the_test_window() {
    let (_folder, path) = folder(&scenario(&format!("{GAMMA}[workload.train]\nseed = 1\n"), ""));
    let scenario = read(&path);
    assert_ne!(scenario.test, scenario.train);
    let (_own, alone) = folder(&self::scenario(GAMMA, ""));
    let alone = read(&alone);
    let mut clairvoyant = 0;
    for info in policy::ALL {
        assert_eq!(info.clairvoyant, is_clairvoyant(info.name));
        let expected = if info.clairvoyant { &scenario.test } else { &scenario.train };
        assert!(std::ptr::eq(scenario.problem(info.name).train, &raw const **expected), "{}", info.name);
        let told = scenario.trained_on_by(info.name);
        assert_eq!(told == TrainedOn::Clairvoyant, info.clairvoyant, "{}", info.name);
        // Where there is one window only, there is nothing to be clairvoyant of.
        assert_eq!(alone.trained_on_by(info.name), TrainedOn::TestWindow, "{}", info.name);
        clairvoyant += u32::from(info.clairvoyant);
    }
    assert!(clairvoyant > 0);
}

#[test]
fn devices_alone_are_those_of_the_whole_scenario() {
    let links = "links = { between_nodes = { latency = \"1 ms\" } }\n[profiles]";
    for simulation in ["", PEER] {
        for linked in [false, true] {
            let text = scenario(GAMMA, simulation);
            let text = if linked { text.replace("[profiles]", links) } else { text };
            let (_folder, path) = folder(&text);
            for set in [vec![], vec!["cluster.devices=7"], vec!["cluster.memory=3 GB", "simulation.stage_penalty=0.1"]]
            {
                let overrides: Vec<Override> = set.iter().map(|set| Override::parse(set).expect("a pair")).collect();
                let reader = Reader { overrides: &overrides, ..Reader::default() };
                let whole = reader.read(&path).expect("it is well formed").cluster;
                assert_eq!(reader.cluster(&path).expect("it is well formed"), whole, "{simulation} {linked} {set:?}");
            }
        }
    }
}

#[test]
fn kept_requests_are_those_that_are_read() {
    let kept = Workloads::default();
    for workload in [GAMMA, RECORDED] {
        let (_folder, path) = folder(&scenario(workload, ""));
        let plain = read(&path);
        for _ in 0..2 {
            let again = Reader { kept: Some(&kept), ..Reader::default() }.read(&path).expect("it is well formed");
            assert_eq!((&again.test, &again.train, &again.remarks), (&plain.test, &plain.train, &plain.remarks));
            assert_eq!((again.offset, &again.warnings), (plain.offset, &plain.warnings));
        }
    }
    let (_folder, path) = folder(&scenario(RECORDED, ""));
    let reader = Reader { kept: Some(&kept), ..Reader::default() };
    let [first, second] = [(), ()].map(|()| reader.read(&path).expect("it is well formed"));
    assert!(Arc::ptr_eq(&first.test, &second.test) && Arc::ptr_eq(&first.train, &second.train), "it was read once");
    // Another folder's file of the same name is another file.
    let (other, path) = folder(&scenario(RECORDED, ""));
    std::fs::write(other.path().join("r.csv"), REQUESTS.replace("1.5", "1.6")).expect("the folder is ours");
    assert_ne!(reader.read(&path).expect("it is well formed").test, first.test);
}

#[test]
fn what_the_user_can_mend_is_told_from_what_failed() {
    let (_folder, path) = folder(&scenario(GAMMA, ""));
    let overrides =
        ["planner.group_size=3", "planner.policy=greedy-k"].map(|set| Override::parse(set).expect("a pair"));
    let mut scenario = Scenario::read_with(&path, &overrides, None).expect("it can be read");
    let error = scenario.plan(None, &Silent).expect_err("groups of three of two devices");
    assert!(error.is_input() && matches!(error, ScenarioError::File(_)));
    let place = format!("{}: planner cannot be carried out: ", path.display());
    assert!(error.to_string().starts_with(&place), "{error}");
    let error = scenario.plan(Some("alpasreve"), &Silent).expect_err("nobody knows it");
    assert!(error.is_input() && error.to_string().contains("did you mean `alpaserve`?"), "{error}");
    let planned = scenario.plan(Some("selective-replication"), &Silent).expect("two models fit");
    let text = self::scenario(GAMMA, "[[simulation.faults]]\ngroup = 9\nat = \"1 s\"\nlasts = \"1 s\"\n");
    scenario.simulation = Reader::default().parse(&path, &text).expect("it can be read").simulation;
    let error = scenario.score(&planned.plan, &scenario.test).expect_err("there is no group 9");
    assert!(error.is_input() && error.to_string().contains("simulation.faults do not fit: "), "{error}");
}

#[test]
fn a_plan_is_scored_under_the_options_that_it_chose() {
    let (_folder, path) = folder(&scenario(GAMMA, ""));
    let overrides = [Override::parse("planner.moves=5").expect("a pair")];
    let mut scenario = Scenario::read_with(&path, &overrides, None).expect("it can be read");
    let planned = scenario.plan(Some("statmux"), &Silent).expect("two models fit");
    let scored = scenario.score(&planned.plan, &scenario.test).expect("it can be simulated");
    scenario.adopt_plan(&planned.plan);
    let adopted = scenario.score_placement(&planned.plan.windows, &scenario.test).expect("it can be simulated");
    assert_eq!(scored.run, adopted.run);
    let mut stages = 0;
    let observed = scenario.observe(&planned.plan.windows, &scenario.test, &mut |_| stages += 1);
    assert_eq!(observed.expect("it can be simulated").outcomes, scored.run.outcomes);
    assert!(stages > 0);
}
