//! Safetensors files, one or many, read piece by piece.
//!
//! The format: eight bytes with the length of a JSON header, the header (type, shape and place of each tensor),
//! then the values.

use super::{Source, WeightsError, runs};
use half::{bf16, f16};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};

/// The weights in a model's directory.
pub(crate) struct Files {
    directory: PathBuf,
    files: Vec<(PathBuf, File)>,
    tensors: BTreeMap<String, Entry>,
}

/// Where a tensor lies.
struct Entry {
    file: usize,
    kind: String,
    shape: Vec<usize>,
    /// Of its first byte, from the beginning of the file.
    start: u64,
}

#[derive(Deserialize)]
struct HeaderEntry {
    dtype: String,
    shape: Vec<usize>,
    data_offsets: [u64; 2],
}

#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

/// No header of a real model comes near; a larger one is garbage.
const LONGEST_HEADER: u64 = 100 << 20;

impl Files {
    /// Reads the headers of `model.safetensors`, or of all files that `model.safetensors.index.json` names.
    pub(crate) fn open(directory: &Path) -> Result<Self, WeightsError> {
        let mut files = Self { directory: directory.to_owned(), files: Vec::new(), tensors: BTreeMap::new() };
        let single = directory.join("model.safetensors");
        let index = directory.join("model.safetensors.index.json");
        if single.is_file() {
            files.add(single)?;
        } else if index.is_file() {
            let text = std::fs::read(&index).map_err(|cause| WeightsError::Io { path: index.clone(), cause })?;
            let parsed: Index = serde_json::from_slice(&text)
                .map_err(|error| WeightsError::NotSafetensors { path: index, reason: error.to_string() })?;
            let mut names: Vec<_> = parsed.weight_map.into_values().collect();
            names.sort();
            names.dedup();
            for name in names {
                files.add(directory.join(name))?;
            }
        } else {
            return Err(WeightsError::NoWeights { path: directory.to_owned() });
        }
        Ok(files)
    }

    fn add(&mut self, path: PathBuf) -> Result<(), WeightsError> {
        let io = |cause| WeightsError::Io { path: path.clone(), cause };
        let garbage = |reason: String| WeightsError::NotSafetensors { path: path.clone(), reason };
        let mut file = File::open(&path).map_err(io)?;
        let found = file.metadata().map_err(io)?.len();
        let mut length = [0; 8];
        if found < 8 {
            return Err(WeightsError::Truncated { path, promised: 8, found });
        }
        file.read_exact(&mut length).map_err(io)?;
        let length = u64::from_le_bytes(length);
        if length > LONGEST_HEADER {
            return Err(garbage(format!("its header would be {length} bytes long")));
        }
        let data = 8 + length;
        if data > found {
            return Err(WeightsError::Truncated { path, promised: data, found });
        }
        let mut header = vec![0; length as usize];
        file.read_exact(&mut header).map_err(io)?;
        let entries: BTreeMap<String, serde_json::Value> =
            serde_json::from_slice(&header).map_err(|error| garbage(error.to_string()))?;
        for (name, entry) in entries {
            if name == "__metadata__" {
                continue;
            }
            let entry: HeaderEntry =
                serde_json::from_value(entry).map_err(|error| garbage(format!("tensor {name}: {error}")))?;
            let [from, to] = entry.data_offsets;
            let count = entry.shape.iter().try_fold(1u64, |count, &size| count.checked_mul(size as u64));
            let promised = count.and_then(|count| count.checked_mul(width(&entry.dtype).unwrap_or(0)));
            if to < from || (width(&entry.dtype).is_some() && promised != Some(to - from)) {
                return Err(garbage(format!(
                    "tensor {name} of shape {:?} and type {} cannot take bytes {from} to {to}",
                    entry.shape, entry.dtype
                )));
            }
            let end = data.checked_add(to).ok_or_else(|| garbage(format!("tensor {name} ends at byte {to}")))?;
            if end > found {
                return Err(WeightsError::Truncated { path, promised: end, found });
            }
            let place = Entry { file: self.files.len(), kind: entry.dtype, shape: entry.shape, start: data + from };
            self.tensors.insert(name, place);
        }
        self.files.push((path, file));
        Ok(())
    }
}

impl Source for Files {
    fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    fn read(
        &self,
        name: &str,
        shape: &[usize],
        rows: Range<usize>,
        sink: &mut dyn FnMut(usize, &[f32]),
    ) -> Result<(), WeightsError> {
        let missing = || WeightsError::Missing { path: self.directory.clone(), name: name.to_owned() };
        let entry = self.tensors.get(name).ok_or_else(missing)?;
        let (path, file) = &self.files[entry.file];
        if entry.shape != shape {
            let (name, expected, found) = (name.to_owned(), shape.to_vec(), entry.shape.clone());
            return Err(WeightsError::WrongShape { path: path.clone(), name, expected, found });
        }
        let width = width(&entry.kind).ok_or_else(|| WeightsError::WrongType {
            path: path.clone(),
            name: name.to_owned(),
            found: entry.kind.clone(),
        })?;
        let row_bytes = shape[1..].iter().product::<usize>() * width as usize;
        let mut bytes = Vec::new();
        let mut values = Vec::new();
        for run in runs(rows) {
            bytes.resize(run.len() * row_bytes, 0);
            let start = entry.start + (run.start * row_bytes) as u64;
            read_at(file, &mut bytes, start).map_err(|cause| WeightsError::Io { path: path.clone(), cause })?;
            values.clear();
            decode(&entry.kind, &bytes, &mut values);
            sink(run.start, &values);
        }
        Ok(())
    }
}

/// Bytes per value of a type that can be read.
fn width(kind: &str) -> Option<u64> {
    match kind {
        "F32" => Some(4),
        "F16" | "BF16" => Some(2),
        _ => None,
    }
}

fn decode(kind: &str, bytes: &[u8], values: &mut Vec<f32>) {
    let pair = |pair: &[u8]| [pair[0], pair[1]];
    match kind {
        "F16" => values.extend(bytes.chunks_exact(2).map(|two| f16::from_le_bytes(pair(two)).to_f32())),
        "BF16" => values.extend(bytes.chunks_exact(2).map(|two| bf16::from_le_bytes(pair(two)).to_f32())),
        _ => values.extend(bytes.chunks_exact(4).map(|four| f32::from_le_bytes([four[0], four[1], four[2], four[3]]))),
    }
}

#[cfg(unix)]
fn read_at(file: &File, bytes: &mut [u8], start: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, bytes, start)
}

#[cfg(windows)]
fn read_at(file: &File, mut bytes: &mut [u8], mut start: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        let read = std::os::windows::fs::FileExt::seek_read(file, bytes, start)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        bytes = &mut bytes[read..];
        start += read as u64;
    }
    Ok(())
}
