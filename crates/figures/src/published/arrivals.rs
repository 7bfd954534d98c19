//! The arrivals of the published synthetic experiments, drawn as they were.

use super::twister::Twister;
use statmux_core::{ModelId, Span, Time, Workload};

/// Which arrivals.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Arrivals {
    /// Models, the i-th with seed i.
    pub models: usize,
    /// Requests per second of all models together, the i-th model's share proportional to `(i + 1)^-0.5`.
    pub rate: f64,
    /// CV of each model's gaps.
    pub cv: f64,
    /// Seconds.
    pub seconds: f64,
}

impl Arrivals {
    /// The requests on which placements were searched: at least 100 s and 30,000 requests. They begin with the same
    /// requests as those that were scored, for the seeds are the same.
    pub fn to_search(self) -> Self {
        Self { seconds: f64::max(100.0, 30_000.0 / self.rate), ..self }
    }

    /// A file name that says which arrivals these are.
    pub fn file_name(&self) -> String {
        let Self { models, rate, cv, seconds } = self;
        format!("gamma-{models}-models-{rate:.6}-rps-cv-{cv}-{seconds:.3}-s.parquet")
    }

    /// Draws them.
    pub fn draw(&self) -> Workload {
        let share = |index: usize| ((index + 1) as f64).powf(-0.5);
        let base = self.rate / (0..self.models).map(share).sum::<f64>();
        let mut requests: Vec<(f64, usize)> = Vec::new();
        for model in 0..self.models {
            let rate = base * share(model);
            let (shape, scale) = (1.0 / (self.cv * self.cv), self.cv * self.cv / rate);
            let mut twister = Twister::new(model as u32);
            let mut now = scale * twister.gamma(shape);
            while now < self.seconds {
                requests.push((now, model));
                now += scale * twister.gamma(shape);
            }
        }
        requests.sort_by(|(a, _), (b, _)| a.total_cmp(b));
        let time = |seconds: f64| Time::from_seconds(seconds).expect("arrivals are finite and not negative");
        Workload {
            arrived: requests.iter().map(|&(at, _)| time(at)).collect(),
            model: requests.iter().map(|&(_, model)| ModelId::from_index(model)).collect(),
            duration: Span::from_seconds(self.seconds).expect("durations are finite"),
            ..Workload::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scored_requests_are_the_first_of_those_searched_on() {
        let scored = Arrivals { models: 6, rate: 20.0, cv: 4.0, seconds: 200.0 };
        let (searched, scored) = (scored.to_search().draw(), scored.draw());
        assert!(searched.len() > 2 * scored.len());
        assert_eq!(searched.arrived[..scored.len()], scored.arrived[..]);
        assert_eq!(searched.model[..scored.len()], scored.model[..]);
        assert!(scored.is_well_formed());
    }
}
