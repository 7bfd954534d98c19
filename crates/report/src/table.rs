//! Tables that are shown in a terminal, on a page, or read by a program.
//!
//! A [`Cell`] holds what people see and, where that is rounded, what programs should read instead, so that one table
//! serves all three. Build it once, then call [`Table::to_text`], [`Table::to_html`] or [`Table::to_csv`].

use crate::markup::escape;
use crate::number;

/// To which side a column's cells move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    /// Text.
    Left,
    /// Numbers.
    Right,
}

/// A column's heading and alignment.
#[derive(Clone, Debug)]
pub struct Column {
    heading: String,
    key: Option<String>,
    align: Align,
}

impl Column {
    /// A column of words, aligned to the left.
    pub fn text(heading: impl Into<String>) -> Self {
        Self { heading: heading.into(), key: None, align: Align::Left }
    }

    /// A column of numbers, aligned to the right.
    pub fn number(heading: impl Into<String>) -> Self {
        Self { align: Align::Right, ..Self::text(heading) }
    }

    /// The column's name in CSV, with its unit last, such as `latency_p99_s`; the heading if not given.
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }
}

/// One field of a table.
#[derive(Clone, Debug, Default)]
pub struct Cell {
    shown: String,
    exact: Option<String>,
    strong: bool,
}

impl Cell {
    /// Shows `shown` to people and writes `exact` to CSV.
    pub fn new(shown: impl Into<String>, exact: impl ToString) -> Self {
        Self { shown: shown.into(), exact: Some(exact.to_string()), strong: false }
    }

    /// A fraction as a percentage.
    pub fn percent(fraction: f64) -> Self {
        Self::number(number::percent(fraction), fraction)
    }

    /// A short time given in seconds.
    pub fn latency(seconds: f64) -> Self {
        Self::number(number::latency(seconds), seconds)
    }

    /// A number of things.
    pub fn count(things: u64) -> Self {
        Self::new(number::count(things), things)
    }

    /// A number with `digits` significant digits.
    pub fn significant(value: f64, digits: u32) -> Self {
        Self::number(number::significant(value, digits), value)
    }

    /// Nothing: shown as a dash, empty in CSV.
    pub fn nothing() -> Self {
        Self::new(number::NOTHING, "")
    }

    /// Makes the cell stand out on pages, for the best of a column, say.
    pub fn strong(mut self) -> Self {
        self.strong = true;
        self
    }

    /// A number that is empty in CSV if it is not finite.
    fn number(shown: String, value: f64) -> Self {
        Self { shown, exact: Some(if value.is_finite() { value.to_string() } else { String::new() }), strong: false }
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(shown: T) -> Self {
        Self { shown: shown.into(), exact: None, strong: false }
    }
}

/// Rows under headings.
///
/// ```
/// use statmux_report::table::{Cell, Column, Table};
/// let mut table = Table::new([Column::text("policy"), Column::number("attainment").key("slo_attainment")]);
/// table.row([Cell::from("alpaserve"), Cell::percent(0.9995)]);
/// table.row([Cell::from("round-robin"), Cell::percent(0.5)]);
/// assert_eq!(
///     table.to_text(),
///     "policy       attainment\n───────────  ──────────\nalpaserve       99.95 %\nround-robin      50.0 %\n"
/// );
/// assert_eq!(table.to_csv(), "policy,slo_attainment\nalpaserve,0.9995\nround-robin,0.5\n");
/// ```
#[derive(Clone, Debug)]
pub struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<Cell>>,
    when_empty: String,
}

impl Table {
    /// A table without rows.
    pub fn new(columns: impl IntoIterator<Item = Column>) -> Self {
        Self { columns: columns.into_iter().collect(), rows: Vec::new(), when_empty: "nothing to show".to_owned() }
    }

    /// What people read instead of rows when there are none, such as "no requests in this window".
    pub fn when_empty(mut self, message: impl Into<String>) -> Self {
        self.when_empty = message.into();
        self
    }

    /// Adds a row.
    ///
    /// # Panics
    /// If it has more or fewer cells than the table has columns.
    pub fn row(&mut self, cells: impl IntoIterator<Item = impl Into<Cell>>) {
        let cells: Vec<Cell> = cells.into_iter().map(Into::into).collect();
        assert_eq!(cells.len(), self.columns.len(), "a row has one cell per column");
        self.rows.push(cells);
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Aligned lines for a terminal: headings, a rule, one line per row, no trailing blanks.
    pub fn to_text(&self) -> String {
        let headings: Vec<_> = self.columns.iter().map(|column| one_line(&column.heading)).collect();
        let rows: Vec<Vec<_>> =
            self.rows.iter().map(|row| row.iter().map(|cell| one_line(&cell.shown)).collect()).collect();
        let widths: Vec<_> = (0..self.columns.len())
            .map(|i| rows.iter().map(|row| width(&row[i])).max().unwrap_or(0).max(width(&headings[i])))
            .collect();
        let mut text = self.line(&headings, &widths);
        let rule: Vec<_> = widths.iter().map(|&width| "─".repeat(width)).collect();
        text.push_str(&self.line(&rule, &widths));
        for row in &rows {
            text.push_str(&self.line(row, &widths));
        }
        if rows.is_empty() {
            text.push_str(&format!("({})\n", one_line(&self.when_empty)));
        }
        text
    }

    fn line(&self, fields: &[String], widths: &[usize]) -> String {
        let padded: Vec<_> = fields
            .iter()
            .zip(widths)
            .zip(&self.columns)
            .map(|((field, &full), column)| {
                let blanks = " ".repeat(full - width(field));
                match column.align {
                    Align::Left => format!("{field}{blanks}"),
                    Align::Right => format!("{blanks}{field}"),
                }
            })
            .collect();
        format!("{}\n", padded.join("  ").trim_end())
    }

    /// A `<table>` element, everything escaped; its look comes from the page.
    pub fn to_html(&self) -> String {
        let class = |column: &Column| if column.align == Align::Right { " class=\"number\"" } else { "" };
        let mut html = String::from("<table>\n<thead><tr>");
        for column in &self.columns {
            html.push_str(&format!("<th scope=\"col\"{}>{}</th>", class(column), escape(&column.heading)));
        }
        html.push_str("</tr></thead>\n<tbody>\n");
        for row in &self.rows {
            html.push_str("<tr>");
            for (cell, column) in row.iter().zip(&self.columns) {
                let shown = escape(&cell.shown);
                let shown = if cell.strong { format!("<strong>{shown}</strong>") } else { shown };
                html.push_str(&format!("<td{}>{shown}</td>", class(column)));
            }
            html.push_str("</tr>\n");
        }
        if self.rows.is_empty() {
            let span = self.columns.len().max(1);
            html.push_str(&format!(
                "<tr><td class=\"none\" colspan=\"{span}\">{}</td></tr>\n",
                escape(&self.when_empty)
            ));
        }
        html.push_str("</tbody>\n</table>\n");
        html
    }

    /// Comma-separated values with exact numbers; the header alone if there are no rows.
    pub fn to_csv(&self) -> String {
        let mut writer = csv::Writer::from_writer(Vec::new());
        let header = self.columns.iter().map(|column| column.key.as_ref().unwrap_or(&column.heading));
        writer.write_record(header).expect("memory can be written");
        for row in &self.rows {
            let fields = row.iter().map(|cell| cell.exact.as_ref().unwrap_or(&cell.shown));
            writer.write_record(fields).expect("rows are as long as the header");
        }
        let bytes = writer.into_inner().expect("memory can be flushed");
        String::from_utf8(bytes).expect("made from strings")
    }
}

/// `text` with line breaks and other control characters turned into spaces.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// How many terminal columns `text` takes.
///
/// Combining marks and joiners take none, East Asian wide characters and emoji two, all else one: block and box
/// characters, dashes and Greek among it. An approximation by ranges, since nothing here writes more exotic text.
pub fn width(text: &str) -> usize {
    text.chars()
        .map(|c| match c as u32 {
            0x0300..=0x036f | 0x200b..=0x200f | 0xfe00..=0xfe0f => 0,
            0x1100..=0x115f | 0x2e80..=0xa4cf | 0xac00..=0xd7a3 | 0xf900..=0xfaff | 0xfe30..=0xfe6f => 2,
            0xff00..=0xff60 | 0xffe0..=0xffe6 | 0x1f300..=0x1f64f | 0x1f900..=0x1f9ff | 0x20000..=0x3fffd => 2,
            _ => 1,
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn example() -> Table {
        let mut table = Table::new([
            Column::text("model"),
            Column::text("load"),
            Column::number("attainment").key("slo_attainment"),
            Column::number("p99").key("latency_p99_s"),
        ]);
        table.row([Cell::from("bert-1.3b"), Cell::from("▁▃█"), Cell::percent(0.9995).strong(), Cell::latency(0.755)]);
        table.row([Cell::from("<moe>, \"large\""), Cell::from("▁▁▁▁▁"), Cell::percent(1.0), Cell::nothing()]);
        table
    }

    #[test]
    fn columns_line_up() {
        let expected = "\
model           load   attainment     p99
──────────────  ─────  ──────────  ──────
bert-1.3b       ▁▃█       99.95 %  755 ms
<moe>, \"large\"  ▁▁▁▁▁       100 %       –
";
        assert_eq!(example().to_text(), expected);
    }

    #[test]
    fn csv_has_exact_numbers_and_quotes() {
        let expected = "\
model,load,slo_attainment,latency_p99_s
bert-1.3b,▁▃█,0.9995,0.755
\"<moe>, \"\"large\"\"\",▁▁▁▁▁,1,
";
        assert_eq!(example().to_csv(), expected);
    }

    #[test]
    fn html_is_escaped() {
        let html = example().to_html();
        assert!(html.contains("<td>&lt;moe&gt;, &quot;large&quot;</td>"), "{html}");
        assert!(html.contains("<td class=\"number\"><strong>99.95 %</strong></td>"), "{html}");
        roxmltree::Document::parse(&html).expect("well-formed");
    }

    #[test]
    fn empty_tables_say_so() {
        let table = Table::new([Column::text("model"), Column::number("rate")]).when_empty("no requests");
        assert_eq!(table.to_text(), "model  rate\n─────  ────\n(no requests)\n");
        assert_eq!(table.to_csv(), "model,rate\n");
        assert!(table.to_html().contains("<td class=\"none\" colspan=\"2\">no requests</td>"));
    }

    proptest! {
        #[test]
        fn every_row_is_one_line_and_all_html_is_well_formed(cells: Vec<(String, String)>) {
            let mut table = Table::new([Column::text("a"), Column::number("b")]);
            for (left, right) in &cells {
                table.row([left.as_str(), right.as_str()]);
            }
            prop_assert_eq!(table.to_text().split('\n').count(), 3 + cells.len().max(1));
            prop_assert!(roxmltree::Document::parse(&table.to_html()).is_ok());
        }
    }
}
