//! The benchmark suite: policies side by side on scenario files, and how planning time grows.
//!
//! ```sh
//! suite="cargo run --release -p statmux --example suite --"
//! $suite run scenarios/suite/*.toml          # every policy on every scenario: rows of docs/suite.csv
//! $suite devices 1s scenarios/suite/*.toml   # devices needed for 99 %: rows of docs/suite-devices.csv
//! $suite scale 1000 1024 10000000            # models, devices, requests: a row of docs/suite-scale.csv
//! $suite unseen 2                            # traffic nobody saw, drawn by seed 2: rows of docs/suite-unseen.csv
//! $suite draw                                # docs/suite.md and its pictures, from those rows
//! $suite try statmux:moves=500 scenarios/suite/s1-small.toml   # one policy with keys of its own; writes nothing
//! ```

mod case;
mod devices;
mod draw;
mod rows;
mod scale;
mod unseen;

use case::{Case, Scored};
use rows::{Rows, SUITE};
use std::error::Error;
use std::path::Path;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// The policies of the table: the published ones, a clairvoyant swapper, and ours with its defaults.
const POLICIES: [&str; 4] = ["alpaserve-buckets", "selective-replication", "clockwork++", "statmux"];

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["run", files @ ..] => files.iter().try_for_each(|file| run(Path::new(file))),
        ["devices", budget, files @ ..] => files.iter().try_for_each(|file| devices::run(Path::new(file), budget)),
        ["scale", models, devices, requests] => scale::run(models.parse()?, devices.parse()?, requests.parse()?),
        ["unseen", seed] => unseen::run(seed.parse()?),
        ["draw"] => draw::run(),
        ["try", policy, files @ ..] => {
            for file in files {
                let case = Case::load(Path::new(file), &[])?;
                println!("{}", case.score(policy)?.line(&case.name, policy));
            }
            Ok(())
        }
        _ => {
            Err("say run, devices, scale, unseen, draw or try; the first lines of this example's source show how"
                .into())
        }
    }
}

/// Adds the rows of one scenario that are missing.
fn run(path: &Path) -> Result<()> {
    let case = Case::load(path, &[])?;
    for policy in POLICIES {
        if Rows::read(SUITE)?.find(&[&case.name, policy]).is_some() {
            continue;
        }
        let scored = case.score(policy)?;
        println!("{}", scored.line(&case.name, policy));
        let Scored { train, test, requests, missed, fixed_bound, bound, seconds, .. } = scored;
        Rows::add(
            SUITE,
            &format!("{},{policy},{train},{test},{requests},{missed},{fixed_bound},{bound},{seconds:.3}", case.name),
        )?;
    }
    Ok(())
}
