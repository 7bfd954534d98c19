//! Arrival processes: what generates arrivals, each with a known mean rate and CV of its gaps.
//!
//! Arrivals are the running sums of independent gaps, beginning one gap after the start, as in AlpaServe's code; the
//! regular process begins at the start itself, and the MMPP's gaps depend on its state. To add a process, add a
//! variant to [`Arrivals`] and an arm to each of its methods.

mod mmpp;
pub(crate) mod special;

pub use mmpp::Mmpp;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha12Rng;
use rand_distr::{Distribution, Exp1, Gamma};
use special::ln_gamma;
use statmux_core::{Seed, Span, Time};

/// A process that generates arrivals.
#[derive(Clone, Debug, PartialEq)]
pub enum Arrivals {
    /// One every 1 / `rate` seconds, the first at the start.
    Deterministic {
        /// Arrivals per second.
        rate: f64,
    },
    /// Gamma-distributed gaps with shape 1 / cv² and scale cv² / rate; Poisson arrivals when `cv` is 1.
    Gamma {
        /// Mean arrivals per second.
        rate: f64,
        /// Standard deviation of the gaps over their mean.
        cv: f64,
    },
    /// Gaps with a power-law tail from zero (Lomax, or Pareto of the second kind).
    Pareto {
        /// Mean arrivals per second.
        rate: f64,
        /// The tail's exponent, above 1; the CV is finite above 2.
        shape: f64,
    },
    /// Weibull-distributed gaps; burstier than Poisson for shapes below 1.
    Weibull {
        /// Mean arrivals per second.
        rate: f64,
        /// The distribution's shape.
        shape: f64,
    },
    /// Poisson arrivals whose rate jumps among states.
    Mmpp(Mmpp),
}

impl Arrivals {
    /// Poisson arrivals.
    pub const fn poisson(rate: f64) -> Self {
        Self::Gamma { rate, cv: 1.0 }
    }

    /// Mean arrivals per second.
    pub fn rate(&self) -> f64 {
        match self {
            Self::Deterministic { rate }
            | Self::Gamma { rate, .. }
            | Self::Pareto { rate, .. }
            | Self::Weibull { rate, .. } => *rate,
            Self::Mmpp(mmpp) => mmpp.rate(),
        }
    }

    /// The standard deviation of the gaps over their mean; infinite for Pareto shapes up to 2.
    pub fn cv(&self) -> f64 {
        match self {
            Self::Deterministic { .. } => 0.0,
            Self::Gamma { cv, .. } => *cv,
            Self::Pareto { shape, .. } if *shape <= 2.0 => f64::INFINITY,
            Self::Pareto { shape, .. } => (shape / (shape - 2.0)).sqrt(),
            Self::Weibull { shape, .. } => weibull_cv(*shape),
            Self::Mmpp(mmpp) => mmpp.cv(),
        }
    }

    /// Arrivals from `start` for `duration`, in order, at most `limit` of them.
    ///
    /// A process with rate zero has none.
    pub fn generate(&self, start: Time, duration: Span, limit: usize, seed: Seed) -> Vec<Time> {
        let rng = &mut ChaCha12Rng::seed_from_u64(seed.0);
        let end_s = duration.seconds();
        let mut arrivals = Vec::new();
        if self.rate() > 0.0 {
            match self {
                Self::Deterministic { rate } => {
                    let ticks = (0..limit).map(|tick| tick as f64 / rate);
                    arrivals.extend(ticks.take_while(|&tick| tick < end_s));
                }
                Self::Mmpp(mmpp) => mmpp.run(end_s, limit, rng, &mut arrivals),
                Self::Gamma { rate, cv } => sum_gaps(gamma_gaps(*rate, *cv, rng), end_s, limit, &mut arrivals),
                Self::Pareto { rate, shape } => {
                    let scale = (shape - 1.0) / rate;
                    // ln(1 - u) is finite, for u is below 1; expm1 keeps small gaps exact.
                    let gap = || (-(-rng.random::<f64>()).ln_1p() / shape).exp_m1() * scale;
                    sum_gaps(gap, end_s, limit, &mut arrivals);
                }
                Self::Weibull { rate, shape } => {
                    let scale = 1.0 / (rate * ln_gamma(1.0 + 1.0 / shape).exp());
                    let gap = || {
                        let exponential: f64 = Exp1.sample(rng);
                        exponential.powf(1.0 / shape) * scale
                    };
                    sum_gaps(gap, end_s, limit, &mut arrivals);
                }
            }
        }
        let at = |seconds: f64| start + Span::from_seconds(seconds).expect("below the duration");
        arrivals.into_iter().map(at).collect()
    }
}

fn gamma_gaps(rate: f64, cv: f64, rng: &mut ChaCha12Rng) -> impl FnMut() -> f64 {
    let variance = cv * cv;
    // A CV of zero, or one so small that the shape overflows, is a regular process.
    let gamma = Gamma::new(1.0 / variance, variance / rate).ok().filter(|_| cv > 1e-6);
    move || gamma.as_ref().map_or(1.0 / rate, |gamma| gamma.sample(rng))
}

fn sum_gaps(mut gap: impl FnMut() -> f64, end_s: f64, limit: usize, arrivals: &mut Vec<f64>) {
    let mut now = gap();
    while now < end_s && arrivals.len() < limit {
        arrivals.push(now);
        now += gap();
    }
}

/// The CV of Weibull gaps with this shape.
pub fn weibull_cv(shape: f64) -> f64 {
    let ratio = ln_gamma(1.0 + 2.0 / shape) - 2.0 * ln_gamma(1.0 + 1.0 / shape);
    ratio.exp_m1().max(0.0).sqrt()
}

/// The shape of Weibull gaps with this CV, from 0.01 to 500; `None` outside.
pub fn weibull_shape(cv: f64) -> Option<f64> {
    let (mut low, mut high) = (0.05_f64, 1000.0_f64);
    if !(weibull_cv(high)..=weibull_cv(low)).contains(&cv) {
        return None;
    }
    for _ in 0..200 {
        let middle = (low * high).sqrt();
        if weibull_cv(middle) > cv { low = middle } else { high = middle }
    }
    Some((low * high).sqrt())
}

/// The shape of Pareto (Lomax) gaps with this CV; `None` unless it is above 1.
pub fn pareto_shape(cv: f64) -> Option<f64> {
    (cv > 1.0 && cv.is_finite()).then(|| 2.0 * cv * cv / (cv * cv - 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The rate and CV that `count` arrivals show.
    fn observed(process: &Arrivals, count: usize, seed: u64) -> (f64, f64) {
        let long = Span::from_seconds(1e9).expect("in range");
        let arrivals = process.generate(Time::ZERO, long, count, Seed(seed));
        assert_eq!(arrivals.len(), count);
        let gaps: Vec<f64> = arrivals.windows(2).map(|pair| pair[1].since(pair[0]).seconds()).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        (1.0 / mean, variance.sqrt() / mean)
    }

    #[test]
    fn processes_have_the_rate_and_cv_they_promise() {
        let mmpp = |rates: &[f64], stays: &[f64]| Arrivals::Mmpp(Mmpp::new(5.0, rates, stays).expect("well formed"));
        // Tolerances are some four standard errors of the estimates from 400,000 gaps.
        for (process, rate_error, cv_error) in [
            (Arrivals::Deterministic { rate: 8.0 }, 1e-6, 1e-6),
            (Arrivals::poisson(50.0), 0.01, 0.01),
            (Arrivals::Gamma { rate: 3.0, cv: 0.3 }, 0.01, 0.01),
            (Arrivals::Gamma { rate: 3.0, cv: 4.0 }, 0.03, 0.03),
            (Arrivals::Gamma { rate: 0.01, cv: 8.0 }, 0.06, 0.05),
            (Arrivals::Pareto { rate: 10.0, shape: pareto_shape(1.2).expect("above 1") }, 0.01, 0.02),
            (Arrivals::Weibull { rate: 10.0, shape: weibull_shape(0.5).expect("in range") }, 0.01, 0.01),
            (Arrivals::Weibull { rate: 10.0, shape: weibull_shape(3.0).expect("in range") }, 0.03, 0.05),
            (mmpp(&[1.0, 10.0], &[10.0, 2.0]), 0.05, 0.03),
            (mmpp(&[0.0, 1.0, 30.0], &[3.0, 1.0, 0.2]), 0.05, 0.03),
        ] {
            let (rate, cv) = observed(&process, 400_000, 11);
            let (expected_rate, expected_cv) = (process.rate(), process.cv());
            assert!((rate / expected_rate - 1.0).abs() < rate_error, "{process:?}: rate {rate}, not {expected_rate}");
            assert!(
                (cv - expected_cv).abs() < cv_error * expected_cv.max(1.0),
                "{process:?}: CV {cv}, not {expected_cv}"
            );
        }
    }

    #[test]
    fn equal_states_are_poisson() {
        let mmpp = Mmpp::new(2.0, &[1.0, 1.0, 1.0], &[1.0, 5.0, 0.1]).expect("well formed");
        assert!((mmpp.rate() - 2.0).abs() < 1e-12);
        assert!((mmpp.cv() - 1.0).abs() < 1e-9, "{}", mmpp.cv());
    }

    #[test]
    fn seeds_decide_everything() {
        let process = Arrivals::Gamma { rate: 5.0, cv: 3.0 };
        let run = |seed| process.generate(Time::ZERO, Span::from_millis(60_000), usize::MAX, Seed(seed));
        assert_eq!(run(1), run(1));
        assert_ne!(run(1), run(2));
    }

    proptest! {
        #[test]
        fn arrivals_are_sorted_and_inside_their_window(
            rate in 0.0..50.0_f64, cv in 0.0..9.0_f64, start_ms in 0..100_000_u64, length_ms in 0..60_000_u64, seed: u64,
        ) {
            let start = Time::ZERO + Span::from_millis(start_ms);
            let duration = Span::from_millis(length_ms);
            let mut processes = vec![Arrivals::Gamma { rate, cv }, Arrivals::Deterministic { rate }];
            processes.extend(pareto_shape(cv).map(|shape| Arrivals::Pareto { rate, shape }));
            processes.extend(weibull_shape(cv).map(|shape| Arrivals::Weibull { rate, shape }));
            processes.extend(Mmpp::new(rate, &[cv, 1.0], &[1.0, 0.1]).map(Arrivals::Mmpp));
            for process in processes {
                let arrivals = process.generate(start, duration, 10_000, Seed(seed));
                prop_assert!(arrivals.is_sorted());
                prop_assert!(arrivals.len() <= 10_000);
                prop_assert!(arrivals.iter().all(|&at| at >= start && at <= start + duration));
            }
        }
    }
}
