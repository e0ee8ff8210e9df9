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
const BROKEN: &str = "the descriptors are a set: tests of the room build them";

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
    use tonic::{Code, Status};
    use tonic_reflection::pb::{v1, v1alpha};

    use super::*;

    async fn ask(asked: v1::server_reflection_request::MessageRequest) -> Result<Vec<Vec<u8>>, Status> {
        use v1::server_reflection_response::MessageResponse::{FileDescriptorResponse, ListServicesResponse};
        let mut routes = RoutesBuilder::default();
        add(&mut routes);
        let mut client = v1::server_reflection_client::ServerReflectionClient::new(routes.routes());
        let request = v1::ServerReflectionRequest { message_request: Some(asked), ..Default::default() };
        let mut answers = client.server_reflection_info(tokio_stream::once(request)).await?.into_inner();
        match answers.message().await?.unwrap().message_response.unwrap() {
            ListServicesResponse(listed) => {
                Ok(listed.service.into_iter().map(|service| service.name.into_bytes()).collect())
            }
            FileDescriptorResponse(found) => Ok(found.file_descriptor_proto),
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn each_call_is_told_what_is_served_and_how_it_is_called() {
        use v1::server_reflection_request::MessageRequest::{FileContainingSymbol, ListServices};
        let listed = ask(ListServices(String::new())).await.unwrap();
        let served: Vec<&[u8]> = SERVED.iter().map(|name| name.as_bytes()).collect();
        assert_eq!(listed, served);
        for name in SERVED {
            assert!(!ask(FileContainingSymbol((*name).to_owned())).await.unwrap().is_empty(), "{name}");
        }
        let operators = ask(FileContainingSymbol("muster.admin.v1.NodesService".to_owned())).await;
        assert_eq!(operators.unwrap_err().code(), Code::NotFound);
    }

    #[tokio::test]
    async fn so_is_a_client_of_the_version_before() {
        use v1alpha::server_reflection_request::MessageRequest::ListServices;
        let mut routes = RoutesBuilder::default();
        add(&mut routes);
        let mut client = v1alpha::server_reflection_client::ServerReflectionClient::new(routes.routes());
        let asked = Some(ListServices(String::new()));
        let request = v1alpha::ServerReflectionRequest { message_request: asked, ..Default::default() };
        let mut answers =
            client.server_reflection_info(tokio_stream::once(request)).await.unwrap().into_inner();
        assert!(answers.message().await.unwrap().unwrap().message_response.is_some());
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
