//! One vector from many.

/// How the vectors of a text's tokens become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pooling {
    /// The first.
    First,
    /// The largest value at each place.
    Max,
    /// Their mean.
    Mean,
    /// Their sum, divided by the square root of their number.
    MeanSqrtLength,
    /// Their mean, the first counting once, the second twice, and so on.
    WeightedMean,
    /// The last.
    Last,
}

impl Pooling {
    /// All, by the names that sentence-transformers has for them, in the order in which it puts several side by side.
    pub(crate) const ALL: [(&'static str, Self); 6] = [
        ("cls", Self::First),
        ("max", Self::Max),
        ("mean", Self::Mean),
        ("mean_sqrt_len_tokens", Self::MeanSqrtLength),
        ("weightedmean", Self::WeightedMean),
        ("lasttoken", Self::Last),
    ];

    /// The one vector that stands for `vectors`, of which the first `skipped`, but not all, do not count.
    ///
    /// Those that do not count have their places all the same: a weighted mean begins with the place after them.
    pub(crate) fn of(self, vectors: &[Vec<f32>], skipped: usize) -> Vec<f32> {
        let counted = &vectors[skipped..];
        let count = counted.len() as f64;
        let weighted = |weight: &dyn Fn(usize) -> f64, divisor: f64| {
            let mut sums = vec![0.0; counted[0].len()];
            for (place, vector) in counted.iter().enumerate() {
                let weight = weight(place);
                sums.iter_mut().zip(vector).for_each(|(sum, &x)| *sum += weight * f64::from(x));
            }
            sums.into_iter().map(|sum| (sum / divisor) as f32).collect()
        };
        match self {
            Self::First => counted[0].clone(),
            Self::Last => counted[counted.len() - 1].clone(),
            Self::Mean => weighted(&|_| 1.0, count),
            Self::MeanSqrtLength => weighted(&|_| 1.0, count.sqrt()),
            Self::WeightedMean => {
                let weight = |place: usize| (skipped + place + 1) as f64;
                weighted(&weight, (0..counted.len()).map(weight).sum())
            }
            Self::Max => {
                let mut most = counted[0].clone();
                for vector in &counted[1..] {
                    most.iter_mut().zip(vector).for_each(|(most, &x)| *most = most.max(x));
                }
                most
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pooling_on_paper() {
        let vectors = [vec![1.0, -6.0], vec![2.0, 0.0], vec![6.0, -3.0], vec![3.0, 5.0]];
        let check = |name: &str, skipped, expected: [f32; 2]| {
            let pooling = Pooling::ALL.iter().find(|(known, _)| *known == name).expect("known").1;
            assert_eq!(pooling.of(&vectors, skipped), expected, "{name}, {skipped} skipped");
        };
        check("cls", 0, [1.0, -6.0]);
        check("max", 0, [6.0, 5.0]);
        check("mean", 0, [3.0, -1.0]);
        check("mean_sqrt_len_tokens", 0, [6.0, -2.0]);
        check("weightedmean", 0, [3.5, 0.5]);
        check("lasttoken", 0, [3.0, 5.0]);
        check("cls", 2, [6.0, -3.0]);
        check("max", 1, [6.0, 5.0]);
        check("mean", 2, [4.5, 1.0]);
        check("weightedmean", 2, [30.0 / 7.0, 11.0 / 7.0]);
        check("lasttoken", 3, [3.0, 5.0]);
    }
}
