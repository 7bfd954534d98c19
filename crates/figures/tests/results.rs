//! RESULTS.md says what the figures say now.

use statmux_figures::case::RULES;
use statmux_figures::results::{blocks, fill};
use statmux_figures::{Options, Silent, generate};

const RESULTS: &str = include_str!("../../../RESULTS.md");

/// The figures of RESULTS.md that take seconds each, in full.
const CHEAP: [&str; 11] =
    ["fig1", "fig2", "fig3", "fig5", "fig7", "paper2", "paper8", "paper9", "paper16", "published-real", "table3"];

#[test]
fn cheap_blocks_are_what_the_figures_say() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let options = Options { out: folder.path().to_owned(), ..Options::default() };
    generate(&CHEAP.map(str::to_owned), &options, &Silent).expect("the figures are made");
    let filled = fill(RESULTS, folder.path());
    for (now, written) in filled.lines().zip(RESULTS.lines()) {
        assert_eq!(now, written, "RESULTS.md is stale: see its second paragraph on how to bring it up to date");
    }
    assert_eq!(filled.len(), RESULTS.len());
}

#[test]
fn no_block_is_of_other_rules() {
    let blocks = blocks(RESULTS);
    assert!(CHEAP.iter().all(|name| blocks.iter().any(|block| block.figure == *name)));
    for block in blocks {
        assert_eq!(block.rules, RULES.to_string(), "{} was made before the rules changed: make it again", block.figure);
    }
}
