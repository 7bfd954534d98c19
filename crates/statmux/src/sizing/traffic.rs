//! Traffic like the scenario's, for the risk of an answer: a record is cut into blocks that are drawn with repetition
//! and laid one after the other (a block bootstrap, which keeps bursts and what models have in common within a block);
//! what the scenario itself draws is drawn with other seeds.

use statmux_core::files::FileError;
use statmux_core::{Seed, Span, Time, Workload};
use statmux_scenario::Scenario;

/// How other traffic of the same kind comes about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Like {
    /// The scenario draws its requests: other seeds draw others.
    Seeds,
    /// The requests are the same with every seed: blocks of this length of them are drawn.
    Blocks(Span),
}

/// Blocks of a window unless their length is given.
const BLOCKS: u64 = 24;

/// A block is at least this many of the longest SLOs, so that few requests lose those they would have waited for.
const SLOS: u64 = 10;

impl Like {
    /// How traffic like `base`'s comes about; `again` is the same scenario with another seed.
    pub(super) fn of(base: &Scenario, again: &Scenario, block: Option<Span>) -> Result<Self, FileError> {
        if base.test != again.test {
            return Ok(Self::Seeds);
        }
        let window = window(&base.test);
        let block = block.unwrap_or_else(|| {
            let slos = base.models.iter().filter_map(|model| model.slo_seconds()).filter_map(Span::from_seconds);
            let longest = slos.filter(|&slo| slo != Span::MAX).max().unwrap_or_default();
            let wanted = (window / BLOCKS).max(longest.nanos().saturating_mul(SLOS));
            Span::from_nanos(wanted.min(window.div_ceil(2)))
        });
        if block == Span::ZERO || block.nanos() > window {
            let window = statmux_report::number::duration(Span::from_nanos(window).seconds());
            let what = format!("lasts {window}; a block must be longer than nothing and no longer than that");
            return Err(FileError::at_field(&base.path, "workload", what).with_help("give --block another length"));
        }
        Ok(Self::Blocks(block))
    }
}

/// Nanoseconds from the beginning to the end of what was recorded.
fn window(workload: &Workload) -> u64 {
    let last = workload.arrived.last().copied().unwrap_or_default().since(Time::ZERO);
    workload.duration.nanos().max(last.nanos() + 1)
}

/// As much traffic as `workload`, of blocks of it that begin anywhere; the window counts as a circle.
pub(super) fn bootstrap(workload: &Workload, block: Span, seed: Seed) -> Workload {
    let (window, block) = (window(workload), block.nanos().max(1));
    let mut rows = Vec::with_capacity(workload.len());
    let mut arrived = Vec::with_capacity(workload.len());
    let mut take = |from: u64, to: u64, at: u64| {
        let row = |time: u64| workload.arrived.partition_point(|arrived| arrived.nanos() < time);
        for row in row(from)..row(to) {
            rows.push(row);
            arrived.push(Time::from_nanos(workload.arrived[row].nanos() - from + at));
        }
    };
    for (number, at) in (0..window).step_by(usize::try_from(block).unwrap_or(usize::MAX)).enumerate() {
        let length = block.min(window - at);
        let from = seed.nth(number as u64).0 % window;
        let to = (from + length).min(window);
        take(from, to, at);
        take(0, from + length - to, at + (to - from));
    }
    Workload { arrived, ..workload.select(&rows) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use statmux_core::ModelId;

    #[test]
    fn blocks_keep_order_gaps_and_models() {
        let times: Vec<u64> = (0..1000).map(|n| n * n % 997 + n * 1000).collect();
        let workload = Workload {
            arrived: times.iter().map(|&time| Time::from_nanos(time)).collect(),
            model: (0..1000).map(|n| ModelId(n % 7)).collect(),
            duration: Span::from_nanos(1_000_000),
            ..Workload::default()
        };
        let mut requests = 0;
        for n in 0..50 {
            let drawn = bootstrap(&workload, Span::from_nanos(90_000), Seed(0).nth(n));
            assert!(drawn.is_well_formed());
            assert_eq!(drawn.duration, workload.duration);
            assert!(drawn.arrived.iter().all(|time| time.nanos() < 1_000_000));
            // Within a block, neighbours are neighbours of the record: the model's number goes up by one.
            let kept = drawn.model.windows(2).filter(|pair| pair[1].0 == (pair[0].0 + 1) % 7).count();
            assert!(drawn.len() - kept < 40, "{kept} of {}", drawn.len());
            requests += drawn.len();
        }
        assert!((48_000..52_000).contains(&requests), "{requests}");
        assert_eq!(
            bootstrap(&workload, Span::from_nanos(7), Seed(1)),
            bootstrap(&workload, Span::from_nanos(7), Seed(1))
        );
        assert!(bootstrap(&Workload::default(), Span::from_nanos(7), Seed(1)).is_empty());
    }
}
