//! The demo's second half: real models behind HTTP, replication against model parallelism, predicted against measured.

use super::{ServerDemo, ServerRow};
use crate::args::Common;
use crate::commands::replay::{results, send};
use crate::interrupt;
use crate::planning::score;
use crate::progress::Bar;
use crate::scenario::Scenario;
use crate::serving::machine::{machine, processor};
use crate::serving::measuring::{Measuring, measure_all, points};
use crate::serving::{BackendKind, engine_settings, start};
use statmux_candle::ModelSource;
use statmux_core::files::{placement_json, profile_json, write_atomically};
use statmux_core::{
    Bytes, DeviceId, Group, ModelId, Outcome, ParallelConfig, Placement, PlacementWindows, Profile, Seed,
};
use statmux_serve::ServerSettings;
use statmux_serve::measure::{Journal, MeasureSettings};
use statmux_serve::replay::{Mode, ReplaySettings};
use std::net::SocketAddr;
use std::path::Path;

const SCENARIO: &str = include_str!("../../../demo/server.toml");
const MODEL: &str = "bert-small";
/// Tokens of each text.
const TOKENS: u32 = 128;
/// The share of the devices' time that the workload asks for.
const LOAD: f64 = 0.25;

/// Measures, serves and replays; everything needed to do it again goes to `out`.
pub(super) fn run(out: &Path, common: Common) -> anyhow::Result<ServerDemo> {
    let profile = measured(common)?;
    let latency_s = profile.models[MODEL].single_device_seconds().expect("one device is measured first");
    write_atomically(&out.join("this-machine.json"), profile_json(&profile).as_bytes())?;
    let rate = (2.0 * LOAD / latency_s).max(1.0).floor();
    let path = out.join("server.toml");
    write_atomically(&path, SCENARIO.replace("RATE", &format!("{rate:.1}")).as_bytes())?;
    let scenario = Scenario::load_with(&path, &[], common.seed)?;
    let mut rows = Vec::new();
    for (name, file, groups) in placements() {
        if interrupt::asked() {
            break;
        }
        let windows = PlacementWindows::fixed(Placement { groups });
        write_atomically(&out.join(file), placement_json(&windows, &scenario.models).as_bytes())?;
        rows.push(row(&scenario, name, file, &windows, common)?);
    }
    Ok(ServerDemo {
        scenario: path,
        model: MODEL,
        machine: machine(),
        latency_s,
        rate_rps: rate,
        memory: scenario.cluster.smallest_memory().to_string(),
        placements: rows,
    })
}

fn measured(common: Common) -> anyhow::Result<Profile> {
    let measuring = Measuring {
        models: vec![(MODEL.to_owned(), ModelSource::Preset { name: MODEL.to_owned(), seed: Seed(0) })],
        memory: Bytes::from_gib(2),
        masked_logits: true,
        settings: MeasureSettings {
            device: format!("one core of {}", processor()),
            models: Vec::new(),
            configs: vec![ParallelConfig::SINGLE, ParallelConfig::new(1, 2)],
            batches: vec![1],
            lengths: vec![TOKENS],
            output_tokens: 1,
            warm_up: 5,
            repeats: 41,
        },
    };
    let bar = Bar::new(common, "measuring this machine", Some(points(&measuring) as u64));
    let measured = measure_all(&measuring, &mut Journal::in_memory(), |_| bar.step())?;
    bar.finish();
    anyhow::ensure!(measured.skipped.is_empty(), "cannot measure {MODEL} here: {:?}", measured.skipped);
    Ok(measured.profile)
}

/// Each model on a device of its own, and both models cut over both devices.
fn placements() -> [(&'static str, &'static str, Vec<Group>); 2] {
    let replica = |index: u32| Group {
        devices: vec![DeviceId(index)],
        config: ParallelConfig::SINGLE,
        models: vec![ModelId(index)],
    };
    let pipeline = Group {
        devices: vec![DeviceId(0), DeviceId(1)],
        config: ParallelConfig::new(1, 2),
        models: vec![ModelId(0), ModelId(1)],
    };
    [
        ("replication", "replication.json", vec![replica(0), replica(1)]),
        ("model parallelism", "pipeline.json", vec![pipeline]),
    ]
}

fn row(
    scenario: &Scenario,
    name: &'static str,
    file: &'static str,
    windows: &PlacementWindows,
    common: Common,
) -> anyhow::Result<ServerRow> {
    let (simulated, predicted) = score(scenario, windows, &scenario.test)?;
    let settings = ServerSettings {
        address: SocketAddr::from(([127, 0, 0, 1], 0)),
        engine: engine_settings(scenario),
        ..ServerSettings::default()
    };
    let server = start(BackendKind::Candle, scenario, windows.0[0].placement.clone(), settings)?;
    let settings =
        ReplaySettings { prompt_tokens: TOKENS, ..ReplaySettings::new(format!("http://{}", server.address())) };
    let replayed = send(scenario, &settings, common);
    server.stop();
    let replayed = replayed?;
    let (_, measured) = results(scenario, Mode::Open, &replayed);
    Ok(ServerRow {
        placement: name,
        file,
        predicted,
        measured,
        predicted_latencies: latencies(scenario, &simulated.outcomes),
        measured_latencies: latencies(scenario, &replayed.outcomes),
    })
}

/// Latencies of served requests in seconds, sorted.
fn latencies(scenario: &Scenario, outcomes: &[Outcome]) -> Vec<f64> {
    let served = outcomes.iter().zip(&scenario.test.arrived);
    let mut seconds: Vec<f64> =
        served.filter_map(|(outcome, &arrived)| Some(outcome.latency(arrived)?.seconds())).collect();
    seconds.sort_by(f64::total_cmp);
    seconds
}
