//! The published `fast` rules (the simulator of AlpaServe's artifact, batch size 1), written down once more as
//! literally and naively as possible, against [`Engine::Peer`].

mod common;

use common::{Scenario, scenario};
use proptest::prelude::*;
use statmux_core::{Links, Outcome};
use statmux_sim::simulate::simulate_with;
use statmux_sim::{Engine, SimulationSettings};

/// What the published rules say of one request: its finish in seconds, whether it is good, and its group.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Published {
    finish: f64,
    good: bool,
    group: Option<usize>,
}

fn published(scenario: &Scenario) -> Vec<Published> {
    let Scenario { models, placement, workload, .. } = scenario;
    let groups = &placement.groups;
    let latency = |model: usize, group: usize| -> Vec<f32> {
        let config = groups[group].config;
        let penalty = 0.009 * f64::from(config.pp);
        let profile = models[model].profile.config(config).expect("every configuration is profiled");
        profile.stage_seconds[&1].iter().map(|stage| (stage * (1.0 + penalty)) as f32).collect()
    };
    let mut clock: Vec<Vec<f64>> = groups.iter().map(|group| vec![0.0; group.config.pp as usize]).collect();
    let mut results = Vec::new();
    for (&arrived, &id) in workload.arrived.iter().zip(&workload.model) {
        let (t, model) = (arrived.nanos() as f64 / 1e9, id.index());
        let mut chosen: Option<usize> = None;
        for (g, group) in groups.iter().enumerate() {
            if group.models.contains(&id) {
                let better = match chosen {
                    None => true,
                    Some(best) => clock[g][clock[g].len() - 1] < clock[best][clock[best].len() - 1],
                };
                if better {
                    chosen = Some(g);
                }
            }
        }
        let Some(g) = chosen else {
            results.push(Published { finish: t, good: false, group: None });
            continue;
        };
        let mut x = t;
        let mut tmp = Vec::new();
        for (k, &stage) in latency(model, g).iter().enumerate() {
            x = f64::max(x, clock[g][k]) + f64::from(stage);
            tmp.push(x);
        }
        let finish = x + 0.011;
        let slo = models[model].slo_seconds().expect("a single device is profiled") as f32;
        if finish - t <= f64::from(slo) {
            clock[g] = tmp;
            results.push(Published { finish, good: true, group: Some(g) });
        } else {
            results.push(Published { finish: t, good: false, group: Some(g) });
        }
    }
    results
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn decisions_and_times_are_those_of_the_published_simulator(mut scenario in scenario()) {
        scenario.settings = SimulationSettings::peer();
        // It knows no links.
        scenario.cluster = scenario.cluster.with_links(Links::FREE);
        scenario.workload.slo.clear();
        let Scenario { cluster, models, workload, settings, .. } = &scenario;
        prop_assert_eq!(Engine::fastest(settings, workload), Engine::Peer);
        let ours = simulate_with(Engine::Peer, cluster, models, &scenario.windows(), workload, settings, None);
        let ours = ours.expect("every configuration is profiled").outcomes;
        for (index, (ours, theirs)) in ours.iter().zip(published(&scenario)).enumerate() {
            match ours {
                Outcome::Served(served) => {
                    prop_assert!(theirs.good && served.in_slo, "request {}: {:?}, published {:?}", index, ours, theirs);
                    prop_assert_eq!(Some(served.group.index()), theirs.group);
                    let difference = (served.finished.seconds() - theirs.finish).abs();
                    prop_assert!(difference < 1e-6, "request {} differs by {} s", index, difference);
                }
                Outcome::Rejected => prop_assert!(!theirs.good && theirs.group.is_some(), "request {}: {:?}", index, theirs),
                Outcome::NoReplica => prop_assert_eq!(theirs.group, None),
                Outcome::Failed => prop_assert!(false, "nothing fails here"),
            }
        }
        prop_assert_eq!(ours.len(), workload.len());
    }
}
