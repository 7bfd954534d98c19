//! Requests files: what goes out comes back, and what is wrong is named.

use proptest::prelude::*;
use statmux_core::{GroupId, Lengths, ModelId, Outcome, Served, Span, Time, Workload};
use statmux_workload::requests::{read_requests, read_requests_and_names, read_results, write_requests, write_results};
use std::path::PathBuf;
use tempfile::{TempDir, tempdir};

const NAMES: [&str; 3] = ["bert-0", "bert-1", "odd, \"name\""];

fn file(folder: &TempDir, name: &str, content: &[u8]) -> PathBuf {
    let path = folder.path().join(name);
    std::fs::write(&path, content).expect("a temporary folder can be written to");
    path
}

fn workload(rows: &[(u64, u32, u64, u32)], slo: bool, lengths: bool) -> Workload {
    let mut workload = Workload::default();
    let mut now = 0;
    for &(gap, model, limit, tokens) in rows {
        now += gap;
        workload.arrived.push(Time::from_nanos(now));
        workload.model.push(ModelId(model));
        if slo {
            workload.slo.push(if limit == 0 { Span::MAX } else { Span::from_nanos(limit) });
        }
        if lengths {
            workload.lengths.push(Lengths { prompt: tokens, output: tokens / 2 });
        }
    }
    workload.duration = Span::from_nanos(now);
    workload
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn what_is_written_is_read_again(
        rows in prop::collection::vec((0..10_000_000_000_u64, 0..3_u32, 0..100_000_000_000_u64, any::<u32>()), 1..200),
        slo: bool, lengths: bool,
    ) {
        let folder = tempdir().unwrap();
        let expected = workload(&rows, slo, lengths);
        for name in ["r.csv", "r.csv.gz", "r.parquet"] {
            let path = folder.path().join(name);
            write_requests(&path, &expected, &NAMES).unwrap();
            prop_assert_eq!(&read_requests(&path, &NAMES).unwrap(), &expected, "{}", name);
            let (collected, names) = read_requests_and_names(&path).unwrap();
            prop_assert_eq!(&collected.arrived, &expected.arrived);
            prop_assert!(collected.model.iter().zip(&expected.model).all(|(a, b)| names[a.index()] == NAMES[b.index()]));
        }
    }

    #[test]
    fn arbitrary_text_never_panics(text in "(arrival_s|model|slo_s|,|\n|[0-9.e-]{1,9}|inf|NaN|m0|\"|.){0,60}") {
        let folder = tempdir().unwrap();
        let _ = read_requests(&file(&folder, "r.csv", text.as_bytes()), &["m0"]);
        let _ = read_requests_and_names(&file(&folder, "r.csv", format!("arrival_s,model\n{text}").as_bytes()));
    }

    #[test]
    fn damaged_parquet_never_panics(flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6), cut in any::<prop::sample::Index>(), shorten: bool) {
        let folder = tempdir().unwrap();
        let path = folder.path().join("r.parquet");
        let rows: Vec<_> = (0..50).map(|row| (row, (row % 3) as u32, row, row as u32)).collect();
        write_requests(&path, &workload(&rows, true, true), &NAMES).unwrap();
        let mut bytes = std::fs::read(&path).unwrap();
        for (at, value) in flips {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if shorten {
            bytes.truncate(cut.index(bytes.len()));
        }
        let _ = read_requests(&file(&folder, "r.parquet", &bytes), &NAMES);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..400), prefix in 0..5_usize) {
        let prefixes: [&[u8]; 5] = [b"", b"arrival_s,model\n", &[0x1f, 0x8b, 8, 0], &[0x28, 0xb5, 0x2f, 0xfd], b"PAR1"];
        let folder = tempdir().unwrap();
        let content = [prefixes[prefix], &bytes].concat();
        for name in ["r.csv", "r.csv.gz", "r.parquet"] {
            let _ = read_requests(&file(&folder, name, &content), &NAMES);
        }
    }
}

#[test]
fn what_is_wrong_is_named_with_its_row() {
    let folder = tempdir().expect("a temporary folder");
    let check = |content: &str, expected: &str| {
        let path = file(&folder, "r.csv", content.as_bytes());
        let error = read_requests(&path, &["bert-0", "bert-1"]).map(|_| ()).expect_err(content);
        let text = error.to_string();
        let text = text.replace(&path.display().to_string(), "r.csv");
        assert_eq!(text, expected, "{content}");
    };
    check("", "r.csv: is empty; a header was expected in its first line");
    check(
        "arrival,model\n",
        "r.csv:1: unknown column `arrival`\n  help: did you mean `arrival_s`? Known: arrival_s,model,slo_s,prompt_tokens,output_tokens; map columns of other names with `columns`",
    );
    check(
        "model\nbert-0\n",
        "r.csv:1: the header has no column `arrival_s`\n  help: requests files begin with arrival_s,model[,slo_s][,prompt_tokens,output_tokens]",
    );
    check(
        "arrival_s,model,prompt_tokens\n",
        "r.csv:1: the header has no column `output_tokens`\n  help: requests files begin with arrival_s,model[,slo_s][,prompt_tokens,output_tokens]",
    );
    check("arrival_s,model,model\n", "r.csv:1: column `model` stands twice in the header");
    check(
        "arrival_s,model\n1,bert-0\n0.5,bert-0\n",
        "r.csv:3: row 2: arrival_s is 0.5, before the previous row's 1; rows must be sorted by arrival",
    );
    check("arrival_s,model\n-1,bert-0\n", "r.csv:2: row 1: arrival_s is -1, which is negative");
    check("arrival_s,model\nnan,bert-0\n", "r.csv:2: row 1: arrival_s is NaN, which is not a time in seconds");
    check(
        "arrival_s,model\n1e300,bert-0\n",
        &format!("r.csv:2: row 1: arrival_s is {}, which is not a time in seconds", 1e300),
    );
    check("arrival_s,model\nsoon,bert-0\n", "r.csv:2: row 1: arrival_s is `soon`, which is not a number");
    check("arrival_s,model\n1,bert_0\n", "r.csv:2: row 1: model `bert_0` is unknown; did you mean `bert-0`?");
    check("arrival_s,model\n1,zzz\n", "r.csv:2: row 1: model `zzz` is unknown; known are 2 models, such as `bert-0`");
    check("arrival_s,model\n1,bert-0\n2\n", "r.csv:3: row 2: has 1 fields where 2 were expected");
    check("arrival_s,model,slo_s\n1,bert-0,-2\n", "r.csv:2: row 1: slo_s is -2, which is negative");
    check(
        "arrival_s,model,slo_s\n1,bert-0,1\n2,bert-0,\n",
        "r.csv:3: row 2: slo_s is missing, but rows before have one; give it in all rows (`inf` for none)",
    );
    check(
        "arrival_s,model,prompt_tokens,output_tokens\n1,bert-0,1.5,2\n",
        "r.csv:2: row 1: prompt_tokens is 1.5, which is not a whole number from 0 to 2^32 - 1",
    );
    let odd = file(&folder, "r.txt", b"");
    let error = read_requests(&odd, &NAMES).expect_err("not CSV by its name").to_string();
    assert!(error.contains("requests files end in .csv"), "{error}");
}

#[test]
fn parquet_rows_are_named_too() {
    let folder = tempdir().expect("a temporary folder");
    let path = folder.path().join("r.parquet");
    write_requests(&path, &workload(&[(5, 0, 0, 0), (1, 1, 0, 0)], false, false), &["known", "unknown"])
        .expect("writable");
    let error = read_requests(&path, &["known", "other"]).expect_err("a model is unknown").to_string();
    assert!(error.contains("row 2: model `unknown` is unknown; did you mean `known`?"), "{error}");
}

#[test]
fn cut_compressed_files_are_told_so() {
    let folder = tempdir().expect("a temporary folder");
    let path = folder.path().join("r.csv.gz");
    let rows: Vec<_> = (0..5000).map(|row| (row * 7919 % 1_000_000, (row % 3) as u32, 0, 0)).collect();
    write_requests(&path, &workload(&rows, false, false), &NAMES).expect("writable");
    let whole = std::fs::read(&path).expect("just written");
    for keep in [whole.len() / 2, whole.len() - 1, 30] {
        let cut = file(&folder, "cut.csv.gz", &whole[..keep]);
        let error = read_requests(&cut, &NAMES).expect_err("cut").to_string();
        assert!(error.contains("is cut off: its compressed data ends too early"), "{keep}: {error}");
    }
    let plain = workload(&rows, false, false);
    let csv = folder.path().join("r.csv");
    write_requests(&csv, &plain, &NAMES).expect("writable");
    let zst = zstd_of(&std::fs::read(&csv).expect("just written"));
    let path = file(&folder, "r.csv.zst", &zst);
    assert_eq!(read_requests(&path, &NAMES).expect("whole"), plain);
    let cut = file(&folder, "cut.csv.zst", &zst[..zst.len() / 2]);
    let error = read_requests(&cut, &NAMES).expect_err("cut").to_string();
    assert!(error.contains("is cut off"), "{error}");
}

fn zstd_of(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).expect("memory is enough")
}

#[test]
fn a_record_without_end_is_refused() {
    let folder = tempdir().expect("a temporary folder");
    // 40 MB of an unclosed quote in a few kilobytes.
    let bomb = zstd_of(&[b"arrival_s,model\n0,\"".to_vec(), vec![b'a'; 40 << 20]].concat());
    let path = file(&folder, "bomb.csv.zst", &bomb);
    let error = read_requests(&path, &NAMES).expect_err("too long").to_string();
    assert!(error.contains("single record is longer"), "{error}");
}

#[test]
fn results_have_one_row_per_request_in_order() {
    let folder = tempdir().expect("a temporary folder");
    let requests =
        workload(&[(1_500_000_000, 0, 0, 0), (0, 2, 0, 0), (5, 1, 0, 0), (0, 1, 0, 0), (0, 1, 0, 0)], false, false);
    let served = |in_slo| {
        Outcome::Served(Served {
            group: GroupId(3),
            started: Time::from_nanos(1_600_000_000),
            finished: Time::from_nanos(2_000_000_001),
            in_slo,
        })
    };
    let outcomes = [served(true), served(false), Outcome::Rejected, Outcome::NoReplica, Outcome::Failed];
    let path = folder.path().join("out.csv");
    write_results(&path, &requests, &NAMES, &outcomes).expect("writable");
    assert_eq!(
        std::fs::read_to_string(&path).expect("just written"),
        "request,model,arrival_s,group,start_s,finish_s,outcome\n\
         0,bert-0,1.5,3,1.6,2.000000001,in_slo\n\
         1,\"odd, \"\"name\"\"\",1.5,3,1.6,2.000000001,late\n\
         2,bert-1,1.500000005,,,,rejected\n\
         3,bert-1,1.500000005,,,,no_replica\n\
         4,bert-1,1.500000005,,,,failed\n"
    );
    write_results(&folder.path().join("out.parquet"), &requests, &NAMES, &outcomes).expect("writable");
    assert_eq!(std::fs::read_dir(folder.path()).expect("readable").count(), 2, "nothing but the two files is left");
    let recorded = read_results(&path).expect("just written");
    assert_eq!((&recorded.arrived, &recorded.outcomes[..]), (&requests.arrived, &outcomes[..]));
    assert_eq!(recorded.names, ["bert-0", "odd, \"name\"", "bert-1"]);
    assert_eq!(recorded.model, [0, 1, 2, 2, 2].map(ModelId));
    assert_eq!(read_results(&folder.path().join("out.parquet")).expect("just written"), recorded);
}

#[test]
fn wrong_results_name_the_row() {
    let folder = tempdir().expect("a temporary folder");
    let check = |rows: &str, expected: &str| {
        let text = format!("request,model,arrival_s,group,start_s,finish_s,outcome\n{rows}");
        let path = file(&folder, "bad.csv", text.as_bytes());
        let error = read_results(&path).expect_err(rows).to_string();
        assert!(error.contains(expected), "{rows}: {error}");
    };
    check("0,m,0,,,,rejected\n2,m,0,,,,rejected\n", "row 2: request is 2, but 1 comes next");
    check("0,m,-1,,,,rejected\n", "arrival_s is -1");
    check("0,m,0,0,,1,late\n", "some are empty");
    check("0,m,0,,,,in_slo\n", "outcome is `in_slo`, though nothing ran");
    check("0,m,0,0,1,2,rejected\n", "outcome is `rejected`, though something ran");
    check("0,m,0,,,,lost\n", "outcome is `lost`");
    let path = file(&folder, "other.csv", b"arrival_s,model\n0,m\n");
    assert!(read_results(&path).expect_err("requests").to_string().contains("no column `request`"));
}

#[test]
fn every_ending_that_is_written_is_read_back() {
    let folder = tempdir().expect("a temporary folder");
    let names = ["a", "b"];
    let workload = Workload {
        arrived: (0..100).map(|n| Time::from_nanos(n * 10_000_000)).collect(),
        model: (0..100).map(|n| ModelId(n % 2)).collect(),
        ..Workload::default()
    };
    for ending in ["csv", "csv.gz", "csv.zst", "parquet"] {
        let path = folder.path().join(format!("r.{ending}"));
        write_requests(&path, &workload, &names).expect("it can be written");
        let read = read_requests(&path, &names).expect("it can be read");
        assert_eq!((read.arrived, read.model), (workload.arrived.clone(), workload.model.clone()), "{ending}");
    }
}
