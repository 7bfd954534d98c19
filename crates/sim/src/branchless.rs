//! Maximum of two integers by a conditional move.
//!
//! The compiler knows conditional moves, but on x86-64 it replaces those on the critical path of a loop by a
//! branch, hoping that it is predicted. Whether a stage is still busy when a batch arrives there is not
//! predictable, and on this loop the branches halve the speed; `std::hint::select_unpredictable` does not help,
//! since the selection is recognised as a maximum first. Hence two instructions by hand.

/// The larger of `a` and `b`.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub(crate) fn max(mut a: u64, b: u64) -> u64 {
    // SAFETY: two instructions on registers; they touch neither memory nor stack.
    unsafe {
        std::arch::asm!(
            "cmp {a}, {b}",
            "cmovb {a}, {b}",
            a = inout(reg) a,
            b = in(reg) b,
            options(pure, nomem, nostack)
        );
    }
    a
}

/// The larger of `a` and `b`.
#[cfg(not(target_arch = "x86_64"))]
#[inline(always)]
pub(crate) fn max(a: u64, b: u64) -> u64 {
    a.max(b)
}

#[cfg(test)]
mod tests {
    #[test]
    fn it_is_the_maximum() {
        let values = [0, 1, 2, u64::MAX / 2, u64::MAX / 2 + 1, u64::MAX - 1, u64::MAX];
        for (a, b) in values.iter().flat_map(|&a| values.map(|b| (a, b))) {
            assert_eq!(super::max(a, b), a.max(b));
        }
    }
}
