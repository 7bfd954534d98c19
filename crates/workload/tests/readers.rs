//! What editors, spreadsheets and log writers do to a text file, done to every format.

use proptest::prelude::*;
use statmux_core::{Lengths, Seed, Span, Time, Workload};
use statmux_workload::recorded::Trace;
use statmux_workload::requests::{Columns, read_requests, read_requests_and_names, write_requests};
use statmux_workload::{Format, WorkloadTable};
use std::path::{Path, PathBuf};
use tempfile::{TempDir, tempdir};

/// One sample of every format.
const SAMPLES: [(Format, &str); 11] = [
    (Format::AzureFunctions2019, "azure-functions-2019-minutes.csv"),
    (Format::AzureFunctions2021, "azure-functions-2021.csv"),
    (Format::AzureLlm2023, "AzureLLMInferenceTrace_code.csv"),
    (Format::Mooncake, "mooncake.jsonl"),
    (Format::ServeGen, "servegen.csv"),
    (Format::ServeGen, "chunk-0-trace.csv"),
    (Format::BurstGpt, "burstgpt.csv"),
    (Format::AlibabaGenai, "alibaba-genai.csv"),
    (Format::LmsysArena, "lmsys-arena.csv"),
    (Format::Splitwise, "splitwise.csv"),
    (Format::Requests, "requests.csv"),
];

fn sample(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("samples").join(name);
    std::fs::read_to_string(path).expect("samples are shipped")
}

fn put(folder: &TempDir, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
    let path = folder.path().join(name);
    std::fs::write(&path, content).expect("a temporary folder can be written to");
    path
}

fn read(format: Format, path: &Path) -> Result<Trace, String> {
    format.read(&[path.to_owned()], Time::NEVER).map_err(|error| error.to_string())
}

/// Every sample, `changed`, is told by its beginning and reads as the same trace.
fn stays_the_same(what: &str, changed: impl Fn(&str, &str) -> Vec<u8>) {
    let folder = tempdir().expect("a temporary folder");
    for (format, name) in SAMPLES {
        let text = sample(name);
        let expected = read(format, &put(&folder, name, &text)).expect("samples are well formed");
        let path = put(&folder, name, changed(name, &text));
        assert_eq!(Format::detect(&path).map_err(|error| error.to_string()), Ok(format), "{what}: {name}");
        assert_eq!(read(format, &path), Ok(expected), "{what}: {name}");
    }
}

#[test]
fn what_editors_do_to_a_file_changes_nothing() {
    stays_the_same("byte-order mark", |_, text| [b"\xef\xbb\xbf", text.as_bytes()].concat());
    stays_the_same("CRLF", |_, text| text.replace('\n', "\r\n").into_bytes());
    stays_the_same("CRLF and mark", |_, text| format!("\u{feff}{}", text.replace('\n', "\r\n")).into_bytes());
    stays_the_same("no line end at the end", |_, text| text.trim_end().as_bytes().to_vec());
    stays_the_same("blank lines at the end", |_, text| format!("{text}\n\n").into_bytes());
    stays_the_same("Zstandard", |_, text| zstd::encode_all(text.as_bytes(), 1).expect("memory is enough"));
    stays_the_same("mark within Zstandard", |_, text| {
        zstd::encode_all([b"\xef\xbb\xbf", text.as_bytes()].concat().as_slice(), 1).expect("memory is enough")
    });
    for separator in [";", "\t", "|"] {
        stays_the_same(separator, |name, text| {
            let separated = if name.ends_with(".jsonl") {
                text.to_owned()
            } else {
                text.replace(',', separator).replace(&format!("gpt{separator} small"), "gpt, small")
            };
            separated.into_bytes()
        });
    }
    let header = |text: &str, change: &dyn Fn(&str) -> String| {
        let text = text.replace("\r\n", "\n");
        // Only files with names in their first line.
        match text.split_once('\n') {
            Some((header, rest)) if header.starts_with(|c: char| c.is_ascii_alphabetic()) => {
                let names: Vec<String> = header.split(',').map(change).collect();
                format!("{}\n{rest}", names.join(",")).into_bytes()
            }
            _ => text.as_bytes().to_vec(),
        }
    };
    stays_the_same("quoted names", |_, text| header(text, &|name| format!("\"{name}\"")));
    stays_the_same("blanks around names", |_, text| header(text, &|name| format!("  {name} ")));
    stays_the_same("blanks around quotes", |_, text| header(text, &|name| format!(" \"{name}\" ")));
    stays_the_same("lower case", |_, text| header(text, &|name| name.to_lowercase()));
    stays_the_same("upper case", |_, text| header(text, &|name| name.to_uppercase()));
}

#[test]
fn what_is_no_text_is_told_so() {
    let folder = tempdir().expect("a temporary folder");
    let refused = |name: &str, content: &[u8], expected: &str| {
        let path = put(&folder, name, content);
        let format = if name.ends_with("jsonl") { Format::Mooncake } else { Format::Requests };
        let error = read(format, &path).expect_err(expected);
        assert!(error.contains(expected), "{error}");
    };
    let utf16: Vec<u8> = "\u{feff}arrival_s,model\n1,a\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    refused("r.csv", &utf16, "is UTF-16 text");
    refused("m.jsonl", &utf16, "is UTF-16 text");
    refused("r.csv", &utf16[2..], "NUL byte");
    refused("r.csv", b"arrival_s,model\n1,a\n2,b\0\n", "r.csv:3: row 2: has a NUL byte");
    refused("r.csv", b"", "is empty");
    refused("r.csv", b"\xef\xbb\xbf", "is empty");
    refused("r.csv", b"\n\n", "is empty");
    refused("r.csv", b"arrival_s,model\n1,caf\xe9\n", "r.csv:2: row 1: model is not UTF-8 text");
    refused("r.csv", b"arrival_s,model\n1\xff,a\n", "r.csv:2: row 1: arrival_s is not UTF-8 text");
    refused("r.csv", b"arrival_s,model\n1,a\n2,b,c\n", "r.csv:3: row 2: has 3 fields where 2 were expected");
    refused("r.csv", b"arrival_s,model\n,a\n", "r.csv:2: row 1: arrival_s is missing");
    refused("r.csv", b"arrival_s;model\n0,5;a\n", "`0,5`, which is not a number (write a decimal point, not a comma)");
    refused("r.csv", b"arrival_s,ARRIVAL_S,model\n1,1,a\n", "stands twice");
    refused("m.jsonl", b"{\"input_length\": 5}\n", "m.jsonl:1: lacks `timestamp`");
    refused("m.jsonl", b"{\"timestamp\": 0}\n{\"timestamp\": -5}\n", "m.jsonl:2: timestamp is -5");
    refused("m.jsonl", b"{\"timestamp\": 0, \"input_length\": 1.5}\n", "m.jsonl:1: input_length is 1.5");
    let missing = put(&folder, "b.csv", "timestamp,Modell,Request tokens,Response tokens\n1,a,1,1\n");
    let error = read(Format::BurstGpt, &missing).expect_err("a column is missing");
    assert!(error.contains("no column `Model`"), "{error}");
    assert!(error.contains("nearest first: `Modell`, "), "{error}");
    let twice = put(&folder, "b.csv", "timestamp,Model,MODEL,model,Request tokens,Response tokens\n");
    assert_eq!(read(Format::BurstGpt, &twice).map(|trace| trace.functions), Ok(vec![]));
    let twice = put(&folder, "b.csv", "timestamp,model,MODEL,Request tokens,Response tokens\n");
    assert!(read(Format::BurstGpt, &twice).expect_err("which one?").contains("stands twice"));
}

#[test]
fn optional_fields_of_json_lines_may_be_missing() {
    let folder = tempdir().expect("a temporary folder");
    let lines = |text: &str| {
        let trace = read(Format::Mooncake, &put(&folder, "calls.jsonl", text)).expect("well formed");
        let statmux_workload::recorded::Recorded::Instants(instants) = trace.recorded else { panic!("instants") };
        let named = |function: &u32| trace.functions[*function as usize].clone();
        let functions: Vec<String> = instants.function.iter().map(named).collect();
        (functions, instants.lengths)
    };
    let length = |prompt, output| Lengths { prompt, output };
    assert_eq!(lines("{\"timestamp\": 0}\n{\"timestamp\": \"5\"}\n"), (vec!["calls".to_owned(); 2], vec![]));
    let text = "{\"timestamp\": 0, \"input_length\": null, \"output_length\": \"7\", \"session_id\": \"x\"}\n\
                {\"timestamp\": 5.5, \"input_length\": 3.0, \"model\": \"k2\", \"delay\": 4, \"hash_ids\": null}\n";
    assert_eq!(lines(text), (vec!["calls".to_owned(), "k2".to_owned()], vec![length(0, 7), length(3, 0)]));
}

const LOG: &str = "endpoint;Time;tokens_in;tokens_out;limit_ms;status\n\
                   chat;2024-03-10T12:00:05.5+01:00;10;5;750;200\n\
                   code;2024-03-10T11:00:00Z;7;;;500\n\
                   chat;2024-03-10 11:00:09;1;1;100;200\n";

fn columns(text: &str) -> Columns {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// The `[workload]` table that reads `path` with further `keys`.
fn built(path: &Path, keys: &str, models: &[&str]) -> Result<statmux_workload::Built, String> {
    let name = path.file_name().expect("a file").to_string_lossy();
    let text = format!("kind = 'requests'\nfile = '{name}'\n{keys}");
    let table: WorkloadTable = toml::from_str(&text).map_err(|error| error.to_string())?;
    let names: Vec<String> = models.iter().map(|&name| name.to_owned()).collect();
    table.build_with_provenance(&path.with_file_name("s.toml"), &names, Seed(0)).map_err(|error| error.to_string())
}

#[test]
fn logs_with_other_columns_are_mapped() {
    let folder = tempdir().expect("a temporary folder");
    let path = put(&folder, "log.csv", LOG);
    let mapping = "columns = { arrival = 'time', model = 'endpoint', prompt_tokens = 'tokens_in', \
                   output_tokens = 'tokens_out', slo = 'limit_ms' }";
    let Workload { arrived, model, slo, lengths, duration } =
        built(&path, mapping, &["chat", "code"]).expect("well formed").workload;
    assert_eq!(arrived, [0, 5_500_000_000, 9_000_000_000].map(Time::from_nanos));
    assert_eq!(model.iter().map(|model| model.0).collect::<Vec<_>>(), [1, 0, 0]);
    assert_eq!(slo, [Span::MAX, Span::from_millis(750), Span::from_millis(100)]);
    let length = |prompt, output| Lengths { prompt, output };
    assert_eq!(lengths, [length(7, 0), length(10, 5), length(1, 1)]);
    assert_eq!(duration, Span::from_millis(9_000));
    // The same from the command line's notation, as a trace.
    let mapping = columns("arrival=time,model=endpoint, prompt_tokens = tokens_in,output_tokens=tokens_out");
    let trace =
        Format::Requests.read_mapped(std::slice::from_ref(&path), Time::NEVER, Some(&mapping)).expect("well formed");
    assert_eq!((&trace.functions[..], trace.counts()), (&["chat".to_owned(), "code".to_owned()][..], vec![2, 1]));
    assert!(trace.remarks[0].contains("2024-03-10 11:00:00 UTC"), "{:?}", trace.remarks);
    let one = "columns = { arrival = 'time' }";
    assert_eq!(built(&path, one, &["m"]).expect("there is but one model").workload.counts(1), [3]);
    let refused = |keys: &str, expected: &[&str]| {
        let error = built(&path, keys, &["chat", "code"]).expect_err(keys);
        assert!(expected.iter().all(|part| error.contains(part)), "{keys}: {error}");
    };
    refused(one, &["no column `model`", "which model"]);
    refused("columns = { arrival = 'tim', model = 'endpoint' }", &["no column `tim`", "nearest first: `Time`, "]);
    refused("columns = { model = 'endpoint' }", &["no column `arrival_s`", "`arrival`"]);
    refused("columns = { arival = 'Time' }", &["arival"]);
    refused("columns = { arrival = 'Time', model = 'endpoint', arrival_unit = 'h' }", &["`h`", "s, ms, us or ns"]);
    refused("", &["unknown column `endpoint`", "columns"]);
    for (text, expected) in [
        ("arival=x", "did you mean `arrival`"),
        ("arrival", "WHAT=COLUMN"),
        ("model=a,model=b", "twice"),
        ("model=", "empty"),
    ] {
        assert!(text.parse::<Columns>().expect_err(expected).contains(expected), "{text}");
    }
}

#[test]
fn dates_that_do_not_exist_are_refused_with_their_row() {
    let folder = tempdir().expect("a temporary folder");
    for (date, expected) in [
        ("2023-02-30 00:00:00", "month 2 of 2023 has 28 days"),
        ("2023-11-16 25:00:00", "no time of day 25:00:00"),
        ("2023-11-16 10:00:00 CEST", "`CEST`"),
        ("16/11/2023 10:00", "no date and time"),
    ] {
        let cases = [
            (
                Format::AzureLlm2023,
                "TIMESTAMP",
                format!("TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-15 00:00:00,1,1\n{date},1,1\n"),
            ),
            (
                Format::AlibabaGenai,
                "gmt_create",
                format!("gmt_create,checkpoint_model_version_id\n2023-11-15 00:00:00,a\n{date},a\n"),
            ),
            (Format::Requests, "arrival_s", format!("arrival_s,model\n2023-11-15 00:00:00,a\n{date},a\n")),
        ];
        for (format, column, text) in cases {
            let error = read(format, &put(&folder, "t.csv", text)).expect_err(date);
            let place = format!("t.csv:3: row 2: {column} is `{date}`");
            assert!(error.contains(&place) && error.contains(expected), "{format}: {error}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Requests that come out of a run go in again, whatever else the file says of them.
    #[test]
    fn the_files_of_runs_are_requests_files(gaps in prop::collection::vec((0..3_000_000_000_u64, 0..2_u32, any::<bool>()), 1..60), offset in 0..4_000_000_000_u64) {
        use statmux_core::{GroupId, ModelId, Outcome, Served};
        let folder = tempdir().unwrap();
        let mut workload = Workload::default();
        let mut outcomes = Vec::new();
        let mut now = 0;
        for (gap, model, served) in gaps {
            now += gap;
            let at = Time::from_nanos(now);
            workload.arrived.push(at);
            workload.model.push(ModelId(model));
            let finished = at + Span::from_nanos(5);
            let ran = Outcome::Served(Served { group: GroupId(1), started: at, finished, in_slo: true });
            outcomes.push(if served { ran } else { Outcome::Rejected });
        }
        let names = ["a", "b"];
        for name in ["out.csv", "out.csv.gz", "out.parquet"] {
            let path = folder.path().join(name);
            statmux_workload::requests::write_results_at(&path, &workload, &names, &outcomes, Span::from_nanos(offset)).unwrap();
            let again = read_requests(&path, &names).unwrap();
            prop_assert_eq!(&again.model, &workload.model);
            let shifted: Vec<Time> = workload.arrived.iter().map(|&at| at + Span::from_nanos(offset)).collect();
            prop_assert_eq!(&again.arrived, &shifted);
            let own = folder.path().join(format!("again-{name}"));
            write_requests(&own, &again, &names).unwrap();
            prop_assert_eq!(read_requests_and_names(&own).unwrap().0.arrived, shifted);
        }
    }
}
