//! What server and scheduler add to a request: `cargo bench -p statmux-serve --bench added_latency [-- SECONDS RPS WORKERS]`.
//!
//! Requests come open-loop over HTTP, each to be run for one millisecond; what is left of their latency, counted
//! from when they were to be sent, is ours: the client's lateness, both ways over the socket, HTTP, the driver and
//! the stage thread. The client's own lateness is printed beside it. Then as much as a closed loop takes.

use statmux_core::{
    Bytes, Cluster, ConfigProfile, DeviceId, Group, ModelId, ModelProfile, ModelSpec, Outcome, ParallelConfig,
    Placement, Slo, Span, Time, Workload,
};
use statmux_serve::replay::{Mode, ReplaySettings, Replayed, replay};
use statmux_serve::{Deployment, Server, ServerSettings, SleepBackend};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

fn deployment(groups: u32, stage: Span) -> Deployment {
    let measured = ConfigProfile {
        stage_seconds: BTreeMap::from([(1, vec![stage.seconds()])]),
        stage_weights: vec![Bytes::new(1)],
        stage_activations: BTreeMap::new(),
    };
    let configs = BTreeMap::from([(ParallelConfig::SINGLE, measured)]);
    let profile = Arc::new(ModelProfile::new("sleep", "assumed", configs));
    let models = vec![ModelSpec { name: "m0".to_owned(), slo: Slo::None, profile }];
    let group =
        |index| Group { devices: vec![DeviceId(index)], config: ParallelConfig::SINGLE, models: vec![ModelId(0)] };
    let placement = Placement { groups: (0..groups).map(group).collect() };
    Deployment { cluster: Cluster::uniform(groups, 8, Bytes::from_gib(1)), models, placement }
}

fn run(deployment: Deployment, workload: &Workload, mode: Mode, workers: usize) -> Replayed {
    let backend = SleepBackend::new(&deployment, 0.0, 1).expect("every configuration has a profile");
    let models = deployment.models.clone();
    let address = SocketAddr::from(([127, 0, 0, 1], 0));
    let settings = ServerSettings { address, workers, ..ServerSettings::default() };
    let server = Server::start(Arc::new(backend), deployment, settings).expect("it starts");
    let settings = ReplaySettings { mode, ..ReplaySettings::new(format!("http://{}", server.address())) };
    let replayed = replay(workload, &models, &settings, &Arc::default()).expect("it answers");
    server.stop();
    assert!(replayed.outcomes.iter().all(Outcome::in_slo), "{:?}", replayed.reasons);
    replayed
}

fn workload(requests: u64, gap: Span) -> Workload {
    Workload {
        arrived: (0..requests).map(|n| Time::ZERO + gap * n).collect(),
        model: vec![ModelId(0); requests as usize],
        duration: gap * requests,
        ..Workload::default()
    }
}

fn main() {
    // Cargo passes `--bench`, which says nothing here.
    let numbers: Vec<f64> = std::env::args().skip(1).filter_map(|text| text.parse().ok()).collect();
    let seconds = numbers.first().copied().unwrap_or(3.0);
    let rate = numbers.get(1).copied().unwrap_or(1000.0);
    let workers = numbers.get(2).map_or(ServerSettings::default().workers, |&workers| workers as usize);
    let stage = Span::from_millis(1);
    let gap = Span::from_seconds(1.0 / rate).expect("a positive rate");
    let replayed = run(deployment(8, stage), &workload((seconds * rate) as u64, gap), Mode::Open, workers);
    let latencies = replayed.outcomes.iter().zip(&replayed.arrived);
    let mut added: Vec<u64> = latencies
        .filter_map(|(outcome, &arrived)| outcome.latency(arrived))
        .map(|latency| latency.saturating_sub(stage).nanos() / 1000)
        .collect();
    added.sort_unstable();
    let at = |q: f64| added[((added.len() - 1) as f64 * q) as usize];
    println!(
        "{rate} requests/s for {seconds} s: added latency p50 {} us, p90 {} us, p99 {} us",
        at(0.5),
        at(0.9),
        at(0.99)
    );
    if let Some(lateness) = replayed.lateness {
        println!("of that the client sent late by p50 {:.0} us, p99 {:.0} us", 1e6 * lateness.p50, 1e6 * lateness.p99);
    }
    let requests = 50_000;
    let replayed =
        run(deployment(16, Span::from_nanos(1_000)), &workload(requests, Span::ZERO), Mode::Closed(64), workers);
    let rate = requests as f64 / replayed.wall.as_secs_f64();
    println!("closed loop of 64: {rate:.0} requests/s, client included");
}
