//! Ctrl-C: asks long work to stop with what it has; a second one ends the program at once.

use std::sync::atomic::{AtomicBool, Ordering};

static ASKED: AtomicBool = AtomicBool::new(false);

/// Begins to listen for Ctrl-C. Called once, by commands whose work can be cut short.
pub(crate) fn listen() {
    let heard = ctrlc::set_handler(|| {
        if ASKED.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
        eprintln!("stopping with the best so far; press Ctrl-C again to end at once");
    });
    // Without a handler Ctrl-C simply ends the program: nothing half-written is left in either case.
    if let Err(error) = heard {
        eprintln!("note: Ctrl-C will end the program at once ({error})");
    }
}

/// Whether the user has asked to stop.
pub(crate) fn asked() -> bool {
    ASKED.load(Ordering::Relaxed)
}
