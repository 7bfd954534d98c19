//! `statmux demo`: the tour. Real traffic, several policies, one table, one page with pictures.

mod page;
#[cfg(feature = "candle")]
mod server;
mod serving;

use crate::args::{Common, Format};
use crate::commands::compare::{Row, finished_row, table};
use crate::interrupt;
use crate::output::{End, print, say};
use crate::progress::Bar;
use anyhow::Context;
use clap::Args;
use rayon::prelude::*;
use serde::Serialize;
use serving::ServerDemo;
#[cfg(feature = "candle")]
use serving::ServerRow;
use statmux_core::files::{check_folder, check_output, placement_json, write_atomically};
use statmux_core::summary::GroupUse;
use statmux_core::{Outcome, PlacementWindows};
use statmux_report::number;
use statmux_scenario::{Override, Scenario, Scored};
use std::path::{Path, PathBuf};

/// What the demo needs, in the binary, so that it runs anywhere.
const FILES: &[(&str, &[u8])] = &[
    ("scenario.toml", include_bytes!("../../../demo/scenario.toml")),
    ("azure-functions-2019-sample500.csv.gz", include_bytes!("../../../demo/azure-functions-2019-sample500.csv.gz")),
    ("v100-alpaserve-scaled.json", include_bytes!("../../../../../profiles/v100-alpaserve-scaled.json")),
];

/// The policies compared: the simplest first, the published ones, and what a clairvoyant swapper would get.
const POLICIES: &[&str] = &[
    "uniform-replication",
    "round-robin",
    "selective-replication",
    "clockwork++",
    "alpaserve",
    "alpaserve-buckets",
    "statmux",
];

/// The policies for which the devices needed are counted.
const SIZED: &[&str] = &["selective-replication", "clockwork++", "alpaserve", "statmux"];

/// The attainment that the devices are counted for.
const TARGET: f64 = 0.99;

/// The most devices tried.
const MOST_DEVICES: u32 = 96;

/// Arguments of `statmux demo`.
#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// Where the scenario, its data and the report go
    #[arg(long, value_name = "DIR", default_value = "statmux-demo")]
    out: PathBuf,
    /// Leaves out the second half, which serves real models for a minute
    #[arg(long)]
    without_server: bool,
}

/// What `--format json` prints.
#[derive(Serialize)]
struct DemoResult {
    version: u32,
    /// Whether a signal came before models were served; all else is complete.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    interrupted: bool,
    seed: u64,
    requests: u64,
    models: usize,
    devices: usize,
    bound: f64,
    policies: Vec<Row>,
    devices_for_99_percent: Vec<Sized>,
    bound_devices_for_99_percent: Option<u32>,
    /// Absent where it was left out.
    server: Option<ServerDemo>,
    report: PathBuf,
}

/// What is printed if a signal comes before all policies are planned and sized: what was finished by then.
#[derive(Serialize)]
struct CutShort {
    version: u32,
    interrupted: bool,
    seed: u64,
    policies: Vec<Row>,
    devices_for_99_percent: Vec<Sized>,
}

/// How many devices a policy needs, and what it attains with how many.
#[derive(Clone, Debug, Serialize)]
struct Sized {
    policy: &'static str,
    /// Absent if the most devices tried do not suffice.
    devices: Option<u32>,
    /// (devices, attainment on the test window), by devices.
    tried: Vec<(u32, f64)>,
}

/// One policy's placement in action, for the pictures.
struct Played {
    policy: &'static str,
    windows: PlacementWindows,
    outcomes: Vec<Outcome>,
    #[allow(dead_code)]
    groups: Vec<GroupUse>,
}

pub(crate) fn run(args: &DemoArgs, common: Common) -> anyhow::Result<End> {
    check_folder(&args.out)?;
    for name in FILES.iter().map(|(name, _)| *name).chain(["placement.json", "report.html", "devices.png"]) {
        check_output(&args.out.join(name))?;
    }
    for (name, bytes) in FILES {
        write_atomically(&args.out.join(name), bytes)?;
    }
    let path = args.out.join("scenario.toml");
    let scenario = Scenario::read_with(&path, &[], common.seed)?;
    interrupt::keep_parts();
    let bar = Bar::new(common, "demo", Some((POLICIES.len() + SIZED.len()) as u64));
    let mut rows = Vec::new();
    for policy in POLICIES {
        let Some(row) = finished_row(&scenario, policy, &bar)? else { break };
        rows.push(row);
        bar.step();
    }
    if interrupt::asked() {
        bar.finish();
        return cut_short(&scenario, rows, Vec::new(), common);
    }
    let played = ["selective-replication", "alpaserve"].map(|policy| play(&scenario, policy, &bar));
    let [replication, alpaserve] = played;
    let (replication, alpaserve) = (replication?, alpaserve?);
    let mut sized = Vec::new();
    for policy in SIZED {
        let found = devices_needed(&path, policy, common, &bar)?;
        if interrupt::asked() {
            bar.finish();
            return cut_short(&scenario, rows, sized, common);
        }
        sized.push(found);
        bar.step();
    }
    bar.finish();
    write_atomically(
        &args.out.join("placement.json"),
        placement_json(&alpaserve.windows, &scenario.models).as_bytes(),
    )?;
    let server = if args.without_server { None } else { serve(&args.out, common)? };
    let interrupted = interrupt::asked();
    let report = args.out.join("report.html");
    let result = DemoResult {
        version: statmux_core::files::VERSION,
        interrupted,
        seed: scenario.seed.0,
        requests: scenario.test.len() as u64,
        models: scenario.models.len(),
        devices: scenario.cluster.len(),
        bound: scenario.bound(&scenario.test),
        policies: rows,
        devices_for_99_percent: sized,
        bound_devices_for_99_percent: scenario.bound_devices(&scenario.test, TARGET),
        server,
        report: report.clone(),
    };
    let page = page::page(&scenario, &result, &[replication, alpaserve]).context("cannot draw the report")?;
    write_atomically(&report, page.as_bytes())?;
    write_atomically(&args.out.join("devices.png"), &page::devices_chart(&result).png(1280)?)?;
    let text = || {
        let mut text = text(&scenario, &result);
        if interrupted {
            text.push_str("\nInterrupted: the half that serves real models was not finished and is left out.\n");
        }
        text
    };
    print(common.format, text, &result)?;
    if !common.quiet && common.format == Format::Text {
        say(format!("Open {} for the pictures. Go on with: statmux plan {}", report.display(), path.display()));
    }
    Ok(End::of(interrupted))
}

/// Prints what was finished when a signal came; there is no report of half a comparison.
fn cut_short(scenario: &Scenario, policies: Vec<Row>, sized: Vec<Sized>, common: Common) -> anyhow::Result<End> {
    let result = CutShort {
        version: statmux_core::files::VERSION,
        interrupted: true,
        seed: scenario.seed.0,
        policies,
        devices_for_99_percent: sized,
    };
    let text = || {
        let finished = (!result.policies.is_empty()).then(|| table(&result.policies).to_text());
        let policies = POLICIES.len();
        format!(
            "{}Interrupted: {} of {policies} policies were planned, {} of {} sized; no report was written.\n",
            finished.unwrap_or_default(),
            result.policies.len(),
            result.devices_for_99_percent.len(),
            SIZED.len(),
        )
    };
    print(common.format, text, &result)?;
    Ok(End::Interrupted)
}

#[cfg(feature = "candle")]
fn serve(out: &Path, common: Common) -> anyhow::Result<Option<ServerDemo>> {
    server::run(out, common).context("cannot serve real models")
}

#[cfg(not(feature = "candle"))]
fn serve(_out: &Path, common: Common) -> anyhow::Result<Option<ServerDemo>> {
    if !common.quiet {
        say("note: this build of statmux runs no real models, so the demo's server is left out");
    }
    Ok(None)
}

fn play(scenario: &Scenario, policy: &'static str, bar: &Bar) -> anyhow::Result<Played> {
    let plan = scenario.plan(Some(policy), bar)?.plan;
    let Scored { run, .. } = scenario.score(&plan, &scenario.test)?;
    Ok(Played { policy, windows: plan.windows, outcomes: run.outcomes, groups: run.groups })
}

/// The fewest devices with which `policy` attains the target: doubling, then bisection, each point planned anew.
fn devices_needed(path: &Path, policy: &'static str, common: Common, bar: &Bar) -> anyhow::Result<Sized> {
    let attained = |devices: u32| -> anyhow::Result<(u32, f64)> {
        let devices_key = Override::parse(&format!("cluster.devices={devices}")).expect("a number is a value");
        let scenario = Scenario::read_with(path, &[devices_key], common.seed)?;
        let plan = scenario.plan(Some(policy), bar)?.plan;
        Ok((devices, scenario.score(&plan, &scenario.test)?.results.slo_attainment))
    };
    let coarse: Vec<u32> = (1..=MOST_DEVICES / 8).map(|eights| eights * 8).collect();
    let mut tried: Vec<(u32, f64)> = Vec::new();
    for pair in coarse.chunks(2) {
        tried.extend(pair.par_iter().map(|&devices| attained(devices)).collect::<anyhow::Result<Vec<_>>>()?);
        if tried.iter().any(|&(_, attainment)| attainment >= TARGET) {
            break;
        }
    }
    let enough = tried.iter().find(|(_, attainment)| *attainment >= TARGET).map(|&(devices, _)| devices);
    let Some(mut enough) = enough else { return Ok(Sized { policy, devices: None, tried }) };
    let mut too_few = enough - 8;
    while enough - too_few > 1 {
        let middle = too_few + (enough - too_few) / 2;
        let point = attained(middle)?;
        tried.push(point);
        if point.1 >= TARGET { enough = middle } else { too_few = middle }
    }
    tried.sort_by_key(|&(devices, _)| devices);
    Ok(Sized { policy, devices: Some(enough), tried })
}

impl DemoResult {
    fn row(&self, policy: &str) -> &Row {
        self.policies.iter().find(|row| row.policy == policy).expect("the demo runs every policy it speaks of")
    }

    fn devices_of(&self, policy: &str) -> String {
        let sized = self.devices_for_99_percent.iter().find(|sized| sized.policy == policy);
        sized
            .and_then(|sized| sized.devices)
            .map_or_else(|| format!("more than {MOST_DEVICES}"), |devices| devices.to_string())
    }

    /// What the table means, in a sentence or two.
    fn meaning(&self) -> String {
        let (replication, alpaserve) = (self.row("selective-replication"), self.row("alpaserve"));
        let own = self.row("statmux");
        format!(
            "On the same {} devices, sharing pipelines (alpaserve) keeps {} of its latency promises where one model \
             copy per device (selective-replication) keeps {}; for {} it needs {} devices instead of {}. Searching \
             groups, batches and scheduling rules together (statmux) keeps {}, and needs {} devices for {}.",
            self.devices,
            number::percent(alpaserve.test.slo_attainment),
            number::percent(replication.test.slo_attainment),
            number::percent(TARGET),
            self.devices_of("alpaserve"),
            self.devices_of("selective-replication"),
            number::percent(own.test.slo_attainment),
            self.devices_of("statmux"),
            number::percent(TARGET),
        )
    }
}

fn text(scenario: &Scenario, result: &DemoResult) -> String {
    let mut text = format!(
        "{} requests to {} language models on {} devices of {}: an hour of cloud-function traffic, whose counts per minute\n\
         are recorded and whose arrivals within a minute are drawn. Planned on the hour before (train), scored on an hour\n\
         the planner never saw (test). Attainment: the share of all requests answered within their SLO, five times the\n\
         model's own latency on one device; refused ones count as missed. Goodput: those answered in time, per second.\n\n",
        number::count(result.requests),
        result.models,
        result.devices,
        scenario.cluster.smallest_memory(),
    );
    text.push_str(&table(&result.policies).to_text());
    text.push_str(&format!("\n{}\n", result.meaning()));
    let devices: Vec<String> = result
        .devices_for_99_percent
        .iter()
        .map(|sized| format!("{} {}", sized.policy, result.devices_of(sized.policy)))
        .collect();
    text.push_str(&format!("Devices needed for {}: {}", number::percent(TARGET), devices.join(", ")));
    if let Some(bound) = result.bound_devices_for_99_percent {
        text.push_str(&format!("; no plan that stays loaded can do with fewer than {bound}, whatever the scheduler"));
    }
    text.push_str(".\nclockwork++ re-plans every minute for the traffic of that minute, and swaps models for free: no real system can.\n");
    text.push_str("Stage times are assumed for most models (scaled from one measured V100 profile).\n");
    if let Some(server) = &result.server {
        let (introduction, table, conclusion) = (server.introduction(), server.table().to_text(), server.conclusion());
        text.push_str(&format!("\n{introduction}\n\n{table}\n{conclusion}\n"));
    }
    text
}
