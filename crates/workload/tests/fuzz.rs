//! No reader panics, whatever it is given.

use proptest::prelude::*;
use statmux_core::{Span, Time};
use statmux_workload::Format;
use statmux_workload::inspect::inspect;
use statmux_workload::table::cut;
use std::path::{Path, PathBuf};

fn samples() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("samples");
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(folder).expect("samples are shipped").map(|entry| entry.expect("readable").path()).collect();
    paths.sort();
    paths.iter().map(|path| std::fs::read(path).expect("readable")).collect()
}

fn read_by_all(bytes: &[u8]) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("chunk-0-trace.csv");
    std::fs::write(&path, bytes).expect("writable");
    let _ = Format::detect(&path);
    for format in Format::ALL {
        if let Ok(trace) = format.read(std::slice::from_ref(&path), Time::NEVER) {
            let (trace, span) = cut(trace, None, None);
            let _ = inspect(&trace, span.max(Span::from_nanos(1)), 10);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        read_by_all(&bytes);
    }

    #[test]
    fn damaged_samples_never_panic(
        which in any::<prop::sample::Index>(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), "[0-9,.\n\"e-]{0,12}"), 1..8),
    ) {
        let all = samples();
        let mut bytes = all[which.index(all.len())].clone();
        bytes.truncate(4000);
        for (at, text) in edits {
            let at = at.index(bytes.len().max(1)).min(bytes.len());
            let end = bytes.len().min(at + text.len());
            bytes.splice(at..end, text.into_bytes());
        }
        read_by_all(&bytes);
    }
}
