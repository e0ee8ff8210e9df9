//! Which package, and which program of it.

use std::{collections::BTreeMap, io};

use muster_common::{digest::Sha256, ids::CommandId, trace};
use serde::{Deserialize, Serialize};

use super::manifest::{Verb, is_version};
use crate::platform::units::Limits;

const LONGEST_NAME: usize = 64;

/// One package of one extension on this host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Package {
    /// Of the extension here: `extension/NAME`.
    pub name: String,
    /// Who must have made it.
    pub publisher: String,
    /// What it must be.
    pub kind: String,
    /// Which version of it.
    pub version: String,
    /// Of its file.
    pub sha256: Sha256,
}

/// A program of a package that is to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Launch {
    /// Its own. No other run ever has it.
    pub id: CommandId,
    /// Of which.
    pub package: Package,
    /// For what.
    pub verb: Verb,
    /// The version before, while one takes over from another; or empty.
    pub from_version: String,
    /// What the agent's own way out looks like in an environment.
    pub proxy: BTreeMap<String, String>,
    /// Limits that replace those of the package, each that is set.
    pub limits: Limits,
    /// Where it is in a trace that somebody collects.
    pub place: Option<trace::Context>,
}

impl Package {
    /// Refuses what could name a folder elsewhere.
    ///
    /// # Errors
    /// `InvalidInput`, with a sentence.
    pub fn check(&self) -> io::Result<()> {
        if is_name(&self.name) && is_version(&self.version) {
            return Ok(());
        }
        let message = format!("{:?} {:?} is no extension", self.name, self.version);
        Err(io::Error::new(io::ErrorKind::InvalidInput, message))
    }

    /// `VERSION-DIGEST`: two files that call themselves the same are two folders.
    pub(super) fn folder(&self) -> String {
        let digest = self.sha256.to_string();
        format!("{}-{}", self.version, digest.get(..12).unwrap_or_default())
    }
}

/// Whether an extension can be called so on a host.
#[must_use]
pub fn is_name(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte);
    (1..=LONGEST_NAME).contains(&text.len())
        && text.bytes().all(is_plain)
        && text.as_bytes()[0].is_ascii_alphanumeric()
}
