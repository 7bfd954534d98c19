//! One root seed, split by name into independent streams.

/// Where all chance in a run comes from.
///
/// A draw in one named stream moves nothing in another, so adding a random choice
/// somewhere leaves every other choice as it was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seed(pub u64);

impl Seed {
    /// The independent seed that belongs to `name`.
    pub fn stream(self, name: &str) -> Self {
        // FNV-1a over the name, then mixed with the root: any good hash would do; this one is fixed for good.
        let hash = name
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |h, byte| (h ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        self.nth(hash)
    }

    /// The independent seed that belongs to the number `n` (a model, a window, a repetition).
    pub fn nth(self, n: u64) -> Self {
        Self(mix(mix(self.0).wrapping_add(n).wrapping_add(0x9e37_79b9_7f4a_7c15)))
    }
}

/// The finaliser of SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014).
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn streams_differ_and_stay_the_same() {
        let root = Seed(7);
        let seeds: BTreeSet<_> = (0..1000).map(|n| root.nth(n)).chain([root.stream("a"), root.stream("b")]).collect();
        assert_eq!(seeds.len(), 1002);
        assert_eq!(root.stream("arrivals"), root.stream("arrivals"));
        assert_ne!(Seed(0).stream("arrivals"), Seed(1).stream("arrivals"));
    }
}
