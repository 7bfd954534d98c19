//! Makes figures without the command line: `cargo run --release --example figures -- [--quick] [--out DIR] [NAME…]`.

use statmux_figures::{Options, Progress, generate};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

/// A line per tenth of the work.
struct Lines {
    began: Instant,
    all: AtomicUsize,
    done: AtomicUsize,
}

impl Progress for Lines {
    fn begin(&self, cells: usize) {
        self.all.store(cells, Ordering::Relaxed);
        self.done.store(0, Ordering::Relaxed);
        eprintln!("{cells} cells");
    }

    fn done(&self, case: &str) {
        let done = 1 + self.done.fetch_add(1, Ordering::Relaxed);
        let all = self.all.load(Ordering::Relaxed);
        if done.is_multiple_of(all.div_ceil(10)) || done == all {
            eprintln!("{done}/{all} after {:.1} s, last {case}", self.began.elapsed().as_secs_f64());
        }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut options = Options { out: "figures".into(), ..Options::default() };
    let mut names = Vec::new();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--quick" => options.quick = true,
            "--out" => options.out = arguments.next().ok_or("--out needs a folder")?.into(),
            _ => names.push(argument),
        }
    }
    let progress = Lines { began: Instant::now(), all: AtomicUsize::new(0), done: AtomicUsize::new(0) };
    let written = generate(&names, &options, &progress)?;
    for (name, message) in written.figures {
        println!("{name}: {message}");
    }
    println!("{} after {:.1} s", written.index.display(), progress.began.elapsed().as_secs_f64());
    Ok(())
}
