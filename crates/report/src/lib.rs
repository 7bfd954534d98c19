//! Results for people: numbers with units, tables, charts and self-contained HTML pages.
//!
//! **Invariant:** nothing here computes a metric. Callers bring figures that `statmux_core::metrics`
//! defined; this crate only shows them, the same way everywhere.
//!
//! Start with [`Table`], [`chart::Chart`] and [`html::Page`]. Formatting of single numbers is in [`number`];
//! [`sparkline`] draws series of numbers with characters.

pub mod chart;
pub mod html;
pub mod number;
pub mod sparkline;
pub mod table;

mod markup;

pub use chart::Chart;
pub use html::Page;
pub use table::Table;
