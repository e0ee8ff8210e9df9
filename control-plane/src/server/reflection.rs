//! Reflection in both versions, so that grpcurl of any age can ask.

use tonic::service::RoutesBuilder;

/// Largest question.
const MESSAGE: usize = 64 * 1024;

/// What is served beside it. Services for nodes are described to nobody here.
const SERVED: &[&str] = &[
    "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
    "muster.admin.v1.AccessService",
    "muster.admin.v1.AlertsService",
    "muster.admin.v1.ArtifactsService",
    "muster.admin.v1.AssignmentsService",
    "muster.admin.v1.AuditService",
    "muster.admin.v1.BlobsService",
    "muster.admin.v1.BundlesService",
    "muster.admin.v1.ConcurrencyLeasesService",
    "muster.admin.v1.EventsService",
    "muster.admin.v1.ExtensionsService",
    "muster.admin.v1.GroupsService",
    "muster.admin.v1.IdentityService",
    "muster.admin.v1.JoinTokensService",
    "muster.admin.v1.NodesService",
    "muster.admin.v1.OperationsService",
    "muster.admin.v1.ReleasesService",
    "muster.admin.v1.RolloutsService",
    "muster.admin.v1.SchedulesService",
    "muster.admin.v1.SettingsService",
    "muster.admin.v1.SystemService",
    "muster.admin.v1.WorkloadsService",
];

/// The descriptors do not make a set; a build of ours that is broken.
#[derive(Debug, thiserror::Error)]
#[error("the descriptor set is not usable")]
pub struct Error(#[from] tonic_reflection::server::Error);

/// Adds both services.
///
/// # Errors
/// If the descriptors are broken.
pub fn add(routes: &mut RoutesBuilder) -> Result<(), Error> {
    let builder = || {
        let mut builder = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(muster_proto::DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET)
            .include_reflection_service(false);
        for service in SERVED {
            builder = builder.with_service_name(*service);
        }
        builder
    };
    routes.add_service(builder().build_v1()?.max_decoding_message_size(MESSAGE));
    routes.add_service(builder().build_v1alpha()?.max_decoding_message_size(MESSAGE));
    Ok(())
}
