//! Assignments.

use muster_domain::{
    assignment::{Assignment, Target},
    release::is_version,
};
use muster_proto::admin::v1::{self as pb, assignment};
use tonic::Status;

use super::timestamp;
use crate::{api::status::invalid, app::assignments::Wish};

pub(in crate::api) fn assignment(row: &Assignment, matched: usize) -> pb::Assignment {
    pb::Assignment {
        name: row.name.clone(),
        selector: row.selector.clone(),
        target: Some(match &row.target {
            Target::Bundle { name, version } => {
                assignment::Target::Bundle(pb::BundleTarget { name: name.clone(), version: *version })
            }
            Target::Settings { profile, version } => assignment::Target::Settings(pb::SettingsTarget {
                profile: profile.clone(),
                version: *version,
            }),
            Target::Extension { name, version } => {
                assignment::Target::Extension(pb::ExtensionTarget { name: name.clone(), version: *version })
            }
            Target::Release { version } => assignment::Target::Release(release(version)),
        }),
        priority: row.priority,
        create_time: Some(timestamp(row.created_at)),
        update_time: Some(timestamp(row.updated_at)),
        updated_by: row.updated_by.clone(),
        etag: muster_domain::node::etag(row.revision),
        matched_nodes: i64::try_from(matched).unwrap_or(i64::MAX),
        scope: row.scope.clone(),
        held: row.staged.held,
        rollout_id: row.staged.rollout.map(|id| id.to_string()).unwrap_or_default(),
        is_split: !row.staged.aborted.is_empty(),
        exclusions: row.exclusions.clone(),
    }
}

pub(in crate::api) fn wish_from(wish: Option<pb::Assignment>) -> Result<Wish, Status> {
    let wish = wish.ok_or_else(|| invalid("assignment", "it is missing"))?;
    let target = match wish.target {
        Some(assignment::Target::Bundle(target)) => {
            Target::Bundle { name: target.name, version: target.version }
        }
        Some(assignment::Target::Settings(target)) => {
            Target::Settings { profile: target.profile, version: target.version }
        }
        Some(assignment::Target::Extension(target)) => {
            Target::Extension { name: target.name, version: target.version }
        }
        Some(assignment::Target::Release(target)) => release_from("assignment.release", target)?,
        None => {
            return Err(invalid(
                "assignment.target",
                "name a bundle, a settings profile, an extension or a release",
            ));
        }
    };
    Ok(Wish {
        name: wish.name,
        selector: wish.selector,
        exclusions: wish.exclusions,
        target,
        priority: wish.priority,
        held: wish.held,
        etag: wish.etag,
    })
}

/// What is stored is always a version.
pub(super) fn release(version: &str) -> pb::ReleaseTarget {
    pb::ReleaseTarget { version: version.to_owned(), channel: String::new() }
}

/// A release by its version, or by the channel that recommends it.
pub(super) fn release_from(field: &str, target: pb::ReleaseTarget) -> Result<Target, Status> {
    match (target.version.is_empty(), target.channel.is_empty()) {
        (false, true) if !is_version(&target.version) => {
            let message = format!("{:?} is not a semantic version, such as 0.2.0", target.version);
            Err(invalid(format!("{field}.version"), message))
        }
        (false, true) => Ok(Target::Release { version: target.version }),
        (true, false) => Ok(Target::Release { version: format!("@{}", target.channel) }),
        _ => Err(invalid(field, "name either a version or a channel")),
    }
}
