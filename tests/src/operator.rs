//! An operator with a certificate, and what one asks most.

use std::{collections::HashMap, net::SocketAddr, sync::Arc, time::Duration};

use muster_common::reason::Reason;
use muster_node_agent::dial;
use muster_proto::{
    admin::v1::{
        self as pb, access_service_client::AccessServiceClient, alerts_service_client::AlertsServiceClient,
        artifacts_service_client::ArtifactsServiceClient,
        assignments_service_client::AssignmentsServiceClient, audit_service_client::AuditServiceClient,
        blobs_service_client::BlobsServiceClient, bundles_service_client::BundlesServiceClient,
        concurrency_leases_service_client::ConcurrencyLeasesServiceClient,
        events_service_client::EventsServiceClient, extensions_service_client::ExtensionsServiceClient,
        groups_service_client::GroupsServiceClient, identity_service_client::IdentityServiceClient,
        join_tokens_service_client::JoinTokensServiceClient, nodes_service_client::NodesServiceClient,
        operations_service_client::OperationsServiceClient, rollouts_service_client::RolloutsServiceClient,
        schedules_service_client::SchedulesServiceClient, settings_service_client::SettingsServiceClient,
        system_service_client::SystemServiceClient, workloads_service_client::WorkloadsServiceClient,
    },
    types::v1 as types,
};
use rustls::ClientConfig;
use tonic::{Status, transport::Channel};
use tonic_types::StatusExt as _;

use crate::eventually::{LONG, eventually};

/// All services, through one connection.
#[derive(Debug, Clone)]
#[allow(missing_docs)]
pub struct Operator {
    pub nodes: NodesServiceClient<Channel>,
    pub join_tokens: JoinTokensServiceClient<Channel>,
    pub artifacts: ArtifactsServiceClient<Channel>,
    pub blobs: BlobsServiceClient<Channel>,
    pub bundles: BundlesServiceClient<Channel>,
    pub extensions: ExtensionsServiceClient<Channel>,
    pub settings: SettingsServiceClient<Channel>,
    pub assignments: AssignmentsServiceClient<Channel>,
    pub groups: GroupsServiceClient<Channel>,
    pub operations: OperationsServiceClient<Channel>,
    pub leases: ConcurrencyLeasesServiceClient<Channel>,
    pub rollouts: RolloutsServiceClient<Channel>,
    pub schedules: SchedulesServiceClient<Channel>,
    pub alerts: AlertsServiceClient<Channel>,
    pub events: EventsServiceClient<Channel>,
    pub audit: AuditServiceClient<Channel>,
    pub identity: IdentityServiceClient<Channel>,
    pub access: AccessServiceClient<Channel>,
    pub system: SystemServiceClient<Channel>,
    pub workloads: WorkloadsServiceClient<Channel>,
}

/// The stable reason of a refusal.
#[must_use]
pub fn reason(status: &Status) -> Option<Reason> {
    Reason::parse(&status.get_error_details().error_info()?.reason)
}

/// A file of a bundle.
#[must_use]
pub fn file(path: &std::path::Path, content: &str) -> types::BundleFile {
    let path = path.to_str().expect("a path that is text").to_owned();
    types::BundleFile { path, content: content.as_bytes().to_vec().into(), ..Default::default() }
}

/// A hook that runs a shell line.
#[must_use]
pub fn sh(line: &str) -> Option<types::Hook> {
    Some(types::Hook {
        argv: ["/bin/sh", "-c", line].map(str::to_owned).to_vec(),
        timeout_s: 10,
        ..Default::default()
    })
}

/// A shell script as a command.
#[must_use]
pub fn script(text: &str) -> types::CommandSpec {
    let run = types::RunScript { script: text.to_owned(), ..Default::default() };
    types::CommandSpec { kind: Some(types::command_spec::Kind::RunScript(run)) }
}

impl Operator {
    /// Connects; waits until the control plane is there. It is asked something at once: a
    /// connection that asks nothing is not kept.
    pub async fn connect(address: SocketAddr, tls: ClientConfig) -> Self {
        let (address, tls) = (address.to_string(), Arc::new(tls));
        let channel = eventually("an operator is connected", LONG, || async {
            dial::channel(&address, Arc::clone(&tls)).await.ok()
        });
        let operator = Self::over(channel.await);
        let _ = operator.system.clone().get_system(pb::GetSystemRequest {}).await; // a no is an answer
        operator
    }

    /// All services over a connection.
    #[must_use]
    pub fn over(channel: Channel) -> Self {
        Self {
            nodes: NodesServiceClient::new(channel.clone()),
            join_tokens: JoinTokensServiceClient::new(channel.clone()),
            artifacts: ArtifactsServiceClient::new(channel.clone()),
            blobs: BlobsServiceClient::new(channel.clone()),
            bundles: BundlesServiceClient::new(channel.clone()),
            extensions: ExtensionsServiceClient::new(channel.clone()),
            settings: SettingsServiceClient::new(channel.clone()),
            assignments: AssignmentsServiceClient::new(channel.clone()),
            groups: GroupsServiceClient::new(channel.clone()),
            operations: OperationsServiceClient::new(channel.clone()),
            leases: ConcurrencyLeasesServiceClient::new(channel.clone()),
            rollouts: RolloutsServiceClient::new(channel.clone()),
            schedules: SchedulesServiceClient::new(channel.clone()),
            alerts: AlertsServiceClient::new(channel.clone()),
            events: EventsServiceClient::new(channel.clone()),
            audit: AuditServiceClient::new(channel.clone()),
            identity: IdentityServiceClient::new(channel.clone()),
            access: AccessServiceClient::new(channel.clone()),
            workloads: WorkloadsServiceClient::new(channel.clone()),
            system: SystemServiceClient::new(channel),
        }
    }

    /// A node.
    pub async fn node(&self, id: &str) -> Option<pb::Node> {
        let request = pb::GetNodeRequest { id: id.to_owned() };
        self.nodes.clone().get_node(request).await.ok()?.into_inner().node
    }

    /// Ids of the nodes that a selector matches.
    pub async fn select(&self, selector: &str) -> Vec<String> {
        let request =
            pb::ListNodesRequest { selector: selector.to_owned(), page_size: 1000, ..Default::default() };
        let nodes = self.nodes.clone().list_nodes(request).await.expect("the list").into_inner().nodes;
        nodes.into_iter().map(|node| node.id).collect()
    }

    /// Waits until a node is as it should be.
    pub async fn until(&self, what: &str, id: &str, is: impl Fn(&pb::Node) -> bool) -> pb::Node {
        let is = &is;
        eventually(what, LONG, || async move { self.node(id).await.filter(|node| is(node)) }).await
    }

    /// Waits until a node is online, late, offline…
    pub async fn until_liveness(&self, id: &str, liveness: pb::Liveness) -> pb::Node {
        let is = |node: &pb::Node| node.connection.as_ref().is_some_and(|it| it.liveness() == liveness);
        self.until(&format!("node {id} is {liveness:?}"), id, is).await
    }

    /// Waits until the host has said what became of this version of an item.
    pub async fn until_attempted(&self, id: &str, item: &str, sha256: &[u8]) -> types::ItemState {
        let attempted =
            |state: &types::ItemState| state.attempted.as_ref().is_some_and(|it| it.sha256 == sha256);
        let what = format!("node {id} has tried {item}");
        let node = self.until(&what, id, |node| reported(node, item).is_some_and(attempted)).await;
        reported(&node, item).cloned().expect("it was just seen")
    }

    /// Makes a version of a bundle; answers its number and its digest.
    pub async fn bundle(&self, name: &str, content: types::BundleContent) -> (u64, Vec<u8>) {
        let request =
            pb::CreateBundleRequest { name: name.to_owned(), content: Some(content), validate_only: false };
        let made = self.bundles.clone().create_bundle(request).await.expect("a bundle").into_inner().bundle;
        let made = made.expect("the bundle is in the answer");
        (made.version, made.sha256.to_vec())
    }

    /// Makes a version of a bundle with one file, if that is taken now.
    ///
    /// # Errors
    /// What the control plane says, or the way to it.
    pub async fn try_bundle(&self, name: &str, text: &str) -> Result<(), Status> {
        let files = vec![file(std::path::Path::new("/etc/motd"), text)];
        let content = Some(types::BundleContent { files, ..types::BundleContent::default() });
        let request = pb::CreateBundleRequest { name: name.to_owned(), content, validate_only: false };
        self.bundles.clone().create_bundle(request).await.map(drop)
    }

    /// Assigns the newest version of a bundle, or moves an assignment to it.
    pub async fn assign(&self, name: &str, selector: &str, bundle: &str) {
        let target = pb::BundleTarget { name: bundle.to_owned(), version: 0 };
        self.assign_target(name, selector, pb::assignment::Target::Bundle(target)).await;
    }

    /// Makes an assignment, or moves it.
    ///
    /// # Panics
    /// If it is refused.
    pub async fn assign_target(&self, name: &str, selector: &str, target: pb::assignment::Target) {
        let assignment = pb::Assignment {
            name: name.to_owned(),
            selector: selector.to_owned(),
            target: Some(target),
            ..Default::default()
        };
        let create =
            pb::CreateAssignmentRequest { assignment: Some(assignment.clone()), validate_only: false };
        match self.assignments.clone().create_assignment(create).await {
            Ok(_) => {}
            Err(status) if reason(&status) == Some(Reason::AlreadyExists) => {
                let update =
                    pb::UpdateAssignmentRequest { assignment: Some(assignment), validate_only: false };
                self.assignments.clone().update_assignment(update).await.expect("the update");
            }
            Err(status) => panic!("{status}"),
        }
    }

    /// Makes a version of a settings profile; answers its number.
    pub async fn profile(&self, name: &str, values: &[(&str, &str)]) -> u64 {
        let values = values.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        let (name, values) = (name.to_owned(), values.collect());
        let profile = Some(pb::SettingsProfile { name, values, ..Default::default() });
        let request = pb::PutSettingsProfileRequest { profile, validate_only: false };
        let put = self.settings.clone().put_settings_profile(request).await.expect("a profile").into_inner();
        put.profile.expect("the profile is in the answer").version
    }

    /// Assigns a version of a settings profile under its own name.
    pub async fn assign_profile(&self, selector: &str, profile: &str, version: u64) {
        let target = pb::SettingsTarget { profile: profile.to_owned(), version };
        let assignment = Some(pb::Assignment {
            name: profile.to_owned(),
            selector: selector.to_owned(),
            target: Some(pb::assignment::Target::Settings(target)),
            ..Default::default()
        });
        let request = pb::CreateAssignmentRequest { assignment, validate_only: false };
        self.assignments.clone().create_assignment(request).await.expect("an assignment");
    }

    /// Starts an operation; answers its id.
    pub async fn start(&self, selector: &str, spec: types::CommandSpec) -> String {
        let selector = selector.to_owned();
        self.start_as(pb::StartOperationRequest { selector, spec: Some(spec), ..Default::default() }).await
    }

    /// Starts an operation that is described whole; answers its id.
    ///
    /// # Panics
    /// If it is refused.
    pub async fn start_as(&self, request: pb::StartOperationRequest) -> String {
        let started = self.operations.clone().start_operation(request).await.expect("an operation");
        started.into_inner().operation.expect("the operation is in the answer").id
    }

    /// An operation as it is now.
    ///
    /// # Panics
    /// If it is not there.
    pub async fn operation(&self, id: &str) -> pb::Operation {
        let answer = eventually("the operation is told", LONG, || async {
            self.operations.clone().get_operation(pb::GetOperationRequest { id: id.to_owned() }).await.ok()
        });
        answer.await.into_inner().operation.expect("the operation is in the answer")
    }

    /// The commands of an operation with their output, by node.
    pub async fn commands(&self, operation: &str) -> HashMap<String, pb::NodeCommand> {
        let request = pb::ListCommandsRequest {
            operation_id: operation.to_owned(),
            page_size: 1000,
            with_output: true,
            ..Default::default()
        };
        let answer = eventually("the commands are told", LONG, || async {
            self.operations.clone().list_commands(request.clone()).await.ok()
        });
        let commands = answer.await.into_inner().commands;
        commands.into_iter().map(|command| (command.node_id.clone(), command)).collect()
    }

    /// Waits for the end of an operation; answers its commands by node.
    pub async fn ended(&self, operation: &str, within: Duration) -> HashMap<String, pb::NodeCommand> {
        eventually("the operation has ended", within, || async {
            let request = pb::GetOperationRequest { id: operation.to_owned() };
            let found = self.operations.clone().get_operation(request).await.ok()?.into_inner().operation?;
            (found.state() == pb::OperationState::Ended).then_some(())
        })
        .await;
        self.commands(operation).await
    }
}

/// What a node reported of an item.
#[must_use]
pub fn reported<'a>(node: &'a pb::Node, item: &str) -> Option<&'a types::ItemState> {
    node.items.iter().find(|found| found.item == item)?.reported.as_ref()
}
