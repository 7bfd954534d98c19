//! Small random problems, each from one number.

use statmux_core::profile::{ConfigProfile, ModelProfile};
use statmux_core::{
    Bandwidth, Bytes, Cluster, Device, DeviceId, Group, Link, Links, ModelId, ModelSpec, ParallelConfig, Placement,
    Seed, Slo, Span, Time, Workload,
};
use statmux_plan::Problem;
use statmux_sim::SimulationSettings;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A problem that owns its parts.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) cluster: Cluster,
    pub(crate) models: Vec<ModelSpec>,
    pub(crate) settings: SimulationSettings,
    pub(crate) train: Workload,
}

impl Case {
    pub(crate) fn problem(&self) -> Problem<'_> {
        let Self { cluster, models, settings, train } = self;
        Problem { cluster, models, settings, train, seed: Seed(0) }
    }
}

/// A stream of small numbers.
pub(crate) struct Dice {
    seed: Seed,
    rolls: u64,
}

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self { seed: Seed(seed), rolls: 0 }
    }

    /// A number from 0 to `n` - 1.
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.rolls += 1;
        self.seed.nth(self.rolls).0 % n
    }

    pub(crate) fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    /// A number from 0 to 1.
    pub(crate) fn share(&mut self) -> f64 {
        self.below(1 << 32) as f64 / (1_u64 << 32) as f64
    }
}

/// A problem with equal devices under the published simulator's settings.
pub(crate) fn published_case(seed: u64) -> Case {
    let dice = &mut Dice::new(seed);
    let devices = 1 + dice.below(10) as u32;
    let count = if dice.one_in(5) { 17 + dice.below(8) } else { 1 + dice.below(8) };
    let memory = Bytes::new(20 + dice.below(60));
    let profiles = [profile(dice, false), profile(dice, false), profile(dice, false)];
    let models = models(dice, count as usize, &profiles);
    let requests = 20 + dice.below(200) as usize;
    let train = workload(dice, models.len(), requests);
    Case { cluster: Cluster::uniform(devices, 4, memory), models, settings: SimulationSettings::peer(), train }
}

/// A problem with devices that may differ and activations, under any of three engines.
pub(crate) fn any_case(seed: u64) -> Case {
    let dice = &mut Dice::new(seed);
    let devices = 1 + dice.below(9);
    let alike = dice.one_in(2);
    let memory = 20 + dice.below(60);
    let mut node = 0;
    let device = |_| {
        node += u32::from(dice.one_in(4));
        Device {
            memory: Bytes::new(if alike { memory } else { 20 + dice.below(60) }),
            node,
            speed: if alike { 1.0 } else { 0.5 + dice.share() },
        }
    };
    let cluster = Cluster::new((0..devices).map(device).collect());
    let cluster = cluster.with_links(links(dice));
    let profiles = [profile(dice, true), profile(dice, true)];
    let count = 1 + dice.below(5) as usize;
    let models = models(dice, count, &profiles);
    let requests = dice.below(120) as usize;
    let train = workload(dice, models.len(), requests);
    let mut settings = SimulationSettings::default();
    match dice.below(3) {
        0 => settings = SimulationSettings::peer(),
        1 => settings.stage_penalty = 0.01,
        _ => {
            settings.scheduler.discipline = statmux_sched::AnyDiscipline::Edf;
            settings.scheduler.max_batch = 4;
        }
    }
    Case { cluster, models, settings, train }
}

/// Links that cost nothing, or as much as a stage.
fn links(dice: &mut Dice) -> Links {
    let mut link =
        || Link { bandwidth: Bandwidth::new(50.0 + 500.0 * dice.share()), latency: Span::from_millis(dice.below(40)) };
    let (within_node, between_nodes) = (link(), link());
    let activation = Bytes::new(dice.below(9));
    match dice.below(3) {
        0 => Links::FREE,
        1 => Links { within_node: Link::FREE, between_nodes, activation, stated: true },
        _ => Links { within_node, between_nodes, activation, stated: true },
    }
}

/// Groups drawn at random, each with as many models drawn at random as the check lets pass.
pub(crate) fn any_placement(case: &Case, dice: &mut Dice) -> Placement {
    let mut devices: Vec<DeviceId> = (0..case.cluster.len()).map(DeviceId::from_index).collect();
    let configs: Vec<ParallelConfig> =
        case.models.iter().flat_map(|model| model.profile.configs()).map(|(config, _)| config).collect();
    let mut placement = Placement::default();
    while !devices.is_empty() {
        let config = configs[dice.below(configs.len() as u64) as usize];
        let (config, seated) = match case.cluster.seat(&mut devices, config) {
            Some(seated) => (config, seated),
            None => (ParallelConfig::SINGLE, vec![devices.remove(0)]),
        };
        placement.groups.push(Group { devices: seated, config, models: Vec::new() });
        for model in (0..case.models.len()).map(ModelId::from_index).filter(|_| !dice.one_in(3)) {
            let last = placement.groups.len() - 1;
            placement.groups[last].models.push(model);
            let profiled = case.models[model.index()].profile.config(config).is_some();
            let max_batch = case.settings.scheduler.max_batch;
            if !profiled || placement.check(&case.cluster, &case.models, max_batch).is_err() {
                placement.groups[last].models.pop();
            }
        }
    }
    placement
}

fn profile(dice: &mut Dice, activations: bool) -> Arc<ModelProfile> {
    let latency = 0.05 + dice.share();
    let weight = 5 + dice.below(30);
    let mut configs = BTreeMap::new();
    for op in [1_u32, 2, 4] {
        for pp in [1_u32, 2, 4, 8] {
            if op * pp > 1 && dice.one_in(6) {
                continue;
            }
            let stage = |dice: &mut Dice| latency / f64::from(op * pp) * (1.0 + 0.3 * dice.share());
            let first: Vec<f64> = (0..pp).map(|_| stage(dice)).collect();
            let fourfold = first.iter().map(|seconds| seconds * 2.5).collect();
            let part = |dice: &mut Dice| Bytes::new(weight.div_ceil(u64::from(op * pp)) + dice.below(2));
            let weights: Vec<Bytes> = (0..pp).map(|_| part(dice)).collect();
            let active = |dice: &mut Dice| (0..pp).map(|_| Bytes::new(dice.below(6))).collect();
            let stage_activations =
                if activations { BTreeMap::from([(1, active(dice)), (4, active(dice))]) } else { BTreeMap::new() };
            let config = ConfigProfile {
                stage_seconds: BTreeMap::from([(1, first), (4, fourfold)]),
                stage_weights: weights,
                stage_activations,
            };
            configs.insert(ParallelConfig::new(op, pp), config);
        }
    }
    Arc::new(ModelProfile::new("random", "drawn at random", configs))
}

fn models(dice: &mut Dice, count: usize, profiles: &[Arc<ModelProfile>]) -> Vec<ModelSpec> {
    let mut model = |index| ModelSpec {
        name: format!("m{index}"),
        slo: if dice.one_in(12) { Slo::None } else { Slo::Scale(0.7 + 4.0 * dice.share()) },
        profile: profiles[dice.below(profiles.len() as u64) as usize].clone(),
    };
    (0..count).map(&mut model).collect()
}

fn workload(dice: &mut Dice, models: usize, requests: usize) -> Workload {
    let mut workload = Workload::default();
    let mut at = 0;
    let gap = 1 + dice.below(300);
    for _ in 0..requests {
        // Some arrive together; times are whole milliseconds.
        at += if dice.one_in(4) { 0 } else { dice.below(2 * gap) };
        workload.arrived.push(Time::from_nanos(at * 1_000_000));
        let skewed = dice.below(models as u64).min(dice.below(models as u64));
        workload.model.push(ModelId(skewed as u32));
    }
    workload.duration = Span::from_millis(at + 1);
    workload
}
