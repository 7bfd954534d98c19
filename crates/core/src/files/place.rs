//! What stands where a file is to be written, and what to do if nothing can be written there.

use super::error::FileError;
use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

/// What a path means to somebody who wants to write.
#[derive(Debug)]
pub(super) enum Place {
    /// A regular file, there or not, behind all symbolic links.
    File { target: PathBuf, old: Option<Old> },
    /// A pipe with a name.
    Fifo(PathBuf),
    /// Another thing that takes bytes, such as a device or a socket.
    Device(PathBuf),
    /// A file that this process has open already, by its number.
    Descriptor(u32),
}

/// The regular file that will be replaced.
#[derive(Debug)]
pub(super) struct Old(Metadata);

/// Links that are followed before they count as a circle.
const MOST_LINKS: usize = 40;

impl Place {
    pub(super) fn of(path: &Path) -> Result<Self, FileError> {
        if path == Path::new("-") {
            return Ok(Self::Descriptor(1));
        }
        if path.as_os_str().is_empty() {
            return Err(FileError::whole(path, "an empty name is no file").with_help("name a file"));
        }
        let mut at = path.to_owned();
        for _ in 0..MOST_LINKS {
            if let Some(number) = descriptor(&at) {
                return Ok(Self::Descriptor(number));
            }
            match std::fs::symlink_metadata(&at) {
                Ok(found) if found.is_symlink() => {
                    let to = std::fs::read_link(&at).map_err(|cause| remedied(path, &at, cause))?;
                    at = at.parent().map_or_else(|| to.clone(), |folder| folder.join(&to));
                }
                Ok(found) if found.is_dir() => return Err(is_folder(path)),
                Ok(found) if found.is_file() => return Ok(Self::File { target: at, old: Some(Old(found)) }),
                Ok(found) if is_fifo(&found) => return Ok(Self::Fifo(at)),
                Ok(_) => return Ok(Self::Device(at)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    if at.as_os_str().as_encoded_bytes().ends_with(b"/") || at.file_name().is_none() {
                        return Err(is_folder(path));
                    }
                    return Ok(Self::File { target: at, old: None });
                }
                Err(cause) => return Err(remedied(path, &at, cause)),
            }
        }
        Err(FileError::whole(path, "is a symbolic link that leads in a circle").with_help("name another path"))
    }

    /// Opens what is no regular file.
    pub(super) fn open(self) -> io::Result<File> {
        match self {
            Self::File { target, .. } => File::create(target),
            Self::Fifo(path) | Self::Device(path) => OpenOptions::new().write(true).open(path),
            #[cfg(unix)]
            Self::Descriptor(1) => own(&io::stdout()),
            #[cfg(unix)]
            Self::Descriptor(2) => own(&io::stderr()),
            // To append is right for a file that the shell has just emptied as well, and all the same to a pipe.
            Self::Descriptor(number) => OpenOptions::new().append(true).open(format!("/dev/fd/{number}")),
        }
    }
}

/// The same open file, position included, so that nothing written there before is written over.
#[cfg(unix)]
fn own(open: &impl std::os::fd::AsFd) -> io::Result<File> {
    open.as_fd().try_clone_to_owned().map(File::from)
}

/// The number of the open file that `path` names, as `/dev/fd/63` and `/proc/self/fd/1` do.
fn descriptor(path: &Path) -> Option<u32> {
    let number = path.file_name()?.to_str()?.parse().ok()?;
    let folder = std::fs::canonicalize(folder_of(path)).ok()?;
    (folder == Path::new(&format!("/proc/{}/fd", std::process::id()))).then_some(number)
}

/// The folder that `path` lies in.
fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

fn is_folder(path: &Path) -> FileError {
    FileError::whole(path, "is a folder, not a file").with_help("name a file in it")
}

#[cfg(unix)]
fn is_fifo(found: &Metadata) -> bool {
    use std::os::unix::fs::FileTypeExt;
    found.file_type().is_fifo()
}

#[cfg(not(unix))]
fn is_fifo(_: &Metadata) -> bool {
    false
}

impl Old {
    /// Refuses to replace a file that nobody may write to.
    pub(super) fn check(&self, path: &Path, target: &Path) -> Result<(), FileError> {
        if self.0.permissions().readonly() {
            let help = format!("allow it with `chmod u+w {}`, or name another path", target.display());
            return Err(FileError::whole(path, "cannot be written: the file is read-only").with_help(help));
        }
        OpenOptions::new().write(true).open(target).map(drop).map_err(|cause| remedied(path, target, cause))
    }

    /// Gives its permissions, and its owner where that is allowed, to the file that takes its place.
    pub(super) fn hand_on(&self, to: &Path) -> io::Result<()> {
        #[cfg(unix)]
        {
            use std::os::unix::fs::{MetadataExt, chown};
            // Only root may give files away, and to be unable to is no reason to keep a result.
            let _ = chown(to, Some(self.0.uid()), Some(self.0.gid()));
        }
        std::fs::set_permissions(to, self.0.permissions())
    }
}

/// Why `path`, which stands for `target`, cannot be written, and what to do about it.
pub(super) fn remedied(path: &Path, target: &Path, cause: io::Error) -> FileError {
    use io::ErrorKind::{
        InvalidFilename, NotADirectory, NotFound, PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull,
    };
    let folder = folder_of(target);
    let shown = folder.display();
    let (what, help) = match cause.kind() {
        NotFound if !folder.exists() => (
            format!("the folder {shown} does not exist"),
            format!("make it with `mkdir -p {shown}`, or name another path"),
        ),
        NotADirectory => (format!("{shown} is no folder"), "name another path".to_owned()),
        PermissionDenied => {
            ("permission denied".to_owned(), format!("allow yourself to write to {shown}, or name another path"))
        }
        ReadOnlyFilesystem => ("it lies on a read-only file system".to_owned(), "name another path".to_owned()),
        StorageFull | QuotaExceeded => {
            ("no space is left there".to_owned(), "free some, or name a path on another disk".to_owned())
        }
        InvalidFilename => ("the name is too long or not allowed".to_owned(), "name another path".to_owned()),
        _ => return FileError::io(path, "cannot be written", cause),
    };
    FileError::whole(path, format!("cannot be written: {what}")).with_help(help)
}
