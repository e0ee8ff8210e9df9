//! Groups.

use muster_proto::admin::v1 as pb;
use tonic::Status;

use super::{preview as changes, timestamp};
use crate::{
    api::status::invalid,
    app::groups::{GroupPreview, View, Wish},
};

pub(in crate::api) fn group(view: &View) -> pb::Group {
    let group = &view.group;
    pb::Group {
        name: group.name.clone(),
        selector: group.selector.clone(),
        description: group.description.clone(),
        create_time: Some(timestamp(group.created_at)),
        update_time: Some(timestamp(group.updated_at)),
        updated_by: group.updated_by.clone(),
        etag: muster_domain::node::etag(group.revision),
        matched_nodes: i64::try_from(view.matched).unwrap_or(i64::MAX),
        used_by: view.used_by.clone(),
    }
}

pub(in crate::api) fn preview(preview: &GroupPreview) -> pb::GroupPreview {
    pb::GroupPreview {
        entering: Some(changes::nodes(&preview.entering)),
        leaving: Some(changes::nodes(&preview.leaving)),
        assignments: preview.assignments.clone(),
        preview: Some(changes::preview(&preview.preview)),
    }
}

pub(in crate::api) fn wish_from(group: Option<pb::Group>) -> Result<Wish, Status> {
    let group = group.ok_or_else(|| invalid("group", "it is missing"))?;
    Ok(Wish { name: group.name, selector: group.selector, description: group.description, etag: group.etag })
}
