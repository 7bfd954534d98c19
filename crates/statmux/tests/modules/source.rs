//! What a file of Rust declares, imports and names.

use super::tokens::{Token, tokens};

/// A path as it is written.
pub(crate) type Written = Vec<String>;

/// An import: the name it has here (`*` for all that is there), and what it stands for.
pub(crate) type Import = (String, Written);

/// What one module says, apart from what its tests say.
#[derive(Debug, Default)]
pub(crate) struct Source {
    /// Modules in files of their own.
    pub(crate) declared: Vec<String>,
    /// Modules written out in the same file.
    pub(crate) inline: Vec<(String, Self)>,
    pub(crate) imports: Vec<Import>,
    /// Every path that is named.
    pub(crate) named: Vec<Written>,
    /// The names of its own items.
    pub(crate) defined: Vec<String>,
}

const ITEMS: [&str; 10] = ["fn", "struct", "enum", "union", "trait", "type", "const", "static", "macro_rules", "mod"];

impl Source {
    pub(crate) fn parse(text: &str) -> Self {
        Self::of(&tokens(text))
    }

    fn of(tokens: &[Token]) -> Self {
        let mut source = Self::default();
        let mut at = 0;
        let mut depth = 0_usize;
        while at < tokens.len() {
            if let Some(end) = attribute(&tokens[at..]) {
                if is_for_tests(&tokens[at..at + end]) {
                    at += end;
                    at += item(&tokens[at..]);
                } else {
                    // Paths may stand in it.
                    at += 1;
                }
                continue;
            }
            match &tokens[at] {
                Token::Word(word) if word == "use" && tokens.get(at + 1).is_some_and(|next| !next.is('<')) => {
                    let end = until(&tokens[at..], ';');
                    tree(&tokens[at + 1..at + end], &[], &mut source.imports);
                    at += end;
                }
                Token::Word(word) if word == "mod" => at += source.module(&tokens[at..]),
                Token::Word(_) if tokens.get(at + 1) == Some(&Token::Separator) => {
                    let (path, end) = path(&tokens[at..]);
                    source.named.push(path);
                    at += end;
                }
                token => {
                    depth += usize::from(token.is('{'));
                    depth = depth.saturating_sub(usize::from(token.is('}')));
                    let name = tokens[at + 1..].iter().find(|next| !next.is('!')).and_then(Token::word);
                    if depth == 0 && token.word().is_some_and(|word| ITEMS.contains(&word)) {
                        source.defined.extend(name.map(str::to_owned));
                    }
                    at += 1;
                }
            }
        }
        source
    }

    /// Takes in the module that `tokens` begin with, and says how many tokens it has.
    fn module(&mut self, tokens: &[Token]) -> usize {
        let Some(name) = tokens.get(1).and_then(Token::word) else { return 1 };
        if tokens.get(2).is_some_and(|next| next.is('{')) {
            let end = item(tokens);
            self.inline.push((name.to_owned(), Self::of(&tokens[3..end - 1])));
            return end;
        }
        self.declared.push(name.to_owned());
        2
    }
}

/// How many tokens the attribute has that `tokens` begin with, if they begin with one.
fn attribute(tokens: &[Token]) -> Option<usize> {
    let open = match tokens {
        [hash, bracket, ..] if hash.is('#') && bracket.is('[') => 1,
        [hash, bang, bracket, ..] if hash.is('#') && bang.is('!') && bracket.is('[') => 2,
        _ => return None,
    };
    Some(open + closed(&tokens[open..]))
}

/// Whether an attribute leaves its item to tests: `#[cfg(test)]`, `#[cfg(all(test, …))]`, `#[test]`.
fn is_for_tests(attribute: &[Token]) -> bool {
    let words: Vec<&str> = attribute.iter().filter_map(Token::word).collect();
    words == ["test"] || (words.first() == Some(&"cfg") && words.contains(&"test") && !words.contains(&"not"))
}

/// How many tokens an item has: to the end of its braces, or to its semicolon.
fn item(tokens: &[Token]) -> usize {
    let mut at = 0;
    while at < tokens.len() {
        match &tokens[at] {
            token if token.is('{') => return at + closed(&tokens[at..]),
            token if token.is('(') || token.is('[') => at += closed(&tokens[at..]),
            token if token.is(';') || token.is(',') => return at + 1,
            _ => at += 1,
        }
    }
    at
}

/// How many tokens there are to the end of the bracket that `tokens` begin with.
fn closed(tokens: &[Token]) -> usize {
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate() {
        match token {
            Token::Sign('(' | '[' | '{') => depth += 1,
            Token::Sign(')' | ']' | '}') => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            return at + 1;
        }
    }
    tokens.len()
}

fn until(tokens: &[Token], sign: char) -> usize {
    tokens.iter().position(|token| token.is(sign)).unwrap_or(tokens.len())
}

/// The path that `tokens` begin with, and how many tokens it has.
fn path(tokens: &[Token]) -> (Written, usize) {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(word) = tokens.get(at).and_then(Token::word) {
        found.push(word.to_owned());
        at += 1;
        if tokens.get(at) != Some(&Token::Separator) {
            break;
        }
        at += 1;
    }
    (found, at)
}

/// Adds what a tree of imports brings in.
fn tree(tokens: &[Token], before: &[String], imports: &mut Vec<Import>) {
    let tokens = if tokens.first() == Some(&Token::Separator) { &tokens[1..] } else { tokens };
    let (mut written, end) = path(tokens);
    written.splice(0..0, before.iter().cloned());
    match &tokens[end..] {
        [star, ..] if star.is('*') => imports.push(("*".to_owned(), written)),
        [open, inside @ .., _] if open.is('{') => {
            let mut rest = inside;
            while !rest.is_empty() {
                let mut end = 0;
                while end < rest.len() && !rest[end].is(',') {
                    end += if rest[end].is('{') { closed(&rest[end..]) } else { 1 };
                }
                tree(&rest[..end], &written, imports);
                rest = &rest[(end + 1).min(rest.len())..];
            }
        }
        after => {
            if written.last().is_some_and(|last| last == "self") && written.len() > 1 {
                written.pop();
            }
            let Some(last) = written.last() else { return };
            // `path` stops at `as`, for no separator stands before it.
            let renamed = after.iter().filter_map(Token::word).nth(1).map(str::to_owned);
            imports.push((renamed.unwrap_or_else(|| last.clone()), written));
        }
    }
}

fn shown(imports: &[Import]) -> String {
    let one = |(name, path): &Import| format!("{name}={}", path.join("::"));
    imports.iter().map(one).collect::<Vec<_>>().join(" ")
}

#[test]
fn imports_are_found_however_they_are_written() {
    for (text, expected) in [
        ("use crate::a::B;", "B=crate::a::B"),
        ("pub(crate) use self::a;", "a=self::a"),
        (
            "use super::super::{a, b::{C, D as E}, f::*};",
            "a=super::super::a C=super::super::b::C E=super::super::b::D *=super::super::f",
        ),
        ("use crate::{a::{self, B}, c as d,};", "a=crate::a B=crate::a::B d=crate::c"),
        ("use ::std::fmt;", "fmt=std::fmt"),
        ("fn f() { use crate::a; }", "a=crate::a"),
        ("fn f() -> impl Sized + use<'_> {}", ""),
        ("use crate::a as _;", "_=crate::a"),
    ] {
        assert_eq!(shown(&Source::parse(text).imports), expected, "{text}");
    }
}

#[test]
fn paths_are_found_wherever_they_stand() {
    let text =
        "fn f(x: &crate::a::B) -> super::C { x.d::<e::F>(); $crate::g!(h::I { j: 1 }) } pub(in crate::k) fn l() {}";
    let named: Vec<_> = Source::parse(text).named.iter().map(|path| path.join("::")).collect();
    assert_eq!(named, ["crate::a::B", "super::C", "d", "e::F", "crate::g", "h::I", "crate::k"]);
}

#[test]
fn modules_and_items_are_found_but_not_those_of_tests() {
    let text = "
        mod a; pub mod b { pub mod c; pub fn d() {} }
        #[cfg(test)] mod e { use crate::f; }
        #[cfg(all(test, unix))] #[path = \"g\"] mod h;
        #[cfg(test)] use crate::i;
        #[test] fn j() { crate::k::l() }
        #[cfg(not(test))] mod m;
        struct N<T> { o: [u8; 3] }
        macro_rules! p { () => {} }
        const fn q() {}
        impl r { #[cfg(test)] fn s(&self) -> [u8; 2] { crate::t::u() } fn v(&self) {} }";
    let source = Source::parse(text);
    assert_eq!(source.declared, ["a", "m"]);
    assert_eq!(source.inline.len(), 1);
    assert_eq!((source.inline[0].0.as_str(), &source.inline[0].1.declared), ("b", &vec!["c".to_owned()]));
    assert!(source.imports.is_empty() && source.named.is_empty(), "{source:?}");
    assert_eq!(source.defined, ["N", "p", "fn", "q"]);
}
