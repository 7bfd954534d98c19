//! Whether a request may still run, and the latency feedback that keeps the guess right.

use statmux_core::{Named, Span};

/// The admission policies that a scenario can name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Admission {
    /// Refuse what cannot meet its deadline, as soon as that is known and before it uses a device.
    #[default]
    Deadline,
    /// Run everything, however late.
    None,
}

impl Admission {
    /// All of them, in the order of the documentation.
    pub const ALL: [Self; 2] = [Self::Deadline, Self::None];

    /// Its name in a scenario.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Deadline => "deadline",
            Self::None => "none",
        }
    }

    /// What it does, in one line.
    pub const fn about(self) -> &'static str {
        match self {
            Self::Deadline => "refuse at once what is predicted to miss its deadline",
            Self::None => "run everything, however late",
        }
    }
}

impl Named for Admission {
    const KIND: &'static str = "admission policy";
    const OPTIONS: &'static [Self] = &Self::ALL;

    fn name(self) -> &'static str {
        self.name()
    }
}

/// Whether measured times correct the profile.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Feedback {
    /// The profile is right.
    #[default]
    Off,
    /// Predictions for a model on a group are the profile's times a factor, which moves by `weight` of the
    /// difference towards each measured ratio of real to profiled computing time.
    Ewma {
        /// Between 0 (never learn) and 1 (believe the last measurement).
        weight: f64,
    },
}

/// The factor stays in this range: beyond it something other than the profile is wrong.
const FACTOR_RANGE: (f64, f64) = (0.125, 64.0);

impl Feedback {
    /// The factor after `measured` was seen where the profile says `profiled`.
    pub fn corrected(self, factor: f64, profiled: Span, measured: Span) -> f64 {
        match self {
            Self::Ewma { weight } if profiled > Span::ZERO => {
                let ratio = measured.nanos() as f64 / profiled.nanos() as f64;
                (factor + weight * (ratio - factor)).clamp(FACTOR_RANGE.0, FACTOR_RANGE.1)
            }
            _ => factor,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_factor_moves_towards_what_is_measured() {
        let feedback = Feedback::Ewma { weight: 0.5 };
        let profiled = Span::from_millis(100);
        assert_eq!(feedback.corrected(1.0, profiled, Span::from_millis(300)), 2.0);
        assert_eq!(feedback.corrected(2.0, profiled, Span::from_millis(200)), 2.0);
        assert_eq!(feedback.corrected(1.0, Span::ZERO, profiled), 1.0);
        assert_eq!(Feedback::Off.corrected(1.0, profiled, Span::from_millis(300)), 1.0);
        assert_eq!(Feedback::Ewma { weight: 1.0 }.corrected(1.0, profiled, Span::from_millis(1_000_000)), 64.0);
    }
}
