//! A sweep: curves of cases along one axis, and where they cross a target.

use crate::case::Case;
use crate::cell::Measured;
use crate::error::FiguresError;
use crate::lab::Lab;

/// One curve before it is measured.
pub(super) struct Planned {
    pub(super) label: &'static str,
    pub(super) points: Vec<(f64, Case)>,
}

/// One curve that was measured.
pub(super) struct Curve {
    pub(super) label: &'static str,
    pub(super) points: Vec<(f64, Measured)>,
}

impl Curve {
    /// Attainment along the axis.
    pub(super) fn attainment(&self) -> Vec<(f64, f64)> {
        self.points.iter().map(|(x, measured)| (*x, measured.attainment)).collect()
    }
}

/// Measures curves, in their order.
pub(super) fn measure(lab: &Lab, planned: Vec<Planned>) -> Result<Vec<Curve>, FiguresError> {
    let cases: Vec<Case> = planned.iter().flat_map(|curve| curve.points.iter().map(|(_, case)| case.clone())).collect();
    let mut measured = lab.measure(&cases)?.into_iter();
    let mut curve = |planned: Planned| Curve {
        label: planned.label,
        points: planned.points.into_iter().zip(measured.by_ref()).map(|((x, _), measured)| (x, measured)).collect(),
    };
    Ok(planned.into_iter().map(&mut curve).collect())
}

/// Where a rising curve reaches `target` (`rising`), or where a falling one leaves it: linear between points. `None` if
/// it never does between the first point and the last.
pub(super) fn crossing(curve: &[(f64, f64)], target: f64, rising: bool) -> Option<f64> {
    let between = |pair: &[(f64, f64)]| {
        let [(x0, y0), (x1, y1)] = [pair[0], pair[1]];
        let crosses = if rising { y0 < target && y1 >= target } else { y0 >= target && y1 < target };
        crosses.then(|| x0 + (x1 - x0) * (target - y0) / (y1 - y0))
    };
    if rising { curve.windows(2).find_map(between) } else { curve.windows(2).rev().find_map(between) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crossings_are_interpolated() {
        let rising = [(8.0, 0.5), (16.0, 0.9), (24.0, 1.0)];
        assert!(crossing(&rising, 0.95, true).is_some_and(|x| (x - 20.0).abs() < 1e-9));
        assert_eq!(crossing(&rising, 0.4, true), None);
        let falling = [(1.0, 1.0), (2.0, 0.98), (4.0, 0.5)];
        assert!(crossing(&falling, 0.99, false).is_some_and(|x| (x - 1.5).abs() < 1e-9));
        assert_eq!(crossing(&falling, 0.2, false), None);
    }
}
