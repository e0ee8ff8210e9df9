//! Reflection in both versions, so that grpcurl of any age can ask.

use tonic::service::RoutesBuilder;

/// Largest question.
const MESSAGE: usize = 16 * 1024;

/// What is served beside it. Nothing else of the protocol is described here.
const SERVED: &[&str] = &[
    "SpiffeWorkloadAPI",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
    "muster.local.v1.AgentService",
];

/// Adds both services.
pub(super) fn add(routes: &mut RoutesBuilder) {
    let builder = || {
        let mut builder = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(muster_proto::DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET)
            .include_reflection_service(false);
        for service in SERVED {
            builder = builder.with_service_name(*service);
        }
        builder
    };
    let broken = "the descriptors are a set: a test of the room builds them";
    let (v1, v1alpha) = (builder().build_v1().expect(broken), builder().build_v1alpha().expect(broken));
    routes.add_service(v1.max_decoding_message_size(MESSAGE));
    routes.add_service(v1alpha.max_decoding_message_size(MESSAGE));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_descriptors_are_a_set() {
        add(&mut RoutesBuilder::default());
    }
}
