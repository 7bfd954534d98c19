//! What will happen in a run, in one total order.

use statmux_core::Time;

/// Things that will happen, by time; of those at the same time, first what is urgent, then in the order in which
/// they were noted.
///
/// A binary heap of two integers for each: its time; and its urgency, count and place, which break ties. The two
/// are kept in columns, so that each is read as it was written: a pair read at once right after it was written in
/// halves would make the processor wait.
#[derive(Clone, Debug)]
pub(crate) struct Agenda<T> {
    at: Vec<u64>,
    within: Vec<u64>,
    things: Vec<T>,
    free: Vec<u32>,
    noted: u64,
}

/// Bits of an order that say where the thing is; of the rest, 39 count and one is the urgency.
const PLACE_BITS: u32 = 24;
const COUNT_BITS: u32 = 39;

impl<T: Copy> Agenda<T> {
    pub(crate) fn new() -> Self {
        Self { at: Vec::new(), within: Vec::new(), things: Vec::new(), free: Vec::new(), noted: 0 }
    }

    /// Notes that `thing` will happen at `at`.
    ///
    /// # Panics
    /// If more than 2^24 things are open, or more than 2^39 were noted.
    #[inline]
    pub(crate) fn note(&mut self, at: Time, urgent: bool, thing: T) {
        let place = match self.free.pop() {
            Some(place) => {
                self.things[place as usize] = thing;
                place
            }
            None => {
                self.things.push(thing);
                u32::try_from(self.things.len() - 1).expect("few things are open at a time")
            }
        };
        assert!(place < 1 << PLACE_BITS && self.noted < 1 << COUNT_BITS, "an agenda has its limits");
        let count = self.noted << PLACE_BITS | u64::from(place);
        let within = u64::from(!urgent) << 63 | count;
        self.noted += 1;
        self.at.push(at.nanos());
        self.within.push(within);
        self.rise(self.at.len() - 1, at.nanos(), within);
    }

    /// When the next thing happens.
    #[inline]
    pub(crate) fn next(&self) -> Option<Time> {
        self.at.first().map(|&at| Time::from_nanos(at))
    }

    /// The next thing.
    #[inline]
    pub(crate) fn pop(&mut self) -> Option<T> {
        let place = *self.within.first()? as u32 & ((1 << PLACE_BITS) - 1);
        let (at, within) = self.at.pop().zip(self.within.pop())?;
        if !self.at.is_empty() {
            self.sink(at, within);
        }
        self.free.push(place);
        Some(self.things[place as usize])
    }

    /// Puts an entry where it belongs on the way from `hole`, which is empty, to the first.
    #[inline]
    fn rise(&mut self, mut hole: usize, at: u64, within: u64) {
        let (ats, withins) = (&mut self.at[..], &mut self.within[..]);
        while hole > 0 {
            let parent = (hole - 1) / 2;
            if key(ats[parent], withins[parent]) < key(at, within) {
                break;
            }
            (ats[hole], withins[hole]) = (ats[parent], withins[parent]);
            hole = parent;
        }
        (ats[hole], withins[hole]) = (at, within);
    }

    /// Moves the earlier of each two up until the place of the first is filled, and puts an entry where that ends:
    /// it was the last, so it mostly belongs there, and no comparison with it on the way need be guessed.
    #[inline]
    fn sink(&mut self, at: u64, within: u64) {
        let len = self.at.len();
        let (ats, withins) = (&mut self.at[..len], &mut self.within[..len]);
        let mut hole = 0;
        let mut child = 1;
        while child + 1 < len {
            let right_is_earlier = key(ats[child + 1], withins[child + 1]) < key(ats[child], withins[child]);
            child += usize::from(right_is_earlier);
            (ats[hole], withins[hole]) = (ats[child], withins[child]);
            hole = child;
            child = 2 * hole + 1;
        }
        if child < len {
            (ats[hole], withins[hole]) = (ats[child], withins[child]);
            hole = child;
        }
        self.rise(hole, at, within);
    }
}

#[inline(always)]
fn key(at: u64, within: u64) -> u128 {
    u128::from(at) << 64 | u128::from(within)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_then_urgency_then_order_of_notes() {
        let mut agenda = Agenda::new();
        let notes = [(5, false, 'c'), (5, false, 'd'), (5, true, 'b'), (1, false, 'a'), (u64::MAX, true, 'e')];
        for (at, urgent, thing) in notes {
            agenda.note(Time::from_nanos(at), urgent, thing);
        }
        assert_eq!(agenda.next(), Some(Time::from_nanos(1)));
        let order: String = std::iter::from_fn(|| agenda.pop()).collect();
        assert_eq!(order, "abcde");
        for round in 0..5 {
            for n in 0..200_u64 {
                agenda.note(Time::from_nanos(n * 7919 % 61 + round), n % 3 == 0, char::from((n % 26) as u8 + b'a'));
            }
            let next = || {
                let at = agenda.next();
                agenda.pop().and(at)
            };
            let times: Vec<_> = std::iter::from_fn(next).collect();
            assert!(times.len() == 200 && times.is_sorted());
        }
        assert_eq!(agenda.next(), None);
    }
}
