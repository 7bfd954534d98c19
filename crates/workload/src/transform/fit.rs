//! What a window's arrivals say about the process behind them.

use crate::arrival::special::{digamma, trigamma};
use serde::Deserialize;
use statmux_core::{Span, Time};

/// How a window's rate and CV are estimated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fit {
    /// A Gamma distribution of the gaps, by maximum likelihood.
    #[default]
    Gamma,
    /// The number of requests over the window's length; the CV must be given.
    Count,
    /// The number of requests over the window's length, and a CV of 1.
    Poisson,
}

/// A Gamma distribution fitted to gaps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GammaFit {
    /// Its shape, 1 / CV².
    pub shape: f64,
    /// Its scale in seconds; shape times scale is the mean gap.
    pub scale: f64,
}

/// The rate and CV of a window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WindowFit {
    /// Requests per second.
    pub rate: f64,
    /// Standard deviation of the gaps over their mean.
    pub cv: f64,
    /// Whether the fitted rate was so far above the counted one that the latter stands in.
    pub rate_from_count: bool,
}

/// A fitted rate this many times the counted one is not believed.
const IMPLAUSIBLE: f64 = 5.0;

/// Added to every gap, so that simultaneous requests have a logarithm.
const SMALLEST_GAP_S: f64 = 1e-6;

/// The likeliest Gamma distribution of positive `gaps`, its location fixed at zero.
///
/// Its shape k solves ln k − ψ(k) = ln(mean) − mean(ln). `None` for fewer than two gaps, and for equal ones, which no
/// finite shape fits.
pub fn fit_gamma(gaps: &[f64]) -> Option<GammaFit> {
    if gaps.len() < 2 {
        return None;
    }
    let count = gaps.len() as f64;
    let mean = gaps.iter().sum::<f64>() / count;
    let spread = mean.ln() - gaps.iter().map(|gap| gap.ln()).sum::<f64>() / count;
    if !spread.is_finite() || spread < 1e-12 {
        return None;
    }
    // Within 1.5 % of the root (Minka 2002); Newton's method on 1/k then converges in a few steps.
    let mut shape = (3.0 - spread + ((spread - 3.0).powi(2) + 24.0 * spread).sqrt()) / (12.0 * spread);
    for _ in 0..50 {
        let excess = shape.ln() - digamma(shape) - spread;
        let inverse = 1.0 / shape + excess / (shape * shape * (1.0 / shape - trigamma(shape)));
        let next = 1.0 / inverse;
        if !next.is_finite() || next <= 0.0 {
            break;
        }
        let done = (next / shape - 1.0).abs() < 1e-13;
        shape = next;
        if done {
            break;
        }
    }
    (shape.is_finite() && shape > 0.0).then(|| GammaFit { shape, scale: mean / shape })
}

/// Fits the sorted arrivals of a window of the given length; `None` if they do not suffice.
///
/// By [`Fit::Gamma`] one microsecond is added to each gap, and a rate over five times the counted one is replaced by
/// the counted one. By the other two the CV is 1, for the caller to replace.
pub fn fit_window(arrived: &[Time], length: Span, fit: Fit) -> Option<WindowFit> {
    if arrived.is_empty() || length == Span::ZERO {
        return None;
    }
    let counted = arrived.len() as f64 / length.seconds();
    if fit != Fit::Gamma {
        return Some(WindowFit { rate: counted, cv: 1.0, rate_from_count: true });
    }
    let gaps: Vec<f64> = arrived.windows(2).map(|pair| pair[1].since(pair[0]).seconds() + SMALLEST_GAP_S).collect();
    let GammaFit { shape, scale } = fit_gamma(&gaps)?;
    let fitted = 1.0 / (shape * scale);
    let rate_from_count = fitted > IMPLAUSIBLE * counted;
    Some(WindowFit { rate: if rate_from_count { counted } else { fitted }, cv: shape.recip().sqrt(), rate_from_count })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha12Rng;
    use rand_distr::{Distribution, Gamma};

    #[test]
    fn known_parameters_are_recovered() {
        for (rate, cv) in [(0.2, 4.0), (5.0, 1.0), (40.0, 0.25), (1.0, 2.0)] {
            let gamma = Gamma::new(1.0 / (cv * cv), cv * cv / rate).expect("positive parameters");
            let rng = ChaCha12Rng::seed_from_u64(3);
            let gaps: Vec<f64> =
                gamma.sample_iter(rng).take(100_000).map(|gap: f64| gap.max(f64::MIN_POSITIVE)).collect();
            let fit = fit_gamma(&gaps).expect("many gaps");
            assert!((fit.shape * cv * cv - 1.0).abs() < 0.02, "cv {cv}: {fit:?}");
            assert!((fit.shape * fit.scale * rate - 1.0).abs() < 0.05, "rate {rate}: {fit:?}");
        }
    }

    /// The root of the likelihood equation, found by bisection instead.
    #[test]
    fn the_shape_solves_the_likelihood_equation() {
        for gaps in [vec![1.0, 2.0], vec![1e-6, 1e-6, 5000.0], vec![1.0, 1.0001, 0.9999], vec![0.1, 3.0, 0.7, 20.0]] {
            let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
            let spread = mean.ln() - gaps.iter().map(|gap: &f64| gap.ln()).sum::<f64>() / gaps.len() as f64;
            let (mut low, mut high) = (1e-6_f64, 1e12_f64);
            for _ in 0..300 {
                let middle = (low * high).sqrt();
                if middle.ln() - digamma(middle) > spread { low = middle } else { high = middle }
            }
            let shape = fit_gamma(&gaps).expect("unequal gaps").shape;
            assert!((shape / low - 1.0).abs() < 1e-5, "{gaps:?}: {shape}, not {low}");
        }
    }

    #[test]
    fn windows_with_too_little_have_no_fit() {
        let at = |seconds: &[f64]| -> Vec<Time> {
            seconds.iter().map(|&s| Time::from_seconds(s).expect("in range")).collect()
        };
        let minute = Span::from_millis(60_000);
        assert_eq!(fit_window(&[], minute, Fit::Gamma), None);
        assert_eq!(fit_window(&at(&[1.0, 2.0]), minute, Fit::Gamma), None);
        assert_eq!(fit_window(&at(&[1.0, 2.0, 3.0, 4.0]), minute, Fit::Gamma), None);
        assert_eq!(fit_gamma(&[1.0]), None);
        let counted = fit_window(&at(&[1.0, 2.0, 3.0]), minute, Fit::Count).expect("counts always fit");
        assert_eq!((counted.rate, counted.cv), (0.05, 1.0));
        // A burst of ten within 0.1 s of a minute: the fitted 90/s is over five times 10/60.
        let burst: Vec<f64> = (0..10).map(|call| 0.01 * f64::from(call * call % 11)).collect();
        let mut burst = at(&burst);
        burst.sort_unstable();
        let fit = fit_window(&burst, minute, Fit::Gamma).expect("unequal gaps");
        assert!(fit.rate_from_count);
        assert!((fit.rate - 10.0 / 60.0).abs() < 1e-12);
    }
}
