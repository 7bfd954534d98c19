//! The clock of a requests file may begin anywhere; what comes out of a run does not depend on it.

mod common;

use common::Session;
use serde_json::Value;

const NANOS: u64 = 1_000_000_000;

fn session(scheduling: &str) -> Session {
    Session::new(|scenario| {
        let from = scenario.find("[workload]").expect("there");
        let to = scenario.find("[simulation]").expect("there");
        let workload = "[workload]\nkind = \"requests\"\nfile = \"r.csv\"\n\n";
        let scenario = scenario.replace(&scenario[from..to], workload);
        scenario.replace("stage_penalty = 0.009", scheduling)
    })
}

/// Bursts of requests; the first comes at 5 s.
fn arrivals() -> Vec<u64> {
    (0..200_u64).map(|row| 5 * NANOS + (row / 7) * 331_000_000 + (row * row) % 13 * 1_000_003).collect()
}

fn requests(arrivals: &[u64], shift: u64, finer: usize) -> String {
    let mut sorted: Vec<u64> = arrivals.iter().map(|at| at + shift).collect();
    sorted.sort_unstable();
    let places = 9 - finer;
    let one = 10_u64.pow(places as u32);
    let row = |(row, at): (usize, &u64)| format!("{}.{:0places$},m{}\n", at / one, at % one, row % 4);
    "arrival_s,model\n".to_owned() + &sorted.iter().enumerate().map(row).collect::<String>()
}

/// What a program prints, without what the wall clock says.
fn timeless(mut value: Value) -> Value {
    if let Some(object) = value.as_object_mut() {
        object.retain(|key, _| !key.contains("wall"));
        object.values_mut().for_each(|value| *value = timeless(value.take()));
    } else if let Some(list) = value.as_array_mut() {
        list.iter_mut().for_each(|value| *value = timeless(value.take()));
    }
    value
}

#[test]
fn shifting_every_arrival_changes_no_result() {
    for scheduling in ["stage_penalty = 0.009", "stage_penalty = 0.0\nmax_batch = 2\nwarmup = \"1 s\""] {
        let session = session(scheduling);
        let results = |shift: u64, finer: usize| {
            session.write("r.csv", &requests(&arrivals(), shift, finer));
            let policies = "alpaserve,clockwork++,round-robin";
            let compared = session.json(&format!("compare s.toml --policies {policies}"));
            let planned = session.json("plan s.toml -o p.json");
            let simulated = session.json("simulate s.toml --placement p.json --requests-out out.csv");
            let explained = session.json("explain s.toml --placement p.json");
            // The files of runs are on the clock of their requests, and are requests files again.
            let out = session.read("out.csv");
            session.write("r.csv", &out);
            let again = session.json("simulate s.toml --placement p.json");
            assert_eq!(timeless(again), timeless(simulated.clone()));
            let arrived: Vec<String> =
                out.lines().skip(1).map(|row| row.split(',').nth(2).expect("a column").to_owned()).collect();
            (timeless(serde_json::json!([compared, planned, simulated, explained])), arrived[0].clone())
        };
        let (expected, first) = results(0, 0);
        assert_eq!(first, "5");
        for shift in [1, 19_440_110, 1_700_000_000] {
            let (shifted, first) = results(shift * NANOS, 0);
            assert_eq!(shifted, expected, "{shift}");
            assert_eq!(first, (5 + shift).to_string());
        }
        assert_eq!(results(1_700_000_000 * NANOS, 3).0, expected, "milliseconds");
        assert_eq!(results(1_700_000_000 * NANOS, 6).0, expected, "microseconds");
    }
}

#[test]
fn where_the_run_starts_is_said_once() {
    let session = session("stage_penalty = 0.009");
    session.write("r.csv", &requests(&arrivals(), 19_440_105 * NANOS, 0));
    let ran = session.run("plan s.toml");
    assert_eq!(ran.stderr.matches("the first request arrives at 19440110 s (225.0 days)").count(), 1, "{}", ran.stderr);
    assert_eq!(session.run("plan s.toml -q").stderr, "");
    let inspected = session.json("trace inspect r.csv");
    assert_eq!(inspected["starts_at_s"], 19_440_110.0);
    assert!(inspected["span_s"].as_f64().expect("a number") < 60.0);
    session.write("r.csv", &requests(&arrivals(), 1_700_000_000 * NANOS, 3));
    let ran = session.run("plan s.toml");
    assert!(ran.stderr.contains("arrival_s holds milliseconds since 1970, not seconds"), "{}", ran.stderr);
    assert!(
        ran.stderr.contains("the clock starts with the first request, at 2023-11-14 22:13:25 UTC"),
        "{}",
        ran.stderr
    );
}

#[test]
fn logs_are_converted_by_a_mapping_of_columns() {
    let session = session("stage_penalty = 0.009");
    session.write(
        "log.csv",
        "\u{feff}Zeit;Endpoint;Limit_ms;Code\r\n2024-05-01T10:00:01+02:00;m1;600;200\r\n2024-05-01T08:00:00Z;m0;;200\r\n",
    );
    let converted = session.json("trace convert log.csv --columns arrival=Zeit,model=endpoint,slo=limit_ms --to r.csv");
    assert_eq!(converted["requests"], 2);
    assert_eq!(session.read("r.csv"), "arrival_s,model,slo_s\n0,m0,inf\n1,m1,0.6\n");
    session.json("plan s.toml");
    session.refuses(
        "trace convert log.csv --columns arrival=Zeit,model=endpont --to o.csv",
        &["log.csv:1: the header has no column `endpont`", "nearest first: `Endpoint`, "],
    );
    session.refuses("trace convert log.csv --to o.csv", &["log.csv:1", "columns"]);
}

#[test]
fn byte_order_marks_are_passed_over_in_every_file() {
    let session = Session::new(|text| format!("\u{feff}{}", text.replace('\n', "\r\n")));
    session.write("profile.json", &format!("\u{feff}{}", common::PROFILE));
    session.json("plan s.toml -o p.json");
    session.write("p.json", &format!("\u{feff}{}", session.read("p.json")));
    session.json("simulate s.toml --placement p.json --requests-out r.csv");
    session.write("r.csv", &format!("\u{feff}{}", session.read("r.csv")));
    session.json("compare-runs r.csv r.csv");
    session.json("plan s.toml --set cluster.devices=3");
    session.json("size s.toml --target 50% --axis cv --seeds 1");
}
