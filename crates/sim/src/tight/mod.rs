//! The tight loop: the scheduler's rules without an event queue, for policies that decide at arrival.
//!
//! It answers the planner's question, thousands of times: how many requests of each model would this
//! placement serve in time? No allocation per request; the rules are those of [`statmux_sched::rules`].
//!
//! There are two ways to run it, held equal by tests: plainly, for what became of each request
//! ([`Track::outcomes`]); and in lanes, for counts alone ([`Track::tally`], [`Track::tally_many`]), with the
//! number of stages known at compile time and several placements in one pass, interleaved (`lane`) or in lock step
//! in wide registers (`pack`). Under late binding there is a loop of its own ([`late`]).

mod lane;
pub mod late;
mod pack;

use crate::arithmetic::{Arithmetic, Fast};
use crate::settings::SimulationSettings;
use statmux_core::summary::GroupUse;
use statmux_core::{Cluster, GroupId, ModelId, ModelSpec, Outcome, Placement, Served, Span, Workload};
use statmux_sched::rules::{in_time, least, walk};
use statmux_sched::{Admission, Dispatch, TimesError};
use std::ops::Range;

/// A workload in one arithmetic, prepared once for many placements.
#[derive(Clone, Debug)]
pub struct Arrivals<A: Arithmetic>
where
    A::Span: Send + Sync,
{
    arrived: Vec<A>,
    model: Vec<ModelId>,
    model_slo: Vec<A::Span>,
    own_slo: Vec<A::Span>,
    /// Requests by model.
    counts: Vec<u64>,
}

/// A placement in one arithmetic: which groups hold each model, and stage times in one flat array.
#[derive(Clone, Debug)]
pub struct Track<A: Arithmetic>
where
    A::Span: Send + Sync,
{
    /// By model: where its replicas are in `replicas`.
    holders: Vec<Range<usize>>,
    replicas: Vec<Replica>,
    spans: Vec<A::Span>,
    groups: usize,
    stages: usize,
    /// The most time that one request takes on any group, with the fixed overhead.
    longest: A::Span,
    rules: Rules<A::Span>,
}

/// One copy of a model on a group.
#[derive(Clone, Debug)]
struct Replica {
    group: GroupId,
    /// Where the group's clocks are.
    clocks: Range<usize>,
    /// Where this model's stage times on the group begin.
    spans: usize,
    /// Time on the group's stages together.
    busy: Span,
}

#[derive(Clone, Copy, Debug)]
struct Rules<S> {
    dispatch: Dispatch,
    admission: Admission,
    overhead: S,
}

/// How many requests of each model were served in time, and how many each group was given.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tally {
    /// Requests by model, with or without a replica.
    pub requests: Vec<u64>,
    /// Of those, answered within the SLO.
    pub in_slo: Vec<u64>,
    /// Requests dispatched to each group, rejected ones included.
    pub dispatched: Vec<u64>,
    /// Sum of the latencies of served requests, in seconds.
    pub latency_sum: f64,
}

impl Tally {
    /// Requests answered in time over all requests; 1 when there were none.
    pub fn attainment(&self) -> f64 {
        let requests: u64 = self.requests.iter().sum();
        if requests == 0 { 1.0 } else { self.in_slo.iter().sum::<u64>() as f64 / requests as f64 }
    }
}

impl<A: Arithmetic> Arrivals<A>
where
    A::Span: Send + Sync,
{
    /// The requests of `workload`, with SLOs from `models` where they have none of their own.
    pub fn new(workload: &Workload, models: &[ModelSpec]) -> Self {
        let slo = |model: &ModelSpec| A::slo(model.slo_seconds().expect("scaled SLOs have a base: checked on reading"));
        Self {
            arrived: workload.arrived.iter().map(|&at| A::arrival(at)).collect(),
            model: workload.model.clone(),
            model_slo: models.iter().map(slo).collect(),
            own_slo: workload.slo.iter().map(|&span| A::own_slo(span)).collect(),
            counts: workload.counts(models.len()),
        }
    }

    /// How many requests there are.
    pub fn len(&self) -> usize {
        self.arrived.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.arrived.is_empty()
    }
}

impl<A: Arithmetic> Track<A>
where
    A::Span: Send + Sync,
{
    /// Prepares `placement` for [`Track::tally`] under `settings`, which must be tight.
    pub fn new(
        placement: &Placement,
        cluster: &Cluster,
        models: &[ModelSpec],
        settings: &SimulationSettings,
    ) -> Result<Self, TimesError> {
        let mut clocks = Vec::with_capacity(placement.groups.len());
        let mut stages = 0;
        for group in &placement.groups {
            clocks.push(stages..stages + group.config.pp as usize);
            stages += group.config.pp as usize;
        }
        let mut track = Self {
            holders: Vec::with_capacity(models.len()),
            replicas: Vec::with_capacity(placement.replicas()),
            spans: Vec::new(),
            groups: placement.groups.len(),
            stages,
            longest: A::overhead(settings.scheduler.fixed_overhead),
            rules: Rules {
                dispatch: settings.scheduler.dispatch,
                admission: settings.scheduler.admission,
                overhead: A::overhead(settings.scheduler.fixed_overhead),
            },
        };
        for (model, holders) in placement.holders(models.len()).into_iter().enumerate() {
            let from = track.replicas.len();
            for id in holders {
                let group = &placement.groups[id.index()];
                let seconds = group.stage_seconds(cluster, &models[model], settings.stage_penalty, 1);
                let seconds = seconds.ok_or_else(|| TimesError::new(id, &models[model].name))?;
                let busy = seconds.iter().filter_map(|&stage| Span::from_seconds(stage)).sum();
                let spans = track.spans.len();
                track.spans.extend(seconds.into_iter().map(A::stage));
                let alone = track.spans[spans..].iter().fold(A::ZERO, |at, &span| at.plus(span));
                let latency = alone.plus(track.rules.overhead).since(A::ZERO);
                if latency > track.longest {
                    track.longest = latency;
                }
                track.replicas.push(Replica { group: id, clocks: clocks[id.index()].clone(), spans, busy });
            }
            track.holders.push(from..track.replicas.len());
        }
        Ok(track)
    }

    /// Serves all of `arrivals` and counts.
    pub fn tally(&self, arrivals: &Arrivals<A>) -> Tally {
        let mut tallies = Self::tally_many(std::slice::from_ref(self), arrivals);
        tallies.pop().expect("one track, one tally")
    }

    /// Tallies several tracks in one pass: the same as one after the other, and faster, since the processor
    /// works on one while it waits for another.
    pub fn tally_many(tracks: &[Self], arrivals: &Arrivals<A>) -> Vec<Tally> {
        lane::tally_many(tracks, arrivals)
    }

    /// The same as [`Self::tally`], plainly: for what does not fit into lanes, and to test them.
    #[doc(hidden)]
    pub fn tally_plainly(&self, arrivals: &Arrivals<A>) -> Tally {
        let mut tally = self.empty_tally(arrivals);
        let mut latencies = <A::Fast as Fast>::Sum::default();
        self.serve(arrivals, |index, fate| match fate {
            Fate::NoReplica => {}
            Fate::Rejected(replica) => tally.dispatched[replica.group.index()] += 1,
            Fate::Served { replica, finished, in_slo, .. } => {
                tally.dispatched[replica.group.index()] += 1;
                tally.in_slo[arrivals.model[index].index()] += u64::from(in_slo);
                A::Fast::add(&mut latencies, A::fast_span(finished.since(arrivals.arrived[index])));
            }
        });
        tally.latency_sum = A::Fast::sum_seconds(latencies);
        tally
    }

    fn empty_tally(&self, arrivals: &Arrivals<A>) -> Tally {
        Tally {
            requests: arrivals.counts.clone(),
            in_slo: vec![0; self.holders.len()],
            dispatched: vec![0; self.groups],
            latency_sum: 0.0,
        }
    }

    /// Serves all of `arrivals` and says what became of each.
    pub fn outcomes(&self, arrivals: &Arrivals<A>) -> (Vec<Outcome>, Vec<GroupUse>) {
        let mut outcomes = Vec::with_capacity(arrivals.len());
        let mut uses = vec![GroupUse::default(); self.groups];
        self.serve(arrivals, |_, fate| {
            outcomes.push(match fate {
                Fate::NoReplica => Outcome::NoReplica,
                Fate::Rejected(_) => Outcome::Rejected,
                Fate::Served { replica, started, finished, in_slo } => {
                    let used = &mut uses[replica.group.index()];
                    used.requests += 1;
                    used.busy += replica.busy;
                    let (started, finished) = (started.time(), finished.time());
                    Outcome::Served(Served { group: replica.group, started, finished, in_slo })
                }
            });
        });
        (outcomes, uses)
    }

    fn serve<'t>(&'t self, arrivals: &Arrivals<A>, mut note: impl FnMut(usize, Fate<'t, A>)) {
        let mut clocks = vec![A::ZERO; self.stages];
        let mut ends = vec![A::ZERO; self.stages];
        for (index, (&arrived, &model)) in arrivals.arrived.iter().zip(&arrivals.model).enumerate() {
            let replicas = &self.replicas[self.holders[model.index()].clone()];
            let spans = |replica: &Replica| &self.spans[replica.spans..replica.spans + replica.clocks.len()];
            let choice = match self.rules.dispatch {
                Dispatch::EarliestFinish => least(replicas, |replica| {
                    walk(arrived, &clocks[replica.clocks.clone()], spans(replica), &mut ends[replica.clocks.clone()])
                }),
                _ => least(replicas, |replica| clocks[replica.clocks.end - 1]),
            };
            let Some(replica) = choice else {
                note(index, Fate::NoReplica);
                continue;
            };
            let at = replica.clocks.clone();
            let spans = spans(replica);
            let ends = &mut ends[at.clone()];
            let finished = walk(arrived, &clocks[at.clone()], spans, ends).plus(self.rules.overhead);
            let slo = arrivals.own_slo.get(index).copied().unwrap_or(arrivals.model_slo[model.index()]);
            let in_slo = in_time(arrived, finished, slo);
            if !in_slo && self.rules.admission == Admission::Deadline {
                note(index, Fate::Rejected(replica));
                continue;
            }
            let started = arrived.later(clocks[at.start]);
            clocks[at].copy_from_slice(ends);
            note(index, Fate::Served { replica, started, finished, in_slo });
        }
    }
}

/// What became of one request.
enum Fate<'t, A> {
    NoReplica,
    Rejected(&'t Replica),
    Served { replica: &'t Replica, started: A, finished: A, in_slo: bool },
}
