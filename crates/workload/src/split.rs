//! How a total rate is divided among models.

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use std::fmt;

/// How a total rate is divided among models: `"uniform"`, `{ power_law = 0.5 }` or a list of weights.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Split {
    /// Equal shares.
    #[default]
    Uniform,
    /// The i-th model, from 0, gets a share in proportion to (i + 1) to the power of minus this exponent.
    PowerLaw(f64),
    /// Shares in proportion to these weights, one for each model.
    Weights(Vec<f64>),
}

impl Split {
    /// Each model's share; they add up to 1.
    pub fn shares(&self, models: usize) -> Result<Vec<f64>, String> {
        let weights = match self {
            Self::Uniform => vec![1.0; models],
            Self::PowerLaw(exponent) if !exponent.is_finite() => {
                return Err(format!("has the power-law exponent {exponent}, which is not a number"));
            }
            Self::PowerLaw(exponent) => (1..=models).map(|rank| (rank as f64).powf(-exponent)).collect(),
            Self::Weights(weights) if weights.len() != models => {
                return Err(format!("has {} weights, but there are {models} models", weights.len()));
            }
            Self::Weights(weights) => weights.clone(),
        };
        if let Some(weight) = weights.iter().find(|&&weight| !weight.is_finite() || weight < 0.0) {
            return Err(format!("has the weight {weight}; weights are zero or more"));
        }
        let total: f64 = weights.iter().sum();
        if models > 0 && (total <= 0.0 || !total.is_finite()) {
            return Err("has weights that do not add up to a positive number".to_owned());
        }
        Ok(weights.into_iter().map(|weight| weight / total).collect())
    }
}

impl<'de> Deserialize<'de> for Split {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SplitVisitor)
    }
}

struct SplitVisitor;

impl<'de> Visitor<'de> for SplitVisitor {
    type Value = Split;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"uniform\", { power_law = EXPONENT } or a list of weights")
    }

    fn visit_str<E: Error>(self, word: &str) -> Result<Split, E> {
        if word == "uniform" { Ok(Split::Uniform) } else { Err(E::unknown_variant(word, &["uniform"])) }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Split, A::Error> {
        let mut weights = Vec::new();
        while let Some(weight) = list.next_element()? {
            weights.push(weight);
        }
        Ok(Split::Weights(weights))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut table: A) -> Result<Split, A::Error> {
        let mut exponent = None;
        while let Some(key) = table.next_key::<String>()? {
            if key != "power_law" {
                return Err(A::Error::unknown_field(&key, &["power_law"]));
            }
            exponent = Some(table.next_value()?);
        }
        exponent.map(Split::PowerLaw).ok_or_else(|| A::Error::missing_field("power_law"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn shares_follow_the_rule() {
        assert_eq!(Split::Uniform.shares(4), Ok(vec![0.25; 4]));
        assert_eq!(Split::Weights(vec![8.0, 2.0]).shares(2), Ok(vec![0.8, 0.2]));
        let power = Split::PowerLaw(0.5).shares(3).expect("a number");
        assert!((power[0] / power[2] - 3_f64.sqrt()).abs() < 1e-12);
        assert!(Split::Weights(vec![1.0]).shares(2).is_err());
        assert!(Split::Weights(vec![1.0, -1.0]).shares(2).is_err());
        assert!(Split::Weights(vec![0.0, 0.0]).shares(2).is_err());
        assert!(Split::PowerLaw(f64::NAN).shares(2).is_err());
    }

    proptest! {
        #[test]
        fn shares_add_up_to_one(models in 1..200_usize, exponent in -2.0..4.0_f64) {
            for split in [Split::Uniform, Split::PowerLaw(exponent)] {
                let shares = split.shares(models).expect("well formed");
                prop_assert_eq!(shares.len(), models);
                prop_assert!((shares.iter().sum::<f64>() - 1.0).abs() < 1e-9);
            }
        }
    }
}
