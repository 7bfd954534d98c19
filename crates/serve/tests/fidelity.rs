//! What was simulated is what is served: a short look, with room for a busy machine.

mod common;

use common::{deployment, settings, sleeper};
use statmux_core::{ModelId, PlacementWindows, Slo, Span, Time, Workload};
use statmux_serve::replay::{Mode, ReplaySettings, replay};
use statmux_serve::{Deployment, Server};
use statmux_sim::{SimulationSettings, simulate};
use std::sync::Arc;

/// Arrivals with gaps that vary a lot, from a fixed recurrence.
fn bursty(requests: u64, models: u32, mean_gap: Span) -> Workload {
    let mut workload = Workload::default();
    let mut at = Time::ZERO;
    for n in 0..requests {
        let chance = (n.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407) >> 33) as f64;
        let uniform = (chance / f64::from(1_u32 << 31)).clamp(1e-6, 1.0);
        at += mean_gap.scale(-uniform.ln());
        workload.arrived.push(at);
        workload.model.push(ModelId((n % u64::from(models)) as u32));
    }
    workload.duration = at.since(Time::ZERO);
    workload
}

#[test]
fn served_attainment_is_simulated_attainment() {
    let slo = Slo::Latency(Span::from_millis(60));
    // Two replicas, and one pipeline of two stages; light and overloaded.
    for (groups, pp, gap_ms) in [(2, 1, 16), (1, 2, 7)] {
        let deployment = deployment(groups, pp, 2, Span::from_millis(20), slo);
        let workload = bursty(90, 2, Span::from_millis(gap_ms));
        let Deployment { cluster, models, placement } = &deployment;
        let windows = PlacementWindows::fixed(placement.clone());
        let simulated = simulate(cluster, models, &windows, &workload, &SimulationSettings::default()).expect("runs");
        let server = Server::start(Arc::new(sleeper(&deployment, 1)), deployment.clone(), settings()).expect("starts");
        let settings =
            ReplaySettings { output_tokens: 1, ..ReplaySettings::new(format!("http://{}", server.address())) };
        assert_eq!(settings.mode, Mode::Open);
        let done = Arc::default();
        let served = replay(&workload, models, &settings, &done).expect("it answers");
        server.stop();
        assert_eq!(served.placement, *placement);
        let in_slo =
            |outcomes: &[statmux_core::Outcome]| outcomes.iter().filter(|outcome| outcome.in_slo()).count() as i64;
        let (simulated, measured) = (in_slo(&simulated.outcomes), in_slo(&served.outcomes));
        assert!((simulated - measured).abs() <= 12, "simulated {simulated}, measured {measured}: {:?}", served.reasons);
    }
}

#[test]
fn a_closed_loop_asks_everything_once() {
    let deployment = deployment(2, 1, 2, Span::from_nanos(100_000), Slo::None);
    let server = Server::start(Arc::new(sleeper(&deployment, 1)), deployment.clone(), settings()).expect("starts");
    let settings = ReplaySettings {
        mode: Mode::Closed(8),
        output_tokens: 2,
        ..ReplaySettings::new(format!("http://{}", server.address()))
    };
    let workload = bursty(400, 2, Span::from_millis(1));
    let served = replay(&workload, &deployment.models, &settings, &Arc::default()).expect("it answers");
    assert!(served.outcomes.iter().all(statmux_core::Outcome::in_slo), "{:?}", served.reasons);
    assert_eq!(served.groups.iter().map(|group| group.requests).sum::<u64>(), 400);
    assert!(served.connections <= 9, "{}", served.connections);
    server.stop();
}
