//! What every model would take and give on a group of every shape, worked out once.

use crate::memory::{Footprint, Room};
use crate::problem::Problem;
use statmux_core::{Cluster, Group, ModelId, ModelSpec, ParallelConfig};
use std::collections::BTreeMap;

/// A model on a group of some shape.
#[derive(Clone, Copy, Debug)]
pub(super) struct Offer {
    pub(super) footprint: Footprint,
    /// Device-seconds of a request in the cheapest batch, at the profiled speed.
    pub(super) cost: f64,
}

/// The shapes worth having, and what each model would be there.
#[derive(Debug)]
pub(super) struct Catalogue<'a> {
    pub(super) cluster: &'a Cluster,
    models: &'a [ModelSpec],
    max_batch: u32,
    /// The shapes in which some model can be in time, smallest first.
    pub(super) shapes: Vec<ParallelConfig>,
    offers: BTreeMap<ParallelConfig, Vec<Option<Offer>>>,
    /// By model: device-seconds that its requests ask for in a second.
    pub(super) demand: Vec<f64>,
    /// By model: device-seconds of a request where they are fewest; 0 where no group could answer it in time.
    pub(super) cheapest: Vec<f64>,
}

impl<'a> Catalogue<'a> {
    /// The catalogue for batches of up to `max_batch`, with stages and shards up to the given numbers.
    pub(super) fn new(problem: &Problem<'a>, max_batch: u32, max_pp: u32, max_op: u32) -> Self {
        let fastest = problem.cluster.devices().iter().map(|device| device.speed).fold(0.0, f64::max);
        let overhead = problem.settings.scheduler.fixed_overhead.seconds();
        let own_slo = problem.train.slo.iter().max().map(|slo| slo.seconds());
        let mut offers: BTreeMap<ParallelConfig, Vec<Option<Offer>>> = BTreeMap::new();
        for (index, model) in problem.models.iter().enumerate() {
            let slo = model.slo_seconds().unwrap_or(f64::INFINITY).max(own_slo.unwrap_or(0.0));
            for (config, profile) in model.profile.configs() {
                let fits = problem.cluster.seats(config) && config.pp <= max_pp && config.op <= max_op;
                let Some(single) = profile.stage_seconds.get(&1).filter(|_| fits) else { continue };
                let penalty = 1.0 + problem.settings.stage_penalty * f64::from(config.pp);
                let latency = single.iter().sum::<f64>() * penalty / fastest + overhead;
                let Some(footprint) = Footprint::new(model, config, max_batch).filter(|_| latency <= slo) else {
                    continue;
                };
                let sizes = profile.stage_seconds.range(..=max_batch.max(1));
                let slowest = |stages: &Vec<f64>| stages.iter().copied().fold(0.0, f64::max);
                let costs = sizes.map(|(&size, stages)| slowest(stages) / f64::from(size));
                let cost = costs.fold(f64::INFINITY, f64::min) * penalty * f64::from(config.devices());
                let of_config = offers.entry(config).or_insert_with(|| vec![None; problem.models.len()]);
                of_config[index] = Some(Offer { footprint, cost });
            }
        }
        let cheapest = |index: usize| {
            let costs = offers.values().filter_map(|of_config| of_config[index]).map(|offer| offer.cost);
            costs.min_by(f64::total_cmp).unwrap_or(0.0)
        };
        let cheapest: Vec<f64> = (0..problem.models.len()).map(cheapest).collect();
        let demand = problem.rates().iter().zip(&cheapest).map(|(rate, cost)| rate * cost).collect();
        let mut shapes: Vec<ParallelConfig> = offers.keys().copied().collect();
        shapes.sort_by_key(|shape| (shape.devices(), shape.pp));
        Self { cluster: problem.cluster, models: problem.models, max_batch, shapes, offers, demand, cheapest }
    }

    /// What `model` would be on a group of `shape`; `None` where it could never be in time, or has no profile.
    pub(super) fn offer(&self, shape: ParallelConfig, model: ModelId) -> Option<Offer> {
        self.offers.get(&shape).and_then(|of_shape| of_shape[model.index()])
    }

    /// The room that is left on `group`.
    pub(super) fn room(&self, group: &Group) -> Room {
        let room = Room::new(group, self.cluster);
        // The published search also places models where they can never be in time: they have no offer, but weigh.
        let footprint = |&model: &ModelId| match self.offer(group.config, model) {
            Some(offer) => Some(offer.footprint),
            None => Footprint::new(&self.models[model.index()], group.config, self.max_batch),
        };
        group.models.iter().filter_map(footprint).fold(room, Room::with)
    }

    /// Whether `model` is new to `group`, useful there, and fits.
    pub(super) fn fits(&self, group: &Group, model: ModelId) -> bool {
        let Some(offer) = self.offer(group.config, model) else { return false };
        !group.models.contains(&model) && self.room(group).with(offer.footprint).holds()
    }

    /// Adds `model` to `group` if it is new there, useful, and fits.
    pub(super) fn add(&self, group: &mut Group, model: ModelId) -> bool {
        let fits = self.fits(group, model);
        if fits {
            insert(group, model);
        }
        fits
    }
}

/// Adds `model` to `group` where the order of models wants it.
pub(super) fn insert(group: &mut Group, model: ModelId) {
    let position = group.models.partition_point(|&other| other < model);
    group.models.insert(position, model);
}
