//! Wherever a recording's clock begins, the run begins at the first request.

use proptest::prelude::*;
use statmux_core::{Seed, Span, Time};
use statmux_workload::{Built, Format, WorkloadTable};
use std::path::Path;

const NANOS: u64 = 1_000_000_000;

/// Nanoseconds as decimal seconds, times 10^`finer`.
fn decimal(nanos: u64, finer: usize) -> String {
    let places = 9 - finer;
    let one = 10_u64.pow(places as u32);
    if places == 0 { nanos.to_string() } else { format!("{}.{:0places$}", nanos / one, nanos % one) }
}

/// A file of `format` whose calls arrive at `nanos`, and what it is called.
fn file(format: Format, nanos: &[u64]) -> Option<(&'static str, String)> {
    let rows = |header: &str, row: &dyn Fn(usize, u64) -> String| {
        let rows: Vec<String> = nanos.iter().enumerate().map(|(index, &at)| row(index, at)).collect();
        if header.is_empty() { rows.join("\n") } else { format!("{header}\n{}\n", rows.join("\n")) }
    };
    let model = |index: usize| ["a", "b"][index % 2];
    Some(match format {
        Format::AzureFunctions2021 => (
            "t.csv",
            rows("app,func,end_timestamp,duration", &|i, at| format!("app,{},{},0.0", model(i), decimal(at, 0))),
        ),
        Format::Mooncake => (
            "t.jsonl",
            rows("", &|i, at| {
                format!("{{\"timestamp\": \"{}\", \"input_length\": {i}, \"model\": \"{}\"}}", decimal(at, 3), model(i))
            }),
        ),
        Format::BurstGpt => (
            "t.csv",
            rows("Timestamp,Model,Request tokens,Response tokens", &|i, at| {
                format!("{},{},{i},1", decimal(at, 0), model(i))
            }),
        ),
        Format::LmsysArena => (
            "t.csv",
            rows("req_id,arrival_s,model_index,prompt_len,output_len", &|i, at| {
                format!("{i},{},{},{i},1", decimal(at, 0), model(i))
            }),
        ),
        Format::Splitwise => (
            "t.csv",
            rows("application_id,arrival_timestamp,prompt_size,token_size", &|i, at| {
                format!("{},{},{i},1", model(i), decimal(at, 0))
            }),
        ),
        Format::Requests => ("t.csv", rows("arrival_s,model", &|i, at| format!("{},{}", decimal(at, 0), model(i)))),
        // These count minutes, give dates, or tell rates.
        Format::AzureFunctions2019 | Format::AzureLlm2023 | Format::ServeGen | Format::AlibabaGenai => return None,
    })
}

fn build(folder: &Path, table: &str) -> Built {
    try_build(folder, table).unwrap_or_else(|error| panic!("{error}"))
}

fn try_build(folder: &Path, table: &str) -> Result<Built, String> {
    let table: WorkloadTable = toml::from_str(table).unwrap_or_else(|error| panic!("{table}: {error}"));
    let names = ["a".to_owned(), "b".to_owned()];
    table.build_with_provenance(&folder.join("s.toml"), &names, Seed(7)).map_err(|error| error.to_string())
}

fn table(format: Format, name: &str, more: &str) -> String {
    if format == Format::Requests {
        return format!("kind = 'requests'\nfile = '{name}'\n");
    }
    format!("kind = 'trace'\nformat = '{format}'\nfiles = ['{name}']\n{more}")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn shifting_all_arrivals_changes_nothing(
        gaps in prop::collection::vec(0..40_000_000_000_u64, 1..40),
        shift in prop_oneof![0..NANOS, 0..20_000_000 * NANOS, 1_500_000_000 * NANOS..1_800_000_000 * NANOS],
        resampled: bool,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let mut now = 0;
        let arrivals: Vec<u64> = gaps.iter().map(|gap| { now += gap; now }).collect();
        for format in Format::ALL {
            let Some((name, text)) = file(format, &arrivals) else { continue };
            let resample = if resampled { "resample = { interval = '30 s', fit = 'count' }\n" } else { "" };
            let table = table(format, name, resample);
            std::fs::write(folder.path().join(name), text).unwrap();
            let expected = try_build(folder.path(), &table);
            if !resampled || format == Format::Requests {
                prop_assert!(expected.is_ok(), "{}", format);
            }
            let shifted: Vec<u64> = arrivals.iter().map(|at| at + shift).collect();
            // Of a moment's requests resampling may leave none, which is refused: then so are the shifted ones.
            let Ok(expected) = expected else {
                let (name, text) = file(format, &shifted).expect("as before");
                std::fs::write(folder.path().join(name), text).unwrap();
                prop_assert!(try_build(folder.path(), &table).is_err(), "{}", format);
                continue;
            };
            if !resampled || format == Format::Requests {
                prop_assert_eq!(expected.workload.arrived[0], Time::ZERO);
                let span = Span::from_nanos(arrivals[arrivals.len() - 1] - arrivals[0]);
                prop_assert_eq!(expected.workload.duration, if format == Format::Requests { span } else { span.max(Span::from_nanos(1)) });
                prop_assert_eq!(expected.offset, Span::from_nanos(arrivals[0]));
            }
            let (name, text) = file(format, &shifted).expect("as before");
            std::fs::write(folder.path().join(name), text).unwrap();
            let built = build(folder.path(), &table);
            prop_assert_eq!(&built.workload, &expected.workload, "{}", format);
            prop_assert_eq!(built.offset, Span::from_nanos(arrivals[0] + shift), "{}", format);
            prop_assert!(shift < NANOS || !built.remarks.is_empty());
        }
    }

    /// A requests file may count in any unit since 1970; the first row tells.
    #[test]
    fn units_since_1970_are_noticed(gaps in prop::collection::vec(0..40_000_000_000_u64, 1..40), finer in 0..4_usize) {
        let finer = [0, 3, 6, 9][finer];
        let folder = tempfile::tempdir().unwrap();
        let mut now = 1_700_000_000 * NANOS;
        let arrivals: Vec<u64> = gaps.iter().map(|gap| { now += gap; now }).collect();
        let rows: Vec<String> = arrivals.iter().map(|&at| format!("{},a", decimal(at, finer))).collect();
        std::fs::write(folder.path().join("r.csv"), format!("arrival_s,model\n{}\n", rows.join("\n"))).unwrap();
        let built = build(folder.path(), "kind = 'requests'\nfile = 'r.csv'\n");
        let expected: Vec<Time> = arrivals.iter().map(|at| Time::from_nanos(at - arrivals[0])).collect();
        prop_assert_eq!(built.workload.arrived, expected);
        let unit = ["", "milliseconds", "microseconds", "nanoseconds"][finer / 3];
        prop_assert!(built.remarks.iter().any(|remark| remark.contains(unit)), "{:?}", built.remarks);
    }
}

#[test]
fn a_window_keeps_the_files_clock() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).expect("writable");
    write("r.csv", "arrival_s,model\n100,a\n110,b\n130,a\n");
    let requests = |more: &str| build(folder.path(), &format!("kind = 'requests'\nfile = 'r.csv'\n{more}"));
    let seconds = |built: &Built| {
        let arrived: Vec<f64> = built.workload.arrived.iter().map(|at| at.seconds()).collect();
        (arrived, built.workload.duration.seconds(), built.offset.seconds())
    };
    assert_eq!(seconds(&requests("")), (vec![0.0, 10.0, 30.0], 30.0, 100.0));
    assert_eq!(seconds(&requests("duration = '40 s'")), (vec![0.0, 10.0, 30.0], 40.0, 100.0));
    assert_eq!(seconds(&requests("window = { start = '0 s' }")), (vec![100.0, 110.0, 130.0], 130.0, 0.0));
    assert_eq!(seconds(&requests("window = { start = '105 s', end = '120 s' }")), (vec![5.0], 15.0, 0.0));
    assert_eq!(seconds(&requests("window = { end = '125 s' }")), (vec![100.0, 110.0], 125.0, 0.0));
    // Dates have no zero of their own: windows count from the first request.
    write("d.csv", "arrival_s,model\n2024-01-01 00:01:40,a\n2024-01-01 00:01:50,b\n2024-01-01 00:02:10,a\n");
    let dated = |more: &str| build(folder.path(), &format!("kind = 'requests'\nfile = 'd.csv'\n{more}"));
    assert_eq!(seconds(&dated("")), (vec![0.0, 10.0, 30.0], 30.0, 0.0));
    assert_eq!(seconds(&dated("window = { start = '5 s', end = '20 s' }")), (vec![5.0], 15.0, 0.0));
    // Only the model that comes last is asked for: the run starts with it.
    write("t.csv", "Timestamp,Model,Request tokens,Response tokens\n7,x,1,1\n500,a,1,1\n505,a,1,1\n");
    let by_name = "kind = 'trace'\nformat = 'burstgpt'\nfiles = ['t.csv']\nmapping = 'by-name'\n";
    assert_eq!(seconds(&build(folder.path(), by_name)), (vec![0.0, 5.0], 5.0, 500.0));
    let whole = format!("{by_name}window = {{ start = '0 s' }}");
    assert_eq!(seconds(&build(folder.path(), &whole)), (vec![500.0, 505.0], 505.0, 0.0));
}

#[test]
fn counts_and_rates_start_with_the_first_that_is_not_zero() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    std::fs::write(folder.path().join("m.csv"), "HashFunction,7,8,9,10\na,0,0,60,0\n").expect("writable");
    let minutes = build(folder.path(), "kind = 'trace'\nformat = 'azure-functions-2019'\nfiles = ['m.csv']\n");
    assert!(minutes.workload.arrived[0].seconds() < 60.0);
    assert_eq!((minutes.workload.duration.seconds(), minutes.offset.seconds()), (120.0, 480.0));
    let rates = |from: u64| {
        let text = format!("client,timestamp_s,rate_rps,iat_cv,dist,shape,scale\nc,{from},0.1,1,Gamma,1,1\n");
        std::fs::write(folder.path().join("g.csv"), text).expect("writable");
        build(folder.path(), "kind = 'trace'\nformat = 'servegen'\nfiles = ['g.csv']\n")
    };
    let early = rates(2400);
    assert_eq!((early.workload.duration.seconds(), early.offset.seconds()), (600.0, 2400.0));
    assert_eq!(rates(1_700_000_000).workload, early.workload);
}

#[test]
fn spans_beyond_belief_are_warned_of() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let requests = |step: f64, count: usize| {
        let rows: Vec<String> = (0..count).map(|row| format!("{},a", row as f64 * step)).collect();
        std::fs::write(folder.path().join("r.csv"), format!("arrival_s,model\n{}\n", rows.join("\n")))
            .expect("writable");
        build(folder.path(), "kind = 'requests'\nfile = 'r.csv'\n")
    };
    let months = requests(100_000.0, 100);
    assert!(months.warnings[0].contains("r.csv: 100 requests arrive over 115 days"), "{:?}", months.warnings);
    let whole = requests(33.0, 100);
    assert!(whole.warnings.is_empty());
    assert!(whole.remarks[0].contains("milliseconds"), "{:?}", whole.remarks);
    let plain = requests(0.37, 100);
    assert!(plain.warnings.is_empty() && plain.remarks.is_empty(), "{:?}", plain.remarks);
    let text = "arrival_s,model\n0,a\n33,a\n66,b\n";
    std::fs::write(folder.path().join("r.csv"), text).expect("writable");
    let millis = build(folder.path(), "kind = 'requests'\nfile = 'r.csv'\ncolumns = { arrival_unit = 'ms' }\n");
    assert_eq!(millis.workload.duration, Span::from_millis(66));
}
