//! Extensions by the way they come to hosts: packed, signed, published, and given to nodes.

use std::{io::Cursor, path::Path, process::Command};

use muster_proto::{
    admin::v1::{self as pb, assignment::Target},
    types::v1::{self as types, ItemOutcome},
};
use ruzstd::encoding::{CompressionLevel, compress_to_vec};

use crate::{
    binaries,
    eventually::{LONG, eventually},
    operator::{Operator, reported},
    repository::Repository,
};

/// A package of an extension.
#[derive(Debug, Clone, Copy)]
pub struct Package<'a> {
    /// Who made it.
    pub publisher: &'a str,
    /// What it is.
    pub kind: &'a str,
    /// Which of them.
    pub version: &'a str,
    /// Its bytes.
    pub bytes: &'a [u8],
}

/// A signed repository, and the control plane that hosts take it from.
#[derive(Debug)]
pub struct Catalogue {
    /// What is signed.
    pub repository: Repository,
    /// Who publishes it.
    pub operator: Operator,
}

impl Catalogue {
    /// Signs packages and publishes them.
    pub async fn publish(&self, packages: &[Package<'_>]) {
        for package in packages {
            self.repository.add_extension(package);
            self.operator.upload(package.bytes).await;
        }
        self.repository.sign();
        let request =
            pb::PublishRepositoryRequest { metadata: self.repository.metadata(), validate_only: false };
        self.operator.artifacts.clone().publish_repository(request).await.expect("it is published");
    }

    /// Makes a version of an extension; answers its digest.
    pub async fn extension(
        &self,
        name: &str,
        content: types::ExtensionContent,
        protected_settings: &str,
    ) -> Vec<u8> {
        let request = pb::CreateExtensionRequest {
            name: name.to_owned(),
            content: Some(content),
            protected_settings: protected_settings.as_bytes().to_vec().into(),
            validate_only: false,
        };
        let made = self.operator.extensions.clone().create_extension(request).await.expect("an extension");
        made.into_inner().extension.expect("the extension is in the answer").sha256.to_vec()
    }

    /// Gives the newest version of an extension to nodes, under its own name.
    pub async fn give(&self, name: &str, selector: &str) {
        let target = pb::ExtensionTarget { name: name.to_owned(), version: 0 };
        self.operator.assign_target(name, selector, Target::Extension(target)).await;
    }

    /// Takes it away from them.
    pub async fn take_away(&self, name: &str) {
        let request = pb::DeleteAssignmentRequest { name: name.to_owned(), ..Default::default() };
        self.operator.assignments.clone().delete_assignment(request).await.expect("it is deleted");
    }

    /// Waits until a node has ended with this version of an extension, one way or the other.
    pub async fn ended(&self, node: &str, name: &str, sha256: &[u8]) -> types::ItemState {
        let of = |state: &types::ItemState| state.attempted.as_ref().is_some_and(|it| it.sha256 == sha256);
        self.until(node, name, |state| of(state) && state.outcome() != ItemOutcome::Unspecified).await
    }

    /// Waits until an extension of a node stands so.
    pub async fn until(
        &self,
        node: &str,
        name: &str,
        is: impl Fn(&types::ItemState) -> bool,
    ) -> types::ItemState {
        let item = format!("extension/{name}");
        eventually(&format!("{item} of {node} has come so far"), LONG * 3, || async {
            let node = self.operator.node(node).await?;
            reported(&node, &item).filter(|state| is(state)).cloned()
        })
        .await
    }

    /// Waits until a node has nothing of an extension any more.
    pub async fn until_gone(&self, node: &str, name: &str) {
        let item = format!("extension/{name}");
        self.operator.until(&format!("{item} is gone"), node, |node| reported(node, &item).is_none()).await;
    }
}

/// Packs files: where each is, its mode, its content.
#[must_use]
pub fn pack(files: &[(&str, u32, &str)]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, mode, text) in files {
        let mut header = tar::Header::new_gnu();
        header.set_mode(*mode);
        header.set_size(text.len() as u64);
        archive.append_data(&mut header, name, text.as_bytes()).unwrap();
    }
    compress_to_vec(Cursor::new(archive.into_inner().unwrap()), CompressionLevel::Fastest)
}

/// The package of an extension of this repository's own, made as everybody makes it.
#[must_use]
pub fn example(kind: &str, version: &str, folder: &Path) -> Vec<u8> {
    let build = binaries::repository().join("deploy/extensions/build.sh");
    let done = Command::new(build).arg(folder).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    std::fs::read(folder.join(format!("muster/{kind}/{version}/linux-any.tar.zst"))).unwrap()
}

/// The content of an extension, with these settings.
#[must_use]
pub fn content(publisher: &str, kind: &str, version: &str, settings: &str) -> types::ExtensionContent {
    types::ExtensionContent {
        publisher: publisher.to_owned(),
        r#type: kind.to_owned(),
        package_version: version.to_owned(),
        settings: settings.as_bytes().to_vec().into(),
        ..Default::default()
    }
}
