//! The published policies against a second implementation of them, written straight from their rules: plain
//! loops over plain vectors, a simulator of its own, no sharing with the crate.

#[allow(dead_code, reason = "each test file uses a part")]
mod common;

use common::{Case, published_case};
use proptest::prelude::*;
use statmux_core::{Group, ParallelConfig, Span};
use statmux_plan::{Evaluator, Parameters, Search, Silent, policy};

/// (op, pp) and models of each group.
type Groups = Vec<((u32, u32), Vec<usize>)>;

/// What the simulator counts.
struct Statistics {
    requests: Vec<f64>,
    good: Vec<f64>,
    dispatched: Vec<u64>,
    score: f64,
}

/// A request: arrival in seconds, and model.
type Requests = [(f64, usize)];

fn requests(case: &Case) -> Vec<(f64, usize)> {
    case.train.arrived.iter().zip(&case.train.model).map(|(at, model)| (at.seconds(), model.index())).collect()
}

fn simulate(case: &Case, groups: &Groups, requests: &Requests) -> Statistics {
    let stage = |model: usize, (op, pp): (u32, u32), k: usize| {
        let profile = case.models[model].profile.config(ParallelConfig::new(op, pp)).unwrap();
        f64::from((profile.stage_seconds[&1][k] * (1.0 + 0.009 * f64::from(pp))) as f32)
    };
    let mut clocks: Vec<Vec<f64>> = groups.iter().map(|((_, pp), _)| vec![0.0; *pp as usize]).collect();
    let mut statistics = Statistics {
        requests: vec![0.0; case.models.len()],
        good: vec![0.0; case.models.len()],
        dispatched: vec![0; groups.len()],
        score: 0.0,
    };
    let mut latencies = 0.0;
    for &(t, model) in requests {
        statistics.requests[model] += 1.0;
        let mut chosen: Option<usize> = None;
        for (g, (_, models)) in groups.iter().enumerate() {
            if models.contains(&model) && chosen.is_none_or(|c| clocks[g].last() < clocks[c].last()) {
                chosen = Some(g);
            }
        }
        let Some(g) = chosen else { continue };
        statistics.dispatched[g] += 1;
        let mut x = t;
        let mut passed = clocks[g].clone();
        for (k, clock) in passed.iter_mut().enumerate() {
            x = f64::max(x, *clock) + stage(model, groups[g].0, k);
            *clock = x;
        }
        let finish = x + 0.011;
        if finish - t <= f64::from(case.models[model].slo_seconds().unwrap() as f32) {
            statistics.good[model] += 1.0;
            clocks[g] = passed;
            latencies += finish - t;
        }
    }
    let all = requests.len() as f64;
    let replicas: usize = groups.iter().map(|(_, models)| models.len()).sum();
    statistics.score = statistics.good.iter().sum::<f64>() / all - latencies / all / 10_000.0 + replicas as f64 / 1e6;
    statistics
}

fn weight(case: &Case, model: usize, (op, pp): (u32, u32)) -> f64 {
    match case.models[model].profile.config(ParallelConfig::new(op, pp)) {
        Some(profile) => profile.stage_weights.iter().map(|bytes| bytes.get() as f64).fold(0.0, f64::max),
        None => f64::INFINITY,
    }
}

fn taken(case: &Case, (config, models): &((u32, u32), Vec<usize>)) -> f64 {
    models.iter().map(|&model| weight(case, model, *config)).sum()
}

fn budget(case: &Case) -> f64 {
    case.cluster.smallest_memory().get() as f64
}

fn normalize(groups: &mut Groups) {
    for (_, models) in groups.iter_mut() {
        models.sort();
    }
    groups.sort_by(|(_, a), (_, b)| a.cmp(b));
}

fn argsort(values: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[a].partial_cmp(&values[b]).unwrap());
    order
}

/// The best placement on the way, and its score.
fn fast_greedy(case: &Case, mut groups: Groups, candidates: &[usize], requests: &Requests) -> (Groups, f64) {
    let mut best = (groups.clone(), f64::NEG_INFINITY);
    loop {
        let statistics = simulate(case, &groups, requests);
        if statistics.score >= best.1 {
            best = (groups.clone(), statistics.score);
        }
        let unserved = |&model: &usize| {
            let n = statistics.requests[model];
            n * (1.0 - statistics.good[model] / (n + 1e-6))
        };
        let mut models: Vec<usize> =
            argsort(&candidates.iter().map(unserved).collect::<Vec<_>>()).iter().map(|&i| candidates[i]).collect();
        models.reverse();
        let dispatched: Vec<f64> = statistics.dispatched.iter().map(|&count| count as f64).collect();
        let mut added = false;
        'pairs: for g in argsort(&dispatched) {
            for &model in &models {
                let load = taken(case, &groups[g]) + weight(case, model, groups[g].0);
                if !groups[g].1.contains(&model) && load <= budget(case) {
                    groups[g].1.push(model);
                    normalize(&mut groups);
                    added = true;
                    break 'pairs;
                }
            }
        }
        if !added {
            return best;
        }
    }
}

fn empty(config: (u32, u32), count: u32) -> Groups {
    vec![(config, Vec::new()); count as usize]
}

fn leftover(devices: u32) -> Groups {
    (0..8).filter(|k| devices & (1 << k) != 0).map(|k| ((1, 1 << k), Vec::new())).collect()
}

fn mp_search(case: &Case, devices: u32, candidates: &[usize], requests: &Requests) -> (Groups, f64) {
    let mut best = (Vec::new(), f64::NEG_INFINITY);
    let mut s = 1;
    while s <= devices {
        for pp in (1..=s).filter(|pp| s % pp == 0) {
            let op = s / pp;
            if pp > 8 || op > 4 {
                continue;
            }
            let mut groups = empty((op, pp), devices / s);
            groups.extend(leftover(devices % s));
            let found = fast_greedy(case, groups, candidates, requests);
            if found.1 > best.1 {
                best = found;
            }
        }
        s *= 2;
    }
    best
}

fn compositions(devices: u32, clusters: usize) -> Vec<Vec<u32>> {
    if clusters == 1 {
        return if devices > 0 { vec![vec![devices]] } else { Vec::new() };
    }
    let mut all = Vec::new();
    for part in 1..=devices {
        if part <= devices % 8 || (devices - part).is_multiple_of(8) || devices.is_multiple_of(8) {
            for mut rest in compositions(devices - part, clusters - 1) {
                rest.push(part);
                all.push(rest);
            }
        }
    }
    all
}

fn mp_search_sep(case: &Case, devices: u32) -> Groups {
    let requests = requests(case);
    let everything: Vec<usize> = (0..case.models.len()).collect();
    let mixed = mp_search(case, devices, &everything, &requests);
    let latency = |model: usize| case.models[model].profile.single_device_seconds().unwrap();
    let mut clusters: Vec<Vec<usize>> = Vec::new();
    for model in everything {
        let l = latency(model);
        match clusters.iter_mut().find(|cluster| (l - latency(cluster[0])).abs() / latency(cluster[0]) < 0.38) {
            Some(cluster) => cluster.push(model),
            None => clusters.push(vec![model]),
        }
    }
    let partitions = compositions(devices, clusters.len());
    assert!(partitions.len() < 100, "cases are too small for pruning");
    let mut best = mixed;
    for partition in partitions {
        let mut groups = Vec::new();
        for (cluster, part) in clusters.iter().zip(partition) {
            groups.extend(mp_search(case, part, cluster, &requests).0);
        }
        let score = simulate(case, &groups, &requests).score;
        if score > best.1 {
            best = (groups, score);
        }
    }
    best.0
}

fn sr_search(case: &Case, devices: u32, requests: &Requests) -> Groups {
    let mut best = (empty((1, 1), devices), f64::NEG_INFINITY);
    let mut beam = vec![best.0.clone()];
    let mut seen = Vec::new();
    loop {
        let mut next: Vec<Groups> = Vec::new();
        for groups in &beam {
            for g in 0..groups.len() {
                for model in 0..case.models.len() {
                    let load = taken(case, &groups[g]) + weight(case, model, (1, 1));
                    if !groups[g].1.contains(&model) && load < budget(case) {
                        let mut longer = groups.clone();
                        longer[g].1.push(model);
                        normalize(&mut longer);
                        if !seen.contains(&longer) {
                            seen.push(longer.clone());
                            next.push(longer);
                        }
                    }
                }
            }
        }
        if next.is_empty() {
            return best.0;
        }
        let scores: Vec<f64> = next.iter().map(|groups| simulate(case, groups, requests).score).collect();
        let mut order = argsort(&scores);
        order.reverse();
        if scores[order[0]] > best.1 {
            best = (next[order[0]].clone(), scores[order[0]]);
        }
        beam = order.iter().take(3).map(|&index| next[index].clone()).collect();
    }
}

fn sr_replace(case: &Case, devices: u32, interval: f64) -> Vec<(f64, Groups)> {
    let requests = requests(case);
    let everything: Vec<usize> = (0..case.models.len()).collect();
    let mut windows: Vec<(f64, Vec<(f64, usize)>)> = Vec::new();
    for request in requests {
        match windows.last_mut().filter(|(start, _)| request.0 <= start + interval) {
            Some((_, window)) => window.push(request),
            None => windows.push((request.0, vec![request])),
        }
    }
    let place = |window: &Requests| fast_greedy(case, empty((1, 1), devices), &everything, window).0;
    windows.into_iter().map(|(start, window)| (start, place(&window))).collect()
}

fn mp_rr(case: &Case, devices: u32) -> Groups {
    let mut groups = empty((1, 4), devices / 4);
    groups.extend(leftover(devices % 4));
    let mut g = 0;
    loop {
        let mut found = false;
        for model in 0..case.models.len() {
            let load = taken(case, &groups[g]) + weight(case, model, groups[g].0);
            if !groups[g].1.contains(&model) && load <= budget(case) {
                groups[g].1.push(model);
                g = (g + 1) % groups.len();
                found = true;
            }
        }
        if !found {
            groups.iter_mut().for_each(|(_, models)| models.sort());
            return groups;
        }
    }
}

fn plain(groups: &[Group]) -> Groups {
    let plain =
        |group: &Group| ((group.config.op, group.config.pp), group.models.iter().map(|model| model.index()).collect());
    groups.iter().map(plain).collect()
}

/// Start and groups of each window of the plan of the policy of this name.
fn planned(case: &Case, name: &str, parameters: &Parameters) -> Vec<(f64, Groups)> {
    let problem = case.problem();
    let policy = (policy::find(name).expect("it exists").build)(parameters);
    let plan = policy
        .place(&Search { problem: &problem, evaluator: &Evaluator::new(&problem), progress: &Silent })
        .expect("a plan");
    plan.windows.0.iter().map(|window| (window.starts.seconds(), plain(&window.placement.groups))).collect()
}

fn placed(case: &Case, name: &str) -> Groups {
    planned(case, name, &Parameters::default()).remove(0).1
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn placements_are_those_of_the_published_rules(seed in any::<u64>()) {
        let case = published_case(seed);
        let devices = case.cluster.len() as u32;
        let requests = requests(&case);
        let everything: Vec<usize> = (0..case.models.len()).collect();
        let sr = fast_greedy(&case, empty((1, 1), devices), &everything, &requests).0;
        prop_assert_eq!(placed(&case, "selective-replication"), sr);
        if devices >= 4 {
            let greedy = fast_greedy(&case, empty((1, 4), devices / 4), &everything, &requests).0;
            prop_assert_eq!(placed(&case, "greedy-k"), greedy);
        }
        prop_assert_eq!(placed(&case, "alpaserve"), mp_search(&case, devices, &everything, &requests).0);
        prop_assert_eq!(placed(&case, "round-robin"), mp_rr(&case, devices));
    }

    #[test]
    fn windows_are_placed_on_their_own_requests(seed in any::<u64>()) {
        let case = published_case(seed);
        let parameters = Parameters { interval: Some(Span::from_millis(5000)), ..Parameters::default() };
        let devices = case.cluster.len() as u32;
        prop_assert_eq!(planned(&case, "clockwork++", &parameters), sr_replace(&case, devices, 5.0));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn buckets_are_placed_apart_where_that_is_better(seed in any::<u64>()) {
        let case = published_case(seed);
        prop_assert_eq!(placed(&case, "alpaserve-buckets"), mp_search_sep(&case, case.cluster.len() as u32));
    }

    #[test]
    fn the_beam_finds_what_the_published_one_finds(seed in any::<u64>()) {
        let mut case = published_case(seed);
        // The second implementation is slow: few models.
        case.models.truncate(4);
        case.train.model.iter_mut().for_each(|model| model.0 = model.0.min(case.models.len() as u32 - 1));
        let devices = case.cluster.len().min(4) as u32;
        case.cluster = statmux_core::Cluster::uniform(devices, 4, case.cluster.smallest_memory());
        prop_assert_eq!(placed(&case, "selective-replication-beam"), sr_search(&case, devices, &requests(&case)));
    }
}
