//! `statmux plan`: search a placement; say what was found and how good it is.

use crate::args::{Common, ScenarioArg, positive};
use crate::commands::tables::{fates, placement_table};
use crate::interrupt;
use crate::output::{End, print_beside, say};
use crate::planning::{end_of, tell_unused};
use crate::progress::Bar;
use crate::scenario::load;
use clap::Args;
use serde::Serialize;
use statmux_core::files::{PlacementFile, ResultsFile, check_output, write_atomically};
use statmux_core::{Share, Span};
use statmux_plan::policy::statmux::Scheduling;
use statmux_report::number;
use statmux_scenario::bounded;
use std::path::PathBuf;

/// Arguments of `statmux plan`.
#[derive(Debug, Args)]
pub(crate) struct PlanArgs {
    #[command(flatten)]
    scenario: ScenarioArg,
    /// Uses this policy instead of the scenario's
    #[arg(long, value_name = "NAME")]
    policy: Option<String>,
    /// How long the `statmux` policy searches, such as 10s
    #[arg(long, value_name = "TIME", value_parser = positive::<Span>)]
    budget: Option<Span>,
    /// The share of its requests that every model is to be served in time, such as `95%`: `statmux` plans for it
    /// first; exit code 3 if any model gets less on the test window
    #[arg(long, value_name = "SHARE")]
    each: Option<Share>,
    /// Writes the placement to this file; `-` is stdout
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// What `--format json` prints.
#[derive(Serialize)]
struct PlanResult {
    version: u32,
    /// Whether the search was cut short by a signal: this is the best it had.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    interrupted: bool,
    policy: &'static str,
    placement: PlacementFile,
    trained_on: &'static str,
    train: ResultsFile,
    test: ResultsFile,
    /// No such plan exceeds this attainment on the test window, under any scheduler.
    bound: f64,
    /// Which plans the bound is of.
    bound_of: &'static str,
    /// What is left between the attainment on the test window and the bound.
    gap: f64,
    evaluations: u64,
    wall_s: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    ilp_objective: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    proven_optimal: Option<bool>,
    notes: Vec<String>,
    /// What in the scenario looks like a mistake.
    warnings: Vec<String>,
    provenance: Vec<String>,
}

pub(crate) fn run(args: &PlanArgs, common: Common) -> anyhow::Result<End> {
    if let Some(path) = &args.output {
        check_output(path)?;
    }
    let mut scenario = load(&args.scenario, common)?.with_floor(args.each);
    if let Some(budget) = args.budget {
        scenario.planner = scenario.planner.with_search_time(budget);
    }
    tell_unused(&scenario, args.policy.as_deref().as_slice(), common);
    interrupt::keep_parts();
    let bar = Bar::new(common, "planning", None);
    let planned = scenario.plan(args.policy.as_deref(), &bar)?;
    bar.finish();
    let interrupted = interrupt::asked();
    if interrupted && planned.holds_nothing() {
        say("interrupted before a placement was found: nothing is written");
        return Ok(End::Interrupted);
    }
    let windows = &planned.plan.windows;
    let scheduling = planned.plan.scheduling;
    let placement = PlacementFile::new(windows, &scenario.models)
        .with_scheduling(scheduling.as_ref().map(Scheduling::entry))
        .with_interrupted(interrupted);
    if let Some(path) = &args.output {
        write_atomically(path, placement.to_json().as_bytes())?;
    }
    let train = scenario.score(&planned.plan, scenario.seen(planned.trained_on))?.results;
    let test = scenario.score(&planned.plan, &scenario.test)?.results;
    let of = bounded(planned.policy);
    let most = scenario.bound_of(&scenario.test, of);
    let gap = most - test.slo_attainment;
    let result = PlanResult {
        version: statmux_core::files::VERSION,
        interrupted,
        policy: planned.policy,
        placement,
        trained_on: planned.trained_on.name(),
        train,
        test,
        bound: most,
        bound_of: of.words(),
        gap,
        evaluations: planned.plan.evaluations,
        wall_s: planned.wall.as_secs_f64(),
        ilp_objective: planned.plan.details.ilp_objective,
        proven_optimal: planned.plan.details.proven,
        notes: planned.plan.notes.clone(),
        warnings: scenario.warnings.clone(),
        provenance: scenario.provenance.clone(),
    };
    let text = || {
        let mut text = placement_table(windows, &scenario.models, 40).to_text();
        if windows.0.len() > 1 {
            text.push_str(&format!("(the first of {} windows)\n", windows.0.len()));
        }
        text.push_str(&format!(
            "\n{}: SLO attainment {} on the train window, {} on the test window ({} requests).\n{}\n",
            planned.policy,
            number::percent(result.train.slo_attainment),
            number::percent(result.test.slo_attainment),
            number::count(result.test.requests),
            planned.trained_on.sentence(),
        ));
        text.push_str(&format!(
            "Upper bound for {} on the test window: {}, so at most {} is left to gain.\n",
            result.bound_of,
            number::percent(result.bound),
            number::percentage_points(result.gap).trim_start_matches('+'),
        ));
        text.push_str(&fates(&result.test));
        if let Some(Scheduling { dispatch, discipline, max_batch }) = scheduling {
            text.push_str(&format!(
                "Made for dispatch {}, discipline {}, batches of at most {max_batch}; `-o` writes that down too.\n",
                dispatch.name(),
                discipline.name(),
            ));
        }
        text.push_str(&format!(
            "Found in {} with {} evaluations, {} replicas on {} devices.\n",
            number::duration(result.wall_s),
            number::count(result.evaluations),
            windows.0.first().map_or(0, |window| window.placement.replicas()),
            windows.devices(),
        ));
        if interrupted {
            text.push_str("Interrupted: the search was cut short, and this is the best it had.\n");
        }
        for line in result.notes.iter().chain(&result.test.notes).chain(&result.provenance) {
            text.push_str(&format!("- {line}\n"));
        }
        text
    };
    print_beside(args.output.as_deref(), common.format, text, &result)?;
    Ok(if interrupted { End::Interrupted } else { end_of(&result.test) })
}
