//! The demo's second half: real models behind HTTP, replication against model parallelism, predicted against measured.

use super::{ServerDemo, ServerRow};
use crate::args::Common;
use crate::commands::replay::{results, send};
use crate::interrupt;
use crate::progress::Bar;
use crate::serving::machine::{machine, processor};
use crate::serving::measuring::{Measuring, measure_all, points};
use crate::serving::{BackendKind, engine_settings, start};
use statmux_candle::ModelSource;
use statmux_core::files::{placement_json, profile_json, write_atomically};
use statmux_core::{
    Bytes, DeviceId, Group, ModelId, ModelProfile, ModelSpec, Outcome, ParallelConfig, Placement, PlacementWindows,
    Profile, Seed, Slo, Span,
};
use statmux_scenario::{Scenario, Scored};
use statmux_serve::ServerSettings;
use statmux_serve::board::{Board, StageBoard};
use statmux_serve::measure::{Journal, Load, MeasureSettings};
use statmux_serve::replay::{Mode, ReplaySettings};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

const SCENARIO: &str = include_str!("../../../demo/server.toml");
const MODEL: &str = "bert-small";
/// Tokens of each text.
const TOKENS: u32 = 128;
/// How often everything is measured.
const ROUNDS: usize = 5;
/// The share of the devices' time that the workload asks for.
const LOAD: f64 = 0.25;

/// Measures, serves and replays; everything needed to do it again goes to `out`. `None` if a signal came before it was
/// done: half of a comparison says nothing.
pub(super) fn run(out: &Path, common: Common) -> anyhow::Result<Option<ServerDemo>> {
    let Some(profile) = measured(common)? else { return Ok(None) };
    let latency_s = profile.models[MODEL].single_device_seconds().expect("one device is measured first");
    write_atomically(&out.join("this-machine.json"), profile_json(&profile).as_bytes())?;
    let rate = (2.0 * LOAD / latency_s).max(1.0).floor();
    let path = out.join("server.toml");
    write_atomically(&path, SCENARIO.replace("RATE", &format!("{rate:.1}")).as_bytes())?;
    let scenario = Scenario::read_with(&path, &[], common.seed)?;
    let mut rows = Vec::new();
    for (name, file, groups) in placements() {
        let windows = PlacementWindows::fixed(Placement { groups });
        write_atomically(&out.join(file), placement_json(&windows, &scenario.models).as_bytes())?;
        let Some(row) = row(&scenario, name, file, &windows, common)? else { return Ok(None) };
        rows.push(row);
    }
    Ok(Some(ServerDemo {
        scenario: path,
        model: MODEL,
        machine: machine(),
        latency_s,
        rate_rps: rate,
        memory: scenario.cluster.smallest_memory().to_string(),
        placements: rows,
    }))
}

/// Measures in rounds and takes the middle one, so that a moment in which the machine had other work does not count.
fn measured(common: Common) -> anyhow::Result<Option<Profile>> {
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
            warm_up: 3,
            repeats: 15,
            load: Load::Busy,
        },
    };
    let bar = Bar::new(common, "measuring this machine", Some((ROUNDS * points(&measuring)) as u64));
    let mut rounds = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let measured = measure_all(&measuring, &mut Journal::in_memory(), |_| {
            bar.step();
            if interrupt::asked() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        if interrupt::asked() {
            bar.finish();
            return Ok(None);
        }
        anyhow::ensure!(measured.skipped.is_empty(), "cannot measure {MODEL} here: {:?}", measured.skipped);
        rounds.push(measured.profile);
    }
    bar.finish();
    let seconds = |profile: &Profile| -> f64 {
        let configs = profile.models[MODEL].configs();
        configs.flat_map(|(_, config)| &config.stage_seconds[&1]).sum()
    };
    rounds.sort_by(|a, b| seconds(a).total_cmp(&seconds(b)));
    Ok(Some(rounds.swap_remove(ROUNDS / 2)))
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
) -> anyhow::Result<Option<ServerRow>> {
    let config = windows.0[0].placement.groups[0].config;
    let Scored { run: simulated, results: predicted } = scenario.score_placement(windows, &scenario.test)?;
    let settings = ServerSettings {
        address: SocketAddr::from(([127, 0, 0, 1], 0)),
        engine: engine_settings(scenario),
        ..ServerSettings::default()
    };
    let server = start(BackendKind::Candle, scenario, windows.0[0].placement.clone(), settings)?;
    let settings =
        ReplaySettings { prompt_tokens: TOKENS, ..ReplaySettings::new(format!("http://{}", server.address())) };
    let replayed = send(scenario, &settings, common);
    let slowdown = slowdown(server.gateway().board());
    server.stop();
    let replayed = replayed?;
    if replayed.left_out > 0 || interrupt::asked() {
        return Ok(None);
    }
    let (_, measured) = results(scenario, Mode::Open, &replayed);
    let seen = Scenario { models: as_seen(scenario, &windows.0[0].placement, &slowdown), ..scenario.clone() };
    let explained = seen.score_placement(windows, &scenario.test)?.results;
    let alone = |scenario: &Scenario| -> f64 {
        let profiled = scenario.models[0].profile.config(config).expect("it was simulated with this configuration");
        profiled.stage_seconds[&1].iter().sum()
    };
    Ok(Some(ServerRow {
        placement: name,
        file,
        profiled_s: alone(scenario),
        seen_s: alone(&seen),
        predicted,
        explained,
        measured,
        predicted_latencies: latencies(scenario, &simulated.outcomes),
        measured_latencies: latencies(scenario, &replayed.outcomes),
    }))
}

/// How much longer than predicted each stage took on average, by group and stage; 1 where none ran.
fn slowdown(board: &Board) -> Vec<Vec<f64>> {
    let of = |stage: &StageBoard| match stage.predicted_ns.load(Relaxed) {
        0 => 1.0,
        predicted => stage.busy_ns.load(Relaxed) as f64 / predicted as f64,
    };
    board.groups.iter().map(|group| group.stages.iter().map(of).collect()).collect()
}

/// The scenario's models with the stage times that they really had, by group and stage; deadlines stay what they were.
fn as_seen(scenario: &Scenario, placement: &Placement, slowdown: &[Vec<f64>]) -> Vec<ModelSpec> {
    let mut models = scenario.models.clone();
    for (group, slowdown) in placement.groups.iter().zip(slowdown) {
        for &id in &group.models {
            let model = &mut models[id.index()];
            let slo = model.slo_seconds().and_then(Span::from_seconds).expect("one device is measured first");
            let mut configs: BTreeMap<_, _> =
                model.profile.configs().map(|(config, at)| (config, at.clone())).collect();
            for times in configs.get_mut(&group.config).into_iter().flat_map(|at| at.stage_seconds.values_mut()) {
                times.iter_mut().zip(slowdown).for_each(|(seconds, factor)| *seconds *= factor);
            }
            model.slo = Slo::Latency(slo);
            model.profile = Arc::new(ModelProfile::new(&model.profile.name, &model.profile.provenance, configs));
        }
    }
    models
}

/// Latencies of served requests in seconds, sorted.
fn latencies(scenario: &Scenario, outcomes: &[Outcome]) -> Vec<f64> {
    let served = outcomes.iter().zip(&scenario.test.arrived);
    let mut seconds: Vec<f64> =
        served.filter_map(|(outcome, &arrived)| Some(outcome.latency(arrived)?.seconds())).collect();
    seconds.sort_by(f64::total_cmp);
    seconds
}
