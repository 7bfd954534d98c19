//! What is wrong with a file, where, and what to do about it.

use crate::named::Named;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// A file that cannot be used, with the place and the remedy.
#[derive(Debug)]
pub struct FileError {
    path: PathBuf,
    place: Place,
    what: String,
    help: Option<String>,
    cause: Option<io::Error>,
    while_writing: bool,
}

/// Where in a file something is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    Whole,
    Line(usize),
    Field(String),
}

impl FileError {
    /// Something wrong with the file as a whole.
    pub fn whole(path: &Path, what: impl Into<String>) -> Self {
        Self {
            path: path.to_owned(),
            place: Place::Whole,
            what: what.into(),
            help: None,
            cause: None,
            while_writing: false,
        }
    }

    /// Something wrong at a line, counted from 1.
    pub fn at_line(path: &Path, line: usize, what: impl Into<String>) -> Self {
        Self { place: Place::Line(line), ..Self::whole(path, what) }
    }

    /// Something wrong with a field, named as a path such as `models[2].slo`.
    pub fn at_field(path: &Path, field: impl Into<String>, what: impl Into<String>) -> Self {
        Self { place: Place::Field(field.into()), ..Self::whole(path, what) }
    }

    /// A failure of the operating system.
    pub fn io(path: &Path, what: impl Into<String>, cause: io::Error) -> Self {
        Self { cause: Some(cause), ..Self::whole(path, what) }
    }

    /// The same error, met while a result was written: nobody who asked for it is to blame.
    #[must_use]
    pub fn while_writing(self) -> Self {
        Self { while_writing: true, ..self }
    }

    /// Whether it was met while a result was written, after all that was given had been found good.
    pub fn is_while_writing(&self) -> bool {
        self.while_writing
    }

    /// The same error with advice.
    pub fn with_help(self, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()), ..self }
    }

    /// A name that is not among `known`: says the nearest, or all if there are few.
    pub fn unknown_name<'a>(
        path: &Path,
        field: impl Into<String>,
        kind: &str,
        name: &str,
        known: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        let known: Vec<&str> = known.into_iter().collect();
        let error = Self::at_field(path, field, format!("names the unknown {kind} `{name}`"));
        match suggestion(name, &known) {
            Some(help) => error.with_help(help),
            None => error,
        }
    }

    /// The option that `field` names.
    ///
    /// # Errors
    /// If none has this name: says the nearest, or all if there are few.
    pub fn option<T: Named>(path: &Path, field: &str, name: &str) -> Result<T, Self> {
        let known = || T::OPTIONS.iter().map(|option| option.name());
        T::find(name).ok_or_else(|| Self::unknown_name(path, field, T::KIND, name, known()))
    }

    pub(super) fn from_toml(path: &Path, text: &str, error: &toml::de::Error) -> Self {
        let line = error.span().map(|span| 1 + text[..span.start.min(text.len())].matches('\n').count());
        Self::from_serde(path, line, error.message())
    }

    pub(super) fn from_json(path: &Path, error: &serde_json::Error) -> Self {
        let message = error.to_string();
        let message = message.split(" at line ").next().unwrap_or(&message).to_owned();
        Self::from_serde(path, (error.line() > 0).then_some(error.line()), &message)
    }

    fn from_serde(path: &Path, line: Option<usize>, message: &str) -> Self {
        let place = line.map_or(Place::Whole, Place::Line);
        let quoted: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
        let unknown = message.starts_with("unknown field") || message.starts_with("unknown variant");
        let (what, help) = match quoted.split_first() {
            Some((name, known)) if unknown && !known.is_empty() => {
                let kind = if message.starts_with("unknown field") { "key" } else { "value" };
                (format!("unknown {kind} `{name}`"), suggestion(name, known))
            }
            _ => (plain(&message.trim().replace('\n', ", ")), None),
        };
        Self { place, help, ..Self::whole(path, what) }
    }
}

/// How alike two names are, from 0 to 1, whatever their case.
fn likeness(name: &str, candidate: &str) -> f64 {
    strsim::jaro_winkler(&name.to_lowercase(), &candidate.to_lowercase())
}

/// The names in `known`, those most like `name` first; equals in their order.
pub fn by_nearness<'a>(name: &str, known: &[&'a str]) -> Vec<&'a str> {
    let mut scored: Vec<(f64, &'a str)> =
        known.iter().map(|&candidate| (likeness(name, candidate), candidate)).collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0));
    scored.into_iter().map(|(_, candidate)| candidate).collect()
}

/// What a parser says, in words that know nothing of how files are parsed.
fn plain(message: &str) -> String {
    let quoted = |prefix: &str| message.strip_prefix(prefix)?.split('`').next();
    if let Some(name) = quoted("missing field `") {
        return format!("lacks `{name}`");
    }
    if let Some(name) = quoted("duplicate field `") {
        return format!("gives `{name}` twice");
    }
    if message.starts_with("data did not match any variant") {
        return "holds something of a kind that is not understood here".to_owned();
    }
    let mismatch = message.strip_prefix("invalid type: ").or_else(|| message.strip_prefix("invalid value: "));
    match mismatch.and_then(|mismatch| mismatch.rsplit_once(", expected ")) {
        Some((found, wanted)) => {
            format!("holds {} where {} is expected", found_in_words(found), wanted_in_words(wanted))
        }
        None => message.to_owned(),
    }
}

fn found_in_words(found: &str) -> String {
    match found.split_once(' ').unwrap_or((found, "")) {
        ("string", text) => format!("the text {text}"),
        ("integer", number) => format!("the number {}", number.trim_matches('`')),
        ("floating", number) => format!("the number {}", number.trim_start_matches("point ").trim_matches('`')),
        ("boolean", flag) => flag.trim_matches('`').to_owned(),
        ("sequence", _) => "a list".to_owned(),
        ("map", _) => "a table".to_owned(),
        ("unit", _) => "null".to_owned(),
        _ => found.to_owned(),
    }
}

fn wanted_in_words(wanted: &str) -> &str {
    match wanted {
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number, not negative,",
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number",
        "f32" | "f64" => "a number",
        "a string" | "a borrowed string" => "a text",
        "a boolean" => "true or false",
        "a sequence" => "a list",
        "a map" => "a table",
        _ if wanted.starts_with("struct ") || wanted.starts_with("internally tagged enum") => "a table",
        _ if wanted.contains("enum ") => "a name",
        _ => wanted,
    }
}

/// The name in `known` that is nearest to `name`, if any is near enough to be meant.
pub fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    let score = |candidate: &str| likeness(name, candidate);
    let mut best: Option<(&'a str, f64)> = None;
    for &candidate in known {
        let score = score(candidate);
        if score >= 0.75 && best.is_none_or(|(_, high)| score > high) {
            best = Some((candidate, score));
        }
    }
    best.map(|(candidate, _)| candidate)
}

fn suggestion(name: &str, known: &[&str]) -> Option<String> {
    const FEW: usize = 12;
    match nearest(name, known) {
        Some(near) if known.len() > FEW => Some(format!("did you mean `{near}`?")),
        near => {
            let list = known.iter().take(FEW).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
            let more = if known.len() > FEW { format!(" and {} more", known.len() - FEW) } else { String::new() };
            match near {
                _ if known.is_empty() => None,
                Some(near) => Some(format!("did you mean `{near}`? Known: {list}")),
                None => Some(format!("known: {list}{more}")),
            }
        }
    }
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match &self.place {
            Place::Whole => write!(f, "{path}: {}", self.what)?,
            Place::Line(line) => write!(f, "{path}:{line}: {}", self.what)?,
            Place::Field(field) => write!(f, "{path}: {field} {}", self.what)?,
        }
        match &self.help {
            Some(help) => write!(f, "\n  help: {help}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for FileError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.cause.as_ref().map(|cause| cause as &dyn std::error::Error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Example {
        #[allow(dead_code)]
        devices: u32,
    }

    #[test]
    fn unknown_keys_name_line_and_nearest_key() {
        let path = Path::new("s.toml");
        let error = super::super::parse_toml::<Example>(path, "\ndevice = 3\n").expect_err("unknown key");
        assert_eq!(
            error.to_string(),
            "s.toml:2: unknown key `device`\n  help: did you mean `devices`? Known: `devices`"
        );
        let error = super::super::parse_json::<Example>(path, "{\n\n\"devces\": 3}").expect_err("unknown key");
        assert_eq!(
            error.to_string(),
            "s.toml:3: unknown key `devces`\n  help: did you mean `devices`? Known: `devices`"
        );
    }

    #[test]
    fn nothing_is_said_in_a_parsers_words() {
        let path = Path::new("s.json");
        let check = |text: &str, expected: &str| {
            let error = super::super::parse_json::<Example>(path, text).expect_err("wrong");
            assert_eq!(error.to_string(), format!("s.json:1: {expected}"));
        };
        check("{}", "lacks `devices`");
        check("{\"devices\": 1, \"devices\": 2}", "gives `devices` twice");
        check("5", "holds the number 5 where a table is expected");
        check("{\"devices\": \"3\"}", "holds the text \"3\" where a whole number, not negative, is expected");
        check("{\"devices\": -3}", "holds the number -3 where a whole number, not negative, is expected");
        check("{\"devices\": 1.5}", "holds the number 1.5 where a whole number, not negative, is expected");
        check("{\"devices\": [true]}", "holds a list where a whole number, not negative, is expected");
        check("{\"devices\": null}", "holds null where a whole number, not negative, is expected");
    }

    #[test]
    fn nothing_near_means_no_guess() {
        assert_eq!(nearest("bert-1.3", &["bert-1.3b", "moe-1.3b"]), Some("bert-1.3b"));
        assert_eq!(nearest("zzz", &["bert-1.3b"]), None);
    }
}
