//! Bad input: one clear message, exit code 2, nothing half-written.

mod common;

use common::{PROFILE, Session};

/// Runs `args` on the scenario with `from` replaced by `to`, and expects exit code 2 and `expected` on stderr.
fn check(args: &str, from: &str, to: &str, expected: &[&str]) {
    let session = Session::new(|text| {
        assert!(text.contains(from), "{from}");
        text.replacen(from, to, 1)
    });
    let before = session.files();
    let ran = session.run(args);
    assert_eq!(ran.code, 2, "{to}: {}", ran.stderr);
    for part in expected {
        assert!(ran.stderr.contains(part), "{to}: expected `{part}` in: {}", ran.stderr);
    }
    assert_eq!(ran.stdout, "", "{to}");
    assert_eq!(session.files(), before, "{to}");
}

#[test]
fn wrong_scenarios_say_where_and_what() {
    let plan = "plan s.toml -o p.json";
    check(plan, "devices = 4", "device = 4", &["s.toml:5", "unknown key `device`", "devices"]);
    check(plan, "devices = 4", "devices = 0", &["cluster.devices", "is 0"]);
    check(plan, "devices = 4", "devices = -4", &["s.toml:5"]);
    check(plan, "\"13 GiB\"", "13", &["s.toml:6", "13 GiB"]);
    check(plan, "\"13 GiB\"", "\"13 bananas\"", &["s.toml:6", "13 bananas"]);
    check(plan, "profile.json", "profil.json", &["profil.json", "cannot read"]);
    check(plan, "\"small\"", "\"smal\"", &["models[0].profile", "unknown profile `smal`", "small"]);
    check(plan, "m{i}", "m", &["has no {i}"]);
    check(plan, "scale = 5.0", "scale = -5.0", &["not positive"]);
    check(plan, "scale = 5.0", "scale = nan", &["not positive"]);
    check(plan, "version = 1", "version = 2", &["version", "reads version 1"]);
    check(plan, "least-clock", "last-clock", &["simulation.dispatch", "last-clock", "least-clock"]);
    check(plan, "\"alpaserve\"", "\"alpaserv\"", &["alpaserv", "alpaserve"]);
    check(plan, "rate = 20.0", "rate = nan", &["rate"]);
    check(plan, "rate = 20.0", "rate = -1.0", &["rate"]);
    check(plan, "rate = 20.0", "rate = 0.0", &["rate"]);
    check(plan, "cv = 3.0", "cw = 3.0", &["cw", "cv"]);
    check(plan, "duration = \"60 s\"", "duration = \"0 s\"", &["duration"]);
    check(plan, "\"gamma\"", "\"gama\"", &["gama", "gamma"]);
    check(plan, "version = 1", "version = = 1", &["s.toml:1"]);
    check("plan s.toml --set cluster.devices=x", "seed = 3", "seed = 4", &["cluster.devices"]);
    check("sweep s.toml --over cluster.devises=1,2 --policies alpaserve", "seed = 3", "seed = 4", &["cluster.devises"]);
    check("compare s.toml --policies alpaserve,nobody", "seed = 3", "seed = 4", &["nobody"]);
    check("size s.toml --target 101%", "seed = 3", "seed = 4", &["--target", "at most at 1"]);
    check(
        "size s.toml --target 99% --axis cv",
        "\"gamma\"\nrate = 20.0\ncv = 3.0",
        "\"poisson\"\nrate = 20.0",
        &["workload.cv"],
    );
    check("plan nowhere.toml", "seed = 3", "seed = 4", &["nowhere.toml", "cannot read"]);
    check("frobnicate s.toml", "seed = 3", "seed = 4", &["frobnicate"]);
}

#[test]
fn what_cannot_mean_anything_is_refused() {
    let plan = "plan s.toml -o p.json";
    let models = "name = \"m{i}\"\ncount = 4\n";
    let nodes = |nodes: &str| format!("[[cluster.nodes]]\n{nodes}\n");
    let cluster = "[cluster]\ndevices = 4\nmemory = \"13 GiB\"\n";
    for (from, to, expected) in [
        ("\"13 GiB\"", "\"0 GiB\"", &["cluster.memory", "is 0"][..]),
        ("\"13 GiB\"", "\"0 B\"", &["cluster.memory", "is 0"]),
        ("\"13 GiB\"", "\"-1 GiB\"", &["s.toml:6", "-1 GiB"]),
        ("\"13 GiB\"", "\"nan GiB\"", &["s.toml:6", "nan GiB"]),
        ("devices = 4\n", "devices = 4\ndevices_per_node = 0\n", &["cluster.devices_per_node", "is 0"]),
        ("devices = 4\n", "devices = 5000000000\n", &["s.toml:5"]),
        ("devices = 4\n", "devices = 2000000\n", &["cluster.devices", "over a million"]),
        (cluster, &nodes("devices = 0\nmemory = \"13 GiB\""), &["cluster.nodes", "0 devices"]),
        (cluster, &nodes("count = 0\ndevices = 2\nmemory = \"13 GiB\""), &["cluster.nodes", "0 x 2"]),
        (cluster, &nodes("devices = 2\nmemory = \"0 GiB\""), &["cluster.nodes", "0 B"]),
        (cluster, &nodes("devices = 2\nmemory = \"1 GiB\"\nspeed = 0.0"), &["cluster.nodes", "speed of 0"]),
        (cluster, &nodes("devices = 2\nmemory = \"1 GiB\"\nspeed = -2.0"), &["cluster.nodes", "speed of -2"]),
        (cluster, &nodes("devices = 2\nmemory = \"1 GiB\"\nspeed = inf"), &["cluster.nodes", "speed of inf"]),
        ("count = 4", "count = 0", &["models[0].count", "is 0"]),
        ("count = 4", "count = -1", &["s.toml:13"]),
        ("count = 4", "count = 3000000", &["models[0].count", "3000000"]),
        (models, "names = []\n", &["models[0].names", "is empty"]),
        (models, "names = [\"a\", \"a\"]\n", &["models[0].names", "`a` a second time"]),
        (models, "names = [\"a\", \" \"]\n", &["models[0].names", "empty"]),
        (models, "names = [\"a\"]\ncount = 2\n", &["models[0].names", "count is 2"]),
        (models, "names = [\"a\"]\nname = \"b\"\n", &["models[0].names", "both given"]),
        (models, "name = \"m{i:2}\"\n", &["models[0].name", "{i:02}"]),
        (models, "count = 4\n", &["models[0].name", "is missing"]),
        ("slo = { scale = 5.0 }", "slo = { scale = 0.0 }", &["not positive"]),
        ("slo = { scale = 5.0 }", "slo = { scale = inf }", &["not positive"]),
        ("slo = { scale = 5.0 }", "slo = { latency = \"0 ms\" }", &["models[0].slo", "is 0"]),
        ("slo = { scale = 5.0 }", "slo = { latency = \"-5 ms\" }", &["-5 ms"]),
        ("rate = 20.0", "rate = inf", &["workload.rate"]),
        ("rate = 20.0", "rate = 1e30", &["workload.rate", "more than fit in memory"]),
        ("cv = 3.0", "cv = 0.0", &["workload.cv", "is 0"]),
        ("cv = 3.0", "cv = -1.0", &["workload.cv", "is -1"]),
        ("cv = 3.0", "cv = nan", &["workload.cv"]),
        ("duration = \"60 s\"", "duration = \"0 s\"", &["workload.duration", "is 0"]),
        ("duration = \"60 s\"", "duration = \"60 s\"\nmax_requests = 0", &["workload.max_requests", "is 0"]),
        ("{ power_law = 0.5 }", "{ power_law = nan }", &["workload.split"]),
        ("{ power_law = 0.5 }", "[1, 1, 1, -1]", &["workload.split", "-1"]),
        ("{ power_law = 0.5 }", "[0, 0, 0, 0]", &["workload.split"]),
        ("stage_penalty = 0.009", "stage_penalty = -0.5", &["simulation.stage_penalty", "-0.5"]),
        ("stage_penalty = 0.009", "stage_penalty = nan", &["simulation.stage_penalty"]),
        ("stage_penalty = 0.009", "max_batch = 0", &["simulation.max_batch", "is 0"]),
        ("stage_penalty = 0.009", "max_batch = -1", &["s.toml"]),
        ("stage_penalty = 0.009", "feedback = 2.0", &["simulation.feedback", "is 2"]),
        ("stage_penalty = 0.009", "warmup = \"30 s\"", &["simulation.warmup", "leaves nothing"]),
        ("stage_penalty = 0.009", "warmup = \"9 d\"", &["simulation.warmup", "leaves nothing"]),
        (
            "stage_penalty = 0.009",
            "faults = [{ group = 0, at = \"1 s\", lasts = \"0 s\" }]",
            &["simulation.faults.lasts", "is 0"],
        ),
        (
            "stage_penalty = 0.009",
            "faults = [{ group = 0, at = \"1 s\", lasts = \"1 s\", slowdown = 0.0 }]",
            &["simulation.faults.slowdown", "is 0"],
        ),
        (
            "stage_penalty = 0.009",
            "faults = [{ group = 70, at = \"1 s\", lasts = \"1 s\" }]",
            &["simulation.faults", "group 70"],
        ),
        ("[\"profile.json\"]", "[]", &["models[0].profile", "`small`"]),
        ("\"alpaserve\"", "\"alpaserve\"\nmax_pp = 0", &["planner.max_pp", "is 0"]),
        ("\"alpaserve\"", "\"statmux\"\nbudget = \"0 s\"", &["planner.budget", "is 0"]),
        ("\"alpaserve\"", "\"clockwork++\"\ninterval = \"0 s\"", &["planner.interval", "is 0"]),
        ("\"alpaserve\"", "\"model-parallel-ilp\"\ntime_limit = \"0 s\"", &["planner.time_limit", "is 0"]),
        ("\"alpaserve\"", "\"greedy-k\"\ngroup_size = 64", &["planner", "64"]),
        ("\"alpaserve\"", "\"equal\"\nop = 8\npp = 2", &["planner", "devices"]),
    ] {
        check(plan, from, to, expected);
    }
}

#[test]
fn numbers_of_options_are_checked() {
    let session = Session::new(|text| text);
    session.write("r.csv", "arrival_s,model\n0,a\n1,a\n");
    for (args, expected) in [
        ("serve s.toml --connections 0", "--connections"),
        ("serve s.toml --concurrency 0", "--concurrency"),
        ("serve s.toml --workers 0", "--workers"),
        ("serve s.toml --body-timeout 0s", "--body-timeout"),
        ("serve s.toml --idle-timeout 0s", "--idle-timeout"),
        ("replay s.toml --target http://127.0.0.1:1 --closed 0", "--closed"),
        ("replay s.toml --target http://127.0.0.1:1 --timeout 0s", "--timeout"),
        ("replay s.toml --target http://127.0.0.1:1 --prompt-tokens 0", "--prompt-tokens"),
        ("replay s.toml --target http://127.0.0.1:1 --prompt-tokens 4000000000", "--prompt-tokens"),
        ("replay s.toml --target http://127.0.0.1:1 --output-tokens 0", "--output-tokens"),
        ("plan s.toml --budget 0s", "--budget"),
        ("size s.toml --target 0%", "--target"),
        ("size s.toml --target nan", "--target"),
        ("size s.toml --target 99% --most-devices 0", "--most-devices"),
        ("trace inspect r.csv --intervals 0", "--intervals"),
        ("trace inspect r.csv --top 0", "--top"),
        ("trace inspect r.csv --window 2h..1h", "--window"),
        ("trace inspect r.csv --window 0.25.0..", "0.25.0"),
        ("trace fit r.csv --interval 0s", "interval"),
        ("trace convert r.csv --to o.csv --models 0", "--models"),
        ("trace convert r.csv --to o.csv --models 4000000000", "--models"),
        ("trace convert r.csv --to o.csv --max-requests 0", "--max-requests"),
        ("trace convert r.csv --to o.csv --thin 0", "thin"),
        ("trace convert r.csv --to o.csv --thin 1.5", "thin"),
        ("trace convert r.csv --to o.csv --time-scale 0", "time_scale"),
        ("trace convert r.csv --to o.csv --time-scale nan", "time_scale"),
        ("trace convert r.csv --to o.csv --resample --rate-scale=-1", "rate_scale"),
        ("trace convert r.csv --to o.csv --resample --rate-scale inf", "rate_scale"),
        ("trace convert r.csv --to o.csv --resample --cv 0", "cv"),
        ("trace convert r.csv --to o.csv --resample --interval 0s", "interval"),
        ("trace convert r.csv --to o.csv --columns arival=x", "did you mean `arrival`"),
        ("trace convert r.csv --to o.csv --from burstgpt --columns arrival=x", "--columns"),
        ("trace synth --like azure-functions-2021 -o o.csv --days 0", "--days"),
        ("trace synth --like azure-functions-2021 -o o.csv --days 15", "--days"),
        ("trace synth --like azure-functions-2021 -o o.csv --days 1e-12", "--days"),
        ("trace synth --like azure-functions-2021 -o o.csv --apps 0", "--apps"),
        ("compare-runs a.csv b.csv --max-mean-percent nan", "--max-mean-percent"),
        ("compare-runs a.csv b.csv --max-attainment-points inf", "--max-attainment-points"),
    ] {
        let before = session.files();
        session.refuses(args, &[expected]);
        assert_eq!(session.files(), before, "{args}");
    }
}

/// The warnings on stderr, and those in the JSON, of a plan and a simulation of the scenario with `edits`.
fn warnings(edits: &[(&str, &str)], profile: &[(&str, &str)]) -> Vec<String> {
    let edit = |text: &str, edits: &[(&str, &str)]| {
        edits.iter().fold(text.to_owned(), |text, (from, to)| {
            assert!(text.contains(from), "{from}");
            text.replacen(from, to, 1)
        })
    };
    let session = Session::new(|text| edit(&text, edits));
    session.write("profile.json", &edit(PROFILE, profile));
    let planned = session.run("plan s.toml -o p.json --format json");
    assert_eq!(planned.code, 0, "{}", planned.stderr);
    let said: Vec<String> =
        planned.stderr.lines().filter_map(|line| line.strip_prefix("warning: ")).map(str::to_owned).collect();
    let json: serde_json::Value = serde_json::from_str(&planned.stdout).expect("JSON");
    assert_eq!(json["warnings"], serde_json::json!(said), "{edits:?}");
    let simulated = session.json("simulate s.toml --placement p.json");
    assert_eq!(simulated["warnings"].as_array().map_or(0, Vec::len), said.len(), "{edits:?}");
    let quiet = session.run("simulate s.toml --placement p.json -q");
    assert_eq!((quiet.code, &*quiet.stderr), (0, ""), "{edits:?}");
    said
}

#[test]
fn what_is_merely_strange_is_warned_of_by_name() {
    assert_eq!(warnings(&[], &[]), [""; 0]);
    for (edits, profile, expected) in [
        (
            &[][..],
            &[("\"2\": [0.15]", "\"2\": [0.0001]")][..],
            &["profile `small` (op 1 x pp 1)", "100.00 ms", "100.0 us"][..],
        ),
        (&[], &[("\"2\": [0.15]", "\"2\": [15.0]")], &["profile `small`", "batch size 2 takes 15.000 s"]),
        (&[], &[("[6000000000]", "[16]")], &["profile `small` (op 1 x pp 1)", "16 B", "bytes"]),
        (&[], &[("[6000000000]", "[60000000]")], &["profile `small` (op 1 x pp 1)", "far less"]),
        (&[], &[("\"1\": [0.06]", "\"1\": [6e-9]")], &["profile `small` (op 2 x pp 1)", "6e-9 s"]),
        (
            &[("scale = 5.0", "latency = \"50 ms\"")],
            &[],
            &["`m0`, `m1`, `m2` and 1 more", "SLO of 50.00 ms", "op 2 x pp 1", "takes 71.54 ms alone"],
        ),
        (&[("fixed_overhead = \"11 ms\"", "fixed_overhead = \"2 s\"")], &[], &["can never meet its SLO of 500.00 ms"]),
        (&[("\"13 GiB\"", "\"1 GiB\"")], &[], &["fits on no device", "needs 1.40 GiB", "1.00 GiB"]),
        (
            &[("stage_penalty = 0.009", "faults = [{ group = 0, at = \"99 s\", lasts = \"1 s\" }]")],
            &[],
            &["simulation.faults[0]", "99.000 s"],
        ),
    ] {
        let said = warnings(edits, profile);
        assert_eq!(said.len(), 1, "{said:?}");
        assert!(expected.iter().all(|part| said[0].contains(part)), "{said:?}");
    }
}

#[test]
fn profiles_of_two_files_are_warned_of() {
    let twice = &[("[\"profile.json\"]", "[\"profile.json\", \"profile.json\"]")];
    assert_eq!(warnings(twice, &[]), ["profile `small` is in 2 of the profile files; the last one's holds"]);
}

#[test]
fn requests_that_can_never_be_in_time_are_counted() {
    let session = Session::new(|scenario| {
        let from = scenario.find("[workload]").expect("there");
        let to = scenario.find("[simulation]").expect("there");
        scenario.replace(&scenario[from..to], "[workload]\nkind = \"requests\"\nfile = \"r.csv\"\n\n")
    });
    session.write(
        "r.csv",
        "arrival_s,model,slo_s,prompt_tokens,output_tokens\n0,m0,1,5,5\n1,m1,0.01,5,5\n2,m0,0.02,5,5\n",
    );
    let ran = session.run("plan s.toml");
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(
        ran.stderr.contains("warning: 2 of 3 requests can never meet their own SLO; the first is for `m1`: 10.00 ms")
    );
    let told = "note: the workload's token counts are read, but";
    assert_eq!(ran.stderr.matches(told).count(), 1, "{}", ran.stderr);
    session.json("plan s.toml -o p.json");
    for command in [
        "compare s.toml --policies round-robin,alpaserve",
        "simulate s.toml --placement p.json",
        "explain s.toml --placement p.json",
        "size s.toml --target 10% --draws 0",
        "sweep s.toml --over cluster.devices=2,4 --policies round-robin --out o",
    ] {
        let ran = session.run(command);
        assert_eq!((ran.code, ran.stderr.matches(told).count()), (0, 1), "{command}: {}", ran.stderr);
        let quiet = session.run(&format!("{command} -q"));
        assert!(!quiet.stderr.contains("token"), "{command}: {}", quiet.stderr);
    }
    session.write("r.csv", "arrival_s,model\n0,m0\n1,m1\n");
    assert!(!session.run("plan s.toml").stderr.contains("token"));
}

#[test]
fn wrong_request_files_name_the_row() {
    let requests = |text: &str, expected: &[&str]| {
        let session = Session::new(|scenario| {
            let from = scenario.find("[workload]").expect("there");
            let to = scenario.find("[simulation]").expect("there");
            scenario.replace(&scenario[from..to], "[workload]\nkind = \"requests\"\nfile = \"r.csv\"\n\n")
        });
        session.write("r.csv", text);
        let ran = session.run("plan s.toml");
        assert_eq!(ran.code, 2, "{text}: {}", ran.stderr);
        for part in expected {
            assert!(ran.stderr.contains(part), "{text}: expected `{part}` in: {}", ran.stderr);
        }
    };
    requests("arrival_s,model\n2.0,m0\n1.0,m1\n", &["r.csv", "3"]);
    requests("arrival_s,model\n-2.0,m0\n", &["r.csv", "2", "-2"]);
    requests("arrival_s,model\nNaN,m0\n", &["r.csv", "2"]);
    requests("arrival_s,model\n1.0,m9\n", &["r.csv", "2", "m9"]);
    requests("arrival_s,modell\n1.0,m0\n", &["r.csv", "modell", "model"]);
    requests("arrival_s,model\n1.0\n", &["r.csv", "2"]);
    requests("arrival_s,model\n", &["r.csv", "no request"]);
    requests("", &["r.csv"]);
}

#[test]
fn impossible_placements_say_which_group_and_by_how_much() {
    let session = Session::new(|text| text);
    let placement = |groups: &str, expected: &[&str]| {
        session.write(
            "p.json",
            &format!("{{\"version\": 1, \"windows\": [{{\"start_s\": 0.0, \"groups\": [{groups}]}}]}}"),
        );
        let ran = session.run("simulate s.toml --placement p.json --requests-out r.csv");
        assert_eq!(ran.code, 2, "{groups}: {}", ran.stderr);
        for part in expected {
            assert!(ran.stderr.contains(part), "{groups}: expected `{part}` in: {}", ran.stderr);
        }
        assert!(!session.files().contains(&"r.csv".to_owned()));
    };
    placement(r#"{"op": 1, "pp": 1, "models": ["m0", "m1", "m2"]}"#, &["group 0", "GiB too little"]);
    placement(r#"{"op": 1, "pp": 3, "models": ["m0"]}"#, &["group 0", "no measurement for op 1 x pp 3"]);
    placement(r#"{"op": 1, "pp": 1, "models": ["x0"]}"#, &["unknown model `x0`"]);
    placement(r#"{"devices": [7], "op": 1, "pp": 1, "models": ["m0"]}"#, &["device 7", "4 devices"]);
    let twice = r#"{"devices": [1], "op": 1, "pp": 1, "models": []}, {"devices": [1], "op": 1, "pp": 1, "models": []}"#;
    placement(twice, &["device 1 is used by group 0 and again by group 1"]);
    placement(r#"{"devices": [0, 1], "op": 1, "pp": 1, "models": []}"#, &["needs 1 devices but lists 2"]);
    placement(r#"{"op": 1, "pp": 1, "modells": []}"#, &["modells", "models"]);
    placement(r#"{"op": 1, "pp": 1, "models": []"#, &["p.json"]);
}

#[test]
fn wrong_profiles_name_the_field() {
    let session = Session::new(|text| text);
    session.write("profile.json", &PROFILE.replace("[0.1]", "[0.1, 0.1]"));
    let ran = session.run("plan s.toml");
    assert_eq!(ran.code, 2);
    assert!(
        ran.stderr.contains("profile.json: models[\"small\"].configs[0].stage_latency_s has 2 numbers for 1 stages")
    );
}
