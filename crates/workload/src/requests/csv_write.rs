//! Requests and results to CSV, plain or compressed.

use super::Kind;
use super::decimal::{push_integer, push_seconds};
use flate2::Compression;
use flate2::write::GzEncoder;
use statmux_core::files::{AtomicFile, FileError, unwritten};
use statmux_core::{Outcome, Span, Workload};
use std::io::{self, Write};
use std::path::Path;

/// How many bytes are formatted before they are written.
const CHUNK: usize = 1 << 18;

pub(super) fn requests(path: &Path, kind: Kind, workload: &Workload, names: &[&str]) -> Result<(), FileError> {
    let names = quoted(names);
    write(path, kind, |out| {
        let mut line = Vec::with_capacity(2 * CHUNK);
        line.extend_from_slice(b"arrival_s,model");
        if !workload.slo.is_empty() {
            line.extend_from_slice(b",slo_s");
        }
        if !workload.lengths.is_empty() {
            line.extend_from_slice(b",prompt_tokens,output_tokens");
        }
        line.push(b'\n');
        for row in 0..workload.len() {
            push_seconds(&mut line, workload.arrived[row].nanos());
            line.push(b',');
            line.extend_from_slice(&names[workload.model[row].index()]);
            match workload.slo.get(row) {
                None => {}
                Some(&Span::MAX) => line.extend_from_slice(b",inf"),
                Some(slo) => {
                    line.push(b',');
                    push_seconds(&mut line, slo.nanos());
                }
            }
            if let Some(lengths) = workload.lengths.get(row) {
                line.push(b',');
                push_integer(&mut line, lengths.prompt.into());
                line.push(b',');
                push_integer(&mut line, lengths.output.into());
            }
            line.push(b'\n');
            drain(out, &mut line, CHUNK)?;
        }
        drain(out, &mut line, 0)
    })
}

pub(super) fn results(
    path: &Path,
    kind: Kind,
    workload: &Workload,
    names: &[&str],
    outcomes: &[Outcome],
    offset: Span,
) -> Result<(), FileError> {
    let names = quoted(names);
    write(path, kind, |out| {
        let mut line = Vec::with_capacity(2 * CHUNK);
        line.extend_from_slice(b"request,model,arrival_s,group,start_s,finish_s,outcome\n");
        for (row, outcome) in outcomes.iter().enumerate() {
            push_integer(&mut line, row as u64);
            line.push(b',');
            line.extend_from_slice(&names[workload.model[row].index()]);
            line.push(b',');
            push_seconds(&mut line, (workload.arrived[row] + offset).nanos());
            line.push(b',');
            match outcome {
                Outcome::Served(served) => {
                    push_integer(&mut line, served.group.0.into());
                    line.push(b',');
                    push_seconds(&mut line, (served.started + offset).nanos());
                    line.push(b',');
                    push_seconds(&mut line, (served.finished + offset).nanos());
                    line.push(b',');
                }
                _ => line.extend_from_slice(b",,,"),
            }
            line.extend_from_slice(outcome.name().as_bytes());
            line.push(b'\n');
            drain(out, &mut line, CHUNK)?;
        }
        drain(out, &mut line, 0)
    })
}

/// Writes what has been formatted once it is more than `limit` bytes.
fn drain(out: &mut dyn Write, line: &mut Vec<u8>, limit: usize) -> io::Result<()> {
    if line.len() > limit {
        out.write_all(line)?;
        line.clear();
    }
    Ok(())
}

fn write(path: &Path, kind: Kind, fill: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), FileError> {
    let failed = |cause| unwritten(path, cause);
    let mut file = AtomicFile::create(path)?;
    match kind {
        Kind::CsvGz => {
            let mut encoder = GzEncoder::new(file, Compression::fast());
            fill(&mut encoder).map_err(failed)?;
            file = encoder.finish().map_err(failed)?;
        }
        Kind::CsvZst => {
            let mut encoder = zstd::Encoder::new(file, zstd::DEFAULT_COMPRESSION_LEVEL).map_err(failed)?;
            fill(&mut encoder).map_err(failed)?;
            file = encoder.finish().map_err(failed)?;
        }
        Kind::Csv | Kind::Parquet => fill(&mut file).map_err(failed)?,
    }
    file.commit()
}

/// Names as CSV fields.
fn quoted(names: &[&str]) -> Vec<Vec<u8>> {
    names
        .iter()
        .map(|name| {
            let plain = !name.is_empty() && name.trim() == *name && !name.contains([',', '"', '\n', '\r']);
            if plain { name.as_bytes().to_vec() } else { format!("\"{}\"", name.replace('"', "\"\"")).into_bytes() }
        })
        .collect()
}
