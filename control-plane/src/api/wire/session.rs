//! The messages of a session.

mod spans;
#[cfg(test)]
mod tests;

use bytes::Bytes;
use muster_common::{
    clock::UnixMillis,
    digest::Sha256,
    generation::Generation,
    ids::{CommandId, LedgerId},
    reason::Reason,
};
use muster_domain::{
    command,
    condition::Condition,
    facts,
    item::{ItemState, MAX_ITEMS},
    liveness,
    node::LedgerMark,
};
use muster_proto::{
    agent::v1::{self as pb, session_request::Kind as In, session_response::Kind as Out},
    types::v1 as types,
};

use prost::Message as _;

use super::{item, reason_from, settings};
use crate::{
    api::AGENT_MESSAGE,
    session::{
        frames::{
            Chunk, CommandReport, Desired, FactsReport, Goodbye, Heartbeat, Hello, Inbound, ItemReport, Load,
            Need, OpenCommand, Outbound, Refusal, Ticket, Tune, Welcome,
        },
        reactor::Frame,
    },
};

/// Most bytes that a host can say it has cut at one place: beyond any script,
/// and so far from the end of the numbers that no sum of them gets there.
const DROPPED: u64 = 1 << 40;
/// Entries of one message that are looked at.
const ENTRIES: usize = 4096;
/// Longest word from a host that is kept, in bytes.
const WORD: usize = 256;

/// From a node.
///
/// # Errors
/// If it is none.
pub fn inbound(message: pb::SessionRequest) -> Result<Inbound, Refusal> {
    Ok(match message.kind {
        None => Inbound::Unknown,
        Some(In::Hello(hello)) => Inbound::Hello(Box::new(hello_from(hello)?)),
        Some(In::Heartbeat(beat)) => Inbound::Heartbeat(Heartbeat {
            seq: beat.seq,
            state_hash: Sha256::from_slice(&beat.state_hash),
            load: beat.load.map(load_from).unwrap_or_default(),
            conditions: beat.conditions.into_iter().take(ENTRIES).map(condition_from).collect(),
        }),
        Some(In::Facts(report)) => Inbound::Facts(Box::new(FactsReport {
            facts: report.facts.map(facts_from).unwrap_or_default(),
            sha256: report.sha256.iter().copied().take(32).collect(),
        })),
        Some(In::Items(report)) => Inbound::Items(ItemReport {
            seq: report.seq,
            items: items_from(report.items)?,
            complete: report.complete,
            traces: spans::of_items(report.traces),
        }),
        Some(In::Command(report)) => command_from(report)?,
        Some(In::TrustBundle(report)) => Inbound::TrustBundle(report.version),
        Some(In::Goodbye(goodbye)) => {
            Inbound::Goodbye(Goodbye { how: goodbye_from(goodbye.reason()), message: short(goodbye.message) })
        }
    })
}

fn invalid(what: &str) -> Refusal {
    Refusal::new(Reason::MessageInvalid, format!("{what} is missing or malformed"))
}

fn hello_from(hello: pb::Hello) -> Result<Hello, Refusal> {
    let open = |open: pb::OpenCommand| {
        Some(OpenCommand { state: command_state_from(open.state()), id: open.id.parse().ok()? })
    };
    let ledger_id: LedgerId = hello.ledger_id.parse().map_err(|_| invalid("hello.ledger_id"))?;
    Ok(Hello {
        instance: hello.instance_id.parse().map_err(|_| invalid("hello.instance_id"))?,
        ledger: LedgerMark { id: ledger_id, seq: hello.ledger_seq },
        boot_id: short(hello.boot_id),
        machine_fingerprint: hello.machine_fingerprint.iter().copied().take(32).collect(),
        agent_version: short(hello.agent_version),
        protocol_min: hello.protocol_min,
        protocol_max: hello.protocol_max,
        capabilities: hello.capabilities.into_iter().take(64).map(short).collect(),
        epoch: hello.epoch,
        newest: Generation::new(hello.newest_epoch, hello.newest_generation),
        wall_time: UnixMillis(hello.wall_time_ms),
        certificate_generation: hello.certificate_generation,
        trust_bundle_version: hello.trust_bundle_version,
        // Of any other length it is none, and nothing could be sealed for it.
        sealing_key: Some(hello.sealing_public_key.to_vec())
            .filter(|key| key.len() == muster_common::sealing::KEY_BYTES)
            .unwrap_or_default(),
        facts_sha256: hello.facts_sha256.iter().copied().take(32).collect(),
        items: items_from(hello.items)?,
        open_commands: hello.open_commands.into_iter().take(ENTRIES).filter_map(open).collect(),
    })
}

/// Those of kinds that this release knows.
fn items_from(items: Vec<types::ItemState>) -> Result<Vec<ItemState>, Refusal> {
    if items.len() > MAX_ITEMS {
        let message = format!("a node has at most {MAX_ITEMS} items, not {}", items.len());
        return Err(Refusal::new(Reason::MessageInvalid, message));
    }
    Ok(items.into_iter().filter_map(item::state_from).collect())
}

fn command_from(report: pb::CommandReport) -> Result<Inbound, Refusal> {
    // A state of a newer agent is passed over: its end, which every release knows, will come.
    let Some(state) = command_state_from(report.state()) else { return Ok(Inbound::Unknown) };
    Ok(Inbound::Command(CommandReport {
        command: report.command_id.parse().map_err(|_| invalid("command.command_id"))?,
        seq: report.seq,
        state,
        output: report.output.map(|chunk| Chunk {
            stderr: chunk.stream() == pb::Stream::Stderr,
            data: chunk.data,
            dropped_bytes: chunk.dropped_bytes.min(DROPPED),
        }),
        exit_code: report.exit_code,
        signal: report.signal,
        reason: reason_from(report.reason),
        message: report.message.chars().take(1024).collect(),
        result: super::command::found(report.result.as_ref()),
        ledger_seq: report.ledger_seq,
        spans: spans::of_order(report.spans),
    }))
}

fn load_from(load: pb::Load) -> Load {
    Load { cpu: load.cpu_permille, memory: load.memory_permille, disk: load.disk_permille }
}

fn condition_from(condition: types::Condition) -> Condition {
    Condition {
        holds: match condition.status() {
            types::ConditionStatus::True => Some(true),
            types::ConditionStatus::False => Some(false),
            types::ConditionStatus::Unspecified | types::ConditionStatus::Unknown => None,
        },
        kind: short(condition.r#type),
        reason: short(condition.reason),
        message: short(condition.message),
        since: UnixMillis(condition.since_ms),
    }
}

fn facts_from(facts: types::Facts) -> facts::Facts {
    facts::Facts {
        hostname: short(facts.hostname),
        os: short(facts.os),
        os_version: short(facts.os_version),
        kernel: short(facts.kernel),
        architecture: short(facts.architecture),
        cpu_model: short(facts.cpu_model),
        cpu_count: facts.cpu_count,
        memory_bytes: facts.memory_bytes,
        disks: facts
            .disks
            .into_iter()
            .take(64)
            .map(|disk| facts::Disk {
                mount_point: short(disk.mount_point),
                file_system: short(disk.file_system),
                size_bytes: disk.size_bytes,
            })
            .collect(),
        addresses: facts
            .addresses
            .into_iter()
            .take(64)
            .map(|address| facts::Address {
                interface: short(address.interface),
                address: short(address.address),
            })
            .collect(),
        machine_id: short(facts.machine_id),
        boot_id: short(facts.boot_id),
        agent_version: short(facts.agent_version),
        timezone: short(facts.timezone),
        settings: facts
            .settings
            .into_iter()
            .take(64)
            .map(|setting| settings::effective_from(setting, short))
            .collect(),
    }
}

fn goodbye_from(reason: pb::GoodbyeReason) -> liveness::Closed {
    match reason {
        pb::GoodbyeReason::Unspecified => liveness::Closed::Lost,
        pb::GoodbyeReason::Shutdown => liveness::Closed::Stopped,
        pb::GoodbyeReason::Reboot => liveness::Closed::Rebooting,
        pb::GoodbyeReason::Upgrade | pb::GoodbyeReason::Restart | pb::GoodbyeReason::Reconnect => {
            liveness::Closed::Returning
        }
        pb::GoodbyeReason::Disconnect => liveness::Closed::Disconnected,
    }
}

/// `None`: a state this release does not know.
pub(in crate::api) fn command_state_from(state: types::CommandState) -> Option<command::State> {
    use command::State;
    match state {
        types::CommandState::Unspecified => None,
        types::CommandState::Queued => Some(State::Queued),
        types::CommandState::Delivered => Some(State::Delivered),
        types::CommandState::Running => Some(State::Running),
        types::CommandState::Succeeded => Some(State::Succeeded),
        types::CommandState::Failed => Some(State::Failed),
        types::CommandState::TimedOut => Some(State::TimedOut),
        types::CommandState::Cancelled => Some(State::Cancelled),
        types::CommandState::Interrupted => Some(State::Interrupted),
        types::CommandState::Expired => Some(State::Expired),
        types::CommandState::Denied => Some(State::Denied),
    }
}

fn short(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(WORD));
    text
}

/// To a node.
#[must_use]
pub fn outbound(frame: Frame) -> pb::SessionResponse {
    let kind = match frame.body {
        Outbound::Welcome(welcome) => Out::Welcome(welcome_to(*welcome)),
        Outbound::Desired(desired) => Out::DesiredState(desired_to(desired)),
        Outbound::Command(ticket) => Out::Command(ticket_to(*ticket)),
        Outbound::Cancel { command, force } => {
            Out::Cancel(pb::Cancel { command_id: command.to_string(), trace_id: String::new(), force })
        }
        Outbound::Ack(ack) => Out::Ack(pb::ReportAck {
            items_seq: ack.items_seq,
            commands: ack
                .commands
                .into_iter()
                .map(|ack| pb::CommandAck {
                    command_id: ack.command.to_string(),
                    seq: ack.seq,
                    output_credit_bytes: ack.credit,
                })
                .collect(),
        }),
        Outbound::Need(need) => Out::ReportRequest(need_to(need)),
        Outbound::Tune(tune) => Out::Tune(tune_to(tune)),
        Outbound::TrustBundle(bundle) => Out::TrustBundle(pb::TrustBundle {
            version: bundle.version,
            roots_der: bundle.roots,
            issuers_der: bundle.issuers,
        }),
        Outbound::Renew { spread, reason } => {
            Out::Renew(pb::Renew { spread_ms: millis(spread), reason: reason.to_owned() })
        }
        Outbound::Quarantine { reason, message } => {
            Out::Quarantine(pb::Quarantine { reason: reason.to_owned(), message: message.to_owned() })
        }
        Outbound::Reconnect { after, spread, addresses, reason } => Out::Reconnect(pb::Reconnect {
            after_ms: millis(after),
            spread_ms: millis(spread),
            addresses: addresses.to_vec(),
            reason: reason.to_owned(),
        }),
        Outbound::Removed { reason } => Out::Removed(pb::Removed { reason }),
    };
    let message = pb::SessionResponse { session_id: frame.session.to_string(), kind: Some(kind) };
    let bytes = message.encoded_len();
    // Whatever is in it was bounded when it was made. An agent that refuses a
    // message refuses it again in every session to come.
    debug_assert!(bytes <= AGENT_MESSAGE, "a message of {bytes} bytes");
    if bytes > AGENT_MESSAGE {
        tracing::error!(bytes, "a message to a node has {bytes} bytes; at most {AGENT_MESSAGE} are promised");
    }
    message
}

fn welcome_to(welcome: Welcome) -> pb::Welcome {
    pb::Welcome {
        epoch: welcome.epoch,
        protocol: welcome.protocol,
        server_time_ms: welcome.server_time.0,
        tune: Some(tune_to(welcome.tune)),
        limits: Some(pb::Limits {
            max_message_bytes: u32::try_from(AGENT_MESSAGE).unwrap_or(u32::MAX),
            max_output_bytes_per_command: u32::try_from(welcome.output_limit).unwrap_or(u32::MAX),
        }),
        needs: Some(need_to(welcome.need)),
        node_id: welcome.node.to_string(),
        display_name: welcome.display_name,
        withdrawn_command_ids: welcome.withdrawn.iter().map(CommandId::to_string).collect(),
    }
}

fn tune_to(tune: Tune) -> pb::Tune {
    pb::Tune {
        heartbeat_interval_ms: millis(tune.heartbeat_interval),
        heartbeat_jitter_ms: millis(tune.heartbeat_jitter),
        reconnect_min_ms: millis(tune.reconnect_min),
        reconnect_max_ms: millis(tune.reconnect_max),
        display_name: tune.display_name,
    }
}

const fn need_to(need: Need) -> pb::ReportRequest {
    pb::ReportRequest { facts: need.facts, items: need.items }
}

fn desired_to(desired: Desired) -> pb::DesiredState {
    pb::DesiredState {
        nonce: desired.nonce.to_string(),
        complete: desired.complete,
        upserts: desired
            .upserts
            .into_iter()
            .map(|upsert| pb::DesiredItem {
                item: upsert.item.to_string(),
                version: Some(item::version(&upsert.version)),
                body: Some(pb::desired_item::Body::Payload(upsert.payload)),
                sealed: upsert.sealed.map(|sealed| pb::SealedContents {
                    encapsulated_key: sealed.encapsulated_key.into(),
                    ciphertext: sealed.ciphertext.into(),
                }),
                traceparent: upsert.traceparent,
            })
            .collect(),
        removals: desired
            .removals
            .into_iter()
            .map(|removal| pb::Removal {
                item: removal.item.to_string(),
                epoch: removal.generation.epoch,
                generation: removal.generation.number,
                traceparent: removal.traceparent,
            })
            .collect(),
        trace_id: String::new(),
    }
}

fn ticket_to(ticket: Ticket) -> pb::Command {
    pb::Command {
        id: ticket.id.to_string(),
        operation_id: ticket.operation.to_string(),
        kind: ticket.kind,
        args: Bytes::clone(&ticket.args),
        not_before_ms: ticket.not_before.map_or(0, |at| at.0),
        deliver_by_ms: ticket.deliver_by.0,
        finish_by_ms: ticket.finish_by.map_or(0, |at| at.0),
        retry_of: ticket.retry_of.map(|id| id.to_string()).unwrap_or_default(),
        trace_id: ticket.trace_id,
        output_credit_bytes: ticket.output_credit,
        epoch: ticket.epoch,
        lane: ticket.lane,
        traceparent: ticket.traceparent,
    }
}

fn millis(duration: std::time::Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}
