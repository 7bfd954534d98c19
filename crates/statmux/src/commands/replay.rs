//! `statmux replay`: the scenario's workload, sent to a server over HTTP.

use crate::args::{Common, Format, ScenarioArg, positive};
use crate::commands::tables::{fates, groups_table, models_table, summary_table};
use crate::interrupt;
use crate::output::{End, UsageError, print_beside, say};
use crate::progress::Bar;
use crate::scenario::load;
use clap::Args;
use serde::Serialize;
use statmux_core::files::{LatencyResult, ResultsFile, read_text};
use statmux_core::{PlacementWindows, Span, Workload};
use statmux_report::number;
use statmux_scenario::Scenario;
use statmux_serve::replay::{Mode, ReplayError, ReplaySettings, Replayed, replay_until};
use statmux_workload::requests::{check_output, write_results_at};
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
    /// The server, such as http://127.0.0.1:8080 or unix:/run/statmux.sock
    #[arg(long, value_name = "URL")]
    target: String,
    /// Keeps N requests in flight instead of sending each when the workload says
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    closed: Option<u32>,
    /// Writes what became of each request (.csv, .csv.gz, .csv.zst or .parquet); `-` is stdout
    #[arg(long, value_name = "FILE")]
    requests_out: Option<PathBuf>,
    /// Tokens in prompts whose length the workload does not say
    #[arg(long, value_name = "N", default_value_t = 128, value_parser = tokens())]
    prompt_tokens: u32,
    /// Tokens asked of decoders where the workload does not say
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = tokens())]
    output_tokens: u32,
    /// A request without an answer after this long has failed
    #[arg(long, value_name = "TIME", default_value = "120 s", value_parser = positive::<Span>)]
    timeout: Span,
    /// A file whose first line is the key to show to the server
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
}

/// So many tokens can be put into one request.
fn tokens() -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(1..=1 << 20)
}

/// What `--format json` prints: the results as `simulate` prints them, and how the client did.
#[derive(Serialize)]
struct ReplayResult {
    /// Whether a signal came before all was sent and answered: everything below is about what was.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    interrupted: bool,
    /// How many requests of the workload were not over by then.
    #[serde(skip_serializing_if = "Option::is_none")]
    left_out: Option<usize>,
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
    if let Some(path) = &args.requests_out {
        check_output(path)?;
    }
    let scenario = load(&args.scenario, common)?;
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
    interrupt::keep_parts();
    let replayed = send(&scenario, &settings, common)?;
    let interrupted = replayed.left_out > 0;
    if replayed.over.is_empty() && interrupted {
        say("interrupted before a request was answered: nothing is written");
        return Ok(End::Interrupted);
    }
    let (workload, results) = results(&scenario, mode, &replayed);
    if let Some(path) = &args.requests_out {
        let names: Vec<&str> = scenario.models.iter().map(|model| model.name.as_str()).collect();
        write_results_at(path, &workload, &names, &replayed.outcomes, scenario.offset)?;
    }
    let lateness_s = replayed.lateness.map(LatencyResult::from);
    let client = Client { reasons: replayed.reasons, lateness_s, connections: replayed.connections };
    let left_out = interrupted.then_some(replayed.left_out);
    let result = ReplayResult { interrupted, left_out, results, client };
    print_beside(args.requests_out.as_deref(), common.format, || text(&result), &result)?;
    if !common.quiet && common.format == Format::Text {
        say("Compare with a simulation of the same placement: statmux compare-runs SIMULATED REPLAYED");
    }
    Ok(End::of(interrupted))
}

/// Sends the scenario's workload, showing how far it is.
pub(crate) fn send(scenario: &Scenario, settings: &ReplaySettings, common: Common) -> anyhow::Result<Replayed> {
    let bar = Bar::new(common, "replaying", Some(scenario.test.len() as u64));
    let done = Arc::new(AtomicUsize::new(0));
    let replayed = std::thread::scope(|scope| {
        let work = scope.spawn(|| replay_until(&scenario.test, &scenario.models, settings, &done, &interrupt::asked));
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
    let mut workload = scenario.test.select(&replayed.over);
    if replayed.left_out > 0 || mode != Mode::Open {
        workload.arrived.clone_from(&replayed.arrived);
        let first_to_last = workload.arrived.iter().max().zip(workload.arrived.iter().min());
        workload.duration = first_to_last.map_or(Span::ZERO, |(last, first)| last.since(*first));
    }
    let windows = PlacementWindows::fixed(replayed.placement.clone());
    let mut results = scenario.results(&windows, &workload, &replayed.outcomes, &replayed.groups);
    results.wall_s = replayed.wall.as_secs_f64();
    results.requests_per_wall_second = workload.len() as f64 / results.wall_s.max(f64::MIN_POSITIVE);
    (workload, results)
}

fn text(result: &ReplayResult) -> String {
    let mut text = summary_table(&result.results).to_text();
    if let Some(left_out) = result.left_out {
        let left_out = number::count(left_out as u64);
        text.push_str(&format!("Interrupted: {left_out} requests that were not over by then are left out.\n"));
    }
    text.push('\n');
    text.push_str(&fates(&result.results));
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
