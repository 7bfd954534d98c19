//! One model per group, all groups cut the same way: the manual placement AlpaServe is compared with for very
//! large models.

use super::{Parameter, Plan, PlanError, Policy, PolicyInfo, Search};
use crate::enumerate::{all_devices, equal_groups};
use statmux_core::{ModelId, ParallelConfig, Placement};

/// Group `i` holds model `i` and nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Equal {
    /// How every group is cut.
    pub config: ParallelConfig,
}

pub(super) const INFO: PolicyInfo = PolicyInfo {
    name: "equal",
    about: "one model per group, every group cut the same given way",
    published: true,
    clairvoyant: false,
    replaces: false,
    improves: false,
    parameters: &[
        Parameter { key: "op", about: "devices each stage is split over (1)" },
        Parameter { key: "pp", about: "stages of each group (1)" },
    ],
    build: |parameters| {
        let config = ParallelConfig::new(parameters.op.unwrap_or(1), parameters.pp.unwrap_or(1));
        Box::new(Equal { config })
    },
};

impl Policy for Equal {
    fn name(&self) -> &'static str {
        INFO.name
    }

    fn place(&self, search: &Search<'_>) -> Result<Plan, PlanError> {
        let Search { problem, .. } = *search;
        let models = problem.models.len();
        let needed = models * self.config.devices() as usize;
        search.needs(self.name(), needed, || format!("for {models} groups of {}", self.config))?;
        let mut groups = equal_groups(problem.cluster, &all_devices(problem.cluster), self.config);
        if groups.len() < models {
            let why = format!("for {models} groups of {} with every stage within a machine", self.config);
            return Err(PlanError::TooFewDevices {
                policy: self.name(),
                needed: needed.max(problem.cluster.len() + 1),
                why,
                available: problem.cluster.len(),
            });
        }
        groups.truncate(models);
        for (index, group) in groups.iter_mut().enumerate() {
            group.models.push(ModelId::from_index(index));
        }
        let placement = Placement { groups };
        let checked = placement.check(problem.cluster, problem.models, problem.max_batch());
        checked.map_err(|cause| PlanError::Impossible { policy: self.name(), cause })?;
        Ok(search.plan(placement))
    }
}
