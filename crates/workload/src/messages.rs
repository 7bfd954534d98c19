//! How what a file holds is quoted in messages.

/// A name cut to what fits in a message.
pub(crate) fn shorten(text: &str) -> String {
    if text.chars().count() <= 60 { text.to_owned() } else { text.chars().take(57).chain("…".chars()).collect() }
}

/// The message for a time that is negative, not a number or absurdly late.
pub(crate) fn bad_seconds(name: &str, seconds: f64) -> String {
    let why = if seconds < 0.0 { "which is negative" } else { "which is not a time in seconds" };
    format!("{name} is {seconds}, {why}")
}
