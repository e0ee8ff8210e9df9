//! A signed repository, made by the real command.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use muster_common::digest::Sha256;
use muster_proto::admin::v1 as pb;

use crate::{binaries, catalogue::Package};

/// A repository and its keys, below a folder of its own.
#[derive(Debug)]
pub struct Repository {
    folder: tempfile::TempDir,
}

/// A file of it, as an item names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// Its name.
    pub target: String,
    /// Its bytes.
    pub content: Vec<u8>,
}

impl Published {
    /// Of its bytes.
    #[must_use]
    pub fn sha256(&self) -> Sha256 {
        Sha256::of(&self.content)
    }

    /// Where a mirror has it.
    #[must_use]
    pub fn path(&self) -> String {
        format!("targets/{}.{}", self.sha256(), self.target)
    }
}

impl Repository {
    /// A new one, with an empty list of files.
    #[must_use]
    pub fn new() -> Self {
        let repository = Self { folder: tempfile::tempdir().unwrap() };
        repository.does(&["init", "REPOSITORY", "--keys", "KEYS"]);
        repository.sign();
        repository
    }

    /// What a mirror serves.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.folder.path().join("repository")
    }

    /// Where its keys are.
    #[must_use]
    pub fn keys(&self) -> PathBuf {
        self.folder.path().join("keys")
    }

    /// The root that hosts pin.
    #[must_use]
    pub fn root(&self) -> Vec<u8> {
        fs::read(self.path().join("metadata/1.root.json")).unwrap()
    }

    /// Runs the command; `REPOSITORY` and `KEYS` stand for the folders.
    #[must_use]
    pub fn run(&self, args: &[&str]) -> Output {
        let mut command = Command::new(binaries::path("muster-repository"));
        for arg in args {
            match *arg {
                "REPOSITORY" => command.arg(self.path()),
                "KEYS" => command.arg(self.keys()),
                other => command.arg(other),
            };
        }
        command.output().unwrap()
    }

    /// The same; it must succeed. What it says.
    pub fn does(&self, args: &[&str]) -> String {
        let output = self.run(args);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "muster-repository {args:?}: {stderr}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Signs what was added.
    pub fn sign(&self) {
        self.does(&["sign", "REPOSITORY", "--keys", "KEYS"]);
    }

    /// Adds an extension's package of this version.
    pub fn add(&self, version: &str, content: &[u8]) -> Published {
        self.add_extension(&Package { publisher: "muster", kind: "test", version, bytes: content })
    }

    /// Adds a package of an extension.
    pub fn add_extension(&self, package: &Package<'_>) -> Published {
        let Package { publisher, kind, version, bytes } = package;
        let file = self.folder.path().join("file");
        fs::write(&file, bytes).unwrap();
        let file = file.to_str().unwrap();
        let of = ["--kind", "extension", "--publisher", publisher, "--type", kind, "--version", version];
        let args: Vec<&str> = ["add", "REPOSITORY", file].into_iter().chain(of).collect();
        self.does(&args);
        let target = format!("extension/{publisher}/{kind}/{version}/linux-any.tar.zst");
        Published { target, content: bytes.to_vec() }
    }

    /// Adds a release of the agent: its archive.
    pub fn add_release(&self, version: &str, archive: &Path) {
        let archive = archive.to_str().unwrap();
        self.does(&["add", "REPOSITORY", archive, "--kind", "release", "--version", version]);
    }

    /// All of its metadata, as it is published.
    #[must_use]
    pub fn metadata(&self) -> Vec<pb::MetadataFile> {
        let files = fs::read_dir(self.path().join("metadata")).unwrap();
        let file = |path: PathBuf| pb::MetadataFile {
            path: format!("metadata/{}", path.file_name().unwrap().to_str().unwrap()),
            content: fs::read(path).unwrap().into(),
        };
        files.map(|entry| file(entry.unwrap().path())).collect()
    }

    /// A copy of what a mirror serves now.
    #[must_use]
    pub fn copy(&self) -> tempfile::TempDir {
        let to = tempfile::tempdir().unwrap();
        copy(&self.path(), to.path());
        to
    }
}

impl Default for Repository {
    fn default() -> Self {
        Self::new()
    }
}

fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let (from, name) = entry.map(|entry| (entry.path(), entry.file_name())).unwrap();
        let to = to.join(name);
        if from.is_dir() {
            fs::create_dir_all(&to).unwrap();
            copy(&from, &to);
        } else {
            fs::copy(&from, &to).unwrap();
        }
    }
}
