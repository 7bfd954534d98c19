//! Ctrl-C and SIGTERM: one rule for all commands.
//!
//! The first signal asks work that consists of parts to stop; what is finished is kept, written and marked. Work
//! without parts ends at once, as everything does on a second signal. Either way the exit code is 130 after an
//! interrupt (Ctrl-C) and 143 after a termination, and no half-written file is left. A server that serves is told to
//! stop by the first signal, and has done its work then.

use crate::output::say;
use statmux_core::files::abandon_files;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::thread::{self, Thread};

/// What a process that a signal ended has as its exit code, less the signal's number.
const ENDED_BY_SIGNAL: u8 = 128;

/// The number of the signal that came first; 0 before one came.
static ASKED: AtomicU8 = AtomicU8::new(0);

/// Whether work is going on whose finished parts are worth keeping.
static IN_PARTS: AtomicBool = AtomicBool::new(false);

/// Who is woken by the first signal, if somebody waits for it.
static WAITING: OnceLock<Thread> = OnceLock::new();

/// Begins to listen for signals. Called once.
pub(crate) fn listen() {
    if let Err(error) = begin() {
        say(format!("note: signals will end the program at once ({error})"));
    }
}

/// From now on the first signal does not end the program: the work looks at [`asked`].
pub(crate) fn keep_parts() {
    IN_PARTS.store(true, Ordering::SeqCst);
}

/// From now on the first signal does not end the program: it ends the waiting of the thread that called this.
pub(crate) fn await_first() -> FirstSignal {
    assert!(WAITING.set(thread::current()).is_ok(), "one thread waits for the signal");
    FirstSignal(())
}

/// The first signal, which may have come already.
#[must_use]
pub(crate) struct FirstSignal(());

impl FirstSignal {
    /// Returns when it has come.
    pub(crate) fn wait(self) {
        while !asked() {
            thread::park();
        }
    }
}

/// Whether the user has asked to stop.
pub(crate) fn asked() -> bool {
    ASKED.load(Ordering::Relaxed) != 0
}

/// The exit code of a run that was asked to stop.
pub(crate) fn exit_code() -> u8 {
    ENDED_BY_SIGNAL + ASKED.load(Ordering::Relaxed)
}

fn heard(signal: u8) {
    let first = ASKED.compare_exchange(0, signal, Ordering::SeqCst, Ordering::SeqCst).is_ok();
    if first && IN_PARTS.load(Ordering::SeqCst) {
        say("stopping; what is finished is kept. Once more ends at once");
        return;
    }
    if first && let Some(waiting) = WAITING.get() {
        waiting.unpark();
        return;
    }
    abandon_files();
    std::process::exit(i32::from(ENDED_BY_SIGNAL + signal));
}

#[cfg(unix)]
fn begin() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let (mut interrupts, mut terminations) = {
        let _within = runtime.enter();
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
    };
    let listen = move || {
        runtime.block_on(async {
            loop {
                tokio::select! {
                    Some(()) = interrupts.recv() => heard(2),
                    Some(()) = terminations.recv() => heard(15),
                    else => return,
                }
            }
        });
    };
    thread::Builder::new().name("signals".to_owned()).spawn(listen).map(drop)
}

#[cfg(not(unix))]
fn begin() -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let listen = move || {
        runtime.block_on(async {
            while tokio::signal::ctrl_c().await.is_ok() {
                heard(2);
            }
        })
    };
    thread::Builder::new().name("signals".to_owned()).spawn(listen).map(drop)
}
