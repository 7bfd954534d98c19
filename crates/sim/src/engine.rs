//! The driver on a virtual clock: arrivals, completions, wake-ups and faults in one total order.

use crate::agenda::Agenda;
use crate::fault::{Fault, FaultKind};
use statmux_core::summary::GroupUse;
use statmux_core::{BatchId, GroupId, Outcome, RequestId, Served, Span, Time, Workload};
use statmux_sched::rules::walk;
use statmux_sched::{Action, Batch, Event, Loss, Reason, Scheduler, StageTimes};

/// One stage of one batch, as it ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StageRun {
    /// The group.
    pub group: GroupId,
    /// The stage.
    pub stage: usize,
    /// When it began.
    pub started: Time,
    /// When it was done.
    pub ended: Time,
}

/// Told of everything that runs, each run once its end is known: when it is over, or when its group was lost.
pub type Observer<'a> = &'a mut dyn FnMut(StageRun);

/// What surrounds the scheduler in a run.
pub struct World<'a, 'o> {
    /// How long stages really take, whatever the scheduler believes.
    pub truth: &'a StageTimes,
    /// What arrives.
    pub workload: &'a Workload,
    /// The SLO of each model, [`Span::MAX`] for none.
    pub model_slo: &'a [Span],
    /// Added to every latency; occupies no device.
    pub fixed_overhead: Span,
    /// What breaks.
    pub faults: &'a [Fault],
    /// Told of everything that runs.
    pub observer: Option<Observer<'o>>,
}

/// Drives `scheduler` through the world's workload on a virtual clock, and returns one outcome per request and
/// the use of each group.
///
/// A group is lost from the first to the last of the losses that overlap; slowdowns that overlap multiply.
///
/// Events at equal times come in this order: faults and recoveries, then batches that finish or free a first
/// stage (in the order in which they were launched), then wake-ups, then arrivals.
///
/// # Panics
/// If the scheduler breaks its contract: it launches on a busy stage, or ends a request twice or never.
pub fn drive(scheduler: &mut impl Scheduler, world: World<'_, '_>) -> (Vec<Outcome>, Vec<GroupUse>) {
    let mut engine = Engine::new(world);
    let requests = engine.world.workload.len();
    let mut arrived = 0;
    let mut actions = Vec::new();
    loop {
        let arrival = (arrived < requests).then(|| engine.world.workload.arrived[arrived]);
        let due = engine.agenda.next();
        let wake = scheduler.next_wakeup().map(|at| at.max(engine.now));
        let Some(now) = earliest(earliest(due, wake), arrival) else { break };
        engine.now = now;
        let event = if due == Some(now) {
            let what = engine.agenda.pop().expect("it was just looked at");
            match engine.happen(what) {
                Some(event) => event,
                None => continue,
            }
        } else if wake == Some(now) {
            Event::Woke
        } else {
            arrived += 1;
            Event::Arrived(engine.world.workload.request(arrived - 1, engine.world.model_slo))
        };
        scheduler.handle(now, event, &mut actions);
        // By reference: to move an action that was written a moment ago would wait for the writes.
        for action in &actions {
            engine.perform(action);
        }
        actions.clear();
    }
    assert_eq!(engine.ended, requests, "every request ends");
    for group in &mut engine.groups {
        group.close_runs(Time::NEVER, false, &mut engine.world.observer);
    }
    (engine.outcomes, engine.groups.into_iter().map(|group| group.used).collect())
}

#[inline]
fn earliest(one: Option<Time>, other: Option<Time>) -> Option<Time> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

/// Something that will happen.
#[derive(Clone, Copy, Debug)]
enum What {
    FaultBegins(usize),
    FaultEnds(usize),
    Finished { group: GroupId, batch: BatchId, epoch: u32, busy: Span },
    StageFreed { group: GroupId, epoch: u32 },
}

/// A simulated pipeline.
struct Pipeline {
    /// When each stage is done with all that was launched.
    clocks: Vec<Time>,
    /// Counts losses, so that what was under way before one is recognised.
    epoch: u32,
    /// Losses that have begun and not ended; they may overlap.
    losses: u32,
    /// The slowdowns at work: positions in the list of faults.
    slow: Vec<usize>,
    /// How many times as long batches take at present: the product of the slowdowns at work.
    slowdown: f64,
    used: GroupUse,
    /// Runs that may yet be cut short by a loss, or that the observer was not told of yet.
    open: Vec<StageRun>,
}

impl Pipeline {
    /// Counts the computing time of the runs over at `now`, and tells `observer` of them; with `lost`, the others
    /// end now or never began.
    fn close_runs(&mut self, now: Time, lost: bool, observer: &mut Option<Observer<'_>>) {
        let Self { open, used, .. } = self;
        open.retain_mut(|run| {
            if run.ended > now && !lost {
                return true;
            }
            run.ended = run.ended.min(now);
            if run.started < run.ended || !lost {
                used.busy += run.ended.since(run.started);
                if let Some(observer) = observer {
                    observer(*run);
                }
            }
            false
        });
    }
}

struct Engine<'a, 'o> {
    world: World<'a, 'o>,
    now: Time,
    agenda: Agenda<What>,
    groups: Vec<Pipeline>,
    outcomes: Vec<Outcome>,
    /// By request: whether it has ended.
    over: Vec<bool>,
    ended: usize,
    /// Whether single runs are kept until they are over, because they may be cut short or someone wants to know.
    keeps_runs: bool,
    /// Scratch space for the stages of a batch.
    ends: Vec<Time>,
}

impl<'a, 'o> Engine<'a, 'o> {
    fn new(world: World<'a, 'o>) -> Self {
        let pipeline = |index| Pipeline {
            clocks: vec![Time::ZERO; world.truth.stages(GroupId::from_index(index))],
            epoch: 0,
            losses: 0,
            slow: Vec::new(),
            slowdown: 1.0,
            used: GroupUse::default(),
            open: Vec::new(),
        };
        let requests = world.workload.len();
        let mut engine = Self {
            now: Time::ZERO,
            agenda: Agenda::new(),
            groups: (0..world.truth.groups()).map(pipeline).collect(),
            outcomes: vec![Outcome::Rejected; requests],
            over: vec![false; requests],
            ended: 0,
            keeps_runs: !world.faults.is_empty() || world.observer.is_some(),
            ends: Vec::new(),
            world,
        };
        for (index, fault) in engine.world.faults.iter().enumerate() {
            engine.agenda.note(fault.at, true, What::FaultBegins(index));
            engine.agenda.note(fault.at + fault.lasts, true, What::FaultEnds(index));
        }
        engine
    }

    /// What the scheduler is told of something that was pending.
    fn happen(&mut self, what: What) -> Option<Event> {
        match what {
            What::Finished { group, batch, epoch, busy } => {
                (self.groups[group.index()].epoch == epoch).then_some(Event::Finished { group, batch, busy })
            }
            What::StageFreed { group, epoch } => {
                (self.groups[group.index()].epoch == epoch).then_some(Event::StageFreed(group))
            }
            What::FaultBegins(index) => self.fault(index, true),
            What::FaultEnds(index) => self.fault(index, false),
        }
    }

    fn fault(&mut self, index: usize, begins: bool) -> Option<Event> {
        let fault = self.world.faults[index];
        let pipeline = self.groups.get_mut(fault.group.index())?;
        match fault.kind {
            FaultKind::Slow(_) => {
                if begins {
                    pipeline.slow.push(index);
                } else {
                    pipeline.slow.retain(|&other| other != index);
                }
                let factor = |&index: &usize| match self.world.faults[index].kind {
                    FaultKind::Slow(factor) => factor,
                    FaultKind::Lost => 1.0,
                };
                pipeline.slowdown = pipeline.slow.iter().map(factor).product();
                None
            }
            FaultKind::Lost if begins => {
                pipeline.losses += 1;
                if pipeline.losses > 1 {
                    return None;
                }
                pipeline.epoch += 1;
                pipeline.clocks.fill(self.now);
                pipeline.close_runs(self.now, true, &mut self.world.observer);
                Some(Event::GroupLost(Loss::of(fault.group)))
            }
            FaultKind::Lost => {
                pipeline.losses -= 1;
                (pipeline.losses == 0).then_some(Event::GroupRestored(fault.group))
            }
        }
    }

    #[inline]
    fn perform(&mut self, action: &Action) {
        match *action {
            Action::Launch(ref batch) => self.launch(batch),
            Action::Complete(id) => self.end(id, None),
            Action::Reject(id, reason) => self.end(
                id,
                Some(match reason {
                    Reason::NoReplica => Outcome::NoReplica,
                    Reason::GroupLost | Reason::CostGroup => Outcome::Failed,
                    Reason::TooLate { .. } | Reason::QueueFull | Reason::Cancelled => Outcome::Rejected,
                }),
            ),
        }
    }

    fn end(&mut self, id: RequestId, outcome: Option<Outcome>) {
        let over = &mut self.over[id.index()];
        assert!(!*over, "request {id} ends once");
        *over = true;
        self.ended += 1;
        match outcome {
            Some(outcome) => self.outcomes[id.index()] = outcome,
            // It was written at the launch; it counts only now.
            None => {
                if let Outcome::Served(served) = self.outcomes[id.index()] {
                    self.groups[served.group.index()].used.requests += 1;
                }
            }
        }
    }

    fn launch(&mut self, batch: &Batch) {
        let (group, members) = (batch.group, batch.requests.as_slice());
        let size = u32::try_from(members.len()).expect("batches are small");
        let spans = self.world.truth.spans(group, batch.model, size).expect("only measured batches on holders run");
        let pipeline = &mut self.groups[group.index()];
        assert!(pipeline.clocks[0] <= self.now, "a batch is launched on a free stage");
        let stretched: Vec<Span>;
        let spans = if pipeline.slowdown == 1.0 {
            spans
        } else {
            stretched = spans.iter().map(|span| span.scale(pipeline.slowdown)).collect();
            &stretched
        };
        self.ends.resize(spans.len(), Time::ZERO);
        let end = walk(self.now, &pipeline.clocks, spans, &mut self.ends);
        pipeline.clocks.copy_from_slice(&self.ends);
        let busy: Span = spans.iter().copied().sum();
        let epoch = pipeline.epoch;
        if self.keeps_runs {
            pipeline.close_runs(self.now, false, &mut self.world.observer);
            let runs = self.ends.iter().zip(spans).enumerate();
            pipeline.open.extend(runs.map(|(stage, (&ended, &span))| {
                let started = ended.before(span);
                StageRun { group, stage, started, ended }
            }));
        } else {
            pipeline.used.busy += busy;
        }
        let freed = self.ends[0];
        if self.ends.len() > 1 {
            self.agenda.note(freed, false, What::StageFreed { group, epoch });
        }
        self.agenda.note(end, false, What::Finished { group, batch: batch.id, epoch, busy });
        let finished = end + self.world.fixed_overhead;
        for &id in members {
            let deadline = self.world.workload.request(id.index(), self.world.model_slo).deadline;
            let served = Served { group, started: self.now, finished, in_slo: finished <= deadline };
            self.outcomes[id.index()] = Outcome::Served(served);
        }
    }
}
