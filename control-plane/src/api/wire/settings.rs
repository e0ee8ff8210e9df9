//! Settings.

use muster_common::settings::{Applies, Kind, Setting};
use muster_domain::settings::{EffectiveSetting, Origin, Profile};
use muster_proto::{admin::v1 as pb, types::v1 as types};
use tonic::Status;

use super::timestamp;
use crate::{api::status::invalid, app::settings::Wish};

pub(in crate::api) fn profile(profile: &Profile) -> pb::SettingsProfile {
    pb::SettingsProfile {
        name: profile.name.clone(),
        values: profile.values.clone().into_iter().collect(),
        update_time: Some(timestamp(profile.created_at)),
        updated_by: profile.created_by.clone(),
        etag: muster_domain::node::etag(profile.revision),
        version: profile.version,
    }
}

pub(in crate::api) fn wish_from(request: pb::PutSettingsProfileRequest) -> Result<Wish, Status> {
    let profile = request.profile.ok_or_else(|| invalid("profile", "it is missing"))?;
    Ok(Wish {
        name: profile.name,
        values: profile.values.into_iter().collect(),
        etag: profile.etag,
        validate_only: request.validate_only,
    })
}

/// An option in force; whose profile gave it is said by who knows that.
pub(in crate::api) fn effective(setting: &EffectiveSetting) -> types::EffectiveSetting {
    let origin = match setting.origin {
        None => types::SettingOrigin::Unspecified,
        Some(Origin::Default) => types::SettingOrigin::Default,
        Some(Origin::ControlPlane) => types::SettingOrigin::ControlPlane,
        Some(Origin::Configuration) => types::SettingOrigin::Configuration,
        Some(Origin::Lock) => types::SettingOrigin::Lock,
    };
    types::EffectiveSetting {
        key: setting.key.clone(),
        value: setting.value.clone(),
        origin: origin as i32,
        desired: setting.desired.clone().unwrap_or_default(),
        profile: String::new(),
        profile_version: 0,
    }
}

/// As a host says it; of each word, at most so many characters.
pub(in crate::api) fn effective_from(
    setting: types::EffectiveSetting,
    short: fn(String) -> String,
) -> EffectiveSetting {
    EffectiveSetting {
        origin: match setting.origin() {
            types::SettingOrigin::Unspecified => None,
            types::SettingOrigin::Default => Some(Origin::Default),
            types::SettingOrigin::ControlPlane => Some(Origin::ControlPlane),
            types::SettingOrigin::Configuration => Some(Origin::Configuration),
            types::SettingOrigin::Lock => Some(Origin::Lock),
        },
        key: short(setting.key),
        value: short(setting.value),
        desired: Some(short(setting.desired)).filter(|desired| !desired.is_empty()),
    }
}

pub(in crate::api) fn schema(setting: &Setting) -> pb::SettingSchema {
    let kind = match setting.kind {
        Kind::Duration => pb::SettingType::Duration,
        Kind::Integer => pb::SettingType::Integer,
        Kind::Boolean => pb::SettingType::Boolean,
        Kind::Text | Kind::ProxyUrl | Kind::BypassList | Kind::MirrorUrl => pb::SettingType::String,
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
        words: setting.words.iter().map(|&word| word.to_owned()).collect(),
        host_only: setting.host_only,
    }
}
