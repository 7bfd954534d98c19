//! Files appear whole or not at all.

use super::error::FileError;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

/// A file under construction beside its final place; [`AtomicFile::commit`] moves it there.
///
/// Dropped without commit, it leaves nothing behind and whatever stood at the final place stays.
#[derive(Debug)]
pub struct AtomicFile {
    path: PathBuf,
    scratch: PathBuf,
    writer: Option<BufWriter<File>>,
}

impl AtomicFile {
    /// Begins a file that will stand at `path`.
    pub fn create(path: &Path) -> Result<Self, FileError> {
        let mut name = path.file_name().ok_or_else(|| FileError::whole(path, "is not a file name"))?.to_owned();
        name.push(format!(".{}.tmp", std::process::id()));
        let scratch = path.with_file_name(name);
        let file = File::create(&scratch).map_err(|cause| FileError::io(path, "cannot be written", cause))?;
        Ok(Self { path: path.to_owned(), scratch, writer: Some(BufWriter::with_capacity(1 << 18, file)) })
    }

    /// Puts the finished file in its place.
    pub fn commit(mut self) -> Result<(), FileError> {
        let mut writer = self.writer.take().expect("taken only here and on drop");
        let failed = |cause| FileError::io(&self.path, "cannot be written", cause);
        writer.flush().map_err(failed)?;
        drop(writer);
        std::fs::rename(&self.scratch, &self.path).map_err(failed)
    }
}

impl Write for AtomicFile {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.writer.as_mut().expect("taken only on commit and drop").write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.writer.as_mut().expect("taken only on commit and drop").flush()
    }
}

impl Drop for AtomicFile {
    fn drop(&mut self) {
        // After a commit the scratch file is gone already; there is nobody to tell of a failure here.
        let _ = std::fs::remove_file(&self.scratch);
    }
}

/// Writes `bytes` to `path`, whole or not at all.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let mut file = AtomicFile::create(path)?;
    file.write_all(bytes).map_err(|cause| FileError::io(path, "cannot be written", cause))?;
    file.commit()
}
