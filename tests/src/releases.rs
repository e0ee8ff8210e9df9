//! Releases of the agent: this build under other versions, and control planes with a signed
//! repository of them whose hosts have their agents in slots.

use std::{
    net::IpAddr,
    path::{Path, PathBuf},
};

use muster_proto::admin::v1 as pb;

use crate::{
    binaries,
    host::{Base, Host},
    netns::Network,
    operator::Operator,
    plane::{Options, Plane},
    repository::Repository,
    versions,
};

/// Archives of releases, below a folder.
#[derive(Debug)]
pub struct Releases {
    folder: PathBuf,
    /// The agent, without what would make it slow to pack.
    program: PathBuf,
}

/// A control plane that passes on a signed repository of releases, in a network of its own.
/// Hosts are to be dropped before it.
#[derive(Debug)]
pub struct Publisher {
    /// It.
    pub plane: Plane,
    /// What can be published.
    pub releases: Releases,
    repository: Repository,
    network: Network,
    temporary: tempfile::TempDir,
}

impl Releases {
    /// None yet, in a folder.
    #[must_use]
    pub fn new(folder: &Path) -> Self {
        let program = folder.join("program");
        versions::stripped(&binaries::path("muster-node-agent"), &program);
        Self { folder: folder.to_owned(), program }
    }

    /// The program that hosts begin with.
    #[must_use]
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// Makes the archive of a release. `first`: lines of shell that run before the agent does,
    /// and may keep it from that; empty: none.
    ///
    /// # Panics
    /// If that fails.
    #[must_use]
    pub fn pack(&self, version: &str, first: &str) -> PathBuf {
        let made = self.folder.join(format!("made-{version}"));
        versions::make(&self.program, version, &made);
        let packed = self.folder.join(format!("{version}.tar.zst"));
        if first.is_empty() {
            versions::archive(&[("bin/muster-node-agent", &made)], &packed);
            return packed;
        }
        // In the place of the program, which lies beside it: what is no start goes through.
        let script = self.folder.join(format!("script-{version}"));
        let text = format!(
            "#!/bin/sh\nreal=$(dirname $(readlink -f $0))/real\n\
             [ $1 = run ] || exec $real \"$@\"\n{first}\nexec $real \"$@\"\n"
        );
        versions::write_program(text.as_bytes(), &script);
        versions::archive(&[("bin/muster-node-agent", &script), ("bin/real", &made)], &packed);
        packed
    }
}

impl Publisher {
    /// One with nothing published.
    pub async fn start() -> Self {
        let temporary = tempfile::tempdir().unwrap();
        let releases = Releases::new(temporary.path());
        let (network, repository) = (Network::create(), Repository::new());
        let options = Options { listen: network.gateway().into(), ..Options::default() };
        let mut plane = Plane::init(temporary.path(), &options);
        plane.configure("root", &format!("{:?}", root(&repository)));
        plane.serve(&[]).await;
        Self { plane, releases, repository, network, temporary }
    }

    /// A host that believes the repository and has no agent yet.
    pub async fn host(&self, base: Base, name: &str) -> Host {
        let host = Host::boot_on(base, self.temporary.path(), name, &self.network).await;
        host.copy_in(&root(&self.repository), "/etc/muster/root.json", 0o644);
        host
    }

    /// One whose agent is in slots, in no fleet yet.
    pub async fn host_in_slots(&self, name: &str, rules: &str) -> Host {
        let host = self.host(Base::Debian, name).await;
        host.install_in_slots(self.releases.program(), rules);
        host
    }

    /// The address of this machine for hosts.
    #[must_use]
    pub fn gateway(&self) -> IpAddr {
        self.network.gateway().into()
    }

    /// A folder that is gone with it.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.temporary.path()
    }

    /// Adds a release to what is published next; `first` as in [`Releases::pack`].
    ///
    /// # Panics
    /// If that fails.
    pub async fn release(&self, operator: &Operator, version: &str, first: &str) {
        self.add(operator, version, &self.releases.pack(version, first)).await;
    }

    /// The same, of an archive that is there.
    ///
    /// # Panics
    /// If that fails.
    pub async fn add(&self, operator: &Operator, version: &str, archive: &Path) {
        self.repository.add_release(version, archive);
        operator.upload(&std::fs::read(archive).unwrap()).await;
    }

    /// Signs and publishes what was added.
    ///
    /// # Panics
    /// If it is refused.
    pub async fn publish(&self, operator: &Operator) {
        self.repository.sign();
        let request =
            pb::PublishRepositoryRequest { metadata: self.repository.metadata(), validate_only: false };
        operator.artifacts.clone().publish_repository(request).await.unwrap();
    }
}

/// The root that hosts and the control plane pin.
fn root(repository: &Repository) -> PathBuf {
    repository.path().join("metadata/1.root.json")
}
