//! Checks requests one by one and collects them into columns.

use super::FileRequests;
use super::columns::{Column, Layout};
use super::decimal::push_seconds;
use crate::clock::Clock;
use crate::input::stem;
use crate::messages::{bad_seconds, shorten};
use crate::names::Names;
use crate::rows::{span_or_none, whole};
use statmux_core::files::{FileError, nearest};
use statmux_core::{Lengths, ModelId, Span, Time, Workload};
use std::path::Path;

/// A workload under construction.
pub(super) struct Builder<'a> {
    names: Names,
    workload: Workload,
    layout: &'a Layout,
    /// The model of all requests, where the file names none.
    only: Option<u32>,
}

/// One request as it stands in a file; absent optional values are NaN.
#[derive(Clone, Copy)]
pub(super) struct Raw<'a> {
    pub(super) arrived: Time,
    pub(super) model: Option<&'a [u8]>,
    pub(super) slo: f64,
    pub(super) prompt_tokens: f64,
    pub(super) output_tokens: f64,
}

impl<'a> Builder<'a> {
    /// For the file at `path` with this `header`.
    pub(super) fn new(path: &Path, mut names: Names, layout: &'a Layout, header: &[String]) -> Result<Self, FileError> {
        let only = match layout.model {
            Some(_) => None,
            None => Some(names.only(&stem(path)).ok_or_else(|| Layout::no_model(path, header))?),
        };
        Ok(Self { names, workload: Workload::default(), layout, only })
    }

    /// Makes room for `rows` requests, so that columns need not grow.
    pub(super) fn reserve(&mut self, rows: usize) {
        self.workload.arrived.reserve_exact(rows);
        self.workload.model.reserve_exact(rows);
        self.workload.slo.reserve_exact(if self.layout.slo.is_some() { rows } else { 0 });
        self.workload.lengths.reserve_exact(if self.layout.has_lengths() { rows } else { 0 });
    }

    /// Takes in the next request, or says what is wrong with it.
    pub(super) fn push(&mut self, raw: Raw<'_>) -> Result<(), String> {
        let arrived = raw.arrived;
        if let Some(&last) = self.workload.arrived.last()
            && arrived < last
            && !self.layout.foreign
        {
            return Err(format!(
                "{} is {}, before the previous row's {}; rows must be sorted by arrival",
                self.layout.arrival.name,
                shown(arrived),
                shown(last),
            ));
        }
        let model = match (self.only, raw.model) {
            (Some(only), _) => only,
            (None, name) => {
                let name = name.unwrap_or_default();
                self.names.id(name).ok_or_else(|| self.unknown(name))?
            }
        };
        let rows = self.workload.len();
        self.push_slo(raw, rows)?;
        self.push_lengths(raw, rows)?;
        self.workload.arrived.push(arrived);
        self.workload.model.push(ModelId(model));
        Ok(())
    }

    fn push_slo(&mut self, raw: Raw<'_>, rows: usize) -> Result<(), String> {
        let Some(column) = &self.layout.slo else { return Ok(()) };
        let name = &column.name;
        if !raw.slo.is_nan() {
            if self.workload.slo.len() < rows {
                return Err(format!("{name} is given, but rows before have none; give it in all rows or in none"));
            }
            let slo = span_or_none(raw.slo * self.layout.slo_unit).ok_or_else(|| bad_seconds(name, raw.slo))?;
            self.workload.slo.push(slo);
        } else if self.layout.foreign {
            self.workload.slo.push(Span::MAX);
        } else if !self.workload.slo.is_empty() {
            return Err(format!("{name} is missing, but rows before have one; give it in all rows (`inf` for none)"));
        }
        Ok(())
    }

    fn push_lengths(&mut self, raw: Raw<'_>, rows: usize) -> Result<(), String> {
        if !self.layout.has_lengths() {
            return Ok(());
        }
        let given = !raw.prompt_tokens.is_nan() || !raw.output_tokens.is_nan();
        let foreign = self.layout.foreign;
        if !given && self.workload.lengths.is_empty() && !foreign {
            return Ok(());
        }
        if self.workload.lengths.len() < rows {
            return Err(
                "token counts are given, but rows before have none; give them in all rows or in none".to_owned()
            );
        }
        let tokens = |column: &Option<Column>, own: &str, value: f64| {
            let name = column.as_ref().map_or(own, |column| &column.name);
            match value {
                // Logs say nothing of an answer that failed.
                value if value.is_nan() && foreign => Ok(0),
                value if value.is_nan() => Err(format!("{name} is missing")),
                value => whole(value)
                    .ok_or_else(|| format!("{name} is {value}, which is not a whole number from 0 to 2^32 - 1")),
            }
        };
        let prompt = tokens(&self.layout.prompt, "prompt_tokens", raw.prompt_tokens)?;
        let output = tokens(&self.layout.output, "output_tokens", raw.output_tokens)?;
        self.workload.lengths.push(Lengths { prompt, output });
        Ok(())
    }

    fn unknown(&self, name: &[u8]) -> String {
        let Ok(name) = std::str::from_utf8(name) else { return "model is not UTF-8 text".to_owned() };
        let known: Vec<&str> = self.names.list().iter().map(String::as_str).collect();
        let near = match nearest(name, &known) {
            Some(near) => format!("; did you mean `{near}`?"),
            None => known
                .first()
                .map_or_else(String::new, |first| format!("; known are {} models, such as `{first}`", known.len())),
        };
        format!("model `{}` is unknown{near}", shorten(name))
    }

    /// The workload, lasting until its last arrival, and the models' names. `clock` has read its times.
    pub(super) fn finish(mut self, clock: Clock) -> FileRequests {
        sort(&mut self.workload);
        let last = self.workload.arrived.last().copied().unwrap_or_default();
        self.workload.duration = Span::from_nanos(last.nanos());
        debug_assert!(self.workload.is_well_formed());
        FileRequests { workload: self.workload, names: self.names.into_list(), clock }
    }
}

/// Puts requests in order of arrival, simultaneous ones in the order of the file.
fn sort(workload: &mut Workload) {
    fn arrange<T: Copy>(column: &mut Vec<T>, order: &[u32]) {
        if !column.is_empty() {
            *column = order.iter().map(|&row| column[row as usize]).collect();
        }
    }
    if workload.arrived.is_sorted() {
        return;
    }
    let mut order: Vec<u32> = (0_u32..).take(workload.len()).collect();
    order.sort_by_key(|&row| workload.arrived[row as usize]);
    arrange(&mut workload.arrived, &order);
    arrange(&mut workload.model, &order);
    arrange(&mut workload.slo, &order);
    arrange(&mut workload.lengths, &order);
}

/// A time in seconds, exact.
fn shown(time: Time) -> String {
    let mut text = Vec::new();
    push_seconds(&mut text, time.nanos());
    String::from_utf8(text).expect("digits and a point")
}
