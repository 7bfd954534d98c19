//! Files appear whole or not at all; what is no regular file (a device, a pipe, a FIFO) is written through.
//!
//! [`check_output`] and [`check_folder`] find out before any work whether a result can be written, [`AtomicFile`]
//! writes it. Symbolic links are followed: what they point to is replaced, the links stay.

use super::error::FileError;
use super::passing::PassingFile;
use super::place::{Old, Place, remedied};
use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// A file under construction beside its final place; [`AtomicFile::commit`] moves it there.
///
/// Dropped without commit, it leaves nothing behind and whatever stood at the final place stays. What is no regular
/// file gets everything as it comes; `-` is stdout. A reader that goes away early is no error.
#[derive(Debug)]
pub struct AtomicFile {
    path: PathBuf,
    writer: Option<BufWriter<Sink>>,
    replaces: Option<Replaces>,
}

/// What a finished file does on commit.
#[derive(Debug)]
struct Replaces {
    scratch: PassingFile,
    target: PathBuf,
    old: Option<Old>,
}

impl AtomicFile {
    /// Begins a file that will stand at `path`, of which [`check_output`] has found that it can.
    pub fn create(path: &Path) -> Result<Self, FileError> {
        Self::begin(path).map_err(FileError::while_writing)
    }

    fn begin(path: &Path) -> Result<Self, FileError> {
        let (file, replaces) = match Place::of(path)? {
            Place::File { target, old } => {
                let (scratch, file) = scratch_beside(&target).map_err(|cause| remedied(path, &target, cause))?;
                (file, Some(Replaces { scratch, target, old }))
            }
            through => (through.open().map_err(|cause| remedied(path, path, cause))?, None),
        };
        let sink = Sink { file, through: replaces.is_none() };
        Ok(Self { path: path.to_owned(), writer: Some(BufWriter::with_capacity(1 << 18, sink)), replaces })
    }

    /// Puts the finished file in its place, with the permissions of the one that stood there.
    pub fn commit(mut self) -> Result<(), FileError> {
        let mut writer = self.writer.take().expect("taken only here");
        let failed = |cause| unwritten(&self.path, cause);
        writer.flush().map_err(failed)?;
        drop(writer);
        let Some(Replaces { scratch, target, old }) = &self.replaces else { return Ok(()) };
        if let Some(old) = old {
            old.hand_on(scratch.path()).map_err(failed)?;
        }
        match std::fs::rename(scratch.path(), target) {
            // A file that is mounted by itself, as containers do, cannot be replaced, only filled.
            Err(cause) if matches!(cause.kind(), io::ErrorKind::ResourceBusy | io::ErrorKind::CrossesDevices) => {
                std::fs::copy(scratch.path(), target).map(drop).map_err(failed)
            }
            renamed => renamed.map_err(failed),
        }
    }
}

impl Write for AtomicFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writer.as_mut().expect("taken only on commit").write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.as_mut().expect("taken only on commit").flush()
    }
}

/// Where bytes go.
#[derive(Debug)]
struct Sink {
    file: File,
    through: bool,
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.file.write(bytes) {
            Err(error) if self.through && error.kind() == io::ErrorKind::BrokenPipe => Ok(bytes.len()),
            written => written,
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// A new file beside `target`, which passes unless it gets its name.
fn scratch_beside(target: &Path) -> io::Result<(PassingFile, File)> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    loop {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let scratch = target.with_file_name(format!(".statmux-{}-{number}.tmp", std::process::id()));
        match PassingFile::make(scratch, |path| OpenOptions::new().write(true).create_new(true).open(path)) {
            // Another machine's process of the same number may write to the same folder.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => return made,
        }
    }
}

/// Writes `bytes` to `path`, whole or not at all; through, where there is no regular file.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let mut file = AtomicFile::create(path)?;
    file.write_all(bytes).map_err(|cause| unwritten(path, cause))?;
    file.commit()
}

/// Why a file that was found to be writable could not be written in the end.
pub fn unwritten(path: &Path, cause: io::Error) -> FileError {
    remedied(path, path, cause).while_writing()
}

/// Opens a file that grows line by line, such as a log: emptied first, where it is a regular file.
pub fn create_log(path: &Path) -> Result<File, FileError> {
    let opened = match Place::of(path)? {
        Place::File { target, .. } => File::create(target),
        through => through.open(),
    };
    opened.map_err(|cause| remedied(path, path, cause))
}

/// How much a check writes to see whether there is room.
static PROBE: [u8; 1 << 16] = [0; 1 << 16];

/// Finds out whether a file can be written to `path`, and leaves everything as it was. Called before the work.
pub fn check_output(path: &Path) -> Result<(), FileError> {
    match Place::of(path)? {
        Place::File { target, old } => {
            if let Some(old) = old {
                old.check(path, &target)?;
            }
            probe(path, &target)
        }
        // Nobody may read from it yet, and who does would take its closing for the end.
        Place::Fifo(_) => Ok(()),
        // Writing nothing does nothing, but for what cannot take anything.
        device => {
            let mut file = device.open().map_err(|cause| remedied(path, path, cause))?;
            file.write(&[]).map(drop).map_err(|cause| remedied(path, path, cause))
        }
    }
}

/// Creates `folder` and those above it if need be, and finds out whether files can be written there.
pub fn check_folder(folder: &Path) -> Result<(), FileError> {
    if folder.exists() && !folder.is_dir() {
        return Err(FileError::whole(folder, "is no folder").with_help("name a folder, or remove the file"));
    }
    std::fs::create_dir_all(folder).map_err(|cause| remedied(folder, folder, cause))?;
    probe(folder, &folder.join("file"))
}

fn probe(path: &Path, target: &Path) -> Result<(), FileError> {
    let failed = |cause| remedied(path, target, cause);
    let (_scratch, mut file) = scratch_beside(target).map_err(failed)?;
    file.write_all(&PROBE).map_err(failed)
}

/// Whether what is written to `path` goes to stdout, by whatever name: nothing else should be printed there.
pub fn is_stdout(path: &Path) -> bool {
    matches!(Place::of(path), Ok(Place::Descriptor(1)))
}

/// Whether `path` is no regular file, so that its name says nothing of what should be written.
pub fn is_written_through(path: &Path) -> bool {
    !matches!(Place::of(path), Ok(Place::File { .. }) | Err(_))
}
