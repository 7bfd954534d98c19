//! Memory that all requests share: for bodies that come in, and for answers until they are sent.
//!
//! A [`Share`] grows before the memory does that it stands for, and is given back with it. Large shares leave a part of
//! the budget alone, so that ordinary requests get in beside them.

use axum::body::Bytes;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Memory for one purpose.
#[derive(Debug)]
pub(super) struct Budget {
    limit: usize,
    /// Shares up to this size are ordinary.
    ordinary: usize,
    taken: AtomicUsize,
}

/// One part in so many is for ordinary shares alone.
const SET_ASIDE: usize = 4;

/// One request's part of a budget; given back when it is dropped.
#[derive(Debug)]
pub(super) struct Share {
    budget: Arc<Budget>,
    held: usize,
    /// What the same request held elsewhere when this was begun, and will hold beside it.
    beside: usize,
}

/// A share that cannot grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Shortage {
    /// Others hold what it would take; they will give it back.
    #[error("other requests take all the memory there is")]
    ForNow,
    /// There is not so much memory at all.
    #[error("there are {room} bytes of memory in all")]
    ForEver {
        /// What there is for one large share.
        room: usize,
    },
}

impl Budget {
    /// So many bytes, for shares of which those up to `ordinary` bytes may take all.
    pub(super) fn new(limit: usize, ordinary: usize) -> Arc<Self> {
        Arc::new(Self { limit, ordinary, taken: AtomicUsize::new(0) })
    }

    /// A share that holds nothing yet.
    pub(super) fn share(self: &Arc<Self>) -> Share {
        Share { budget: Arc::clone(self), held: 0, beside: 0 }
    }

    /// What all shares may take together when one of them is about to be of `bytes`.
    fn room(&self, bytes: usize) -> usize {
        if bytes <= self.ordinary { self.limit } else { self.limit - self.limit / SET_ASIDE }
    }
}

impl Share {
    /// Another share of the same request.
    pub(super) fn another(&self) -> Self {
        Self { budget: Arc::clone(&self.budget), held: 0, beside: self.beside + self.held }
    }

    /// Holds so many bytes from now on, more or fewer than before; unchanged where there are not so many.
    pub(super) fn hold(&mut self, bytes: usize) -> Result<(), Shortage> {
        if bytes <= self.held {
            self.budget.taken.fetch_sub(self.held - bytes, Relaxed);
            self.held = bytes;
            return Ok(());
        }
        let room = self.budget.room(bytes);
        if bytes > room.saturating_sub(self.beside) {
            return Err(Shortage::ForEver { room });
        }
        let more = bytes - self.held;
        let grown = |taken: usize| taken.checked_add(more).filter(|&taken| taken <= room);
        self.budget.taken.fetch_update(Relaxed, Relaxed, grown).map_err(|_| Shortage::ForNow)?;
        self.held = bytes;
        Ok(())
    }

    /// How many bytes it holds.
    pub(super) fn held(&self) -> usize {
        self.held
    }

    /// `bytes` as something to send: the share holds no more than that now, and lasts as long as they do.
    pub(super) fn keep(mut self, bytes: Vec<u8>) -> Bytes {
        let size = bytes.capacity().min(self.held);
        self.hold(size).expect("a share can always shrink");
        Bytes::from_owner(Kept { bytes, _share: self })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.taken.fetch_sub(self.held, Relaxed);
    }
}

/// What is to be sent, and its share.
struct Kept {
    bytes: Vec<u8>,
    _share: Share,
}

impl AsRef<[u8]> for Kept {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn taken(budget: &Budget) -> usize {
        budget.taken.load(Relaxed)
    }

    #[test]
    fn large_shares_leave_room_for_ordinary_ones() {
        let budget = Budget::new(100, 10);
        let (mut first, mut second, mut small) = (budget.share(), budget.share(), budget.share());
        assert_eq!(first.hold(76), Err(Shortage::ForEver { room: 75 }));
        assert_eq!((first.hold(60), second.hold(16)), (Ok(()), Err(Shortage::ForNow)));
        assert_eq!((second.hold(15), small.hold(11)), (Ok(()), Err(Shortage::ForNow)));
        assert_eq!((small.hold(10), taken(&budget)), (Ok(()), 85));
        drop(first);
        assert_eq!(second.hold(65), Ok(()));
        // What a request holds already nobody will give back to it.
        let mut third = second.another();
        assert_eq!(third.hold(11), Err(Shortage::ForEver { room: 75 }));
        drop(small);
        assert_eq!(third.hold(10), Ok(()));
    }

    #[test]
    fn what_is_kept_is_held_until_its_last_copy_is_gone() {
        let budget = Budget::new(100, 10);
        let mut share = budget.share();
        share.hold(50).expect("there is room");
        let kept = share.keep(vec![7; 20]);
        let copy = kept.slice(3..5);
        drop(kept);
        assert_eq!((&copy[..], taken(&budget)), (&[7, 7][..], 20));
        drop(copy);
        assert_eq!(taken(&budget), 0);
    }

    proptest! {
        #[test]
        fn shares_never_hold_more_than_there_is_and_give_all_back(
            limit in 0_usize..1000,
            ordinary in 0_usize..50,
            wishes in proptest::collection::vec((0_usize..5, 0_usize..600), 0..60),
        ) {
            let budget = Budget::new(limit, ordinary);
            let mut shares: Vec<Share> = (0..5).map(|_| budget.share()).collect();
            for (index, bytes) in wishes {
                let before = shares[index].held();
                let others: usize = shares.iter().map(Share::held).sum::<usize>() - before;
                let granted = shares[index].hold(bytes);
                prop_assert_eq!(shares[index].held(), if granted.is_ok() { bytes } else { before });
                let fits = bytes <= before || others + bytes <= budget.room(bytes);
                prop_assert_eq!(granted.is_ok(), fits);
                prop_assert_eq!(taken(&budget), shares.iter().map(Share::held).sum::<usize>());
                prop_assert!(taken(&budget) <= limit);
            }
            drop(shares);
            prop_assert_eq!(taken(&budget), 0);
        }
    }
}
