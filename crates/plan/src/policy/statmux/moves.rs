//! Steps from a placement to its neighbours, chosen by what was missed and what idled.

use super::catalogue::Catalogue;
use super::dice::Dice;
use super::fill::Fill;
use super::judge::Verdict;
use statmux_core::{DeviceId, Group, ModelId, ParallelConfig, Placement};

/// The neighbours of a placement.
#[derive(Debug)]
pub(super) struct Moves<'m> {
    pub(super) catalogue: &'m Catalogue<'m>,
    /// By shape of the catalogue: how likely it is tried.
    pub(super) shapes: Vec<f64>,
}

impl Moves<'_> {
    /// A neighbour of `placement`, which came to `verdict`; `None` where the step drawn leads nowhere.
    pub(super) fn neighbour(&self, placement: &Placement, verdict: &Verdict, dice: &mut Dice) -> Option<Placement> {
        if placement.groups.is_empty() {
            return None;
        }
        let mut next = placement.clone();
        let moved = match dice.below(100) {
            0..25 => self.add(&mut next.groups, verdict, dice),
            25..40 => self.shift(&mut next.groups, verdict, dice),
            40..45 => self.drop(&mut next.groups, dice),
            45..60 => self.reshape(&mut next.groups, verdict, dice),
            60..65 => self.reshape_all(&mut next.groups, verdict, dice),
            _ => self.rebuild(&mut next.groups, verdict, dice),
        };
        (moved && next != *placement).then_some(next)
    }

    /// A model whose requests were missed, sometimes any.
    fn missed(&self, verdict: &Verdict, dice: &mut Dice) -> ModelId {
        // Half of the time one that is below the floor, if any is.
        if verdict.score().short > 0 && dice.below(2) == 0 {
            let weights = verdict.short_by_model.iter().map(|&short| short as f64);
            return ModelId::from_index(dice.weighted(weights).expect("some model is short"));
        }
        let weight = |(missed, demand): (&u64, &f64)| *missed as f64 + 0.05 * demand.sqrt() + 1e-9;
        let weights = verdict.misses_by_model.iter().zip(&self.catalogue.demand).map(weight);
        ModelId::from_index(dice.weighted(weights).expect("every model has some weight"))
    }

    /// A group, the likelier the more its devices idle.
    fn idle(&self, verdict: &Verdict, dice: &mut Dice) -> usize {
        let weights = verdict.busy.iter().map(|busy| (1.05 - busy).max(0.05).powi(2));
        dice.weighted(weights).expect("every group has some weight")
    }

    /// Adds a replica of a missed model, in place of others where memory is short.
    fn add(&self, groups: &mut [Group], verdict: &Verdict, dice: &mut Dice) -> bool {
        let model = self.missed(verdict, dice);
        let at = self.idle(verdict, dice);
        if groups[at].models.contains(&model) || self.catalogue.offer(groups[at].config, model).is_none() {
            return false;
        }
        let mut evicted = Vec::new();
        while !self.catalogue.fits(&groups[at], model) {
            let replicas = |model: ModelId| groups.iter().filter(|group| group.models.contains(&model)).count();
            let missed = |model: ModelId| verdict.misses_by_model[model.index()] as f64;
            let weight = |&model: &ModelId| {
                (replicas(model) as f64 - 0.9).powi(2)
                    / (1.0 + missed(model)).sqrt()
                    / (0.01 + self.catalogue.demand[model.index()])
            };
            let Some(position) = dice.weighted(groups[at].models.iter().map(weight)) else { return false };
            evicted.push(groups[at].models.remove(position));
        }
        self.catalogue.add(&mut groups[at], model);
        self.house(groups, &evicted, dice);
        true
    }

    /// Gives those of `models` that lost their last replica another where there is room.
    fn house(&self, groups: &mut [Group], models: &[ModelId], dice: &mut Dice) {
        for &model in models {
            if groups.iter().any(|group| group.models.contains(&model)) {
                continue;
            }
            let from = dice.below(groups.len());
            let order = (from..groups.len()).chain(0..from);
            for index in order {
                if self.catalogue.add(&mut groups[index], model) {
                    break;
                }
            }
        }
    }

    /// Moves a replica to another group, in exchange for one there if it does not fit otherwise.
    fn shift(&self, groups: &mut [Group], verdict: &Verdict, dice: &mut Dice) -> bool {
        let (to, from) = (self.idle(verdict, dice), dice.below(groups.len()));
        if to == from || groups[from].models.is_empty() {
            return false;
        }
        let model = groups[from].models[dice.below(groups[from].models.len())];
        if groups[to].models.contains(&model) || self.catalogue.offer(groups[to].config, model).is_none() {
            return false;
        }
        groups[from].models.retain(|&other| other != model);
        if self.catalogue.add(&mut groups[to], model) {
            return true;
        }
        if groups[to].models.is_empty() {
            return false;
        }
        let position = dice.below(groups[to].models.len());
        let back = groups[to].models.remove(position);
        self.catalogue.add(&mut groups[to], model)
            && (groups[from].models.contains(&back) || self.catalogue.add(&mut groups[from], back))
    }

    /// Drops a replica of a model that has others.
    fn drop(&self, groups: &mut [Group], dice: &mut Dice) -> bool {
        let at = dice.below(groups.len());
        if groups[at].models.is_empty() {
            return false;
        }
        let position = dice.below(groups[at].models.len());
        let model = groups[at].models[position];
        if groups.iter().filter(|group| group.models.contains(&model)).count() < 2 {
            return false;
        }
        groups[at].models.remove(position);
        true
    }

    /// Another shape for the devices of one group.
    fn reshape(&self, groups: &mut [Group], verdict: &Verdict, dice: &mut Dice) -> bool {
        let at = self.troubled(groups, verdict, dice);
        let Some(shape) = self.other_shape(groups[at].config, dice) else { return false };
        self.recast(groups, &[at], shape, dice)
    }

    /// Another shape for all groups of one shape.
    fn reshape_all(&self, groups: &mut [Group], verdict: &Verdict, dice: &mut Dice) -> bool {
        let of = groups[self.troubled(groups, verdict, dice)].config;
        let Some(shape) = self.other_shape(of, dice) else { return false };
        let all: Vec<usize> = (0..groups.len()).filter(|&index| groups[index].config == of).collect();
        self.recast(groups, &all, shape, dice)
    }

    /// Gives `shape` to those of the groups `which` whose nodes have room for its stages; whether there are any.
    fn recast(&self, groups: &mut [Group], which: &[usize], shape: ParallelConfig, dice: &mut Dice) -> bool {
        let mut evicted = Vec::new();
        let mut any = false;
        for &index in which {
            let mut devices = groups[index].devices.clone();
            devices.sort_unstable();
            let Some(devices) = self.catalogue.cluster.seat(&mut devices, shape) else { continue };
            any = true;
            groups[index].devices = devices;
            let models = std::mem::take(&mut groups[index].models);
            groups[index].config = shape;
            evicted.extend(models.into_iter().filter(|&model| !self.catalogue.add(&mut groups[index], model)));
        }
        self.house(groups, &evicted, dice);
        any
    }

    fn other_shape(&self, shape: ParallelConfig, dice: &mut Dice) -> Option<ParallelConfig> {
        let weight = |(other, weight): (&ParallelConfig, &f64)| {
            if *other != shape && other.devices() == shape.devices() { *weight } else { 0.0 }
        };
        let shapes = &self.catalogue.shapes;
        dice.weighted(shapes.iter().zip(&self.shapes).map(weight)).map(|position| shapes[position])
    }

    /// A group that holds a missed model, sometimes an idle one.
    fn troubled(&self, groups: &[Group], verdict: &Verdict, dice: &mut Dice) -> usize {
        let model = self.missed(verdict, dice);
        let holders: Vec<usize> = (0..groups.len()).filter(|&index| groups[index].models.contains(&model)).collect();
        if holders.is_empty() || dice.below(4) == 0 {
            return self.idle(verdict, dice);
        }
        holders[dice.below(holders.len())]
    }

    /// Takes a few groups apart and makes others of their devices, filled anew.
    fn rebuild(&self, groups: &mut Vec<Group>, verdict: &Verdict, dice: &mut Dice) -> bool {
        let count = (1 + dice.below(4)).min(groups.len());
        let mut chosen = vec![self.troubled(groups, verdict, dice)];
        for _ in 1..count {
            let next = match dice.below(3) {
                0 => self.idle(verdict, dice),
                1 => self.troubled(groups, verdict, dice),
                _ => dice.below(groups.len()),
            };
            if !chosen.contains(&next) {
                chosen.push(next);
            }
        }
        chosen.sort_unstable();
        let mut taken = Vec::with_capacity(chosen.len());
        for &index in chosen.iter().rev() {
            taken.push(groups.remove(index));
        }
        taken.reverse();
        let devices: Vec<DeviceId> = taken.iter().flat_map(|group| group.devices.iter().copied()).collect();
        let mut models: Vec<ModelId> = taken.iter().flat_map(|group| group.models.iter().copied()).collect();
        for _ in 0..dice.below(3) {
            models.push(self.missed(verdict, dice));
        }
        models.sort_unstable();
        models.dedup();
        let mut fresh = self.partition(devices, &taken, dice);
        let mut fill = Fill::whole(self.catalogue);
        for group in groups.iter() {
            for model in &group.models {
                fill.elsewhere[model.index()] += group.devices.len() as f64;
            }
        }
        // What was missed counts as demand that was underrated.
        for (demand, &missed) in fill.demand.iter_mut().zip(&verdict.misses_by_model) {
            *demand *= 1.0 + 0.3 * dice.share() * (missed as f64 / (verdict.total() as f64 + 1.0)).sqrt();
        }
        fill.perturb(dice, 0.5);
        if dice.below(3) == 0 {
            fill.most_replicas = 1 + dice.below(fresh.len());
        }
        fill.fill(&mut fresh, &models);
        groups.append(&mut fresh);
        let lost: Vec<ModelId> = taken.into_iter().flat_map(|group| group.models).collect();
        self.house(groups, &lost, dice);
        true
    }

    /// Empty groups of all of `devices`, in shapes drawn at random or as those of `before`, single devices where nodes
    /// have no room for the stages of what was drawn.
    fn partition(&self, mut devices: Vec<DeviceId>, before: &[Group], dice: &mut Dice) -> Vec<Group> {
        let mut groups = Vec::new();
        let mut last: Option<ParallelConfig> = None;
        if dice.below(4) == 0 {
            last = Some(before[dice.below(before.len())].config);
        }
        while !devices.is_empty() {
            let fits = |shape: ParallelConfig| shape.devices() as usize <= devices.len();
            let again = last.filter(|&shape| fits(shape) && dice.below(4) > 0);
            let shape = again.unwrap_or_else(|| {
                let weight = |(shape, weight): (&ParallelConfig, &f64)| if fits(*shape) { *weight } else { 0.0 };
                let shapes = &self.catalogue.shapes;
                let drawn = dice.weighted(shapes.iter().zip(&self.shapes).map(weight));
                drawn.map_or(ParallelConfig::SINGLE, |position| shapes[position])
            });
            let seated = self.catalogue.cluster.seat(&mut devices, shape).map(|seated| (seated, shape));
            let (seated, shape) = seated.unwrap_or_else(|| (vec![devices.remove(0)], ParallelConfig::SINGLE));
            last = Some(shape);
            groups.push(Group { devices: seated, config: shape, models: Vec::new() });
        }
        groups
    }
}
