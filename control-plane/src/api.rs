//! The services of `muster.admin.v1` and `muster.agent.v1`. A handler reads the
//! wire, calls one use-case, writes the wire; who may call is decided before it
//! is called, by `server::policy`.

pub mod admin;
pub mod agent;
mod caller;
mod download;
#[cfg(feature = "fuzzing")]
pub mod fuzz;
pub mod peer;
pub mod status;
mod upload;
mod watch;
mod wire;

pub use wire::{
    artifact::{files_of_release as release_files, release as release_content},
    bundle::{blobs as bundle_blobs, needs as bundle_needs, paths as bundle_paths},
    outline::outline as item_outline,
    schedule::operation as schedule_operation,
    session::{inbound as session_inbound, outbound as session_outbound},
};

use muster_proto::{
    admin::v1::{
        self as admin_v1, access_service_server::AccessServiceServer,
        alerts_service_server::AlertsServiceServer, artifacts_service_server::ArtifactsServiceServer,
        assignments_service_server::AssignmentsServiceServer, audit_service_server::AuditServiceServer,
        blobs_service_server::BlobsServiceServer, bundles_service_server::BundlesServiceServer,
        concurrency_leases_service_server::ConcurrencyLeasesServiceServer,
        events_service_server::EventsServiceServer, extensions_service_server::ExtensionsServiceServer,
        groups_service_server::GroupsServiceServer, join_tokens_service_server::JoinTokensServiceServer,
        nodes_service_server::NodesServiceServer, operations_service_server::OperationsServiceServer,
        releases_service_server::ReleasesServiceServer, rollouts_service_server::RolloutsServiceServer,
        schedules_service_server::SchedulesServiceServer, settings_service_server::SettingsServiceServer,
        system_service_server::SystemServiceServer, workloads_service_server::WorkloadsServiceServer,
    },
    agent::v1::{
        artifact_service_server::ArtifactServiceServer, blob_service_server::BlobServiceServer,
        diagnostics_service_server::DiagnosticsServiceServer,
        enrollment_service_server::EnrollmentServiceServer, identity_service_server::IdentityServiceServer,
        node_service_server::NodeServiceServer, session_service_server::SessionServiceServer,
        workload_identity_service_server::WorkloadIdentityServiceServer,
    },
};
use tonic::service::{Routes, RoutesBuilder};

use crate::app::App;

/// Largest message of an agent.
pub const AGENT_MESSAGE: usize = 256 * 1024;
/// Largest message of an operator.
const OPERATOR_MESSAGE: usize = 4 * 1024 * 1024;
/// Largest request where only reads are served.
const READ_MESSAGE: usize = 64 * 1024;
/// Largest message of an upload: a chunk, and its frame.
const BLOB_MESSAGE: usize = 128 * 1024;
/// Largest message of a stranger.
const STRANGER_MESSAGE: usize = 64 * 1024;

/// The services for nodes.
#[must_use]
pub fn agents(app: &App) -> Routes {
    let session = SessionServiceServer::new(agent::session::Handler::new(app.clone()));
    let identity = IdentityServiceServer::new(agent::identity::Handler(app.clone()));
    let blobs = BlobServiceServer::new(agent::blobs::Handler(app.clone()));
    let artifacts = ArtifactServiceServer::new(agent::artifacts::Handler(app.clone()));
    let workloads = WorkloadIdentityServiceServer::new(agent::workload::Handler(app.clone()));
    let diagnostics = DiagnosticsServiceServer::new(agent::diagnostics::Handler(app.clone()));
    let nodes = NodeServiceServer::new(agent::node::Handler(app.clone()));
    let mut routes = RoutesBuilder::default();
    routes.add_service(diagnostics.max_decoding_message_size(STRANGER_MESSAGE));
    routes.add_service(workloads.max_decoding_message_size(AGENT_MESSAGE));
    routes.add_service(artifacts.max_decoding_message_size(STRANGER_MESSAGE));
    routes.add_service(blobs.max_decoding_message_size(BLOB_MESSAGE));
    routes.add_service(session.max_decoding_message_size(AGENT_MESSAGE));
    routes.add_service(identity.max_decoding_message_size(STRANGER_MESSAGE));
    routes.add_service(nodes.max_decoding_message_size(STRANGER_MESSAGE));
    routes.routes()
}

/// The service for hosts without an identity.
#[must_use]
pub fn enrollment(app: &App, at_once: usize) -> Routes {
    let service = EnrollmentServiceServer::new(agent::enrollment::Handler::new(app.clone(), at_once));
    Routes::new(service.max_decoding_message_size(STRANGER_MESSAGE))
}

/// The services for operators; the caller adds what does not need the use-cases.
#[must_use]
pub fn operators(app: &App) -> RoutesBuilder {
    let mut routes = RoutesBuilder::default();
    let limit = OPERATOR_MESSAGE;
    let app = || app.clone();
    routes
        .add_service(NodesServiceServer::new(admin::nodes::Handler(app())).max_decoding_message_size(limit))
        .add_service(
            JoinTokensServiceServer::new(admin::join_tokens::Handler(app())).max_decoding_message_size(limit),
        )
        .add_service(
            BundlesServiceServer::new(admin::bundles::Handler(app())).max_decoding_message_size(limit),
        )
        .add_service(
            BlobsServiceServer::new(admin::blobs::Handler(app())).max_decoding_message_size(BLOB_MESSAGE),
        )
        .add_service(
            ArtifactsServiceServer::new(admin::artifacts::Handler(app())).max_decoding_message_size(limit),
        )
        .add_service(
            ExtensionsServiceServer::new(admin::extensions::Handler(app())).max_decoding_message_size(limit),
        )
        .add_service(
            ReleasesServiceServer::new(admin::releases::Handler(app()))
                .max_decoding_message_size(READ_MESSAGE),
        )
        .add_service(
            SettingsServiceServer::new(admin::settings::Handler(app())).max_decoding_message_size(limit),
        )
        .add_service(
            AssignmentsServiceServer::new(admin::assignments::Handler(app()))
                .max_decoding_message_size(limit),
        )
        .add_service(
            GroupsServiceServer::new(admin::groups::Handler(app())).max_decoding_message_size(READ_MESSAGE),
        )
        .add_service(
            RolloutsServiceServer::new(admin::rollouts::Handler(app())).max_decoding_message_size(limit),
        )
        .add_service(
            OperationsServiceServer::new(admin::operations::Handler(app())).max_decoding_message_size(limit),
        )
        .add_service(
            SchedulesServiceServer::new(admin::schedules::Handler(app())).max_decoding_message_size(limit),
        )
        .add_service(
            ConcurrencyLeasesServiceServer::new(admin::concurrency_leases::Handler(app()))
                .max_decoding_message_size(READ_MESSAGE),
        )
        .add_service(
            admin_v1::identity_service_server::IdentityServiceServer::new(admin::identity::Handler(app()))
                .max_decoding_message_size(READ_MESSAGE),
        )
        .add_service(
            AccessServiceServer::new(admin::access::Handler(app())).max_decoding_message_size(READ_MESSAGE),
        )
        .add_service(
            AuditServiceServer::new(admin::audit::Handler(app())).max_decoding_message_size(READ_MESSAGE),
        )
        .add_service(
            AlertsServiceServer::new(admin::alerts::Handler(app())).max_decoding_message_size(READ_MESSAGE),
        )
        .add_service(
            EventsServiceServer::new(admin::events::Handler(app())).max_decoding_message_size(READ_MESSAGE),
        )
        .add_service(
            WorkloadsServiceServer::new(admin::workloads::Handler(app()))
                .max_decoding_message_size(READ_MESSAGE),
        )
        .add_service(
            SystemServiceServer::new(admin::system::Handler(app())).max_decoding_message_size(READ_MESSAGE),
        );
    routes
}
