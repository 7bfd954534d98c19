//! Files that are gone when the program ends, however it ends.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// A file that is removed when this is dropped, or when the program abandons its files ([`abandon_files`]).
///
/// If its name is another file's by then, that file stays.
#[derive(Debug)]
pub struct PassingFile(PathBuf);

/// The files that there are, so that a program that ends at once can remove them.
static ALL: Mutex<BTreeMap<PathBuf, Identity>> = Mutex::new(BTreeMap::new());

/// What tells a file from another one of the same name.
#[cfg(unix)]
type Identity = (u64, u64);
#[cfg(not(unix))]
type Identity = ();

impl PassingFile {
    /// Makes the file `path` with `make`, and gives back what that gave.
    ///
    /// # Errors
    /// If `make` fails.
    pub fn make<T>(path: PathBuf, make: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<(Self, T)> {
        let mut all = ALL.lock().expect("nobody panics while holding it");
        let made = make(&path)?;
        all.insert(path.clone(), identity(&path)?);
        Ok((Self(path), made))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for PassingFile {
    fn drop(&mut self) {
        let mut all = ALL.lock().expect("nobody panics while holding it");
        if let Some(made) = all.remove(&self.0) {
            remove(&self.0, made);
        }
    }
}

/// Removes all passing files, those under construction among them, and lets none be begun any more: for a program that
/// is about to end at once.
pub fn abandon_files() {
    let all = ALL.lock().expect("nobody panics while holding it");
    for (path, &made) in all.iter() {
        remove(path, made);
    }
    std::mem::forget(all);
}

/// Removes what was made, if it still has its name; there is nobody to tell of a failure here.
fn remove(path: &Path, made: Identity) {
    if identity(path).is_ok_and(|found| found == made) {
        let _ = std::fs::remove_file(path);
    }
}

#[cfg(unix)]
fn identity(path: &Path) -> io::Result<Identity> {
    use std::os::unix::fs::MetadataExt;
    let found = std::fs::symlink_metadata(path)?;
    Ok((found.dev(), found.ino()))
}

#[cfg(not(unix))]
fn identity(path: &Path) -> io::Result<Identity> {
    std::fs::symlink_metadata(path).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_file_goes_with_its_owner_unless_another_has_its_name() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("f");
        let make = |path: &Path| fs::write(path, "ours");
        let (file, ()) = PassingFile::make(path.clone(), make).expect("the folder is ours");
        drop(file);
        assert!(!path.exists());
        let (file, ()) = PassingFile::make(path.clone(), make).expect("the folder is ours");
        let other = folder.path().join("g");
        fs::write(&other, "theirs").expect("the folder is ours");
        fs::rename(&other, &path).expect("the folder is ours");
        drop(file);
        assert_eq!(cfg!(unix), path.exists());
        assert!(PassingFile::make(folder.path().join("no/f"), make).is_err());
    }
}
