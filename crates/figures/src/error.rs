//! Why figures could not be made.

use statmux_core::files::FileError;
use statmux_report::chart::PngError;
use statmux_scenario::ScenarioError;

/// Why figures could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FiguresError {
    /// No figure has this name.
    #[error("there is no figure `{name}`{}; known: {known}", near.as_ref().map(|near| format!(", did you mean `{near}`?")).unwrap_or_default())]
    UnknownFigure {
        /// What was asked for.
        name: String,
        /// The nearest name there is.
        near: Option<String>,
        /// All names.
        known: String,
    },
    /// No trace column has this name.
    #[error("there is no trace `{0}`; the traces are maf1, maf2 and servegen, as in `--trace maf1=DIR`")]
    UnknownTrace(String),
    /// A file could not be used.
    #[error(transparent)]
    File(#[from] FileError),
    /// A case could not be planned for or simulated.
    #[error("{case}: {cause}")]
    Case {
        /// The case.
        case: String,
        /// What is wrong with it.
        cause: Box<ScenarioError>,
    },
    /// A picture could not be encoded.
    #[error(transparent)]
    Png(#[from] PngError),
    /// Several pictures could not be put on one sheet.
    #[error("cannot put the panels of a figure on one sheet: {0}")]
    Sheet(String),
    /// A trace's columns are not as expected.
    #[error("embedded data are damaged: {0}")]
    Embedded(String),
    /// Whoever asked wants no more; what was measured is kept.
    #[error("interrupted; the same command goes on from here")]
    Interrupted,
    /// Some cells of the figure have not been measured yet.
    #[error("not all cells are measured yet")]
    Pending,
}
