//! Where long texts and bodies are read and written: a few at a time, and never on the back of other connections.
//!
//! Parsing, tokenising, decoding and writing take a processor for as long as their text is long. What is short is done
//! at once; the rest takes a place here first, and moves other connections off its thread while it works. Requests are
//! turned away where too many wait; answers are not, for devices have worked for them already.

use crate::http::error::ApiError;
use tokio::sync::Semaphore;

/// What is up to this long is done at once: well under a millisecond.
const SHORT: usize = 4 << 10;
/// How many may wait for a place.
const MOST_WAITING: usize = 256;

/// Places for long work.
#[derive(Debug)]
pub(super) struct Workbench {
    places: Semaphore,
    /// A permit for all who work or wait.
    room: Semaphore,
}

impl Workbench {
    pub(super) fn new(places: usize) -> Self {
        Self { places: Semaphore::new(places), room: Semaphore::new(places + MOST_WAITING) }
    }

    /// Does `work` on something of a request, of so many bytes.
    pub(super) async fn work<T>(&self, bytes: usize, work: impl FnOnce() -> T) -> Result<T, ApiError> {
        if bytes <= SHORT {
            return Ok(work());
        }
        let full = |_| ApiError::overloaded("too many long texts are waiting to be read");
        let _room = self.room.try_acquire().map_err(full)?;
        Ok(self.finish(bytes, work).await)
    }

    /// Does `work` on something of an answer, of so many bytes.
    pub(super) async fn finish<T>(&self, bytes: usize, work: impl FnOnce() -> T) -> T {
        if bytes <= SHORT {
            return work();
        }
        let _place = self.places.acquire().await.expect("the semaphore is never closed");
        tokio::task::block_in_place(work)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn requests_are_turned_away_where_too_many_wait_and_answers_are_not() {
        let bench = Workbench::new(2);
        assert!(bench.work(SHORT + 1, || ()).await.is_ok());
        let _waiting = bench.room.try_acquire_many(2 + MOST_WAITING as u32).expect("nobody else is there");
        assert!(bench.work(SHORT, || ()).await.is_ok(), "what is short needs no place");
        assert_eq!(bench.work(SHORT + 1, || ()).await.map_err(|error| error.status().as_u16()), Err(503));
        assert_eq!(bench.finish(SHORT + 1, || 7).await, 7);
    }
}
