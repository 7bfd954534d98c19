//! Markov-modulated Poisson arrivals: a Poisson process whose rate jumps among a few states.

use rand::RngExt;
use rand_distr::{Distribution, Exp1};

/// A *uniform* MMPP: it stays in each state for an exponential time, then moves to any other state with equal chance.
#[derive(Clone, Debug, PartialEq)]
pub struct Mmpp {
    states: Vec<State>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct State {
    /// Arrivals per second while in it.
    rate: f64,
    /// Mean stay in seconds.
    stay_s: f64,
}

impl Mmpp {
    /// A process with mean rate `rate` whose states' rates are in the proportions of `relative_rates`.
    ///
    /// Needs at least two states, equally many rates and stays, and at least one rate above zero; says what is
    /// missing otherwise.
    pub fn new(rate: f64, relative_rates: &[f64], stays_s: &[f64]) -> Result<Self, String> {
        if relative_rates.len() != stays_s.len() || relative_rates.len() < 2 {
            return Err(format!(
                "needs at least two states and as many rates as durations, not {} and {}",
                relative_rates.len(),
                stays_s.len()
            ));
        }
        if relative_rates.iter().any(|&rate| !rate.is_finite() || rate < 0.0) {
            return Err("has a state rate that is negative or not a number".to_owned());
        }
        if stays_s.iter().any(|&stay| !stay.is_finite() || stay <= 0.0) {
            return Err("has a state that lasts no time".to_owned());
        }
        let states = || relative_rates.iter().zip(stays_s);
        let mean = states().map(|(rate, stay)| rate * stay).sum::<f64>() / stays_s.iter().sum::<f64>();
        if mean <= 0.0 || !mean.is_finite() {
            return Err("has no state with arrivals".to_owned());
        }
        Ok(Self {
            states: states().map(|(relative, &stay_s)| State { rate: relative / mean * rate, stay_s }).collect(),
        })
    }

    /// Mean arrivals per second. Every state is visited equally often, so states weigh by their stays.
    pub fn rate(&self) -> f64 {
        let time: f64 = self.states.iter().map(|state| state.stay_s).sum();
        self.states.iter().map(|state| state.rate * state.stay_s).sum::<f64>() / time
    }

    /// The standard deviation of the gaps over their mean.
    ///
    /// With Q the generator, Λ the diagonal of rates, π the stationary distribution and φ = πΛ / (πΛ1) the state just
    /// after an arrival, the gaps' moments are E\[T\] = φ M 1 and E\[T²\] = 2 φ M M 1 with M = (Λ − Q)⁻¹.
    pub fn cv(&self) -> f64 {
        let time: f64 = self.states.iter().map(|state| state.stay_s).sum();
        let arrival_share = |state: &State| state.rate * state.stay_s / time / self.rate();
        let ones = vec![1.0; self.states.len()];
        let first = self.resolve(&ones);
        let second = self.resolve(&first);
        let mean: f64 = self.states.iter().zip(&first).map(|(state, x)| arrival_share(state) * x).sum();
        let square: f64 = 2.0 * self.states.iter().zip(&second).map(|(state, x)| arrival_share(state) * x).sum::<f64>();
        (square / (mean * mean) - 1.0).max(0.0).sqrt()
    }

    /// Solves (Λ − Q) x = b.
    ///
    /// State i leaves at rate a_i and each other state gets a_i / (n − 1), so Λ − Q = D − u 1ᵀ with u_i = a_i / (n − 1)
    /// and D = Λ + diag(a_i + u_i): one rank-one update of a diagonal matrix (Sherman and Morrison).
    fn resolve(&self, b: &[f64]) -> Vec<f64> {
        let others = (self.states.len() - 1) as f64;
        let leave = |state: &State| 1.0 / state.stay_s;
        let diagonal = |state: &State| state.rate + leave(state) * (1.0 + 1.0 / others);
        let direct: Vec<f64> = self.states.iter().zip(b).map(|(state, b)| b / diagonal(state)).collect();
        let update: Vec<f64> = self.states.iter().map(|state| leave(state) / others / diagonal(state)).collect();
        let factor = direct.iter().sum::<f64>() / (1.0 - update.iter().sum::<f64>());
        direct.iter().zip(&update).map(|(x, u)| x + factor * u).collect()
    }

    /// Appends the arrivals of the first `duration_s` seconds, in order, up to `limit` of them.
    ///
    /// The first state is drawn by the share of time spent in each.
    pub(super) fn run(&self, duration_s: f64, limit: usize, rng: &mut impl RngExt, arrivals: &mut Vec<f64>) {
        let mut state = self.first_state(rng);
        let mut now = 0.0;
        while now < duration_s && arrivals.len() < limit {
            let State { rate, stay_s } = self.states[state];
            let stay: f64 = Exp1.sample(rng);
            let end = (now + stay * stay_s).min(duration_s);
            while rate > 0.0 && arrivals.len() < limit {
                let gap: f64 = Exp1.sample(rng);
                now += gap / rate;
                if now >= end {
                    break;
                }
                arrivals.push(now);
            }
            now = end;
            let other = rng.random_range(0..self.states.len() - 1);
            state = if other >= state { other + 1 } else { other };
        }
    }

    fn first_state(&self, rng: &mut impl RngExt) -> usize {
        let total: f64 = self.states.iter().map(|state| state.stay_s).sum();
        let mut draw = rng.random::<f64>() * total;
        for (index, state) in self.states.iter().enumerate() {
            if draw < state.stay_s {
                return index;
            }
            draw -= state.stay_s;
        }
        self.states.len() - 1
    }
}
