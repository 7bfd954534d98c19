//! `statmux replay`: the scenario's workload, sent to a server over HTTP.

use crate::args::{Common, Format, ScenarioArg};
use crate::commands::tables::{groups_table, models_table, summary_table};
use crate::output::{End, UsageError, print};
use crate::progress::Bar;
use crate::scenario::Scenario;
use clap::Args;
use serde::Serialize;
use statmux_core::files::{LatencyResult, ResultsFile, read_text};
use statmux_core::summary::Finished;
use statmux_core::{PlacementWindows, Span, Workload};
use statmux_report::number;
use statmux_serve::replay::{Mode, ReplayError, ReplaySettings, Replayed, replay};
use statmux_workload::requests::write_results_at;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

/// Arguments of `statmux replay`.
#[derive(Debug, Args)]
pub(crate) struct ReplayArgs {
    #[command(flatten)]
    scenario: ScenarioArg,
    /// The server, such as http://127.0.0.1:8080
    #[arg(long, value_name = "URL")]
    target: String,
    /// Keeps N requests in flight instead of sending each when the workload says
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    closed: Option<u32>,
    /// Writes what became of each request (.csv or .parquet)
    #[arg(long, value_name = "FILE")]
    requests_out: Option<PathBuf>,
    /// Tokens in prompts whose length the workload does not say
    #[arg(long, value_name = "N", default_value_t = 128)]
    prompt_tokens: u32,
    /// Tokens asked of decoders where the workload does not say
    #[arg(long, value_name = "N", default_value_t = 16)]
    output_tokens: u32,
    /// A request without an answer after this long has failed
    #[arg(long, value_name = "TIME", default_value = "120 s")]
    timeout: Span,
    /// A file whose first line is the key to show to the server
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
}

/// What `--format json` prints: the results as `simulate` prints them, and how the client did.
#[derive(Serialize)]
struct ReplayResult {
    #[serde(flatten)]
    results: ResultsFile,
    client: Client,
}

/// The measurement itself.
#[derive(Serialize)]
struct Client {
    /// How often each reason was given for not answering.
    reasons: BTreeMap<String, u64>,
    /// By how much requests were sent later than they should have been.
    lateness_s: Option<LatencyResult>,
    connections: usize,
}

pub(crate) fn run(args: &ReplayArgs, common: Common) -> anyhow::Result<End> {
    let scenario = Scenario::load(&args.scenario, common)?;
    let mode = args.closed.map_or(Mode::Open, |clients| Mode::Closed(clients as usize));
    let key = args.key.as_ref().map(|path| read_text(path)).transpose()?;
    let settings = ReplaySettings {
        mode,
        prompt_tokens: args.prompt_tokens,
        output_tokens: args.output_tokens,
        timeout: Duration::from_nanos(args.timeout.nanos()),
        key: key.and_then(|text| text.lines().next().map(|line| line.trim().to_owned())),
        ..ReplaySettings::new(&args.target)
    };
    let replayed = send(&scenario, &settings, common)?;
    let (workload, results) = results(&scenario, mode, &replayed);
    if let Some(path) = &args.requests_out {
        let names: Vec<&str> = scenario.models.iter().map(|model| model.name.as_str()).collect();
        write_results_at(path, &workload, &names, &replayed.outcomes, scenario.offset)?;
    }
    let lateness_s = replayed.lateness.map(LatencyResult::from);
    let client = Client { reasons: replayed.reasons, lateness_s, connections: replayed.connections };
    let result = ReplayResult { results, client };
    print(common.format, || text(&result), &result)?;
    if !common.quiet && common.format == Format::Text {
        eprintln!("Compare with a simulation of the same placement: statmux compare-runs SIMULATED REPLAYED");
    }
    Ok(End::Done)
}

/// Sends the scenario's workload, showing how far it is.
pub(crate) fn send(scenario: &Scenario, settings: &ReplaySettings, common: Common) -> anyhow::Result<Replayed> {
    let bar = Bar::new(common, "replaying", Some(scenario.test.len() as u64));
    let done = Arc::new(AtomicUsize::new(0));
    let replayed = std::thread::scope(|scope| {
        let work = scope.spawn(|| replay(&scenario.test, &scenario.models, settings, &done));
        while !work.is_finished() {
            bar.at(done.load(Relaxed) as u64);
            std::thread::sleep(Duration::from_millis(50));
        }
        work.join().expect("a replay does not panic")
    });
    bar.finish();
    replayed.map_err(|error| match error {
        // The command line names a server that is none, or another one.
        ReplayError::Target { .. } | ReplayError::NoModel { .. } => UsageError(error.to_string()).into(),
        error => anyhow::Error::from(error).context("cannot replay"),
    })
}

/// The summary of a replay, and the workload as it was really sent.
pub(crate) fn results(scenario: &Scenario, mode: Mode, replayed: &Replayed) -> (Workload, ResultsFile) {
    let mut workload = Workload::clone(&scenario.test);
    if mode != Mode::Open {
        workload.arrived.clone_from(&replayed.arrived);
        let first_to_last = workload.arrived.iter().max().zip(workload.arrived.iter().min());
        workload.duration = first_to_last.map_or(Span::ZERO, |(last, first)| last.since(*first));
    }
    let windows = PlacementWindows::fixed(replayed.placement.clone());
    let finished = Finished {
        workload: &workload,
        models: &scenario.models,
        windows: &windows,
        outcomes: &replayed.outcomes,
        groups: &replayed.groups,
        warmup: scenario.simulation.warmup,
        seed: scenario.seed.0,
    };
    let mut results = finished.results();
    results.wall_s = replayed.wall.as_secs_f64();
    results.requests_per_wall_second = workload.len() as f64 / results.wall_s.max(f64::MIN_POSITIVE);
    (workload, results)
}

fn text(result: &ReplayResult) -> String {
    let mut text = summary_table(&result.results).to_text();
    text.push('\n');
    text.push_str(&models_table(&result.results, 20).to_text());
    text.push('\n');
    text.push_str(&groups_table(&result.results, 20).to_text());
    text.push_str(&format!(
        "\n{} requests/s over {} connections",
        number::significant(result.results.requests_per_wall_second, 3),
        result.client.connections
    ));
    if let Some(lateness) = result.client.lateness_s {
        let (p50, p99) = (number::latency(lateness.p50), number::latency(lateness.p99));
        text.push_str(&format!("; sent late by {p50} (median), {p99} (99th percentile), which latencies include"));
    }
    let reasons = result.client.reasons.iter().map(|(reason, count)| format!("{reason} {}", number::count(*count)));
    let reasons: Vec<String> = reasons.collect();
    if !reasons.is_empty() {
        text.push_str(&format!("\nnot answered: {}", reasons.join(", ")));
    }
    text
}
