//! Reflection in both versions, so that grpcurl of any age can ask.

use tonic::service::RoutesBuilder;

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
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(muster_proto::DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    routes.add_service(builder().build_v1()?);
    routes.add_service(builder().build_v1alpha()?);
    Ok(())
}
