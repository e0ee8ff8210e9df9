//! Reflection version 1, which clients newer than ours ask for.

use std::sync::Arc;

use muster_node_agent::dial;
use muster_tests::plane::{Options, Plane};
use prost::Message as _;
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};

#[tokio::test]
async fn reflection_v1_lists_and_describes_every_service_of_operators() {
    let folder = tempfile::tempdir().unwrap();
    let plane = Plane::start(folder.path(), &Options::default()).await;
    let address = plane.addresses().operators.to_string();
    let channel = dial::channel(&address, Arc::new(plane.operator_tls())).await.unwrap();
    let client = ServerReflectionClient::new(channel);
    let ask = async |asked: MessageRequest| {
        let request = ServerReflectionRequest { message_request: Some(asked), ..Default::default() };
        let mut client = client.clone();
        let mut answers = client.server_reflection_info(tokio_stream::once(request)).await?.into_inner();
        Ok::<_, tonic::Status>(answers.message().await?.unwrap().message_response.unwrap())
    };
    let listed = ask(MessageRequest::ListServices(String::new())).await.unwrap();
    let MessageResponse::ListServicesResponse(listed) = listed else {
        panic!("not a list");
    };
    let listed: Vec<String> = listed.service.into_iter().map(|service| service.name).collect();
    let expected = declared();
    for service in &expected {
        assert!(listed.contains(service), "{service} is not in {listed:?}");
        let asked = MessageRequest::FileContainingSymbol(service.clone());
        let MessageResponse::FileDescriptorResponse(found) = ask(asked).await.unwrap() else {
            panic!("{service} is not described");
        };
        let files = found.file_descriptor_proto.iter();
        let mut files = files.map(|file| prost_types::FileDescriptorProto::decode(file.as_slice()).unwrap());
        let declares = |file: prost_types::FileDescriptorProto| {
            file.service.iter().any(|found| service.ends_with(&format!(".{}", found.name())))
        };
        assert!(files.any(declares), "{service}");
    }
    assert!(!listed.iter().any(|service| service.starts_with("muster.agent.")), "{listed:?}");
    let unknown = ask(MessageRequest::FileContainingSymbol("muster.admin.v9.Nothing".to_owned())).await;
    assert_eq!(unknown.unwrap_err().code(), tonic::Code::NotFound);
}

/// Services of `muster.admin.v1`.
fn declared() -> Vec<String> {
    let set = prost_types::FileDescriptorSet::decode(muster_proto::DESCRIPTORS).unwrap();
    let admin = set.file.iter().filter(|file| file.package() == "muster.admin.v1");
    let names = |file: &prost_types::FileDescriptorProto| {
        let name =
            |service: &prost_types::ServiceDescriptorProto| format!("{}.{}", file.package(), service.name());
        file.service.iter().map(name).collect::<Vec<_>>()
    };
    admin.flat_map(names).collect()
}
