//! The stage times that properties of the machine are tried on.

use statmux_core::{
    Bytes, Cluster, ConfigProfile, DeviceId, Group, ModelId, ModelProfile, ModelSpec, ParallelConfig, Placement, Slo,
};
use statmux_sched::StageTimes;
use std::sync::Arc;

/// Groups of one, two and four stages that hold the models of `held`; a batch of `size` takes `seconds(size, stage)`
/// in a stage.
pub(crate) fn times(max_batch: u32, held: [&[u32]; 3], seconds: impl Fn(u32, u32) -> f64) -> StageTimes {
    let configs = [1_u32, 2, 4].map(|pp| {
        let stages = |size| (size, (0..pp).map(|stage| seconds(size, stage)).collect());
        let profile = ConfigProfile {
            stage_seconds: [1, 2, 4].map(stages).into(),
            stage_weights: vec![Bytes::new(1); pp as usize],
            ..ConfigProfile::default()
        };
        (ParallelConfig::new(1, pp), profile)
    });
    let profile = Arc::new(ModelProfile::new("any", "assumed", configs.into()));
    let group = |pp: u32, first: u32, held: &[u32]| Group {
        devices: (first..first + pp).map(DeviceId).collect(),
        config: ParallelConfig::new(1, pp),
        models: held.iter().copied().map(ModelId).collect(),
    };
    let placement = Placement { groups: vec![group(1, 0, held[0]), group(2, 1, held[1]), group(4, 3, held[2])] };
    let cluster = Cluster::uniform(7, 7, Bytes::from_gib(1));
    let models = held.iter().flat_map(|models| models.iter()).max().map_or(0, |&most| most + 1);
    let model = |index| ModelSpec { name: format!("m{index}"), slo: Slo::None, profile: Arc::clone(&profile) };
    let models: Vec<_> = (0..models).map(model).collect();
    StageTimes::new(&placement, &cluster, &models, 0.0, max_batch).expect("every configuration is profiled")
}
