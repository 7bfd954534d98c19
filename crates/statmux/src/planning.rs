//! What several commands ask of a scenario beside what `statmux-scenario` does.

use crate::args::{Common, PlacementArg};
use crate::output::{End, UsageError, say};
use statmux_core::files::ResultsFile;
use statmux_core::{DeviceId, PlacementWindows};
use statmux_plan::explain::without;
use statmux_scenario::Scenario;

/// Remarks on stderr about keys of `[planner]` that none of the policies asked for uses.
pub(crate) fn tell_unused(scenario: &Scenario, policies: &[&str], common: Common) {
    for (key, users) in scenario.planner.unused(policies).into_iter().filter(|_| !common.quiet) {
        let users = users.join(", ");
        say(format!("note: {}: planner.{key} is not used here; it is for {users}", scenario.path.display()));
    }
}

/// How a command ends whose results may have been judged by a floor.
pub(crate) fn end_of(results: &ResultsFile) -> End {
    if results.keeps_floor() { End::Done } else { End::TargetMissed }
}

/// What the arguments leave of a placement: groups that use a lost device serve nobody. Its scheduling options are
/// adopted as by [`Scenario::adopt_placement`].
pub(crate) fn adopt_what_is_left(scenario: &mut Scenario, args: &PlacementArg) -> anyhow::Result<PlacementWindows> {
    let mut windows = scenario.adopt_placement(&args.placement)?;
    if let Some(unknown) = args.without.iter().find(|&&device| device as usize >= scenario.cluster.len()) {
        let last = scenario.cluster.len() - 1;
        return Err(UsageError(format!("--without {unknown}: the cluster has devices 0 to {last}")).into());
    }
    let devices: Vec<DeviceId> = args.without.iter().copied().map(DeviceId).collect();
    for window in &mut windows.0 {
        window.placement = without(&window.placement, &devices);
    }
    Ok(windows)
}
