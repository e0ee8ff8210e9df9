//! The signed repository.

use bytes::Bytes;
use muster_common::{clock::UnixMillis, digest::Sha256};
use muster_domain::artifact::{Repository, Target};
use muster_proto::{admin::v1 as pb, types::v1 as types};
use prost::Message as _;
use tonic::Status;

use super::timestamp;
use crate::{api::status::invalid, app::artifacts::Files};

/// Longest path of a metadata file.
const PATH: usize = 128;

pub(in crate::api) fn repository(repository: &Repository, now: UnixMillis) -> pb::Repository {
    let role = |(name, role): (&str, muster_domain::artifact::Role)| pb::RepositoryRole {
        name: name.to_owned(),
        version: role.version,
        expire_time: Some(timestamp(role.expires_at)),
        due: role.is_due(now),
    };
    pb::Repository {
        roles: repository.roles().into_iter().map(role).collect(),
        publish_time: Some(timestamp(repository.published_at)),
        published_by: repository.published_by.clone(),
    }
}

pub(in crate::api) fn target(target: &Target) -> pb::ArtifactTarget {
    pb::ArtifactTarget {
        name: target.name.clone(),
        sha256: Bytes::copy_from_slice(target.sha256.as_bytes()),
        size_bytes: target.size_bytes,
        kind: target.kind.to_string(),
        publisher: target.publisher.clone(),
        r#type: target.of_type.clone(),
        version: target.version.clone(),
        os: target.os.clone(),
        arch: target.arch.clone(),
        publish_time: Some(timestamp(target.since)),
    }
}

pub(in crate::api) fn files_from(metadata: Vec<pb::MetadataFile>) -> Result<Files, Status> {
    let mut files = Files::new();
    for (n, file) in metadata.into_iter().enumerate() {
        let field = format!("metadata[{n}].path");
        let is_path = file.path.len() <= PATH && file.path.starts_with("metadata/");
        if !is_path || !file.path.ends_with(".json") {
            return Err(invalid(field, "it is a path such as \"metadata/3.snapshot.json\""));
        }
        if files.insert(file.path, file.content.to_vec()).is_some() {
            return Err(invalid(field, "it came before"));
        }
    }
    Ok(files)
}

/// Files of a version, as hosts get them.
pub(super) fn platform(target: &Target) -> types::PlatformArtifact {
    types::PlatformArtifact {
        os: target.os.clone(),
        arch: target.arch.clone(),
        artifact: Some(types::Artifact {
            target: target.name.clone(),
            size_bytes: target.size_bytes,
            sha256: Bytes::copy_from_slice(target.sha256.as_bytes()),
        }),
    }
}

/// The bytes of a release that consists of these files.
#[must_use]
pub fn release(version: &str, files: &[Target]) -> Vec<u8> {
    let (version, artifacts) = (version.to_owned(), files.iter().map(platform).collect());
    types::ReleaseContent { version, artifacts, package_version: String::new() }.encode_to_vec()
}

/// Names and digests of the files in the bytes of a release.
#[must_use]
pub fn files_of_release(payload: &[u8]) -> Vec<(String, Sha256)> {
    let content = types::ReleaseContent::decode(payload).unwrap_or_default(); // ours: it can be read
    let artifacts = content.artifacts.into_iter().filter_map(|it| it.artifact);
    artifacts.filter_map(|it| Some((it.target, Sha256::from_slice(&it.sha256)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_comes_once_and_from_its_folder() {
        let file = |path: &str| pb::MetadataFile { path: path.to_owned(), content: "{}".into() };
        assert_eq!(files_from(vec![file("metadata/timestamp.json")]).unwrap().len(), 1);
        for wrong in
            ["timestamp.json", "metadata/x", "targets/1.json", &format!("metadata/{}.json", "x".repeat(200))]
        {
            assert!(files_from(vec![file(wrong)]).is_err(), "{wrong}");
        }
        let twice = vec![file("metadata/timestamp.json"), file("metadata/timestamp.json")];
        assert!(files_from(twice).is_err());
    }
}
