//! Real runs on two GPUs, simulated from their arrivals: mean latency within 5 %, 99th percentile within 10 %.
//!
//! The table is printed by `cargo test --release -p statmux-sim --test two_gpus -- --nocapture`.
//!
//! All that the simulation knows is taken from the measured stage times, as medians over the run:
//!
//! - *execution* of a stage, from its start to its end;
//! - *turnaround* of a device: from the end of one execution to the start of the next that was already waiting.
//!   The device is taken for that long, so it belongs to the stage's time in the profile. (Left out, the mean is
//!   up to 70 % too low, since queues at a device that is 90 % busy are made of it.)
//! - *overhead*: what is left of the latency after the last execution and the turnarounds. It holds no device.

use flate2::read::GzDecoder;
use statmux_core::metrics::LatencySummary;
use statmux_core::{
    Bytes, Cluster, ConfigProfile, DeviceId, Group, ModelId, ModelProfile, ModelSpec, Outcome, ParallelConfig,
    Placement, PlacementWindows, Slo, Span, Time, Workload,
};
use statmux_sched::{Admission, Settings};
use statmux_sim::{SimulationSettings, simulate};
use std::collections::BTreeMap;
use std::sync::Arc;

/// One request of a run; seconds since its arrival.
struct Measured {
    model: u32,
    arrived: f64,
    latency: f64,
    executions: Vec<Execution>,
}

struct Execution {
    devices: String,
    start: f64,
    end: f64,
}

fn runs() -> BTreeMap<String, Vec<Measured>> {
    let sample = &include_bytes!("data/two_gpus.csv.gz")[..];
    let mut runs: BTreeMap<String, Vec<Measured>> = BTreeMap::new();
    for row in csv::Reader::from_reader(GzDecoder::new(sample)).records() {
        let row = row.expect("the sample is well formed");
        let seconds = |column: usize| row[column].parse::<f64>().expect("a number") * 1e-6;
        let execution = |at: usize| Execution { devices: row[at].into(), start: seconds(at + 1), end: seconds(at + 2) };
        let executions = [4, 7].into_iter().filter(|&at| !row[at].is_empty()).map(execution).collect();
        let model = row[1].parse().expect("a number");
        let measured = Measured { model, arrived: seconds(2), latency: seconds(3), executions };
        runs.entry(row[0].to_owned()).or_default().push(measured);
    }
    runs
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn seconds(seconds: f64) -> Span {
    Span::from_seconds(seconds).expect("it is positive")
}

/// Seconds from the end of an execution to the start of the next, by device; zero where work hardly ever waits.
fn turnarounds(run: &[Measured]) -> BTreeMap<&str, f64> {
    let mut by_device: BTreeMap<&str, Vec<(f64, f64, f64)>> = BTreeMap::new();
    for request in run {
        let mut ready = 0.0;
        for Execution { devices, start, end } in &request.executions {
            let at = |seconds: f64| request.arrived + seconds;
            by_device.entry(devices).or_default().push((at(*start), at(*end), at(ready)));
            ready = *end;
        }
    }
    let turnaround = |mut executions: Vec<(f64, f64, f64)>| {
        executions.sort_by(|a, b| a.0.total_cmp(&b.0));
        let pairs = executions.windows(2).filter(|pair| pair[1].2 < pair[0].1);
        let gaps: Vec<f64> = pairs.map(|pair| pair[1].0 - pair[0].1).collect();
        if gaps.len() * 20 < executions.len() { 0.0 } else { median(gaps) }
    };
    by_device.into_iter().map(|(devices, executions)| (devices, turnaround(executions))).collect()
}

/// The two models with the stage times of the run, how they are placed, and the overhead in seconds.
fn case(run: &[Measured]) -> (Vec<ModelSpec>, Placement, f64) {
    let turnarounds = turnarounds(run);
    let taken = |execution: &Execution| turnarounds[execution.devices.as_str()];
    let mut models = Vec::new();
    let mut held: BTreeMap<Vec<&str>, Vec<ModelId>> = BTreeMap::new();
    let mut config = ParallelConfig::SINGLE;
    for model in 0..2 {
        let own: Vec<&Measured> = run.iter().filter(|request| request.model == model).collect();
        let path: Vec<&str> = own[0].executions.iter().map(|execution| execution.devices.as_str()).collect();
        let shards = if path[0].contains('+') { 2 } else { 1 };
        config = ParallelConfig::new(shards, path.len() as u32);
        let stage = |stage: usize| {
            let length = |request: &&Measured| request.executions[stage].end - request.executions[stage].start;
            median(own.iter().map(length).collect()) + taken(&own[0].executions[stage])
        };
        let profile = ConfigProfile {
            stage_seconds: [(1, (0..path.len()).map(stage).collect())].into(),
            stage_weights: vec![Bytes::new(1); path.len()],
            ..ConfigProfile::default()
        };
        let profile = Arc::new(ModelProfile::new("bert", "measured", [(config, profile)].into()));
        models.push(ModelSpec { name: format!("model {model}"), slo: Slo::None, profile });
        held.entry(path).or_default().push(ModelId(model));
    }
    let mut next = 0;
    let group = |models: Vec<ModelId>| {
        let devices = (next..next + config.devices()).map(DeviceId).collect();
        next += config.devices();
        Group { config, devices, models }
    };
    let placement = Placement { groups: held.into_values().map(group).collect() };
    let rest = |request: &Measured| {
        let last = request.executions.last().expect("at least one stage");
        request.latency - last.end - request.executions.iter().map(taken).sum::<f64>()
    };
    (models, placement, median(run.iter().map(rest).collect()))
}

#[test]
fn measured_latencies_are_met() {
    println!("run               requests   mean measured   simulated           p99 measured   simulated");
    let runs = runs();
    assert_eq!(runs.len(), 7);
    for (name, run) in runs {
        let (models, placement, overhead) = case(&run);
        let scheduler =
            Settings { admission: Admission::None, fixed_overhead: seconds(overhead), ..Settings::default() };
        let settings = SimulationSettings { scheduler, ..SimulationSettings::default() };
        let workload = Workload {
            arrived: run.iter().map(|request| Time::from_seconds(request.arrived).expect("a time")).collect(),
            model: run.iter().map(|request| ModelId(request.model)).collect(),
            ..Workload::default()
        };
        let cluster = Cluster::uniform(2, 2, Bytes::from_gib(16));
        let windows = PlacementWindows::fixed(placement);
        let simulated = simulate(&cluster, &models, &windows, &workload, &settings).expect("all is profiled");
        let latency = |(outcome, &arrived): (&Outcome, &Time)| outcome.latency(arrived).expect("nothing is rejected");
        let mut latencies: Vec<Span> = simulated.outcomes.iter().zip(&workload.arrived).map(latency).collect();
        let predicted = LatencySummary::new(&mut latencies).expect("there are requests");
        let mut latencies: Vec<Span> = run.iter().map(|request| seconds(request.latency)).collect();
        let real = LatencySummary::new(&mut latencies).expect("there are requests");
        let off = |simulated: f64, real: f64| simulated / real - 1.0;
        println!(
            "{name:<18}{:>8}{:>13.1} ms{:>9.1} ms {:>+5.1} %{:>12.1} ms{:>9.1} ms {:>+5.1} %",
            run.len(),
            1e3 * real.mean,
            1e3 * predicted.mean,
            100.0 * off(predicted.mean, real.mean),
            1e3 * real.p99,
            1e3 * predicted.p99,
            100.0 * off(predicted.p99, real.p99),
        );
        assert!(off(predicted.mean, real.mean).abs() < 0.05, "{name}: the mean is off");
        assert!(off(predicted.p99, real.p99).abs() < 0.10, "{name}: the 99th percentile is off");
    }
}
