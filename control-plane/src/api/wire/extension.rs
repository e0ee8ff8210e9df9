//! Extensions and their packages.

use std::sync::Arc;

use bytes::Bytes;
use muster_common::ids::InvalidId;
use muster_domain::{
    extension::{Extension, Limits, check_limits, check_settings},
    release::is_version,
    violation::Violation,
};
use muster_proto::{admin::v1 as pb, types::v1 as types};
use prost::Message as _;
use tonic::Status;
use zeroize::Zeroizing;

use super::{artifact, timestamp};
use crate::{
    api::status::{invalid, of_faults},
    app::{
        artifacts::Package,
        extensions::{Chosen, Draft},
        secrets::Value,
    },
};

/// Longest publisher and type.
const NAME: usize = 63;

/// Without its content.
pub(in crate::api) fn extension(row: &Extension) -> pb::Extension {
    pb::Extension {
        name: row.name.clone(),
        version: row.version,
        content: None,
        sha256: Bytes::copy_from_slice(row.sha256.as_bytes()),
        create_time: Some(timestamp(row.created_at)),
        created_by: row.created_by.clone(),
        publisher: row.publisher.clone(),
        r#type: row.of_type.clone(),
        package_version: row.package_version.clone(),
    }
}

/// With its content.
pub(in crate::api) fn whole(row: &Extension, payload: Bytes) -> pb::Extension {
    pb::Extension { content: types::ExtensionContent::decode(payload).ok(), ..extension(row) }
}

pub(in crate::api) fn package(package: &Package) -> pb::Package {
    let versions = package
        .versions
        .iter()
        .map(|it| pb::PackageVersion { version: it.version.clone(), platforms: it.platforms.clone() });
    pb::Package {
        publisher: package.publisher.clone(),
        r#type: package.of_type.clone(),
        versions: versions.collect(),
    }
}

/// An extension that can be, as far as the request says it. Protected settings are in nothing
/// that is shown.
pub(in crate::api) fn draft_from(request: pb::CreateExtensionRequest) -> Result<Draft, Status> {
    let protected_settings = Zeroizing::new(request.protected_settings.to_vec());
    let mut content = request.content.ok_or_else(|| invalid("content", "it is missing"))?;
    let mut faults = check_limits(limits(&content));
    faults.extend(check_settings("content.settings", &content.settings));
    faults.extend(check_settings("protected_settings", &protected_settings));
    faults.extend(names(&content));
    if !content.artifacts.is_empty() {
        faults.push(Violation::invalid("content.artifacts", "the repository says them; leave it empty"));
    }
    if !faults.is_empty() {
        return Err(of_faults(&faults));
    }
    let protected = match (protected_settings.is_empty(), content.protected_id.as_str()) {
        (true, "") => None,
        (false, _) => Some(Value::Given(protected_settings)),
        (true, id) => {
            let id = id.parse();
            let id = id.map_err(|error: InvalidId| invalid("content.protected_id", error.to_string()))?;
            Some(Value::Kept(id))
        }
    };
    content.limits = content.limits.filter(|limits| *limits != types::ExtensionLimits::default());
    Ok(Draft {
        name: request.name,
        publisher: content.publisher.clone(),
        of_type: content.r#type.clone(),
        package_version: content.package_version.clone(),
        protected: protected.map(Arc::new),
        encode: Arc::new(move |chosen| encode(content.clone(), chosen)),
    })
}

fn encode(content: types::ExtensionContent, chosen: &Chosen<'_>) -> Bytes {
    let whole = types::ExtensionContent {
        package_version: chosen.package_version.to_owned(),
        artifacts: chosen.files.iter().map(artifact::platform).collect(),
        protected_id: chosen.protected.map(|id| id.to_string()).unwrap_or_default(),
        ..content
    };
    Bytes::from(whole.encode_to_vec())
}

fn limits(content: &types::ExtensionContent) -> Limits {
    let limits = content.limits.unwrap_or_default();
    Limits { memory_bytes: limits.memory_bytes, cpu_percent: limits.cpu_percent, tasks: limits.tasks }
}

fn names(content: &types::ExtensionContent) -> Vec<Violation> {
    let mut faults = Vec::new();
    for (field, name) in [("content.publisher", &content.publisher), ("content.type", &content.r#type)] {
        if name.is_empty() || name.len() > NAME {
            faults.push(Violation::invalid(field, format!("it has 1 to {NAME} characters")));
        }
    }
    let version = &content.package_version;
    if !version.is_empty() && !is_version(version) {
        let text = format!("{version:?} is not a semantic version, such as 1.6.0");
        faults.push(Violation::invalid("content.package_version", text));
    }
    faults
}
