//! Checks requests one by one and collects them into columns.

use crate::names::Names;
use crate::rows::{bad_seconds, shorten, span_or_none, whole};
use statmux_core::files::nearest;
use statmux_core::{Lengths, ModelId, Span, Time, Workload};

/// A workload under construction.
pub(super) struct Builder {
    names: Names,
    workload: Workload,
}

/// One request as it stands in a file; absent optional values are NaN.
#[derive(Clone, Copy)]
pub(super) struct Raw<'a> {
    pub(super) arrival_s: f64,
    pub(super) model: &'a [u8],
    pub(super) slo_s: f64,
    pub(super) prompt_tokens: f64,
    pub(super) output_tokens: f64,
}

impl Builder {
    pub(super) fn new(names: Names) -> Self {
        Self { names, workload: Workload::default() }
    }

    /// Makes room for `rows` requests, so that columns need not grow.
    pub(super) fn reserve(&mut self, rows: usize, slo: bool, lengths: bool) {
        self.workload.arrived.reserve_exact(rows);
        self.workload.model.reserve_exact(rows);
        self.workload.slo.reserve_exact(if slo { rows } else { 0 });
        self.workload.lengths.reserve_exact(if lengths { rows } else { 0 });
    }

    /// Takes in the next request, or says what is wrong with it.
    pub(super) fn push(&mut self, raw: Raw<'_>) -> Result<(), String> {
        let arrived = Time::from_seconds(raw.arrival_s).ok_or_else(|| bad_seconds("arrival_s", raw.arrival_s))?;
        if let Some(&last) = self.workload.arrived.last()
            && arrived < last
        {
            return Err(format!(
                "arrival_s is {}, before the previous row's {}; rows must be sorted by arrival",
                raw.arrival_s,
                last.seconds()
            ));
        }
        let model = self.names.id(raw.model).ok_or_else(|| self.unknown(raw.model))?;
        let rows = self.workload.len();
        if !raw.slo_s.is_nan() {
            if self.workload.slo.len() < rows {
                return Err("slo_s is given, but rows before have none; give it in all rows or in none".to_owned());
            }
            let slo = span_or_none(raw.slo_s).ok_or_else(|| bad_seconds("slo_s", raw.slo_s))?;
            self.workload.slo.push(slo);
        } else if !self.workload.slo.is_empty() {
            return Err("slo_s is missing, but rows before have one; give it in all rows (`inf` for none)".to_owned());
        }
        self.push_lengths(raw, rows)?;
        self.workload.arrived.push(arrived);
        self.workload.model.push(ModelId(model));
        Ok(())
    }

    fn push_lengths(&mut self, raw: Raw<'_>, rows: usize) -> Result<(), String> {
        let given = !raw.prompt_tokens.is_nan() || !raw.output_tokens.is_nan();
        if !given && self.workload.lengths.is_empty() {
            return Ok(());
        }
        if self.workload.lengths.len() < rows {
            return Err(
                "token counts are given, but rows before have none; give them in all rows or in none".to_owned()
            );
        }
        let tokens = |name: &str, value: f64| match value {
            value if value.is_nan() => Err(format!("{name} is missing")),
            value => {
                whole(value).ok_or_else(|| format!("{name} is {value}, which is not a whole number from 0 to 2^32 - 1"))
            }
        };
        let prompt = tokens("prompt_tokens", raw.prompt_tokens)?;
        let output = tokens("output_tokens", raw.output_tokens)?;
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

    /// The workload, lasting until its last arrival, and the models' names.
    pub(super) fn finish(mut self) -> (Workload, Vec<String>) {
        let last = self.workload.arrived.last().copied().unwrap_or_default();
        self.workload.duration = Span::from_nanos(last.nanos());
        debug_assert!(self.workload.is_well_formed());
        (self.workload, self.names.into_list())
    }
}
