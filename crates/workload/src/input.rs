//! Opening files that may be compressed, and reading them within bounds.
//!
//! gzip and Zstandard are told by their first bytes, not by the file's name. A reader gives an allowance of bytes for
//! each record; a file whose record never ends (a decompression bomb, an unclosed quote) is refused instead of being
//! held in memory.

use statmux_core::files::FileError;
use std::cell::Cell;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::rc::Rc;

/// The most bytes one record may take, decompressed; a full day of Azure Functions takes some 10 KB.
const LONGEST_RECORD: u64 = 8 << 20;

/// The most requests that may be held in memory: 3 GiB of columns.
pub(crate) const MOST_REQUESTS: u64 = 1 << 28;

/// What a reader may still read before it must renew its allowance.
#[derive(Clone, Debug)]
pub(crate) struct Allowance(Rc<Cell<u64>>);

impl Allowance {
    /// To be called at each record.
    pub(crate) fn renew(&self) {
        self.0.set(LONGEST_RECORD);
    }
}

/// A decompressed file that stops with an error when its allowance is used up.
pub(crate) struct Input {
    inner: Box<dyn Read>,
    left: Allowance,
}

impl Input {
    /// Opens `path`, decompressing it if its first bytes say that it is compressed.
    pub(crate) fn open(path: &Path) -> Result<Self, FileError> {
        let cannot = |cause| FileError::io(path, "cannot read", cause);
        let file = File::open(path).map_err(cannot)?;
        if file.metadata().map_err(cannot)?.is_dir() {
            return Err(FileError::whole(path, "is a folder; a file was expected"));
        }
        let mut file = BufReader::with_capacity(1 << 17, file);
        let magic = file.fill_buf().map_err(cannot)?;
        let inner: Box<dyn Read> = if magic.starts_with(&[0x1f, 0x8b]) {
            Box::new(flate2::bufread::MultiGzDecoder::new(file))
        } else if magic.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
            Box::new(zstd::stream::read::Decoder::with_buffer(file).map_err(cannot)?)
        } else {
            Box::new(file)
        };
        Ok(Self { inner, left: Allowance(Rc::new(Cell::new(LONGEST_RECORD))) })
    }

    /// A handle by which whoever splits the input into records renews the allowance.
    pub(crate) fn allowance(&self) -> Allowance {
        self.left.clone()
    }
}

impl Read for Input {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        let left = self.left.0.get().checked_sub(count as u64).ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::FileTooLarge,
                format!("a single record is longer than {LONGEST_RECORD} bytes"),
            )
        })?;
        self.left.0.set(left);
        Ok(count)
    }
}

/// Says what a failed read means for the user.
pub(crate) fn read_error(path: &Path, cause: io::Error) -> FileError {
    match cause.kind() {
        io::ErrorKind::UnexpectedEof => FileError::whole(path, "is cut off: its compressed data ends too early")
            .with_help("fetch or copy the file again"),
        io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => {
            FileError::whole(path, format!("is damaged: {cause}")).with_help("fetch or copy the file again")
        }
        io::ErrorKind::FileTooLarge => FileError::whole(path, format!("is refused: {cause}")),
        // The Zstandard decoder reports a cut or damaged stream as "other".
        io::ErrorKind::Other => FileError::whole(path, format!("is cut off or damaged: {cause}")),
        _ => FileError::io(path, "cannot read", cause),
    }
}

/// Lines of a text file, without their ends; blank lines are skipped.
pub(crate) struct Lines<'a> {
    path: &'a Path,
    reader: BufReader<Input>,
    allowance: Allowance,
    line: Vec<u8>,
    number: usize,
}

impl<'a> Lines<'a> {
    pub(crate) fn open(path: &'a Path) -> Result<Self, FileError> {
        let input = Input::open(path)?;
        let allowance = input.allowance();
        Ok(Self { path, reader: BufReader::with_capacity(1 << 16, input), allowance, line: Vec::new(), number: 0 })
    }

    /// The next line and its number from 1.
    pub(crate) fn next(&mut self) -> Result<Option<(usize, &[u8])>, FileError> {
        loop {
            self.line.clear();
            self.allowance.renew();
            let count = self.reader.read_until(b'\n', &mut self.line).map_err(|cause| read_error(self.path, cause))?;
            if count == 0 {
                return Ok(None);
            }
            self.number += 1;
            if !self.line.trim_ascii().is_empty() {
                return Ok(Some((self.number, self.line.trim_ascii())));
            }
        }
    }
}
