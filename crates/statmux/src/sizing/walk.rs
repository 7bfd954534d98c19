//! The border between what does not hold and what does.

use std::ops::RangeInclusive;

/// The least number of `range` that holds, if holding goes on upwards from it: outwards from `start` in growing
/// strides until the border is passed, then by halves.
pub(super) fn least<E>(
    range: RangeInclusive<i64>,
    start: i64,
    mut holds: impl FnMut(i64) -> Result<bool, E>,
) -> Result<Option<i64>, E> {
    let (lowest, highest) = (*range.start(), *range.end());
    // `fails` and `enough` end up on either side of the border; one below the range counts as failing.
    let (mut fails, mut enough, mut stride);
    if holds(start)? {
        (enough, stride) = (start, 1);
        loop {
            if enough == lowest {
                return Ok(Some(lowest));
            }
            let next = (enough - stride).max(lowest);
            if holds(next)? {
                (enough, stride) = (next, 2 * stride);
            } else {
                fails = next;
                break;
            }
        }
    } else {
        (fails, stride) = (start, 1);
        loop {
            if fails == highest {
                return Ok(None);
            }
            let next = (fails + stride).min(highest);
            if holds(next)? {
                enough = next;
                break;
            }
            (fails, stride) = (next, 2 * stride);
        }
    }
    while enough - fails > 1 {
        let middle = fails + (enough - fails) / 2;
        if holds(middle)? { enough = middle } else { fails = middle }
    }
    Ok(Some(enough))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_border_is_found_from_anywhere() {
        for border in -5..=6 {
            for start in -4..=5 {
                let holds = |ease: i64| Ok::<_, ()>(ease >= border);
                let expected = (border <= 5).then_some(border.max(-4));
                assert_eq!(least(-4..=5, start, holds), Ok(expected), "from {start} to {border}");
            }
        }
    }
}
