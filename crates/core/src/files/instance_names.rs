//! How the instances of a `[[models]]` entry are called.

/// Why an entry's names cannot be used: the key, what is wrong, and the remedy.
pub(super) type Wrong = (&'static str, String, Option<String>);

/// The names of an entry's instances: those listed, or `count` made of a pattern, `{i}` counting from 0.
///
/// `{i:02}` writes the number with at least two digits.
pub(super) fn names(
    name: Option<&str>,
    listed: Option<&[String]>,
    count: Option<u32>,
    most: usize,
) -> Result<Vec<String>, Wrong> {
    let wrong = |key, what: String| (key, what, None);
    if count == Some(0) {
        return Err((
            "count",
            "is 0: an entry describes at least one model".to_owned(),
            Some("leave the entry out".to_owned()),
        ));
    }
    let names: Vec<String> = match (name, listed) {
        (Some(_), Some(_)) => return Err(wrong("names", "and name are both given: one says it all".to_owned())),
        (None, None) => return Err(wrong("name", "is missing".to_owned())),
        (None, Some([])) => return Err(wrong("names", "is empty".to_owned())),
        (None, Some(listed)) => {
            if let Some(count) = count.filter(|&count| count as usize != listed.len()) {
                return Err(wrong("names", format!("lists {} names, but count is {count}", listed.len())));
            }
            listed.to_vec()
        }
        (Some(name), None) => {
            let count = count.unwrap_or(1);
            if count as usize > most {
                return Err(wrong("count", format!("is {count}: over {most} models are not supported")));
            }
            let pattern = Pattern::read(name).map_err(|what| wrong("name", what))?;
            if count > 1 && !pattern.counts() {
                let help = Some(format!("write name = \"{name}{{i}}\""));
                return Err(("name", "has no {i}, so its models would share one name".to_owned(), help));
            }
            (0..count).map(|i| pattern.fill(i)).collect()
        }
    };
    match names.iter().find(|name| name.trim().is_empty() || name.contains(char::is_control)) {
        Some(name) => {
            let key = if listed.is_some() { "names" } else { "name" };
            Err(wrong(key, format!("yields the name {name:?}, which is empty or not printable")))
        }
        None => Ok(names),
    }
}

/// A name with places for a number.
struct Pattern<'a> {
    /// Text, and behind all but the last the digits that the number has at least.
    parts: Vec<(&'a str, usize)>,
}

impl<'a> Pattern<'a> {
    fn read(name: &'a str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut rest = name;
        while let Some(start) = rest.find("{i") {
            let behind = &rest[start + 2..];
            let Some(end) = behind.find('}') else { break };
            let digits = match &behind[..end] {
                "" => 0,
                format => format
                    .strip_prefix(":0")
                    .and_then(|digits| digits.parse().ok())
                    .filter(|digits| (1..=9).contains(digits))
                    .ok_or_else(|| format!("has `{{i{format}}}`; write {{i}}, or {{i:02}} for at least two digits"))?,
            };
            parts.push((&rest[..start], digits));
            rest = &behind[end + 1..];
        }
        parts.push((rest, 0));
        Ok(Self { parts })
    }

    fn counts(&self) -> bool {
        self.parts.len() > 1
    }

    fn fill(&self, number: u32) -> String {
        let (last, numbered) = self.parts.split_last().expect("there is always a last part");
        let mut name: String = numbered.iter().map(|(text, digits)| format!("{text}{number:0digits$}")).collect();
        name.push_str(last.0);
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_listed_or_counted() {
        let patterns = |name, count| names(Some(name), None, Some(count), 1000).map_err(|(key, ..)| key);
        let owned = |names: &[&str]| Ok::<_, &str>(names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>());
        assert_eq!(patterns("m{i}", 2), owned(&["m0", "m1"]));
        assert_eq!(patterns("m{i:02}", 2), owned(&["m00", "m01"]));
        assert_eq!(patterns("{i:03}/{i}-x", 1), owned(&["000/0-x"]));
        assert_eq!(patterns("m{i:01}", 11).map(|names| names[10].clone()), Ok("m10".to_owned()));
        assert_eq!(patterns("{x}", 1), owned(&["{x}"]));
        assert_eq!(patterns("m", 1), owned(&["m"]));
        for (name, count) in
            [("m", 2), ("m{i:2}", 1), ("m{i:0}", 1), ("m{i:0x}", 2), ("m{i:010}", 1), ("", 1), (" ", 1)]
        {
            assert_eq!(patterns(name, count), Err("name"), "{name}");
        }
        assert_eq!(patterns("m{i}", 0), Err("count"));
        assert_eq!(patterns("m{i}", 1001), Err("count"));
        let two = ["a".to_owned(), "b".to_owned()];
        let listed = |count| names(None, Some(&two[..]), count, 1000).map_err(|(key, ..)| key);
        assert_eq!(listed(None), owned(&["a", "b"]));
        assert_eq!(listed(Some(2)), owned(&["a", "b"]));
        assert_eq!(listed(Some(3)), Err("names"));
        assert_eq!(names(Some("m"), Some(&two[..]), None, 9).map_err(|(key, ..)| key), Err("names"));
        assert_eq!(names(None, Some(&[]), None, 9).map_err(|(key, ..)| key), Err("names"));
        assert_eq!(names(None, None, None, 9).map_err(|(key, ..)| key), Err("name"));
    }
}
