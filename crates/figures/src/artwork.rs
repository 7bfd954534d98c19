//! What a figure hands over: panels, numbers, words.

use statmux_report::{Chart, Table};

/// A finished figure or table.
#[derive(Clone, Debug)]
pub struct Artwork {
    /// What it shows, as a heading.
    pub title: String,
    /// What a reader should see in it, in a sentence or two, computed where it contains numbers.
    pub message: String,
    /// Where the numbers come from and what was changed, shortened or assumed.
    pub note: String,
    /// The panels, from left to right and then down; none for a table.
    pub panels: Vec<Chart>,
    /// How many panels stand beside each other.
    pub columns: usize,
    /// The numbers.
    pub table: Table,
    /// What the numbers come to, where there are many.
    pub summary: Option<Table>,
}

/// The size of one panel in pixels of the SVG.
pub const PANEL: (u32, u32) = (480, 330);

impl Artwork {
    /// A figure of one panel.
    pub fn new(title: impl Into<String>, panel: Chart, table: Table) -> Self {
        let title = title.into();
        Self { panels: vec![panel.title(title.clone())], columns: 1, ..Self::table(title, table) }
    }

    /// A figure of several panels, each with its own title.
    pub fn panels(title: impl Into<String>, columns: usize, panels: Vec<Chart>, table: Table) -> Self {
        let panels = panels.into_iter().map(|panel| panel.size(PANEL.0, PANEL.1)).collect();
        Self { panels, columns, ..Self::table(title, table) }
    }

    /// A table without a picture.
    pub fn table(title: impl Into<String>, table: Table) -> Self {
        Self {
            title: title.into(),
            message: String::new(),
            note: String::new(),
            panels: Vec::new(),
            columns: 1,
            table,
            summary: None,
        }
    }

    /// The same with a message.
    pub fn saying(self, message: impl Into<String>) -> Self {
        Self { message: message.into(), ..self }
    }

    /// The same with a summary of its numbers.
    pub fn summed_up(self, summary: Table) -> Self {
        Self { summary: Some(summary), ..self }
    }

    /// The message, and the summary, or all numbers if they are few.
    pub fn text(&self) -> String {
        const FEW: usize = 20;
        let table = self.summary.as_ref().or_else(|| Some(&self.table).filter(|table| table.len() <= FEW));
        let table = table.map(|table| format!("\n{}", table.to_text())).unwrap_or_default();
        let lines: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
        format!("{}\n{}\n", self.message, lines.join("\n")).trim_end().to_owned() + "\n"
    }

    /// The same with a note.
    pub fn noting(self, note: impl Into<String>) -> Self {
        Self { note: note.into(), ..self }
    }
}
