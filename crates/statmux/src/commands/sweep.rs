//! `statmux sweep`: a grid of scenarios, cells in parallel, finished cells kept for the next time.

use crate::args::{Common, Format, ScenarioArg};
use crate::commands::compare::{Row, finished_row};
use crate::interrupt;
use crate::output::{End, UsageError, print, say};
use crate::progress::Bar;
use crate::scenario::tell;
use anyhow::Context;
use clap::Args;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use statmux_core::files::{ResultsFile, check_folder, check_output, write_atomically};
use statmux_plan::policy::find;
use statmux_report::chart::{Axis, Chart, LineChart, Series};
use statmux_report::table::{Cell, Column, Table};
use statmux_scenario::{Override, Scenario, bounded, parse_over};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Arguments of `statmux sweep`.
#[derive(Debug, Args)]
pub(crate) struct SweepArgs {
    #[command(flatten)]
    scenario: ScenarioArg,
    /// A key and the values it takes, such as `cluster.devices=8,16,24`; several make a grid
    #[arg(long, value_name = "KEY=A,B,…", required = true)]
    over: Vec<String>,
    /// The policies, separated by commas
    #[arg(long, value_name = "A,B,…", value_delimiter = ',', required = true)]
    policies: Vec<String>,
    /// Where finished cells, the table and the chart go; a later run takes up what is there
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// One point of the grid under one policy.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct CellResult {
    /// The replaced keys and their values as typed.
    at: Vec<(String, String)>,
    policy: String,
    trained_on: String,
    train_slo_attainment: f64,
    train_below_floor: u64,
    replicas: usize,
    plan_wall_s: f64,
    /// No plan of the policy's kind exceeds this attainment on the test window, under any scheduler.
    bound: f64,
    /// The plan for so many devices, which does better on what was planned for than the one found for all.
    #[serde(skip_serializing_if = "Option::is_none")]
    plan_for_devices: Option<String>,
    test: ResultsFile,
}

#[derive(Serialize)]
struct SweepResult<'a> {
    version: u32,
    /// Whether a signal came before all cells were done.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    interrupted: bool,
    cells: Vec<&'a CellResult>,
    unfinished: usize,
}

/// A cell to compute.
struct Job {
    at: Vec<Override>,
    policy: String,
}

pub(crate) fn run(args: &SweepArgs, common: Common) -> anyhow::Result<End> {
    let axes = args.over.iter().map(|text| parse_over(text)).collect::<Result<Vec<_>, _>>().map_err(UsageError)?;
    let base = args.scenario.set.iter().map(|text| Override::parse(text)).collect::<Result<Vec<_>, _>>();
    let base = base.map_err(UsageError)?;
    let jobs = jobs(&axes, &args.policies);
    check_jobs(&jobs, &base, args, common)?;
    let out = args.out.clone().unwrap_or_else(|| default_folder(&args.scenario.path));
    let cells = out.join("cells");
    check_folder(&cells)?;
    for file in ["sweep.csv", "sweep.svg"] {
        check_output(&out.join(file))?;
    }
    interrupt::keep_parts();
    let bar = Bar::new(common, "sweeping", Some(jobs.len() as u64));
    let results: Vec<anyhow::Result<Option<CellResult>>> = jobs
        .par_iter()
        .map(|job| {
            let result = cell(job, &base, args, common, &cells, &bar);
            bar.step();
            result
        })
        .collect();
    bar.finish();
    let results: Vec<Option<CellResult>> = results.into_iter().collect::<anyhow::Result<_>>()?;
    let unfinished = results.iter().filter(|result| result.is_none()).count();
    let mut results: Vec<CellResult> = results.into_iter().flatten().collect();
    keep_better_plans(&mut results, common);
    let table = table(&axes, &results);
    write_atomically(&out.join("sweep.csv"), table.to_csv().as_bytes())?;
    if let [axis] = axes.as_slice()
        && let Some(chart) = chart(axis, &results, &args.policies)
    {
        write_atomically(&out.join("sweep.svg"), chart.svg().as_bytes())?;
    }
    if !common.quiet && common.format == Format::Text {
        say(format!("results are in {}", out.display()));
    }
    let interrupted = unfinished > 0;
    let version = statmux_core::files::VERSION;
    let data = SweepResult { version, interrupted, cells: results.iter().collect(), unfinished };
    let text = || {
        let mut text = if results.is_empty() { String::new() } else { table.to_text() };
        if interrupted {
            text.push_str(&format!("Interrupted: {unfinished} cells are left; the same command goes on with them.\n"));
        }
        text
    };
    print(common.format, text, &data)?;
    Ok(End::of(interrupted))
}

fn jobs(axes: &[Vec<Override>], policies: &[String]) -> Vec<Job> {
    let mut points: Vec<Vec<Override>> = vec![Vec::new()];
    for axis in axes {
        let extend = |point: &Vec<Override>| {
            axis.iter().map(|value| point.iter().chain([value]).cloned().collect()).collect::<Vec<_>>()
        };
        points = points.iter().flat_map(extend).collect();
    }
    let cross = |at: &Vec<Override>| {
        policies.iter().map(|policy| Job { at: at.clone(), policy: policy.clone() }).collect::<Vec<_>>()
    };
    points.iter().flat_map(cross).collect()
}

/// Finds bad input before any work is done: every cell's scenario is read once.
fn check_jobs(jobs: &[Job], base: &[Override], args: &SweepArgs, common: Common) -> anyhow::Result<()> {
    let points = jobs.chunk_by(|a, b| a.at == b.at);
    points.into_iter().enumerate().try_for_each(|(index, point)| {
        let overrides: Vec<Override> = base.iter().chain(&point[0].at).cloned().collect();
        let scenario = Scenario::read_with(&args.scenario.path, &overrides, common.seed)?;
        if index == 0 {
            tell(&scenario, common);
        }
        let names: Vec<&str> = point.iter().map(|job| job.policy.as_str()).collect();
        scenario.planner.build_each(&scenario.path, &names)?;
        Ok(())
    })
}

fn cell(
    job: &Job,
    base: &[Override],
    args: &SweepArgs,
    common: Common,
    folder: &Path,
    bar: &Bar,
) -> anyhow::Result<Option<CellResult>> {
    let overrides: Vec<Override> = base.iter().chain(&job.at).cloned().collect();
    let scenario = Scenario::read_with(&args.scenario.path, &overrides, common.seed)?;
    let path = folder.join(format!("{:016x}.json", fingerprint(&scenario, job)));
    let most = || scenario.bound_of(&scenario.test, bounded(&job.policy));
    // A cell that cannot be read back (another version's, say) is computed again.
    if let Some(known) = std::fs::read(&path).ok().and_then(|text| serde_json::from_slice::<CellResult>(&text).ok()) {
        return Ok(Some(CellResult { bound: most(), ..known }));
    }
    let row = finished_row(&scenario, &job.policy, bar).with_context(|| format!("in the cell {}", label(job)))?;
    let Some(row) = row else { return Ok(None) };
    let Row { policy, trained_on, train_slo_attainment, train_below_floor, replicas, plan_wall_s, test, .. } = row;
    let result = CellResult {
        at: job.at.iter().map(|value| (value.key.clone(), value.shown())).collect(),
        policy: policy.to_owned(),
        trained_on: trained_on.to_owned(),
        train_slo_attainment,
        train_below_floor,
        replicas,
        plan_wall_s,
        bound: most(),
        plan_for_devices: None,
        test,
    };
    write_atomically(&path, &serde_json::to_vec(&result)?)?;
    Ok(Some(result))
}

/// Idle devices are always allowed: where a policy that looks for the best it can find did better on what it planned
/// for with fewer devices, that plan stands for more devices too. Other policies are left as published, with a remark.
fn keep_better_plans(results: &mut [CellResult], common: Common) {
    let devices = |cell: &CellResult| {
        let value = cell.at.iter().find(|(key, _)| key == DEVICES)?;
        value.1.parse::<u64>().ok()
    };
    let mut order: Vec<(u64, usize)> =
        (0..results.len()).filter_map(|index| Some((devices(&results[index])?, index))).collect();
    order.sort_unstable();
    let mut best: BTreeMap<(String, Vec<(String, String)>), usize> = BTreeMap::new();
    let mut worse: BTreeSet<String> = BTreeSet::new();
    for (_, index) in order {
        let cell = &results[index];
        let rest = cell.at.iter().filter(|(key, _)| key != DEVICES).cloned().collect();
        let key = (cell.policy.clone(), rest);
        let ahead = |known: &CellResult| {
            (known.train_below_floor, -known.train_slo_attainment)
                < (cell.train_below_floor, -cell.train_slo_attainment)
        };
        match best.get(&key).filter(|&&known| ahead(&results[known])) {
            Some(&known) if find(&cell.policy).is_some_and(|info| info.improves) => {
                let known = results[known].clone();
                let fewer = known.at.iter().find(|(key, _)| key == DEVICES).map(|(_, value)| value.clone());
                let plan_for_devices = known.plan_for_devices.clone().or(fewer);
                let (at, bound) = (cell.at.clone(), cell.bound);
                results[index] = CellResult { at, bound, plan_for_devices, ..known };
            }
            Some(_) => {
                worse.insert(cell.policy.clone());
            }
            None => {
                best.insert(key, index);
            }
        }
    }
    for policy in worse.into_iter().filter(|_| !common.quiet) {
        say(format!("note: {policy} does worse on some more devices than on fewer: it is left as published"));
    }
}

/// The key that counts devices.
const DEVICES: &str = "cluster.devices";

fn label(job: &Job) -> String {
    let at: Vec<String> = job.at.iter().map(|value| format!("{}={}", value.key, value.shown())).collect();
    format!("{} {}", at.join(" "), job.policy)
}

/// A hash of all that a cell's result depends on: the resolved scenario with its requests, the policy, and
/// this program's version.
fn fingerprint(scenario: &Scenario, job: &Job) -> u64 {
    let mut hash = Fnv::new();
    hash.text(env!("CARGO_PKG_VERSION"));
    hash.text(&job.policy);
    hash.text(&format!("{:?}", (scenario.seed, &scenario.cluster, &scenario.simulation, &scenario.planner)));
    for model in &scenario.models {
        hash.text(&format!("{model:?}"));
    }
    for workload in [&scenario.train, &scenario.test] {
        for index in 0..workload.len() {
            hash.number(workload.arrived[index].nanos());
            hash.number(u64::from(workload.model[index].0));
        }
        workload.slo.iter().for_each(|slo| hash.number(slo.nanos()));
    }
    hash.0
}

/// The FNV-1a hash: stable from run to run, which the standard hasher does not promise.
struct Fnv(u64);

impl Fnv {
    fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    fn text(&mut self, text: &str) {
        text.bytes().for_each(|byte| self.mix(u64::from(byte)));
        self.mix(0xff);
    }

    fn number(&mut self, number: u64) {
        self.mix(number);
        self.mix(number >> 32);
    }

    fn mix(&mut self, value: u64) {
        self.0 = (self.0 ^ value).wrapping_mul(0x0100_0000_01b3);
    }
}

fn default_folder(scenario: &Path) -> PathBuf {
    let stem = scenario.file_stem().map_or_else(|| "scenario".into(), |stem| stem.to_string_lossy());
    PathBuf::from(format!("{stem}-sweep"))
}

fn table(axes: &[Vec<Override>], results: &[CellResult]) -> Table {
    let keys = axes.iter().map(|axis| Column::number(axis[0].key.as_str()).key(axis[0].key.as_str()));
    let columns =
        ["attainment", "bound", "worst model", "missed", "mean", "p99", "train attainment"].map(Column::number);
    let mut table = Table::new(keys.chain([Column::text("policy")]).chain(columns));
    for result in results {
        let values = result.at.iter().map(|(_, value)| Cell::from(value.as_str()));
        let latency = result.test.latency_s;
        let figures = [
            Cell::from(result.policy.as_str()),
            Cell::percent(result.test.slo_attainment),
            Cell::percent(result.bound),
            result.test.worst_model.as_ref().map_or_else(Cell::nothing, |worst| Cell::percent(worst.attainment())),
            Cell::count(result.test.requests - result.test.served_in_slo),
            latency.map_or_else(Cell::nothing, |latency| Cell::latency(latency.mean)),
            latency.map_or_else(Cell::nothing, |latency| Cell::latency(latency.p99)),
            Cell::percent(result.train_slo_attainment),
        ];
        table.row(values.chain(figures));
    }
    table
}

/// Attainment over the values of the only axis, if they are numbers.
fn chart(axis: &[Override], results: &[CellResult], policies: &[String]) -> Option<Chart> {
    axis.iter().all(|value| value.number().is_some()).then_some(())?;
    let mut chart = LineChart::new(Axis::linear(axis[0].key.as_str()), Axis::percent("SLO attainment"));
    for policy in policies {
        let points = results.iter().filter(|result| &result.policy == policy).filter_map(|result| {
            let value = axis.iter().find(|value| value.shown() == result.at[0].1)?;
            Some((value.number()?, result.test.slo_attainment))
        });
        chart = chart.series(Series::new(policy.as_str(), points.collect::<Vec<_>>()));
    }
    Some(Chart::from(chart.target(0.99, "99 %")))
}
