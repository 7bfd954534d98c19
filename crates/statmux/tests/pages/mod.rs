//! The pages of the documentation, and the commands in them.

use std::path::Path;

/// A Markdown page.
pub(crate) struct Page {
    /// Its path from the root of the repository.
    pub(crate) name: String,
    /// Its fenced blocks.
    pub(crate) blocks: Vec<Block>,
    /// Code within sentences.
    spans: Vec<Span>,
}

/// A fenced block.
pub(crate) struct Block {
    /// What stands after the fence, such as `sh` or `sh gpu`.
    info: String,
    /// The line of its fence, from 1.
    pub(crate) line: usize,
    /// What it holds.
    pub(crate) text: String,
}

/// A piece of code, and its line.
pub(crate) struct Span {
    /// From 1.
    pub(crate) line: usize,
    /// The code.
    pub(crate) text: String,
}

impl Block {
    /// Whether a reader without special equipment is to run it.
    pub(crate) fn runs(&self) -> bool {
        self.info == "sh"
    }

    /// What it needs beyond this repository.
    pub(crate) fn needs(&self) -> Option<&str> {
        self.info.strip_prefix("sh ")
    }
}

impl Page {
    /// The page called `name`.
    pub(crate) fn read(root: &Path, name: &str) -> Self {
        let text = std::fs::read_to_string(root.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        let mut page = Self { name: name.to_owned(), blocks: Vec::new(), spans: Vec::new() };
        let mut inside = false;
        for (index, line) in text.lines().enumerate() {
            match (line.strip_prefix("```"), inside) {
                (Some(info), false) => {
                    page.blocks.push(Block { info: info.trim().to_owned(), line: index + 1, text: String::new() });
                    inside = true;
                }
                (Some(_), true) => inside = false,
                (None, true) => {
                    let block = page.blocks.last_mut().expect("a block has begun");
                    block.text.push_str(line);
                    block.text.push('\n');
                }
                (None, false) => {
                    let code = line.split('`').skip(1).step_by(2);
                    page.spans.extend(code.map(|text| Span { line: index + 1, text: text.to_owned() }));
                }
            }
        }
        assert!(!inside, "{name}: a block does not end");
        page
    }

    /// Every page of the repository.
    pub(crate) fn all(root: &Path) -> Vec<Self> {
        let mut folders = vec![root.to_path_buf()];
        let mut pages = Vec::new();
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(&folder).expect("the repository can be read") {
                let path = entry.expect("readable").path();
                let name = path.strip_prefix(root).expect("below it").to_str().expect("our names are text").to_owned();
                let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
                if path.is_dir() && !path.is_symlink() {
                    let built = ["target", "figures", "out"].contains(&name.as_str());
                    folders.extend((!hidden && !built).then_some(path));
                } else if name.ends_with(".md") {
                    pages.push(Self::read(root, &name));
                }
            }
        }
        pages.sort_by(|a, b| a.name.cmp(&b.name));
        assert!(pages.len() > 10, "the pages are not where they were");
        pages
    }

    /// Lines of blocks that are not run, and code within sentences, that begin like a command.
    pub(crate) fn commands(&self) -> Vec<Span> {
        let begins = |text: &str| {
            let (first, rest) = text.split_once(' ').unwrap_or((text, ""));
            // Tables of results have policies of that name.
            let goes_on = rest.starts_with(|c: char| c.is_ascii_lowercase() || c == '-');
            (["statmux", "cargo"].contains(&first) && goes_on)
                || (text.contains(".sh") && (first.starts_with("crates/") || first.starts_with("clients/")))
        };
        let mut found: Vec<Span> = Vec::new();
        for block in self.blocks.iter().filter(|block| !block.runs()) {
            for (index, line) in block.text.lines().enumerate().filter(|(_, line)| begins(line)) {
                found.push(Span { line: block.line + 1 + index, text: line.to_owned() });
            }
        }
        for span in self.spans.iter().filter(|span| begins(&span.text)) {
            found.push(Span { line: span.line, text: span.text.clone() });
        }
        found
    }
}
