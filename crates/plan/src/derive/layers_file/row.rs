//! The columns of a table of layers, and one row of it.

use super::super::LayerKind;
use crate::intra_op::OperatorKind;
use csv::StringRecord;
use statmux_core::files::{FileError, by_nearness, nearest};
use statmux_core::units::Bytes;
use std::path::Path;

/// Every column there is.
const KNOWN: [&str; 17] = [
    "model",
    "layer",
    "operator",
    "kind",
    "splits",
    "count",
    "block",
    "tokens",
    "op",
    "batch",
    "time_ms",
    "time_us",
    "time_s",
    "weight_bytes",
    "activation_bytes",
    "output_bytes",
    "tied_bytes",
];

/// Units of time columns, in parts of a second.
const TIMES: [(&str, f64); 3] = [("time_ms", 1e3), ("time_us", 1e6), ("time_s", 1.0)];

/// What a layer or an operator may be called in `kind`.
pub(super) const KINDS: [(&str, LayerKind); 4] = [
    ("block", LayerKind::Block),
    ("product", LayerKind::One(OperatorKind::Product)),
    ("local", LayerKind::One(OperatorKind::Local)),
    ("whole", LayerKind::One(OperatorKind::Whole)),
];

/// Where each column stands.
pub(super) struct Columns {
    names: Vec<&'static str>,
    parts_of_a_second: f64,
    time: &'static str,
}

/// One row, checked by itself.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) line: usize,
    pub(super) model: Option<String>,
    pub(super) layer: String,
    pub(super) operator: Option<String>,
    pub(super) kind: Option<LayerKind>,
    pub(super) splits: Option<u32>,
    pub(super) count: Option<u32>,
    pub(super) block: Option<u32>,
    pub(super) tokens: Option<u32>,
    pub(super) op: u32,
    pub(super) batch: u32,
    pub(super) seconds: f64,
    pub(super) weights: Option<Bytes>,
    pub(super) activations: Option<Bytes>,
    pub(super) output: Option<Bytes>,
    pub(super) tied: Option<Bytes>,
}

impl Columns {
    /// The columns that `header` names, in any order and case.
    pub(super) fn of(path: &Path, header: &[String]) -> Result<Self, FileError> {
        let known = KNOWN;
        let wrong = |what: String| FileError::at_line(path, 1, what);
        let mut names = Vec::new();
        for name in header {
            let column = known.into_iter().find(|column| column.eq_ignore_ascii_case(name));
            let Some(column) = column else {
                let help = match nearest(name, &known) {
                    Some(near) => format!("did you mean `{near}`? Known: {}", known.join(", ")),
                    None => format!("known: {}", known.join(", ")),
                };
                return Err(wrong(format!("unknown column `{name}`")).with_help(help));
            };
            if names.contains(&column) {
                let twice = wrong(format!("column `{column}` stands twice in the header"));
                return Err(twice.with_help("keep one of them"));
            }
            names.push(column);
        }
        for needed in ["layer", "weight_bytes"] {
            if !names.contains(&needed) {
                let found: Vec<&str> = header.iter().map(String::as_str).collect();
                let help = format!("the file's columns, nearest first: {}", by_nearness(needed, &found).join(", "));
                return Err(wrong(format!("the header has no column `{needed}`")).with_help(help));
            }
        }
        let times: Vec<_> = TIMES.into_iter().filter(|(name, _)| names.contains(name)).collect();
        match times[..] {
            [(time, parts_of_a_second)] => Ok(Self { names, parts_of_a_second, time }),
            [] => Err(wrong("the header has no column `time_ms`".to_owned())
                .with_help("name the time of a layer `time_ms`, `time_us` or `time_s`")),
            _ => Err(wrong("the header has times in two units".to_owned()).with_help("keep one of the columns")),
        }
    }

    /// Checks one row.
    pub(super) fn read(&self, path: &Path, record: &StringRecord) -> Result<Row, FileError> {
        let line = record.position().map_or(0, |at| usize::try_from(at.line()).unwrap_or(usize::MAX));
        let fields = Fields { path, line, names: &self.names, record };
        let layer = fields.name("layer")?.ok_or_else(|| fields.wrong("layer is missing", "give each layer a name"))?;
        let seconds = fields.number(self.time)?.ok_or_else(|| {
            fields.wrong(format!("{} is missing", self.time), "every row has the time of what it is about")
        })?;
        let seconds = seconds / self.parts_of_a_second;
        if !(seconds > 0.0 && seconds <= 1e6) {
            let what = format!("{} is {}, which is no time a layer takes", self.time, fields.text(self.time));
            return Err(fields.wrong(what, "times are above 0 and at most 1,000,000 seconds"));
        }
        Ok(Row {
            line,
            model: fields.name("model")?,
            layer,
            operator: fields.name("operator")?,
            kind: fields.kind()?,
            splits: fields.count("splits", 1, 1 << 20)?,
            count: fields.count("count", 1, super::MOST_LAYERS as u32)?,
            block: fields.count("block", 0, super::MOST_LAYERS as u32)?,
            tokens: fields.count("tokens", 1, u32::MAX)?,
            op: fields.count("op", 1, 1 << 16)?.unwrap_or(1),
            batch: fields.count("batch", 1, 1 << 20)?.unwrap_or(1),
            seconds,
            weights: fields.bytes("weight_bytes")?,
            activations: fields.bytes("activation_bytes")?,
            tied: fields.bytes("tied_bytes")?,
            output: fields.bytes("output_bytes")?,
        })
    }
}

struct Fields<'a> {
    path: &'a Path,
    line: usize,
    names: &'a [&'static str],
    record: &'a StringRecord,
}

impl Fields<'_> {
    /// What stands in a column; empty where the file does not have it.
    fn text(&self, name: &str) -> &str {
        self.names.iter().position(|&known| known == name).and_then(|at| self.record.get(at)).unwrap_or_default()
    }

    fn wrong(&self, what: impl Into<String>, help: impl Into<String>) -> FileError {
        FileError::at_line(self.path, self.line, what).with_help(help)
    }

    fn name(&self, column: &str) -> Result<Option<String>, FileError> {
        let text = self.text(column);
        if text.contains(char::is_control) {
            return Err(self.wrong(format!("{column} is {text:?}, which is not printable"), "use printable names"));
        }
        Ok((!text.is_empty()).then(|| text.to_owned()))
    }

    fn number(&self, column: &str) -> Result<Option<f64>, FileError> {
        match self.text(column) {
            "" => Ok(None),
            text => text.parse().map(Some).map_err(|_| {
                self.wrong(format!("{column} is `{text}`, which is not a number"), "the unit stands in the header")
            }),
        }
    }

    fn count(&self, column: &str, least: u32, most: u32) -> Result<Option<u32>, FileError> {
        let Some(number) = self.number(column)? else { return Ok(None) };
        if number.fract() != 0.0 || !(f64::from(least)..=f64::from(most)).contains(&number) {
            let what = format!("{column} is {}", self.text(column));
            return Err(self.wrong(what, format!("give a whole number from {least} to {most}")));
        }
        Ok(Some(number as u32))
    }

    fn bytes(&self, column: &str) -> Result<Option<Bytes>, FileError> {
        let Some(number) = self.number(column)? else { return Ok(None) };
        if !(0.0..1e18).contains(&number) {
            let what = format!("{column} is {}", self.text(column));
            return Err(self.wrong(what, "give a number of bytes, 0 or more"));
        }
        Ok(Some(Bytes::new(number as u64)))
    }

    fn kind(&self) -> Result<Option<LayerKind>, FileError> {
        let text = self.text("kind");
        if text.is_empty() {
            return Ok(None);
        }
        let known: Vec<&str> = KINDS.iter().map(|(name, _)| *name).collect();
        match KINDS.iter().find(|(name, _)| name.eq_ignore_ascii_case(text)) {
            Some(&(_, kind)) => Ok(Some(kind)),
            None => Err(self.wrong(format!("unknown kind `{text}`"), format!("known: {}", known.join(", ")))),
        }
    }
}
