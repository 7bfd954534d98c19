//! How much of a cluster each model could use if it alone were wanted: what tells plans apart that miss the same.
//!
//! Fluid arithmetic, no simulation: a model's reach is the rate that the groups which hold it could answer together.
//! A surge of one model is met by its reach and by nothing else, so a plan under which every model reaches far can
//! be pushed far. Memory that is left is worth filling as long as that adds reach.

use super::catalogue::Catalogue;
use statmux_core::Placement;

/// The most that one model counts: about what a model on a thousandth of the devices would.
const MOST: f64 = 1000.0;

/// A million: strain is counted in parts of it, so that it has a total order.
const PARTS: f64 = 1e6;

/// How a placement strains under a surge of a single model, in millionths: the rate that all devices could answer of
/// it at the least cost over its reach, averaged over models. Half of the weight goes by demand, half to each alike.
/// A million where every model reaches all devices at the least cost; smaller is better.
pub(super) fn strain(catalogue: &Catalogue<'_>, placement: &Placement) -> u64 {
    let mut reach = vec![0.0; catalogue.demand.len()];
    for group in &placement.groups {
        let devices = f64::from(group.config.devices());
        for &model in &group.models {
            if let Some(offer) = catalogue.offer(group.config, model) {
                reach[model.index()] += devices / offer.cost;
            }
        }
    }
    let possible = catalogue.cheapest.iter().filter(|&&cost| cost > 0.0).count().max(1) as f64;
    let asked = catalogue.demand.iter().sum::<f64>().max(f64::MIN_POSITIVE);
    let all = catalogue.cluster.len() as f64;
    let each = catalogue.cheapest.iter().zip(&catalogue.demand).zip(&reach);
    let strain = each.filter(|((cost, _), _)| **cost > 0.0).map(|((cost, demand), reach)| {
        let weight = 0.5 * demand / asked + 0.5 / possible;
        weight * (all / cost / reach.max(f64::MIN_POSITIVE)).min(MOST)
    });
    (strain.sum::<f64>() * PARTS) as u64
}

#[cfg(test)]
mod tests {
    use super::super::fill::Fill;
    use super::*;
    use crate::enumerate::{all_devices, groups_and_leftover};
    use crate::test_cases::any_case;
    use proptest::prelude::*;
    use statmux_core::ModelId;

    proptest! {
        #[test]
        fn further_replicas_never_strain_more(seed in any::<u64>()) {
            let case = any_case(seed);
            let problem = case.problem();
            let catalogue = Catalogue::new(&problem, 1, 8, 8);
            let models: Vec<ModelId> = (0..problem.models.len()).map(ModelId::from_index).collect();
            for &shape in &catalogue.shapes {
                let mut groups = groups_and_leftover(problem.cluster, &all_devices(problem.cluster), shape);
                let none = strain(&catalogue, &Placement { groups: groups.clone() });
                let mut fill = Fill::whole(&catalogue);
                fill.most_replicas = 1;
                fill.fill(&mut groups, &models);
                let one = strain(&catalogue, &Placement { groups: groups.clone() });
                Fill::whole(&catalogue).fill(&mut groups, &models);
                let many = strain(&catalogue, &Placement { groups });
                prop_assert!(many <= one && one <= none, "{many} {one} {none}");
            }
        }
    }
}
