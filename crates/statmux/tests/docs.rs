//! Every command in README and docs runs as printed.
//!
//! The `sh` blocks of a page are one session, from top to bottom, in a folder that looks like a checkout. Blocks that
//! say what they need (`sh gpu`, `sh hours`, `sh minutes`, `sh registry`) are not run; they are checked like the commands within
//! sentences: the command, its flags, and what it names must exist.
#![cfg(all(feature = "candle", unix))]

mod pages;

use pages::{Page, Span};
use std::path::{Path, PathBuf};
use std::process::Command;

const STATMUX: &str = env!("CARGO_BIN_EXE_statmux");

/// What a block may need that a test does not have.
const NEEDS: [&str; 4] = ["gpu", "hours", "minutes", "registry"];

/// Stands for cargo within a session: what it would build is there already.
const CARGO: &str = r#"#!/bin/sh
case "$*" in
    "run --release -- "*) shift 3; exec statmux "$@" ;;
    "run --release --quiet -- "*) shift 4; exec statmux "$@" ;;
    "test --release --workspace") echo "this is one of those tests" ;;
    *) echo "a block that calls cargo $* must say what it needs" >&2; exit 1 ;;
esac
"#;

/// Curl within a session: it notes the status of each answer but of those that are asked for until they come.
const CURL: &str = r#"#!/bin/sh
case "$1" in
    -sf) exec "$REAL_CURL" "$@" ;;
    *) exec "$REAL_CURL" "$@" -sS -w '%{stderr}\nstatus of an answer: %{http_code}\n' ;;
esac
"#;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the repository is there")
}

/// Runs the `sh` blocks of a page, and shows what they printed if one fails.
fn session(name: &str) {
    let page = Page::read(&root(), name);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let bin = folder.path().join("bin");
    std::fs::create_dir(&bin).expect("the folder is ours");
    std::os::unix::fs::symlink(STATMUX, bin.join("statmux")).expect("a link");
    for part in ["crates", "scenarios", "profiles", "clients", "docs"] {
        std::os::unix::fs::symlink(root().join(part), folder.path().join(part)).expect("a link");
    }
    for (program, text) in [("cargo", CARGO), ("curl", CURL)] {
        std::fs::write(bin.join(program), text).expect("the folder is ours");
        let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(bin.join(program), executable).expect("the file is ours");
    }
    let outside = std::env::var_os("PATH").unwrap_or_default();
    let curl = std::env::split_paths(&outside).map(|folder| folder.join("curl")).find(|path| path.is_file());
    let Some(curl) = curl else {
        eprintln!("not run: {name} asks servers with curl, which is not on this machine");
        return;
    };

    let mut script = String::from("set -eu -o pipefail\ntrap 'jobs -p | xargs -r kill 2>/dev/null' EXIT\n");
    for block in page.blocks.iter().filter(|block| block.runs()) {
        script.push_str(&format!("echo '==> {name}:{}'\n{}\n", block.line, block.text));
    }
    let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a free port");
    let script = script.replace("127.0.0.1:8080", &free.to_string());
    let path = std::env::join_paths(std::iter::once(bin).chain(std::env::split_paths(&outside)));
    let log = folder.path().join("session.log");
    let file = std::fs::File::create(&log).expect("the folder is ours");
    let status = Command::new("bash")
        .args(["-c", &script])
        .current_dir(folder.path())
        .env("PATH", path.expect("no colons in a temporary folder"))
        .env("REAL_CURL", curl)
        .stdin(std::process::Stdio::null())
        .stdout(file.try_clone().expect("a handle"))
        .stderr(file)
        .status()
        .expect("bash runs");
    let said = std::fs::read_to_string(&log).expect("the log is text");
    assert!(status.success(), "{name}: {status}\n{said}");
    // Servers refuse what the page shows as refused, and nothing else.
    let refused = |text: &str, before: &str| {
        let codes = text.lines().filter_map(|line| line.strip_prefix(before)?.get(..3)).map(str::to_owned);
        codes.filter(|code| !code.starts_with('2')).collect::<Vec<_>>()
    };
    let shown: Vec<String> = page.blocks.iter().flat_map(|block| refused(&block.text, "HTTP/1.1 ")).collect();
    assert_eq!(refused(&said, "status of an answer: "), shown, "{name}\n{said}");
}

#[test]
fn the_readme_runs_as_printed() {
    session("README.md");
}

#[test]
fn the_page_on_serving_runs_as_printed() {
    session("docs/serving.md");
}

#[test]
fn the_page_on_layers_runs_as_printed() {
    session("docs/layers.md");
}

#[test]
fn no_other_page_has_blocks_that_nobody_runs() {
    for page in Page::all(&root()) {
        for block in &page.blocks {
            let at = format!("{}:{}", page.name, block.line);
            match block.needs() {
                Some(needs) => assert!(NEEDS.contains(&needs), "{at}: nobody knows what `{needs}` needs"),
                None if block.runs() => assert!(
                    ["README.md", "docs/layers.md", "docs/serving.md"].contains(&page.name.as_str()),
                    "{at}: add a test that runs this page's commands"
                ),
                None => {}
            }
        }
    }
}

/// The flags that a command's help lists.
fn flags(arguments: &[&str]) -> Option<String> {
    let help = Command::new(STATMUX).args(arguments).arg("--help").output().expect("the binary runs");
    help.status.success().then(|| String::from_utf8(help.stdout).expect("text"))
}

/// What is wrong with a command as printed, if anything.
fn wrong(command: &str) -> Option<String> {
    let root = root();
    let words: Vec<&str> = command.split_whitespace().take_while(|word| !word.starts_with('#')).collect();
    let after = |flag: &str| words.iter().position(|&word| word == flag).and_then(|at| words.get(at + 1)).copied();
    match words[..] {
        ["statmux", ..]
        | ["cargo", "run", "--release", "--", ..]
        | ["cargo", "run", "--release", "--quiet", "--", ..] => {
            let start = words.iter().position(|&word| word == "--").map_or(1, |at| at + 1);
            let rest = &words[start..];
            let help = match rest {
                [] => return None,
                [first, ..] if first.starts_with('-') => flags(&[]),
                [first, ..] => {
                    let help = flags(&[first]);
                    let has_commands = help.as_ref().is_some_and(|help| help.contains("\nCommands:"));
                    if has_commands { rest.get(1).and_then(|second| flags(&[first, second])) } else { help }
                }
            };
            let Some(help) = help else { return Some(format!("there is no command `statmux {}`", rest.join(" "))) };
            let unknown = rest.iter().filter(|word| word.starts_with("--")).find(|word| {
                let flag = word.split(['=', '`', ',']).next().expect("a first part");
                !help.split(|c: char| !c.is_alphanumeric() && c != '-').any(|known| known == flag)
            });
            unknown.map(|flag| format!("`statmux {}` has no {flag}", rest[0]))
        }
        ["cargo", ..] => {
            let package = after("-p").map(|name| name.trim_start_matches("statmux-"));
            let home = |name: &str| root.join("crates").join(name);
            if let Some(name) = package.filter(|name| !home(name).is_dir()) {
                return Some(format!("there is no crate {name}"));
            }
            let parts = [("--bench", "benches"), ("--example", "examples"), ("--test", "tests")];
            parts.into_iter().find_map(|(flag, part)| {
                let name = after(flag)?.trim_end_matches(['"', '`']);
                let at = home(package?).join(part);
                let found = at.join(format!("{name}.rs")).exists() || at.join(name).join("main.rs").exists();
                (!found).then(|| format!("there is no {flag} {name} in {}", package.unwrap_or_default()))
            })
        }
        [script, ..] if script.starts_with("crates/") || script.starts_with("clients/") => {
            (!root.join(script).exists()).then(|| format!("there is no {script}"))
        }
        _ => None,
    }
}

#[test]
fn commands_that_are_not_run_name_what_exists() {
    let mut faults = Vec::new();
    for page in Page::all(&root()) {
        for Span { line, text } in page.commands() {
            faults.extend(wrong(&text).map(|fault| format!("{}:{line}: {text}: {fault}", page.name)));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn wrong_commands_are_found() {
    for command in [
        "statmux plam scenario.toml",
        "statmux plan scenario.toml --no-such-flag 3",
        "statmux trace inspekt file",
        "cargo bench -p statmux-nothing",
        "cargo bench -p statmux-sim --bench nothing",
        "crates/candle/scripts/nothing.sh",
    ] {
        assert!(wrong(command).is_some(), "{command}");
    }
    for command in ["statmux plan scenario.toml --set a=1 -q", "statmux trace inspect file --format json"] {
        assert_eq!(wrong(command), None);
    }
}
