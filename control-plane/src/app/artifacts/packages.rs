//! Which packages of extensions the repository has, and in which versions.

use std::{cmp::Reverse, collections::BTreeMap};

use muster_domain::artifact::{Kind, Target};
use muster_store::ReadArtifacts as _;
use semver::Version;

use crate::app::{App, Error};

/// One package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    /// Who made it.
    pub publisher: String,
    /// What it is.
    pub of_type: String,
    /// The newest first.
    pub versions: Vec<PackageVersion>,
}

/// One version of a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageVersion {
    /// Semantic version.
    pub version: String,
    /// `linux-x86_64`.
    pub platforms: Vec<String>,
}

impl App {
    /// All packages, by publisher and type.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn packages(&self) -> Result<Vec<Package>, Error> {
        let targets = self.store.read(|tx| tx.target_all().map_err(Error::from)).await?;
        let mut found: BTreeMap<(String, String), BTreeMap<String, Vec<String>>> = BTreeMap::new();
        for it in targets.into_iter().filter(|it| it.kind == Kind::Extension) {
            let versions = found.entry((it.publisher, it.of_type)).or_default();
            versions.entry(it.version).or_default().push(format!("{}-{}", it.os, it.arch));
        }
        Ok(found
            .into_iter()
            .map(|((publisher, of_type), versions)| {
                let mut versions: Vec<PackageVersion> = versions
                    .into_iter()
                    .map(|(version, platforms)| PackageVersion { version, platforms })
                    .collect();
                versions.sort_by_cached_key(|it| Reverse(Version::parse(&it.version).ok()));
                Package { publisher, of_type, versions }
            })
            .collect())
    }
}

/// The files of one version, in the order of their platforms: the same files make the same bytes.
pub(in crate::app) fn platforms<'a>(targets: impl Iterator<Item = &'a Target>, version: &str) -> Vec<Target> {
    let mut files: Vec<Target> = targets.filter(|it| it.version == version).cloned().collect();
    files.sort_by(|a, b| (&a.os, &a.arch).cmp(&(&b.os, &b.arch)));
    files
}
