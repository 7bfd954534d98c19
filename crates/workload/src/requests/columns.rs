//! Which columns of a file hold what, ours or anybody's.

use crate::clock::{Clock, Unit};
use crate::messages::shorten;
use crate::rows::{columns, find_column, missing_column};
use serde::Deserialize;
use statmux_core::files::{FileError, nearest};
use std::path::Path;
use std::str::FromStr;

/// The columns of a requests file, in the order in which we write them.
pub(super) const COLUMNS: [&str; 5] = ["arrival_s", "model", "slo_s", "prompt_tokens", "output_tokens"];

/// What the files of finished runs have beside those columns: nothing of it is asked of the next run.
const OF_RESULTS: [&str; 8] =
    ["request", "group", "start_s", "finish_s", "outcome", "sent_s", "first_token_s", "preemptions"];

/// Which columns of somebody else's log are meant: `{ arrival = "timestamp", model = "endpoint" }`.
///
/// A column that is not named is looked for under our own name. Times may be dates, or numbers of the unit that the
/// column's name ends in (`sent_ms`), or of `arrival_unit`; else they are seconds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Columns {
    /// When requests arrived.
    #[serde(alias = "arrival_s")]
    pub arrival: Option<String>,
    /// What numbers in that column count: `s`, `ms`, `us` or `ns`.
    pub arrival_unit: Option<String>,
    /// The models' names.
    pub model: Option<String>,
    /// Each request's own SLO: a number of the unit that the column's name ends in, else of seconds.
    #[serde(alias = "slo_s")]
    pub slo: Option<String>,
    /// Tokens in the prompt.
    pub prompt_tokens: Option<String>,
    /// Tokens in the answer.
    pub output_tokens: Option<String>,
}

impl FromStr for Columns {
    type Err = String;

    /// Reads `arrival=timestamp,model=endpoint`.
    fn from_str(text: &str) -> Result<Self, String> {
        let mut columns = Self::default();
        for pair in text.split(',') {
            let (key, column) = pair.split_once('=').ok_or_else(|| format!("`{pair}`: write WHAT=COLUMN"))?;
            let (key, column) = (key.trim(), column.trim());
            let slot = match key {
                "arrival" | "arrival_s" => &mut columns.arrival,
                "arrival_unit" => &mut columns.arrival_unit,
                "model" => &mut columns.model,
                "slo" | "slo_s" => &mut columns.slo,
                "prompt_tokens" => &mut columns.prompt_tokens,
                "output_tokens" => &mut columns.output_tokens,
                _ => {
                    const KNOWN: [&str; 6] =
                        ["arrival", "arrival_unit", "model", "slo", "prompt_tokens", "output_tokens"];
                    let near = nearest(key, &KNOWN).map_or(String::new(), |near| format!("did you mean `{near}`? "));
                    return Err(format!("unknown `{key}`; {near}known: {}", KNOWN.join(", ")));
                }
            };
            if column.is_empty() || slot.replace(column.to_owned()).is_some() {
                return Err(format!("`{key}` is empty or given twice"));
            }
        }
        Ok(columns)
    }
}

/// A column of a file.
#[derive(Clone, Debug)]
pub(super) struct Column {
    pub(super) at: usize,
    pub(super) name: String,
}

/// Where everything stands in a file.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    pub(super) arrival: Column,
    /// How its times are read.
    pub(super) clock: Clock,
    /// Absent where all requests are for one model.
    pub(super) model: Option<Column>,
    pub(super) slo: Option<Column>,
    /// The unit of the SLO column, in seconds.
    pub(super) slo_unit: f64,
    pub(super) prompt: Option<Column>,
    pub(super) output: Option<Column>,
    /// Whether the file is somebody else's: its rows need not be in order, and may lack what is optional.
    pub(super) foreign: bool,
}

impl Layout {
    /// Checks a header of our own: all names known, none twice, the required ones there. With a mapping, other columns
    /// are passed over.
    pub(super) fn of(path: &Path, header: &[String], mapping: Option<&Columns>) -> Result<Self, FileError> {
        match mapping {
            Some(mapping) => Self::mapped(path, header, mapping),
            None => Self::ours(path, header),
        }
    }

    fn ours(path: &Path, header: &[String]) -> Result<Self, FileError> {
        let find =
            |name: &str| find_column(path, name, header).map(|at| at.map(|at| Column { at, name: name.to_owned() }));
        let of_a_run = find("outcome")?.is_some();
        for column in header {
            let ours = |known: &&str| column.eq_ignore_ascii_case(known);
            if header.iter().filter(|other| ours(&other.as_str())).count() > 1 {
                return Err(FileError::at_line(
                    path,
                    1,
                    format!("column `{}` stands twice in the header", shorten(column)),
                ));
            }
            if COLUMNS.iter().any(ours) || (of_a_run && OF_RESULTS.iter().any(ours)) {
                continue;
            }
            let error = FileError::at_line(path, 1, format!("unknown column `{}`", shorten(column)));
            let (known, map) = (COLUMNS.join(","), "map columns of other names with `columns`");
            return Err(error.with_help(match nearest(column, &COLUMNS) {
                Some(near) => format!("did you mean `{near}`? Known: {known}; {map}"),
                None => format!("known: {known}; {map}"),
            }));
        }
        let required = |name: &str| {
            find(name)?.ok_or_else(|| {
                missing_column(path, name, header)
                    .with_help("requests files begin with arrival_s,model[,slo_s][,prompt_tokens,output_tokens]")
            })
        };
        let (prompt, output) = match (find("prompt_tokens")?, find("output_tokens")?) {
            (None, None) => (None, None),
            // A run may tell how long its answers were, and nothing of the prompts.
            (None, Some(_)) if of_a_run => (None, None),
            _ => (Some(required("prompt_tokens")?), Some(required("output_tokens")?)),
        };
        Ok(Self {
            arrival: required("arrival_s")?,
            clock: Clock::new("arrival_s", Unit::Seconds),
            model: Some(required("model")?),
            slo: find("slo_s")?,
            slo_unit: 1.0,
            prompt,
            output,
            foreign: false,
        })
    }

    fn mapped(path: &Path, header: &[String], mapping: &Columns) -> Result<Self, FileError> {
        let find = |given: &Option<String>, own: &str| {
            let name = given.as_deref().unwrap_or(own);
            match find_column(path, name, header)? {
                Some(at) => Ok(Some(Column { at, name: name.to_owned() })),
                None if given.is_some() => Err(missing_column(path, name, header)),
                None => Ok(None),
            }
        };
        let arrival = find(&mapping.arrival, "arrival_s")?.ok_or_else(|| {
            let what = "the header has no column `arrival_s`, and `columns` names none for `arrival`";
            FileError::at_line(path, 1, what).with_help(columns("arrival", header))
        })?;
        let clock = match mapping.arrival_unit.as_deref() {
            None => Clock::by_name(&arrival.name),
            Some(unit) => Clock::new(
                &*arrival.name,
                Unit::named(unit).ok_or_else(|| {
                    FileError::whole(
                        path,
                        format!("cannot be read: arrival_unit is `{unit}`; s, ms, us or ns were expected"),
                    )
                })?,
            ),
        };
        let slo = find(&mapping.slo, "slo_s")?;
        let slo_unit = slo.as_ref().map_or(1.0, |column| Clock::by_name(&column.name).in_seconds());
        Ok(Self {
            arrival,
            clock,
            model: find(&mapping.model, "model")?,
            slo,
            slo_unit,
            prompt: find(&mapping.prompt_tokens, "prompt_tokens")?,
            output: find(&mapping.output_tokens, "output_tokens")?,
            foreign: true,
        })
    }

    /// The error of a file without a column for models, in a scenario with several.
    pub(super) fn no_model(path: &Path, header: &[String]) -> FileError {
        let what = "the header has no column `model`, and `columns` names none: which model is each request for?";
        FileError::at_line(path, 1, what).with_help(columns("model", header))
    }

    /// The columns that are read.
    pub(super) fn columns(&self) -> impl Iterator<Item = &Column> {
        [Some(&self.arrival), self.model.as_ref(), self.slo.as_ref(), self.prompt.as_ref(), self.output.as_ref()]
            .into_iter()
            .flatten()
    }

    /// Whether the file has token counts.
    pub(super) fn has_lengths(&self) -> bool {
        self.prompt.is_some() || self.output.is_some()
    }
}
