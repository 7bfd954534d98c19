//! The program behind both published ones: groups of a few kinds, models to put on them, and one objective.

/// The weight of the sum of tolerances against the smallest one, as published.
pub(super) const SUM_WEIGHT: f64 = 1e-4;

/// Maximise the smallest tolerance plus [`SUM_WEIGHT`] times the sum of all.
///
/// A model's tolerance is the sum of its values over the groups that hold it. Groups of one kind are
/// alike, so a solution is what each holds and not which is which.
#[derive(Clone, Debug)]
pub(super) struct Program {
    /// Devices that all groups together must take.
    pub(super) devices: u32,
    /// Memory of one device, in bytes.
    pub(super) budget: u64,
    /// Devices per group, by kind.
    pub(super) kinds: Vec<u32>,
    /// Bytes of each model.
    pub(super) weights: Vec<u64>,
    /// What a replica adds to a model's tolerance, by model, then kind; finite and not negative.
    pub(super) values: Vec<Vec<f64>>,
}

/// One group: its kind, and the models on it in increasing order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Filled {
    pub(super) kind: usize,
    pub(super) models: Vec<usize>,
}

/// How many groups there are of each kind.
pub(super) type Mix = Vec<u32>;

impl Program {
    pub(super) fn capacity(&self, kind: usize) -> u64 {
        self.budget.saturating_mul(u64::from(self.kinds[kind]))
    }

    /// Every way to divide exactly all devices into groups, in lexicographic order of the counts.
    pub(super) fn mixes(&self) -> Vec<Mix> {
        let mut mixes = vec![(Vec::new(), self.devices)];
        for (kind, &size) in self.kinds.iter().enumerate() {
            let last = kind + 1 == self.kinds.len();
            let choices = |(mix, left): (Mix, u32)| {
                let counts = (0..=left / size).filter(move |count| !last || count * size == left);
                counts.map(move |count| ([&mix[..], &[count]].concat(), left - count * size))
            };
            mixes = mixes.into_iter().flat_map(choices).collect();
        }
        mixes.into_iter().map(|(mix, _)| mix).collect()
    }

    /// The kind of each group of a mix, in order.
    pub(super) fn groups(mix: &Mix) -> impl Iterator<Item = usize> {
        mix.iter().enumerate().flat_map(|(kind, &count)| std::iter::repeat_n(kind, count as usize))
    }

    /// Each model's tolerance.
    pub(super) fn tolerances(&self, groups: &[Filled]) -> Vec<f64> {
        let mut replicas = vec![vec![0_u32; self.kinds.len()]; self.weights.len()];
        for group in groups {
            for &model in &group.models {
                replicas[model][group.kind] += 1;
            }
        }
        let tolerance = |(counts, values): (&Vec<u32>, &Vec<f64>)| {
            counts.iter().zip(values).map(|(&count, value)| f64::from(count) * value).sum()
        };
        replicas.iter().zip(&self.values).map(tolerance).collect()
    }

    /// The objective of a solution; 0 where there are no models.
    pub(super) fn objective(&self, groups: &[Filled]) -> f64 {
        let tolerances = self.tolerances(groups);
        let least = tolerances.iter().copied().fold(f64::INFINITY, f64::min);
        if tolerances.is_empty() { 0.0 } else { least + SUM_WEIGHT * tolerances.iter().sum::<f64>() }
    }

    /// Whether every group keeps to its memory and holds each model once, and the groups take all devices.
    pub(super) fn is_legal(&self, groups: &[Filled]) -> bool {
        let fits = |group: &Filled| {
            let bytes = group.models.iter().map(|&model| self.weights[model]).fold(0, u64::saturating_add);
            bytes <= self.capacity(group.kind) && group.models.is_sorted_by(|a, b| a < b)
        };
        groups.iter().all(fits) && groups.iter().map(|group| self.kinds[group.kind]).sum::<u32>() == self.devices
    }
}

/// Whether `objective` is larger than `than` by more than rounding.
pub(super) fn exceeds(objective: f64, than: f64) -> bool {
    objective > than + 1e-9 * than.abs().max(1e-6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mixes_take_all_devices() {
        let program = Program { devices: 4, budget: 1, kinds: vec![1, 2, 4, 8], weights: vec![], values: vec![] };
        assert_eq!(program.mixes(), [vec![0, 0, 1, 0], vec![0, 2, 0, 0], vec![2, 1, 0, 0], vec![4, 0, 0, 0]]);
    }
}
