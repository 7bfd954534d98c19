//! Eight placements in lock step: each step of the rules is done for all of them at once, in the processor's wide
//! registers where it has them.
//!
//! Replicas are those of any of the eight, side by side by group: a lane that lacks one sees it masked. What the
//! lanes decide differs, so every choice is a mask and nothing branches. Which registers are used changes the time
//! and nothing else; the rules are those of [`statmux_sched::rules`], one lane at a time.

use super::{Arrivals, Tally, Track};
use crate::arithmetic::{Arithmetic, Fast};
use statmux_sched::rules::{Clock, in_time, pass};
use statmux_sched::{Admission, Dispatch};

/// Lanes of a pack: what the widest registers hold.
pub(super) const LANES: usize = 8;

/// One figure of every lane, as bits.
type Wide = [u64; LANES];

/// A replica that some lanes have.
struct Row<const STAGES: usize> {
    group: usize,
    /// All ones in the lanes that have it.
    held: Wide,
    spans: [Wide; STAGES],
    dispatched: Wide,
}

/// All that must be known of a model, side by side.
struct Held {
    from: usize,
    to: usize,
    slo: u64,
    in_slo: Wide,
}

struct Pack<const STAGES: usize> {
    models: Vec<Held>,
    rows: Vec<Row<STAGES>>,
    /// By group.
    clocks: Vec<[Wide; STAGES]>,
    overhead: u64,
    latencies: Wide,
}

/// Tallies up to eight tracks; `None` where lock step does not pay or cannot count.
pub(super) fn tally<A: Arithmetic>(tracks: &[Track<A>], arrivals: &Arrivals<A>) -> Option<Vec<Tally>>
where
    A::Span: Send + Sync,
{
    let dispatch = tracks.first()?.rules.dispatch;
    let last = arrivals.arrived.last().copied().unwrap_or(A::ZERO);
    let fits = |track: &Track<A>| {
        track.rules.admission == Admission::Deadline
            && track.rules.dispatch == dispatch
            && track.rules.overhead == tracks[0].rules.overhead
            && A::fits(last, arrivals.len(), track.longest)
    };
    let mut slos = arrivals.model_slo.iter().chain(&arrivals.own_slo).map(|&slo| A::Fast::cap(A::fast_span(slo)));
    let sums = slos.all(|slo| A::Fast::can_add(slo, arrivals.len()));
    if tracks.len() < LANES / 2 || tracks.len() > LANES || !sums || !tracks.iter().all(fits) {
        return None;
    }
    let stages = tracks.iter().flat_map(|track| &track.replicas).map(|replica| replica.clocks.len()).max();
    let earliest = dispatch == Dispatch::EarliestFinish;
    match stages.unwrap_or(1) {
        1 => Some(Pack::<1>::new(tracks, arrivals)?.tally(tracks, arrivals, earliest)),
        2 => Some(Pack::<2>::new(tracks, arrivals)?.tally(tracks, arrivals, earliest)),
        3..=4 => Some(Pack::<4>::new(tracks, arrivals)?.tally(tracks, arrivals, earliest)),
        5..=8 => Some(Pack::<8>::new(tracks, arrivals)?.tally(tracks, arrivals, earliest)),
        _ => None,
    }
}

impl<const STAGES: usize> Pack<STAGES> {
    /// The pack of `tracks`; `None` if they have so little in common that each by itself is faster.
    fn new<A: Arithmetic>(tracks: &[Track<A>], arrivals: &Arrivals<A>) -> Option<Self>
    where
        A::Span: Send + Sync,
    {
        let mut pack = Self {
            models: Vec::with_capacity(arrivals.model_slo.len()),
            rows: Vec::new(),
            clocks: Vec::new(),
            overhead: A::Fast::span_bits(A::fast_span(tracks[0].rules.overhead)),
            latencies: [A::Fast::span_bits(A::Fast::ZERO.since(A::Fast::ZERO)); LANES],
        };
        let groups = tracks.iter().map(|track| track.groups).max().unwrap_or(0);
        pack.clocks = vec![[[A::Fast::ZERO.order(); LANES]; STAGES]; groups];
        for (model, &slo) in arrivals.model_slo.iter().enumerate() {
            let from = pack.rows.len();
            for (lane, track) in tracks.iter().enumerate() {
                for replica in &track.replicas[track.holders[model].clone()] {
                    let known = pack.rows[from..].iter().position(|row| row.group >= replica.group.index());
                    let at = from + known.unwrap_or(pack.rows.len() - from);
                    if pack.rows.get(at).is_none_or(|row| row.group != replica.group.index()) {
                        let group = replica.group.index();
                        let nothing = A::Fast::span_bits(A::Fast::ZERO.since(A::Fast::ZERO));
                        let spans = [[nothing; LANES]; STAGES];
                        pack.rows.insert(at, Row { group, held: [0; LANES], spans, dispatched: [0; LANES] });
                    }
                    let row = &mut pack.rows[at];
                    row.held[lane] = u64::MAX;
                    let spans = &track.spans[replica.spans..replica.spans + replica.clocks.len()];
                    for (stage, &span) in row.spans.iter_mut().zip(spans) {
                        stage[lane] = A::Fast::span_bits(A::fast_span(span));
                    }
                }
            }
            let slo = A::Fast::span_bits(A::Fast::cap(A::fast_span(slo)));
            pack.models.push(Held { from, to: pack.rows.len(), slo, in_slo: [0; LANES] });
        }
        let replicas: usize = tracks.iter().map(|track| track.replicas.len()).sum();
        (pack.rows.len() * 2 <= replicas.max(1)).then_some(pack)
    }

    fn tally<A: Arithmetic>(mut self, tracks: &[Track<A>], arrivals: &Arrivals<A>, earliest: bool) -> Vec<Tally>
    where
        A::Span: Send + Sync,
    {
        if earliest {
            self.run_widest::<A, true>(arrivals);
        } else {
            self.run_widest::<A, false>(arrivals);
        }
        let tally = |(lane, track): (usize, &Track<A>)| {
            let mut sum = <A::Fast as Fast>::Sum::default();
            A::Fast::add(&mut sum, A::Fast::span_of(self.latencies[lane]));
            let mut tally = Tally { latency_sum: A::Fast::sum_seconds(sum), ..track.empty_tally(arrivals) };
            for (count, held) in tally.in_slo.iter_mut().zip(&self.models) {
                *count = held.in_slo[lane];
            }
            for row in self.rows.iter().filter(|row| row.held[lane] != 0) {
                tally.dispatched[row.group] += row.dispatched[lane];
            }
            tally
        };
        tracks.iter().enumerate().map(tally).collect()
    }

    #[cfg(target_arch = "x86_64")]
    fn run_widest<A: Arithmetic, const EARLIEST: bool>(&mut self, arrivals: &Arrivals<A>)
    where
        A::Span: Send + Sync,
    {
        if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512dq") {
            // SAFETY: the processor has what the function is compiled for.
            unsafe { self.run_512::<A, EARLIEST>(arrivals) }
        } else if is_x86_feature_detected!("avx2") {
            // SAFETY: as above.
            unsafe { self.run_256::<A, EARLIEST>(arrivals) }
        } else {
            self.run::<A, EARLIEST>(arrivals);
        }
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn run_widest<A: Arithmetic, const EARLIEST: bool>(&mut self, arrivals: &Arrivals<A>)
    where
        A::Span: Send + Sync,
    {
        self.run::<A, EARLIEST>(arrivals);
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f,avx512dq")]
    fn run_512<A: Arithmetic, const EARLIEST: bool>(&mut self, arrivals: &Arrivals<A>)
    where
        A::Span: Send + Sync,
    {
        self.run::<A, EARLIEST>(arrivals);
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2")]
    fn run_256<A: Arithmetic, const EARLIEST: bool>(&mut self, arrivals: &Arrivals<A>)
    where
        A::Span: Send + Sync,
    {
        self.run::<A, EARLIEST>(arrivals);
    }

    #[inline(always)]
    fn run<A: Arithmetic, const EARLIEST: bool>(&mut self, arrivals: &Arrivals<A>)
    where
        A::Span: Send + Sync,
    {
        for (index, (&arrived, &model)) in arrivals.arrived.iter().zip(&arrivals.model).enumerate() {
            let slo = match arrivals.own_slo.get(index) {
                Some(&own) => A::Fast::span_bits(A::Fast::cap(A::fast_span(own))),
                None => self.models[model.index()].slo,
            };
            self.step::<A::Fast, EARLIEST>(arrived.fast().order(), model.index(), slo);
        }
    }

    /// Decides one request in every lane.
    #[inline(always)]
    fn step<C: Fast, const EARLIEST: bool>(&mut self, arrived: u64, model: usize, slo: u64) {
        let Self { models, rows, clocks, overhead, latencies } = self;
        let held = &mut models[model];
        let rows = &mut rows[held.from..held.to];
        if let [row] = &mut *rows {
            let chosen = row.held;
            let ends = walk::<C, STAGES>(arrived, &clocks[row.group], &row.spans);
            row.dispatched.iter_mut().zip(&chosen).for_each(|(count, chosen)| *count += chosen & 1);
            let accepted = accept::<C>(arrived, &ends[STAGES - 1], *overhead, slo, &chosen, held, latencies);
            let here = &mut clocks[row.group];
            for stage in 0..STAGES {
                here[stage] = either_of(accepted, ends[stage], here[stage]);
            }
        } else {
            let (mut ends, mut chosen) = ([[0; LANES]; STAGES], [0; LANES]);
            let mut low = [u64::MAX; LANES];
            let mut best = [u64::MAX; LANES];
            for (number, row) in rows.iter().enumerate() {
                let here = &clocks[row.group];
                let key =
                    if EARLIEST { walk::<C, STAGES>(arrived, here, &row.spans)[STAGES - 1] } else { here[STAGES - 1] };
                for lane in 0..LANES {
                    let less = mask(key[lane] < low[lane]) & row.held[lane];
                    low[lane] = either(less, key[lane], low[lane]);
                    best[lane] = either(less, number as u64, best[lane]);
                }
            }
            for (number, row) in rows.iter_mut().enumerate() {
                let this = walk::<C, STAGES>(arrived, &clocks[row.group], &row.spans);
                let mut mine = [0; LANES];
                for lane in 0..LANES {
                    mine[lane] = mask(best[lane] == number as u64);
                    row.dispatched[lane] += mine[lane] & 1;
                    chosen[lane] |= mine[lane];
                }
                for stage in 0..STAGES {
                    for lane in 0..LANES {
                        ends[stage][lane] |= this[stage][lane] & mine[lane];
                    }
                }
            }
            let accepted = accept::<C>(arrived, &ends[STAGES - 1], *overhead, slo, &chosen, held, latencies);
            for (number, row) in rows.iter().enumerate() {
                let here = &mut clocks[row.group];
                let mut mine = [0; LANES];
                for lane in 0..LANES {
                    mine[lane] = mask(best[lane] == number as u64) & accepted[lane];
                }
                for stage in 0..STAGES {
                    here[stage] = either_of(mine, ends[stage], here[stage]);
                }
            }
        }
    }
}

/// The stage recurrence in every lane: when the request leaves each stage.
#[inline(always)]
fn walk<C: Fast, const STAGES: usize>(arrived: u64, clocks: &[Wide; STAGES], spans: &[Wide; STAGES]) -> [Wide; STAGES] {
    let mut ends = [[0; LANES]; STAGES];
    let mut at = [arrived; LANES];
    // In two parts of at most four, which compilers unroll; a loop of eight they leave, one lane after the other.
    for stage in 0..STAGES.min(4) {
        at = pass_all::<C>(&at, &clocks[stage], &spans[stage]);
        ends[stage] = at;
    }
    for stage in STAGES.min(4)..STAGES {
        at = pass_all::<C>(&at, &clocks[stage], &spans[stage]);
        ends[stage] = at;
    }
    ends
}

#[inline(always)]
fn pass_all<C: Fast>(at: &Wide, clocks: &Wide, spans: &Wide) -> Wide {
    std::array::from_fn(|lane| C::bits(pass(C::packed(at[lane]), C::packed(clocks[lane]), C::span_of(spans[lane]))))
}

/// Admission in the lanes that have chosen a group, and what is counted: all ones where the request is accepted.
#[inline(always)]
fn accept<C: Fast>(
    arrived: u64,
    ends: &Wide,
    overhead: u64,
    slo: u64,
    chosen: &Wide,
    held: &mut Held,
    latencies: &mut Wide,
) -> Wide {
    let mut accepted = [0; LANES];
    let begin = C::packed(arrived);
    for lane in 0..LANES {
        let finished = C::packed(ends[lane]).plus(C::span_of(overhead));
        accepted[lane] = mask(in_time(begin, finished, C::span_of(slo))) & chosen[lane];
        held.in_slo[lane] += accepted[lane] & 1;
        let latency = C::span_of(C::span_bits(finished.since(begin)) & accepted[lane]);
        latencies[lane] = C::span_bits(C::add_plainly(C::span_of(latencies[lane]), latency));
    }
    accepted
}

#[inline(always)]
fn mask(condition: bool) -> u64 {
    u64::from(condition).wrapping_neg()
}

#[inline(always)]
fn either(mask: u64, this: u64, other: u64) -> u64 {
    (this & mask) | (other & !mask)
}

#[inline(always)]
fn either_of(mask: Wide, this: Wide, other: Wide) -> Wide {
    std::array::from_fn(|lane| either(mask[lane], this[lane], other[lane]))
}
