//! W3C trace context: the part of a `traceparent` header that tells which trace a request belongs to.

/// A trace that a client named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TraceContext {
    /// In the form of version 00, whatever version was given.
    header: String,
}

const HEADER_LENGTH: usize = 55;
/// Later versions may say more after what is known; this much is looked at.
const MOST: usize = 512;

impl TraceContext {
    /// The context in the value of a `traceparent` header; none if it is not well formed, as the recommendation says.
    pub(crate) fn parse(value: &[u8]) -> Option<Self> {
        if value.len() > MOST {
            return None;
        }
        let text = std::str::from_utf8(value).ok()?.trim_matches([' ', '\t']);
        let (known, rest) = text.split_at_checked(HEADER_LENGTH)?;
        let mut fields = known.split('-');
        let fields: [&str; 4] = [fields.next()?, fields.next()?, fields.next()?, fields.next()?];
        let [version, trace, parent, flags] = fields;
        let lengths = [2, 32, 16, 2];
        let well_formed = fields.iter().zip(lengths).all(|(field, length)| field.len() == length && is_hex(field));
        let ends = if version == "00" { rest.is_empty() } else { rest.is_empty() || rest.starts_with('-') };
        let named = [trace, parent].iter().all(|id| id.bytes().any(|digit| digit != b'0'));
        (well_formed && ends && named && version != "ff")
            .then(|| Self { header: format!("00-{trace}-{parent}-{flags}") })
    }

    /// As a header's value.
    pub(crate) fn header(&self) -> &str {
        &self.header
    }

    /// The trace, 32 hexadecimal digits.
    pub(crate) fn trace_id(&self) -> &str {
        &self.header[3..35]
    }
}

fn is_hex(field: &str) -> bool {
    field.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const PARENT: &str = "00f067aa0ba902b7";

    #[test]
    fn well_formed_contexts_are_taken_up_and_no_others() {
        let zeros = |n: usize| "0".repeat(n);
        let taken = |text: String| TraceContext::parse(text.as_bytes()).map(|context| context.trace_id().to_owned());
        for (text, good) in [
            (format!("00-{TRACE}-{PARENT}-01"), true),
            (format!("00-{TRACE}-{PARENT}-00"), true),
            (format!("  00-{TRACE}-{PARENT}-ff\t"), true),
            (format!("00-{TRACE}-{PARENT}-01-more"), false),
            (format!("cc-{TRACE}-{PARENT}-01-more"), true),
            (format!("cc-{TRACE}-{PARENT}-01"), true),
            (format!("cc-{TRACE}-{PARENT}-01.more"), false),
            (format!("ff-{TRACE}-{PARENT}-01"), false),
            (format!("00-{}-{PARENT}-01", TRACE.to_uppercase()), false),
            (format!("00-{}-{PARENT}-01", zeros(32)), false),
            (format!("00-{TRACE}-{}-01", zeros(16)), false),
            (format!("00-{TRACE}-{PARENT}-0"), false),
            (format!("00-{TRACE}-{PARENT}-0g"), false),
            (format!("00-{PARENT}-{TRACE}-01"), false),
            (format!("00_{TRACE}_{PARENT}_01"), false),
            (format!("cc-{TRACE}-{PARENT}-01-{}", zeros(MOST)), false),
            (format!("00-{TRACE}é{PARENT}-01"), false),
            (String::new(), false),
            ("-".repeat(HEADER_LENGTH), false),
        ] {
            assert_eq!(taken(text.clone()), good.then(|| TRACE.to_owned()), "{text}");
        }
        assert_eq!(TraceContext::parse(&[0xff; HEADER_LENGTH]), None);
        let later = TraceContext::parse(format!("cc-{TRACE}-{PARENT}-01-more").as_bytes()).expect("well formed");
        assert_eq!(later.header(), format!("00-{TRACE}-{PARENT}-01"));
    }
}
