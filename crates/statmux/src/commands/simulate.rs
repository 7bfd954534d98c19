//! `statmux simulate`: one placement, one workload, what happens.

use crate::args::{Common, PlacementArg, ScenarioArg};
use crate::commands::tables::{fates, groups_table, models_table, summary_table};
use crate::output::{End, print_beside};
use crate::planning::{adopt_what_is_left, end_of};
use crate::scenario::load;
use clap::Args;
use statmux_core::Share;
use statmux_scenario::Scored;
use statmux_workload::requests::{check_output, write_results_at};
use std::path::PathBuf;

/// Arguments of `statmux simulate`.
#[derive(Debug, Args)]
pub(crate) struct SimulateArgs {
    #[command(flatten)]
    scenario: ScenarioArg,
    #[command(flatten)]
    placement: PlacementArg,
    /// Writes what became of each request (.csv, .csv.gz, .csv.zst or .parquet); `-` is stdout
    #[arg(long, value_name = "FILE")]
    requests_out: Option<PathBuf>,
    /// Ends with exit code 3 if any model gets less than this share of its requests in time, such as `95%`
    #[arg(long, value_name = "SHARE")]
    each: Option<Share>,
}

pub(crate) fn run(args: &SimulateArgs, common: Common) -> anyhow::Result<End> {
    if let Some(path) = &args.requests_out {
        check_output(path)?;
    }
    let mut scenario = load(&args.scenario, common)?.with_floor(args.each);
    let windows = adopt_what_is_left(&mut scenario, &args.placement)?;
    let Scored { run, mut results } = scenario.score_placement(&windows, &scenario.test)?;
    if let Some(path) = &args.requests_out {
        let names: Vec<&str> = scenario.models.iter().map(|model| model.name.as_str()).collect();
        write_results_at(path, &scenario.test, &names, &run.outcomes, scenario.offset)?;
    }
    results.warnings.clone_from(&scenario.warnings);
    let text = || {
        let mut text = summary_table(&results).to_text();
        text.push('\n');
        text.push_str(&fates(&results));
        text.push('\n');
        text.push_str(&models_table(&results, 20).to_text());
        text.push('\n');
        text.push_str(&groups_table(&results, 20).to_text());
        for note in &results.notes {
            text.push_str(&format!("\nnote: {note}"));
        }
        for line in &scenario.provenance {
            text.push_str(&format!("\nstage times: {line}"));
        }
        text
    };
    print_beside(args.requests_out.as_deref(), common.format, text, &results)?;
    Ok(end_of(&results))
}
