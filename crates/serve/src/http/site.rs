//! What is served at present, and how another placement takes its place.
//!
//! As in the simulator, each placement has a scheduler of its own, which begins with idle groups: an engine is
//! drained and stopped before the next one starts, so that no device is asked to hold two placements at once.
//!
//! **Invariant:** a request is handled by one front from its first byte to its last; the engine behind it stops only
//! when it has no request inside, or when the drain limit has passed.

use crate::engine::{Engine, EngineSettings, Past, Record, StartError, holds_nothing};
use crate::event_log::{Line, LogHeader};
use crate::gateway::Gateway;
use crate::http::desk::Desk;
use crate::http::replace_error::ReplaceError;
use crate::http::{Front, router};
use crate::request::Cause;
use crate::statistics::Statistics;
use axum::Router;
use statmux_core::files::{FileError, PlacementFile, SchedulingEntry};
use statmux_core::{Cluster, ModelSpec, Placement, PlacementWindows};
use statmux_sched::EventLog;
use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, RwLock};
use std::thread;
use std::time::{Duration, Instant};

/// Starts an engine on a placement, with counts that go on from those given.
pub(crate) type Starter = Box<dyn Fn(Placement, Past<'_>) -> Result<Engine, StartError> + Send + Sync>;

/// What stays when the placement changes.
pub(crate) struct Ground {
    pub(crate) cluster: Cluster,
    pub(crate) models: Vec<ModelSpec>,
    pub(crate) settings: EngineSettings,
    pub(crate) start: Starter,
}

/// What is served at present.
pub(crate) struct Site {
    ground: Ground,
    live: RwLock<Live>,
    /// Held while it is being replaced; none if no placement could be started.
    engine: Mutex<Option<Engine>>,
    desk: Arc<Desk>,
    /// Whether nobody will be served any more.
    closed: AtomicBool,
}

/// One placement as connections see it.
struct Live {
    front: Arc<Front>,
    router: Router,
}

impl Live {
    fn new(front: Arc<Front>) -> Self {
        Self { router: router(Arc::clone(&front)), front }
    }
}

impl Site {
    /// A site that serves `placement`.
    pub(crate) fn open(ground: Ground, placement: Placement, desk: &Arc<Desk>) -> Result<Arc<Self>, StartError> {
        let engine = (ground.start)(placement, Past::Front(desk.statistics.clone()))?;
        let gateway = Arc::clone(engine.gateway());
        Ok(Arc::new_cyclic(|site| {
            let live = RwLock::new(Live::new(Front::new(gateway, Arc::clone(desk), site.clone())));
            let (engine, desk, closed) = (Mutex::new(Some(engine)), Arc::clone(desk), AtomicBool::new(false));
            Self { ground, live, engine, desk, closed }
        }))
    }

    /// The front at present.
    pub(crate) fn front(&self) -> Arc<Front> {
        Arc::clone(&self.live.read().expect("nobody panics while holding it").front)
    }

    /// The paths of the front at present.
    pub(crate) fn router(&self) -> Router {
        self.live.read().expect("nobody panics while holding it").router.clone()
    }

    /// The gateway at present.
    pub(crate) fn gateway(&self) -> Arc<Gateway> {
        Arc::clone(&self.front().gateway)
    }

    /// The placement in `file`, checked as a placement file is.
    pub(crate) fn resolve(&self, file: PlacementFile) -> Result<Placement, FileError> {
        let Ground { cluster, models, settings, .. } = &self.ground;
        let path = Path::new("the placement");
        let scheduler = &settings.scheduler;
        let served = SchedulingEntry {
            dispatch: scheduler.dispatch.name().to_owned(),
            discipline: scheduler.discipline.name().to_owned(),
            max_batch: scheduler.max_batch.max(1),
        };
        if let Some(other) = file.scheduling().filter(|&entry| *entry != served) {
            let what = format!("is {other:?}, but the server runs with {served:?}");
            return Err(FileError::at_field(path, "scheduling", what).with_help("start a server for the new options"));
        }
        let windows = file.resolve(path, cluster, models, scheduler.max_batch)?;
        match <[_; 1]>::try_from(windows.0) {
            Ok([only]) if holds_nothing(&only.placement) => {
                let what = "hold no model: nothing could be served";
                Err(FileError::at_field(path, "windows", what).with_help("drain the server to stop serving"))
            }
            Ok([only]) => Ok(only.placement),
            Err(several) => {
                let what = format!("are {}, but a server carries out one placement at a time", several.len());
                Err(FileError::at_field(path, "windows", what))
            }
        }
    }

    /// Serves from `placement` instead; returns when each of its groups is up or taken out.
    pub(crate) fn replace(&self, placement: &Placement) -> Result<(), ReplaceError> {
        let result = self.change(placement);
        if self.closed.load(SeqCst) {
            // It was closed meanwhile, and nobody waited for this.
            self.close();
        }
        result
    }

    fn change(&self, placement: &Placement) -> Result<(), ReplaceError> {
        let Ok(mut engine) = self.engine.try_lock() else { return Err(ReplaceError::Busy) };
        let front = self.front();
        let gateway = &front.gateway;
        if self.desk.is_leaving() || gateway.is_draining() && engine.is_some() {
            return Err(ReplaceError::Draining);
        }
        if gateway.placement() == placement && engine.is_some() {
            return Ok(());
        }
        tracing::info!(inside = gateway.inside(), "changing the placement");
        gateway.give_way();
        let limit = Instant::now() + front.settings.drain_limit;
        while gateway.inside() > 0 && Instant::now() < limit {
            thread::sleep(Duration::from_millis(1));
        }
        if let Some(former) = engine.take() {
            former.stop_because(Cause::Replacing);
        }
        if gateway.is_stopping() {
            return Err(ReplaceError::Draining);
        }
        let (started, result) = match self.start(placement, &gateway.statistics) {
            Ok(started) => (Some(started), Ok(())),
            Err(cause) => {
                let restored = self.start(gateway.placement(), &gateway.statistics).ok();
                let failed = ReplaceError::Start { cause, restored: restored.is_some() };
                (restored, Err(failed))
            }
        };
        match started {
            Some(started) => {
                let succeeding = Live::new(front.succeeded(Arc::clone(started.gateway())));
                let mut live = self.live.write().expect("nobody panics while holding it");
                // What it was told meanwhile; from here on it is told to the new one.
                started.gateway().succeed(gateway);
                *live = succeeding;
                drop(live);
                *engine = Some(started);
            }
            None => gateway.close(),
        }
        result
    }

    /// Tells the gateway at present something that its successors are to know, too.
    pub(crate) fn tell<T>(&self, told: impl FnOnce(&Gateway) -> T) -> T {
        told(&self.live.read().expect("nobody panics while holding it").front.gateway)
    }

    /// Stops the engine, and returns its record of events. One that is being started just now is stopped when it has
    /// started, and not waited for.
    pub(crate) fn close(&self) -> EventLog {
        self.tell(Gateway::stop);
        self.closed.store(true, SeqCst);
        let engine = self.engine.try_lock().ok().and_then(|mut engine| engine.take());
        engine.map_or_else(EventLog::default, Engine::stop)
    }

    fn start(&self, placement: &Placement, former: &Statistics) -> Result<Engine, StartError> {
        let Ground { models, settings, start, .. } = &self.ground;
        if let Record::Sent(lines) = &settings.record {
            let names = models.iter().map(|model| model.name.clone()).collect();
            let file = PlacementFile::new(&PlacementWindows::fixed(placement.clone()), models);
            let retries = settings.scheduler.retries_after_loss;
            lines.send(Line::Placed(LogHeader::new(names, file, retries)));
        }
        start(placement.clone(), Past::Engine(former))
    }
}

impl fmt::Debug for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Site").field("gateway", &self.gateway()).finish_non_exhaustive()
    }
}
