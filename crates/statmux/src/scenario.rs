//! The scenario that a command line names, and what is said of it on stderr.

use crate::args::{Common, ScenarioArg};
use crate::output::say;
use statmux_core::files::FileError;
use statmux_scenario::{Override, Scenario};

impl ScenarioArg {
    /// What `--set` replaces.
    pub(crate) fn overrides(&self) -> Result<Vec<Override>, FileError> {
        let overrides = self.set.iter().map(|text| Override::parse(text)).collect::<Result<_, _>>();
        overrides.map_err(|what| FileError::whole(&self.path, what))
    }
}

/// Reads the scenario that the command line names, and says on stderr what there is to say of it.
pub(crate) fn load(arg: &ScenarioArg, common: Common) -> Result<Scenario, FileError> {
    let scenario = Scenario::read_with(&arg.path, &arg.overrides()?, common.seed)?;
    tell(&scenario, common);
    Ok(scenario)
}

/// Warnings and remarks, on stderr.
pub(crate) fn tell(scenario: &Scenario, common: Common) {
    if common.quiet {
        return;
    }
    for warning in &scenario.warnings {
        say(format!("warning: {warning}"));
    }
    for remark in &scenario.remarks {
        say(format!("note: {remark}"));
    }
}
