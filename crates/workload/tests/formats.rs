//! Every trace format, read from its sample.

use statmux_core::Time;
use statmux_workload::Format;
use statmux_workload::recorded::{Recorded, Trace};
use std::path::{Path, PathBuf};

fn sample(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("samples").join(name)
}

fn read(format: Format, names: &[&str]) -> Trace {
    let files: Vec<PathBuf> = names.iter().map(|name| sample(name)).collect();
    format.read(&files, Time::NEVER).unwrap_or_else(|error| panic!("{error}"))
}

/// Each format's samples.
fn samples(format: Format) -> &'static [&'static str] {
    match format {
        Format::AzureFunctions2019 => {
            &["azure-functions-2019-fullday.csv", "azure-functions-2019-minutes.csv", "azure-functions-2019-hour.csv"]
        }
        Format::AzureFunctions2021 => &["azure-functions-2021.csv"],
        Format::AzureLlm2023 => &["AzureLLMInferenceTrace_code.csv"],
        Format::Mooncake => &["mooncake.jsonl"],
        Format::ServeGen => &["servegen.csv", "chunk-0-trace.csv"],
        Format::BurstGpt => &["burstgpt.csv"],
        Format::AlibabaGenai => &["alibaba-genai.csv"],
        Format::LmsysArena => &["lmsys-arena.csv"],
        Format::Splitwise => &["splitwise.csv"],
        Format::Requests => &["requests.csv"],
    }
}

#[test]
fn every_format_reads_its_samples_and_is_told_by_its_beginning() {
    for format in Format::ALL {
        assert_eq!(format.name().parse(), Ok(format));
        for name in samples(format) {
            assert_eq!(Format::detect(&sample(name)).map_err(|error| error.to_string()), Ok(format), "{name}");
            let trace = read(format, &[name]);
            assert!(trace.counts().iter().sum::<u64>() > 0, "{name}");
            assert!(trace.start <= trace.end, "{name}");
            match &trace.recorded {
                Recorded::Instants(instants) => {
                    assert!(instants.arrived.is_sorted(), "{name}");
                    assert!(instants.lengths.is_empty() || instants.lengths.len() == instants.arrived.len(), "{name}");
                    assert!(instants.function.iter().all(|&f| (f as usize) < trace.functions.len()), "{name}");
                }
                Recorded::PerMinute(functions) => {
                    assert_eq!(functions.len(), trace.functions.len(), "{name}");
                    for minutes in functions {
                        assert!(minutes.is_sorted_by(|a, b| a.minute < b.minute), "{name}");
                        assert!(minutes.iter().all(|minute| minute.count > 0), "{name}");
                        assert!(
                            minutes.iter().all(|minute| trace.start <= minute.start() && minute.start() < trace.end)
                        );
                    }
                }
                Recorded::Windows(clients) => {
                    assert_eq!(clients.len(), trace.functions.len(), "{name}");
                    for windows in clients {
                        assert!(windows.is_sorted_by_key(|window| window.start), "{name}");
                        assert!(windows.iter().all(|window| window.rate > 0.0 && window.cv >= 0.0), "{name}");
                    }
                }
            }
        }
    }
}

/// The first calls, one a line.
fn beginning(trace: &Trace) -> String {
    let name = |function: u32| trace.functions[function as usize].chars().take(12).collect::<String>();
    match &trace.recorded {
        Recorded::Instants(instants) => (0..3)
            .map(|at| {
                let lengths = instants.lengths.get(at).map_or(String::new(), |l| format!(" {}+{}", l.prompt, l.output));
                format!("{} {}{lengths}\n", instants.arrived[at].seconds(), name(instants.function[at]))
            })
            .collect(),
        Recorded::PerMinute(functions) => (0_u32..)
            .zip(functions)
            .take(3)
            .map(|(function, minutes)| {
                let shown: Vec<String> = minutes.iter().take(3).map(|m| format!("{}:{}", m.minute, m.count)).collect();
                format!("{} {}\n", name(function), shown.join(" "))
            })
            .collect(),
        Recorded::Windows(clients) => (0_u32..)
            .zip(clients)
            .take(2)
            .map(|(client, windows)| {
                let window = windows[0];
                format!("{} {} s {:.4}/s {:?}\n", name(client), window.start.seconds(), window.rate, window.gaps)
            })
            .collect(),
    }
}

#[test]
fn the_first_rows_stay_the_same() {
    let check = |format, name: &str, expected: &str| {
        assert_eq!(beginning(&read(format, &[name])), expected, "{name}");
    };
    check(
        Format::AzureFunctions2019,
        "azure-functions-2019-fullday.csv",
        "520dbd6bd906 3:1 8:1 13:1\n115ca7a2b5bc 3:1 8:1 13:1\n93e6c664773b 265:1 270:1 273:1\n",
    );
    check(
        Format::AzureFunctions2019,
        "azure-functions-2019-minutes.csv",
        "0951ccc96bb7 \na699dfe0abab 494:1\n1f7e09a21165 480:1\n",
    );
    check(Format::AzureFunctions2019, "azure-functions-2019-hour.csv", "0 0:1 5:1 10:1\n1 0:10\n2 0:2 1:2 2:2\n");
    check(
        Format::AzureFunctions2021,
        "azure-functions-2021.csv",
        "0.0014909 e3cdb48830f6\n0.003860041 337cd24a7d5f\n0.005477905 48cc770d590d\n",
    );
    check(
        Format::AzureLlm2023,
        "AzureLLMInferenceTrace_code.csv",
        "0 code 4808+10\n0.052 code 3180+8\n0.098189 code 110+27\n",
    );
    check(Format::Mooncake, "mooncake.jsonl", "0 mooncake 6758+500\n0 mooncake 7322+490\n0 mooncake 7236+794\n");
    check(
        Format::ServeGen,
        "servegen.csv",
        "0 2400 s 0.0850/s Gamma(0.02232167101916883)\n5 11400 s 0.1533/s Gamma(0.9183531486300126)\n",
    );
    check(Format::ServeGen, "chunk-0-trace.csv", "0 2400 s 0.0850/s Gamma(0.02232167101916883)\n");
    check(Format::BurstGpt, "burstgpt.csv", "5 ChatGPT 472+18\n45 ChatGPT 1087+230\n118 GPT-4 417+276\n");
    check(Format::AlibabaGenai, "alibaba-genai.csv", "0 M0000\n4704 M0001\n4756 M0001\n");
    check(Format::LmsysArena, "lmsys-arena.csv", "0 13 13+199\n0.207937542 2 36+137\n0.441893184 0 456+156\n");
    check(Format::Splitwise, "splitwise.csv", "0.1372 0 2011+18\n0.5519 0 374+44\n0.8103 1 1155+6\n");
    check(Format::Requests, "requests.csv", "0 bert-0 128+0\n0.151 bert-1 64+0\n0.151 bert-0 512+0\n");
}

#[test]
fn days_and_services_follow_each_other() {
    let two_days =
        read(Format::AzureFunctions2019, &["azure-functions-2019-fullday.csv", "azure-functions-2019-fullday.csv"]);
    let one_day = read(Format::AzureFunctions2019, &["azure-functions-2019-fullday.csv"]);
    assert_eq!(two_days.end.nanos(), 2 * one_day.end.nanos());
    assert_eq!(two_days.functions, one_day.functions);
    let doubled: Vec<u64> = one_day.counts().iter().map(|count| 2 * count).collect();
    assert_eq!(two_days.counts(), doubled);
    // Column 480 is the minute that begins at 7:59.
    let minutes = read(Format::AzureFunctions2019, &["azure-functions-2019-minutes.csv"]);
    assert_eq!(minutes.start.seconds(), 479.0 * 60.0);
    assert_eq!(minutes.end.seconds(), 539.0 * 60.0);
    let both = read(Format::AzureLlm2023, &["AzureLLMInferenceTrace_code.csv", "AzureLLMInferenceTrace_code.csv"]);
    assert_eq!(both.functions, ["code", "code"]);
    assert_eq!(both.counts(), [19, 19]);
}

#[test]
fn slices_keep_what_begins_inside() {
    let minutes = read(Format::AzureFunctions2019, &["azure-functions-2019-minutes.csv"]);
    let all: u64 = minutes.counts().iter().sum();
    let at = |minute: u64| Time::from_nanos(minute * 60_000_000_000);
    let parts: u64 = [(0, 500), (500, 501), (501, 2000)]
        .map(|(from, to)| minutes.clone().slice(at(from), at(to)).counts().iter().sum::<u64>())
        .iter()
        .sum();
    assert_eq!(parts, all);
    let arena = read(Format::LmsysArena, &["lmsys-arena.csv"]);
    let part = arena.slice(Time::from_seconds(0.3).expect("in range"), Time::from_seconds(2.0).expect("in range"));
    let Recorded::Instants(instants) = &part.recorded else { panic!("instants") };
    assert!(instants.arrived.iter().all(|at| at.seconds() < 1.7));
    assert_eq!(instants.arrived.len(), instants.lengths.len());
}
