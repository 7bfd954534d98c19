//! Filling groups with models by arithmetic alone: no simulation, so it is cheap enough to do at every turn.
//!
//! Every model that has no replica yet gets one where load is least; then memory is filled with further replicas,
//! the next always for the model whose demand is largest for the devices that serve it, on the least loaded group
//! that has room. A model's load is taken to be spread over its groups by their number of devices.

use super::catalogue::{Catalogue, insert};
use super::dice::Dice;
use crate::memory::Room;
use statmux_core::{Group, ModelId};

/// What is filled, and how far the arithmetic believes itself.
#[derive(Debug)]
pub(super) struct Fill<'f> {
    pub(super) catalogue: &'f Catalogue<'f>,
    /// By model: device-seconds a second that are asked of these groups.
    pub(super) demand: Vec<f64>,
    /// By model: devices elsewhere that serve it as well.
    pub(super) elsewhere: Vec<f64>,
    /// The most groups that a model may be on.
    pub(super) most_replicas: usize,
}

struct Loads {
    /// By group.
    load: Vec<f64>,
    room: Vec<Room>,
    /// By model: devices that serve it.
    served_by: Vec<f64>,
    /// By model: groups that hold it, elsewhere not counted.
    replicas: Vec<usize>,
}

impl<'f> Fill<'f> {
    /// A filling of a whole cluster.
    pub(super) fn whole(catalogue: &'f Catalogue<'f>) -> Self {
        let models = catalogue.demand.len();
        let demand = catalogue.demand.clone();
        Self { catalogue, demand, elsewhere: vec![0.0; models], most_replicas: usize::MAX }
    }

    /// Each model's demand times a number around 1; `spread` 0 changes nothing.
    pub(super) fn perturb(&mut self, dice: &mut Dice, spread: f64) {
        for demand in &mut self.demand {
            *demand *= (spread * (2.0 * dice.share() - 1.0)).exp();
        }
    }

    /// Adds replicas of `models` to `groups` until nothing more fits.
    pub(super) fn fill(&self, groups: &mut [Group], models: &[ModelId]) {
        let mut loads = self.loads(groups);
        self.place_first(groups, models, &mut loads);
        self.replicate(groups, models, &mut loads);
    }

    fn loads(&self, groups: &[Group]) -> Loads {
        let mut loads = Loads {
            load: vec![0.0; groups.len()],
            room: groups.iter().map(|group| self.catalogue.room(group)).collect(),
            served_by: self.elsewhere.clone(),
            replicas: vec![0; self.demand.len()],
        };
        for group in groups {
            for model in &group.models {
                loads.served_by[model.index()] += devices(group);
                loads.replicas[model.index()] += 1;
            }
        }
        for (group, load) in groups.iter().zip(&mut loads.load) {
            let of = |model: &ModelId| self.demand[model.index()] * devices(group) / loads.served_by[model.index()];
            *load = group.models.iter().map(of).sum();
        }
        loads
    }

    /// One replica of each model that has none: the large first where all fit, else those with the most demand
    /// for their memory.
    fn place_first(&self, groups: &mut [Group], models: &[ModelId], loads: &mut Loads) {
        let weight = |model: ModelId| {
            let taken = |group: &Group| {
                let offer = self.catalogue.offer(group.config, model)?;
                Some(offer.footprint.weights.get() as f64 * devices(group))
            };
            groups.iter().filter_map(taken).min_by(f64::total_cmp)
        };
        let missing = models.iter().filter(|model| loads.served_by[model.index()] == 0.0);
        let mut missing: Vec<(ModelId, f64)> = missing.filter_map(|&model| Some((model, weight(model)?))).collect();
        let needed: f64 = missing.iter().map(|(_, weight)| weight).sum();
        let free =
            |(group, room): (&Group, &Room)| room.budget().saturating_sub(room.taken()).get() as f64 * devices(group);
        let starved = needed > 0.85 * groups.iter().zip(&loads.room).map(free).sum::<f64>();
        let density = |&(model, weight): &(ModelId, f64)| self.demand[model.index()] / weight.max(1.0);
        let size = |&(model, weight): &(ModelId, f64)| weight * (1.0 + 1e-3 * self.demand[model.index()]);
        missing.sort_by(|a, b| if starved { density(b).total_cmp(&density(a)) } else { size(b).total_cmp(&size(a)) });
        for (model, _) in missing {
            if let Some(group) = self.best_group(groups, model, loads) {
                self.add(groups, group, model, loads);
            }
        }
    }

    fn replicate(&self, groups: &mut [Group], models: &[ModelId], loads: &mut Loads) {
        let mut open: Vec<ModelId> =
            models.iter().copied().filter(|model| loads.served_by[model.index()] > 0.0).collect();
        loop {
            let need = |model: &ModelId| self.demand[model.index()] / loads.served_by[model.index()];
            let Some((position, &model)) = open.iter().enumerate().max_by(|a, b| need(a.1).total_cmp(&need(b.1)))
            else {
                return;
            };
            let more = loads.replicas[model.index()] < self.most_replicas;
            match self.best_group(groups, model, loads).filter(|_| more) {
                Some(group) => self.add(groups, group, model, loads),
                None => {
                    open.swap_remove(position);
                }
            }
        }
    }

    /// The least loaded group that has room for `model` and does not hold it.
    fn best_group(&self, groups: &[Group], model: ModelId, loads: &Loads) -> Option<usize> {
        let fits = |&index: &usize| {
            let offer = self.catalogue.offer(groups[index].config, model);
            let holds = offer.is_some_and(|offer| loads.room[index].with(offer.footprint).holds());
            holds && groups[index].models.binary_search(&model).is_err()
        };
        let load = |index: usize| loads.load[index] / devices(&groups[index]);
        (0..groups.len()).filter(fits).min_by(|&a, &b| load(a).total_cmp(&load(b)))
    }

    fn add(&self, groups: &mut [Group], index: usize, model: ModelId, loads: &mut Loads) {
        let offer = self.catalogue.offer(groups[index].config, model).expect("only what fits is added");
        let before = loads.served_by[model.index()];
        let after = before + devices(&groups[index]);
        let demand = self.demand[model.index()];
        if loads.replicas[model.index()] > 0 {
            for (group, load) in groups.iter().zip(&mut loads.load) {
                if group.models.binary_search(&model).is_ok() {
                    *load += demand * devices(group) * (1.0 / after - 1.0 / before);
                }
            }
        }
        loads.load[index] += demand * devices(&groups[index]) / after;
        loads.room[index] = loads.room[index].with(offer.footprint);
        loads.served_by[model.index()] = after;
        loads.replicas[model.index()] += 1;
        insert(&mut groups[index], model);
    }
}

fn devices(group: &Group) -> f64 {
    f64::from(group.config.devices())
}
