//! The figures, a file per family.
//!
//! To add one: write a function that names its cases, measures them with [`Lab::measure`], and draws; add a line to
//! [`ALL`]. Command line, index page and tests read that list.

mod cells;
mod end_to_end;
mod motivation;
mod others;
mod overheads;
mod sweep;
mod tables;
mod two_models;

use crate::artwork::Artwork;
use crate::error::FiguresError;
use crate::lab::Lab;

/// A figure or table that can be made.
#[derive(Clone, Copy, Debug)]
pub struct FigureInfo {
    /// Its name on the command line and of its files.
    pub name: &'static str,
    /// What it shows, in a sentence.
    pub about: &'static str,
    /// Makes it.
    pub draw: fn(&Lab) -> Result<Artwork, FiguresError>,
}

/// Every figure, in the order in which they are shown.
pub const ALL: &[FigureInfo] = &[
    motivation::MEMORY_MEAN,
    motivation::MEMORY_P99,
    motivation::CV_MEAN,
    motivation::CV_P99,
    motivation::RATE_MEAN,
    motivation::RATE_P99,
    motivation::SLO,
    end_to_end::DEVICES,
    end_to_end::DEVICES_EARLIER,
    end_to_end::RATE,
    end_to_end::RATE_EARLIER,
    end_to_end::CV,
    end_to_end::CV_EARLIER,
    end_to_end::SLO,
    end_to_end::SLO_EARLIER,
    two_models::TWO_MODELS,
    motivation::OVERHEAD,
    overheads::DECOMPOSITION,
    overheads::SCALING,
    overheads::QUEUEING,
    others::LARGE,
    others::ROBUSTNESS,
    others::BATCHING,
    overheads::PARTITION,
    others::ABLATION,
    tables::MACHINE,
    tables::SOFTWARE,
    tables::MODELS,
    cells::CELLS,
    cells::FAMILIES,
    cells::REAL,
];
