//! Nodes as operators see them.

use bytes::Bytes;
use muster_domain::{
    condition::Condition,
    facts::Facts,
    liveness::State,
    settings::{EffectiveSetting, Origin},
    sighting::{Quarantine, Sighting},
};
use muster_proto::{admin::v1 as pb, types::v1 as types};

use super::{item, reason, settings, timestamp};
use crate::app::{ItemView, nodes::View};

pub(in crate::api) fn node(view: &View) -> pb::Node {
    let node = &view.node;
    let current = &node.certificate.current;
    pb::Node {
        id: node.id.to_string(),
        display_name: node.display_name.clone(),
        labels: node.labels.clone().into_iter().collect(),
        // Nothing was heard yet: not a host without a name.
        facts: (!node.facts_sha256.is_empty()).then(|| types::Facts {
            settings: node.facts.settings().iter().map(|it| setting(it, view)).collect(),
            ..facts(&node.facts.all())
        }),
        connection: Some(connection(view)),
        items: items(view),
        conditions: view.conditions.iter().map(condition).collect(),
        agent_version: node.facts.agent_version().to_owned(),
        certificate: Some(pb::NodeCertificate {
            serial: current.serial.to_string(),
            generation: current.generation,
            not_after: Some(timestamp(current.not_after)),
            not_before: Some(timestamp(current.not_before)),
            issuer: current.issuer,
            renew_after: Some(timestamp(current.renew_after())),
            trust_bundle_version: node.trust_bundle_version,
            recoveries: node.recoveries,
        }),
        create_time: Some(timestamp(node.created_at)),
        enrolled_with: node.enrolled_with.to_string(),
        etag: muster_domain::node::etag(node.revision),
        quarantine: node.quarantine.as_deref().map(quarantine),
        upgrade_available: view.upgrade_available.clone().unwrap_or_default(),
        released_as: node.kept.as_ref().map(|kept| pb::ReleasedAs {
            instance_id: kept.instance.to_string(),
            refused: view.turned_away.iter().map(sighting).collect(),
        }),
    }
}

fn sighting(seen: &Sighting) -> pb::Sighting {
    pb::Sighting {
        instance_id: seen.instance.to_string(),
        boot_id: seen.boot_id.clone(),
        machine_fingerprint: Bytes::copy_from_slice(&seen.machine_fingerprint),
        remote_address: seen.remote.to_string(),
        time: Some(timestamp(seen.at)),
        certificate_serial: seen.serial.clone(),
    }
}

fn quarantine(quarantine: &Quarantine) -> pb::Quarantine {
    pb::Quarantine {
        reason: quarantine.reason.as_str().to_owned(),
        message: quarantine.reason.describe().to_owned(),
        since: Some(timestamp(quarantine.since)),
        seen: quarantine.seen.iter().map(sighting).collect(),
    }
}

fn connection(view: &View) -> pb::Connection {
    let liveness = &view.node.liveness;
    pb::Connection {
        liveness: state(liveness.state) as i32,
        since: Some(timestamp(liveness.since)),
        reason: liveness.reason.to_string(),
        last_heard: view.last_heard.map(timestamp),
        session_id: view.live.as_ref().map(|live| live.session.to_string()).unwrap_or_default(),
        remote_address: view.live.as_ref().map(|live| live.remote.to_string()).unwrap_or_default(),
        key_exchange: view.live.as_ref().map(|live| live.key_exchange.to_string()).unwrap_or_default(),
        replica: view.replica.clone().unwrap_or_default(),
    }
}

pub(super) fn state(state: State) -> pb::Liveness {
    match state {
        State::NeverSeen => pb::Liveness::NeverSeen,
        State::Online => pb::Liveness::Online,
        State::Late => pb::Liveness::Late,
        State::Offline => pb::Liveness::Offline,
        State::Unknown => pb::Liveness::Unknown,
        State::Expired => pb::Liveness::Expired,
        State::Quarantined => pb::Liveness::Quarantined,
    }
}

fn items(view: &View) -> Vec<pb::NodeItem> {
    let one = |it: &ItemView<'_>| pb::NodeItem {
        item: it.name.to_string(),
        desired: it.desired.map(item::version),
        reported: it.reported.map(item::state),
        withheld: it.withheld.map_or(0, |why| reason(Some(why))),
        in_sync: it.in_sync,
    };
    view.items().iter().map(one).collect()
}

fn facts(facts: &Facts) -> types::Facts {
    types::Facts {
        hostname: facts.hostname.clone(),
        os: facts.os.clone(),
        os_version: facts.os_version.clone(),
        kernel: facts.kernel.clone(),
        architecture: facts.architecture.clone(),
        cpu_model: facts.cpu_model.clone(),
        cpu_count: facts.cpu_count,
        memory_bytes: facts.memory_bytes,
        disks: facts
            .disks
            .iter()
            .map(|disk| types::Disk {
                mount_point: disk.mount_point.clone(),
                file_system: disk.file_system.clone(),
                size_bytes: disk.size_bytes,
            })
            .collect(),
        addresses: facts
            .addresses
            .iter()
            .map(|it| types::NetworkAddress { interface: it.interface.clone(), address: it.address.clone() })
            .collect(),
        machine_id: facts.machine_id.clone(),
        boot_id: facts.boot_id.clone(),
        agent_version: facts.agent_version.clone(),
        timezone: facts.timezone.clone(),
        settings: Vec::new(),
    }
}

/// With the profile that gave it, if one did.
fn setting(found: &EffectiveSetting, view: &View) -> types::EffectiveSetting {
    let by = view.settings_by.get(&found.key).filter(|_| found.origin == Some(Origin::ControlPlane));
    let (profile, profile_version) = by.cloned().unwrap_or_default();
    types::EffectiveSetting { profile, profile_version, ..settings::effective(found) }
}

fn condition(condition: &Condition) -> types::Condition {
    let status = match condition.holds {
        Some(true) => types::ConditionStatus::True,
        Some(false) => types::ConditionStatus::False,
        None => types::ConditionStatus::Unknown,
    };
    types::Condition {
        r#type: condition.kind.clone(),
        status: status as i32,
        reason: condition.reason.clone(),
        message: condition.message.clone(),
        since_ms: condition.since.0,
    }
}
