//! The content of a release. Checked here again: a host believes nobody.

use muster_common::{digest::Sha256, reason::Reason};
use muster_proto::types::v1 as types;
use prost::Message as _;
use serde::{Deserialize, Serialize};

use super::failure;
use crate::state::{Cause, ItemError, Offer};

/// Longest name of a version.
const LONGEST: usize = 64;

/// A file of the signed repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Archive {
    /// Its name there.
    pub target: String,
    /// Its length.
    pub size: u64,
    /// Of its bytes.
    pub sha256: Sha256,
}

/// A version of the agent, for this kind of host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    /// As it calls itself.
    pub version: String,
    /// What package managers call it; empty: the version with `-1`.
    pub package_version: String,
    /// The archive for this kind of host.
    pub archive: Option<Archive>,
}

impl Content {
    /// What an offer brings.
    pub(super) fn decode(offer: &Offer) -> Result<Self, ItemError> {
        if Sha256::of(&offer.payload) != offer.version.sha256 {
            let message = "the payload does not have the hash it was sent with";
            return Err(failure::error(Reason::PayloadCorrupt, Cause::Network, message));
        }
        let bad = |what: String| failure::error(Reason::ReleaseContentInvalid, Cause::Content, what);
        let content = types::ReleaseContent::decode(offer.payload.as_slice())
            .map_err(|error| bad(format!("the content of the release cannot be read: {error}")))?;
        if content.version.is_empty() || content.version.len().max(content.package_version.len()) > LONGEST {
            return Err(bad(format!("a version has 1 to {LONGEST} characters")));
        }
        let archive = fitting(&content.artifacts).map(archive).transpose().map_err(bad)?;
        let types::ReleaseContent { version, package_version, .. } = content;
        Ok(Self { version, package_version, archive })
    }
}

/// The file for this kind of host: its own before `any`.
fn fitting(artifacts: &[types::PlatformArtifact]) -> Option<&types::Artifact> {
    let find = |arch: &str| artifacts.iter().find(|one| one.os == std::env::consts::OS && one.arch == arch);
    find(std::env::consts::ARCH).or_else(|| find("any"))?.artifact.as_ref()
}

fn archive(artifact: &types::Artifact) -> Result<Archive, String> {
    let sha256 = Sha256::from_slice(&artifact.sha256).ok_or("an archive without a digest")?;
    Ok(Archive { target: artifact.target.clone(), size: artifact.size_bytes, sha256 })
}
