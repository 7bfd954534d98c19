//! What the server shows of itself: counters that its threads write and `/metrics` reads.

use statmux_core::backend::{BackendError, Fault};
use statmux_core::{BatchId, Bytes, GroupId, Span, Time};
use std::sync::Mutex;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64};

/// The state of all groups and stages.
#[derive(Debug)]
pub struct Board {
    /// By group.
    pub groups: Vec<GroupBoard>,
    /// By model: requests that wait for a first stage.
    pub waiting: Vec<AtomicI64>,
}

/// The state of one group.
#[derive(Debug)]
pub struct GroupBoard {
    /// Whether it takes work.
    pub up: AtomicBool,
    /// Whether it was given up for good.
    pub taken_out: AtomicBool,
    /// How often it was started again.
    pub restarts: AtomicU64,
    /// Batches inside.
    pub running: AtomicI64,
    /// By stage.
    pub stages: Vec<StageBoard>,
    /// Whether it was last lost because what it is to load is not what it should be.
    pub misconfigured: AtomicBool,
    /// Why it was last lost.
    pub last_failure: Mutex<Option<String>>,
}

/// The state of one stage.
#[derive(Debug)]
pub struct StageBoard {
    /// Time spent computing, in nanoseconds.
    pub busy_ns: AtomicU64,
    /// What the profile predicted for the same batches, in nanoseconds.
    pub predicted_ns: AtomicU64,
    /// Laps run.
    pub laps: AtomicU64,
    /// Memory in use on its fullest device, in bytes.
    pub memory: AtomicU64,
    /// Share of the last second spent computing, in millionths.
    pub utilisation_ppm: AtomicU64,
    /// When what it does now counts as hung, in nanoseconds of the server's clock; `u64::MAX` while it waits.
    pub(crate) hung_at: AtomicU64,
    /// The batch that it runs, or ran last; `u64::MAX` for none.
    batch: AtomicU64,
}

impl Board {
    /// A board for groups with the given numbers of stages, and for so many models.
    pub fn new(stages: impl IntoIterator<Item = usize>, models: usize) -> Self {
        Self {
            groups: stages.into_iter().map(GroupBoard::new).collect(),
            waiting: (0..models).map(|_| AtomicI64::new(0)).collect(),
        }
    }

    /// The state of `group`.
    pub fn group(&self, group: GroupId) -> &GroupBoard {
        &self.groups[group.index()]
    }
}

impl GroupBoard {
    fn new(stages: usize) -> Self {
        Self {
            up: AtomicBool::new(false),
            taken_out: AtomicBool::new(false),
            restarts: AtomicU64::new(0),
            running: AtomicI64::new(0),
            stages: (0..stages).map(|_| StageBoard::new()).collect(),
            misconfigured: AtomicBool::new(false),
            last_failure: Mutex::new(None),
        }
    }

    /// One word for its state: `up`, `restarting` or `taken_out`.
    pub fn state(&self) -> &'static str {
        match (self.up.load(Relaxed), self.taken_out.load(Relaxed)) {
            (true, _) => "up",
            (false, false) => "restarting",
            (false, true) => "taken_out",
        }
    }

    pub(crate) fn note_failure(&self, failure: &BackendError) {
        self.misconfigured.store(failure.fault() == Fault::Setup, Relaxed);
        *self.last_failure.lock().expect("nobody panics while holding it") = Some(chain(failure));
    }
}

impl StageBoard {
    fn new() -> Self {
        Self {
            busy_ns: AtomicU64::new(0),
            predicted_ns: AtomicU64::new(0),
            laps: AtomicU64::new(0),
            memory: AtomicU64::new(0),
            utilisation_ppm: AtomicU64::new(0),
            hung_at: AtomicU64::new(u64::MAX),
            batch: AtomicU64::new(u64::MAX),
        }
    }

    pub(crate) fn opened(&self, memory: Bytes) {
        self.hung_at.store(u64::MAX, Relaxed);
        self.memory.store(memory.get(), Relaxed);
    }

    /// It begins to work, on `batch` if on any, and has hung if it is not through at `hung_at`.
    pub(crate) fn begin(&self, batch: Option<BatchId>, hung_at: Time) {
        self.batch.store(batch.map_or(u64::MAX, |batch| batch.0), Release);
        self.hung_at.store(hung_at.nanos(), Release);
    }

    pub(crate) fn end(&self, busy: Span, memory: Bytes) {
        self.opened(memory);
        self.busy_ns.fetch_add(busy.nanos(), Relaxed);
        self.laps.fetch_add(1, Relaxed);
    }

    /// Whether it has hung, and on which batch.
    pub(crate) fn hung(&self, now: Time) -> Option<Option<BatchId>> {
        // In this order: what is read first is then not of a later batch.
        let batch = self.batch.load(Acquire);
        let is_hung = self.hung_at.load(Acquire) < now.nanos();
        is_hung.then(|| (batch != u64::MAX).then_some(BatchId(batch)))
    }
}

/// An error and its causes, in one line.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        line = format!("{line}: {error}");
        cause = error.source();
    }
    line
}
