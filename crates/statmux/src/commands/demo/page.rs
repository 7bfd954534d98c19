//! The demo's report: one page with the table, its meaning, and the pictures behind it.

use super::{DemoResult, MOST_DEVICES, Played, TARGET};
use crate::commands::compare::table;
use crate::commands::tables::placement_table;
use statmux_core::{Outcome, Workload};
use statmux_report::chart::{Axis, BarChart, Chart, HeatStrip, LineChart, Series};
use statmux_report::html::{Card, Page, Provenance, Section};
use statmux_report::number;
use statmux_scenario::Scenario;

/// Bins of everything drawn over time.
const BINS: usize = 120;

/// The page as HTML.
pub(super) fn page(scenario: &Scenario, result: &DemoResult, played: &[Played]) -> anyhow::Result<String> {
    let alpaserve = result.row("alpaserve");
    let replication = result.row("selective-replication");
    let mut page = Page::new("statmux demo").lead(result.meaning());
    page = page
        .card(
            Card::new("SLO attainment, alpaserve", number::percent(alpaserve.test.slo_attainment)).note("unseen hour"),
        )
        .card(Card::new("selective replication", number::percent(replication.test.slo_attainment)).note("same devices"))
        .card(
            Card::new("devices for 99 %", result.devices_of("alpaserve"))
                .note(format!("selective replication: {}", result.devices_of("selective-replication"))),
        )
        .card(Card::new("upper bound", number::percent(result.bound)).note("for any placement and scheduler"));
    page = page
        .section(policies(result))
        .section(devices(result))
        .section(traffic(scenario))
        .section(latency(scenario, played));
    for one in played {
        page = page.section(placement(scenario, one));
    }
    if let Some(server) = &result.server {
        page = page.section(server.section());
    }
    page = page.section(provenance(scenario));
    page = page.section(Section::new("Words").text("What the words on this page mean.").table(&crate::words::table()));
    Ok(page.footer(format!("statmux {}, seed {}", env!("CARGO_PKG_VERSION"), result.seed)).to_html())
}

fn policies(result: &DemoResult) -> Section {
    let cases: Vec<&str> = result.policies.iter().map(|row| row.policy).collect();
    let values = |of: fn(&crate::commands::compare::Row) -> f64| result.policies.iter().map(of).collect::<Vec<f64>>();
    let chart = BarChart::new(Axis::percent("SLO attainment").from(0.0).to(1.0), cases)
        .series("seen while planning (train)", values(|row| row.train_slo_attainment))
        .series("unseen hour (test)", values(|row| row.test.slo_attainment))
        .target(TARGET, "99 %");
    Section::new("Policies side by side")
        .text("Attainment is the share of all requests answered within 5 times the model's own latency; refused requests count as missed. Latencies are over answered requests.")
        .table(&table(&result.policies))
        .chart(&Chart::from(chart), "A policy whose two bars differ has learned its train hour too well.")
        .provenance(Provenance::Simulated, "clockwork++ re-plans each minute for that minute's own traffic and swaps models at no cost: an upper bound on swapping systems.")
}

/// Attainment over the number of devices.
pub(super) fn devices_chart(result: &DemoResult) -> Chart {
    let mut chart = LineChart::new(Axis::linear("Devices"), Axis::percent("SLO attainment, unseen hour"));
    for sized in &result.devices_for_99_percent {
        let points: Vec<(f64, f64)> =
            sized.tried.iter().map(|&(devices, attained)| (f64::from(devices), attained)).collect();
        chart = chart.series(Series::new(sized.policy, points).with_markers());
    }
    Chart::from(chart.target(TARGET, "99 %"))
}

fn devices(result: &DemoResult) -> Section {
    let fewest = result.bound_devices_for_99_percent;
    let bound = fewest
        .map_or_else(String::new, |devices| format!(" No plan that stays loaded can do with fewer than {devices}."));
    let caption = "Where a line crosses the target is the number of devices that policy needs.";
    Section::new("How many devices are needed?")
        .text(&format!("Each point is planned anew for that many devices (up to {MOST_DEVICES}).{bound}"))
        .chart(&devices_chart(result), caption)
}

fn traffic(scenario: &Scenario) -> Section {
    let test = &scenario.test;
    let (from, to) = span(test);
    let width = (to - from) / BINS as f64;
    let mut loads = vec![vec![0.0; BINS]; scenario.models.len()];
    for index in 0..test.len() {
        let bin = ((test.arrived[index].seconds() - from) / width) as usize;
        loads[test.model[index].index()][bin.min(BINS - 1)] += 1.0 / width;
    }
    let mut chart = HeatStrip::new(Axis::time("Time"), Axis::linear("Load").unit("requests/s"), from, to);
    for (model, load) in scenario.models.iter().zip(loads) {
        chart = chart.row(model.name.as_str(), load);
    }
    Section::new("What arrives")
        .text("Each row is one model. Bursts rarely fall together: that is what sharing devices lives on.")
        .chart(&Chart::from(chart), "Requests per second to each model over the test hour.")
}

fn latency(scenario: &Scenario, played: &[Played]) -> Section {
    let mut chart = LineChart::new(
        Axis::log("Latency").unit("s"),
        Axis::percent("Share of all requests answered by then").from(0.0).to(1.0),
    );
    for one in played {
        let mut latencies: Vec<f64> = one
            .outcomes
            .iter()
            .zip(&scenario.test.arrived)
            .filter_map(|(outcome, &arrived)| outcome.latency(arrived).map(|latency| latency.seconds()))
            .collect();
        latencies.sort_by(f64::total_cmp);
        let all = one.outcomes.len() as f64;
        let stride = latencies.len().div_ceil(500).max(1);
        let points: Vec<(f64, f64)> =
            latencies.iter().enumerate().step_by(stride).map(|(i, &latency)| (latency, (i + 1) as f64 / all)).collect();
        chart = chart.series(Series::new(one.policy, points).without_markers());
    }
    Section::new("How long answers take")
        .chart(&Chart::from(chart), "Curves end below 100 % by the share of requests that were refused.")
}

fn placement(scenario: &Scenario, played: &Played) -> Section {
    let (from, to) = span(&scenario.test);
    let width = (to - from) / BINS as f64;
    let groups = played.windows.0.first().map_or(&[][..], |window| &window.placement.groups);
    let mut busy = vec![vec![0.0; BINS]; groups.len()];
    for (index, outcome) in played.outcomes.iter().enumerate() {
        let Outcome::Served(served) = outcome else { continue };
        let Some(group) = groups.get(served.group.index()) else { continue };
        let model = &scenario.models[scenario.test.model[index].index()];
        let penalty = scenario.simulation.stage_penalty;
        let work = group.stage_seconds(&scenario.cluster, model, penalty, 1).map_or(0.0, |stages| stages.iter().sum());
        let bin = ((served.started.seconds() - from) / width) as usize;
        busy[served.group.index()][bin.min(BINS - 1)] += work / (width * f64::from(group.config.pp));
    }
    let mut chart = HeatStrip::new(Axis::time("Time"), Axis::percent("Utilization"), from, to);
    for (index, row) in busy.into_iter().enumerate() {
        chart =
            chart.row(format!("group {index}"), row.into_iter().map(|share: f64| share.min(1.0)).collect::<Vec<_>>());
    }
    Section::new(format!("The placement of {}", played.policy))
        .table(&placement_table(&played.windows, &scenario.models, 40))
        .chart(&Chart::from(chart), "Computing time over device time, by the moment a request started.")
}

fn provenance(scenario: &Scenario) -> Section {
    let mut section = Section::new("Where the numbers come from")
        .provenance(Provenance::Assumed, "Stage times: one V100 profile was measured; the other models are scaled from it.")
        .provenance(Provenance::Assumed, "Traffic: counts per minute are recorded (Azure Functions 2019, CC-BY 4.0); arrivals within a minute are drawn from a Gamma process with CV 4, rates scaled by 0.15.")
        .provenance(Provenance::Simulated, "All outcomes but the served ones: simulated with the rules and overheads of the published AlpaServe simulator.");
    for line in &scenario.provenance {
        section = section.text(line);
    }
    let raw = std::fs::read_to_string(&scenario.path).unwrap_or_default();
    section.details("The scenario file", &raw)
}

/// The time from the beginning of the test window to its end, in seconds.
fn span(workload: &Workload) -> (f64, f64) {
    let last = workload.arrived.last().map_or(0.0, |last| last.seconds());
    (0.0, workload.duration.seconds().max(last).max(1e-9))
}
