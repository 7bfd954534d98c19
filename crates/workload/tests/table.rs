//! The [workload] table: what it builds, and what it refuses.

use statmux_core::files::parse_toml;
use statmux_core::{Seed, Workload};
use statmux_workload::WorkloadTable;
use std::path::{Path, PathBuf};

fn scenario() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("samples").join("scenario.toml")
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|model| format!("m{model}")).collect()
}

fn table(text: &str) -> WorkloadTable {
    parse_toml(Path::new("scenario.toml"), text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn build(text: &str, models: usize) -> Workload {
    let built = table(text).build_with_provenance(&scenario(), &names(models), Seed(0));
    let built = built.unwrap_or_else(|error| panic!("{text}: {error}"));
    assert!(built.workload.is_well_formed(), "{text}");
    assert!(built.workload.arrived.iter().all(|at| at.nanos() <= built.workload.duration.nanos()), "{text}");
    assert!(!built.provenance.is_empty());
    built.workload
}

#[test]
fn synthetic_kinds_have_their_rate() {
    for text in [
        "kind = 'gamma'\nrate = 64.0\ncv = 4.0\nduration = '2000 s'\nsplit = { power_law = 0.5 }",
        "kind = 'poisson'\nrate = 64\nduration = '2000 s'",
        "kind = 'deterministic'\nrate = 64.0\nduration = '2000 s'\nsplit = 'uniform'",
        "kind = 'mmpp'\nrate = 64.0\nduration = '2000 s'\nstate_rates = [1, 8]\nstate_durations = ['3 s', '1 s']",
        "kind = 'pareto'\nrate = 64.0\ncv = 1.5\nduration = '2000 s'",
        "kind = 'weibull'\nrate = 64.0\nshape = 0.7\nduration = '2000 s'",
    ] {
        let workload = build(text, 8);
        let rate = workload.len() as f64 / workload.duration.seconds();
        assert!((rate / 64.0 - 1.0).abs() < 0.1, "{text}: {rate}");
        assert!(workload.counts(8).iter().all(|&count| count > 0), "{text}");
    }
}

#[test]
fn power_law_and_weights_split_the_rate() {
    let shared = build("kind = 'poisson'\nrate = 100.0\nduration = '2000 s'\nsplit = [8, 2, 0]", 3).counts(3);
    assert!((shared[0] as f64 / shared[1] as f64 - 4.0).abs() < 0.1, "{shared:?}");
    assert_eq!(shared[2], 0);
}

#[test]
fn one_models_arrivals_do_not_depend_on_the_others() {
    let text = "kind = 'gamma'\nrate = 10.0\ncv = 2.0\nduration = '100 s'\nsplit = ";
    let of_first = |workload: Workload| -> Vec<_> {
        workload.arrived.iter().zip(&workload.model).filter(|(_, model)| model.0 == 0).map(|(&at, _)| at).collect()
    };
    let first = of_first(build(&format!("{text}[1, 1]"), 2));
    assert_eq!(first, of_first(build(&format!("{text}[1, 0, 1]"), 3)));
}

#[test]
fn traces_are_replayed_as_recorded() {
    let workload = build("kind = 'trace'\nformat = 'lmsys-arena'\nfiles = ['lmsys-arena.csv']", 4);
    assert_eq!(workload.len(), 19);
    assert_eq!(workload.lengths.len(), 19);
    assert_eq!((workload.lengths[0].prompt, workload.lengths[0].output), (13, 199));
    let faster = build("kind = 'trace'\nformat = 'lmsys-arena'\nfiles = ['lmsys-arena.csv']\ntime_scale = 2", 4);
    assert_eq!(faster.arrived[5].nanos(), (workload.arrived[5].nanos() as f64 / 2.0).round() as u64);
    let few = build("kind = 'trace'\nformat = 'lmsys-arena'\nfiles = ['lmsys-arena.csv']\nmax_requests = 5", 4);
    assert_eq!(few, Workload { duration: few.duration, ..workload.slice(0..5) });
    let by_name = table("kind = 'trace'\nformat = 'lmsys-arena'\nfiles = ['lmsys-arena.csv']\nmapping = 'by-name'");
    let by_name = by_name.build(&scenario(), &["13".to_owned(), "2".to_owned()], Seed(0)).expect("names occur");
    assert_eq!((by_name.model[0].0, by_name.model[1].0), (0, 1));
}

#[test]
fn minute_counts_are_kept_in_their_minutes() {
    let text = "kind = 'trace'\nformat = 'azure-functions-2019'\nfiles = ['azure-functions-2019-minutes.csv']\n\
                window = { start = '0.8.0', end = '0.8.30' }";
    let workload = build(text, 5);
    assert_eq!(workload.duration.seconds(), 1800.0);
    let trace = statmux_workload::Format::AzureFunctions2019
        .read(&[scenario().with_file_name("azure-functions-2019-minutes.csv")], statmux_core::Time::NEVER)
        .expect("the sample is well formed")
        .slice(
            statmux_core::Time::from_nanos(480 * 60_000_000_000),
            statmux_core::Time::from_nanos(510 * 60_000_000_000),
        );
    assert_eq!(workload.len() as u64, trace.counts().iter().sum::<u64>());
}

#[test]
fn resampling_keeps_the_scaled_rate() {
    let text = "kind = 'trace'\nformat = 'azure-functions-2019'\nfiles = ['azure-functions-2019-hour.csv']\n";
    let recorded = build(text, 3);
    let resampled =
        build(&format!("{text}resample = {{ fit = 'gamma', interval = '60 s', rate_scale = 20.0, cv = 1.0 }}"), 3);
    let ratio = resampled.len() as f64 / recorded.len() as f64;
    assert!((ratio / 20.0 - 1.0).abs() < 0.05, "{ratio}");
    for (a, b) in recorded.counts(3).into_iter().zip(resampled.counts(3)) {
        assert!((b as f64 / (20.0 * a as f64) - 1.0).abs() < 0.2, "{a} {b}");
    }
    let windows = build(
        "kind = 'trace'\nformat = 'servegen'\nfiles = ['servegen.csv']\nresample = { cv_scale = 1.0, rate_scale = 2.0 }",
        2,
    );
    assert!(!windows.is_empty());
    let lengths = build(
        "kind = 'trace'\nformat = 'splitwise'\nfiles = ['splitwise.csv']\nresample = { fit = 'count', interval = '10 s', rate_scale = 100 }",
        2,
    );
    assert_eq!(lengths.lengths.len(), lengths.len());
}

#[test]
fn the_train_table_inherits_what_it_leaves_out() {
    let base = "kind = 'gamma'\nrate = 10.0\ncv = 2.0\nduration = '100 s'\n";
    let train =
        |text: &str| table(&format!("{base}{text}")).build_train(&scenario(), &names(2), Seed(0)).expect("well formed");
    assert_eq!(train(""), None);
    let test = build(base, 2);
    let other = train("[train]").expect("there is a table");
    assert_ne!(other.arrived, test.arrived, "the planner must not see the very requests it is scored on");
    assert_eq!(other.duration, test.duration);
    assert_eq!(train("[train]\nseed = 0").expect("there is a table"), test);
    let longer = train("[train]\nduration = '200 s'").expect("there is a table");
    assert_eq!(longer.duration.seconds(), 200.0);
    let poisson = train("[train]\nkind = 'poisson'").expect("there is a table");
    assert_eq!(poisson.duration, test.duration);
}

#[test]
fn what_is_wrong_is_named_with_its_key() {
    let check = |text: &str, expected: &str| {
        let parsed: Result<WorkloadTable, _> = parse_toml(Path::new("s.toml"), text);
        let error = match parsed {
            Ok(table) => {
                let test = table.build(&scenario(), &names(2), Seed(0));
                let train = test.and_then(|_| table.build_train(&scenario(), &names(2), Seed(0)));
                train.map(|_| ()).expect_err(text).to_string()
            }
            Err(error) => error.to_string(),
        };
        assert!(error.contains(expected), "{text}\n  gives {error}\n  not   {expected}");
    };
    check("rate = 5.0", "workload.kind is missing");
    check("kind = 'gama'", "unknown value `gama`");
    check("kind = 'gamma'\nrat = 5.0", "did you mean `rate`");
    check(
        "kind = 'poisson'\nrate = 5.0\ncv = 2.0\nduration = '1 s'",
        "workload.cv does not belong to kind = \"poisson\"",
    );
    check("kind = 'poisson'\nrate = 5.0", "workload.duration is missing");
    check("kind = 'poisson'\nrate = -5.0\nduration = '1 s'", "workload.rate is -5; a number above 0 was expected");
    check("kind = 'poisson'\nrate = nan\nduration = '1 s'", "workload.rate is NaN");
    check("kind = 'poisson'\nrate = 1e12\nduration = '1 h'", "more than fit in memory");
    check("kind = 'poisson'\nrate = 1e-9\nduration = '1 s'", "gives no request at all");
    check("kind = 'poisson'\nrate = 5.0\nduration = 1", "a number with its unit");
    check(
        "kind = 'poisson'\nrate = 5.0\nduration = '1 s'\nsplit = [1]",
        "workload.split has 1 weights, but there are 2 models",
    );
    check("kind = 'poisson'\nrate = 5.0\nduration = '1 s'\nsplit = 'unifrom'", "unifrom");
    check("kind = 'pareto'\nrate = 5.0\nduration = '1 s'\ncv = 0.5", "for Pareto gaps it must be above 1");
    check(
        "kind = 'mmpp'\nrate = 5.0\nduration = '1 s'\nstate_rates = [1]\nstate_durations = ['1 s']",
        "at least two states",
    );
    check(
        "kind = 'mmpp'\nrate = 5.0\nduration = '9 h'\nstate_rates = [1, 2]\nstate_durations = ['1 ns', '1 ns']",
        "state_durations",
    );
    check("kind = 'requests'", "workload.file is missing");
    check("kind = 'requests'\nfile = 'nowhere.csv'", "nowhere.csv: cannot read");
    check("kind = 'trace'\nfiles = ['servegen.csv']", "workload.format is missing");
    check("kind = 'trace'\nformat = 'azure'\nfiles = []", "unknown value `azure`");
    check("kind = 'trace'\nformat = 'mooncake'", "workload.files is missing");
    let arena = "kind = 'trace'\nformat = 'lmsys-arena'\nfiles = ['lmsys-arena.csv']\n";
    check(
        &format!("{arena}window = {{ start = '5.0.0', end = '6.0.0' }}"),
        "window holds no request\n  help: the recording covers 0.0.0 to",
    );
    check(&format!("{arena}window = {{ start = '5.0.0', end = '4.0.0' }}"), "workload.window ends before it starts");
    check(&format!("{arena}window = {{ start = '25' }}"), "day.hour.minute");
    check(&format!("{arena}mapping = 'by-name'"), "no function that bears a model's name");
    check(&format!("{arena}resample = {{ cv = 1.0, cv_scale = 2.0 }}"), "absolute or relative");
    check(&format!("{arena}resample = {{ fit = 'poisson', cv = 2.0 }}"), "whose CV is 1");
    check(&format!("{arena}thin = 2.0"), "workload.thin is above 1");
    check(&format!("{arena}min_function_requests = 1000"), "holds no request of the functions that are kept");
    check("kind = 'trace'\nformat = 'mooncake'\nfiles = ['servegen.csv']", "servegen.csv:1:");
    check("kind = 'poisson'\nrate = 5.0\nduration = '9 s'\n[train]\nrate = -1.0", "workload.train.rate is -1");
}
