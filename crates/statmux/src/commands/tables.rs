//! Tables that several commands print.

use statmux_core::files::{LatencyResult, ResultsFile};
use statmux_core::{ModelSpec, PlacementWindows};
use statmux_report::number;
use statmux_report::table::{Cell, Column, Table};

/// The figures of a whole run, one a line.
pub(crate) fn summary_table(results: &ResultsFile) -> Table {
    let mut table = Table::new([Column::text("whole run"), Column::number("")]);
    let mut line = |name: &str, value: String| table.row([name.to_owned(), value]);
    line("requests", number::count(results.requests));
    line("SLO attainment", number::percent(results.slo_attainment));
    line("served in SLO", number::count(results.served_in_slo));
    line("served late", number::count(results.served_late));
    line("rejected", number::count(results.rejected));
    if results.no_replica > 0 {
        line("  of these without a replica", number::count(results.no_replica));
    }
    if results.failed > 0 {
        line("  of these lost with a group", number::count(results.failed));
    }
    line("goodput", number::rate(results.goodput_rps, "req"));
    if let Some(latency) = &results.latency_s {
        line("mean latency of served", number::latency(latency.mean));
        line("p50", number::latency(latency.p50));
        line("p90", number::latency(latency.p90));
        line("p99", number::latency(latency.p99));
    }
    table
}

/// One line per model, the worst attainment first, at most `most` lines.
pub(crate) fn models_table(results: &ResultsFile, most: usize) -> Table {
    let columns = ["requests", "replicas", "SLO", "attainment", "p50", "p99"].map(Column::number);
    let mut table = Table::new([Column::text("model")].into_iter().chain(columns));
    let mut models: Vec<_> = results.models.iter().collect();
    models.sort_by(|a, b| a.slo_attainment.total_cmp(&b.slo_attainment));
    for model in models.iter().take(most) {
        let latency = |of: fn(&LatencyResult) -> f64| {
            model.latency_s.as_ref().map_or_else(Cell::nothing, |l| Cell::latency(of(l)))
        };
        table.row([
            Cell::from(model.name.as_str()),
            Cell::count(model.requests),
            Cell::count(u64::from(model.replicas)),
            model.slo_s.map_or_else(Cell::nothing, Cell::latency),
            Cell::percent(model.slo_attainment),
            latency(|l| l.p50),
            latency(|l| l.p99),
        ]);
    }
    if models.len() > most {
        let best_of_rest = models.last().expect("there are more than `most`").slo_attainment;
        let (from, to) = (number::percent(models[most].slo_attainment), number::percent(best_of_rest));
        let at = if from == to { format!("all at {from}") } else { format!("at {from} to {to}") };
        let more = format!("… and {} more, {at}", models.len() - most);
        table.row([Cell::from(more.as_str())].into_iter().chain((0..6).map(|_| Cell::nothing())));
    }
    table
}

/// What an attainment over all requests hides, in lines for people: the worst model, whom nobody serves and why, and
/// who is below the floor.
pub(crate) fn fates(results: &ResultsFile) -> String {
    let mut text = String::new();
    if let Some(worst) = &results.worst_model {
        let (share, requests) = (number::percent(worst.slo_attainment), number::count(worst.requests));
        text.push_str(&format!("Worst model: {}, {share} of {requests} requests in time.\n", worst.name));
    }
    let (placed, without): (Vec<_>, Vec<_>) = results.unserved.iter().partition(|model| model.replicas > 0);
    for (models, what) in [(without, "without a replica"), (placed, "never served in time")] {
        if models.is_empty() {
            continue;
        }
        let requests: u64 = models.iter().map(|model| model.requests).sum();
        let share = number::percent(requests as f64 / results.requests.max(1) as f64);
        let (count, of) = (models.len(), results.models.len());
        text.push_str(&format!(
            "{count} of {of} models {what} ({} requests, {share} of all):\n",
            number::count(requests)
        ));
        for model in models.iter().take(FATES) {
            let (name, requests) = (&model.name, number::count(model.requests));
            text.push_str(&format!("  {name} ({requests} requests): {}: {}\n", model.reason, model.detail));
        }
        if count > FATES {
            text.push_str(&format!("  … and {} more\n", count - FATES));
        }
    }
    if let Some(floor) = &results.floor {
        let share = number::percent(floor.slo_attainment);
        let names = shortened(&floor.below.join(", "), 90);
        text.push_str(&match floor.below.len() {
            0 => format!("Every model reaches the floor of {share}.\n"),
            1 => format!("1 model is below the floor of {share}: {names}.\n"),
            below => format!("{below} models are below the floor of {share}: {names}.\n"),
        });
    }
    text
}

/// Models that are named one by one.
const FATES: usize = 8;

/// One line per group, at most `most` lines.
pub(crate) fn groups_table(results: &ResultsFile, most: usize) -> Table {
    let mut table = Table::new([
        Column::text("group"),
        Column::text("devices"),
        Column::text("shards x stages"),
        Column::number("served"),
        Column::number("utilization"),
        Column::text("models"),
    ]);
    for (index, group) in results.groups.iter().enumerate().take(most) {
        table.row([
            Cell::from(index.to_string().as_str()),
            Cell::from(device_range(&group.devices).as_str()),
            Cell::from(format!("{} x {}", group.op, group.pp).as_str()),
            Cell::count(group.requests),
            Cell::percent(group.utilization),
            Cell::from(shortened(&group.models.join(" "), 60).as_str()),
        ]);
    }
    if results.groups.len() > most {
        let more = format!("… {} more", results.groups.len() - most);
        table.row([Cell::from(more.as_str())].into_iter().chain((0..5).map(|_| Cell::nothing())));
    }
    table
}

/// What a placement holds where, in lines for people.
pub(crate) fn placement_table(windows: &PlacementWindows, models: &[ModelSpec], most: usize) -> Table {
    let mut table = Table::new([
        Column::text("group"),
        Column::text("devices"),
        Column::text("shards x stages"),
        Column::number("models"),
        Column::text("which"),
    ]);
    let Some(first) = windows.0.first() else { return table };
    for (index, group) in first.placement.groups.iter().enumerate().take(most) {
        let devices: Vec<u32> = group.devices.iter().map(|device| device.0).collect();
        let names: Vec<&str> = group.models.iter().map(|model| models[model.index()].name.as_str()).collect();
        table.row([
            Cell::from(index.to_string().as_str()),
            Cell::from(device_range(&devices).as_str()),
            Cell::from(format!("{} x {}", group.config.op, group.config.pp).as_str()),
            Cell::count(names.len() as u64),
            Cell::from(shortened(&names.join(" "), 70).as_str()),
        ]);
    }
    table
}

/// `0-3` for consecutive devices, else a list.
fn device_range(devices: &[u32]) -> String {
    match devices {
        [] => String::new(),
        [only] => only.to_string(),
        [first, .., last] if devices.windows(2).all(|pair| pair[1] == pair[0] + 1) => format!("{first}-{last}"),
        _ => shortened(&devices.iter().map(u32::to_string).collect::<Vec<_>>().join(","), 24),
    }
}

fn shortened(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most - 1).chain(['…']).collect()
}
