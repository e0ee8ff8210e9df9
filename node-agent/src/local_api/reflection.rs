//! Reflection in both versions, so that grpcurl of any age can ask. Hardly anybody does: what
//! it answers from is made for each call, as it would be a tenth of the agent's memory if it stayed.

use std::task::{Context, Poll};

use http::Request;
use tonic::{body::Body, server::NamedService, service::RoutesBuilder};
use tonic_reflection::server::{Builder, v1, v1alpha};
use tower::Service;

/// Largest question.
const MESSAGE: usize = 16 * 1024;

/// What is served beside it. Nothing else of the protocol is described here.
const SERVED: &[&str] = &[
    "SpiffeWorkloadAPI",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
    "muster.local.v1.AgentService",
];
const BROKEN: &str = "the descriptors are a set: a test of the room builds them";

/// Adds both services.
pub(super) fn add(routes: &mut RoutesBuilder) {
    routes.add_service(Anew(now));
    routes.add_service(Anew(before));
}

fn now() -> v1::ServerReflectionServer<impl v1::ServerReflection> {
    described().build_v1().expect(BROKEN).max_decoding_message_size(MESSAGE)
}

fn before() -> v1alpha::ServerReflectionServer<impl v1alpha::ServerReflection> {
    described().build_v1alpha().expect(BROKEN).max_decoding_message_size(MESSAGE)
}

fn described() -> Builder<'static> {
    let mut builder = Builder::configure()
        .register_encoded_file_descriptor_set(muster_proto::LOCAL_DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET)
        .include_reflection_service(false);
    for service in SERVED {
        builder = builder.with_service_name(*service);
    }
    builder
}

/// A service of which each call gets one of its own.
struct Anew<S>(fn() -> S);

impl<S> Clone for Anew<S> {
    fn clone(&self) -> Self {
        Self(self.0)
    }
}

impl<S: Service<Request<Body>>> Service<Request<Body>> for Anew<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(())) // as all services of tonic are
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        (self.0)().call(request)
    }
}

impl<S: NamedService> NamedService for Anew<S> {
    const NAME: &'static str = S::NAME;
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;

    #[test]
    fn the_descriptors_are_a_set() {
        let _ = (now(), before());
    }

    #[test]
    fn what_is_served_is_described_and_nothing_of_operators() {
        let set = prost_types::FileDescriptorSet::decode(muster_proto::LOCAL_DESCRIPTORS).unwrap();
        let of = |package: &str| set.file.iter().any(|file| file.package() == package);
        assert!(of("muster.local.v1") && of("muster.types.v1") && of("google.protobuf"));
        assert!(set.file.iter().any(|file| file.service.iter().any(|it| it.name() == "SpiffeWorkloadAPI")));
        assert!(!of("muster.admin.v1") && !of("muster.agent.v1"));
    }
}
