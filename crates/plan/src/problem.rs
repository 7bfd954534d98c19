//! What a placement is searched for.

use statmux_core::{Cluster, ModelSpec, Seed, Time, Workload};
use statmux_sim::SimulationSettings;

/// Everything a policy may know: hardware, models, rules of the simulator, and the requests to plan for.
#[derive(Clone, Copy, Debug)]
pub struct Problem<'a> {
    /// The devices to use.
    pub cluster: &'a Cluster,
    /// The models, by id.
    pub models: &'a [ModelSpec],
    /// How candidates are simulated.
    pub settings: &'a SimulationSettings,
    /// The requests candidates are judged on; those the placement will meet are usually others.
    pub train: &'a Workload,
    /// Where a policy's own chance comes from. The published policies use none.
    pub seed: Seed,
}

impl Problem<'_> {
    /// Requests per second of each model over the train window.
    ///
    /// The window's length is the workload's duration, or the last arrival if no duration is known.
    pub fn rates(&self) -> Vec<f64> {
        let last = self.train.arrived.last().copied().unwrap_or(Time::ZERO);
        let seconds = self.train.duration.max(last.since(Time::ZERO)).seconds();
        let seconds = if seconds > 0.0 { seconds } else { 1.0 };
        self.train.counts(self.models.len()).into_iter().map(|count| count as f64 / seconds).collect()
    }

    /// The largest batch that may run, and whose activations must therefore fit.
    pub fn max_batch(&self) -> u32 {
        self.settings.scheduler.max_batch.max(1)
    }
}
