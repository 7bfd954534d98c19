//! Puts what figures say into a document, so that its numbers are those that were measured.
//!
//! A block begins with a line `<!-- figure: fig1, rules 1 -->` and ends with `<!-- end -->`; what stands between is
//! replaced by the figure's text. The rules' number says for which version of the planner and the simulator the block
//! was made ([`RULES`]).

use crate::case::RULES;
use std::path::Path;

/// One block of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// The figure's name.
    pub figure: String,
    /// The rules it was made with, as written.
    pub rules: String,
}

const BEGIN: &str = "<!-- figure: ";
const END: &str = "<!-- end -->";

/// The blocks of a document, in their order.
pub fn blocks(document: &str) -> Vec<Block> {
    document.lines().filter_map(block).collect()
}

fn block(line: &str) -> Option<Block> {
    let inner = line.strip_prefix(BEGIN)?.strip_suffix(" -->")?;
    let (figure, rules) = inner.split_once(", rules ").unwrap_or((inner, ""));
    Some(Block { figure: figure.to_owned(), rules: rules.to_owned() })
}

/// `document` with every block replaced whose figure's text is in `folder`.
pub fn fill(document: &str, folder: &Path) -> String {
    let mut filled = String::new();
    let mut lines = document.lines();
    while let Some(line) = lines.next() {
        let text = block(line).and_then(|block| {
            let text = std::fs::read_to_string(folder.join(format!("{}.txt", block.figure))).ok()?;
            Some((block, text))
        });
        let Some((block, text)) = text else {
            filled.push_str(line);
            filled.push('\n');
            continue;
        };
        lines.by_ref().find(|line| *line == END);
        filled.push_str(&format!("{BEGIN}{}, rules {RULES} -->\n```text\n{text}```\n{END}\n", block.figure));
    }
    filled
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_blocks_with_a_text_change() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        std::fs::write(folder.path().join("fig1.txt"), "new\n").expect("the folder is ours");
        let document = "a\n<!-- figure: fig1, rules 0 -->\nold\n<!-- end -->\n<!-- figure: fig2, rules 0 -->\nkept\n<!-- end -->\nb\n";
        let filled = fill(document, folder.path());
        let expected = format!(
            "a\n<!-- figure: fig1, rules {RULES} -->\n```text\nnew\n```\n<!-- end -->\n<!-- figure: fig2, rules 0 -->\nkept\n<!-- end -->\nb\n"
        );
        assert_eq!(filled, expected);
        assert_eq!(fill(&filled, folder.path()), filled);
        assert_eq!(blocks(document).len(), 2);
    }
}
