//! Which modules of a crate name which others.

use super::source::{Source, Written};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// A module by its path from the root, which is the empty path.
pub(crate) type Module = Vec<String>;

/// Which siblings name which, and the modules in which that is written.
type Arrows = BTreeMap<(String, String), BTreeSet<String>>;

/// The modules of one crate.
#[derive(Debug, Default)]
pub(crate) struct Graph {
    modules: BTreeMap<Module, Source>,
}

impl Graph {
    /// Reads the crate whose root is the file at `root`.
    pub(crate) fn read(root: &Path) -> Self {
        let mut graph = Self::default();
        graph.file(root, root.parent().expect("a file is in a folder"), Module::new());
        graph
    }

    /// Takes in `file`; the files of its modules are in `folder`.
    fn file(&mut self, file: &Path, folder: &Path, module: Module) {
        let text = fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        self.add(Source::parse(&text), folder, module);
    }

    fn add(&mut self, mut source: Source, folder: &Path, module: Module) {
        let below = |name: &String| module.iter().chain([name]).cloned().collect::<Module>();
        for name in &source.declared {
            let files = [folder.join(format!("{name}.rs")), folder.join(name).join("mod.rs")];
            let file = files.iter().find(|file| file.is_file());
            let file = file.unwrap_or_else(|| panic!("{}: no file of module {name}", folder.display()));
            self.file(file, &folder.join(name), below(name));
        }
        for (name, inline) in std::mem::take(&mut source.inline) {
            self.add(inline, &folder.join(&name), below(&name));
        }
        self.modules.insert(module, source);
    }

    /// The modules that `module` names, whether by a path or through what others export again.
    fn named_by(&self, module: &Module) -> BTreeSet<Module> {
        let source = &self.modules[module];
        let imported = source.imports.iter().map(|(_, path)| path);
        let paths = imported.chain(source.named.iter().filter(|path| path.len() > 1));
        paths.filter_map(|path| self.home(module, path, 0)).collect()
    }

    /// The module of this crate in which what `module` calls `path` is defined.
    fn home(&self, module: &Module, path: &[String], hops: usize) -> Option<Module> {
        let mut at = module.clone();
        let mut rest = path;
        match rest.first()?.as_str() {
            "crate" => (at, rest) = (Module::new(), &rest[1..]),
            "self" => rest = &rest[1..],
            "super" => {
                while rest.first().is_some_and(|first| first == "super") {
                    at.pop()?;
                    rest = &rest[1..];
                }
            }
            // A crate from outside, unless the name was declared or brought in here.
            first => {
                let below: Module = at.iter().chain([&first.to_owned()]).cloned().collect();
                let source = &self.modules[module];
                let here = source.defined.iter().chain(source.imports.iter().map(|(name, _)| name));
                if !self.modules.contains_key(&below) && !here.into_iter().any(|name| name == first) {
                    return None;
                }
            }
        }
        while let Some(name) = rest.first() {
            let below: Module = at.iter().chain([name]).cloned().collect();
            if self.modules.contains_key(&below) {
                (at, rest) = (below, &rest[1..]);
                continue;
            }
            return self.through(&at, name, hops).or(Some(at));
        }
        Some(at)
    }

    /// Where `name` comes from, if `module` does not define it but has it from elsewhere in the crate.
    fn through(&self, module: &Module, name: &String, hops: usize) -> Option<Module> {
        let source = &self.modules[module];
        // Imports may lead in circles, as names in several namespaces.
        if source.defined.contains(name) || hops > 8 {
            return None;
        }
        let follow = |path: &Written| self.home(module, path, hops + 1);
        let named = source.imports.iter().find(|(import, path)| import == name && path.last() != Some(&"self".into()));
        if let Some((_, path)) = named {
            return follow(path);
        }
        let globs = source.imports.iter().filter(|(import, _)| import == "*");
        globs.filter_map(|(_, path)| follow(path)).find_map(|home| {
            let has = self.modules[&home].defined.contains(name);
            if has { Some(home) } else { self.through(&home, name, hops + 1) }
        })
    }

    /// For every module, how its children name each other.
    ///
    /// A module and those within it are one thing to their siblings. That a child names its parent is no arrow: the
    /// parent of a family says what its members have in common.
    fn arrows(&self) -> BTreeMap<Module, Arrows> {
        let mut arrows: BTreeMap<Module, Arrows> = BTreeMap::new();
        for from in self.modules.keys() {
            for to in self.named_by(from) {
                let shared = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
                if let (Some(a), Some(b)) = (from.get(shared), to.get(shared)) {
                    let between = arrows.entry(from[..shared].to_vec()).or_default();
                    let written = between.entry((a.clone(), b.clone())).or_default();
                    written.insert(format!("{} names {}", from.join("::"), to.join("::")));
                }
            }
        }
        arrows
    }

    /// Every set of siblings that lead to each other, with what is written where.
    pub(crate) fn circles(&self) -> Vec<String> {
        let mut circles = Vec::new();
        for (parent, between) in self.arrows() {
            let parent = if parent.is_empty() { "the crate".to_owned() } else { parent.join("::") };
            let mut told: BTreeSet<&String> = BTreeSet::new();
            for module in between.keys().map(|(from, _)| from) {
                let mut round = reached(&between, module);
                round.retain(|other| reached(&between, other).contains(module));
                if !round.contains(module) || told.contains(module) {
                    continue;
                }
                let inside = between.iter().filter(|((from, to), _)| round.contains(from) && round.contains(to));
                let lines: Vec<&str> = inside.flat_map(|(_, written)| written).map(String::as_str).collect();
                let names: Vec<&str> = round.iter().map(|name| name.as_str()).collect();
                circles.push(format!("in {parent}: {}\n    {}", names.join(", "), lines.join("\n    ")));
                told.extend(round);
            }
        }
        circles
    }
}

/// What `from` leads to.
fn reached<'a>(between: &'a Arrows, from: &'a String) -> BTreeSet<&'a String> {
    let (mut seen, mut next) = (BTreeSet::new(), vec![from]);
    while let Some(at) = next.pop() {
        let onward = between.keys().filter(|(from, _)| from == at).map(|(_, to)| to);
        next.extend(onward.filter(|to| seen.insert(*to)));
    }
    seen
}

/// The circles of a crate with these files.
#[cfg(test)]
fn circles(files: &[(&str, &str)]) -> Vec<String> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().expect("it is in the folder")).expect("the folder is ours");
        fs::write(path, text).expect("the folder is ours");
    }
    let found = Graph::read(&folder.path().join("lib.rs")).circles();
    found.iter().map(|circle| circle.lines().next().unwrap_or_default().to_owned()).collect()
}

#[test]
fn circles_are_found_however_they_are_closed() {
    let (root, a) = ("mod a; mod b; mod c;", "use crate::b::B; pub struct A;");
    let with =
        |root: &str, b: &str| circles(&[("lib.rs", root), ("a.rs", a), ("b/mod.rs", b), ("c.rs", ""), ("b/d.rs", "")]);
    for b in [
        "use crate::a::A;",
        "fn f(a: super::a::A) {}",
        "mod d { fn f(a: super::super::a::A) {} }",
        "use crate::{a, c}; fn f() { a::g(); }",
        "fn f() { use super::*; use a::A; let a: crate::a::A; }",
        "macro_rules! m { () => { $crate::a::A } }",
        "#[derive(crate::a::Derived)] struct S;",
    ] {
        assert_eq!(with(root, b), ["in the crate: a, b"], "{b}");
    }
    let exported = "mod a; mod b; mod c; pub use a::A; pub use c::*;";
    assert_eq!(with(exported, "use crate::A;"), ["in the crate: a, b"], "through what the root exports again");
    assert_eq!(
        with("pub mod a; mod b; mod c; pub use a::*;", "use crate::A;"),
        ["in the crate: a, b"],
        "through a star"
    );
    let long = circles(&[
        ("lib.rs", "mod e;"),
        ("e/mod.rs", "mod a; mod b; mod c;"),
        ("e/a.rs", "use super::b::B;"),
        ("e/b.rs", "use super::c::f;"),
        ("e/c.rs", "use crate::e::a;"),
    ]);
    assert_eq!(long, ["in e: a, b, c"]);
}

#[test]
fn what_is_no_circle_is_none() {
    let none = |root: &str, a: &str, b: &str| {
        assert_eq!(
            circles(&[("lib.rs", root), ("a.rs", a), ("b/mod.rs", b), ("b/d.rs", "use super::B;")]),
            [""; 0],
            "{b}"
        );
    };
    let root = "mod a; mod b; pub struct R; pub use a::A;";
    let a = "use crate::b::B; pub struct A;";
    none(root, a, "");
    none(root, a, "mod d; pub use d::D; pub struct B;");
    none(root, a, "use crate::R; fn f() -> super::R {}");
    none(root, a, "#[cfg(test)] mod tests { use crate::a::A; }");
    none(root, a, "// use crate::a::A;\nconst C: &str = \"crate::a::A\";");
    none(root, a, "use other::a::A; fn f() { a::g(); ::a::g() }");
    none(root, a, "struct A; fn f() { self::A::g(); A::g() }");
}
