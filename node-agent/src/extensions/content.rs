//! The content of an extension: which package, and how it is set. Checked here again: a host
//! believes nobody.

use muster_common::{digest::Sha256, ids::SecretId, reason::Reason, sealing::Contents};
use muster_proto::types::v1 as types;
use prost::Message as _;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::failure::{self, host};
use crate::{
    depot::{self, MOST_SETTINGS, Manifest, Package},
    platform::units::Limits,
    state::{Cause, ItemError, ItemVersion, Offer},
};

/// The item's name begins so.
pub(super) const PREFIX: &str = "extension/";

/// A file of the signed repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artifact {
    /// Its name there.
    pub target: String,
    /// Its length.
    pub size: u64,
    /// Of its bytes.
    pub sha256: Sha256,
}

/// One version of an extension, with all that it takes to run it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Version {
    pub(super) version: ItemVersion,
    pub(super) package: Package,
    pub(super) artifact: Artifact,
    pub(super) settings: String,
    pub(super) protected: Zeroizing<String>,
    pub(super) limits: Limits,
    /// Known once it is unpacked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) manifest: Option<Manifest>,
}

impl Version {
    /// What an offer brings to this kind of host.
    pub(super) fn decode(name: &str, offer: &Offer, contents: &Contents) -> Result<Self, ItemError> {
        if Sha256::of(&offer.payload) != offer.version.sha256 {
            let message = "the payload does not have the hash it was sent with";
            return Err(failure::error(Reason::PayloadCorrupt, Cause::Network, message));
        }
        let bad = |message: String| failure::content(Reason::ExtensionContentInvalid, message);
        let content = types::ExtensionContent::decode(offer.payload.as_slice())
            .map_err(|error| bad(format!("the content of the extension cannot be read: {error}")))?;
        let artifact = fitting(&content)?;
        let package = Package {
            name: name.to_owned(),
            publisher: content.publisher.clone(),
            kind: content.r#type.clone(),
            version: content.package_version.clone(),
            sha256: artifact.sha256,
        };
        package.check().map_err(|error| bad(error.to_string()))?;
        let limits = content.limits.unwrap_or_default();
        let some = |number: u32| (number > 0).then_some(number);
        Ok(Self {
            version: offer.version.clone(),
            package,
            artifact,
            settings: settings(&content.settings).map_err(&bad)?,
            protected: Zeroizing::new(protected(&content.protected_id, contents).map_err(bad)?),
            limits: Limits {
                memory: (limits.memory_bytes > 0).then_some(limits.memory_bytes),
                cpu: some(limits.cpu_percent),
                tasks: some(limits.tasks),
                time: None,
            },
            manifest: None,
        })
    }

    /// Whether the other differs in its settings alone.
    pub(super) fn is_package_of(&self, other: &Self) -> bool {
        self.package == other.package
    }
}

/// The name of an item of this room, if a host can have it.
pub(super) fn name(item: &str) -> Option<&str> {
    item.strip_prefix(PREFIX).filter(|name| depot::is_name(name))
}

/// The file for this kind of host: its own before `any`.
fn fitting(content: &types::ExtensionContent) -> Result<Artifact, ItemError> {
    let (os, arch) = (std::env::consts::OS, std::env::consts::ARCH);
    let find = |arch: &str| content.artifacts.iter().find(|one| one.os == os && one.arch == arch);
    let found = find(arch).or_else(|| find("any")).and_then(|one| one.artifact.as_ref());
    let found = found.ok_or_else(|| {
        host(Reason::ExtensionContentInvalid, format!("there is no package of it for {os} {arch}"))
    })?;
    let sha256 = Sha256::from_slice(&found.sha256);
    let sha256 = sha256.ok_or_else(|| {
        failure::content(Reason::ExtensionContentInvalid, "a package without a digest".to_owned())
    })?;
    // What is signed by this name is what the depot holds against the package.
    let (publisher, kind, version) = (&content.publisher, &content.r#type, &content.package_version);
    if !found.target.starts_with(&format!("extension/{publisher}/{kind}/{version}/")) {
        let message = format!("{} is no package of {publisher}/{kind} {version}", found.target);
        return Err(failure::content(Reason::ExtensionContentInvalid, message));
    }
    Ok(Artifact { target: found.target.clone(), size: found.size_bytes, sha256 })
}

fn settings(bytes: &[u8]) -> Result<String, String> {
    if bytes.is_empty() {
        return Ok("{}".to_owned());
    }
    if bytes.len() > MOST_SETTINGS {
        return Err(format!("settings have {} bytes; {MOST_SETTINGS} are the most", bytes.len()));
    }
    match serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(bytes) {
        Ok(_) => Ok(String::from_utf8_lossy(bytes).into_owned()),
        Err(error) => Err(format!("settings are no JSON object: line {}", error.line())),
    }
}

/// What is said of protected settings never has any of them.
fn protected(id: &str, contents: &Contents) -> Result<String, String> {
    if id.is_empty() {
        return Ok("{}".to_owned());
    }
    let id: SecretId = id.parse().map_err(|_| "protected_id is no id".to_owned())?;
    let bytes = contents.get(&id).ok_or("its protected settings did not come with it")?;
    settings(bytes).map_err(|_| "its protected settings are no JSON object".to_owned())
}

#[cfg(test)]
mod tests {
    use muster_common::generation::Generation;

    use super::*;

    fn offer(content: &types::ExtensionContent) -> Offer {
        let payload = content.encode_to_vec();
        let sha256 = Sha256::of(&payload);
        let version = ItemVersion { generation: Generation::new(1, 1), version: "1".to_owned(), sha256 };
        Offer { item: "extension/log".to_owned(), version, payload, sealed: None, traceparent: String::new() }
    }

    fn content() -> types::ExtensionContent {
        let file = |arch: &str, byte: u8| types::PlatformArtifact {
            os: "linux".to_owned(),
            arch: arch.to_owned(),
            artifact: Some(types::Artifact {
                target: format!("extension/acme/log/1/linux-{arch}.tar.zst"),
                size_bytes: 9,
                sha256: vec![byte; 32].into(),
            }),
        };
        types::ExtensionContent {
            publisher: "acme".to_owned(),
            r#type: "log".to_owned(),
            package_version: "1".to_owned(),
            artifacts: vec![file("any", 1), file(std::env::consts::ARCH, 2)],
            ..types::ExtensionContent::default()
        }
    }

    fn decode(content: &types::ExtensionContent) -> Result<Version, ItemError> {
        Version::decode("log", &offer(content), &Contents::new())
    }

    #[test]
    fn a_host_takes_the_package_of_its_own_kind_before_the_one_for_any() {
        assert_eq!(decode(&content()).unwrap().artifact.sha256.as_bytes(), &[2; 32]);
        let mut any = content();
        any.artifacts.truncate(1);
        assert_eq!(decode(&any).unwrap().artifact.sha256.as_bytes(), &[1; 32]);
        any.artifacts.clear();
        assert_eq!(decode(&any).unwrap_err().cause, Cause::Host);
    }

    #[test]
    fn what_cannot_be_meant_is_the_contents_fault() {
        let with =
            |settings: &[u8]| types::ExtensionContent { settings: settings.to_vec().into(), ..content() };
        assert_eq!(decode(&with(b"{\"a\": 1}")).unwrap().settings, "{\"a\": 1}");
        for bad in [with(b"[]"), with(b"x"), with(&vec![b' '; MOST_SETTINGS + 1])] {
            assert_eq!(decode(&bad).unwrap_err().cause, Cause::Content);
        }
        let bad = types::ExtensionContent { publisher: "good".to_owned(), ..content() };
        assert!(decode(&bad).unwrap_err().message.contains("is no package of good/log 1"));
        let bad = types::ExtensionContent { package_version: "../1".to_owned(), ..content() };
        assert_eq!(decode(&bad).unwrap_err().reason, Reason::ExtensionContentInvalid);
        let bad = types::ExtensionContent { protected_id: SecretId::generate().to_string(), ..content() };
        assert!(decode(&bad).unwrap_err().message.contains("did not come"));
        let torn = Offer { payload: b"x".to_vec(), ..offer(&content()) };
        let torn = Version::decode("log", &torn, &Contents::new()).unwrap_err();
        assert_eq!((torn.reason, torn.cause), (Reason::PayloadCorrupt, Cause::Network));
    }
}
