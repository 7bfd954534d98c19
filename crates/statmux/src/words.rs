//! The words of the trade in a sentence each: what `--help`, the demo and its page say of them.
//!
//! A test holds `docs/words.md` to the same sentences.

use statmux_report::table::{Column, Table};

/// A word, and what is meant by it.
pub(crate) const WORDS: &[(&str, &str)] = &[
    ("model", "a network with its weights and the latency promised for it; several may have the same architecture"),
    ("replica", "one loaded copy of a model on a group"),
    ("device", "one accelerator, or one processor core that stands for it, with a budget of memory"),
    ("group", "a set of devices that together run one pipeline, for every model that has a replica on it"),
    (
        "stage",
        "a group's slice of a model's layers; `pp` is the number of stages (pipeline or inter-operator parallelism)",
    ),
    ("shard", "one device's part of a stage; `op` is the number of shards (tensor or intra-operator parallelism)"),
    ("placement", "which groups there are, how each cuts models, and which replicas it holds"),
    ("profile", "stage times and memory of models, by `op`, `pp` and batch size"),
    ("SLO", "the latency promised for a model's requests"),
    ("SLO scale", "an SLO as a multiple of the model's own latency, alone on one device at batch size 1"),
    ("deadline", "when a request arrived, plus its SLO"),
    ("SLO attainment", "the share of all requests answered by their deadline; refused ones count as missed"),
    ("goodput", "requests answered by their deadline, per second"),
    (
        "CV",
        "how bursty arrivals are: standard deviation over mean of the gaps between them (0 regular, 1 random, above 1 in bursts)",
    ),
    ("train window", "the requests that a planner may look at"),
    ("test window", "the requests that a plan is scored on"),
    (
        "dispatch, discipline, admission",
        "which group a request goes to; in what order requests run; which are refused at once",
    ),
    ("upper bound", "an attainment that no placement and no scheduler can exceed on the same requests and devices"),
];

/// All words as a table.
pub(crate) fn table() -> Table {
    let mut table = Table::new([Column::text("word"), Column::text("what it means")]);
    for &(word, meaning) in WORDS {
        table.row([word, meaning]);
    }
    table
}

/// All words as lines of text, for `--help`.
pub(crate) fn lines() -> String {
    let lines: Vec<String> = WORDS.iter().map(|(word, meaning)| format!("  {word}: {meaning}")).collect();
    format!("Words:\n{}", lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documentation_says_the_same() {
        let page = include_str!("../../../docs/words.md");
        for (word, meaning) in WORDS {
            let row = format!("| {word} | {meaning} |");
            assert!(page.contains(&row), "docs/words.md lacks the line\n{row}");
        }
        let rows = page.lines().filter(|line| line.starts_with("| ")).count();
        assert_eq!(rows, WORDS.len() + 1, "docs/words.md has lines that the program does not know");
    }
}
