//! One stage of one run of a group: a thread that owns the backend's stage.

use crate::board::{Board, StageBoard};
use crate::clock::{Clock, sharpen_timers};
use crate::group::notice::Notice;
use crate::group::patience::{Load, Patience, Yardstick};
use crate::group::watch::Watch;
use crate::group::{PROBE, Passage};
use crate::messages::{Finished, Job, Message};
use statmux_core::backend::{Backend, BackendError, Fault, Output, Stage, StagePlan, Step};
use statmux_core::{BatchId, GroupId, ModelId, Span};
use statmux_sched::StageTimes;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, Sender, SyncSender};

/// What stage threads hand to each other.
pub(crate) enum Parcel<F> {
    /// For the first stage: a new batch.
    Job(Job),
    /// A batch on its way.
    Flow(F, Ticket),
    /// The run is over.
    Close,
}

/// What travels with a flow.
pub(crate) struct Ticket {
    batch: BatchId,
    model: ModelId,
    size: u32,
    streams: bool,
    load: Load,
    watch: Watch,
    /// Whether it has been round once.
    again: bool,
    /// Computing time so far.
    busy: Span,
}

/// What all stage threads of one run of a group share.
pub(crate) struct Run {
    pub(crate) group: GroupId,
    pub(crate) epoch: u64,
    /// Set when the supervisor has given this run up.
    pub(crate) retired: AtomicBool,
    /// Set when it has brought a batch to its end, the supervisor's own included: what fails then is not the group.
    pub(crate) proven: AtomicBool,
    /// Set when it has brought a batch of requests to its end.
    pub(crate) served: AtomicBool,
    pub(crate) passage: Passage,
}

/// Everything a stage thread needs.
pub(crate) struct StageThread<B: Backend> {
    pub(crate) backend: Arc<B>,
    pub(crate) plan: StagePlan,
    pub(crate) run: Arc<Run>,
    pub(crate) inbox: Receiver<Parcel<B::Flow>>,
    pub(crate) first: SyncSender<Parcel<B::Flow>>,
    /// The stage after this; none for the last.
    pub(crate) next: Option<SyncSender<Parcel<B::Flow>>>,
    pub(crate) driver: SyncSender<Message>,
    pub(crate) supervisor: Sender<Notice>,
    pub(crate) board: Arc<Board>,
    pub(crate) times: Arc<StageTimes>,
    pub(crate) clock: Clock,
    pub(crate) patience: Patience,
    /// By model.
    pub(crate) yardsticks: Arc<[Yardstick]>,
}

/// The run is over: the thread ends.
struct Over;

impl<B: Backend> StageThread<B> {
    /// Opens the stage, then serves until the run is over. Panics of the backend end here.
    pub(crate) fn serve(self) {
        sharpen_timers();
        let board = Arc::clone(&self.board);
        let stage_board = &board.groups[self.run.group.index()].stages[self.plan.stage as usize];
        stage_board.begin(None, self.clock.now() + self.patience.opening);
        let opened = guarded(|| self.backend.open(&self.plan));
        match opened {
            Ok(mut stage) => {
                stage_board.opened(stage.memory());
                self.tell_supervisor(Notice::Opened { group: self.run.group, epoch: self.run.epoch });
                while let Ok(parcel) = self.inbox.recv() {
                    if self.run.retired.load(Relaxed) || self.pass(&mut stage, parcel, stage_board).is_err() {
                        break;
                    }
                }
                // A stage that panicked may panic again as it goes.
                let _ = catch_unwind(AssertUnwindSafe(|| drop(stage)));
            }
            Err(failure) => self.fail(None, failure),
        }
    }

    /// Runs one lap of one batch and sends it on.
    fn pass(&self, stage: &mut B::Stage, parcel: Parcel<B::Flow>, board: &StageBoard) -> Result<(), Over> {
        let (flow, mut ticket) = match parcel {
            Parcel::Close => return Err(Over),
            Parcel::Flow(flow, ticket) => (Ok(flow), ticket),
            Parcel::Job(mut job) => {
                self.run.passage.enter();
                let codec = || self.backend.text(job.model).ok().flatten();
                let watch = Watch::new(&job.inputs, std::mem::take(&mut job.departures), codec);
                let ticket = Ticket {
                    batch: job.batch,
                    model: job.model,
                    size: job.inputs.len() as u32,
                    streams: job.streams,
                    load: Load::of(&job.inputs),
                    watch,
                    again: false,
                    busy: Span::ZERO,
                };
                (Err(job), ticket)
            }
        };
        let started = self.clock.now();
        let predicted = self.predicted(&ticket);
        let times_profiled = self.yardsticks[ticket.model.index()].times_profiled(ticket.load);
        board.begin(Some(ticket.batch), started + self.patience.with(predicted, times_profiled));
        let flow = flow.or_else(|job| guarded(|| self.backend.start(job.model, job.inputs)));
        let result = flow.and_then(|flow| guarded(|| Ok(self.end_members(stage.run(flow)?, &mut ticket.watch))));
        let busy = self.clock.now().since(started);
        if self.run.retired.load(Relaxed) {
            // It was given up on; the board belongs to its successor.
            return Err(Over);
        }
        board.end(busy, stage.memory());
        if !ticket.again {
            board.predicted_ns.fetch_add(predicted.nanos(), Relaxed);
        }
        ticket.busy += busy;
        self.pass_on(result, ticket)
    }

    /// Ends the members of a batch that goes round which have heard enough.
    fn end_members(&self, step: Step<B::Flow>, watch: &mut Watch) -> Step<B::Flow> {
        let Step::Again { flow, tokens } = step else { return step };
        let over = watch.over(&tokens);
        if over.is_empty() {
            return Step::Again { flow, tokens };
        }
        match self.backend.end(flow, &over) {
            Step::Again { flow, .. } => Step::Again { flow, tokens },
            step => step,
        }
    }

    fn pass_on(&self, result: Result<Step<B::Flow>, BackendError>, ticket: Ticket) -> Result<(), Over> {
        match (result, &self.next) {
            (Ok(Step::Next(flow)), Some(next)) => {
                if self.plan.stage == 0 && !ticket.again && self.run.passage.left_first_stage(ticket.batch) {
                    self.tell_freed(ticket.batch)?;
                }
                next.try_send(Parcel::Flow(flow, ticket)).map_err(|_| Over)
            }
            (Ok(Step::Again { flow, tokens }), None) => {
                // The first tokens are news to everybody: they are counted.
                if ticket.streams || !ticket.again {
                    let (group, epoch) = (self.run.group, self.run.epoch);
                    self.tell_driver(Message::Tokens { group, epoch, batch: ticket.batch, tokens })?;
                }
                let ticket = Ticket { again: true, load: ticket.load.next_lap(), ..ticket };
                self.first.try_send(Parcel::Flow(flow, ticket)).map_err(|_| Over)
            }
            (Ok(Step::Done(outputs)), None) if outputs.len() == ticket.size as usize => {
                self.finish(ticket, Ok(outputs))
            }
            (Ok(_), _) => {
                let reason = format!("stage {} answered out of turn or for another batch", self.plan.stage);
                self.fail(Some(ticket.batch), BackendError::StageLost { reason });
                Err(Over)
            }
            (Err(failure), _) if failure.fault() == Fault::Stage => {
                self.fail(Some(ticket.batch), failure);
                Err(Over)
            }
            (Err(failure), _) => self.finish(ticket, Err(failure)),
        }
    }

    fn finish(&self, ticket: Ticket, outputs: Result<Vec<Output>, BackendError>) -> Result<(), Over> {
        let (group, epoch) = (self.run.group, self.run.epoch);
        let owed = self.run.passage.leave();
        if outputs.is_ok() {
            self.run.proven.store(true, Relaxed);
        }
        if ticket.batch == PROBE {
            self.tell_supervisor(Notice::Probed { group, epoch });
            return Ok(());
        }
        if outputs.is_ok() {
            self.run.served.store(true, Relaxed);
        }
        let finished = Finished { group, epoch, batch: ticket.batch, busy: ticket.busy, outputs };
        self.tell_driver(Message::Finished(finished))?;
        owed.map_or(Ok(()), |batch| self.tell_freed(batch))
    }

    fn predicted(&self, ticket: &Ticket) -> Span {
        let spans = self.times.spans(self.run.group, ticket.model, ticket.size);
        spans.map_or(Span::ZERO, |spans| spans[self.plan.stage as usize])
    }

    fn tell_freed(&self, batch: BatchId) -> Result<(), Over> {
        self.tell_driver(Message::Freed { group: self.run.group, epoch: self.run.epoch, batch })
    }

    fn tell_driver(&self, message: Message) -> Result<(), Over> {
        self.driver.send(message).map_err(|_| Over)
    }

    fn fail(&self, batch: Option<BatchId>, failure: BackendError) {
        self.tell_supervisor(Notice::Failed { group: self.run.group, epoch: self.run.epoch, batch, failure });
    }

    fn tell_supervisor(&self, notice: Notice) {
        // The supervisor is gone when the server stops; then nobody wants to know.
        let _ = self.supervisor.send(notice);
    }
}

/// Runs a piece of the backend; a panic there is the loss of the stage.
pub(crate) fn guarded<T>(work: impl FnOnce() -> Result<T, BackendError>) -> Result<T, BackendError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let message = panic.downcast_ref::<String>().map(String::as_str);
        let message = message.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
        Err(BackendError::StageLost { reason: format!("panicked: {message}") })
    })
}
