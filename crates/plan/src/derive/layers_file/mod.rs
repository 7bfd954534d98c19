//! Tables of layers as files (`docs/formats.md`, section 11): one row per layer or operator, degree and batch size.

mod gather;
mod row;
mod write;

pub use write::layers_csv;

use super::{LayerCosts, MOST_LAYERS};
use gather::Gathered;
use row::Columns;
use statmux_core::files::{FileError, read_text};
use std::path::Path;

/// What a file tells of the layers of models.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LayersTable {
    /// The models, in order of their first rows.
    pub models: Vec<ModelLayers>,
}

/// The layers of one model.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ModelLayers {
    /// Its name in profiles.
    pub name: String,
    /// Its layers, first to last.
    pub layers: Vec<LayerCosts>,
    /// How long the texts were that were measured, in tokens.
    pub tokens: Option<u32>,
}

/// The most rows of a file.
const MOST_ROWS: usize = 1 << 20;

/// Reads a table of layers.
pub fn read_layers(path: &Path) -> Result<LayersTable, FileError> {
    parse_layers(path, &read_text(path)?)
}

/// Parses the text of a table of layers. `path` is named in errors, and its stem is the name of a model without one.
pub fn parse_layers(path: &Path, text: &str) -> Result<LayersTable, FileError> {
    let separator = separator(text);
    let mut reader = csv::ReaderBuilder::new().delimiter(separator).trim(csv::Trim::All).from_reader(text.as_bytes());
    let header: Vec<String> = match reader.headers() {
        Ok(header) => header.iter().map(str::to_owned).collect(),
        Err(error) => return Err(unreadable(path, &error)),
    };
    if header.iter().all(String::is_empty) {
        let error = FileError::whole(path, "is empty; a header was expected in its first line");
        return Err(error.with_help("begin with `layer,batch,time_ms,weight_bytes,activation_bytes`"));
    }
    let columns = Columns::of(path, &header)?;
    let stem = path.file_stem().map_or_else(|| "model".to_owned(), |stem| stem.to_string_lossy().into_owned());
    let mut gathered = Gathered::new(path, stem);
    for (index, record) in reader.records().enumerate() {
        let record = record.map_err(|error| unreadable(path, &error))?;
        if index >= MOST_ROWS {
            return Err(FileError::whole(path, format!("has more than {MOST_ROWS} rows; split it")));
        }
        gathered.add(columns.read(path, &record)?)?;
    }
    gathered.finish()
}

/// What stands between fields: the most frequent of `,`, `;`, tab and `|` in the first line.
fn separator(text: &str) -> u8 {
    let first = text.lines().next().unwrap_or_default();
    let count = |separator: u8| first.bytes().filter(|&byte| byte == separator).count();
    // Among equals, the comma comes first.
    [b'|', b'\t', b';', b','].into_iter().max_by_key(|&separator| count(separator)).expect("four to choose from")
}

fn unreadable(path: &Path, error: &csv::Error) -> FileError {
    let line = error.position().map_or(1, |position| usize::try_from(position.line()).unwrap_or(usize::MAX));
    match error.kind() {
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
            let what = format!("has {len} fields where the header has {expected_len}");
            FileError::at_line(path, line, what).with_help("leave a field empty where there is nothing to say")
        }
        kind => FileError::at_line(path, line, format!("cannot be read: {kind:?}")),
    }
}

#[cfg(test)]
mod tests;
