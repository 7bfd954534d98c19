//! A placement in the making: groups, their models, and the room left on them.

use crate::memory::{Footprint, Room};
use crate::problem::Problem;
use statmux_core::{Group, ModelId, ParallelConfig, Placement};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Groups that are being filled with models, kept in the published normal form: the models of a group in
/// increasing order, the groups in lexicographic order of their models.
#[derive(Clone)]
pub(super) struct Filling {
    parts: Vec<Part>,
    /// What each model takes under each configuration.
    footprints: Arc<BTreeMap<ParallelConfig, Vec<Option<Footprint>>>>,
}

#[derive(Clone)]
struct Part {
    group: Group,
    room: Room,
}

impl Filling {
    /// Starts with `groups`, which are empty.
    pub(super) fn new(problem: &Problem<'_>, groups: Vec<Group>) -> Self {
        let mut footprints = BTreeMap::new();
        for group in &groups {
            let of = |model| Footprint::new(model, group.config, problem.max_batch());
            footprints.entry(group.config).or_insert_with(|| problem.models.iter().map(of).collect());
        }
        let part = |group: Group| Part { room: Room::new(&group, problem.cluster), group };
        Self { parts: groups.into_iter().map(part).collect(), footprints: Arc::new(footprints) }
    }

    /// How many groups there are.
    pub(super) fn groups(&self) -> usize {
        self.parts.len()
    }

    /// The room on group `group` with `model` added; `None` if it is there already or has no profile.
    fn room_with(&self, group: usize, model: ModelId) -> Option<Room> {
        let Part { group, room } = &self.parts[group];
        let footprint = self.footprints[&group.config][model.index()]?;
        (!group.models.contains(&model)).then(|| room.with(footprint))
    }

    /// Whether `model` is new to group `group` and fits.
    pub(super) fn fits(&self, group: usize, model: ModelId) -> bool {
        self.room_with(group, model).is_some_and(|room| room.holds())
    }

    /// Whether `model` is new to group `group` and fits with memory to spare.
    pub(super) fn fits_strictly(&self, group: usize, model: ModelId) -> bool {
        self.room_with(group, model).is_some_and(|room| room.holds_strictly())
    }

    /// Adds `model` to group `group` and restores the normal form.
    ///
    /// # Panics
    /// If the model is there already or has no profile for the group's configuration.
    pub(super) fn add(&mut self, group: usize, model: ModelId) {
        self.add_in_place(group, model);
        self.parts.sort_by(|a, b| a.group.models.cmp(&b.group.models));
    }

    /// Adds `model` to group `group` and leaves the groups in their order.
    ///
    /// # Panics
    /// If the model is there already or has no profile for the group's configuration.
    pub(super) fn add_in_place(&mut self, group: usize, model: ModelId) {
        let room = self.room_with(group, model).expect("only models that fit are added");
        let part = &mut self.parts[group];
        part.room = room;
        let position = part.group.models.partition_point(|&other| other < model);
        part.group.models.insert(position, model);
    }

    /// The placement so far.
    pub(super) fn placement(&self) -> Placement {
        Placement { groups: self.parts.iter().map(|part| part.group.clone()).collect() }
    }
}
