//! How many requests of a model ended how, and how long they took: sums for clients that ask, kept while placements
//! come and go.

use crate::course::Course;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{SystemTime, UNIX_EPOCH};

/// Sums since the server started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Requests answered.
    pub served: u64,
    /// Batches launched.
    pub batches: u64,
    /// Requests refused, for whatever reason.
    pub refused: u64,
    /// Nanoseconds that answered requests waited, from arrival to launch.
    pub queue_ns: u64,
    /// Nanoseconds that answered requests ran, from launch to answer.
    pub run_ns: u64,
    /// When the last one was answered, in milliseconds since 1970; 0 before the first.
    pub last_ms: u64,
}

/// Totals that grow.
#[derive(Debug, Default)]
pub(crate) struct Growing {
    served: AtomicU64,
    batches: AtomicU64,
    refused: AtomicU64,
    queue_ns: AtomicU64,
    run_ns: AtomicU64,
    last_ms: AtomicU64,
}

impl Growing {
    pub(crate) fn serve(&self, course: &Course) {
        self.served.fetch_add(1, Relaxed);
        self.queue_ns.fetch_add(course.started.since(course.arrived).nanos(), Relaxed);
        self.run_ns.fetch_add(course.finished.since(course.started).nanos(), Relaxed);
        let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
        self.last_ms.fetch_max(now_ms, Relaxed);
    }

    pub(crate) fn launch(&self) {
        self.batches.fetch_add(1, Relaxed);
    }

    pub(crate) fn refuse(&self) {
        self.refused.fetch_add(1, Relaxed);
    }

    pub(crate) fn so_far(&self) -> Totals {
        Totals {
            served: self.served.load(Relaxed),
            batches: self.batches.load(Relaxed),
            refused: self.refused.load(Relaxed),
            queue_ns: self.queue_ns.load(Relaxed),
            run_ns: self.run_ns.load(Relaxed),
            last_ms: self.last_ms.load(Relaxed),
        }
    }
}
