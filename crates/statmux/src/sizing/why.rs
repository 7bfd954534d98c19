//! Why models miss however many devices there are.

use statmux_core::ModelSpec;
use statmux_core::files::ModelResult;
use statmux_plan::feasible::{fastest, fitting};
use statmux_report::number;
use statmux_scenario::Scenario;

/// Models that are named in a reason.
const NAMED: usize = 3;

/// The models of which most requests were missed, and what keeps them from being served, as the end of a sentence.
pub(super) fn obstacles(scenario: &Scenario, results: &[ModelResult]) -> String {
    let mut worst: Vec<(&ModelSpec, &ModelResult)> = scenario.models.iter().zip(results).collect();
    worst.retain(|(_, result)| result.served_in_slo < result.requests);
    worst.sort_by_key(|(_, result)| std::cmp::Reverse(result.requests - result.served_in_slo));
    let named = worst.iter().take(NAMED).map(|(model, result)| {
        let missed = number::count(result.requests - result.served_in_slo);
        let of = number::count(result.requests);
        let why = obstacle(scenario, model)
            .or_else(|| (result.replicas == 0).then(|| "the plan gives it no replica".to_owned()));
        let why = why.map_or_else(String::new, |why| format!(" ({why})"));
        format!("model {} misses {missed} of {of}{why}", model.name)
    });
    list(named.collect(), worst.len())
}

/// The models whose deadline no configuration meets, as the end of a sentence.
pub(super) fn too_slow(scenario: &Scenario) -> String {
    let counts = scenario.test.counts(scenario.models.len());
    let asked = scenario.models.iter().zip(counts).filter(|&(_, count)| count > 0);
    let named: Vec<String> = asked
        .filter_map(|(model, count)| {
            let why = obstacle(scenario, model)?;
            Some(format!("model {}, {} requests: {why}", model.name, number::count(count)))
        })
        .collect();
    let all = named.len();
    list(named.into_iter().take(NAMED).collect(), all)
}

fn list(named: Vec<String>, all: usize) -> String {
    if named.is_empty() {
        return String::new();
    }
    let more = if all > named.len() { format!("; and {} more models", all - named.len()) } else { String::new() };
    format!("; {}{more}", named.join("; "))
}

/// What keeps a model from being served in time on idle devices.
fn obstacle(scenario: &Scenario, model: &ModelSpec) -> Option<String> {
    let Scenario { cluster, simulation, .. } = scenario;
    let speed = fastest(cluster);
    let overhead = simulation.scheduler.fixed_overhead.seconds();
    let fitting = fitting(cluster, model);
    let seconds = fitting
        .iter()
        .map(|feasible| (feasible.latency(simulation.stage_penalty, speed) + overhead, feasible.config.devices()));
    let mut seconds: Vec<(f64, u32)> = seconds.filter(|(alone, _)| alone.is_finite()).collect();
    seconds.sort_by(|a, b| a.0.total_cmp(&b.0));
    let Some(&(quickest, _)) = seconds.first() else { return Some("no configuration of it fits a device".to_owned()) };
    let slo = model.slo_seconds()?;
    let shown = number::latency(slo);
    if slo < quickest {
        let quickest = number::latency(quickest);
        return Some(format!("its deadline of {shown} is below the {quickest} of its fastest configuration"));
    }
    let alone = seconds.iter().find(|&&(_, devices)| devices == 1).filter(|&&(alone, _)| slo < alone);
    alone.map(|&(alone, _)| {
        format!("its deadline of {shown} is below the {} it takes on one device", number::latency(alone))
    })
}
