//! Other versions of a program of this build: the same file with another version in the
//! field that programs read theirs from.

use std::{
    fs,
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
};

use muster_common::build_info::{FIELD_BYTES, MARK};

/// Writes a program that calls itself so.
///
/// # Panics
/// If the program has not exactly one field, or that has no room for the version.
pub fn make(program: &Path, version: &str, to: &Path) {
    let mut bytes = fs::read(program).unwrap_or_else(|error| panic!("{}: {error}", program.display()));
    let room = FIELD_BYTES - MARK.len();
    assert!(version.len() < room, "{version} has no room");
    // A build for debugging may have the mark a second time, without a version behind it.
    let is_field = |at: &usize| {
        bytes[*at] == b'm' && bytes[*at..].starts_with(MARK.as_bytes()) && bytes[*at + FIELD_BYTES - 1] == 0
    };
    let fields: Vec<usize> = (0..bytes.len() - FIELD_BYTES).filter(is_field).collect();
    let [field] = fields[..] else { panic!("{} has {} fields", program.display(), fields.len()) };
    let text = &mut bytes[field + MARK.len()..field + FIELD_BYTES];
    text.fill(0);
    text[..version.len()].copy_from_slice(version.as_bytes());
    fs::create_dir_all(to.parent().unwrap()).unwrap();
    write_program(&bytes, to);
}

/// Writes a program or script by another process: what a test starts meanwhile takes every
/// file along that is open here, and what somebody has open for writing cannot be run.
///
/// # Panics
/// If that fails.
pub fn write_program(bytes: &[u8], to: &Path) {
    let mut install = Command::new("install");
    install.args(["-m", "755", "/dev/stdin"]).arg(to).stdin(Stdio::piped());
    let mut writing = install.spawn().expect("there is an install");
    writing.stdin.take().unwrap().write_all(bytes).unwrap();
    assert!(writing.wait().unwrap().success(), "{}", to.display());
}

/// Makes the archive of a release from files: where each is in it, and which it is.
///
/// # Panics
/// If that fails.
pub fn archive(files: &[(&str, &Path)], to: &Path) {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, file) in files {
        tar.append_path_with_name(file, name).unwrap();
    }
    let plain = tar.into_inner().unwrap();
    let mut zstd = Command::new("zstd");
    zstd.args(["--quiet", "--force", "-1", "-o"]).arg(to).stdin(Stdio::piped());
    let mut packing = zstd.spawn().expect("there is a zstd");
    packing.stdin.take().unwrap().write_all(&plain).unwrap();
    assert!(packing.wait().unwrap().success());
}

/// A copy of a program without what only debuggers read.
///
/// # Panics
/// If that fails.
pub fn stripped(program: &Path, to: &Path) {
    let done = Command::new("strip").arg("--strip-debug").arg("-o").arg(to).arg(program).status();
    assert!(done.expect("there is a strip").success());
}
