//! `statmux policies`: what can be named in a scenario, one line each.

use crate::args::Common;
use crate::output::{End, print};
use serde::Serialize;
use statmux_plan::policy;
use statmux_report::table::{Column, Table};
use statmux_sched::{Admission, AnyDiscipline, Dispatch};

#[derive(Serialize)]
struct Entry {
    key: &'static str,
    name: &'static str,
    about: &'static str,
}

pub(crate) fn run(common: Common) -> anyhow::Result<End> {
    let entry = |key, name, about| Entry { key, name, about };
    let mut entries: Vec<Entry> =
        policy::ALL.iter().map(|info| entry("planner.policy", info.name, info.about)).collect();
    entries.extend(Dispatch::ALL.iter().map(|d| entry("simulation.dispatch", d.name(), d.about())));
    entries.extend(Admission::ALL.iter().map(|a| entry("simulation.admission", a.name(), a.about())));
    entries.extend(AnyDiscipline::ALL.iter().map(|d| entry("simulation.discipline", d.name(), d.about())));
    let text = || {
        let mut table = Table::new([Column::text("key"), Column::text("name"), Column::text("what it does")]);
        for entry in &entries {
            table.row([entry.key, entry.name, entry.about]);
        }
        table.to_text()
    };
    print(common.format, text, &entries)?;
    Ok(End::Done)
}
