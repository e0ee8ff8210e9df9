//! A host whose agent is in slots, with all that an upgrade writes on a small file system of
//! its own, a control plane, and releases.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

use muster_common::build_info::version;
use muster_node_agent::upgrader::record::Folder;
use muster_proto::admin::v1::Liveness;
use muster_tests::{
    binaries,
    host::{Base, Host},
    mount::Mount,
    netns::Network,
    operator::Operator,
    plane::{Options, Plane},
    repository::Repository,
    versions,
};

use super::matrix::Version;

pub(super) const AGENT: &str = "/usr/bin/muster-node-agent";
/// Two slots, a third one while it is filled, the copy that watches, and the state.
const SIZE: &str = "1G";

/// Archives of all versions.
pub(super) struct Releases {
    folder: PathBuf,
}

pub(super) struct Lab {
    pub(super) plane: Plane,
    pub(super) operator: Operator,
    pub(super) host: Host,
    pub(super) network: Network,
    /// Which version of the agent runs.
    pub(super) runs: String,
    /// How many upgrades there were.
    pub(super) count: u64,
    small: PathBuf,
    _mount: Mount,
    _folder: tempfile::TempDir,
}

impl Releases {
    pub(super) fn make(folder: &Path) -> Self {
        let program = folder.join("program");
        versions::stripped(&binaries::path("muster-node-agent"), &program);
        for (version, does) in Version::all() {
            let made = folder.join(format!("made-{version}"));
            versions::make(&program, version, &made);
            let packed = folder.join(format!("{version}.tar.zst"));
            let Some(does) = does else {
                versions::archive(&[("bin/muster-node-agent", &made)], &packed);
                continue;
            };
            let script = folder.join(format!("script-{version}"));
            let text = format!(
                "#!/bin/sh\nreal=$(dirname $(readlink -f $0))/real\n\
                 [ $1 = run ] || exec $real \"$@\"\n{does}\nexec $real \"$@\"\n"
            );
            versions::write_program(text.as_bytes(), &script);
            versions::archive(&[("bin/muster-node-agent", &script), ("bin/real", &made)], &packed);
        }
        Self { folder: folder.to_owned() }
    }

    pub(super) fn archive(&self, version: &str) -> PathBuf {
        self.folder.join(format!("{version}.tar.zst"))
    }

    fn lay_in(&self, host: &Host) {
        for (version, _) in Version::all() {
            host.copy_in(&self.archive(version), &format!("/root/{version}.tar.zst"), 0o644);
        }
    }
}

impl Lab {
    /// `repository`: from which it takes what the control plane wants.
    pub(super) async fn new(releases: &Releases, repository: Option<&Repository>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let small = folder.path().join("small");
        let mount = Mount::small(&small, SIZE);
        let shown = [("state", "/var/lib/muster"), ("slots", "/opt/muster")];
        let shown = shown.map(|(name, at)| (small.join(name), at)).to_vec();
        for (folder, _) in &shown {
            fs::create_dir(folder).unwrap();
        }
        let network = Network::create();
        let listen = network.gateway().into();
        let mut plane = Plane::init(folder.path(), &Options { listen, ..Options::default() });
        let root = repository.map(|repository| repository.path().join("metadata/1.root.json"));
        if let Some(root) = &root {
            plane.configure("root", &format!("{root:?}"));
        }
        plane.serve(&[]).await;
        let mut host = Host::boot_with(Base::Debian, shown, folder.path(), "host", &network).await;
        host.install_in_slots(&releases.folder.join("program"), "");
        releases.lay_in(&host);
        if let Some(root) = &root {
            host.copy_in(root, "/etc/muster/root.json", 0o644);
            host.watches_shortly();
        }
        host.connect(&plane.join(1, &[]).await);
        let operator = plane.operator().await;
        operator.until_liveness(&host.node, Liveness::Online).await;
        let runs = version().to_owned();
        Self { plane, operator, host, network, runs, count: 0, small, _mount: mount, _folder: folder }
    }

    /// What is written of upgrades.
    pub(super) fn upgrades(&self) -> Folder {
        Folder::at(&self.small.join("state/upgrade"))
    }

    /// The agent's state directory.
    pub(super) fn state(&self) -> PathBuf {
        self.small.join("state/node-agent")
    }

    /// Takes all room there is on the small file system.
    pub(super) fn fill_disk(&self) {
        let file = File::create(self.small.join("fill")).unwrap();
        let disk = rustix::fs::statvfs(&self.small).unwrap();
        let free = disk.f_bavail * disk.f_frsize;
        rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, free).unwrap();
    }

    /// Gives it back.
    pub(super) fn free_disk(&self) {
        fs::remove_file(self.small.join("fill")).unwrap();
    }
}
