//! A file of the repository, and what its metadata says of it.

use std::fmt;

use serde::{Deserialize, Serialize};
use tough::schema;

use super::{Error, MOST_FILE};
use crate::digest::Sha256;

/// Longest name.
const LONGEST: usize = 256;

/// A file, as the targets role signed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// `extension/muster/node-exporter/1.6.0/linux-any.tar.zst`.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// Of all of them.
    pub sha256: Sha256,
    /// What it is, if whoever signed it said so.
    pub about: Option<About>,
}

/// What a file is: the member `muster` of its custom metadata. It is signed with the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// What it is for.
    pub kind: Kind,
    /// Who made it; of an extension only.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub publisher: String,
    /// Which extension; of an extension only.
    #[serde(default, rename = "type", skip_serializing_if = "String::is_empty")]
    pub type_name: String,
    /// Semantic version.
    pub version: String,
    /// `linux`.
    pub os: String,
    /// `x86_64`, `aarch64` or `any`.
    pub arch: String,
}

/// What a file is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// The package of an extension.
    Extension,
    /// A release of the agent.
    Release,
}

impl Target {
    pub(super) fn read(name: &str, target: &schema::Target) -> Result<Self, Error> {
        check_name(name)?;
        let broken = |why: &str| Error::broken(super::Role::Targets, format!("{name}: {why}"));
        let sha256 = Sha256::from_slice(&target.hashes.sha256).ok_or_else(|| broken("no SHA-256"))?;
        if target.length > MOST_FILE {
            return Err(Error::Endless { what: name.to_owned(), most: MOST_FILE });
        }
        let about = target.custom.get("muster").map(About::deserialize).transpose();
        let about = about.map_err(|error| broken(&error.to_string()))?;
        Ok(Self { name: name.to_owned(), size: target.length, sha256, about })
    }

    /// Where a mirror has it.
    #[must_use]
    pub fn path(&self) -> String {
        format!("targets/{}.{}", self.sha256, self.name)
    }
}

impl About {
    /// The name that such a file has in the repository.
    #[must_use]
    pub fn target_name(&self) -> String {
        let Self { publisher, type_name, version, os, arch, .. } = self;
        match self.kind {
            Kind::Extension => format!("extension/{publisher}/{type_name}/{version}/{os}-{arch}.tar.zst"),
            Kind::Release => format!("agent/{version}/{os}-{arch}.tar.zst"),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Extension => "extension",
            Self::Release => "release",
        })
    }
}

/// Whether a file of the repository may have this name: words between slashes, of letters,
/// digits and `. _ + -`, none beginning with a dot. So it is a safe path wherever it is put.
///
/// # Errors
/// With what is wrong.
pub fn check_name(name: &str) -> Result<(), Error> {
    let wrong = |why| Error::Name { name: name.chars().take(64).collect(), why };
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '+' | '-');
    if name.is_empty() || name.len() > LONGEST {
        return Err(wrong("it must have 1 to 256 bytes"));
    }
    for word in name.split('/') {
        if word.is_empty() {
            return Err(wrong("there is nothing between two slashes, or before or after one"));
        }
        if word.starts_with('.') {
            return Err(wrong("a part of it begins with a dot"));
        }
        if !word.chars().all(allowed) {
            return Err(wrong("only letters, digits, '.', '_', '+', '-' and '/' may be in it"));
        }
    }
    Ok(())
}
