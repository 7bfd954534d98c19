//! Random scenarios, small enough to shrink and mean enough to matter: mixed groups and models, equal arrival
//! times, stages without length, models that nobody holds.
#![allow(dead_code)] // Each test program uses a part of this.

use proptest::prelude::*;
use statmux_core::{
    Bandwidth, Bytes, Cluster, ConfigProfile, DeviceId, Group, GroupId, Link, Links, ModelId, ModelProfile, ModelSpec,
    ParallelConfig, Placement, PlacementWindows, Slo, Span, Time, Workload,
};
use statmux_sched::{Admission, AnyDiscipline, Dispatch, Settings, StageTimes};
use statmux_sim::{Fault, FaultKind, SimulationSettings};
use std::sync::Arc;

/// Everything a run needs.
#[derive(Clone, Debug)]
pub(crate) struct Scenario {
    pub(crate) cluster: Cluster,
    pub(crate) models: Vec<ModelSpec>,
    pub(crate) placement: Placement,
    pub(crate) workload: Workload,
    pub(crate) settings: SimulationSettings,
}

impl Scenario {
    pub(crate) fn windows(&self) -> PlacementWindows {
        PlacementWindows::fixed(self.placement.clone())
    }

    pub(crate) fn times(&self) -> StageTimes {
        let batch = self.settings.scheduler.max_batch;
        StageTimes::new(&self.placement, &self.cluster, &self.models, self.settings.stage_penalty, batch)
            .expect("every configuration is profiled")
    }
}

/// The configurations that groups use.
pub(crate) const CONFIGS: [(u32, u32); 7] = [(1, 1), (1, 2), (2, 1), (1, 3), (1, 4), (2, 2), (1, 8)];

/// A model whose stage times, in milliseconds, are taken from `millis` in a fixed pattern; a batch of `b` takes
/// (b + 1) / 2 times as long as one request.
pub(crate) fn model(name: usize, millis: &[u16], slo: Slo) -> ModelSpec {
    let profiles = CONFIGS.iter().enumerate().map(|(index, &(op, pp))| {
        let single: Vec<f64> = (0..pp as usize).map(|k| f64::from(millis[(index * 5 + k) % millis.len()])).collect();
        let seconds = |size: u32| single.iter().map(|ms| ms * f64::from(size + 1) / 2.0 / 1000.0).collect();
        let profile = ConfigProfile {
            stage_seconds: [1, 2, 4].into_iter().map(|size| (size, seconds(size))).collect(),
            stage_weights: vec![Bytes::new(1); pp as usize],
            ..ConfigProfile::default()
        };
        (ParallelConfig::new(op, pp), profile)
    });
    let profile = ModelProfile::new(format!("a{name}"), "assumed", profiles.collect());
    ModelSpec { name: format!("m{name}"), slo, profile: Arc::new(profile) }
}

/// Groups of the given configurations on as many devices as they need; each holds the models whose bit is set.
pub(crate) fn placement(groups: &[(usize, u8)], models: usize) -> (Cluster, Placement) {
    let mut next = 0;
    let groups: Vec<Group> = groups
        .iter()
        .map(|&(config, held)| {
            let (op, pp) = CONFIGS[config];
            let config = ParallelConfig::new(op, pp);
            let devices = (next..next + config.devices()).map(DeviceId).collect();
            next += config.devices();
            let models = (0..models).filter(|m| held >> m & 1 == 1).map(ModelId::from_index).collect();
            Group { devices, config, models }
        })
        .collect();
    (Cluster::uniform(next, 8, Bytes::from_gib(1)), Placement { groups })
}

fn slo() -> impl Strategy<Value = Slo> {
    prop_oneof![
        1 => Just(Slo::None),
        3 => (1_u64..120).prop_map(|ms| Slo::Latency(Span::from_millis(ms))),
        2 => (2_u8..12).prop_map(|halves| Slo::Scale(f64::from(halves) / 2.0)),
    ]
}

/// Gaps in nanoseconds: many are zero, some off the millisecond grid.
fn gap() -> impl Strategy<Value = u64> {
    prop_oneof![
        3 => Just(0),
        5 => (1_u64..25).prop_map(|ms| ms * 1_000_000),
        2 => 1_u64..20_000_000,
    ]
}

fn millis() -> impl Strategy<Value = u16> {
    prop_oneof![1 => Just(0), 9 => 1_u16..30]
}

fn fault(groups: usize) -> impl Strategy<Value = Fault> {
    let kind = prop_oneof![Just(FaultKind::Lost), (1_u8..6).prop_map(|half| FaultKind::Slow(f64::from(half) / 2.0))];
    (0..groups, 0_u64..600, 0_u64..200, kind).prop_map(|(group, at, lasts, kind)| Fault {
        group: GroupId::from_index(group),
        at: Time::from_nanos(at * 1_000_000),
        lasts: Span::from_millis(lasts),
        kind,
    })
}

fn settings() -> impl Strategy<Value = SimulationSettings> {
    let dispatch = proptest::sample::select(&Dispatch::ALL[..]);
    let discipline = proptest::sample::select(&AnyDiscipline::ALL[..]);
    let admission = prop_oneof![3 => Just(Admission::Deadline), 1 => Just(Admission::None)];
    let batch = prop_oneof![2 => Just(1_u32), 1 => 2_u32..6];
    let waiting = prop_oneof![2 => Just(usize::MAX), 1 => 0_usize..5];
    let penalty = prop_oneof![Just(0.0), Just(0.009)];
    (dispatch, discipline, admission, batch, waiting, penalty, 0_u64..5).prop_map(
        |(dispatch, discipline, admission, max_batch, max_waiting, stage_penalty, overhead)| SimulationSettings {
            scheduler: Settings {
                dispatch,
                discipline,
                admission,
                max_batch,
                max_waiting,
                fixed_overhead: Span::from_millis(overhead),
                ..Settings::default()
            },
            stage_penalty,
            ..SimulationSettings::default()
        },
    )
}

/// Any scenario without faults.
pub(crate) fn scenario() -> impl Strategy<Value = Scenario> {
    let any_model = (proptest::collection::vec(millis(), 16), slo());
    let models = proptest::collection::vec(any_model, 1..6);
    let groups = proptest::collection::vec((0..CONFIGS.len(), any::<u8>()), 1..5);
    let request = (gap(), any::<u8>(), prop_oneof![Just(Span::MAX), (1_u64..80).prop_map(Span::from_millis)]);
    let requests = proptest::collection::vec(request, 0..120);
    (models, groups, requests, any::<bool>(), settings()).prop_map(|(raw, groups, requests, own_slo, settings)| {
        let models: Vec<_> = raw.iter().enumerate().map(|(i, (millis, slo))| model(i, millis, *slo)).collect();
        let (cluster, placement) = placement(&groups, models.len());
        // Small machines and slow links, as often as not.
        let linked = Links {
            within_node: Link { bandwidth: None, latency: Span::from_millis(2) },
            between_nodes: Link { bandwidth: Bandwidth::new(1000.0), latency: Span::from_nanos(3_500_000) },
            activation: Bytes::new(1 + u64::from(groups[0].1 % 16)),
            stated: true,
        };
        let small = || Cluster::uniform(cluster.len() as u32, 2, Bytes::from_gib(1)).with_links(linked);
        let cluster = if groups[0].1 % 2 == 0 { small() } else { cluster };
        let mut at = Time::ZERO;
        let mut workload = Workload::default();
        for &(gap, model, slo) in &requests {
            at += Span::from_nanos(gap);
            workload.arrived.push(at);
            workload.model.push(ModelId::from_index(usize::from(model) % models.len()));
            if own_slo {
                workload.slo.push(slo);
            }
        }
        workload.duration = at.since(Time::ZERO);
        Scenario { cluster, models, placement, workload, settings }
    })
}

/// Any scenario with faults.
pub(crate) fn faulty_scenario() -> impl Strategy<Value = Scenario> {
    scenario().prop_flat_map(|scenario| {
        let faults = proptest::collection::vec(fault(scenario.placement.groups.len()), 0..8);
        (Just(scenario), faults).prop_map(|(mut scenario, faults)| {
            scenario.settings.faults = faults;
            scenario
        })
    })
}

/// Any discipline under which requests run in the order in which they arrive.
pub(crate) fn in_order() -> impl Strategy<Value = AnyDiscipline> {
    proptest::sample::select(AnyDiscipline::ALL.into_iter().filter(|any| any.in_order()).collect::<Vec<_>>())
}

/// Any scenario that the tight loop can run.
pub(crate) fn tight_scenario() -> impl Strategy<Value = Scenario> {
    let dispatch = proptest::sample::select(&[Dispatch::LeastClock, Dispatch::EarliestFinish][..]);
    (scenario(), dispatch, in_order()).prop_map(|(mut scenario, dispatch, discipline)| {
        let scheduler = &mut scenario.settings.scheduler;
        scheduler.dispatch = dispatch;
        scheduler.discipline = discipline;
        scheduler.max_batch = 1;
        scheduler.max_waiting = usize::MAX;
        assert!(scenario.settings.is_tight());
        scenario
    })
}
