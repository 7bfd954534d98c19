//! Every figure and table of the AlpaServe experiments, made anew from our own planner and simulator.
//!
//! Start with [`figure::ALL`], the list of figures, and [`generate`], which makes them. A figure names *cases*
//! ([`case`]): scenario files that `statmux simulate` and `statmux plan` read as well. The [`lab`] runs all cases of
//! all figures in parallel and remembers the results by content, so that an interrupted run goes on where it was;
//! then each figure draws ([`artwork`]) and everything is written ([`output`]).
//!
//! **Invariant:** a result comes from the text of its scenario and nothing else, so the scenario written beside a
//! figure is by construction the one that made it.

pub mod artwork;
pub mod case;
pub mod cell;
pub mod error;
pub mod figure;
pub mod lab;
pub mod layers;
pub mod options;
pub mod output;
pub mod published;
pub mod results;
pub mod setting;
pub mod sheet;
pub mod support;
pub mod traces;

pub use error::FiguresError;
pub use figure::FigureInfo;
pub use lab::{Lab, Progress, Silent};
pub use options::Options;
pub use output::Written;

use figure::ALL;
use statmux_core::files::nearest;

/// Makes the figures called `names` (all of them if there is none) and writes them below `options.out`.
///
/// A name also stands for all figures that begin with it and a dash. If `progress` asks to stop, the figures of which
/// all cells are there are written, and the others are named as missing.
pub fn generate(names: &[String], options: &Options, progress: &dyn Progress) -> Result<Written, FiguresError> {
    let figures = select(names)?;
    let lab = Lab::open(options)?;
    let mut drawn: Vec<Option<artwork::Artwork>> = figures.iter().map(|_| None).collect();
    loop {
        for (info, slot) in figures.iter().zip(&mut drawn).filter(|(_, slot)| slot.is_none()) {
            lab.enter(info.name)?;
            match (info.draw)(&lab) {
                Ok(artwork) => *slot = Some(artwork),
                Err(FiguresError::Pending) => {}
                Err(error) => return Err(error),
            }
        }
        if !lab.has_pending() || progress.stop() {
            break;
        }
        match lab.run_pending(progress) {
            // Once more around: what has all its cells is drawn.
            Ok(()) | Err(FiguresError::Interrupted) => {}
            Err(error) => return Err(error),
        }
    }
    let (mut artworks, mut missing) = (Vec::new(), Vec::new());
    for (info, drawn) in figures.into_iter().zip(drawn) {
        match drawn {
            Some(artwork) => artworks.push((info, artwork)),
            None => missing.push(info.name),
        }
    }
    output::write(&lab, &artworks, missing)
}

/// The figures that `names` stand for, in the order of the list.
pub fn select(names: &[String]) -> Result<Vec<&'static FigureInfo>, FiguresError> {
    let means = |name: &str, info: &FigureInfo| {
        info.name == name || info.name.strip_prefix(name).is_some_and(|rest| rest.starts_with('-'))
    };
    for name in names {
        if !ALL.iter().any(|info| means(name, info)) {
            let known: Vec<&str> = ALL.iter().map(|info| info.name).collect();
            let near = nearest(name, &known).map(str::to_owned);
            return Err(FiguresError::UnknownFigure { name: name.clone(), near, known: known.join(", ") });
        }
    }
    Ok(ALL.iter().filter(|info| names.is_empty() || names.iter().any(|name| means(name, info))).collect())
}
