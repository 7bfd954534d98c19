//! `statmux explain`: which models miss, when and why; what would have helped; what a lost device would cost.

use crate::args::{Common, PlacementArg, ScenarioArg};
use crate::output::{End, UsageError, print};
use crate::planning::adopt_what_is_left;
use crate::scenario::load;
use clap::Args;
use serde::Serialize;
use statmux_core::PlacementWindows;
use statmux_plan::Scene;
use statmux_plan::explain::{Cause, Change, Explanation, Remedy, losses, remedies};
use statmux_report::number;
use statmux_report::sparkline::{Glyphs, sparkline};
use statmux_report::table::{Cell, Column, Table};
use statmux_scenario::{BOUND_OF, Scenario};

/// Arguments of `statmux explain`.
#[derive(Debug, Args)]
pub(crate) struct ExplainArgs {
    #[command(flatten)]
    scenario: ScenarioArg,
    #[command(flatten)]
    placement: PlacementArg,
}

/// Columns of the pictures of misses over time.
const PARTS: usize = 40;

/// Models and groups listed.
const LISTED: usize = 12;

/// What `--format json` prints.
#[derive(Serialize)]
struct ExplainResult {
    version: u32,
    seed: u64,
    requests: u64,
    missed: u64,
    slo_attainment: f64,
    /// No plan that stays loaded exceeds this attainment on the same requests, under any scheduler.
    bound: f64,
    /// Which plans the bound is of.
    bound_of: &'static str,
    /// Missed requests by cause.
    causes: Vec<CauseCount>,
    models: Vec<ModelResult>,
    remedies: Vec<RemedyResult>,
    /// What the loss of each group would leave.
    losses: Vec<LossResult>,
    /// What in the scenario looks like a mistake.
    warnings: Vec<String>,
    provenance: Vec<String>,
}

#[derive(Serialize)]
struct CauseCount {
    cause: &'static str,
    requests: u64,
}

#[derive(Serialize)]
struct ModelResult {
    name: String,
    replicas: usize,
    requests: u64,
    missed: u64,
    causes: Vec<CauseCount>,
    /// The part of the run with the most misses.
    worst_from_s: f64,
    worst_to_s: f64,
    missed_over_time: Vec<u64>,
}

#[derive(Serialize)]
struct RemedyResult {
    change: String,
    missed: u64,
    slo_attainment: f64,
}

#[derive(Serialize)]
struct LossResult {
    group: usize,
    devices: Vec<u32>,
    missed: u64,
    slo_attainment: f64,
}

pub(crate) fn run(args: &ExplainArgs, common: Common) -> anyhow::Result<End> {
    let mut scenario = load(&args.scenario, common)?;
    let windows = adopt_what_is_left(&mut scenario, &args.placement)?;
    let [window] = windows.0.as_slice() else {
        let what = "explain looks at one placement at a time, and this file has several windows";
        return Err(UsageError(format!("{}: {what}", args.placement.placement.display())).into());
    };
    let scene = Scene {
        cluster: &scenario.cluster,
        models: &scenario.models,
        settings: &scenario.simulation,
        placement: &window.placement,
        workload: &scenario.test,
    };
    let explanation = Explanation::new(&scene, PARTS)?;
    let remedies = remedies(&scene, &explanation)?;
    let losses = losses(&scene)?;
    let result = ExplainResult::new(&scenario, &windows, &explanation, &remedies, &losses);
    print(common.format, || result.text(), &result)?;
    Ok(End::Done)
}

impl ExplainResult {
    fn new(
        scenario: &Scenario,
        windows: &PlacementWindows,
        explanation: &Explanation,
        remedies: &[Remedy],
        losses: &[u64],
    ) -> Self {
        let requests = explanation.requests;
        let attainment = |missed: u64| 1.0 - missed as f64 / requests.max(1) as f64;
        let part = explanation.part.seconds();
        let model = |misses: &statmux_plan::explain::ModelMisses| {
            let parts = misses.over_time.iter().enumerate();
            let worst = parts.max_by_key(|&(at, &missed)| (missed, std::cmp::Reverse(at))).map_or(0, |(at, _)| at);
            ModelResult {
                name: scenario.models[misses.model.index()].name.clone(),
                replicas: misses.replicas,
                requests: misses.requests,
                missed: misses.missed,
                causes: causes(&misses.causes),
                worst_from_s: worst as f64 * part,
                worst_to_s: (worst + 1) as f64 * part,
                missed_over_time: misses.over_time.clone(),
            }
        };
        let remedy = |remedy: &Remedy| RemedyResult {
            change: described(scenario, &remedy.change),
            missed: remedy.missed,
            slo_attainment: attainment(remedy.missed),
        };
        let groups = windows.0.iter().flat_map(|window| &window.placement.groups);
        let loss = |(group, (placed, &missed)): (usize, (&statmux_core::Group, &u64))| LossResult {
            group,
            devices: placed.devices.iter().map(|device| device.0).collect(),
            missed,
            slo_attainment: attainment(missed),
        };
        Self {
            version: statmux_core::files::VERSION,
            seed: scenario.seed.0,
            requests,
            missed: explanation.missed(),
            slo_attainment: attainment(explanation.missed()),
            bound: scenario.bound(&scenario.test),
            bound_of: BOUND_OF.words(),
            causes: causes(&explanation.causes()),
            models: explanation.models.iter().map(model).collect(),
            remedies: remedies.iter().map(remedy).collect(),
            losses: groups.zip(losses).enumerate().map(loss).collect(),
            warnings: scenario.warnings.clone(),
            provenance: scenario.provenance.clone(),
        }
    }

    fn text(&self) -> String {
        let mut text = format!(
            "{} of {} requests miss their SLO (attainment {}).\nUpper bound for {}: {}.\n",
            number::count(self.missed),
            number::count(self.requests),
            number::percent(self.slo_attainment),
            self.bound_of,
            number::percent(self.bound),
        );
        for CauseCount { cause, requests } in &self.causes {
            let about = Cause::ALL.into_iter().find(|known| known.name() == *cause).map_or("", Cause::about);
            text.push_str(&format!("  {:>9}  {cause:<12}  {about}\n", number::count(*requests)));
        }
        if self.missed > 0 {
            text.push_str(&format!("\n{}", self.models_table().to_text()));
        }
        text.push_str("\nOne change at a time, each simulated on the same requests:\n");
        if self.remedies.is_empty() {
            text.push_str("  none of those tried would have saved a request\n");
        }
        for remedy in &self.remedies {
            let saved = self.missed - remedy.missed;
            let share = number::percent(remedy.slo_attainment);
            text.push_str(&format!("  {:>9} saved, attainment {share}: {}\n", number::count(saved), remedy.change));
        }
        text.push_str(&format!("\n{}", self.losses_table().to_text()));
        for line in &self.provenance {
            text.push_str(&format!("\nstage times: {line}"));
        }
        text
    }

    fn models_table(&self) -> Table {
        let mut table = Table::new([
            Column::text("model"),
            Column::number("replicas"),
            Column::number("requests"),
            Column::number("missed"),
            Column::text("mostly because"),
            Column::text("worst time"),
            Column::text("misses over time"),
        ]);
        for model in self.models.iter().take(LISTED) {
            let most = model.causes.iter().max_by_key(|count| count.requests);
            let top = model.missed_over_time.iter().copied().max().unwrap_or(0) as f64;
            let over_time: Vec<f64> = model.missed_over_time.iter().map(|&missed| missed as f64).collect();
            let worst = format!("{} to {}", number::duration(model.worst_from_s), number::duration(model.worst_to_s));
            table.row([
                Cell::from(model.name.as_str()),
                Cell::count(model.replicas as u64),
                Cell::count(model.requests),
                Cell::count(model.missed),
                Cell::from(most.map_or("", |most| most.cause)),
                Cell::from(worst.as_str()),
                Cell::from(sparkline(&over_time, PARTS, top, Glyphs::Blocks).as_str()),
            ]);
        }
        if let Some(more) = self.models.len().checked_sub(LISTED).filter(|&more| more > 0) {
            let more = format!("… and {more} more");
            table.row([Cell::from(more.as_str())].into_iter().chain((0..6).map(|_| Cell::nothing())));
        }
        table
    }

    /// The groups whose loss costs most.
    fn losses_table(&self) -> Table {
        let columns = ["misses then", "attainment then"].map(Column::number);
        let mut table = Table::new([Column::text("if lost"), Column::text("devices")].into_iter().chain(columns));
        let mut worst: Vec<&LossResult> = self.losses.iter().collect();
        worst.sort_by_key(|loss| (std::cmp::Reverse(loss.missed), loss.group));
        for loss in worst.into_iter().take(LISTED) {
            let devices: Vec<String> = loss.devices.iter().map(u32::to_string).collect();
            table.row([
                Cell::from(format!("group {}", loss.group).as_str()),
                Cell::from(devices.join(" ").as_str()),
                Cell::count(loss.missed),
                Cell::percent(loss.slo_attainment),
            ]);
        }
        table
    }
}

fn causes(counts: &[u64]) -> Vec<CauseCount> {
    let named = Cause::ALL.into_iter().zip(counts).filter(|&(_, &requests)| requests > 0);
    named.map(|(cause, &requests)| CauseCount { cause: cause.name(), requests }).collect()
}

fn described(scenario: &Scenario, change: &Change) -> String {
    let name = |model: &statmux_core::ModelId| scenario.models[model.index()].name.as_str();
    match change {
        Change::Scheduling { dispatch, discipline } => {
            format!("dispatch = \"{}\", discipline = \"{}\" (costs nothing)", dispatch.name(), discipline.name())
        }
        Change::Replica { model, group } => {
            format!("a replica of {} on group {}, in free memory", name(model), group.0)
        }
        Change::Device { models } => {
            let names: Vec<&str> = models.iter().map(name).collect();
            format!("one more device, as a group of its own, with {}", names.join(" "))
        }
        Change::LongerSlo(factor) => format!("every SLO {} as long", number::factor(*factor)),
    }
}
