//! Opening files that may be compressed, and reading them within bounds.
//!
//! gzip and Zstandard are told by their first bytes, not by the file's name. A reader gives an allowance of bytes for
//! each record; a file whose record never ends (a decompression bomb, an unclosed quote) is refused instead of being
//! held in memory. A byte-order mark before the text is passed over.

use statmux_core::files::{BYTE_ORDER_MARK, FileError};
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
    /// The beginning, read ahead, and how much of it has been given out.
    head: Vec<u8>,
    given: usize,
    inner: Box<dyn Read>,
    left: Allowance,
}

/// How much of the beginning is read ahead: a header, most of the time.
const HEAD: u64 = 1 << 14;

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
        let mut inner: Box<dyn Read> = if magic.starts_with(&[0x1f, 0x8b]) {
            Box::new(flate2::bufread::MultiGzDecoder::new(file))
        } else if magic.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
            Box::new(zstd::stream::read::Decoder::with_buffer(file).map_err(cannot)?)
        } else {
            Box::new(file)
        };
        let mut head = Vec::new();
        inner.by_ref().take(HEAD).read_to_end(&mut head).map_err(|cause| read_error(path, cause))?;
        if head.starts_with(&[0xff, 0xfe]) || head.starts_with(&[0xfe, 0xff]) {
            return Err(FileError::whole(path, "is UTF-16 text").with_help("save it as UTF-8"));
        }
        let given = if head.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len() } else { 0 };
        Ok(Self { head, given, inner, left: Allowance(Rc::new(Cell::new(LONGEST_RECORD))) })
    }

    /// The file's beginning, without a byte-order mark: all of it, or its first 16 KiB.
    pub(crate) fn beginning(&self) -> &[u8] {
        let start = if self.head.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len() } else { 0 };
        &self.head[start..]
    }

    /// A handle by which whoever splits the input into records renews the allowance.
    pub(crate) fn allowance(&self) -> Allowance {
        self.left.clone()
    }
}

impl Read for Input {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut ahead = &self.head[self.given..];
        let count = if ahead.is_empty() { self.inner.read(buffer)? } else { ahead.read(buffer)? };
        self.given = (self.given + count).min(self.head.len());
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

/// A file's name without folder and endings: how a trace is called whose rows name nothing.
pub(crate) fn stem(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let end = [".gz", ".zst"].iter().fold(&*name, |name, ending| name.strip_suffix(ending).unwrap_or(name));
    let end = [".csv", ".jsonl", ".parquet"].iter().fold(end, |name, ending| name.strip_suffix(ending).unwrap_or(name));
    end.to_owned()
}
