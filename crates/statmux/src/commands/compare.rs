//! `statmux compare`: several policies on one scenario, side by side.

use crate::args::{Common, ScenarioArg};
use crate::commands::tables::fates;
use crate::interrupt;
use crate::output::{End, print};
use crate::planning::tell_unused;
use crate::progress::Bar;
use crate::scenario::load;
use clap::Args;
use serde::Serialize;
use statmux_core::files::ResultsFile;
use statmux_plan::bound::Of;
use statmux_report::number;
use statmux_report::table::{Cell, Column, Table};
use statmux_scenario::{BOUND_OF, Scenario, short_of_floor};
use std::collections::BTreeSet;

/// Arguments of `statmux compare`.
#[derive(Debug, Args)]
pub(crate) struct CompareArgs {
    #[command(flatten)]
    scenario: ScenarioArg,
    /// The policies, separated by commas
    #[arg(long, value_name = "A,B,…", value_delimiter = ',', required = true)]
    policies: Vec<String>,
}

/// What one policy achieved.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Row {
    /// Its name.
    pub(crate) policy: &'static str,
    /// What its planner saw.
    pub(crate) trained_on: &'static str,
    /// Attainment on what the planner saw.
    pub(crate) train_slo_attainment: f64,
    /// Requests of the same by which models fall short of the scenario's floor, together.
    pub(crate) train_below_floor: u64,
    /// Replicas in the first window.
    pub(crate) replicas: usize,
    /// Placements scored.
    pub(crate) evaluations: u64,
    /// Planning time.
    pub(crate) plan_wall_s: f64,
    /// What a reader should know of the search.
    pub(crate) notes: Vec<String>,
    /// Results on the test window.
    pub(crate) test: ResultsFile,
}

#[derive(Serialize)]
struct Comparison {
    version: u32,
    /// Whether a signal came before all policies were done.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    interrupted: bool,
    /// Policies that were not done by then.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unfinished: Vec<String>,
    seed: u64,
    /// No plan that stays loaded exceeds this attainment on the test window, under any scheduler.
    bound: f64,
    /// Which plans the bound is of.
    bound_of: &'static str,
    /// The same for plans that replace models at no cost; absent if no policy makes such.
    #[serde(skip_serializing_if = "Option::is_none")]
    bound_replacing: Option<f64>,
    policies: Vec<Row>,
    /// What in the scenario looks like a mistake.
    warnings: Vec<String>,
    provenance: Vec<String>,
}

pub(crate) fn run(args: &CompareArgs, common: Common) -> anyhow::Result<End> {
    let scenario = load(&args.scenario, common)?;
    let names: Vec<&str> = args.policies.iter().map(String::as_str).collect();
    scenario.planner.build_each(&scenario.path, &names)?;
    tell_unused(&scenario, &names, common);
    interrupt::keep_parts();
    let bar = Bar::new(common, "comparing", Some(args.policies.len() as u64));
    let mut rows = Vec::new();
    for policy in &args.policies {
        let Some(row) = finished_row(&scenario, policy, &bar)? else { break };
        rows.push(row);
        bar.step();
    }
    bar.finish();
    let unfinished = args.policies[rows.len()..].to_vec();
    let interrupted = !unfinished.is_empty();
    let comparison = Comparison {
        version: statmux_core::files::VERSION,
        interrupted,
        unfinished,
        seed: scenario.seed.0,
        bound: scenario.bound(&scenario.test),
        bound_of: BOUND_OF.words(),
        bound_replacing: scenario.bound_replacing(&scenario.test, rows.iter().map(|row| row.policy)),
        policies: rows,
        warnings: scenario.warnings.clone(),
        provenance: scenario.provenance.clone(),
    };
    let text = || {
        let requests = number::count(scenario.test.len() as u64);
        let (models, devices) = (scenario.models.len(), scenario.cluster.len());
        let mut text = format!("{requests} requests to {models} models on {devices} devices\n\n");
        if !comparison.policies.is_empty() {
            text.push_str(&table(&comparison.policies).to_text());
        }
        if interrupted {
            text.push_str(&format!("Interrupted: not done are {}.\n", comparison.unfinished.join(", ")));
        }
        let most = number::percent(comparison.bound);
        text.push_str(&format!("\nUpper bound for {} on the test window: {most}.\n", comparison.bound_of));
        if let Some(most) = comparison.bound_replacing {
            let (of, most) = (Of::AnyPlacements.words(), number::percent(most));
            text.push_str(&format!("Upper bound for {of}: {most}.\n"));
        }
        text.push_str(&format!("{}\n", scenario.trained_on.sentence()));
        for row in &comparison.policies {
            text.push_str(&format!("\n{}:\n{}", row.policy, fates(&row.test)));
            row.notes.iter().for_each(|note| text.push_str(&format!("{}: {note}\n", row.policy)));
        }
        let notes: BTreeSet<&String> = comparison.policies.iter().flat_map(|row| &row.test.notes).collect();
        for note in notes {
            text.push_str(&format!("note: {note}\n"));
        }
        for line in &comparison.provenance {
            text.push_str(&format!("stage times: {line}\n"));
        }
        text
    };
    print(common.format, text, &comparison)?;
    Ok(End::of(interrupted))
}

/// The same as [`row`]; `None` if a signal came before it was done, for what a search found by then is not what the
/// policy finds.
pub(crate) fn finished_row(scenario: &Scenario, policy: &str, bar: &Bar) -> anyhow::Result<Option<Row>> {
    if interrupt::asked() {
        return Ok(None);
    }
    let row = row(scenario, policy, bar)?;
    Ok((!interrupt::asked()).then_some(row))
}

/// Plans and scores with one policy.
fn row(scenario: &Scenario, policy: &str, bar: &Bar) -> anyhow::Result<Row> {
    let planned = scenario.plan(Some(policy), bar)?;
    let windows = &planned.plan.windows;
    let train = scenario.score(&planned.plan, scenario.seen(planned.trained_on))?.results;
    let test = scenario.score(&planned.plan, &scenario.test)?.results;
    Ok(Row {
        policy: planned.policy,
        trained_on: planned.trained_on.name(),
        train_slo_attainment: train.slo_attainment,
        train_below_floor: short_of_floor(&train, scenario.planner.floor()),
        replicas: windows.0.first().map_or(0, |window| window.placement.replicas()),
        evaluations: planned.plan.evaluations,
        plan_wall_s: planned.wall.as_secs_f64(),
        notes: planned.plan.notes.clone(),
        test,
    })
}

/// The comparison as a table.
pub(crate) fn table(rows: &[Row]) -> Table {
    let columns =
        ["attainment", "worst model", "missed", "p50", "p99", "goodput", "train attainment", "replicas", "plan time"]
            .map(Column::number);
    let mut table = Table::new([Column::text("policy")].into_iter().chain(columns));
    for row in rows {
        let latency = row.test.latency_s;
        table.row([
            Cell::from(row.policy),
            Cell::percent(row.test.slo_attainment),
            row.test.worst_model.as_ref().map_or_else(Cell::nothing, |worst| Cell::percent(worst.slo_attainment)),
            Cell::count(row.test.requests - row.test.served_in_slo),
            latency.map_or_else(Cell::nothing, |latency| Cell::latency(latency.p50)),
            latency.map_or_else(Cell::nothing, |latency| Cell::latency(latency.p99)),
            Cell::from(number::rate(row.test.goodput_rps, "req").as_str()),
            Cell::percent(row.train_slo_attainment),
            Cell::count(row.replicas as u64),
            Cell::from(number::duration(row.plan_wall_s).as_str()),
        ]);
    }
    table
}
