//! Tests that are small in CI and whole in `make soak`.

use std::{env, fs};

use crate::binaries::repository;

/// How much of something, if the caller says.
#[must_use]
pub fn number(name: &str, default: u64) -> u64 {
    env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Leaves a table where the soak's figures lie.
///
/// # Panics
/// If the disk refuses.
pub fn report(name: &str, text: &str) {
    let folder = repository().join("target/soak");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join(name), text).unwrap();
}
