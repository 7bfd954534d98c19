//! `statmux profile --derive`: profiles from the layers of models.

mod common;

use common::Session;
use serde_json::Value;

/// Four layers with ends of their own; 12 GB of weights, 90 ms on one device.
const LAYERS: &str = "layer,batch,time_ms,activation_bytes,weight_bytes\n\
                      embedding,1,5,1000000,1e9\nfirst,1,25,2000000,4e9\nsecond,1,25,2000000,4e9\nhead,1,35,500000,3e9\n\
                      embedding,4,9,4000000,\nfirst,4,80,8000000,\nsecond,4,80,8000000,\nhead,4,110,2000000,\n";

fn session() -> Session {
    let session = Session::new(|text| text.replace("profile.json", "big.json").replace("\"small\"", "\"big\""));
    session.write("big.csv", LAYERS);
    session
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().expect("a list").iter().map(|number| number.as_f64().expect("a number")).collect()
}

#[test]
fn a_table_of_layers_becomes_a_profile_that_is_planned_with() {
    let session = session();
    let told = session.json("profile --derive --layers big.csv -o big.json");
    let points = told["points"].as_array().expect("a list");
    // op 1, 2, 4, 8; pp 1, 2, 4; batch 1 and 4.
    assert_eq!(points.len(), 4 * 3 * 2);
    assert!(points.iter().all(|point| point["origin"] == "derived"));
    assert_eq!(points[0]["latency_s"].as_f64().map(|seconds| (seconds * 1e6).round()), Some(90_000.0));
    let profile: Value = serde_json::from_str(&session.read("big.json")).expect("JSON");
    let provenance = profile["provenance"].as_str().expect("text");
    for part in
        ["derived: from single layers (big.csv)", "12.5 GB/s (pcie3)", "10.0 us", "op 2, 4, 8 predicted", "90 %"]
    {
        assert!(provenance.contains(part), "expected `{part}` in: {provenance}");
    }
    let configs = profile["models"]["big"]["configs"].as_array().expect("a list");
    for config in configs {
        let weights: f64 = numbers(&config["stage_weight_bytes"]).iter().sum();
        assert!(config["op"] != 1 || weights == 12e9, "{config}");
        let stages = numbers(&config["stage_latency_s"]["4"]);
        assert_eq!(stages.len() as u64, config["pp"].as_u64().expect("a number"));
    }
    let two = configs.iter().find(|config| config["op"] == 1 && config["pp"] == 2).expect("it was derived");
    let stages = numbers(&two["stage_latency_s"]["1"]);
    let hand_over = 2e6 / 12.5e9 + 10e-6;
    // The embedding and two blocks take 55 ms, the other cut has 60 ms in its second stage.
    assert!((stages[0] - 0.055).abs() < 1e-9 && (stages[1] - 0.035 - hand_over).abs() < 1e-9, "{stages:?}");
    assert_eq!(numbers(&two["stage_activation_bytes"]["4"]), [8e6, 2e6]);

    session.json("plan s.toml -o p.json");
    let results = session.json("simulate s.toml --placement p.json");
    assert!(results["slo_attainment"].as_f64().expect("a number") > 0.0);
    let text = session.run("profile --derive --layers big.csv -o - --op 1 --pp 1,2 --batch 4");
    assert_eq!(text.code, 0, "{}", text.stderr);
    assert_eq!(serde_json::from_str::<Value>(&text.stdout).expect("JSON")["version"], 1);
    assert!(text.stderr.contains("4 points in -, none of them measured"), "{}", text.stderr);
}

#[test]
fn links_and_memory_are_what_they_are_said_to_be() {
    let session = session();
    let largest = |options: &str| {
        let told =
            session.json(&format!("profile --derive --layers big.csv -o big.json --op 1 --pp 2 --batch 1 {options}"));
        let point = &told["points"][0];
        let weights = numbers(&point["stage_weight_bytes"]).into_iter().fold(0.0, f64::max);
        (weights / 1e9, numbers(&point["stage_latency_s"])[1], told["provenance"].as_str().expect("text").to_owned())
    };
    let (weights, second, provenance) = largest("--link-bandwidth nvlink3 --link-latency 0us");
    assert_eq!(weights, 9.0);
    assert!((second - 0.035 - 2e6 / 240e9).abs() < 1e-9, "{second}");
    assert!(provenance.contains("240 GB/s (nvlink3)"), "{provenance}");
    let (weights, _, provenance) = largest("--memory 8GB");
    assert_eq!(weights, 7.0);
    assert!(provenance.contains("kept within"), "{provenance}");
    assert_eq!(largest("--memory 6GB").0, 9.0, "no cut keeps within 6 GB");
    let slow = session.json("profile --derive --layers big.csv -o big.json --link-bandwidth 1MB/s");
    let wide = slow["points"].as_array().expect("a list").iter().find(|point| point["op"] == 8).expect("derived");
    assert_eq!(
        wide["latency_s"].as_f64().map(|seconds| (seconds * 1e3).round()),
        Some(90.0),
        "not split over such links"
    );
}

#[test]
fn a_scenario_names_the_table_itself() {
    let session = session();
    session.json("profile --derive --layers big.csv -o big.json --memory 13GiB");
    let from_file = session.json("plan s.toml -o file.json");
    let named = session.read("s.toml").replace("files = [\"big.json\"]", "layers = [\"big.csv\"]");
    session.write("s.toml", &named);
    let from_table = session.json("plan s.toml -o table.json");
    assert_eq!(from_file["placement"], from_table["placement"]);
    assert_eq!(from_file["test"]["slo_attainment"], from_table["test"]["slo_attainment"]);
    assert!(session.run("plan s.toml").stdout.contains("derived: from single layers (big.csv)"));
    session.json("simulate s.toml --placement table.json --set profiles.derive.link_bandwidth=\"nvlink2\"");
    let both = named.replace("layers =", "files = [\"profile.json\"]\nlayers =");
    session.write("s.toml", &both);
    session.json("simulate s.toml --placement table.json");
    for (with, expected) in [
        ("[profiles]\n", &["profiles.files", "is missing", "profiles.layers", "help:"][..]),
        (
            "[profiles]\nfiles = [\"big.json\"]\nderive = { op = [1] }\n",
            &["profiles.derive", "nothing to derive", "help:"],
        ),
        ("[profiles]\nlayers = [\"no.csv\"]\n", &["no.csv", "cannot read"]),
        ("[profiles]\nlayers = [\"big.csv\"]\nderive = { op = [0] }\n", &["profiles.derive.op", "has 0", "help:"]),
        ("[profiles]\nlayers = [\"big.csv\"]\nderive = { batch = [2] }\n", &["big.csv", "batch size 2", "help:"]),
        ("[profiles]\nlayers = [\"big.csv\"]\nderive = { pps = [2] }\n", &["s.toml", "`pps`", "did you mean `pp`"]),
        (
            "[profiles]\nlayers = [\"big.csv\"]\nderive = { split_efficiency = 2.0 }\n",
            &["profiles.derive.split_efficiency"],
        ),
        ("[profiles]\nlayers = [\"big.csv\"]\nderive = { link_bandwidth = \"fast\" }\n", &["s.toml", "pcie3"]),
    ] {
        session.write("s.toml", &named.replace("[profiles]\nlayers = [\"big.csv\"]\n", with));
        session.refuses("plan s.toml", expected);
    }
}

#[test]
fn what_cannot_be_derived_is_refused() {
    let session = session();
    let derive = "profile --derive --layers big.csv -o big.json";
    let files = session.files();
    for (from, to, expected) in [
        ("first,1,25", "first,1,0", &["big.csv:3", "time_ms is 0", "help:"][..]),
        ("first,1,25", "second,1,25", &["big.csv:4", "layer `second`", "a second time", "help:"]),
        ("layer,batch", "layer,bach", &["big.csv:1", "unknown column `bach`", "did you mean `batch`", "help:"]),
        ("head,1,35,500000,3e9", "head,2,35,500000,3e9", &["big.csv", "batch size 1", "help:"]),
        ("head,1,35,500000,3e9", "head,1,35,500000", &["big.csv:5", "4 fields", "help:"]),
        ("head,4,110,2000000,", "head,4,110,2000000,4e9", &["big.csv:9", "weight_bytes differs", "help:"]),
        ("1e9", "x", &["big.csv:2", "weight_bytes is `x`", "help:"]),
    ] {
        assert!(LAYERS.contains(from));
        session.write("big.csv", &LAYERS.replacen(from, to, 1));
        session.refuses(derive, expected);
    }
    session.write("big.csv", LAYERS);
    for (options, expected) in [
        ("--batch 2", &["big.csv", "no time for batch size 2", "help:"][..]),
        ("--pp 8,16", &["big.csv", "no wanted configuration", "help:"]),
        ("--pp 0", &["--pp"]),
        ("--link-bandwidth fast", &["--link-bandwidth", "pcie3"]),
        ("--link-bandwidth 0GB/s", &["--link-bandwidth"]),
        ("--link-latency 5", &["--link-latency"]),
        ("--split-efficiency 0", &["--split-efficiency"]),
        ("--split-efficiency 1.5", &["--split-efficiency"]),
        ("--models bert-tiny", &["--models", "--layers"]),
        ("--layers-out x.csv", &["--layers-out", "--layers"]),
    ] {
        session.refuses(&format!("{derive} {options}"), expected);
    }
    session.refuses("profile --layers big.csv -o big.json", &["--derive"]);
    session.refuses("profile --derive -o big.json", &["--models"]);
    session.refuses("profile --derive --layers none.csv -o big.json", &["none.csv", "cannot read"]);
    session.refuses("profile --derive --layers big.csv,big.csv -o big.json", &["big.csv", "another table", "help:"]);
    session.refuses("profile --derive --layers big.csv -o missing/big.json", &["mkdir -p missing"]);
    assert_eq!(session.files(), files);
}

#[cfg(feature = "candle")]
#[test]
fn measured_layers_become_a_profile_and_a_table_that_says_the_same() {
    let session = session();
    let derive =
        "profile --derive --models bert-tiny --pp 1,2,4 --op 1,2 --batch 2 --sequence 8 --repeats 3 --warm-up 1";
    let told = session.json(&format!("{derive} -o tiny.json --layers-out tiny.csv"));
    assert_eq!(told["points"].as_array().expect("a list").len(), 2 * 3 * 2);
    let provenance = told["provenance"].as_str().expect("text");
    for part in
        ["derived: from single layers (layers measured: medians of 3 runs with one stage at work", "op 2 predicted"]
    {
        assert!(provenance.contains(part), "expected `{part}` in: {provenance}");
    }
    assert_eq!(session.files(), ["big.csv", "profile.json", "s.toml", "tiny.csv", "tiny.json"]);
    let parsed =
        |file: &str| serde_json::from_str::<Value>(&session.read(file)).expect("JSON")["models"]["bert-tiny"].clone();
    let profile = parsed("tiny.json");
    assert_eq!(profile["tokens"], 8);
    let cut = profile["cuts"]["4"].as_array().expect("where a server cuts");
    assert_eq!(cut, &[1, 2, 3], "bert-tiny has four layers");
    // Its word table is input and output: the whole holds it once.
    session.json("profile --models bert-tiny --sequence 8 --repeats 1 --warm-up 1 -o whole.json");
    assert_eq!(parsed("whole.json")["configs"][0]["stage_weight_bytes"], profile["configs"][0]["stage_weight_bytes"]);
    // The table tells all that was measured.
    session.json("profile --derive --layers tiny.csv --pp 1,2,4 --op 1,2 -o again.json");
    let again = parsed("again.json");
    assert_eq!((&again["cuts"], &again["tokens"]), (&profile["cuts"], &profile["tokens"]));
    for (one, other) in
        profile["configs"].as_array().expect("a list").iter().zip(again["configs"].as_array().expect("a list"))
    {
        assert_eq!(one["stage_weight_bytes"], other["stage_weight_bytes"]);
        let seconds = |config: &Value| numbers(&config["stage_latency_s"]["2"]);
        for (one, other) in seconds(one).iter().zip(seconds(other)) {
            assert!((one - other).abs() < 1e-9, "{one} {other}");
        }
    }
    // Layers may be measured at other degrees as well, which then are not predicted.
    let split = session.json(&format!("{derive} --layer-op 2 -o tiny.json"));
    assert!(split["points"].as_array().expect("a list").iter().all(|point| point["predicted"] == false));
    session.refuses("profile --derive --models bert-huge -o p.json", &["--models", "bert-huge"]);
    session.refuses("profile --derive --models bert-tiny -o p.json --layers-out missing/x.csv", &["mkdir -p missing"]);
}
