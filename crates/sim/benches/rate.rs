//! How many requests a second each engine decides on one core: `cargo bench -p statmux-sim`.
//!
//! Every figure is the best of several short runs, since other work on the machine only ever slows one down.
//! An argument runs only the cases whose line contains it.

#![allow(clippy::disallowed_methods)] // A benchmark reads the clock.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha12Rng;
use statmux_core::{
    Bytes, Cluster, ConfigProfile, DeviceId, Group, ModelId, ModelProfile, ModelSpec, ParallelConfig, Placement,
    PlacementWindows, Slo, Time, Workload,
};
use statmux_sched::{AnyDiscipline, Dispatch, Settings};
use statmux_sim::arithmetic::Arithmetic;
use statmux_sim::simulate::{model_slos, simulate_with};
use statmux_sim::tight::late::LateTrack;
use statmux_sim::tight::{Arrivals, Track};
use statmux_sim::{Engine, SimulationSettings};
use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

/// Few enough for a run to fit between two interruptions.
const REQUESTS: usize = 50_000;
const EVENT_REQUESTS: usize = 10_000;

struct Case {
    name: &'static str,
    cluster: Cluster,
    models: Vec<ModelSpec>,
    placement: Placement,
    /// Requests a second that would keep every stage busy.
    capacity: f64,
}

/// `groups` pipelines of `stages` stages; `models` models, each held by all groups or, with `one_each`, by the
/// group with its own number.
fn case(name: &'static str, models: u32, groups: u32, stages: u32, one_each: bool) -> Case {
    let config = ParallelConfig::new(1, stages);
    let specs = (0..models).map(|index| {
        let seconds = 0.1 * (1.0 + f64::from(index % 7) / 10.0);
        let profile = |stages: u32| {
            let stage = |k: u32| seconds / f64::from(stages) * [1.02, 0.98][k as usize % 2];
            ConfigProfile {
                stage_seconds: [(1, (0..stages).map(stage).collect())].into(),
                stage_weights: vec![Bytes::new(1); stages as usize],
                ..ConfigProfile::default()
            }
        };
        let configs = [(ParallelConfig::SINGLE, profile(1)), (config, profile(stages))];
        let profile = ModelProfile::new("any", "assumed", configs.into());
        ModelSpec { name: format!("m{index}"), slo: Slo::Scale(5.0), profile: Arc::new(profile) }
    });
    let group = |index: u32| Group {
        devices: (index * stages..(index + 1) * stages).map(DeviceId).collect(),
        config,
        models: (0..models).filter(|&model| !one_each || model == index).map(ModelId).collect(),
    };
    let busy = if one_each { groups.min(models) } else { groups };
    Case {
        name,
        cluster: Cluster::uniform(groups * stages, 8, Bytes::from_gib(1)),
        models: specs.collect(),
        placement: Placement { groups: (0..groups).map(group).collect() },
        capacity: f64::from(busy * stages) / 0.13,
    }
}

impl Case {
    fn poisson(&self, requests: usize, load: f64) -> Workload {
        let mut rng = ChaCha12Rng::seed_from_u64(1);
        let mut workload = Workload::default();
        let mut at = 0.0;
        for _ in 0..requests {
            at -= (1.0 - rng.random::<f64>()).ln() / (self.capacity * load);
            workload.arrived.push(Time::from_seconds(at).expect("a short run"));
            workload.model.push(ModelId(rng.random_range(0..self.models.len() as u32)));
        }
        workload
    }
}

/// Prints millions of requests a second: the best of several runs of `decide`, which decides `requests`.
fn measure(name: &str, requests: usize, mut decide: impl FnMut()) {
    let only = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    if only.is_some_and(|only| !name.contains(&only)) {
        return;
    }
    decide();
    let begun = Instant::now();
    let mut best = f64::INFINITY;
    let mut runs = 0;
    while runs < 5 || (begun.elapsed().as_secs_f64() < 0.2 && runs < 1000) {
        let start = Instant::now();
        decide();
        best = best.min(start.elapsed().as_secs_f64());
        runs += 1;
    }
    println!("{name:<72} {:>8.1} M/s  (best of {runs})", requests as f64 / best / 1e6);
}

fn tight<A: Arithmetic>(case: &Case, workload: &Workload, dispatch: Dispatch, name: &str)
where
    A::Span: Send + Sync,
{
    let scheduler = Settings { dispatch, ..Settings::default() };
    let settings = SimulationSettings { scheduler, ..SimulationSettings::default() };
    let track = Track::<A>::new(&case.placement, &case.cluster, &case.models, &settings).expect("profiled");
    let arrivals = Arrivals::<A>::new(workload, &case.models);
    measure(&format!("{name}, one track"), workload.len(), || {
        black_box(track.tally(black_box(&arrivals)));
    });
    // Neighbours of one placement, as a search judges them: each lacks one replica of it.
    let neighbour = |number: usize| {
        let mut placement = case.placement.clone();
        let group = &mut placement.groups[number % case.placement.groups.len()];
        if !group.models.is_empty() {
            group.models.remove(number % group.models.len());
        }
        Track::<A>::new(&placement, &case.cluster, &case.models, &settings).expect("profiled")
    };
    let tracks: Vec<Track<A>> = (0..8).map(neighbour).collect();
    measure(&format!("{name}, eight neighbours at once"), 8 * workload.len(), || {
        black_box(Track::tally_many(black_box(&tracks), &arrivals));
    });
}

fn late(case: &Case, workload: &Workload, discipline: AnyDiscipline, name: &str) {
    let scheduler = Settings { dispatch: Dispatch::LateBinding, discipline, ..Settings::default() };
    let settings = SimulationSettings { scheduler, ..SimulationSettings::default() };
    let track = LateTrack::new(&case.placement, &case.cluster, &case.models, &settings).expect("profiled");
    let model_slo = model_slos(&case.models);
    measure(name, workload.len(), || {
        black_box(track.counts(black_box(workload), &model_slo));
    });
}

fn events(case: &Case, workload: &Workload, scheduler: Settings, name: &str) {
    let settings = SimulationSettings { scheduler, ..SimulationSettings::default() };
    let windows = PlacementWindows::fixed(case.placement.clone());
    measure(name, workload.len(), || {
        let run = simulate_with(Engine::Events, &case.cluster, &case.models, &windows, workload, &settings, None);
        black_box(run.expect("profiled"));
    });
}

fn main() {
    let cases = [
        case("8 models on one 8-stage group", 8, 1, 8, false),
        case("32 models on four 4-stage groups", 32, 4, 4, false),
        case("60 models on 64 devices, one replica each", 60, 64, 1, true),
    ];
    for case in &cases {
        for load in [0.8, 1.2] {
            let workload = case.poisson(REQUESTS, load);
            let dispatches: &[_] = if case.placement.groups.len() == 4 {
                &[Dispatch::LeastClock, Dispatch::EarliestFinish]
            } else {
                &[Dispatch::LeastClock]
            };
            for &dispatch in dispatches {
                let name = format!("{}, load {load}, {}", case.name, dispatch.name());
                tight::<Time>(case, &workload, dispatch, &format!("tight, {name}, ns"));
                tight::<f64>(case, &workload, dispatch, &format!("tight, {name}, f64"));
            }
        }
    }
    for case in &cases {
        for load in [0.8, 1.2] {
            let workload = case.poisson(REQUESTS, load);
            for discipline in AnyDiscipline::ALL {
                late(case, &workload, discipline, &format!("late, {}, load {load}, {}", case.name, discipline.name()));
            }
        }
    }
    for case in &cases {
        for load in [0.8, 1.2] {
            let workload = case.poisson(EVENT_REQUESTS, load);
            let named = |what: &str| format!("events, {}, load {load}, {what}", case.name);
            for dispatch in Dispatch::ALL {
                events(case, &workload, Settings { dispatch, ..Settings::default() }, &named(dispatch.name()));
            }
            let edf = Settings { discipline: AnyDiscipline::Edf, ..Settings::default() };
            events(case, &workload, edf, &named("earliest-finish, edf"));
        }
    }
}
