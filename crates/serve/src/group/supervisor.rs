//! Starts groups, notices when one is lost, and starts it again or takes it out.
//!
//! A hung thread cannot be stopped: its run is retired and left behind. Should it come back to life, it finds
//! the run over and goes; nothing it still says counts, for its epoch is past.

use crate::board::Board;
use crate::clock::Clock;
use crate::group::notice::Notice;
use crate::group::patience::{Patience, Yardstick};
use crate::group::stage::{Parcel, Run, StageThread};
use crate::group::{PROBE, Passage};
use crate::messages::{Entry, Job, Message};
use crate::request::Departure;
use statmux_core::backend::{Backend, BackendError, Fault, Generate, Input, Sampling, StagePlan, Task};
use statmux_core::{BatchId, DeviceId, Group, GroupId, Span, Time};
use statmux_sched::{Loss, StageTimes};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// When groups count as lost, and what is done about it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Supervision {
    /// A stage that takes this many times its predicted time has hung. What is predicted for the texts that were
    /// profiled is taken to grow with longer ones: in proportion to the tokens, and with their square for attention.
    pub hang_factor: f64,
    /// But never before this.
    pub hang_minimum: Span,
    /// How long a stage may take to load its weights.
    pub opening_limit: Span,
    /// The pause before the first restart; doubled for each further one in a row.
    pub backoff: Span,
    /// Failures in a row after which a group is taken out.
    pub attempts: u32,
    /// A group that ran for this long starts with a clean slate.
    pub stable_after: Span,
}

impl Default for Supervision {
    fn default() -> Self {
        Self {
            hang_factor: 20.0,
            hang_minimum: Span::from_millis(5_000),
            opening_limit: Span::from_millis(600_000),
            backoff: Span::from_millis(100),
            attempts: 6,
            stable_after: Span::from_millis(60_000),
        }
    }
}

/// Batches that may be inside a group whose models need one lap each.
const SINGLE_LAP_LIMIT: usize = 256;
/// How often stages are looked at.
const TICK: Duration = Duration::from_millis(20);
/// How long threads may take to go when the server stops.
const FAREWELL: Span = Span::from_millis(2_000);
/// How often utilisation is computed.
const UTILISATION_PERIOD: Span = Span::from_millis(1_000);
/// A group that works for probes, but not for this many times as many batches in a row as it has attempts, is lost for
/// good.
const ACCIDENTS: u32 = 10;

pub(crate) struct Supervisor<B: Backend> {
    pub(crate) backend: Arc<B>,
    pub(crate) placement: Vec<Group>,
    pub(crate) times: Arc<StageTimes>,
    /// By model.
    pub(crate) yardsticks: Arc<[Yardstick]>,
    pub(crate) board: Arc<Board>,
    pub(crate) driver: SyncSender<Message>,
    pub(crate) own: Sender<Notice>,
    pub(crate) clock: Clock,
    pub(crate) supervision: Supervision,
}

/// One group's present.
struct Watched<F> {
    epoch: u64,
    state: State<F>,
    /// Failures in a row.
    failures: u32,
    /// Batches in a row that took it down though it works.
    accidents: u32,
}

enum State<F> {
    /// Stage threads run; of them, `opened` are ready.
    Running {
        run: Arc<Run>,
        senders: Vec<SyncSender<Parcel<F>>>,
        opened: usize,
        since: Time,
        threads: Vec<JoinHandle<()>>,
    },
    /// Lost; to be started again at this time.
    Lost {
        restart: Time,
    },
    TakenOut,
}

impl<B: Backend + 'static> Supervisor<B> {
    /// Starts all groups, then watches them until told to stop.
    pub(crate) fn supervise(self, inbox: &Receiver<Notice>) {
        let mut groups: Vec<_> = (0..self.placement.len())
            .map(|index| Watched {
                epoch: 0,
                state: self.start(GroupId::from_index(index), 1),
                failures: 0,
                accidents: 0,
            })
            .collect();
        groups.iter_mut().for_each(|group| group.epoch = 1);
        let mut measured = (self.clock.now(), self.busy());
        loop {
            match inbox.recv_timeout(TICK) {
                Ok(Notice::Opened { group, epoch }) => self.opened(&mut groups[group.index()], group, epoch),
                Ok(Notice::Probed { group, epoch }) => self.restored(&groups[group.index()], group, epoch),
                Ok(Notice::Failed { group, epoch, batch, failure }) => {
                    let watched = &mut groups[group.index()];
                    if watched.epoch == epoch {
                        self.lost(watched, group, batch, &failure);
                    }
                }
                Ok(Notice::Stop) | Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {}
            }
            for (index, watched) in groups.iter_mut().enumerate() {
                self.look_at(watched, GroupId::from_index(index));
            }
            self.measure(&mut measured);
        }
        for (index, watched) in groups.iter().enumerate() {
            retire(&watched.state);
            // Who looks at it afterwards, while another placement is loaded, is not told that it works.
            let board = self.board.group(GroupId::from_index(index));
            board.taken_out.store(true, Relaxed);
            board.up.store(false, Relaxed);
        }
        self.wait_for_threads(&groups);
    }

    /// Waits until the threads of all groups have gone and left their devices' memory; a thread that hangs is left
    /// behind before long.
    fn wait_for_threads(&self, groups: &[Watched<B::Flow>]) {
        let limit = self.clock.now() + FAREWELL;
        let threads = groups.iter().filter_map(|watched| match &watched.state {
            State::Running { threads, .. } => Some(threads),
            _ => None,
        });
        for thread in threads.flatten() {
            while !thread.is_finished() && self.clock.now() < limit {
                thread::sleep(Duration::from_micros(200));
            }
        }
    }

    fn start(&self, id: GroupId, epoch: u64) -> State<B::Flow> {
        let group = &self.placement[id.index()];
        let laps = group.models.iter().any(|&m| self.backend.card(m).is_ok_and(|card| card.task == Task::Generate));
        let limit = if laps { group.config.pp as usize } else { SINGLE_LAP_LIMIT };
        let run = Arc::new(Run {
            group: id,
            epoch,
            retired: AtomicBool::new(false),
            proven: AtomicBool::new(false),
            served: AtomicBool::new(false),
            passage: Passage::new(limit),
        });
        // One more for the job that finishes while its successor enters, one for the farewell.
        let channels: Vec<_> = (0..group.config.pp).map(|_| sync_channel(limit + 2)).collect();
        let senders: Vec<SyncSender<Parcel<B::Flow>>> = channels.iter().map(|(sender, _)| sender.clone()).collect();
        let mut threads = Vec::with_capacity(channels.len());
        for (index, (_, inbox)) in channels.into_iter().enumerate() {
            let stage = StageThread {
                backend: Arc::clone(&self.backend),
                plan: plan(id, group, index),
                run: Arc::clone(&run),
                inbox,
                first: senders[0].clone(),
                next: senders.get(index + 1).cloned(),
                driver: self.driver.clone(),
                supervisor: self.own.clone(),
                board: Arc::clone(&self.board),
                times: Arc::clone(&self.times),
                clock: self.clock,
                patience: Patience {
                    factor: self.supervision.hang_factor,
                    minimum: self.supervision.hang_minimum,
                    opening: self.supervision.opening_limit,
                },
                yardsticks: Arc::clone(&self.yardsticks),
            };
            let name = format!("{id}-s{index}");
            match thread::Builder::new().name(name).spawn(move || stage.serve()) {
                Ok(thread) => threads.push(thread),
                Err(cause) => {
                    let failure = BackendError::StageLost { reason: format!("no thread: {cause}") };
                    let _ = self.own.send(Notice::Failed { group: id, epoch, batch: None, failure });
                }
            }
        }
        State::Running { run, senders, opened: 0, since: self.clock.now(), threads }
    }

    fn opened(&self, watched: &mut Watched<B::Flow>, id: GroupId, epoch: u64) {
        let State::Running { senders, opened, .. } = &mut watched.state else { return };
        if watched.epoch != epoch {
            return;
        }
        *opened += 1;
        if *opened < senders.len() {
            return;
        }
        // A group that was lost has to show that it works before it takes requests again.
        match self.probe(id).filter(|_| epoch > 1) {
            Some(probe) => drop(senders[0].try_send(Parcel::Job(probe))),
            None => self.restored(watched, id, epoch),
        }
    }

    /// The shortest job that a group can run, if there is one.
    fn probe(&self, id: GroupId) -> Option<Job> {
        let &model = self.placement[id.index()].models.first()?;
        let tokens = vec![0];
        let input = match self.backend.card(model).ok()?.task {
            Task::Encode { .. } => Input::embed(tokens),
            Task::Generate => Input::Generate(Generate {
                tokens,
                max_new_tokens: 1,
                stop_tokens: Vec::new(),
                stop_texts: Vec::new(),
                sampling: Sampling::Greedy,
            }),
        };
        Some(Job { batch: PROBE, model, inputs: vec![input], departures: vec![Departure::default()], streams: false })
    }

    fn restored(&self, watched: &Watched<B::Flow>, id: GroupId, epoch: u64) {
        let State::Running { senders, .. } = &watched.state else { return };
        if watched.epoch == epoch {
            tracing::info!(group = id.0, epoch, "group is up");
            self.board.group(id).up.store(true, Relaxed);
            let first = senders[0].clone();
            let entry = Entry::new(move |job| {
                let _ = first.try_send(Parcel::Job(job));
            });
            let _ = self.driver.send(Message::Restored { group: id, epoch, entry });
        }
    }

    /// A stage of the group is lost, to `batch` if it ran one.
    fn lost(&self, watched: &mut Watched<B::Flow>, id: GroupId, batch: Option<BatchId>, failure: &BackendError) {
        let board = self.board.group(id);
        let now = self.clock.now();
        let culprit = batch.filter(|&batch| batch != PROBE);
        let mut accident = false;
        if let State::Running { run, since, .. } = &watched.state {
            // It worked until this batch came.
            accident = culprit.is_some() && run.proven.load(Relaxed);
            let stable = board.up.load(Relaxed) && now.since(*since) >= self.supervision.stable_after;
            if accident || stable {
                watched.failures = 0;
            }
            if run.served.load(Relaxed) {
                watched.accidents = 0;
            }
        }
        retire(&watched.state);
        board.up.store(false, Relaxed);
        board.note_failure(failure);
        board.stages.iter().for_each(|stage| stage.hung_at.store(u64::MAX, Relaxed));
        *(if accident { &mut watched.accidents } else { &mut watched.failures }) += 1;
        let attempts = self.supervision.attempts;
        let hopeless = failure.fault() == Fault::Setup
            || watched.failures >= attempts
            || watched.accidents >= attempts.saturating_mul(ACCIDENTS);
        let _ = self.driver.send(Message::Lost(Loss { group: id, culprit, returns: !hopeless }));
        let Watched { failures, accidents, .. } = *watched;
        let reason = crate::board::chain(failure);
        if hopeless {
            tracing::error!(group = id.0, reason, failures, accidents, "group is taken out");
            board.taken_out.store(true, Relaxed);
            watched.state = State::TakenOut;
        } else {
            let pause = self.supervision.backoff * (1 << failures.saturating_sub(1).min(10));
            tracing::warn!(group = id.0, reason, failures, accidents, %pause, "group is lost");
            watched.state = State::Lost { restart: now + pause };
        }
    }

    /// Notices hangs, and starts again what is due.
    fn look_at(&self, watched: &mut Watched<B::Flow>, id: GroupId) {
        let now = self.clock.now();
        match &watched.state {
            State::Running { .. } => {
                let mut stages = self.board.group(id).stages.iter().enumerate();
                if let Some((stage, batch)) = stages.find_map(|(index, stage)| Some((index, stage.hung(now)?))) {
                    let reason = format!("stage {stage} did not come back in time");
                    self.lost(watched, id, batch, &BackendError::StageLost { reason });
                }
            }
            State::Lost { restart } if *restart <= now => {
                watched.epoch += 1;
                self.board.group(id).restarts.fetch_add(1, Relaxed);
                watched.state = self.start(id, watched.epoch);
            }
            State::Lost { .. } | State::TakenOut => {}
        }
    }

    fn busy(&self) -> Vec<u64> {
        self.board.groups.iter().flat_map(|group| &group.stages).map(|stage| stage.busy_ns.load(Relaxed)).collect()
    }

    /// Once a period, the share of it that each stage was busy.
    fn measure(&self, (at, before): &mut (Time, Vec<u64>)) {
        let now = self.clock.now();
        let period = now.since(*at);
        if period < UTILISATION_PERIOD {
            return;
        }
        let after = self.busy();
        let stages = self.board.groups.iter().flat_map(|group| &group.stages);
        for ((stage, &before), &after) in stages.zip(&*before).zip(&after) {
            let share = (after - before).saturating_mul(1_000_000) / period.nanos().max(1);
            stage.utilisation_ppm.store(share.min(1_000_000), Relaxed);
        }
        (*at, *before) = (now, after);
    }
}

fn plan(id: GroupId, group: &Group, stage: usize) -> StagePlan {
    let devices: Vec<DeviceId> = group.stage_devices(stage).to_vec();
    StagePlan { group: id, config: group.config, stage: stage as u32, devices, models: group.models.clone() }
}

/// Tells the threads of a run that it is over; those that are busy see it when they come back.
fn retire<F>(state: &State<F>) {
    if let State::Running { run, senders, .. } = state {
        run.retired.store(true, Relaxed);
        for sender in senders {
            // A full inbox means that the thread will look at the flag before long.
            let _ = sender.try_send(Parcel::Close);
        }
    }
}
