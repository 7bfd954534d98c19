//! The files that users and other programs build on, and the only file access of this crate.
//!
//! Each format has its own serde structs, which are turned into domain types once and are private or
//! plain data; the domain types are not serialisable. Every error says which file, where in it, what was
//! expected and, for a name nobody knows, the nearest one that exists.

mod cluster;
mod error;
mod instance_names;
mod passing;
mod place;
mod placement;
mod profile;
mod quantity;
mod results;
mod unique;
mod write;

pub use cluster::{ClusterTable, ModelTable, SloValue, instances};
pub use error::{FileError, by_nearness, nearest};
pub use passing::{PassingFile, abandon_files};
pub use placement::{PlacementFile, SchedulingEntry, placement_json};
pub use profile::{parse_profile, profile_json, read_profile};
pub use quantity::Quantity;
pub use results::{FloorResult, GroupResult, LatencyResult, ModelResult, ResultsFile, UnservedModel, WorstModel};
pub use write::{
    AtomicFile, check_folder, check_output, create_log, is_stdout, is_written_through, unwritten, write_atomically,
};

use serde::de::DeserializeOwned;
use std::path::Path;

/// What some editors put before a text, and no reader should trip over.
pub const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Reads a text file of ours whole, without a byte-order mark.
pub fn read_text(path: &Path) -> Result<String, FileError> {
    const LIMIT: u64 = 1 << 30;
    let size = std::fs::metadata(path).map_err(|cause| FileError::io(path, "cannot read", cause))?.len();
    if size > LIMIT {
        return Err(FileError::whole(path, format!("is {size} bytes long; files of this kind stay under 1 GiB")));
    }
    let mut bytes = std::fs::read(path).map_err(|cause| FileError::io(path, "cannot read", cause))?;
    if bytes.starts_with(BYTE_ORDER_MARK) {
        bytes.drain(..BYTE_ORDER_MARK.len());
    }
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err(FileError::whole(path, "is UTF-16 text").with_help("save it as UTF-8"));
    }
    String::from_utf8(bytes).map_err(|error| {
        let line = 1 + error.as_bytes()[..error.utf8_error().valid_up_to()].iter().filter(|&&b| b == b'\n').count();
        FileError::at_line(path, line, "is not UTF-8 text")
    })
}

/// Parses TOML; unknown keys name the line and the nearest known key.
pub fn parse_toml<T: DeserializeOwned>(path: &Path, text: &str) -> Result<T, FileError> {
    toml::from_str(text).map_err(|error| FileError::from_toml(path, text, &error))
}

/// Parses JSON; unknown keys name the line and the nearest known key.
pub fn parse_json<T: DeserializeOwned>(path: &Path, text: &str) -> Result<T, FileError> {
    serde_json::from_str(text).map_err(|error| FileError::from_json(path, &error))
}

/// The only file version there is so far.
pub const VERSION: u32 = 1;

/// Refuses files written for another version.
pub fn check_version(path: &Path, version: u32) -> Result<(), FileError> {
    if version == VERSION {
        return Ok(());
    }
    Err(FileError::at_field(path, "version", format!("is {version}, but this statmux reads version {VERSION}")))
}
