//! Signals: one rule for every command, at any moment.
#![cfg(unix)]

mod common;

use common::Session;
use common::serving::Serving;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// A scenario whose search and grid take long: whoever ends early was interrupted.
fn session() -> Session {
    Session::new(|text| text.replace("policy = \"alpaserve\"", "policy = \"statmux\"\nbudget = \"50 h\""))
}

/// Threads of a search.
const SEARCHERS: usize = 3;

fn start(session: &Session, args: &str) -> Child {
    Command::new(env!("CARGO_BIN_EXE_statmux"))
        .args(args.split_whitespace())
        .current_dir(session.folder())
        .env("RAYON_NUM_THREADS", SEARCHERS.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary runs")
}

fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill").args([format!("-{name}"), child.id().to_string()]).status().expect("kill runs");
    assert!(sent.success());
}

/// Waits until the child has ignored neither signal: it listens. Linux says so in its status.
fn listens(child: &Child) {
    let status = format!("/proc/{}/status", child.id());
    let caught = |bits: u64| bits & (1 << 1) != 0 && bits & (1 << 14) != 0;
    let began = Instant::now();
    loop {
        let text = fs::read_to_string(&status).expect("Linux");
        let line = text.lines().find_map(|line| line.strip_prefix("SigCgt:")).expect("Linux");
        if caught(u64::from_str_radix(line.trim(), 16).expect("hexadecimal")) {
            return;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "it never listens");
        std::thread::yield_now();
    }
}

/// Waits until the child has threads that search beside those that it begins with.
fn searches(child: &Child) {
    let began = Instant::now();
    while fs::read_dir(format!("/proc/{}/task", child.id())).expect("Linux").count() < 2 + SEARCHERS {
        assert!(began.elapsed() < Duration::from_secs(60), "it never searches");
        std::thread::yield_now();
    }
}

fn ended(mut child: Child) -> (ExitStatus, String, String) {
    let (mut out, mut err) = (String::new(), String::new());
    let mut stderr = child.stderr.take().expect("piped");
    let talk = std::thread::spawn(move || stderr.read_to_string(&mut err).map(|_| err));
    child.stdout.take().expect("piped").read_to_string(&mut out).expect("text");
    let status = child.wait().expect("ours");
    (status, out, talk.join().expect("no panic").expect("text"))
}

/// Every file below `folder`.
fn all_files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("ours").map(|entry| entry.expect("readable").path());
    entries.flat_map(|path| if path.is_dir() { all_files(&path) } else { vec![path] }).collect()
}

/// Nothing half-written: no scratch file, and every JSON file is whole.
fn is_tidy(session: &Session, what: &str) {
    for path in all_files(session.folder()) {
        let name = path.file_name().expect("a file").to_string_lossy().into_owned();
        assert!(!name.ends_with(".tmp") && name != "sock", "{what}: {name}");
        if name.ends_with(".json") {
            let text = fs::read_to_string(&path).expect("ours");
            serde_json::from_str::<serde_json::Value>(&text).unwrap_or_else(|error| panic!("{what}: {name}: {error}"));
        }
    }
}

const LONG: &[&str] = &[
    "plan s.toml -o out.json --format json",
    "compare s.toml --policies alpaserve,statmux --format json",
    "sweep s.toml --over cluster.devices=2,3,4 --policies statmux --out grid --format json",
    "size s.toml --target 99% --seeds 1 -o out.json --format json",
    "figures --quick --out made --format json",
    "demo --out tour --without-server --format json",
    "serve s.toml --backend sleep --listen unix:sock --event-log events.jsonl --format json",
];

#[test]
fn whatever_the_moment_the_exit_code_tells_the_signal_and_the_output_is_marked() {
    for (round, command) in LONG.iter().enumerate() {
        for (step, (name, code)) in [("INT", 130), ("TERM", 143)].into_iter().enumerate() {
            let session = session();
            let child = start(&session, command);
            listens(&child);
            // Any moment will do, as long as they differ.
            std::thread::sleep(Duration::from_millis(7 + 90 * step as u64 + 31 * round as u64));
            signal(&child, name);
            let (status, out, err) = ended(child);
            assert_eq!(status.code(), Some(code), "{command}, {name}: {err}");
            if !out.is_empty() {
                let data: serde_json::Value =
                    serde_json::from_str(&out).unwrap_or_else(|e| panic!("{command}: {e}: {out}"));
                assert_eq!(data["interrupted"], true, "{command}: {out}");
            }
            is_tidy(&session, command);
        }
    }
}

#[test]
fn an_interrupted_plan_is_the_best_so_far_and_marked() {
    let session = session();
    let child = start(&session, "plan s.toml -o p.json --format json");
    searches(&child);
    signal(&child, "INT");
    let (status, out, err) = ended(child);
    assert_eq!(status.code(), Some(130), "{err}");
    let data: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(data["interrupted"], true);
    let written: serde_json::Value = serde_json::from_str(&session.read("p.json")).expect("JSON");
    assert_eq!(written["interrupted"], true);
    // It can be used as any other.
    let simulated = session.json("simulate s.toml --placement p.json");
    assert_eq!(simulated["slo_attainment"], data["test"]["slo_attainment"]);
}

#[test]
fn a_sweep_keeps_finished_cells_and_only_those() {
    let session = session();
    let sweep = |devices: &str, policies: &str| {
        format!("sweep s.toml --over cluster.devices={devices} --policies {policies} --out grid --format json")
    };
    assert_eq!(session.run(&sweep("2,4", "alpaserve")).code, 0);
    let larger = sweep("2,4,8", "alpaserve,statmux");
    let child = start(&session, &larger);
    searches(&child);
    signal(&child, "TERM");
    let (status, out, err) = ended(child);
    assert_eq!(status.code(), Some(143), "{err}");
    let data: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    let finished = data["cells"].as_array().expect("a list");
    assert_eq!(data["interrupted"], true);
    assert!((2..=3).contains(&finished.len()), "{out}");
    // A search without end is in none of them.
    assert!(finished.iter().all(|cell| cell["policy"] == "alpaserve"), "{out}");
    assert_eq!(data["unfinished"], 6 - finished.len());
    assert_eq!(session.read("grid/sweep.csv").lines().count() - 1, finished.len());
    is_tidy(&session, &larger);
}

#[test]
fn a_replay_reports_what_was_answered() {
    let session = Session::new(|text| text);
    assert_eq!(session.run("plan s.toml -o p.json").code, 0);
    let server = Serving::start(&session, "--placement p.json");
    let replay = format!("replay s.toml --target {} --requests-out r.csv --format json", server.url);
    let child = start(&session, &replay);
    listens(&child);
    std::thread::sleep(Duration::from_millis(1500));
    signal(&child, "INT");
    let (status, out, err) = ended(child);
    assert_eq!(status.code(), Some(130), "{err}");
    assert_eq!(server.terminate(), Some(0));
    // However slow the machine: either nothing was answered by then and nothing is said, or it is marked.
    if out.is_empty() {
        assert!(!session.files().contains(&"r.csv".to_owned()));
        return;
    }
    let data: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(data["interrupted"], true);
    let (requests, left_out) = (data["requests"].as_u64().expect("a number"), data["left_out"].as_u64());
    let all = session.json("simulate s.toml --placement p.json")["requests"].as_u64().expect("a number");
    assert_eq!(Some(all - requests), left_out);
    assert!(requests > 0 && requests < all, "{requests} of {all}");
    assert_eq!(session.read("r.csv").lines().count() as u64, requests + 1);
}

#[cfg(feature = "candle")]
#[test]
fn a_profile_keeps_its_points_in_the_journal() {
    let session = session();
    let batches: Vec<String> = (1..=500).map(|batch| batch.to_string()).collect();
    let batches = batches.join(",");
    let profile = format!(
        "profile --models bert-small --sequence 4 --batch {batches} --warm-up 0 --repeats 1 -o out.json --format json"
    );
    let child = start(&session, &profile);
    let journal = session.folder().join("out.json.journal");
    let began = Instant::now();
    let points = || fs::read_to_string(&journal).map_or(0, |text| text.lines().count().saturating_sub(1));
    while points() < 2 {
        assert!(began.elapsed() < Duration::from_secs(120), "nothing is measured");
        std::thread::yield_now();
    }
    signal(&child, "INT");
    let (status, out, err) = ended(child);
    assert_eq!(status.code(), Some(130), "{err}");
    let data: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(data["interrupted"], true);
    let found = data["points"].as_array().expect("a list").len();
    assert_eq!(found, points());
    assert_eq!(data["left"], 500 - found);
    assert_eq!(session.files(), ["out.json.journal", "profile.json", "s.toml"]);
}

#[test]
fn a_second_signal_ends_at_once_and_so_does_the_first_where_there_are_no_parts() {
    let session = session();
    let mut child = start(&session, "plan s.toml -o p.json");
    listens(&child);
    signal(&child, "INT");
    // The first signal is acknowledged on stderr if there is anything to keep; else the program has ended.
    let mut talk = BufReader::new(child.stderr.take().expect("piped"));
    let mut line = String::new();
    talk.read_line(&mut line).expect("text");
    if !line.is_empty() {
        let _ = Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
    }
    let status = child.wait().expect("ours");
    assert!(matches!(status.code(), Some(130 | 143)), "{status:?}");
    is_tidy(&session, "plan");
    let fifo = session.folder().join("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().expect("mkfifo runs").success());
    // It waits for somebody to read: there is nothing to keep.
    let child = start(&session, "trace synth --like azure-functions-2021 --days 0.01 -o fifo");
    listens(&child);
    signal(&child, "TERM");
    assert_eq!(child.wait_with_output().expect("ours").status.code(), Some(143));
}
