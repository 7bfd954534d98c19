//! Bodies as they come in: JSON values, and what is wrong with them.
//!
//! A value says what it is, so that every error tells the field, the place, what is there and what belongs there, in
//! words that are the same for every endpoint.

use crate::http::body::no_room;
use crate::http::budget::{Share, Shortage};
use crate::http::error::ApiError;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use std::cell::{Cell, RefCell};
use std::fmt;

/// A value. Whole numbers in a row are kept together: lists of tokens are what grows large.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Json {
    Null,
    Bool(bool),
    Integer(i64),
    Number(f64),
    Text(String),
    /// A list of whole numbers, or of nothing.
    Integers(Vec<i64>),
    List(Vec<Json>),
    /// Fields in the order given.
    Object(Vec<(String, Json)>),
}

/// What is wrong with a value, and where in the body it stands.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Wrong {
    /// A path such as `messages[2].content`; empty for the value itself.
    place: String,
    /// What is wrong, to be read after the place.
    what: String,
}

impl Wrong {
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Self { place: String::new(), what: what.into() }
    }

    /// What is wrong, to be read after a name of the place.
    pub(crate) fn what(self) -> String {
        self.what
    }

    /// The same, of the field `name` of a larger value.
    #[must_use]
    pub(crate) fn in_field(mut self, name: &str) -> Self {
        let dot = if self.place.is_empty() || self.place.starts_with('[') { "" } else { "." };
        self.place = format!("{name}{dot}{}", self.place);
        self
    }

    /// The same, of an item of a list.
    #[must_use]
    pub(crate) fn in_item(mut self, index: usize) -> Self {
        let dot = if self.place.is_empty() || self.place.starts_with('[') { "" } else { "." };
        self.place = format!("[{index}]{dot}{}", self.place);
        self
    }
}

impl From<Wrong> for ApiError {
    fn from(Wrong { place, what }: Wrong) -> Self {
        if place.is_empty() {
            return Self::malformed(format!("the body {what}"));
        }
        let message = format!("`{place}` {what}");
        Self::invalid(place, message)
    }
}

/// A type that can be read from a value.
pub(crate) trait FromJson: Sized {
    /// # Errors
    /// If the value is of another kind, or out of bounds.
    fn from_json(value: Json) -> Result<Self, Wrong>;
}

impl Json {
    /// The value in `body`. The memory that it takes is counted in `room` as it grows.
    pub(crate) fn parse(body: &[u8], room: &mut Share) -> Result<Self, ApiError> {
        let tally = Tally { room: RefCell::new(room), grown: Cell::new(0), full: Cell::new(None) };
        let mut deserializer = serde_json::Deserializer::from_slice(body);
        let value = Values(&tally).deserialize(&mut deserializer);
        let whole = value.and_then(|value| deserializer.end().map(|()| value));
        if let Some(shortage) = tally.full.get() {
            return Err(match shortage {
                Shortage::ForEver { room } => ApiError::body_says_too_much(room),
                Shortage::ForNow => no_room(shortage),
            });
        }
        whole.map_err(|error| {
            let (line, column) = (error.line(), error.column());
            let what = match error.classify() {
                _ if body.trim_ascii().is_empty() => "the body is empty: a JSON object is expected".to_owned(),
                serde_json::error::Category::Eof => format!("the JSON breaks off at line {line}, column {column}"),
                _ if error.to_string().starts_with("recursion limit") => {
                    format!("the JSON is nested too deep at line {line}, column {column}")
                }
                _ => format!("there is no JSON any more at line {line}, column {column}{}", near(body, line, column)),
            };
            ApiError::malformed(format!("the body cannot be read: {what}"))
        })
    }

    /// Puts the value where an optional one belongs.
    pub(crate) fn put<V: FromJson>(self, slot: &mut Option<V>) -> Result<(), Wrong> {
        *slot = Some(V::from_json(self)?);
        Ok(())
    }

    /// Something else than what is expected here.
    pub(crate) fn instead_of(&self, expected: &str) -> Wrong {
        Wrong::new(format!("must be {expected}, but is {}", self.kind()))
    }

    /// Its items, if it is a list.
    pub(crate) fn items(self, expected: &str) -> Result<Vec<Self>, Wrong> {
        match self {
            Self::List(items) => Ok(items),
            Self::Integers(numbers) => Ok(numbers.into_iter().map(Self::Integer).collect()),
            other => Err(other.instead_of(expected)),
        }
    }

    /// What it is, in words.
    fn kind(&self) -> String {
        match self {
            Self::Null => "null".to_owned(),
            Self::Bool(flag) => flag.to_string(),
            Self::Integer(number) => format!("the number {number}"),
            Self::Number(number) => format!("the number {number}"),
            Self::Text(text) if text.chars().count() <= 40 => format!("the text \"{text}\""),
            Self::Text(_) => "a text".to_owned(),
            Self::Integers(_) | Self::List(_) => "a list".to_owned(),
            Self::Object(_) => "an object".to_owned(),
        }
    }
}

/// The piece of the body at which reading stopped.
fn near(body: &[u8], line: usize, column: usize) -> String {
    let line = body.split(|&byte| byte == b'\n').nth(line.saturating_sub(1)).unwrap_or_default();
    let at = column.saturating_sub(1).min(line.len());
    let piece = &line[at.saturating_sub(12)..(at + 12).min(line.len())];
    let piece = String::from_utf8_lossy(piece);
    let piece = piece.trim_matches('\u{fffd}').trim();
    if piece.is_empty() { String::new() } else { format!(", near `{piece}`") }
}

/// The memory of a value that is being read: small bodies can hold lists of lists that take many times their length.
struct Tally<'a> {
    room: RefCell<&'a mut Share>,
    grown: Cell<usize>,
    full: Cell<Option<Shortage>>,
}

/// Memory is asked for in pieces of this size.
const PIECE: usize = 64 << 10;
/// An item of a list, twice: as it is read, and as what becomes of it.
const AN_ITEM: usize = 2 * size_of::<Json>();
/// A whole number in a row of them, and the token that becomes of it.
const A_NUMBER: usize = size_of::<i64>() + size_of::<u32>();
/// What a text or a list takes beside its contents where it is not empty, room for more included.
const AN_ALLOCATION: usize = 48;

impl Tally<'_> {
    /// Counts something with so many parts of so many bytes each, in memory of its own.
    fn hold<E: Error>(&self, parts: usize, bytes: usize) -> Result<(), E> {
        self.grow(if parts == 0 { 0 } else { AN_ALLOCATION + parts * bytes })
    }

    fn grow<E: Error>(&self, bytes: usize) -> Result<(), E> {
        let grown = self.grown.get().saturating_add(bytes);
        self.grown.set(grown);
        let mut room = self.room.borrow_mut();
        // What is short needs no count of its own: it is little more than its body.
        if grown <= PIECE || grown <= room.held() {
            return Ok(());
        }
        room.hold(grown.next_multiple_of(PIECE)).map_err(|shortage| {
            self.full.set(Some(shortage));
            E::custom(shortage)
        })
    }
}

/// Reads values.
#[derive(Clone, Copy)]
struct Values<'a>(&'a Tally<'a>);

impl<'de> DeserializeSeed<'de> for Values<'_> {
    type Value = Json;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Json, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Values<'_> {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Json, E> {
        Ok(Json::Bool(flag))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Json, E> {
        Ok(Json::Integer(number))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Json, E> {
        Ok(i64::try_from(number).map_or(Json::Number(number as f64), Json::Integer))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Json, E> {
        Ok(Json::Number(number))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Json, E> {
        self.0.hold(text.len(), 1)?;
        Ok(Json::Text(text.to_owned()))
    }

    fn visit_string<E: Error>(self, text: String) -> Result<Json, E> {
        self.0.hold(text.len(), 1)?;
        Ok(Json::Text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Json, A::Error> {
        let mut numbers = Vec::new();
        while let Some(item) = sequence.next_element_seed(self)? {
            let Json::Integer(number) = item else {
                self.0.hold(numbers.len() + 1, AN_ITEM)?;
                let mut items: Vec<Json> = numbers.into_iter().map(Json::Integer).collect();
                items.push(item);
                while let Some(item) = sequence.next_element_seed(self)? {
                    self.0.grow(AN_ITEM)?;
                    items.push(item);
                }
                return Ok(Json::List(items));
            };
            self.0.grow(A_NUMBER + if numbers.is_empty() { AN_ALLOCATION } else { 0 })?;
            numbers.push(number);
        }
        Ok(Json::Integers(numbers))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Json, A::Error> {
        let mut fields = Vec::new();
        while let Some(name) = map.next_key::<String>()? {
            // The first field makes room for a few.
            let room = if fields.is_empty() { 4 } else { 1 };
            self.0.hold(name.len(), 1)?;
            self.0.grow(room * size_of::<(String, Json)>())?;
            fields.push((name, map.next_value_seed(self)?));
        }
        Ok(Json::Object(fields))
    }
}

impl FromJson for String {
    fn from_json(value: Json) -> Result<Self, Wrong> {
        match value {
            Json::Text(text) => Ok(text),
            other => Err(other.instead_of("a text")),
        }
    }
}

impl FromJson for bool {
    fn from_json(value: Json) -> Result<Self, Wrong> {
        match value {
            Json::Bool(flag) => Ok(flag),
            other => Err(other.instead_of("true or false")),
        }
    }
}

impl FromJson for f64 {
    fn from_json(value: Json) -> Result<Self, Wrong> {
        match value {
            Json::Integer(number) => Ok(number as Self),
            Json::Number(number) => Ok(number),
            other => Err(other.instead_of("a number")),
        }
    }
}

impl FromJson for i64 {
    fn from_json(value: Json) -> Result<Self, Wrong> {
        whole(&value).ok_or_else(|| value.instead_of("a whole number between -2^63 and 2^63 - 1"))
    }
}

impl FromJson for u64 {
    fn from_json(value: Json) -> Result<Self, Wrong> {
        let number = whole(&value).and_then(|number| Self::try_from(number).ok());
        number.ok_or_else(|| value.instead_of("a whole number from 0 to 2^63 - 1"))
    }
}

impl FromJson for u32 {
    fn from_json(value: Json) -> Result<Self, Wrong> {
        let number = whole(&value).and_then(|number| Self::try_from(number).ok());
        number.ok_or_else(|| value.instead_of("a whole number from 0 to 4294967295"))
    }
}

/// The whole number that `value` is; 16.0 is one too.
fn whole(value: &Json) -> Option<i64> {
    /// Beyond this, floating-point numbers no longer tell neighbours apart.
    const EXACT: f64 = (1_u64 << 53) as f64;
    match value {
        Json::Integer(number) => Some(*number),
        Json::Number(number) if number.fract() == 0.0 && number.abs() <= EXACT => Some(*number as i64),
        _ => None,
    }
}

impl<V: FromJson> FromJson for Vec<V> {
    fn from_json(value: Json) -> Result<Self, Wrong> {
        let items = value.items("a list")?.into_iter().enumerate();
        items.map(|(index, item)| V::from_json(item).map_err(|wrong| wrong.in_item(index))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::budget::Budget;

    #[test]
    fn what_values_take_is_counted_as_they_grow() {
        let list = |item: &str, count: usize| format!("[{}]", vec![item; count].join(","));
        let bodies = [
            list("[]", 1 << 16),
            list("{}", 1 << 16),
            list("[5]", 1 << 16),
            list("\"\"", 1 << 16),
            list("null", 1 << 16),
            list("0.5", 1 << 16),
            list("{\"\":0}", 1 << 16),
            list("{\"a\":[\"b\"]}", 1 << 16),
            list("1", 1 << 18),
            format!("{{\"a\":{}}}", list(&list("[]", 256), 256)),
        ];
        for body in bodies {
            let parse = |room: &mut Share| Json::parse(body.as_bytes(), room).map_err(|error| error.status().as_u16());
            let budget = Budget::new(1 << 30, 0);
            let mut share = budget.share();
            let value = parse(&mut share).expect("there is room");
            let (held, least) = (share.held(), memory(&value));
            assert!(held >= least, "{held} of {least} bytes are counted: {}", &body[..12]);
            // With less than that it ends early, whether others have it or nobody.
            drop(share);
            let mut other = budget.share();
            other.hold((3 << 28) - held + PIECE).expect("there is room");
            let mut share = budget.share();
            assert_eq!(parse(&mut share), Err(503), "{}", &body[..12]);
            assert!(share.held() < held);
            assert_eq!(parse(&mut Budget::new(least / 2, 0).share()), Err(413), "{}", &body[..12]);
        }
        let words = list("\"word\"", 500);
        assert!(Json::parse(words.as_bytes(), &mut Budget::new(0, 0).share()).is_ok(), "short bodies are always read");
    }

    /// Bytes of what `value` holds, without what is spare.
    fn memory(value: &Json) -> usize {
        match value {
            Json::Null | Json::Bool(_) | Json::Integer(_) | Json::Number(_) => 0,
            Json::Text(text) => text.len(),
            Json::Integers(numbers) => size_of_val(&numbers[..]),
            Json::List(items) => size_of_val(&items[..]) + items.iter().map(memory).sum::<usize>(),
            Json::Object(fields) => {
                size_of_val(&fields[..]) + fields.iter().map(|(name, value)| name.len() + memory(value)).sum::<usize>()
            }
        }
    }

    #[test]
    fn values_keep_their_kind() {
        let body = br#"{"a":[1,2],"b":[1,"x",null],"c":1.5,"d":18446744073709551615,"e":[]}"#;
        let value = Json::parse(body, &mut Budget::new(0, 0).share());
        let list = Json::List(vec![Json::Integer(1), Json::Text("x".into()), Json::Null]);
        let fields = [
            ("a", Json::Integers(vec![1, 2])),
            ("b", list),
            ("c", Json::Number(1.5)),
            ("d", Json::Number(u64::MAX as f64)),
            ("e", Json::Integers(vec![])),
        ];
        assert_eq!(value.expect("JSON"), Json::Object(fields.map(|(name, value)| (name.to_owned(), value)).into()));
        assert_eq!(u32::from_json(Json::Number(16.0)), Ok(16));
        assert!(u32::from_json(Json::Integer(-1)).is_err() && i64::from_json(Json::Number(1e30)).is_err());
    }

    #[test]
    fn places_are_paths() {
        let wrong = Wrong::new("is wrong").in_field("text").in_item(3).in_field("content").in_item(0);
        assert_eq!(wrong.in_field("messages").place, "messages[0].content[3].text");
    }
}
