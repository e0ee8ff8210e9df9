//! File systems of a test's own, gone with it: small ones that are soon full, and ones
//! that cannot be written to.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Something mounted. Dropped: unmounted.
#[derive(Debug)]
pub struct Mount(PathBuf);

impl Mount {
    /// An empty file system of this size at a place.
    ///
    /// # Panics
    /// If this user may not mount.
    #[must_use]
    pub fn small(at: &Path, size: &str) -> Self {
        fs::create_dir_all(at).unwrap();
        mount(&["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"], at);
        Self(at.to_owned())
    }

    /// The same, which passes for a file system on a device of this name.
    ///
    /// # Panics
    /// If this user may not mount.
    #[must_use]
    pub fn disk(at: &Path, size: &str, device: &str) -> Self {
        fs::create_dir_all(at).unwrap();
        mount(&["-t", "tmpfs", "-o", &format!("size={size}"), device], at);
        Self(at.to_owned())
    }

    /// What is at a place, for reading only.
    ///
    /// # Panics
    /// If this user may not mount.
    #[must_use]
    pub fn read_only(at: &Path) -> Self {
        mount(&["--bind", at.to_str().expect("a path that is text")], at);
        let mounted = Self(at.to_owned());
        mounted.remount("ro,bind");
        mounted
    }

    /// Changes its options.
    ///
    /// # Panics
    /// If this user may not.
    pub fn remount(&self, options: &str) {
        mount(&["-o", &format!("remount,{options}")], &self.0);
    }
}

fn mount(args: &[&str], at: &Path) {
    let done = Command::new("mount").args(args).arg(at).output().expect("there is a mount");
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "this test must run as root, with leave to mount: {said}");
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Lazy: a process that is about to end may hold a file for a moment longer.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}
