//! Times as decimal seconds, exact to the nanosecond and without trailing zeros.

/// Appends `nanos` nanoseconds in seconds: 1_500_000_000 is `1.5`.
pub(crate) fn push_seconds(out: &mut Vec<u8>, nanos: u64) {
    push_integer(out, nanos / 1_000_000_000);
    let mut fraction = nanos % 1_000_000_000;
    if fraction == 0 {
        return;
    }
    let mut digits = [b'0'; 10];
    digits[0] = b'.';
    for digit in digits[1..].iter_mut().rev() {
        *digit = b'0' + (fraction % 10) as u8;
        fraction /= 10;
    }
    let end = digits.iter().rposition(|&digit| digit != b'0').expect("the point is no zero");
    out.extend_from_slice(&digits[..=end]);
}

/// Appends an integer in decimal.
pub(super) fn push_integer(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0_u8; 20];
    let mut start = digits.len();
    loop {
        start -= 1;
        digits[start] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[start..]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn seconds(nanos: u64) -> String {
        let mut out = Vec::new();
        push_seconds(&mut out, nanos);
        String::from_utf8(out).expect("digits")
    }

    #[test]
    fn zeros_at_the_end_are_left_out() {
        assert_eq!(seconds(0), "0");
        assert_eq!(seconds(1), "0.000000001");
        assert_eq!(seconds(1_500_000_000), "1.5");
        assert_eq!(seconds(10_000_000_000), "10");
        assert_eq!(seconds(u64::MAX), "18446744073.709551615");
    }

    proptest! {
        #[test]
        fn seconds_are_exact(nanos: u64) {
            let text = seconds(nanos);
            let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
            let read = whole.parse::<u64>().unwrap() * 1_000_000_000 + format!("{fraction:0<9}").parse::<u64>().unwrap();
            prop_assert_eq!(read, nanos);
        }
    }
}
