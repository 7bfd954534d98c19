//! Brings the tables of RESULTS.md up to date: `cargo run --release -p statmux-figures --example results -- FOLDER FILE`,
//! where FOLDER is what `statmux figures --out FOLDER` wrote.

use statmux_figures::results::fill;
use std::path::Path;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(folder), Some(file)) = (arguments.next(), arguments.next()) else {
        return Err("usage: results FOLDER FILE".into());
    };
    let filled = fill(&std::fs::read_to_string(&file)?, Path::new(&folder));
    std::fs::write(&file, filled)?;
    Ok(())
}
