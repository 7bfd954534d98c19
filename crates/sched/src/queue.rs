//! Requests that wait, most urgent first.

use statmux_core::{Request, RequestId, Time};
use std::collections::VecDeque;

/// A place in the order: the discipline's key, then the earlier arrival, then the lower id.
pub(crate) type Rank = (Time, Time, RequestId);

/// Waiting requests in order of rank.
/// Insertion is cheap where new requests usually rank last.
#[derive(Clone, Debug, Default)]
pub(crate) struct Queue {
    entries: VecDeque<(Rank, Request)>,
}

impl Queue {
    #[inline]
    pub(crate) fn insert(&mut self, rank: Rank, request: Request) {
        let mut at = self.entries.len();
        while at > 0 && self.entries[at - 1].0 > rank {
            at -= 1;
        }
        self.entries.insert(at, (rank, request));
    }
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }
    #[inline]
    pub(crate) fn get(&self, index: usize) -> Option<&(Rank, Request)> {
        self.entries.get(index)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Request> {
        self.entries.iter().map(|(_, request)| request)
    }
    #[inline]
    pub(crate) fn remove_at(&mut self, index: usize) -> Option<Request> {
        let entry = if index == 0 { self.entries.pop_front() } else { self.entries.remove(index) };
        entry.map(|(_, request)| request)
    }

    /// The request at exactly this rank and its position, if it still waits.
    #[inline]
    pub(crate) fn find(&self, rank: Rank) -> Option<(usize, Request)> {
        let position = self.entries.binary_search_by(|(other, _)| other.cmp(&rank)).ok()?;
        Some((position, self.entries[position].1))
    }

    /// Whether the request at exactly this rank still waits.
    #[inline]
    pub(crate) fn contains(&self, rank: Rank) -> bool {
        self.find(rank).is_some()
    }

    /// Where the request with this id waits, if it does.
    pub(crate) fn position(&self, id: RequestId) -> Option<usize> {
        self.entries.iter().position(|(_, request)| request.id == id)
    }

    pub(crate) fn drain(&mut self) -> impl Iterator<Item = Request> + '_ {
        self.entries.drain(..).map(|(_, request)| request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use statmux_core::ModelId;

    #[test]
    fn rank_decides_and_arrival_breaks_ties() {
        let request = |id| Request { id: RequestId(id), model: ModelId(0), arrived: Time::ZERO, deadline: Time::NEVER };
        let rank = |key, id| (Time::from_nanos(key), Time::ZERO, RequestId(id));
        let mut queue = Queue::default();
        for (key, id) in [(5, 0), (3, 1), (5, 2), (4, 3)] {
            queue.insert(rank(key, id), request(id));
        }
        let order: Vec<_> = queue.iter().map(|request| request.id.0).collect();
        assert_eq!(order, [1, 3, 0, 2]);
        assert_eq!(queue.find(rank(5, 0)).map(|(position, _)| position), Some(2));
        assert_eq!(queue.remove_at(2).map(|r| r.id.0), Some(0));
        assert!(!queue.contains(rank(5, 0)));
        assert_eq!(queue.position(RequestId(3)), Some(1));
        assert_eq!(queue.len(), 3);
    }
}
