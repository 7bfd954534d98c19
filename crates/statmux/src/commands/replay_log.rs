//! `statmux replay-log`: a server's event log, given to a fresh scheduler.

use crate::args::{Common, ScenarioArg};
use crate::output::{End, UsageError, print};
use crate::scenario::load;
use crate::serving::fixed;
use clap::Args;
use serde::Serialize;
use statmux_report::number;
use statmux_scenario::Scenario;
use statmux_sched::{Machine, Settings, StageTimes, machine};
use statmux_serve::event_log::{LogDifference, LogGap, LogHeader, LogReader};
use std::path::{Path, PathBuf};

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
    /// Whether nothing is missing, and all was done again as recorded.
    same: bool,
    /// Where lines are missing: the disk was full or too slow.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    gaps: Vec<Gap>,
    /// Events after a gap, up to the next placement.
    #[serde(skip_serializing_if = "is_zero")]
    unchecked: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    difference: Option<Difference>,
}

#[derive(Serialize)]
struct Gap {
    line: u64,
    missing: u64,
}

// The signature is what serde asks for.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

#[derive(Serialize)]
struct Difference {
    line: u64,
    event: String,
    recorded: String,
    replayed: String,
}

pub(crate) fn run(args: &ReplayLogArgs, common: Common) -> anyhow::Result<End> {
    let mut scenario = load(&args.scenario, common)?;
    let log = LogReader::open(&args.log)?;
    // The file named is what was served at first; what took its place later stands in the log.
    let mut given = args.placement.as_ref();
    let replay = log.replay(|header| fresh(&mut scenario, header, given.take(), &args.log))?;
    let result = ReplayLogResult {
        version: statmux_core::files::VERSION,
        events: replay.entries,
        actions: replay.actions,
        cut_off: replay.cut_off,
        same: replay.difference.is_none() && replay.gaps.is_empty(),
        gaps: replay.gaps.iter().map(|&LogGap { line, missing }| Gap { line, missing }).collect(),
        unchecked: replay.unchecked,
        difference: replay.difference.as_ref().map(difference),
    };
    print(common.format, || text(&result), &result)?;
    let log = args.log.display();
    match (&result.difference, result.gaps.first()) {
        (Some(difference), _) => anyhow::bail!("{log}:{}: the scheduler acts otherwise", difference.line),
        (None, Some(gap)) => anyhow::bail!("{log}:{}: lines are missing: the log is incomplete", gap.line),
        (None, None) => Ok(End::Done),
    }
}

/// A scheduler for what `header` of the log at `log` says was served, from the file `given` if there is one.
fn fresh(
    scenario: &mut Scenario,
    header: &LogHeader,
    given: Option<&PathBuf>,
    log: &Path,
) -> anyhow::Result<(usize, Machine)> {
    if !header.models.iter().eq(scenario.models.iter().map(|model| &model.name)) {
        let (log, scenario) = (log.display(), scenario.path.display());
        let what = format!("{log} is of a server with other models than {scenario} has: give the scenario it served");
        return Err(UsageError(what).into());
    }
    let (windows, path) = match given {
        Some(path) => (scenario.adopt_placement(path)?, path.as_path()),
        None => (scenario.adopt(header.placement.clone(), log)?, log),
    };
    let placement = fixed(&windows, path, "windows")?;
    let Scenario { cluster, models, simulation, .. } = scenario;
    let settings = Settings { retries_after_loss: header.retries_after_loss, ..simulation.scheduler };
    let times = StageTimes::new(&placement, cluster, models, simulation.stage_penalty, settings.max_batch)?;
    Ok((placement.groups.len(), machine(settings, times)))
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
    if !result.gaps.is_empty() {
        let missing = number::count(result.gaps.iter().map(|gap| gap.missing).sum());
        let lines: Vec<String> = result.gaps.iter().map(|gap| gap.line.to_string()).collect();
        let (lines, unchecked) = (lines.join(", "), number::count(result.unchecked));
        text.push_str(&format!(
            "; {missing} lines are missing at line {lines}, for the disk was full or too slow, and {unchecked} events after \
             that cannot be checked"
        ));
    }
    match &result.difference {
        None => text.push('.'),
        Some(Difference { line, event, recorded, replayed }) => text.push_str(&format!(
            ", but not the one in line {line}:\n  event    {event}\n  recorded {recorded}\n  replayed {replayed}"
        )),
    }
    text
}
