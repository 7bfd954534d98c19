//! Where files go: links are followed, what is no file is written through, everything else is whole or not there.
#![cfg(unix)]

use statmux_core::files::{
    AtomicFile, check_folder, check_output, is_stdout, is_written_through, unwritten, write_atomically,
};
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("the folder is ours");
    let mut names: Vec<String> =
        entries.map(|entry| entry.expect("readable").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn links_stay_and_what_they_lead_to_is_replaced() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let at = |name: &str| folder.path().join(name);
    fs::create_dir(at("deep")).expect("ours");
    fs::write(at("deep/file"), "old").expect("ours");
    fs::set_permissions(at("deep/file"), fs::Permissions::from_mode(0o640)).expect("ours");
    symlink("deep/file", at("one")).expect("ours");
    symlink("one", at("two")).expect("ours");
    symlink("deep/new", at("dangling")).expect("ours");
    for link in ["two", "dangling"] {
        check_output(&at(link)).expect("it can be written");
        write_atomically(&at(link), b"new").expect("it can be written");
        assert!(fs::symlink_metadata(at(link)).expect("there").is_symlink());
    }
    assert_eq!(fs::read_to_string(at("deep/file")).expect("there"), "new");
    assert_eq!(fs::read_to_string(at("deep/new")).expect("there"), "new");
    assert_eq!(fs::metadata(at("deep/file")).expect("there").permissions().mode() & 0o777, 0o640);
    assert_eq!(names(folder.path()), ["dangling", "deep", "one", "two"]);
    assert_eq!(names(&at("deep")), ["file", "new"]);
}

#[test]
fn what_cannot_be_written_is_found_before_and_changes_nothing() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let at = |name: &str| folder.path().join(name);
    fs::create_dir(at("folder")).expect("ours");
    fs::write(at("file"), "old").expect("ours");
    fs::write(at("read-only"), "old").expect("ours");
    fs::set_permissions(at("read-only"), fs::Permissions::from_mode(0o444)).expect("ours");
    symlink("round", at("round")).expect("ours");
    symlink("missing/file", at("to-nowhere")).expect("ours");
    symlink("folder", at("to-folder")).expect("ours");
    let before = names(folder.path());
    let cases = [
        (at("folder"), "is a folder"),
        (at("to-folder"), "is a folder"),
        (at("new/"), "is a folder"),
        (at("missing/file"), "missing does not exist"),
        (at("to-nowhere"), "missing does not exist"),
        (at("file/below"), "no folder"),
        (at("read-only"), "chmod u+w"),
        (at("round"), "circle"),
        (at(&"x".repeat(300)), "too long"),
        (at(""), "is a folder"),
        (Path::new("").to_owned(), "empty name"),
        (Path::new("/dev/full").to_owned(), "no space is left"),
    ];
    for (path, expected) in cases {
        let error = check_output(&path).expect_err(expected).to_string();
        assert!(error.contains(expected) && error.contains("help:"), "{}: {error}", path.display());
    }
    for (path, expected) in [(at("file"), "is no folder"), (at("file/below"), "no folder")] {
        let error = check_folder(&path).expect_err(expected).to_string();
        assert!(error.contains(expected), "{}: {error}", path.display());
    }
    assert_eq!(names(folder.path()), before);
    check_folder(&at("made/in/one")).expect("it can be made");
    assert!(names(&at("made/in/one")).is_empty());
}

#[test]
fn an_unfinished_file_leaves_the_old_one_and_no_other() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("file");
    fs::write(&path, "old").expect("ours");
    // As long as a name can be: nothing is put at its end.
    let long = folder.path().join("x".repeat(255));
    check_output(&long).expect("it can be written");
    let mut half = AtomicFile::create(&path).expect("it can be written");
    half.write_all(b"half").expect("there is room");
    drop(half);
    assert_eq!(fs::read_to_string(&path).expect("there"), "old");
    assert_eq!(names(folder.path()), ["file"]);
}

#[test]
fn what_is_no_file_is_written_through() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let link = folder.path().join("null");
    symlink("/dev/null", &link).expect("ours");
    for path in [Path::new("/dev/null"), &link] {
        check_output(path).expect("it can be written");
        write_atomically(path, b"gone").expect("it can be written");
        assert!(is_written_through(path) && !is_stdout(path));
    }
    assert!(fs::symlink_metadata(&link).expect("there").is_symlink());
    for stdout in ["-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"] {
        assert!(is_stdout(Path::new(stdout)), "{stdout}");
    }
    let (mut reader, writer) = std::io::pipe().expect("a pipe");
    let number = std::os::fd::AsRawFd::as_raw_fd(&writer);
    let path = format!("/dev/fd/{number}");
    check_output(Path::new(&path)).expect("it can be written");
    write_atomically(Path::new(&path), b"through").expect("it can be written");
    drop(writer);
    let mut text = String::new();
    reader.read_to_string(&mut text).expect("a pipe is read");
    assert_eq!(text, "through");
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    let number = std::os::fd::AsRawFd::as_raw_fd(&writer);
    drop(reader);
    // A second end keeps opening by name from failing where it needs a reader.
    write_atomically(Path::new(&format!("/dev/fd/{number}")), &[7; 1 << 20]).expect("nobody wants it");
}

#[cfg(target_os = "linux")]
#[test]
fn what_fails_in_the_end_is_told_from_what_was_wrong_from_the_start() {
    let full = Path::new("/dev/full");
    let early = check_output(full).expect_err("it takes nothing");
    assert!(!early.is_while_writing(), "{early}");
    for length in [1, 1 << 20] {
        let late = write_atomically(full, &vec![7; length]).expect_err("it takes nothing");
        assert!(late.is_while_writing(), "{late}");
        assert!(late.to_string().contains("no space is left"), "{late}");
        let mut file = AtomicFile::create(full).expect("it can be opened");
        let late =
            file.write_all(&vec![7; length]).map_err(|cause| unwritten(full, cause)).and_then(|()| file.commit());
        assert!(late.expect_err("it takes nothing").is_while_writing());
    }
}
