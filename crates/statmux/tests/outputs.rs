//! Every command that writes a file, against every kind of thing that a path can be.
#![cfg(unix)]

mod common;

use common::Session;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::{Command, Stdio};

/// Every command that writes one file, with `OUT` for it, and what the file begins with.
const WRITERS: &[(&str, &str)] = &[
    ("plan s.toml -o OUT", "{"),
    ("size s.toml --target 50% --policies alpaserve --draws 3 -o OUT", "{"),
    ("simulate s.toml --placement p.json --requests-out OUT", "request,model"),
    ("trace convert r.csv --to OUT", "arrival_s,model"),
    ("trace synth --like azure-functions-2021 --days 0.01 -o OUT", "app,func"),
];

/// The scenario, a placement for it, and a requests file.
fn session() -> Session {
    let session = Session::new(|text| text);
    assert_eq!(session.run("plan s.toml -o p.json").code, 0);
    session.write("r.csv", "arrival_s,model\n0.5,m0\n1.5,m1\n");
    session
}

/// The command with `out` for `OUT`; what writes requests tells the format by the name.
fn typed(command: &str, out: &str) -> String {
    command.replace("OUT", out)
}

/// A name with the ending that every command takes.
const NAME: &str = "out.csv";

#[test]
fn links_lead_to_the_file_and_stay() {
    let session = session();
    fs::create_dir(session.folder().join("deep")).expect("ours");
    for (command, beginning) in WRITERS {
        session.write("deep/target.csv", "old");
        let target = session.folder().join("deep/target.csv");
        fs::set_permissions(&target, fs::Permissions::from_mode(0o604)).expect("ours");
        symlink("deep/target.csv", session.folder().join(NAME)).expect("ours");
        let before = session.files();
        let ran = session.run(&typed(command, NAME));
        assert_eq!(ran.code, 0, "{command}: {}", ran.stderr);
        assert!(session.read("deep/target.csv").starts_with(beginning), "{command}");
        let link = session.folder().join(NAME);
        assert!(fs::symlink_metadata(&link).expect("there").is_symlink(), "{command}");
        assert_eq!(fs::metadata(&target).expect("there").permissions().mode() & 0o777, 0o604, "{command}");
        assert_eq!(session.files(), before, "{command}");
        fs::remove_file(&link).expect("ours");
        fs::remove_file(&target).expect("ours");
    }
}

#[test]
fn paths_that_cannot_be_written_are_refused_before_the_work() {
    let session = session();
    fs::create_dir(session.folder().join("folder.csv")).expect("ours");
    session.write("file.csv", "old");
    session.write("read-only.csv", "old");
    let read_only = session.folder().join("read-only.csv");
    fs::set_permissions(&read_only, fs::Permissions::from_mode(0o444)).expect("ours");
    symlink("missing/x.csv", session.folder().join("dangling.csv")).expect("ours");
    symlink("round.csv", session.folder().join("round.csv")).expect("ours");
    let before = session.files();
    let targets = [
        ("folder.csv", "is a folder"),
        ("missing/x.csv", "mkdir -p missing"),
        ("dangling.csv", "mkdir -p missing"),
        ("file.csv/x.csv", "no folder"),
        ("read-only.csv", "chmod u+w"),
        ("round.csv", "circle"),
        ("/dev/full", "no space is left"),
    ];
    for (command, _) in WRITERS {
        for (target, expected) in targets {
            // A plan that is never finished: whoever refuses does so before it begins.
            let long = typed(command, target)
                .replace("size s.toml", "size long.toml")
                .replace("plan s.toml", "plan long.toml");
            let text = session.read("s.toml").replace("\"alpaserve\"", "\"statmux\"\nbudget = \"50 h\"");
            session.write("long.toml", &text);
            session.refuses(&long, &[expected, target, "help:"]);
            fs::remove_file(session.folder().join("long.toml")).expect("ours");
            assert_eq!(session.files(), before, "{long}");
        }
    }
    assert_eq!(session.read("read-only.csv"), "old");
    // What is written while the command runs, or after a server was asked, is looked at first as well.
    let text = session.read("s.toml").replace("\"alpaserve\"", "\"statmux\"\nbudget = \"50 h\"");
    session.write("long.toml", &text);
    for command in [
        "serve long.toml --backend sleep --listen 127.0.0.1:0 --event-log",
        "replay s.toml --target http://127.0.0.1:1 --requests-out",
        "profile --models bert-small -o",
    ] {
        for (target, expected) in targets.iter().filter(|_| !command.starts_with("profile") || cfg!(feature = "candle"))
        {
            session.refuses(&format!("{command} {target}"), &[expected, target, "help:"]);
        }
    }
    fs::remove_file(session.folder().join("long.toml")).expect("ours");
    assert_eq!(session.files(), before);
    for (command, taken) in [
        ("sweep s.toml --over cluster.devices=2 --policies alpaserve --out", "cells"),
        ("sweep s.toml --over cluster.devices=2 --policies alpaserve --out", "sweep.csv/"),
        ("demo --without-server --out", "report.html/"),
        ("figures paper8 --quick --out", "index.html/"),
        ("figures paper8 --quick --out", "paper8.csv/"),
    ] {
        // A name that is needed is taken: a folder where a file goes, or a file where a folder goes.
        let at = session.folder().join("out");
        fs::create_dir(&at).expect("ours");
        match taken.strip_suffix('/') {
            Some(folder) => fs::create_dir(at.join(folder)).expect("ours"),
            None => fs::write(at.join(taken), "").expect("ours"),
        }
        session.refuses(&format!("{command} out"), &["out", "help:"]);
        session.refuses(&format!("{command} file.csv"), &["file.csv", "help:"]);
        fs::remove_dir_all(&at).expect("ours");
    }
}

/// Runs `command` in `bash`, with the binary as `statmux`; exit code, stdout, stderr.
fn shell(session: &Session, command: &str) -> (Option<i32>, String, String) {
    let ran = Command::new("bash")
        .args(["-c", &format!("statmux() {{ '{}' \"$@\"; }}\n{command}", env!("CARGO_BIN_EXE_statmux"))])
        .current_dir(session.folder())
        .stdin(Stdio::null())
        .output()
        .expect("bash runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    (ran.status.code(), text(ran.stdout), text(ran.stderr))
}

#[test]
fn what_is_no_file_is_written_through() {
    let session = session();
    fs::create_dir(session.folder().join("links")).expect("ours");
    symlink("/dev/null", session.folder().join("links/null")).expect("ours");
    for (command, beginning) in WRITERS {
        for stdout in ["-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"] {
            let ran = session.run(&typed(command, stdout));
            assert_eq!(ran.code, 0, "{command} {stdout}: {}", ran.stderr);
            assert!(ran.stdout.starts_with(beginning), "{command} {stdout}: {}", ran.stdout);
            // Nothing else is there: what the command prints besides goes to stderr.
            match *beginning {
                "{" => drop(serde_json::from_str::<serde_json::Value>(&ran.stdout).expect("one JSON value")),
                _ => assert!(ran.stdout.lines().all(|line| line.contains(',')), "{command}: {}", ran.stdout),
            }
            assert!(!ran.stderr.is_empty(), "{command} {stdout}");
        }
        let name = typed(command, "links/null");
        assert_eq!(session.run(&name).code, 0, "{name}");
        assert!(fs::symlink_metadata(session.folder().join("links/null")).expect("there").is_symlink());
        let (code, stdout, stderr) = shell(
            &session,
            &format!("statmux {} >/dev/null; cat got", typed(command, ">(cat > got)"))
                .replace("; cat got", "\nuntil [ -s got ]; do :; done; wait; cat got"),
        );
        assert_eq!(code, Some(0), "{command}: {stderr}");
        assert!(stdout.starts_with(beginning), "{command}: {stdout}");
        let fifo = format!(
            "rm -f f got; mkfifo f; cat f > got & statmux {} > /dev/null; wait; test -p f; cat got",
            typed(command, "f")
        );
        let (code, stdout, stderr) = shell(&session, &fifo);
        assert_eq!(code, Some(0), "{command}: {stderr}");
        assert!(stdout.starts_with(beginning), "{command}: {stdout}");
        let redirected = format!("statmux {} > got; cat got", typed(command, "/dev/stdout"));
        assert!(shell(&session, &redirected).1.starts_with(beginning), "{command}");
    }
    for device in ["/dev/null", "/dev/stdout", "/dev/full"] {
        assert!(!fs::metadata(device).expect("there").is_file() || device == "/dev/stdout", "{device}");
    }
}

#[test]
fn stdout_that_takes_nothing_is_an_error_and_a_closed_pipe_is_none() {
    let session = session();
    for command in ["policies", "plan s.toml", "plan s.toml --format json", "--help", "plan --help", "--version"] {
        let (code, _, stderr) = shell(&session, &format!("statmux {command} > /dev/full"));
        assert_eq!(code, Some(1), "{command}: {stderr}");
        assert!(stderr.contains("error: "), "{command}: {stderr}");
        let (code, _, stderr) = shell(&session, &format!("set -o pipefail; statmux {command} | true"));
        assert_eq!((code, stderr.contains("error")), (Some(0), false), "{command}: {stderr}");
        // Talk that nobody can read is no reason to fail.
        let (code, _, _) = shell(&session, &format!("statmux {command} 2> /dev/full"));
        assert_eq!(code, Some(0), "{command}");
    }
    let (code, stdout, _) = shell(&session, "set -o pipefail; statmux plan s.toml -q -o - | true; echo $?");
    assert_eq!((code, stdout.trim()), (Some(0), "0"));
}

#[test]
fn results_that_cannot_be_written_in_the_end_are_failed_runs() {
    // Long names make long results: longer than files may become here, though not too long for the check.
    let long = "x".repeat(30_000);
    let session = Session::new(|text| text.replace("\"m{i}\"", &format!("\"m{{i}}-{long}\"")));
    assert_eq!(session.run("plan s.toml -o p.json").code, 0);
    session.write("r.csv", &format!("arrival_s,model\n{}", format!("0.5,{long}\n").repeat(4)));
    let before = session.files();
    for (command, _) in WRITERS {
        let command = command.replace("--days 0.01", "--days 3");
        for old in [false, true] {
            if old {
                session.write(NAME, "old");
            }
            let limited = format!("trap '' XFSZ; ulimit -f 64; statmux {}", typed(&command, NAME));
            let (code, _, stderr) = shell(&session, &limited);
            assert_eq!(code, Some(1), "{command}: {stderr}");
            assert!(stderr.contains(&format!("error: {NAME}: cannot be written")), "{command}: {stderr}");
            if old {
                assert_eq!(session.read(NAME), "old", "{command}");
                fs::remove_file(session.folder().join(NAME)).expect("ours");
            }
            assert_eq!(session.files(), before, "{command}");
        }
    }
}
