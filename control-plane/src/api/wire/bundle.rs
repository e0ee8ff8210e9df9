//! Bundles.

use std::sync::Arc;

use bytes::Bytes;
use muster_common::{
    digest::Sha256,
    ids::{InvalidId, SecretId},
};
use muster_domain::bundle::{
    self, BlobOf, Bundle, Content, File, FileBlob, Hook, Mode, OnRemove, check_content, check_whole,
};
use muster_proto::{admin::v1 as pb, types::v1 as types};
use prost::Message as _;
use tonic::Status;

use zeroize::Zeroizing;

use super::timestamp;
use crate::{
    api::status::{invalid, of_faults},
    app::secrets::{Draft, Protected, Value},
};

/// Without its content.
pub(in crate::api) fn bundle(bundle: &Bundle) -> pb::Bundle {
    pb::Bundle {
        name: bundle.name.clone(),
        version: bundle.version,
        content: None,
        sha256: Bytes::copy_from_slice(bundle.sha256.as_bytes()),
        create_time: Some(timestamp(bundle.created_at)),
        created_by: bundle.created_by.clone(),
        size_bytes: bundle.size_bytes,
    }
}

/// With its content.
pub(in crate::api) fn whole(row: &Bundle, payload: Bytes) -> pb::Bundle {
    pb::Bundle { content: types::BundleContent::decode(payload).ok(), ..bundle(row) }
}

/// A content that can be. What is stored, hashed and sent are its bytes without what is
/// protected.
pub(in crate::api) fn draft_from(content: Option<types::BundleContent>) -> Result<Draft, Status> {
    let mut content = content.ok_or_else(|| invalid("content", "it is missing"))?;
    let checked = check_content(&content_from(&content));
    let checked = checked.and_then(|()| check_whole(content.encoded_len()).map_err(|fault| vec![fault]));
    checked.map_err(|violations| of_faults(&violations))?;
    let mut protected = Vec::new();
    for (n, file) in content.files.iter_mut().enumerate().filter(|(_, file)| file.protected) {
        let field = format!("content.files[{n}]");
        protected.push(protected_from(file, field)?);
    }
    let open_bytes = content.files.iter().map(|file| file.content.len()).sum();
    let encode = Arc::new(move |ids: &[SecretId]| {
        let mut content = content.clone();
        let files = content.files.iter_mut().filter(|file| file.protected);
        files.zip(ids).for_each(|(file, id)| file.protected_id = id.to_string());
        Bytes::from(content.encode_to_vec())
    });
    Ok(Draft { protected, encode, open_bytes })
}

/// Takes the content of a protected file out of it.
fn protected_from(file: &mut types::BundleFile, field: String) -> Result<Protected, Status> {
    let content = Zeroizing::new(std::mem::take(&mut file.content).to_vec());
    let kept = std::mem::take(&mut file.protected_id);
    let value = match kept.as_str() {
        "" => Value::Given(content),
        id => Value::Kept(
            id.parse()
                .map_err(|error: InvalidId| invalid(format!("{field}.protected_id"), error.to_string()))?,
        ),
    };
    Ok(Protected { field, path: file.path.clone(), value })
}

/// What an agent must be capable of for these bytes. Of bytes that do not decode:
/// nothing, their host says so.
#[must_use]
pub fn needs(payload: &[u8]) -> &'static [&'static str] {
    types::BundleContent::decode(payload).map_or(&[], |content| bundle::needs(&content_from(&content)))
}

/// The paths that these bytes write. Of bytes that do not decode, or that are only held
/// against a host: none.
#[must_use]
pub fn paths(payload: &[u8]) -> Vec<String> {
    let Ok(content) = types::BundleContent::decode(payload) else { return Vec::new() };
    if mode_from(content.mode) == Some(Mode::Audit) {
        return Vec::new();
    }
    content.files.into_iter().map(|file| file.path).collect()
}

/// The blobs to which these bytes refer. Of bytes that do not decode: none.
#[must_use]
pub fn blobs(payload: &[u8]) -> Vec<BlobOf> {
    let Ok(content) = types::BundleContent::decode(payload) else { return Vec::new() };
    let blob = |(file, it): (usize, types::BundleFile)| {
        let blob = it.blob?;
        Some(BlobOf { file, sha256: Sha256::from_slice(&blob.sha256)?, size_bytes: blob.size_bytes })
    };
    content.files.into_iter().enumerate().filter_map(blob).collect()
}

fn content_from(content: &types::BundleContent) -> Content<'_> {
    Content {
        files: content.files.iter().map(file_from).collect(),
        validate: content.validate.as_ref().map(hook_from),
        on_change: content.on_change.as_ref().map(hook_from),
        probe: content.probe.as_ref().map(hook_from),
        on_remove: on_remove_from(content.on_remove),
        mode: mode_from(content.mode),
        confirm_after_s: content.confirm_after_s,
    }
}

fn on_remove_from(word: i32) -> Option<OnRemove> {
    Some(match types::BundleOnRemove::try_from(word).ok()? {
        types::BundleOnRemove::Unspecified | types::BundleOnRemove::Restore => OnRemove::Restore,
        types::BundleOnRemove::Remove => OnRemove::Remove,
        types::BundleOnRemove::Leave => OnRemove::Leave,
    })
}

fn mode_from(word: i32) -> Option<Mode> {
    Some(match types::BundleMode::try_from(word).ok()? {
        types::BundleMode::Unspecified => Mode::Unsaid,
        types::BundleMode::Audit => Mode::Audit,
        types::BundleMode::ApplyAndMonitor => Mode::Monitor,
        types::BundleMode::ApplyAndCorrect => Mode::Correct,
    })
}

fn file_from(file: &types::BundleFile) -> File<'_> {
    File {
        path: &file.path,
        size: file.content.len(),
        mode: file.mode,
        owner: &file.owner,
        group: &file.group,
        absent: file.absent,
        directory: file.directory,
        blob: file.blob.as_ref().map(|blob| FileBlob { sha256: &blob.sha256, size_bytes: blob.size_bytes }),
        protected: file.protected,
        protected_id: &file.protected_id,
    }
}

fn hook_from(hook: &types::Hook) -> Hook<'_> {
    Hook {
        argv: &hook.argv,
        timeout_s: hook.timeout_s,
        working_directory: &hook.working_directory,
        environment: &hook.environment,
    }
}
