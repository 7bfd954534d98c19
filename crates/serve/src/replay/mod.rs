//! The other end of the wire: sends a workload to a server, and reports as the simulator does.
//!
//! Load is *open-loop*: every request is sent when the workload says, whatever became of those before it, and its
//! latency counts from then, so a slow server cannot hide behind a patient client (no coordinated omission).
//! [`Mode::Closed`] keeps a fixed number of requests in flight instead, to find how much a server can take.

mod connection;
mod payload;

use crate::clock::{Clock, sharpen_timers};
use connection::{Pool, Said};
use payload::Payloads;
use serde::Deserialize;
use statmux_core::metrics::LatencySummary;
use statmux_core::summary::GroupUse;
use statmux_core::{
    DeviceId, Group, GroupId, ModelId, ModelSpec, Outcome, ParallelConfig, Placement, Served, Span, Time, Workload,
};
use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::mpsc;

/// How a workload is replayed.
#[derive(Clone, Debug, PartialEq)]
pub struct ReplaySettings {
    /// The server, such as `http://127.0.0.1:8080` or `unix:/run/statmux.sock`.
    pub target: String,
    /// When requests are sent.
    pub mode: Mode,
    /// Tokens in prompts whose length the workload does not say.
    pub prompt_tokens: u32,
    /// Tokens asked for where the workload does not say.
    pub output_tokens: u32,
    /// A request without an answer after this long has failed.
    pub timeout: Duration,
    /// Shown to the server as `Authorization: Bearer KEY`.
    pub key: Option<String>,
}

/// When requests are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// When the workload says.
    Open,
    /// As soon as fewer than this many are unanswered; arrival times are when they were sent.
    Closed(usize),
}

impl ReplaySettings {
    /// Open-loop load on `target`.
    pub fn new(target: impl Into<String>) -> Self {
        Self {
            target: target.into(),
            mode: Mode::Open,
            prompt_tokens: 8,
            output_tokens: 16,
            timeout: Duration::from_secs(120),
            key: None,
        }
    }
}

/// What came of a replay.
#[derive(Clone, Debug)]
pub struct Replayed {
    /// One per request that is over, in the order of the workload, on its clock.
    pub outcomes: Vec<Outcome>,
    /// When each request was to be sent; in closed mode, when it was.
    pub arrived: Vec<Time>,
    /// What each group did for these requests.
    pub groups: Vec<GroupUse>,
    /// What the server says is loaded where.
    pub placement: Placement,
    /// How often each reason was given for not answering.
    pub reasons: BTreeMap<String, u64>,
    /// By how much requests were sent later than they should have been: the error of this measurement.
    pub lateness: Option<LatencySummary>,
    /// Connections that were opened.
    pub connections: usize,
    /// From the first request to the last answer.
    pub wall: Duration,
    /// How many requests of the workload were not over when the replay was told to stop, and are nowhere above.
    pub left_out: usize,
    /// The positions in the workload of those that were over, in order.
    pub over: Vec<usize>,
}

/// Why a replay could not begin.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// The address is no address.
    #[error(
        "`{target}` is neither an address such as http://127.0.0.1:8080 nor a socket such as unix:/run/statmux.sock"
    )]
    Target {
        /// What was given.
        target: String,
    },
    /// The server does not answer.
    #[error("cannot reach {target}")]
    Unreachable {
        /// What was given.
        target: String,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// The server answers something else than a statmux server would.
    #[error(
        "{target}{path} answered with status {status}{}",
        if *.status == 503 { ": it loads or stops; wait until /v2/health/ready says 200" } else { "" }
    )]
    Unexpected {
        /// What was given.
        target: String,
        /// What was asked for.
        path: String,
        /// What came.
        status: u16,
    },
    /// The server does not have a model of the workload.
    #[error("the server has no model `{model}`")]
    NoModel {
        /// Which.
        model: String,
    },
    /// No thread could be started.
    #[error("cannot start the client")]
    Client(#[source] io::Error),
}

/// What is known of one request once it is over.
struct Record {
    arrived: Time,
    sent: Time,
    finished: Time,
    said: Said,
}

/// What all requests share.
struct Replay {
    pool: Pool,
    payloads: Payloads,
    clock: Clock,
    timeout: Duration,
    records: Mutex<Vec<Option<Record>>>,
    done: Arc<AtomicUsize>,
    stopped: AtomicBool,
}

/// Before the first request, so that everything is in place.
const LEAD: Span = Span::from_millis(20);

/// Sends `workload` to a server; `done` counts the requests that are over.
///
/// # Errors
/// If the server cannot be reached or lacks a model. What goes wrong later is an outcome.
pub fn replay(
    workload: &Workload,
    models: &[ModelSpec],
    settings: &ReplaySettings,
    done: &Arc<AtomicUsize>,
) -> Result<Replayed, ReplayError> {
    replay_until(workload, models, settings, done, &|| false)
}

/// The same, until `stop` says so: then no more is sent, and what is not answered within a moment is left out.
///
/// # Errors
/// As [`replay`].
pub fn replay_until(
    workload: &Workload,
    models: &[ModelSpec],
    settings: &ReplaySettings,
    done: &Arc<AtomicUsize>,
    stop: &(dyn Fn() -> bool + Sync),
) -> Result<Replayed, ReplayError> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.map_err(ReplayError::Client)?;
    let pool = Pool::new(settings)?;
    let placement = runtime.block_on(fetch_placement(&pool, models))?;
    let payloads = runtime.block_on(Payloads::new(&pool, workload, models, settings))?;
    let connections = match settings.mode {
        Mode::Open => 8.min(workload.len()),
        Mode::Closed(clients) => clients.min(workload.len()),
    };
    runtime.block_on(pool.warm(connections))?;
    let replay = Arc::new(Replay {
        pool,
        payloads,
        clock: Clock::start(),
        timeout: settings.timeout,
        records: Mutex::new((0..workload.len()).map(|_| None).collect()),
        done: Arc::clone(done),
        stopped: AtomicBool::new(false),
    });
    match settings.mode {
        Mode::Open => run_open(&runtime, &replay, workload, stop),
        Mode::Closed(clients) => run_closed(&runtime, &replay, clients.max(1), stop),
    }
    let stopped = replay.stopped.load(Relaxed);
    let wall = replay.clock.now().since(Time::ZERO + LEAD);
    let records = std::mem::take(&mut *replay.records.lock().expect("no request panics while holding it"));
    let slo: Vec<Span> =
        models.iter().map(|model| model.slo_seconds().and_then(Span::from_seconds).unwrap_or(Span::MAX)).collect();
    let replayed = summarise(records, stopped, workload, &slo, placement);
    Ok(Replayed { wall: Duration::from_nanos(wall.nanos()), connections: replay.pool.opened(), ..replayed })
}

/// Paces on a thread of its own, which sleeps and then spins to each instant; requests run on the runtime.
fn run_open(
    runtime: &tokio::runtime::Runtime,
    replay: &Arc<Replay>,
    workload: &Workload,
    stop: &(dyn Fn() -> bool + Sync),
) {
    let (send, mut due) = mpsc::unbounded_channel::<(usize, Time)>();
    let sender = Arc::clone(replay);
    let mut sending = runtime.spawn(async move {
        let mut requests = tokio::task::JoinSet::new();
        while let Some((index, arrived)) = due.recv().await {
            let replay = Arc::clone(&sender);
            requests.spawn(async move { replay.request(index, arrived).await });
            while requests.try_join_next().is_some() {}
        }
        requests.join_all().await;
    });
    std::thread::scope(|scope| {
        scope.spawn(|| {
            sharpen_timers();
            for (index, &arrived) in workload.arrived.iter().enumerate() {
                let due = arrived + LEAD;
                if !replay.sleep_until(due, stop) {
                    break;
                }
                if send.send((index, due)).is_err() {
                    break;
                }
            }
            drop(send);
        });
    });
    // A request that panicked has no record, and so failed.
    replay.wait(runtime, &mut sending, stop);
}

fn run_closed(
    runtime: &tokio::runtime::Runtime,
    replay: &Arc<Replay>,
    clients: usize,
    stop: &(dyn Fn() -> bool + Sync),
) {
    let next = Arc::new(AtomicUsize::new(0));
    let total = replay.payloads.len();
    let clients = (0..clients).map(|_| {
        let (replay, next) = (Arc::clone(replay), Arc::clone(&next));
        runtime.spawn(async move {
            loop {
                let index = next.fetch_add(1, Relaxed);
                if index >= total || replay.stopped.load(Relaxed) {
                    return;
                }
                let now = replay.clock.now();
                replay.request(index, now).await;
            }
        })
    });
    let clients: Vec<_> = clients.collect();
    for mut client in clients {
        replay.wait(runtime, &mut client, stop);
    }
}

/// How often a replay looks whether it should stop.
const LOOK: Duration = Duration::from_millis(50);

/// How long a replay that should stop waits for what it has sent.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

impl Replay {
    /// Waits until `at`; `false` if told to stop before.
    fn sleep_until(&self, at: Time, stop: &(dyn Fn() -> bool + Sync)) -> bool {
        loop {
            if stop() {
                self.stopped.store(true, Relaxed);
                return false;
            }
            if self.clock.until(at) <= LOOK {
                self.clock.sleep_until(at);
                return true;
            }
            std::thread::sleep(LOOK / 2);
        }
    }

    /// Waits for `work`; once told to stop, for a moment only.
    fn wait(
        &self,
        runtime: &tokio::runtime::Runtime,
        work: &mut tokio::task::JoinHandle<()>,
        stop: &(dyn Fn() -> bool + Sync),
    ) {
        runtime.block_on(async {
            while tokio::time::timeout(LOOK, &mut *work).await.is_err() {
                if stop() {
                    self.stopped.store(true, Relaxed);
                    let _ = tokio::time::timeout(LAST_ANSWERS, &mut *work).await;
                    work.abort();
                    return;
                }
            }
        });
    }

    async fn request(&self, index: usize, arrived: Time) {
        let sent = self.clock.now();
        let asked = self.pool.post(self.payloads.of(index));
        let said = tokio::time::timeout(self.timeout, asked).await.unwrap_or(Said::nothing("timeout"));
        let record = Record { arrived, sent, finished: self.clock.now(), said };
        self.records.lock().expect("no request panics while holding it")[index] = Some(record);
        self.done.fetch_add(1, Relaxed);
    }
}

fn summarise(
    records: Vec<Option<Record>>,
    stopped: bool,
    workload: &Workload,
    model_slo: &[Span],
    placement: Placement,
) -> Replayed {
    let requests = records.len();
    let mut over = Vec::with_capacity(requests);
    let mut groups = vec![GroupUse::default(); placement.groups.len()];
    let mut reasons = BTreeMap::new();
    let mut lateness = Vec::with_capacity(records.len());
    let (mut outcomes, mut arrived) = (Vec::with_capacity(records.len()), Vec::with_capacity(records.len()));
    for (index, record) in records.into_iter().enumerate() {
        if record.is_none() && stopped {
            continue;
        }
        over.push(index);
        let Some(record) = record else {
            arrived.push(workload.arrived[index]);
            outcomes.push(Outcome::Failed);
            continue;
        };
        let at = record.arrived.before(LEAD);
        lateness.push(record.sent.since(record.arrived));
        arrived.push(at);
        let slo = workload.slo.get(index).copied().unwrap_or(model_slo[workload.model[index].index()]);
        let outcome = match record.said {
            Said::Answer { group, run, busy } => {
                if let Some(used) = groups.get_mut(group as usize) {
                    used.requests += 1;
                    used.busy += busy;
                }
                let finished = record.finished.before(LEAD);
                let in_slo = finished.since(at) <= slo;
                Outcome::Served(Served { group: GroupId(group), started: finished.before(run), finished, in_slo })
            }
            Said::Refusal { status, reason } => {
                let outcome = match (status, reason.as_str()) {
                    (_, "no_replica") => Outcome::NoReplica,
                    (429, _) | (_, "overloaded" | "draining") => Outcome::Rejected,
                    _ => Outcome::Failed,
                };
                *reasons.entry(reason).or_insert(0) += 1;
                outcome
            }
        };
        outcomes.push(outcome);
    }
    let lateness = LatencySummary::new(&mut lateness);
    let (left_out, wall) = (requests - over.len(), Duration::ZERO);
    Replayed { outcomes, arrived, groups, placement, reasons, lateness, connections: 0, wall, left_out, over }
}

/// `/placement`, as far as it matters here.
#[derive(Deserialize)]
struct PlacementBody {
    groups: Vec<GroupBody>,
}

#[derive(Deserialize)]
struct GroupBody {
    devices: Vec<u32>,
    op: u32,
    pp: u32,
    models: Vec<String>,
}

async fn fetch_placement(pool: &Pool, models: &[ModelSpec]) -> Result<Placement, ReplayError> {
    let body: PlacementBody = pool.fetch("/placement").await?;
    let groups = body.groups.into_iter().map(|group| {
        let id = |name: &String| models.iter().position(|model| model.name == *name).map(ModelId::from_index);
        let mut held: Vec<ModelId> = group.models.iter().filter_map(id).collect();
        held.sort_unstable();
        Group {
            devices: group.devices.into_iter().map(DeviceId).collect(),
            config: ParallelConfig::new(group.op, group.pp),
            models: held,
        }
    });
    Ok(Placement { groups: groups.collect() })
}
