//! The innermost loop: one lane is one placement at work on a stream of requests. No branch depends on what was
//! decided, but for one in a lane that runs alone, see `decide`.
//!
//! All pipelines of a lane have the same number of stages, known at compile time: shorter ones are continued
//! with stages of no length, which changes no end. A model without a replica is sent to a group that is busy for
//! ever. Several lanes run interleaved, so that the processor works on one while it waits for another.

use super::{Arrivals, Tally, Track, pack};
use crate::arithmetic::{Arithmetic, Fast};
use statmux_core::ModelId;
use statmux_sched::rules::{Clock, in_time, walk_all};
use statmux_sched::{Admission, Dispatch};
use std::hint::select_unpredictable;

/// Lanes that run interleaved.
const ABREAST: usize = 4;

pub(super) fn tally_many<A: Arithmetic>(tracks: &[Track<A>], arrivals: &Arrivals<A>) -> Vec<Tally>
where
    A::Span: Send + Sync,
{
    let mut tallies = Vec::with_capacity(tracks.len());
    for tracks in tracks.chunks(pack::LANES) {
        match pack::tally(tracks, arrivals) {
            Some(packed) => tallies.extend(packed),
            None => tally_abreast(tracks, arrivals, &mut tallies),
        }
    }
    tallies
}

fn tally_abreast<A: Arithmetic>(tracks: &[Track<A>], arrivals: &Arrivals<A>, tallies: &mut Vec<Tally>)
where
    A::Span: Send + Sync,
{
    for tracks in tracks.chunks(ABREAST) {
        match Shape::of(tracks, arrivals) {
            Some(shape) => shape.tally(tracks, arrivals, tallies),
            None => tallies.extend(tracks.iter().map(|track| track.tally_plainly(arrivals))),
        }
    }
}

/// What lanes must have in common to run abreast.
struct Shape {
    stages: usize,
    choice: Choice,
}

/// How a group is chosen among those that hold a model.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Choice {
    /// No model has more than one replica.
    None,
    LeastClock,
    EarliestFinish,
}

impl Shape {
    /// The shape for all of `tracks`, unless lanes cannot run them.
    fn of<A: Arithmetic>(tracks: &[Track<A>], arrivals: &Arrivals<A>) -> Option<Self>
    where
        A::Span: Send + Sync,
    {
        let rules = tracks.first()?.rules;
        let fits = |track: &Track<A>| {
            let last = arrivals.arrived.last().copied().unwrap_or(A::ZERO);
            track.rules.admission == Admission::Deadline
                && track.rules.dispatch == rules.dispatch
                && A::fits(last, arrivals.len(), track.longest)
        };
        let stages = tracks.iter().flat_map(|track| &track.replicas).map(|replica| replica.clocks.len()).max();
        let stages = stages.unwrap_or(1).next_power_of_two();
        let single = tracks.iter().all(|track| track.holders.iter().all(|holders| holders.len() <= 1));
        let choice = match rules.dispatch {
            _ if single => Choice::None,
            Dispatch::EarliestFinish => Choice::EarliestFinish,
            _ => Choice::LeastClock,
        };
        (stages <= 8 && tracks.iter().all(fits)).then_some(Self { stages, choice })
    }

    fn tally<A: Arithmetic>(&self, tracks: &[Track<A>], arrivals: &Arrivals<A>, tallies: &mut Vec<Tally>)
    where
        A::Span: Send + Sync,
    {
        match self.stages {
            1 => self.tally_stages::<A, 1>(tracks, arrivals, tallies),
            2 => self.tally_stages::<A, 2>(tracks, arrivals, tallies),
            4 => self.tally_stages::<A, 4>(tracks, arrivals, tallies),
            _ => self.tally_stages::<A, 8>(tracks, arrivals, tallies),
        }
    }

    fn tally_stages<A: Arithmetic, const STAGES: usize>(
        &self,
        tracks: &[Track<A>],
        arrivals: &Arrivals<A>,
        tallies: &mut Vec<Tally>,
    ) where
        A::Span: Send + Sync,
    {
        match self.choice {
            Choice::None => run_abreast::<A, Single<A::Fast, STAGES>>(tracks, arrivals, tallies),
            Choice::LeastClock => run_abreast::<A, Several<A::Fast, STAGES, false>>(tracks, arrivals, tallies),
            Choice::EarliestFinish => run_abreast::<A, Several<A::Fast, STAGES, true>>(tracks, arrivals, tallies),
        }
    }
}

/// One placement at work.
trait Lane<A: Arithmetic>
where
    A::Span: Send + Sync,
{
    fn new(track: &Track<A>, arrivals: &Arrivals<A>) -> Self;

    /// Decides one request; `own_slo` replaces its model's.
    ///
    /// Returns its latency, which is nothing if it was refused.
    fn step<const ALONE: bool>(&mut self, arrived: A::Fast, model: ModelId, own_slo: Option<Slo<A>>) -> Slo<A>;

    /// Writes down what was counted.
    fn finish(&self, arrivals: &Arrivals<A>, tally: &mut Tally);
}

type Slo<A> = <<A as Arithmetic>::Fast as Clock>::Span;

fn run_abreast<A: Arithmetic, L: Lane<A>>(tracks: &[Track<A>], arrivals: &Arrivals<A>, tallies: &mut Vec<Tally>)
where
    A::Span: Send + Sync,
{
    let mut lanes: Vec<L> = tracks.iter().map(|track| L::new(track, arrivals)).collect();
    let sums: Vec<f64> = if let Ok(lanes) = <&mut [L; ABREAST]>::try_from(lanes.as_mut_slice()) {
        run(lanes, arrivals).into()
    } else {
        lanes.iter_mut().flat_map(|lane| run(std::array::from_mut(lane), arrivals)).collect()
    };
    for ((track, lane), latency_sum) in tracks.iter().zip(&lanes).zip(sums) {
        let mut tally = Tally { latency_sum, ..track.empty_tally(arrivals) };
        lane.finish(arrivals, &mut tally);
        tallies.push(tally);
    }
}

/// Runs the lanes abreast, and returns the sum of latencies of each, in seconds.
#[inline(never)]
fn run<A: Arithmetic, L: Lane<A>, const LANES: usize>(lanes: &mut [L; LANES], arrivals: &Arrivals<A>) -> [f64; LANES]
where
    A::Span: Send + Sync,
{
    let mut sums = [<A::Fast as Fast>::Sum::default(); LANES];
    let requests = arrivals.arrived.iter().zip(&arrivals.model);
    if arrivals.own_slo.is_empty() {
        for (&arrived, &model) in requests {
            step_all(lanes, &mut sums, arrived, model, None);
        }
    } else {
        for ((&arrived, &model), &slo) in requests.zip(&arrivals.own_slo) {
            step_all(lanes, &mut sums, arrived, model, Some(A::Fast::cap(A::fast_span(slo))));
        }
    }
    sums.map(A::Fast::sum_seconds)
}

#[inline(always)]
fn step_all<A: Arithmetic, L: Lane<A>, const LANES: usize>(
    lanes: &mut [L; LANES],
    sums: &mut [<A::Fast as Fast>::Sum; LANES],
    arrived: A,
    model: ModelId,
    slo: Option<Slo<A>>,
) where
    A::Span: Send + Sync,
{
    for (lane, sum) in lanes.iter_mut().zip(sums) {
        let latency = if LANES == 1 {
            lane.step::<true>(arrived.fast(), model, slo)
        } else {
            lane.step::<false>(arrived.fast(), model, slo)
        };
        A::Fast::add(sum, latency);
    }
}

/// A replica: its stage times and where its group's clocks are.
#[derive(Clone, Copy)]
struct Row<C: Clock, const STAGES: usize> {
    spans: [C::Span; STAGES],
    group: u32,
    dispatched: u32,
}

/// Decides one request and advances its group's clocks if it is accepted. Returns whether it is, and its latency,
/// which is nothing if not.
#[inline(always)]
fn decide<C: Fast, const STAGES: usize, const ALONE: bool>(
    arrived: C,
    clocks: &mut [C; STAGES],
    spans: &[C::Span; STAGES],
    overhead: C::Span,
    slo: C::Span,
) -> (bool, C::Span) {
    let ends = walk_all(arrived, clocks, spans);
    let finished = ends[STAGES - 1].plus(overhead);
    let accepted = in_time(arrived, finished, slo);
    if ALONE && STAGES > 1 {
        // The processor's guess lets the next request begin before this one's last stage is known.
        if accepted {
            *clocks = ends;
        }
    } else {
        for (clock, end) in clocks.iter_mut().zip(ends) {
            *clock = C::select(accepted, end, *clock);
        }
    }
    (accepted, C::only_if(accepted, finished.since(arrived)))
}

/// The stage times of `track`'s replicas, continued to `STAGES` stages; then one row for models without any.
fn rows<A: Arithmetic, const STAGES: usize>(track: &Track<A>) -> Vec<Row<A::Fast, STAGES>>
where
    A::Span: Send + Sync,
{
    let nothing = A::Fast::ZERO.since(A::Fast::ZERO);
    let row = |replica: &super::Replica| {
        let mut spans = [nothing; STAGES];
        let known = &track.spans[replica.spans..replica.spans + replica.clocks.len()];
        spans.iter_mut().zip(known).for_each(|(span, &known)| *span = A::fast_span(known));
        Row { spans, group: replica.group.0, dispatched: 0 }
    };
    let nowhere = Row { spans: [nothing; STAGES], group: track.groups as u32, dispatched: 0 };
    track.replicas.iter().map(row).chain([nowhere]).collect()
}

fn clocks<A: Arithmetic, const STAGES: usize>(track: &Track<A>) -> Vec<[A::Fast; STAGES]>
where
    A::Span: Send + Sync,
{
    let mut clocks = vec![[A::Fast::ZERO; STAGES]; track.groups + 1];
    clocks[track.groups] = [A::Fast::FAR; STAGES];
    clocks
}

/// A lane without choice: every model has one replica or none.
struct Single<C: Fast, const STAGES: usize> {
    models: Vec<Only<C, STAGES>>,
    clocks: Vec<[C; STAGES]>,
    overhead: C::Span,
}

/// All that a lane without choice must know of a model, side by side.
struct Only<C: Fast, const STAGES: usize> {
    row: Row<C, STAGES>,
    slo: C::Span,
    in_slo: u64,
}

impl<A: Arithmetic, const STAGES: usize> Lane<A> for Single<A::Fast, STAGES>
where
    A::Span: Send + Sync,
{
    fn new(track: &Track<A>, arrivals: &Arrivals<A>) -> Self {
        let rows = rows::<A, STAGES>(track);
        let models = track.holders.iter().zip(&arrivals.model_slo).map(|(holders, &slo)| Only {
            row: if holders.is_empty() { rows[rows.len() - 1] } else { rows[holders.start] },
            slo: A::Fast::cap(A::fast_span(slo)),
            in_slo: 0,
        });
        Self {
            models: models.collect(),
            clocks: clocks::<A, STAGES>(track),
            overhead: A::fast_span(track.rules.overhead),
        }
    }

    #[inline(always)]
    fn step<const ALONE: bool>(&mut self, arrived: A::Fast, model: ModelId, own_slo: Option<Slo<A>>) -> Slo<A> {
        let Self { models, clocks, overhead } = self;
        let only = &mut models[model.index()];
        let clocks = &mut clocks[only.row.group as usize];
        let slo = own_slo.unwrap_or(only.slo);
        let (accepted, latency) = decide::<_, STAGES, ALONE>(arrived, clocks, &only.row.spans, *overhead, slo);
        only.in_slo += u64::from(accepted);
        latency
    }

    fn finish(&self, arrivals: &Arrivals<A>, tally: &mut Tally) {
        for ((model, only), &requests) in self.models.iter().enumerate().zip(&arrivals.counts) {
            tally.in_slo[model] = only.in_slo;
            if let Some(dispatched) = tally.dispatched.get_mut(only.row.group as usize) {
                *dispatched += requests;
            }
        }
    }
}

/// A lane that chooses among the replicas of a model: by earliest finish, or else by least clock.
struct Several<C: Fast, const STAGES: usize, const EARLIEST: bool> {
    models: Vec<Replicated<C>>,
    rows: Vec<Row<C, STAGES>>,
    clocks: Vec<[C; STAGES]>,
    overhead: C::Span,
}

/// Where the rows of a model are, at least one.
struct Replicated<C: Fast> {
    from: u32,
    to: u32,
    slo: C::Span,
    in_slo: u64,
}

impl<A: Arithmetic, const STAGES: usize, const EARLIEST: bool> Lane<A> for Several<A::Fast, STAGES, EARLIEST>
where
    A::Span: Send + Sync,
{
    fn new(track: &Track<A>, arrivals: &Arrivals<A>) -> Self {
        let rows = rows::<A, STAGES>(track);
        let nowhere = rows.len() - 1;
        let models = track.holders.iter().zip(&arrivals.model_slo).map(|(holders, &slo)| {
            let rows = if holders.is_empty() { nowhere..nowhere + 1 } else { holders.clone() };
            let slo = A::Fast::cap(A::fast_span(slo));
            Replicated { from: rows.start as u32, to: rows.end as u32, slo, in_slo: 0 }
        });
        Self {
            models: models.collect(),
            clocks: clocks::<A, STAGES>(track),
            rows,
            overhead: A::fast_span(track.rules.overhead),
        }
    }

    #[inline(always)]
    fn step<const ALONE: bool>(&mut self, arrived: A::Fast, model: ModelId, own_slo: Option<Slo<A>>) -> Slo<A> {
        let Self { models, rows, clocks, overhead } = self;
        let replicated = &mut models[model.index()];
        let rows = &mut rows[replicated.from as usize..replicated.to as usize];
        let key = |row: &Row<A::Fast, STAGES>| {
            let clocks = &clocks[row.group as usize];
            let last = if EARLIEST { walk_all(arrived, clocks, &row.spans)[STAGES - 1] } else { clocks[STAGES - 1] };
            last.order()
        };
        let mut best = 0;
        let mut low = key(&rows[0]);
        for (index, row) in rows.iter().enumerate().skip(1) {
            let this = key(row);
            let less = this < low;
            best = select_unpredictable(less, index, best);
            low = select_unpredictable(less, this, low);
        }
        let row = &mut rows[best];
        row.dispatched += 1;
        let slo = own_slo.unwrap_or(replicated.slo);
        let clocks = &mut clocks[row.group as usize];
        let (accepted, latency) = decide::<_, STAGES, ALONE>(arrived, clocks, &row.spans, *overhead, slo);
        replicated.in_slo += u64::from(accepted);
        latency
    }

    fn finish(&self, _: &Arrivals<A>, tally: &mut Tally) {
        for (count, model) in tally.in_slo.iter_mut().zip(&self.models) {
            *count = model.in_slo;
        }
        for row in &self.rows {
            if let Some(dispatched) = tally.dispatched.get_mut(row.group as usize) {
                *dispatched += u64::from(row.dispatched);
            }
        }
    }
}
