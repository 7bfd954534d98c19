//! The serving engine: driver, supervisor and groups, without HTTP.

use crate::board::Board;
use crate::clock::{Clock, sharpen_timers};
use crate::driver::drive;
use crate::event_log::{Line, LogHealth, LogLines};
use crate::gateway::{Check, Gateway, ServedModel};
use crate::group::notice::Notice;
use crate::group::patience::Yardstick;
use crate::group::supervisor::{Supervision, Supervisor};
use crate::ledger::Ledger;
use crate::messages::Message;
use crate::request::Cause;
use crate::statistics::{HttpStatistics, Statistics};
use statmux_core::backend::{Backend, BackendError, Fault};
use statmux_core::{Cluster, GroupId, ModelId, ModelSpec, Placement, PlacementError, Span};
use statmux_sched::log::Entry;
use statmux_sched::{EventLog, Loss, Settings, StageTimes, TimesError, machine};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{Sender, SyncSender, channel, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// What is served from where.
#[derive(Clone, Debug)]
pub struct Deployment {
    /// The devices.
    pub cluster: Cluster,
    /// The models, by id.
    pub models: Vec<ModelSpec>,
    /// What is loaded where.
    pub placement: Placement,
}

/// How it is served.
#[derive(Clone, Debug)]
pub struct EngineSettings {
    /// What the scheduler is told.
    pub scheduler: Settings,
    /// Every predicted stage latency is the profile's times `1 + stage_penalty * pp`.
    pub stage_penalty: f64,
    /// When groups count as lost, and what is done about it.
    pub supervision: Supervision,
    /// The most requests inside at once; more are refused.
    pub concurrency: usize,
    /// What is kept of all events, to be replayed later.
    pub record: Record,
}

/// What is kept of events and actions.
#[derive(Clone, Debug, Default)]
pub enum Record {
    /// Nothing.
    #[default]
    Nothing,
    /// Everything, until the engine stops; memory grows with every request.
    Memory,
    /// Everything, sent elsewhere as it happens, such as to an [`event log`](crate::event_log::LogWriter).
    Sent(LogLines),
}

impl Default for EngineSettings {
    fn default() -> Self {
        Self {
            scheduler: Settings::default(),
            stage_penalty: 0.0,
            supervision: Supervision::default(),
            concurrency: 65_536,
            record: Record::Nothing,
        }
    }
}

/// What has been counted when an engine starts.
pub(crate) enum Past<'a> {
    /// By the HTTP front, before there was an engine.
    Front(HttpStatistics),
    /// By an engine that served the same models.
    Engine(&'a Statistics),
}

/// Why an engine could not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The cluster cannot hold the placement.
    #[error(transparent)]
    Placement(#[from] PlacementError),
    /// The placement names a configuration without a profile.
    #[error(transparent)]
    Times(#[from] TimesError),
    /// The placement loads nothing.
    #[error("the placement holds no model: nothing could be served")]
    Empty,
    /// The backend does not know a model.
    #[error("the backend cannot serve {model}")]
    Model {
        /// Which.
        model: String,
        /// Why.
        #[source]
        cause: BackendError,
    },
    /// No thread could be started.
    #[error("cannot start a thread")]
    Thread(#[source] std::io::Error),
    /// Not one group could be started.
    #[error("no group could be started; the last failure: {reason}")]
    NoGroup {
        /// Why the last one failed.
        reason: String,
        /// Whether what each was to load is at fault, such as weights that are not as they should be.
        setup: bool,
    },
}

impl StartError {
    /// Whether what was to be served is at fault, not the machine: it cannot be started until that is mended.
    pub fn is_of_input(&self) -> bool {
        match self {
            Self::Placement(_) | Self::Times(_) | Self::Empty => true,
            Self::Model { cause, .. } => cause.fault() == Fault::Setup,
            Self::NoGroup { setup, .. } => *setup,
            Self::Thread(_) => false,
        }
    }
}

/// A running engine.
#[derive(Debug)]
pub struct Engine {
    gateway: Arc<Gateway>,
    driver: SyncSender<Message>,
    supervisor: Sender<Notice>,
    driver_thread: JoinHandle<EventLog>,
    supervisor_thread: JoinHandle<()>,
}

impl Engine {
    /// Starts the groups of `deployment` on `backend`; returns when each is up or given up.
    ///
    /// # Errors
    /// If the placement cannot be carried out, or no group could be started.
    pub fn start<B: Backend + 'static>(
        backend: Arc<B>,
        deployment: Deployment,
        settings: EngineSettings,
    ) -> Result<Self, StartError> {
        Self::start_after(Past::Front(HttpStatistics::default()), backend, deployment, settings)
    }

    /// The same, with counts that go on from what was before.
    pub(crate) fn start_after<B: Backend + 'static>(
        past: Past<'_>,
        backend: Arc<B>,
        deployment: Deployment,
        settings: EngineSettings,
    ) -> Result<Self, StartError> {
        let Deployment { cluster, models, placement } = deployment;
        let max_batch = settings.scheduler.max_batch;
        placement.check(&cluster, &models, max_batch)?;
        if holds_nothing(&placement) {
            return Err(StartError::Empty);
        }
        let times = Arc::new(StageTimes::new(&placement, &cluster, &models, settings.stage_penalty, max_batch)?);
        let served = served_models(&*backend, &models, &placement, &times)?;
        let clock = Clock::start();
        let board = Arc::new(Board::new(placement.groups.iter().map(|g| g.config.pp as usize), models.len()));
        let names: Vec<String> = models.iter().map(|model| model.name.clone()).collect();
        let groups = placement.groups.clone();
        let statistics = Arc::new(match past {
            Past::Front(http) => {
                Statistics::new(&names, groups, Arc::clone(&board), http, log_health(&settings.record))
            }
            Past::Engine(former) => former.succeeded(groups, Arc::clone(&board)),
        });
        let inside = Arc::new(AtomicUsize::new(0));
        // Each request sends at most two messages; stages send few, and may wait.
        let (driver, inbox) = sync_channel(2 * settings.concurrency + 1024);
        let (notices, supervisor_inbox) = channel();

        let mut ledger = Ledger::new(
            Arc::clone(&times),
            settings.scheduler,
            Arc::clone(&board),
            Arc::clone(&statistics),
            Arc::clone(&inside),
        );
        let scheduler = machine(settings.scheduler, (*times).clone());
        // Groups are down until their weights are loaded.
        for group in 0..placement.groups.len() {
            let loss = Loss { returns: true, ..Loss::of(GroupId::from_index(group)) };
            driver.send(Message::Lost(loss)).expect("the inbox is open, and larger than the number of groups");
        }
        let driver_thread = spawn("driver", move || {
            sharpen_timers();
            let mut log = EventLog::default();
            match settings.record {
                Record::Nothing => drive(scheduler, &inbox, clock, &mut ledger, None),
                Record::Memory => {
                    let mut note = |entry, _: &Ledger| log.entries.push(entry);
                    drive(scheduler, &inbox, clock, &mut ledger, Some(&mut note));
                }
                Record::Sent(entries) => {
                    let mut note = |entry: Entry, ledger: &Ledger| {
                        let origin = ledger.origin(&entry.event);
                        entries.send(Line::Entry(entry, origin));
                    };
                    drive(scheduler, &inbox, clock, &mut ledger, Some(&mut note));
                }
            }
            log
        })?;
        let yardsticks =
            served.iter().zip(&models).map(|(served, spec)| Yardstick::new(&served.card, spec.profile.tokens()));
        let supervisor = Supervisor {
            backend: Arc::clone(&backend),
            placement: placement.groups.clone(),
            times,
            yardsticks: yardsticks.collect(),
            board: Arc::clone(&board),
            driver: driver.clone(),
            own: notices.clone(),
            clock,
            supervision: settings.supervision,
        };
        let supervisor_thread = spawn("supervisor", move || supervisor.supervise(&supervisor_inbox))?;
        let check: Check = Box::new(move |model, input| backend.start(model, vec![input]).map(drop));
        let gateway = Gateway {
            driver: driver.clone(),
            clock,
            by_name: served.iter().map(|model| (model.name.clone(), model.id)).collect(),
            models: served,
            placement,
            check,
            board,
            statistics,
            inside,
            concurrency: settings.concurrency,
            doors: Arc::default(),
            next_id: AtomicU64::new(0),
        };
        let engine = Self { gateway: Arc::new(gateway), driver, supervisor: notices, driver_thread, supervisor_thread };
        match engine.wait_until_settled() {
            Ok(()) => Ok(engine),
            Err(error) => {
                engine.stop();
                Err(error)
            }
        }
    }

    /// The way in.
    pub fn gateway(&self) -> &Arc<Gateway> {
        &self.gateway
    }

    /// Stops the driver and the groups, and returns the record of events (empty unless kept in memory). Nothing more
    /// is launched; whatever is still inside is refused as [`Cause::Draining`]: drain first.
    pub fn stop(self) -> EventLog {
        self.gateway.stop();
        self.stop_because(Cause::Draining)
    }

    /// Stops the driver and the groups; what is still inside is refused with `cause`.
    pub(crate) fn stop_because(self, cause: Cause) -> EventLog {
        // The driver first: what is inside is answered at once, even where a stage hangs.
        let _ = self.driver.send(Message::Stop(cause));
        let log = self.driver_thread.join().expect("the driver does not panic");
        let _ = self.supervisor.send(Notice::Stop);
        self.supervisor_thread.join().expect("the supervisor does not panic");
        log
    }

    fn wait_until_settled(&self) -> Result<(), StartError> {
        let groups = &self.gateway.board().groups;
        while groups.iter().any(|group| !group.up.load(Relaxed) && !group.taken_out.load(Relaxed)) {
            thread::sleep(Duration::from_millis(1));
        }
        if groups.iter().any(|group| group.up.load(Relaxed)) {
            return Ok(());
        }
        let failures = groups.iter().filter_map(|g| g.last_failure.lock().expect("never poisoned").clone());
        let reason = failures.last().unwrap_or_default();
        Err(StartError::NoGroup { reason, setup: groups.iter().all(|group| group.misconfigured.load(Relaxed)) })
    }
}

fn log_health(record: &Record) -> Option<&LogHealth> {
    match record {
        Record::Sent(lines) => Some(lines.health()),
        Record::Nothing | Record::Memory => None,
    }
}

/// Whether `placement` loads no model anywhere: a server of it could answer nothing.
pub fn holds_nothing(placement: &Placement) -> bool {
    placement.groups.iter().all(|group| group.models.is_empty())
}

fn spawn<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>, StartError> {
    thread::Builder::new().name(name.to_owned()).spawn(work).map_err(StartError::Thread)
}

fn served_models(
    backend: &impl Backend,
    models: &[ModelSpec],
    placement: &Placement,
    times: &StageTimes,
) -> Result<Vec<ServedModel>, StartError> {
    let holders = placement.holders(models.len());
    let served = models.iter().zip(holders).enumerate().map(|(index, (spec, holders))| {
        let id = ModelId::from_index(index);
        let unknown = |cause| StartError::Model { model: spec.name.clone(), cause };
        let latencies = holders.iter().filter_map(|&group| times.spans(group, id, 1));
        Ok(ServedModel {
            id,
            name: spec.name.clone(),
            slo: spec.slo_seconds().and_then(Span::from_seconds).unwrap_or(Span::MAX),
            card: backend.card(id).map_err(unknown)?,
            text: backend.text(id).map_err(unknown)?,
            idle_latency: latencies.map(|spans| spans.iter().copied().sum()).min(),
            holders,
        })
    });
    served.collect()
}
