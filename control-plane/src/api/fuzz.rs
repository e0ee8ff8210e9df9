//! Ways for the fuzz targets from foreign bytes to what a use-case would get.
//! Compiled with the feature `fuzzing` only.

use muster_common::{
    clock::UnixMillis,
    digest::Sha256,
    ids::{
        AlertId, DeliveryId, EventId, InstanceId, JoinRequestId, JoinTokenId, NodeId, OperationId, RolloutId,
        SecretId, SilenceId,
    },
};
use muster_domain::{
    join_token::{Terms, check_description},
    labels::check_labels,
    operation::Timing,
    page::ResumeToken,
    revocation::Subject,
};
use muster_proto::{admin::v1 as pb, agent::v1 as agent};
use prost::Message;

use super::{agent::diagnostics, wire};
use crate::{
    app::{
        self,
        secrets::{Protected, Value},
    },
    ca::csr,
    session::frames::{Inbound, Refusal},
};

/// A request: its name, and all that happens to it before a use-case gets it.
pub type Parser = (&'static str, fn(&[u8]));

/// When requests are judged.
const NOW: UnixMillis = UnixMillis(1_700_000_000_000);

macro_rules! requests {
    ($($package:ident :: $name:ident => $then:expr,)+) => {
        /// Every request there is; `tests/house.rs` holds the list complete.
        pub const REQUESTS: &[Parser] = &[
            $((stringify!($name), |bytes| {
                let then: fn($package::$name) = $then;
                decode::<$package::$name>(bytes).map(then).unwrap_or_default();
            }),)+
        ];
    };
}

requests! {
    agent::EnrollRequest => |it| drop(csr::public_key(&it.csr_der)),
    agent::BeginEnrollmentRequest => drop,
    agent::BeginRecoveryRequest => |it| id::<NodeId>(&it.node_id),
    agent::RecoverRequest => |it| {
        id::<NodeId>(&it.node_id);
        drop(csr::public_key(&it.csr_der));
    },
    agent::RenewCertificateRequest => |it| {
        id::<InstanceId>(&it.instance_id);
        drop(csr::public_key(&it.csr_der));
    },
    agent::LeaveRequest => drop,
    agent::IssueX509SvidsRequest => |it| {
        id::<InstanceId>(&it.instance_id);
        for order in it.orders {
            let order = wire::workload::x509_order(order);
            drop(csr::public_key(&order.csr_der));
            let _ = muster_common::tls::workload::is_workload_name(&order.name);
        }
    },
    agent::IssueJwtSvidsRequest => |it| {
        id::<InstanceId>(&it.instance_id);
        it.orders.into_iter().map(wire::workload::jwt_order).for_each(drop);
    },
    agent::GetWorkloadBundlesRequest => |it| id::<InstanceId>(&it.instance_id),
    pb::GetWorkloadIssuersRequest => drop,
    pb::RotateWorkloadIssuerRequest => drop,
    agent::EchoRequest => drop,
    agent::HoldRequest => |it| drop(diagnostics::hold_from(&it)),
    agent::MeasureRequest => |it| drop(diagnostics::size_from(&it)),
    agent::RenameRequest => drop,
    agent::SessionRequest => |it| drop(wire::session::inbound(it)),
    pb::CreateAssignmentRequest => |it| assignment(it.assignment),
    pb::UpdateAssignmentRequest => |it| assignment(it.assignment),
    pb::GetAssignmentRequest => drop,
    pb::ListAssignmentsRequest => |it| page(&[], it.page_size, &it.page_token),
    pb::DeleteAssignmentRequest => drop,
    pb::PreviewAssignmentRequest => |it| match it.change {
        Some(pb::preview_assignment_request::Change::Assignment(wish)) => assignment(Some(wish)),
        Some(pb::preview_assignment_request::Change::DeleteName(_)) | None => {}
    },
    pb::CreateGroupRequest => |it| group(it.group),
    pb::UpdateGroupRequest => |it| group(it.group),
    pb::GetGroupRequest => drop,
    pb::ListGroupsRequest => |it| page(&[], it.page_size, &it.page_token),
    pb::DeleteGroupRequest => drop,
    pb::ListAuditEntriesRequest => |it| {
        page(&[&it.subject, &it.actor], it.page_size, &it.page_token);
        drop(wire::audit::filter_of_list(it));
    },
    pb::ListCheckpointsRequest => |it| page(&[&it.replica], it.page_size, &it.page_token),
    pb::WatchAuditEntriesRequest => |it| {
        resume(&it.resume_token);
        drop(wire::audit::filter_of_watch(it));
    },
    pb::ExportAuditEntriesRequest => |it| {
        let _ = (it.since.as_ref().map(wire::timestamp_from), it.until.as_ref().map(wire::timestamp_from));
    },
    pb::CreateBundleRequest => |it| drop(wire::bundle::draft_from(it.content)),
    pb::GetBundleRequest => drop,
    pb::ListBundlesRequest => |it| page(&[], it.page_size, &it.page_token),
    pb::DeleteBundleRequest => drop,
    agent::DownloadArtifactRequest => |it| drop(muster_domain::artifact::target_of(&it.path)),
    pb::PublishRepositoryRequest => |it| drop(wire::artifact::files_from(it.metadata)),
    pb::GetRepositoryRequest => drop,
    pb::ListTargetsRequest => |it| page(&[], it.page_size, &it.page_token),
    pb::ListPackagesRequest => drop,
    pb::CreateExtensionRequest => |it| drop(wire::extension::draft_from(it)),
    pb::GetExtensionRequest => drop,
    pb::ListExtensionsRequest => |it| page(&[&it.name], it.page_size, &it.page_token),
    pb::DeleteExtensionRequest => drop,
    pb::ListReleasesRequest => drop,
    pb::GetChannelRequest => drop,
    pb::ListChannelsRequest => drop,
    pb::SetChannelRequest => |it| drop(wire::release::wish_from(it.channel)),
    pb::GetAuthorityRequest => drop,
    pb::PrepareAuthorityRequest => drop,
    pb::ActivateAuthorityRequest => drop,
    pb::RollbackAuthorityRequest => drop,
    pb::RetireAuthorityRequest => drop,
    pb::RevokeRequest => |it| subject(&it.subject),
    pb::DeleteRevocationRequest => |it| subject(&it.subject),
    pb::ListRevocationsRequest => drop,
    pb::CreateJoinTokenRequest => join_token,
    pb::GetJoinTokenRequest => |it| id::<JoinTokenId>(&it.id),
    pb::ListJoinTokensRequest => |it| page(&[], it.page_size, &it.page_token),
    pb::RevokeJoinTokenRequest => |it| id::<JoinTokenId>(&it.id),
    pb::ListNodesRequest => |it| {
        drop(app::selectors::written_or_all(&it.selector));
        page(&[&it.selector], it.page_size, &it.page_token);
    },
    pb::GetNodeRequest => |it| id::<NodeId>(&it.id),
    pb::ExplainItemRequest => |it| {
        id::<NodeId>(&it.id);
        drop(it.item.parse::<muster_domain::item::ItemName>());
    },
    pb::UpdateNodeRequest => |it| {
        let mask = it.update_mask.map(|mask| mask.paths).unwrap_or_default();
        let edit = it.node.and_then(|node| super::admin::nodes::edit_from(node, &mask).ok());
        if let Some(labels) = edit.and_then(|edit| edit.labels) {
            drop(check_labels(&labels));
        }
    },
    pb::DeleteNodeRequest => |it| id::<NodeId>(&it.id),
    pb::WatchNodesRequest => |it| {
        drop(app::selectors::written_or_all(&it.selector));
        resume(&it.resume_token);
    },
    pb::QuarantineNodeRequest => |it| id::<NodeId>(&it.id),
    pb::AcceptRestoredRequest => |it| drop(app::selectors::written_or_all(&it.selector)),
    pb::ReleaseQuarantineRequest => |it| {
        id::<NodeId>(&it.id);
        id::<InstanceId>(&it.keep_instance_id);
    },
    pb::AllowRecoveryRequest => |it| id::<NodeId>(&it.id),
    pb::CreateRolloutRequest => |it| {
        if let Ok(wish) = wire::rollout::wish_from(it) {
            let _ = muster_domain::rollout::check_plan(&wish.plan);
        }
    },
    pb::GetRolloutRequest => |it| id::<RolloutId>(&it.id),
    pb::ListRolloutsRequest => |it| page(&[&it.assignment], it.page_size, &it.page_token),
    pb::ListRolloutNodesRequest => |it| {
        id::<RolloutId>(&it.id);
        page(&[&it.id], it.page_size, &it.page_token);
    },
    pb::WatchRolloutRequest => |it| id::<RolloutId>(&it.id),
    pb::PauseRolloutRequest => |it| id::<RolloutId>(&it.id),
    pb::ResumeRolloutRequest => |it| id::<RolloutId>(&it.id),
    pb::ApproveRolloutRequest => |it| id::<RolloutId>(&it.id),
    pb::AbortRolloutRequest => |it| id::<RolloutId>(&it.id),
    pb::RollBackRolloutRequest => |it| id::<RolloutId>(&it.id),
    pb::SetRolloutBrakeRequest => drop,
    pb::GetRolloutBrakeRequest => drop,
    pb::StartOperationRequest => operation,
    pb::GetOperationRequest => |it| id::<OperationId>(&it.id),
    pb::ListOperationsRequest => |it| page(&[], it.page_size, &it.page_token),
    pb::ListCommandsRequest => |it| {
        id::<OperationId>(&it.operation_id);
        page(&[&it.operation_id], it.page_size, &it.page_token);
    },
    pb::ReadCommandOutputRequest => |it| drop(wire::operation::output_from(&it)),
    pb::WatchOperationRequest => |it| id::<OperationId>(&it.id),
    pb::DownloadResultRequest => |it| id::<muster_common::ids::CommandId>(&it.command_id),
    pb::CancelOperationRequest => |it| id::<OperationId>(&it.id),
    pb::CreateScheduleRequest => |it| schedule(it.schedule),
    pb::GetScheduleRequest => drop,
    pb::ListSchedulesRequest => |it| page(&[], it.page_size, &it.page_token),
    pb::UpdateScheduleRequest => |it| schedule(it.schedule),
    pb::DeleteScheduleRequest => drop,
    pb::RetryOperationRequest => |it| {
        id::<OperationId>(&it.id);
        drop(wire::operation::states_from(&it.states));
    },
    pb::PreviewOperationRequest => |it| {
        if let Some(wish) = it.operation {
            operation(wish);
        }
        page(&[], it.page_size, &it.page_token);
    },
    pb::CreateConcurrencyLeaseRequest => |it| drop(wire::lease::wish_from(it.lease)),
    pb::UpdateConcurrencyLeaseRequest => |it| drop(wire::lease::wish_from(it.lease)),
    pb::GetConcurrencyLeaseRequest => drop,
    pb::ListConcurrencyLeasesRequest => |it| page(&[], it.page_size, &it.page_token),
    pb::DeleteConcurrencyLeaseRequest => drop,
    pb::GetSettingsSchemaRequest => drop,
    pb::PutSettingsProfileRequest => |it| {
        if let Ok(wish) = wire::settings::wish_from(it) {
            let _ = muster_domain::settings::check_values(&wish.values);
        }
    },
    pb::GetSettingsProfileRequest => drop,
    pb::ListSettingsProfilesRequest => |it| page(&[&it.name], it.page_size, &it.page_token),
    pb::DeleteSettingsProfileRequest => drop,
    pb::GetSystemRequest => drop,
    pb::GetCallerRequest => drop,
    pb::SetTraceSamplingRequest => drop,
    pb::CreateBindingRequest => |it| {
        if let Ok(wish) = wire::access::wish_from(it.binding) {
            drop(app::selectors::plain("selector", &wish.selector));
        }
    },
    pb::ListBindingsRequest => |it| page(&[], it.page_size, &it.page_token),
    pb::DeleteBindingRequest => drop,
    pb::ExplainAccessRequest => |it| id::<NodeId>(&it.node_id),
    pb::ListJoinRequestsRequest => |it| page(&[], it.page_size, &it.page_token),
    pb::ApproveJoinRequestRequest => |it| id::<JoinRequestId>(&it.id),
    pb::DenyJoinRequestRequest => |it| id::<JoinRequestId>(&it.id),
    pb::UploadBlobRequest => |it| match it.part {
        Some(pb::upload_blob_request::Part::Start(start)) => drop(wire::blob::wish_from(&start)),
        Some(pb::upload_blob_request::Part::Chunk(chunk)) => drop(wire::blob::chunk_from(chunk)),
        None => {}
    },
    pb::GetUploadRequest => |it| drop(wire::blob::which_from(&it)),
    agent::UploadResultRequest => |it| match it.part {
        Some(agent::upload_result_request::Part::Start(start)) => drop(wire::blob::told_from(&start)),
        Some(agent::upload_result_request::Part::Chunk(chunk)) => drop(wire::blob::chunk_from(chunk)),
        None => {}
    },
    agent::DownloadBlobRequest => |it| drop(wire::blob::sha256_from("sha256", &it.sha256)),
    pb::DownloadBlobRequest => |it| drop(wire::blob::sha256_from("sha256", &it.sha256)),
    pb::GetBlobRequest => |it| drop(wire::blob::sha256_from("sha256", &it.sha256)),
    pb::ListBlobsRequest => |it| page(&[], it.page_size, &it.page_token),
    pb::DeleteBlobRequest => |it| drop(wire::blob::sha256_from("sha256", &it.sha256)),
    pb::CreateAlertRuleRequest => |it| alert_rule(it.rule),
    pb::UpdateAlertRuleRequest => |it| alert_rule(it.rule),
    pb::GetAlertRuleRequest => drop,
    pb::ListAlertRulesRequest => drop,
    pb::DeleteAlertRuleRequest => drop,
    pb::ListAlertsRequest => |it| page(&["open"], it.page_size, &it.page_token),
    pb::GetAlertRequest => |it| id::<AlertId>(&it.id),
    pb::WatchAlertsRequest => |it| resume(&it.resume_token),
    pb::AcknowledgeAlertRequest => |it| id::<AlertId>(&it.id),
    pb::TestFireAlertRequest => drop,
    pb::SilenceAlertsRequest => |it| drop(wire::alert::silence_from(it.silence)),
    pb::ListSilencesRequest => drop,
    pb::ExpireSilenceRequest => |it| id::<SilenceId>(&it.id),
    pb::ListEventsRequest => |it| {
        drop(wire::event::asked_of_list(&it));
        page(&[&it.selector], it.page_size, &it.page_token);
    },
    pb::GetEventRequest => |it| id::<EventId>(&it.id),
    pb::WatchEventsRequest => |it| drop(wire::event::asked_of_watch(&it)),
    pb::CreateAlertReceiverRequest => |it| alert_receiver(it.receiver),
    pb::UpdateAlertReceiverRequest => |it| alert_receiver(it.receiver),
    pb::ListAlertReceiversRequest => drop,
    pb::DeleteAlertReceiverRequest => drop,
    pb::ListDeadLettersRequest => |it| page(&[], it.page_size, &it.page_token),
    pb::RetryDeadLetterRequest => |it| id::<DeliveryId>(&it.id),
}

/// What a session would hear.
///
/// # Errors
/// As the session would refuse it.
pub fn heard(message: agent::SessionRequest) -> Result<Inbound, Refusal> {
    wire::session::inbound(message)
}

/// The payload of a bundle, if the control plane takes the content.
#[must_use]
pub fn bundle(content: &muster_proto::types::v1::BundleContent) -> Option<bytes::Bytes> {
    let draft = wire::bundle::draft_from(Some(content.clone())).ok()?;
    let id = |one: &Protected| match &one.value {
        Value::Given(_) => SecretId::from_u128(1),
        Value::Kept(id) => *id,
    };
    Some((draft.encode)(&draft.protected.iter().map(id).collect::<Vec<_>>()))
}

/// A message, and that it survives being written again.
fn decode<M: Message + Default + PartialEq>(bytes: &[u8]) -> Option<M> {
    let message = M::decode(bytes).ok()?;
    let again = M::decode(message.encode_to_vec().as_slice()).ok();
    // Not of every value: a number that is none is not equal to itself. None of ours has one.
    assert!(again.as_ref() == Some(&message), "a message changed on its way");
    Some(message)
}

fn id<T>(text: &str)
where
    T: std::str::FromStr,
    T::Err: ToString,
{
    drop(wire::id::<T>("id", text));
}

fn page(parts: &[&str], size: i32, token: &str) {
    if let Ok((page, asked)) = wire::page::page("Method", parts, size, token) {
        assert!(page.size > 0 && page.size <= muster_domain::page::MAX_SIZE);
        let next = wire::page::next(asked, page.after.as_deref());
        assert!(page.after.is_none() || wire::page::page("Method", parts, size, &next).is_ok());
    }
}

fn resume(token: &str) {
    if let Ok(resume) = token.parse::<ResumeToken>() {
        assert_eq!(resume.to_string().parse(), Ok(resume));
    }
}

fn subject(text: &str) {
    if let Ok(subject) = text.parse::<Subject>() {
        assert_eq!(subject.to_string().parse::<Subject>().as_ref(), Ok(&subject));
    }
}

fn assignment(wish: Option<pb::Assignment>) {
    if let Ok(wish) = wire::assignment::wish_from(wish) {
        for text in wish.exclusions.iter().chain([&wish.selector]) {
            drop(app::selectors::written("selector", text));
        }
    }
}

fn group(wish: Option<pb::Group>) {
    if let Ok(wish) = wire::group::wish_from(wish) {
        drop(app::selectors::plain("group.selector", &wish.selector));
        let _ = muster_domain::group::is_description(&wish.description);
    }
}

fn join_token(request: pb::CreateJoinTokenRequest) {
    if let Ok(wish) = wire::join_token::wish_from(request) {
        drop(check_description(&wish.description));
        drop(check_labels(&wish.labels));
        drop(Terms::check(NOW, wish.max_uses, wish.ttl, &wish.allowed));
    }
}

fn alert_rule(wish: Option<pb::AlertRule>) {
    if let Ok(wish) = wire::alert::rule_from(wish) {
        drop(app::selectors::written("rule.selector", &wish.selector));
        let _ = wish.damping.unwrap_or_default().threshold(1_000_000);
    }
}

fn alert_receiver(wish: Option<pb::AlertReceiver>) {
    if let Ok(wish) = wire::alert::receiver_from(wish) {
        let _ = muster_common::issuer::url(&wish.url);
    }
}

fn schedule(wish: Option<pb::Schedule>) {
    if let Ok(wish) = wire::schedule::wish_from(wish) {
        drop(wish.cron.parse::<muster_domain::schedule::Cron>());
        drop(wire::schedule::operation(&wish.operation));
    }
}

fn operation(request: pb::StartOperationRequest) {
    if let Ok(wish) = wire::operation::wish_from(request) {
        drop(app::selectors::written("selector", &wish.selector));
        let _ = Sha256::of(&wish.args);
        drop(wish.plan.check());
        if let Ok(timing) = Timing::check(NOW, wish.not_before, wish.deliver_within, wish.run_timeout) {
            assert!(timing.not_before.is_none_or(|start| start < timing.deliver_by));
        }
    }
}
