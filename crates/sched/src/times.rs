//! How long each stage of each group takes for each model, as the scheduler believes before it has measured.

use statmux_core::{Cluster, GroupId, ModelId, ModelSpec, Placement, Span};

/// Predicted stage times by group, model and batch size, in flat arrays.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StageTimes {
    groups: Vec<GroupTimes>,
    holders: Vec<Vec<GroupId>>,
    /// The same, resolved.
    replicas: Vec<Vec<Replica>>,
}

/// A model on a group: looked up once, and then where its times and what was measured of it are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Replica {
    pub(crate) group: GroupId,
    /// Where the group lists the model.
    pub(crate) slot: usize,
}

/// The stage times of one group.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct GroupTimes {
    /// Stages in its pipeline.
    pub(crate) stages: usize,
    /// By model: where its times are in `models`.
    slot: Vec<Option<u32>>,
    models: Vec<ModelTimes>,
}

/// The stage times of one model on one group.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ModelTimes {
    pub(crate) model: ModelId,
    /// Batch sizes with a measurement, smallest (1) first.
    pub(crate) sizes: Vec<u32>,
    /// One row of stage times per batch size.
    spans: Vec<Span>,
    /// Time on the slowest stage at batch size 1: what a waiting request adds to the group's backlog.
    pub(crate) bottleneck: Span,
    /// Time from start to finish on an idle group at batch size 1.
    pub(crate) latency: Span,
}

/// A placement that no times can be given for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{model} has no profile for the configuration of group {}", .group.0)]
pub struct TimesError {
    group: GroupId,
    model: String,
}

impl TimesError {
    /// The error of a `model` that `group` cannot run for lack of a profile.
    pub fn new(group: GroupId, model: &str) -> Self {
        Self { group, model: model.to_owned() }
    }
}

impl StageTimes {
    /// The times of `placement`: the profile's, stretched by `1 + stage_penalty * pp`, divided by the speed
    /// of the slowest device of each stage, with what the hop to the next stage takes by the cluster's links, for
    /// batch sizes up to `max_batch`.
    pub fn new(
        placement: &Placement,
        cluster: &Cluster,
        models: &[ModelSpec],
        stage_penalty: f64,
        max_batch: u32,
    ) -> Result<Self, TimesError> {
        let mut groups = Vec::with_capacity(placement.groups.len());
        for (index, group) in placement.groups.iter().enumerate() {
            let stages = group.config.pp as usize;
            let mut times = GroupTimes { stages, slot: vec![None; models.len()], models: Vec::new() };
            for &model in &group.models {
                let spec = &models[model.index()];
                let missing = || TimesError::new(GroupId::from_index(index), &spec.name);
                let profile = spec.profile.config(group.config).ok_or_else(missing)?;
                let sizes: Vec<u32> = profile.batch_sizes().filter(|&size| size <= max_batch.max(1)).collect();
                let mut spans = Vec::with_capacity(sizes.len() * stages);
                for &size in &sizes {
                    let seconds = group.stage_seconds(cluster, spec, stage_penalty, size).ok_or_else(missing)?;
                    spans.extend(seconds.into_iter().map(|stage| Span::from_seconds(stage).unwrap_or(Span::MAX)));
                }
                let single = &spans[..stages];
                let entry = ModelTimes {
                    model,
                    bottleneck: single.iter().copied().max().unwrap_or(Span::ZERO),
                    latency: single.iter().copied().sum(),
                    sizes,
                    spans,
                };
                times.slot[model.index()] = Some(u32::try_from(times.models.len()).expect("fewer models than ids"));
                times.models.push(entry);
            }
            groups.push(times);
        }
        let holders = placement.holders(models.len());
        let mut times = Self { groups, holders, replicas: Vec::new() };
        let replicas = |(model, holders): (usize, &Vec<GroupId>)| {
            holders.iter().filter_map(|&group| times.replica(group, ModelId::from_index(model))).collect()
        };
        times.replicas = times.holders.iter().enumerate().map(replicas).collect();
        Ok(times)
    }

    /// How many groups there are.
    pub fn groups(&self) -> usize {
        self.groups.len()
    }

    /// How many stages a group has.
    #[inline]
    pub fn stages(&self, group: GroupId) -> usize {
        self.groups[group.index()].stages
    }

    /// The groups that hold `model`, in increasing order; empty for a model nobody knows.
    #[inline]
    pub fn holders(&self, model: ModelId) -> &[GroupId] {
        self.holders.get(model.index()).map_or(&[], Vec::as_slice)
    }

    /// How many models there are.
    #[inline]
    pub fn models(&self) -> usize {
        self.holders.len()
    }

    /// The stage times of a batch of `size` (a size that was measured) of `model` on `group`, if held there.
    #[inline]
    pub fn spans(&self, group: GroupId, model: ModelId, size: u32) -> Option<&[Span]> {
        let replica = self.replica(group, model)?;
        let row = if size == 1 { 0 } else { self.of(replica).sizes.iter().position(|&s| s == size)? };
        Some(self.row(replica, row))
    }

    /// No machine answers `count` requests for `model` that arrive together sooner than this, with every group that
    /// holds it idle and batches of at most `max_batch`: the latency of one, or what their slowest stages take for all.
    /// [`Span::MAX`] if no group holds the model.
    pub fn soonest(&self, model: ModelId, count: usize, max_batch: u32) -> Span {
        let mut latency = Span::MAX;
        let mut per_second = 0.0;
        for &replica in self.replicas(model) {
            let rate = |(row, size): (usize, usize)| {
                let slowest = self.row(replica, row).iter().copied().max().unwrap_or(Span::ZERO);
                size as f64 / slowest.seconds()
            };
            let rows = || self.of(replica).rows_up_to(count, max_batch.max(1));
            let alone = rows().map(|(row, _)| self.row(replica, row).iter().copied().sum()).min();
            latency = latency.min(alone.unwrap_or(Span::MAX));
            per_second += rows().map(rate).fold(0.0, f64::max);
        }
        // Rounded down, so that nothing that can be done is called impossible.
        let all = Span::from_seconds(count as f64 / per_second * (1.0 - 1e-9)).unwrap_or(Span::ZERO);
        if latency == Span::MAX { latency } else { latency.max(all) }
    }

    #[inline]
    pub(crate) fn group(&self, group: GroupId) -> &GroupTimes {
        &self.groups[group.index()]
    }

    /// The replicas of `model`, by group; none of a model nobody knows.
    #[inline]
    pub(crate) fn replicas(&self, model: ModelId) -> &[Replica] {
        self.replicas.get(model.index()).map_or(&[], Vec::as_slice)
    }

    /// The replica of `model` on `group`, if it is held there.
    #[inline]
    pub(crate) fn replica(&self, group: GroupId, model: ModelId) -> Option<Replica> {
        let slot = self.groups[group.index()].slot.get(model.index()).copied().flatten()?;
        Some(Replica { group, slot: slot as usize })
    }

    /// The replica that a request for `model` which waits at `group` will run on.
    #[inline]
    pub(crate) fn awaited(&self, group: GroupId, model: ModelId) -> Replica {
        self.replica(group, model).expect("a request waits only where its model is held")
    }

    /// What is known of a replica.
    #[inline]
    pub(crate) fn of(&self, replica: Replica) -> &ModelTimes {
        &self.groups[replica.group.index()].models[replica.slot]
    }

    /// Stage times of a replica at its `row`-th batch size.
    #[inline]
    pub(crate) fn row(&self, replica: Replica, row: usize) -> &[Span] {
        self.of(replica).row(row, self.stages(replica.group))
    }
}

impl GroupTimes {
    /// The models held, in the order of the placement.
    pub(crate) fn models(&self) -> &[ModelTimes] {
        &self.models
    }
}

impl ModelTimes {
    /// Stage times at the `row`-th batch size.
    #[inline]
    pub(crate) fn row(&self, row: usize, stages: usize) -> &[Span] {
        &self.spans[row * stages..(row + 1) * stages]
    }
}
