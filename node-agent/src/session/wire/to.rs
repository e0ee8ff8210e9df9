//! To the control plane.

use muster_common::{build_info, digest::Sha256};
use muster_proto::{
    agent::v1::{self as pb, session_request::Kind},
    types::v1 as types,
};
use prost::Message as _;

use crate::{
    session::frames::{CommandReport, Goodbye, Heartbeat, Hello, OpenCommand, Outbound},
    state::{
        Cause, Chunk, CommandState, Condition, Drift, EffectiveSetting, Facts, Health, ItemError, ItemState,
        ItemVersion, Origin, Outcome, Progress,
    },
};

mod traces;

/// A message.
#[must_use]
pub fn outbound(frame: Outbound) -> pb::SessionRequest {
    let kind = match frame {
        Outbound::Hello(message) => Kind::Hello(hello(*message)),
        Outbound::Heartbeat(beat) => Kind::Heartbeat(heartbeat(beat)),
        Outbound::Facts(report) => Kind::Facts(pb::FactsReport {
            facts: Some(facts(report.facts)),
            sha256: bytes(report.sha256),
            trace_id: String::new(),
        }),
        Outbound::Items(report) => Kind::Items(pb::ItemReport {
            nonce: report.nonce,
            seq: report.seq,
            items: report.items.into_iter().map(item_state).collect(),
            complete: report.complete,
            trace_id: String::new(),
            traces: report.stories.into_iter().map(traces::story).collect(),
        }),
        Outbound::Command(report) => Kind::Command(command(report)),
        Outbound::TrustBundle(version) => Kind::TrustBundle(pb::TrustBundleReport { version }),
        Outbound::Goodbye(reason) => {
            Kind::Goodbye(pb::Goodbye { reason: goodbye(reason).into(), message: String::new() })
        }
    };
    pb::SessionRequest { kind: Some(kind) }
}

/// The digest of facts: of their encoding, as the contract has it.
#[must_use]
pub fn facts_sha256(of: &Facts) -> Sha256 {
    Sha256::of(&facts(of.clone()).encode_to_vec())
}

fn bytes(digest: Sha256) -> bytes::Bytes {
    bytes::Bytes::copy_from_slice(digest.as_bytes())
}

fn hello(message: Hello) -> pb::Hello {
    let host = message.host;
    pb::Hello {
        instance_id: message.instance.to_string(),
        ledger_id: host.ledger.0.to_string(),
        ledger_seq: host.ledger.1,
        boot_id: host.boot_id,
        machine_fingerprint: bytes(host.machine_fingerprint),
        agent_version: build_info::version().to_owned(),
        protocol_min: build_info::PROTOCOL_MIN,
        protocol_max: build_info::PROTOCOL_MAX,
        capabilities: host.capabilities,
        epoch: host.epoch,
        newest_epoch: host.newest.epoch,
        newest_generation: host.newest.number,
        wall_time_ms: message.wall_time.0,
        certificate_generation: host.certificate_generation,
        trust_bundle_version: host.trust_bundle_version,
        sealing_public_key: host.sealing_public_key.into(),
        facts_sha256: bytes(host.facts_sha256),
        items: host.items.into_iter().map(item_state).collect(),
        open_commands: host.commands.into_iter().map(open_command).collect(),
    }
}

fn open_command(open: OpenCommand) -> pb::OpenCommand {
    pb::OpenCommand {
        id: open.id.to_string(),
        state: command_state(open.state).into(),
        acked_seq: open.acked,
    }
}

fn heartbeat(beat: Heartbeat) -> pb::Heartbeat {
    pb::Heartbeat {
        seq: beat.seq,
        state_hash: bytes(beat.state_hash),
        load: Some(pb::Load {
            cpu_permille: beat.load.cpu,
            memory_permille: beat.load.memory,
            disk_permille: beat.load.disk,
        }),
        conditions: beat.conditions.into_iter().map(condition).collect(),
        server_epoch: beat.epoch,
    }
}

/// Whether a condition holds.
#[must_use]
pub const fn condition_status(holds: Option<bool>) -> types::ConditionStatus {
    match holds {
        Some(true) => types::ConditionStatus::True,
        Some(false) => types::ConditionStatus::False,
        None => types::ConditionStatus::Unknown,
    }
}

fn condition(condition: Condition) -> types::Condition {
    types::Condition {
        r#type: condition.kind.to_owned(),
        status: condition_status(condition.holds).into(),
        reason: condition.reason.to_owned(),
        message: condition.message,
        since_ms: condition.since.0,
    }
}

/// What a host says about itself.
#[must_use]
pub fn facts(facts: Facts) -> types::Facts {
    types::Facts {
        hostname: facts.hostname,
        os: facts.os,
        os_version: facts.os_version,
        kernel: facts.kernel,
        architecture: facts.architecture,
        cpu_model: facts.cpu_model,
        cpu_count: facts.cpu_count,
        memory_bytes: facts.memory_bytes,
        disks: facts
            .disks
            .into_iter()
            .map(|disk| types::Disk {
                mount_point: disk.mount_point,
                file_system: disk.file_system,
                size_bytes: disk.size_bytes,
            })
            .collect(),
        addresses: facts
            .addresses
            .into_iter()
            .map(|one| types::NetworkAddress { interface: one.interface, address: one.address })
            .collect(),
        machine_id: facts.machine_id,
        boot_id: facts.boot_id,
        agent_version: facts.agent_version,
        timezone: facts.timezone,
        settings: facts.settings.into_iter().map(setting).collect(),
    }
}

/// An option in force.
#[must_use]
pub fn setting(setting: EffectiveSetting) -> types::EffectiveSetting {
    let origin = match setting.origin {
        Origin::Default => types::SettingOrigin::Default,
        Origin::ControlPlane => types::SettingOrigin::ControlPlane,
        Origin::Configuration => types::SettingOrigin::Configuration,
        Origin::Lock => types::SettingOrigin::Lock,
    };
    types::EffectiveSetting {
        key: setting.key,
        value: setting.value,
        origin: origin.into(),
        desired: setting.desired.unwrap_or_default(),
        ..types::EffectiveSetting::default()
    }
}

/// Where an item stands.
#[must_use]
pub fn item_state(state: ItemState) -> types::ItemState {
    types::ItemState {
        item: state.item,
        running: state.running.map(item_version),
        attempted: state.attempted.map(item_version),
        outcome: outcome(state.outcome).into(),
        error: state.error.map(item_error),
        changed_at_ms: state.changed_at.0,
        drift: state.drift.into_iter().map(item_drift).collect(),
        progress: state.progress.map(item_progress),
        health: state.health.map(item_health),
    }
}

fn item_progress(progress: Progress) -> types::ItemProgress {
    types::ItemProgress {
        step: progress.step,
        percent: progress.percent.into(),
        since_ms: progress.since.0,
        message: progress.message,
    }
}

fn item_health(health: Health) -> types::ItemHealth {
    types::ItemHealth { healthy: health.healthy, message: health.message, since_ms: health.since.0 }
}

fn item_drift(drift: Drift) -> types::ItemDrift {
    let digest = |digest: Option<Sha256>| digest.map(bytes).unwrap_or_default();
    types::ItemDrift {
        path: drift.path,
        what: drift.what,
        before_sha256: digest(drift.before),
        after_sha256: digest(drift.after),
        diff: drift.diff,
        noticed_at_ms: drift.noticed_at.0,
        corrected: drift.corrected,
        error: drift.error,
    }
}

fn item_version(version: ItemVersion) -> types::ItemVersion {
    types::ItemVersion {
        epoch: version.generation.epoch,
        generation: version.generation.number,
        version: version.version,
        sha256: bytes(version.sha256),
    }
}

fn item_error(error: ItemError) -> types::ItemError {
    let cause = match error.cause {
        Cause::Content => types::FailureCause::Content,
        Cause::Host => types::FailureCause::Host,
        Cause::Network => types::FailureCause::Network,
        Cause::ControlPlane => types::FailureCause::ControlPlane,
    };
    types::ItemError {
        reason: reason(Some(error.reason)),
        cause: cause.into(),
        message: error.message,
        output: error.output.into(),
    }
}

/// What became of an attempt.
#[must_use]
pub const fn outcome(outcome: Outcome) -> types::ItemOutcome {
    match outcome {
        Outcome::Applied => types::ItemOutcome::Applied,
        Outcome::Unchanged => types::ItemOutcome::Unchanged,
        Outcome::RolledBack => types::ItemOutcome::RolledBack,
        Outcome::Rejected => types::ItemOutcome::Rejected,
        Outcome::UnderWay => types::ItemOutcome::Unspecified,
        Outcome::Broken => types::ItemOutcome::Broken,
        Outcome::Removed => types::ItemOutcome::Removed,
    }
}

fn command(frame: CommandReport) -> pb::CommandReport {
    let report = frame.report;
    pb::CommandReport {
        command_id: frame.command.to_string(),
        seq: report.seq,
        state: command_state(report.state).into(),
        output: report.output.map(chunk),
        exit_code: report.exit_code.unwrap_or_default(),
        reason: reason(report.reason),
        message: report.message,
        trace_id: report.trace,
        at_ms: report.at.0,
        ledger_seq: report.ledger_seq,
        signal: report.signal.unwrap_or_default(),
        result: result(&report.result),
        spans: report.spans.into_iter().map(traces::span).collect(),
    }
}

fn result(bytes: &[u8]) -> Option<types::CommandResult> {
    types::CommandResult::decode(bytes).ok().filter(|result| result.kind.is_some())
}

fn chunk(chunk: Chunk) -> pb::OutputChunk {
    let stream = if chunk.stderr { pb::Stream::Stderr } else { pb::Stream::Stdout };
    pb::OutputChunk { stream: stream.into(), data: chunk.data.into(), dropped_bytes: chunk.dropped }
}

/// A stable reason; 0: none.
#[must_use]
pub fn reason(reason: Option<muster_common::reason::Reason>) -> i32 {
    let name = reason.map(|reason| format!("ERROR_REASON_{reason}"));
    name.and_then(|name| types::ErrorReason::from_str_name(&name)).unwrap_or_default().into()
}

const fn command_state(state: CommandState) -> types::CommandState {
    match state {
        CommandState::Delivered => types::CommandState::Delivered,
        CommandState::Running => types::CommandState::Running,
        CommandState::Succeeded => types::CommandState::Succeeded,
        CommandState::Failed => types::CommandState::Failed,
        CommandState::TimedOut => types::CommandState::TimedOut,
        CommandState::Cancelled => types::CommandState::Cancelled,
        CommandState::Interrupted => types::CommandState::Interrupted,
        CommandState::Expired => types::CommandState::Expired,
        CommandState::Denied => types::CommandState::Denied,
    }
}

const fn goodbye(goodbye: Goodbye) -> pb::GoodbyeReason {
    match goodbye {
        Goodbye::Shutdown => pb::GoodbyeReason::Shutdown,
        Goodbye::Reboot => pb::GoodbyeReason::Reboot,
        Goodbye::Restart => pb::GoodbyeReason::Restart,
        Goodbye::Disconnect => pb::GoodbyeReason::Disconnect,
        Goodbye::Reconnect => pb::GoodbyeReason::Reconnect,
    }
}
