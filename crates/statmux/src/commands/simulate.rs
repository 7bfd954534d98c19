//! `statmux simulate`: one placement, one workload, what happens.

use crate::args::{Common, ScenarioArg};
use crate::commands::tables::{groups_table, models_table, summary_table};
use crate::output::{End, print};
use crate::planning::{read_plan, score_under, without_devices};
use crate::scenario::Scenario;
use clap::Args;
use statmux_workload::requests::write_results;
use std::path::PathBuf;

/// Arguments of `statmux simulate`.
#[derive(Debug, Args)]
pub(crate) struct SimulateArgs {
    #[command(flatten)]
    scenario: ScenarioArg,
    /// The placement file, as written by `statmux plan -o`
    #[arg(long, value_name = "FILE")]
    placement: PathBuf,
    /// Loses these devices from the beginning, and with them the groups that use them
    #[arg(long, value_name = "DEVICE,…", value_delimiter = ',')]
    without: Vec<u32>,
    /// Writes what became of each request (.csv or .parquet)
    #[arg(long, value_name = "FILE")]
    requests_out: Option<PathBuf>,
}

pub(crate) fn run(args: &SimulateArgs, common: Common) -> anyhow::Result<End> {
    let scenario = Scenario::load(&args.scenario, common)?;
    let (windows, scheduling) = read_plan(&scenario, &args.placement)?;
    let windows = without_devices(&scenario, windows, &args.without)?;
    let (run, results) = score_under(&scenario, scheduling, &windows, &scenario.test)?;
    if let Some(path) = &args.requests_out {
        let names: Vec<&str> = scenario.models.iter().map(|model| model.name.as_str()).collect();
        write_results(path, &scenario.test, &names, &run.outcomes)?;
    }
    let text = || {
        let mut text = summary_table(&results).to_text();
        text.push('\n');
        text.push_str(&models_table(&results, 20).to_text());
        text.push('\n');
        text.push_str(&groups_table(&results, 20).to_text());
        for line in &scenario.provenance {
            text.push_str(&format!("\nstage times: {line}"));
        }
        text
    };
    print(common.format, text, &results)?;
    Ok(End::Done)
}
