//! Releases and channels.

use muster_domain::release::{Channel, Release};
use muster_proto::admin::v1 as pb;
use tonic::Status;

use super::timestamp;
use crate::{api::status::invalid, app::releases::Wish};

pub(in crate::api) fn release((release, channels): &(Release, Vec<String>)) -> pb::Release {
    pb::Release {
        version: release.version.clone(),
        publish_time: Some(timestamp(release.published_at)),
        withdraw_time: release.withdrawn_at.map(timestamp),
        channels: channels.clone(),
    }
}

pub(in crate::api) fn channel(channel: &Channel) -> pb::Channel {
    pb::Channel {
        name: channel.name.clone(),
        version: channel.version.clone(),
        update_time: Some(timestamp(channel.updated_at)),
        updated_by: channel.updated_by.clone(),
        etag: muster_domain::node::etag(channel.revision),
    }
}

pub(in crate::api) fn wish_from(channel: Option<pb::Channel>) -> Result<Wish, Status> {
    let channel = channel.ok_or_else(|| invalid("channel", "it is missing"))?;
    Ok(Wish { name: channel.name, version: channel.version, etag: channel.etag })
}
