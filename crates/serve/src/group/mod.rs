//! Threads and channels for the stages of groups, and what keeps them alive.
//!
//! Each stage of a group is a [thread](stage) that owns its [`Stage`](statmux_core::backend::Stage). Batches
//! enter at stage 0 as [jobs](crate::messages::Job), travel on as flows, and leave at the last stage, whose thread tells the driver.
//! The [`supervisor`] starts groups, watches for panics and hangs, and starts a lost group again or takes it out.
//!
//! **Invariant:** no channel between stages ever fills up: a group tells the scheduler that its first stage is
//! free only while fewer than [`Passage::limit`] batches are inside.

pub(crate) mod notice;
pub(crate) mod patience;
pub(crate) mod stage;
pub(crate) mod supervisor;
mod watch;

use statmux_core::BatchId;
use std::sync::Mutex;

/// The batch that the supervisor itself sends through a group, to see whether it works.
pub(crate) const PROBE: BatchId = BatchId(u64::MAX - 1);

/// Counts the batches inside a group, and remembers whether its first stage would be free but for their number.
#[derive(Debug)]
pub(crate) struct Passage {
    limit: usize,
    state: Mutex<Inside>,
}

#[derive(Debug, Default)]
struct Inside {
    batches: usize,
    /// The batch that left the first stage while the group was full.
    owed: Option<BatchId>,
}

impl Passage {
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, state: Mutex::default() }
    }

    pub(crate) fn enter(&self) {
        self.state.lock().expect("nobody panics while holding it").batches += 1;
    }

    /// `batch` has left the first stage for the first time. Returns whether that stage can take another.
    pub(crate) fn left_first_stage(&self, batch: BatchId) -> bool {
        let mut inside = self.state.lock().expect("nobody panics while holding it");
        let free = inside.batches < self.limit;
        if !free {
            inside.owed = Some(batch);
        }
        free
    }

    /// A batch has left the group. Returns the batch whose leaving the first stage may be told now.
    pub(crate) fn leave(&self) -> Option<BatchId> {
        let mut inside = self.state.lock().expect("nobody panics while holding it");
        inside.batches -= 1;
        inside.owed.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_group_owes_its_first_stage() {
        let passage = Passage::new(2);
        passage.enter();
        assert!(passage.left_first_stage(BatchId(0)));
        passage.enter();
        assert!(!passage.left_first_stage(BatchId(1)));
        assert_eq!(passage.leave(), Some(BatchId(1)));
        assert_eq!(passage.leave(), None);
    }
}
