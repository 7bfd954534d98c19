//! A report as one HTML file: no scripts, no requests, readable on light and dark screens, narrow ones and paper.
//!
//! A [`Page`] has a title, a paragraph that says the result, key figures, and [`Section`]s of text, tables, charts,
//! notes on where numbers come from, and raw data that unfolds. Whatever is handed in is text and is escaped.

use crate::chart::Chart;
use crate::chart::style::{Tone, hex};
use crate::markup::escape;
use crate::table::Table;

/// Where numbers come from; readers trust them accordingly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Provenance {
    /// Taken from a clock or a counter on a real machine.
    Measured,
    /// The outcome of a simulation.
    Simulated,
    /// Printed by someone else.
    Published,
    /// Chosen because nothing better was known.
    Assumed,
}

impl Provenance {
    /// All kinds, the most trustworthy first.
    pub const ALL: [Self; 4] = [Self::Measured, Self::Simulated, Self::Published, Self::Assumed];

    /// The word on its badge.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Measured => "measured",
            Self::Simulated => "simulated",
            Self::Published => "published",
            Self::Assumed => "assumed",
        }
    }
}

/// A key figure.
#[derive(Clone, Debug)]
pub struct Card {
    name: String,
    figure: String,
    note: String,
}

impl Card {
    /// A `figure` with its unit, such as "99.95 %", and what it is.
    pub fn new(name: impl Into<String>, figure: impl Into<String>) -> Self {
        Self { name: name.into(), figure: figure.into(), note: String::new() }
    }

    /// A few words below the figure, such as "target 99 %".
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.note = note.into();
        self
    }

    fn to_html(&self) -> String {
        let note = if self.note.is_empty() {
            String::new()
        } else {
            format!("<div class=\"note\">{}</div>", escape(&self.note))
        };
        format!(
            "<li class=\"card\"><div class=\"name\">{}</div><div class=\"figure\">{}</div>{note}</li>\n",
            escape(&self.name),
            escape(&self.figure)
        )
    }
}

/// A heading and what stands below it, in the order in which it was added.
#[derive(Clone, Debug)]
pub struct Section {
    heading: String,
    html: String,
}

impl Section {
    /// A section with nothing in it yet.
    pub fn new(heading: impl Into<String>) -> Self {
        Self { heading: heading.into(), html: String::new() }
    }

    /// Adds paragraphs; an empty line in `text` separates them.
    pub fn text(mut self, text: &str) -> Self {
        self.html.push_str(&paragraphs(text, ""));
        self
    }

    /// Adds a table.
    pub fn table(self, table: &Table) -> Self {
        self.table_with_caption(table, "")
    }

    /// Adds a table and what it says in a sentence.
    pub fn table_with_caption(mut self, table: &Table, caption: &str) -> Self {
        self.html.push_str(&format!(
            "<div class=\"scroll\">\n{}</div>\n{}",
            table.to_html(),
            paragraphs(caption, "caption")
        ));
        self
    }

    /// Adds a chart and what it shows in a sentence.
    pub fn chart(mut self, chart: &Chart, caption: &str) -> Self {
        let caption = escape(caption);
        let svg = chart.svg();
        self.html.push_str(&format!(
            "<figure>\n<div class=\"scroll\">\n{svg}</div>\n<figcaption>{caption}</figcaption>\n</figure>\n"
        ));
        self
    }

    /// Adds a note on where the section's numbers come from.
    pub fn provenance(mut self, provenance: Provenance, note: &str) -> Self {
        let name = provenance.name();
        let note = escape(note);
        self.html.push_str(&format!("<p class=\"provenance\"><span class=\"badge {name}\">{name}</span>{note}</p>\n"));
        self
    }

    /// Adds raw data, such as JSON or TOML, that unfolds below `summary`.
    pub fn details(mut self, summary: &str, raw: &str) -> Self {
        let (summary, raw) = (escape(summary), escape(raw));
        self.html.push_str(&format!("<details>\n<summary>{summary}</summary>\n<pre>{raw}</pre>\n</details>\n"));
        self
    }
}

/// A page, built from the top down.
///
/// ```
/// use statmux_report::html::{Card, Page, Provenance, Section};
/// let page = Page::new("32 models on 16 devices")
///     .lead("Sharing groups of four devices keeps 99.95 % of requests within their SLO.")
///     .card(Card::new("SLO attainment", "99.95 %").note("target 99 %"))
///     .section(Section::new("Setting").provenance(Provenance::Measured, "Stage times of V100s."));
/// assert!(page.to_html().starts_with("<!DOCTYPE html>"));
/// ```
#[derive(Clone, Debug)]
pub struct Page {
    title: String,
    lead: String,
    cards: Vec<Card>,
    sections: Vec<Section>,
    footer: String,
}

impl Page {
    /// A page with nothing but a title yet.
    pub fn new(title: impl Into<String>) -> Self {
        Self {
            title: title.into(),
            lead: String::new(),
            cards: Vec::new(),
            sections: Vec::new(),
            footer: String::new(),
        }
    }

    /// What a reader should take away, in a few sentences.
    pub fn lead(mut self, text: impl Into<String>) -> Self {
        self.lead = text.into();
        self
    }

    /// Adds a key figure.
    pub fn card(mut self, card: Card) -> Self {
        self.cards.push(card);
        self
    }

    /// Adds a section.
    pub fn section(mut self, section: Section) -> Self {
        self.sections.push(section);
        self
    }

    /// What stands at the very end: the command, version and seed that made the page.
    pub fn footer(mut self, text: impl Into<String>) -> Self {
        self.footer = text.into();
        self
    }

    /// The whole file.
    pub fn to_html(&self) -> String {
        let title = escape(&self.title);
        let mut body = format!("<h1>{title}</h1>\n{}", paragraphs(&self.lead, "lead"));
        if !self.cards.is_empty() {
            let cards: String = self.cards.iter().map(Card::to_html).collect();
            body.push_str(&format!("<ul class=\"cards\">\n{cards}</ul>\n"));
        }
        for section in &self.sections {
            body.push_str(&format!("<section>\n<h2>{}</h2>\n{}</section>\n", escape(&section.heading), section.html));
        }
        if !self.footer.is_empty() {
            body.push_str(&format!("<footer>{}</footer>\n", escape(&self.footer)));
        }
        // An empty icon keeps browsers from asking for one.
        format!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n<link rel=\"icon\" href=\"data:,\"/>\n\
             <title>{title}</title>\n<style>\n{}{}</style>\n</head>\n<body>\n<main>\n{body}</main>\n</body>\n</html>\n",
            include_str!("page.css"),
            chart_colours()
        )
    }
}

/// `text` as paragraphs, one per block between empty lines.
fn paragraphs(text: &str, class: &str) -> String {
    let class = if class.is_empty() { String::new() } else { format!(" class=\"{class}\"") };
    let blocks = text.split("\n\n").map(str::trim).filter(|block| !block.is_empty());
    blocks.map(|block| format!("<p{class}>{}</p>\n", escape(block))).collect()
}

/// Rules that give charts the colours of a dark page. Style rules win over the attributes in SVG.
fn chart_colours() -> String {
    let rules: String =
        Tone::all().map(|tone| format!(".chart .{}{{color:{}}}\n", tone.class(), hex(tone.dark()))).collect();
    format!("@media screen and (prefers-color-scheme: dark) {{\n{rules}}}\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chart::{Axis, LineChart, Series};
    use crate::table::Column;
    use proptest::prelude::*;

    fn page(text: &str) -> String {
        let mut table = Table::new([Column::text(text), Column::number("n")]);
        table.row([text, "1"]);
        let series = Series::new(text, [(0.0, 1.0), (1.0, 2.0)]);
        let chart = Chart::from(LineChart::new(Axis::linear(text), Axis::log(text)).series(series).target(1.5, text))
            .title(text);
        Page::new(text)
            .lead(text)
            .card(Card::new(text, text).note(text))
            .section(
                Section::new(text)
                    .text(text)
                    .table_with_caption(&table, text)
                    .chart(&chart, text)
                    .provenance(Provenance::Measured, text)
                    .details(text, text),
            )
            .footer(text)
            .to_html()
    }

    /// The page is XML, too, but for its first line and its style sheet.
    fn parse(html: &str) {
        let body = html.strip_prefix("<!DOCTYPE html>\n").expect("starts with its type");
        roxmltree::Document::parse(body).unwrap_or_else(|e| panic!("{e}"));
    }

    #[test]
    fn text_cannot_become_markup() {
        let html = page("<script>alert('x')</script> & \"more\"");
        assert!(!html.contains("<script"));
        parse(&html);
    }

    #[test]
    fn nothing_is_requested() {
        let html = page("plain").replace("http://www.w3.org/2000/svg", "");
        for request in ["http:", "https:", "url(", "@import", "src="] {
            assert!(!html.contains(request), "{request}");
        }
    }

    #[test]
    fn empty_parts_leave_no_trace() {
        let html = Page::new("t").to_html();
        for part in ["<ul", "<section", "<footer", "<p"] {
            assert!(!html.contains(part), "{part}");
        }
        parse(&html);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn any_text_gives_a_well_formed_page(text: String) {
            parse(&page(&text));
        }
    }
}
