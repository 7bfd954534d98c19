//! Values of a scenario replaced from the command line: `cluster.devices=12`, `models.slo.scale=3.0`.

use crate::file::ScenarioFile;
use serde::Deserialize;
use statmux_core::files::{FileError, read_text};
use std::path::Path;
use toml::{Table, Value};

/// One replacement.
#[derive(Clone, Debug, PartialEq)]
pub struct Override {
    /// The key as typed.
    pub key: String,
    value: Value,
}

impl Override {
    /// Reads `key=value`; a value that is not TOML is taken as a string, so quotes may be left out.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (key, value) = text.split_once('=').ok_or_else(|| format!("--set {text}: write KEY=VALUE"))?;
        Self::new(key, value)
    }

    fn new(key: &str, value: &str) -> Result<Self, String> {
        let key = key.trim();
        if key.is_empty() || key.split('.').any(str::is_empty) {
            return Err(format!("`{key}` is not a key such as cluster.devices"));
        }
        Ok(Self { key: key.to_owned(), value: toml_value(value.trim()) })
    }

    /// The number at `key` of the scenario at `path` with `overrides` applied, if there is one.
    pub fn value_in(path: &Path, overrides: &[Self], key: &str) -> Option<f64> {
        let mut root = Value::Table(toml::from_str(&read_text(path).ok()?).ok()?);
        for replacement in overrides {
            let keys: Vec<&str> = replacement.key.split('.').collect();
            set(&mut root, &keys, &replacement.value).ok()?;
        }
        let found = key.split('.').try_fold(&root, |at, key| at.get(key))?;
        found.as_float().or_else(|| found.as_integer().map(|number| number as f64))
    }

    /// The value as shown to people.
    pub fn shown(&self) -> String {
        match &self.value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        }
    }

    /// The value as a number, if it is one or begins with one (`"13 GiB"` is 13).
    pub fn number(&self) -> Option<f64> {
        match &self.value {
            Value::Integer(number) => Some(*number as f64),
            Value::Float(number) => Some(*number),
            Value::String(text) => text.split_whitespace().next()?.parse().ok(),
            _ => None,
        }
    }
}

/// Reads `key=a,b,c` into one replacement per value. Commas within brackets and quotes do not separate.
pub fn parse_over(text: &str) -> Result<Vec<Override>, String> {
    let (key, values) = text.split_once('=').ok_or_else(|| format!("--over {text}: write KEY=VALUE,VALUE,…"))?;
    let mut parts = vec![String::new()];
    let (mut depth, mut quoted) = (0_i32, false);
    for c in values.chars() {
        match c {
            '"' => quoted = !quoted,
            '[' | '{' if !quoted => depth += 1,
            ']' | '}' if !quoted => depth -= 1,
            _ => {}
        }
        if c == ',' && depth == 0 && !quoted {
            parts.push(String::new());
        } else {
            parts.last_mut().expect("there is always a part").push(c);
        }
    }
    parts
        .iter()
        .map(|value| {
            if value.trim().is_empty() {
                Err(format!("--over {text}: a value is empty"))
            } else {
                Override::new(key, value)
            }
        })
        .collect()
}

fn toml_value(text: &str) -> Value {
    let parsed = toml::from_str::<Table>(&format!("value = {text}")).ok().and_then(|mut table| table.remove("value"));
    parsed.unwrap_or_else(|| Value::String(text.to_owned()))
}

/// The scenario in `text` with `overrides` applied.
pub(crate) fn apply(path: &Path, text: &str, overrides: &[Override]) -> Result<ScenarioFile, FileError> {
    let mut root = Value::Table(toml::from_str(text).map_err(|_| FileError::whole(path, "is not TOML"))?);
    for replacement in overrides {
        let keys: Vec<&str> = replacement.key.split('.').collect();
        set(&mut root, &keys, &replacement.value).map_err(|what| FileError::at_field(path, &replacement.key, what))?;
    }
    ScenarioFile::deserialize(root).map_err(|error| {
        let keys: Vec<&str> = overrides.iter().map(|replacement| replacement.key.as_str()).collect();
        FileError::at_field(path, keys.join(", "), format!("cannot be set so: {}", error.message()))
    })
}

/// Sets the value at `keys`; a list is entered at the index named, or in every element if none is.
fn set(at: &mut Value, keys: &[&str], value: &Value) -> Result<(), String> {
    let Some((key, rest)) = keys.split_first() else {
        *at = match (&at, value) {
            // 8 where 8.0 stood is meant as a number like it.
            (Value::Float(_), Value::Integer(number)) => Value::Float(*number as f64),
            _ => value.clone(),
        };
        return Ok(());
    };
    match at {
        Value::Table(table) => {
            let missing = || if rest.is_empty() { value.clone() } else { Value::Table(Table::new()) };
            set(table.entry((*key).to_owned()).or_insert_with(missing), rest, value)
        }
        Value::Array(items) => match key.parse::<usize>() {
            Ok(index) => {
                let length = items.len();
                set(items.get_mut(index).ok_or_else(|| format!("has only {length} entries"))?, rest, value)
            }
            Err(_) => items.iter_mut().try_for_each(|item| set(item, keys, value)),
        },
        _ => Err(format!("does not exist: there is a value where `{key}` would be a table")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_as_toml_or_else_as_text() {
        let over = parse_over("cluster.memory=13 GiB,\"16 GB\",[1, 2]").expect("well formed");
        let shown: Vec<_> = over.iter().map(Override::shown).collect();
        assert_eq!(shown, ["13 GiB", "16 GB", "[1, 2]"]);
        assert_eq!(over[0].number(), Some(13.0));
        assert!(parse_over("cluster.devices").is_err());
        assert!(parse_over("a..b=1").is_err());
    }

    #[test]
    fn lists_are_entered_everywhere_or_at_an_index() {
        let mut root = Value::Table(toml::from_str("[[m]]\nx = 1.0\n[[m]]\nx = 2.0").expect("TOML"));
        set(&mut root, &["m", "x"], &Value::Integer(8)).expect("there");
        set(&mut root, &["m", "1", "x"], &Value::Integer(9)).expect("there");
        assert_eq!(root.to_string(), "{ m = [{ x = 8.0 }, { x = 9.0 }] }");
        assert!(set(&mut root, &["m", "7", "x"], &Value::Integer(9)).is_err());
    }
}
