//! What all connections share from the first moment to the last, whatever is served: limits, keys, counts.

use crate::http::HttpSettings;
use crate::http::access::Access;
use crate::statistics::HttpStatistics;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{SystemTime, UNIX_EPOCH};

/// What all connections share.
#[derive(Debug)]
pub(crate) struct Desk {
    pub(crate) settings: Arc<HttpSettings>,
    pub(crate) access: Arc<Access>,
    pub(crate) statistics: HttpStatistics,
    /// Seconds since 1970 at which the server started.
    pub(crate) started_s: u64,
    requests: AtomicU64,
    /// Whether the server was told to stop.
    leaving: AtomicBool,
}

impl Desk {
    pub(crate) fn new(settings: HttpSettings) -> Arc<Self> {
        let access = Arc::new(Access::new(settings.keys.clone(), settings.host_names.clone()));
        Arc::new(Self {
            settings: Arc::new(settings),
            access,
            statistics: HttpStatistics::default(),
            started_s: now_s(),
            requests: AtomicU64::new(0),
            leaving: AtomicBool::new(false),
        })
    }

    /// An id that no other request of this server had, nor is likely to have on another.
    pub(super) fn fresh_id(&self) -> String {
        let number = self.requests.fetch_add(1, Relaxed);
        format!("{:x}-{number:x}", self.started_s)
    }

    /// From now on the server is not ready, and every answer says that it is the last one on its connection.
    pub(crate) fn leave(&self) {
        self.leaving.store(true, Relaxed);
    }

    /// Whether the server was told to stop: it may go on for a while, but nobody should count on it.
    pub(crate) fn is_leaving(&self) -> bool {
        self.leaving.load(Relaxed)
    }
}

/// Seconds since 1970.
pub(super) fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
