//! `statmux replay-log`: a server's event log, given to a fresh scheduler.

use crate::args::{Common, ScenarioArg};
use crate::output::{End, UsageError, print};
use crate::scenario::Scenario;
use crate::serving::fixed;
use clap::Args;
use serde::Serialize;
use statmux_core::files::{PlacementFile, read_placement};
use statmux_report::number;
use statmux_sched::StageTimes;
use statmux_serve::engine::scheduler;
use statmux_serve::event_log::{LogDifference, LogReader};
use std::path::PathBuf;

/// Arguments of `statmux replay-log`.
#[derive(Debug, Args)]
pub(crate) struct ReplayLogArgs {
    /// The log, as written by `statmux serve --event-log`
    #[arg(value_name = "LOG")]
    log: PathBuf,
    #[command(flatten)]
    scenario: ScenarioArg,
    /// The placement that was served; without it, the one in the log
    #[arg(long, value_name = "FILE")]
    placement: Option<PathBuf>,
}

/// What `--format json` prints.
#[derive(Serialize)]
struct ReplayLogResult {
    version: u32,
    events: u64,
    actions: u64,
    /// Whether the last line broke off, as after a crash.
    cut_off: bool,
    same: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    difference: Option<Difference>,
}

#[derive(Serialize)]
struct Difference {
    line: u64,
    event: String,
    recorded: String,
    replayed: String,
}

pub(crate) fn run(args: &ReplayLogArgs, common: Common) -> anyhow::Result<End> {
    let scenario = Scenario::load(&args.scenario, common)?;
    let log = LogReader::open(&args.log)?;
    let names: Vec<&str> = scenario.models.iter().map(|model| model.name.as_str()).collect();
    if log.header().models != names {
        let (log, scenario) = (args.log.display(), scenario.path.display());
        let what = format!("{log} is of a server with other models than {scenario} has: give the scenario it served");
        return Err(UsageError(what).into());
    }
    let settings = scenario.simulation.scheduler;
    let (cluster, models, max_batch) = (&scenario.cluster, &scenario.models, settings.max_batch);
    let (windows, path) = match &args.placement {
        Some(path) => (read_placement(path, cluster, models, max_batch)?, path),
        None => {
            let placement: PlacementFile = log.header().placement.clone();
            (placement.resolve(&args.log, cluster, models, max_batch)?, &args.log)
        }
    };
    let placement = fixed(&windows, path, "windows")?;
    let times = StageTimes::new(&placement, cluster, models, scenario.simulation.stage_penalty, max_batch)?;
    let replay = log.replay(placement.groups.len(), &mut scheduler(settings, times))?;
    let result = ReplayLogResult {
        version: statmux_core::files::VERSION,
        events: replay.entries,
        actions: replay.actions,
        cut_off: replay.cut_off,
        same: replay.difference.is_none(),
        difference: replay.difference.as_ref().map(difference),
    };
    print(common.format, || text(&result), &result)?;
    match &result.difference {
        None => Ok(End::Done),
        Some(difference) => anyhow::bail!("{}:{}: the scheduler acts otherwise", args.log.display(), difference.line),
    }
}

fn difference(difference: &LogDifference) -> Difference {
    Difference {
        line: difference.line,
        event: format!("{:?}", difference.recorded.event),
        recorded: format!("{:?}", difference.recorded.actions),
        replayed: format!("{:?}", difference.replayed),
    }
}

fn text(result: &ReplayLogResult) -> String {
    let (events, actions) = (number::count(result.events), number::count(result.actions));
    let mut text = format!("{events} events led to the same {actions} actions");
    if result.cut_off {
        text.push_str(" (the last line broke off and is left out)");
    }
    match &result.difference {
        None => text.push('.'),
        Some(Difference { line, event, recorded, replayed }) => text.push_str(&format!(
            ", but not the one in line {line}:\n  event    {event}\n  recorded {recorded}\n  replayed {replayed}"
        )),
    }
    text
}
