//! Machines count: the devices of a stage share one, and hops between machines cost what the links say.

mod common;

use common::Session;
use serde_json::Value;

/// Two devices to a machine, and not exactly the published simulator's settings, which know no links.
fn session(links: &str) -> Session {
    let cluster = format!("devices = 4\ndevices_per_node = 2\n{links}");
    Session::new(|text| text.replace("devices = 4\n", &cluster).replace("\"11 ms\"", "\"12 ms\""))
}

/// A placement of one window.
fn placement(groups: &str) -> String {
    format!(r#"{{"version": 1, "windows": [{{"groups": [{groups}]}}]}}"#)
}

/// Latency of a request alone, in milliseconds: the least of a few that seldom meet.
fn fastest_ms(session: &Session, groups: &str) -> f64 {
    session.write("p.json", &placement(groups));
    let ran = session.run("simulate s.toml --placement p.json --requests-out r.csv --set workload.rate=0.5");
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let served = session.read("r.csv");
    let latency = |line: &str| {
        let cells: Vec<&str> = line.split(',').collect();
        Some((cells[5].parse::<f64>().ok()? - cells[2].parse::<f64>().ok()?) * 1e3)
    };
    served.lines().skip(1).filter_map(latency).fold(f64::INFINITY, f64::min)
}

const ACROSS: &str = r#"{"devices": [1, 2], "op": 1, "pp": 2, "models": ["m0", "m1", "m2", "m3"]}"#;
const WITHIN: &str = r#"{"devices": [0, 1], "op": 1, "pp": 2, "models": ["m0", "m1", "m2", "m3"]}"#;

#[test]
fn a_stage_on_two_machines_is_refused_with_its_group_named() {
    let session = session("");
    let refused = [
        r#"{"devices": [1, 2], "op": 2, "pp": 1, "models": ["m0"]}"#,
        r#"{"devices": [3, 0], "op": 2, "pp": 1, "models": []}"#,
    ];
    for across in refused {
        session.write("p.json", &placement(&format!(r#"{{"op": 1, "pp": 1, "models": []}},{across}"#)));
        for command in ["simulate", "explain"] {
            session
                .refuses(&format!("{command} s.toml --placement p.json"), &["p.json", "group 1", "several machines"]);
        }
    }
}

#[test]
fn devices_that_are_left_out_are_given_so_that_stages_stay_within_machines() {
    let session = session("");
    // In order the second group would get devices 1 and 2.
    let groups = r#"{"op": 1, "pp": 1, "models": ["m0"]}, {"op": 2, "pp": 1, "models": ["m1", "m2", "m3"]}"#;
    session.write("p.json", &placement(groups));
    let simulated = session.json("simulate s.toml --placement p.json");
    let devices = |group: usize| simulated["groups"][group]["devices"].as_array().expect("a list").clone();
    let machine = |device: &Value| device.as_u64().expect("an id") / 2;
    assert_eq!(machine(&devices(1)[0]), machine(&devices(1)[1]), "{simulated}");
    assert_ne!(machine(&devices(0)[0]), machine(&devices(1)[0]), "{simulated}");
    // Two single devices share a machine if that leaves one for the stage of two; a fourth group has no device left.
    let three =
        r#"{"op": 1, "pp": 1, "models": []}, {"op": 2, "pp": 1, "models": []}, {"op": 1, "pp": 1, "models": []}"#;
    session.write("p.json", &placement(three));
    assert_eq!(session.run("simulate s.toml --placement p.json").code, 0);
    session.write("p.json", &placement(&format!(r#"{three}, {{"op": 2, "pp": 1, "models": []}}"#)));
    assert_eq!(session.run("simulate s.toml --placement p.json").code, 2);
}

#[test]
fn every_policy_keeps_stages_within_machines_of_any_size() {
    for per_node in [1, 2, 3] {
        let session = session("");
        let cluster = format!("--set cluster.devices=7 --set cluster.devices_per_node={per_node}");
        for policy in ["statmux", "alpaserve", "alpaserve-buckets", "greedy-k", "round-robin", "model-parallel-ilp"] {
            let keys = "--set planner.moves=16 --set planner.group_size=2";
            let planned = session.json(&format!("plan s.toml --policy {policy} {cluster} {keys}"));
            for group in planned["placement"]["windows"][0]["groups"].as_array().expect("a list") {
                let op = group["op"].as_u64().expect("a number") as usize;
                let devices = group["devices"].as_array().expect("a list");
                for stage in devices.chunks(op) {
                    let machine = |device: &Value| device.as_u64().expect("an id") / per_node;
                    assert!(stage.iter().all(|device| machine(device) == machine(&stage[0])), "{policy}: {group}");
                }
            }
        }
    }
}

#[test]
fn hops_cost_what_the_links_say_and_reports_name_what_is_assumed() {
    let plain = session("");
    let within = fastest_ms(&plain, WITHIN);
    // 8 MiB at 12.5 GB/s and 50 us.
    let assumed = 8.0 * 1.048_576 / 12.5 + 0.05;
    assert!((fastest_ms(&plain, ACROSS) - within - assumed).abs() < 1e-3);
    let told = plain.run("simulate s.toml --placement p.json").stdout;
    assert!(
        told.contains("12.5 GB/s") && told.contains("default of [cluster.links]") && told.contains("8.0 MiB"),
        "{told}"
    );
    let notes = &plain.json("simulate s.toml --placement p.json")["notes"];
    assert!(notes[0].as_str().is_some_and(|note| note.contains("12.5 GB/s")), "{notes}");

    let links =
        "links = { between_nodes = { bandwidth = \"80 Mbit/s\", latency = \"1 ms\" }, activation = \"1 MB\" }\n";
    let slow = session(links);
    assert!((fastest_ms(&slow, WITHIN) - within).abs() < 1e-6);
    assert!((fastest_ms(&slow, ACROSS) - within - 101.0).abs() < 1e-3);
    let measured = plain.read("profile.json").replace(
        "\"stage_weight_bytes\": [3000000000, 3000000000]",
        "\"stage_weight_bytes\": [3000000000, 3000000000], \"stage_activation_bytes\": {\"1\": [200000, 999]}",
    );
    slow.write("profile.json", &measured);
    assert!((fastest_ms(&slow, ACROSS) - within - 21.0).abs() < 1e-3);
    let free = session("links = { between_nodes = \"free\" }\n");
    assert!((fastest_ms(&free, ACROSS) - within).abs() < 1e-6);
    let inner = session("links = { within_node = { latency = \"3 ms\" } }\n");
    assert!((fastest_ms(&inner, WITHIN) - within - 3.0).abs() < 1e-3);
}

#[test]
fn the_published_simulator_knows_no_links_unless_they_are_stated() {
    let published = |links: &str| {
        let cluster = format!("devices = 4\ndevices_per_node = 2\n{links}");
        Session::new(|text| text.replace("devices = 4\n", &cluster))
    };
    let plain = published("");
    assert!((fastest_ms(&plain, ACROSS) - fastest_ms(&plain, WITHIN)).abs() < 1e-6);
    let stated =
        published("links = { between_nodes = { latency = \"5 ms\", bandwidth = \"1 TB/s\" }, activation = \"0 B\" }\n");
    assert!((fastest_ms(&stated, ACROSS) - fastest_ms(&stated, WITHIN) - 5.0).abs() < 1e-3);
}

#[test]
fn wrong_links_are_refused_where_they_stand() {
    let refused = [
        ("between_nodes = \"fast\"", "12.5 GB/s"),
        ("between_nodes = { bandwidth = \"12.5 GB\" }", "12.5 GB/s"),
        ("between_nodes = { bandwidth = \"0 GB/s\" }", "12.5 GB/s"),
        ("between_nodes = { speed = \"1 GB/s\" }", "bandwidth"),
        ("between_node = \"free\"", "between_nodes"),
        ("activation = 8", "unit"),
    ];
    for (links, expected) in refused {
        session(&format!("links = {{ {links} }}\n")).refuses("plan s.toml", &["s.toml", expected]);
    }
}
