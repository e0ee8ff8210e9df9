//! Settings.

use muster_common::settings::{Applies, Kind, Setting};
use muster_domain::settings::Profile;
use muster_proto::admin::v1 as pb;

use super::timestamp;

pub(in crate::api) fn profile(profile: &Profile) -> pb::SettingsProfile {
    pb::SettingsProfile {
        name: profile.name.clone(),
        values: profile.values.clone().into_iter().collect(),
        update_time: Some(timestamp(profile.updated_at)),
        updated_by: profile.updated_by.clone(),
        etag: muster_domain::node::etag(profile.revision),
    }
}

pub(in crate::api) fn schema(setting: &Setting) -> pb::SettingSchema {
    let kind = match setting.kind {
        Kind::Duration => pb::SettingType::Duration,
        Kind::Integer => pb::SettingType::Integer,
        Kind::Boolean => pb::SettingType::Boolean,
        Kind::Text => pb::SettingType::String,
    };
    let applies = match setting.applies {
        Applies::Live => pb::SettingApplies::Live,
        Applies::Reconnect => pb::SettingApplies::Reconnect,
    };
    pb::SettingSchema {
        key: setting.key.to_owned(),
        r#type: kind as i32,
        unit: setting.unit.to_owned(),
        minimum: setting.minimum.to_owned(),
        maximum: setting.maximum.to_owned(),
        default_value: setting.default.to_owned(),
        applies: applies as i32,
        description: setting.description.to_owned(),
        since: setting.since.to_owned(),
    }
}
