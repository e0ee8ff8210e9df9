//! Assignments.

use muster_domain::assignment::{Assignment, Target};
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
        None => return Err(invalid("assignment.target", "name a bundle or a settings profile")),
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
