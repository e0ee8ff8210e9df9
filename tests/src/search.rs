//! Looks for a secret where it must not be.

use std::{
    fs,
    path::{Path, PathBuf},
};

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};

/// Files below a folder that have this text in them, in order. What is no plain file is passed
/// over: nobody waits for a pipe.
#[must_use]
pub fn with_text(folder: &Path, text: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let Ok(about) = fs::symlink_metadata(&path) else { continue };
            if about.is_dir() {
                folders.push(path);
            } else if about.is_file()
                && fs::read(&path).is_ok_and(|bytes| String::from_utf8_lossy(&bytes).contains(text))
            {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// The forms in which a text may have been written: as it is, as a list of its bytes, and as
/// JSON has bytes.
#[must_use]
pub fn forms(text: &str) -> [String; 3] {
    let as_numbers = format!("{:?}", text.as_bytes()).replace(['[', ']'], "");
    [text.to_owned(), as_numbers, STANDARD_NO_PAD.encode(text)]
}
