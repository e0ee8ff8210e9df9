//! Bad input gets a clear error with a stable reason, and nothing is lost.

use std::sync::Arc;

use muster_common::{digest::Sha256, join::JoinString, reason::Reason, tls};
use muster_node_agent::dial;
use muster_proto::{
    admin::v1 as pb,
    agent::v1::{self as agent, enrollment_service_client::EnrollmentServiceClient},
    types::v1::BundleContent,
};
use muster_tests::{
    agent::{Agent, OPEN},
    operator::{file, reason, script},
    plane::{Options, Plane},
    raw::call_with_bytes,
};
use tonic::{Code, Status};

fn told(output: &std::process::Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[tokio::test]
async fn a_join_string_that_cannot_be_used_is_told_with_its_reason() {
    let folder = tempfile::tempdir().unwrap();
    let plane = Plane::start(folder.path(), &Options::default()).await;
    let operator = plane.operator().await;
    let host = Agent::host(folder.path(), "host", OPEN);
    let connect = |join: &str| host.cli(&["connect", join]);
    let join = plane.join(1, &[]).await;

    let pinned = JoinString { ca_pin: Sha256::of(b"another root"), ..join.clone() };
    let wrong = connect(&pinned.to_string());
    assert_eq!(wrong.status.code(), Some(16), "{}", told(&wrong));
    assert!(told(&wrong).contains("CA_PIN_MISMATCH"));

    let unknown = connect(&JoinString { secret: "no such secret".to_owned(), ..join.clone() }.to_string());
    assert_eq!(
        (unknown.status.code(), told(&unknown).contains("TOKEN_UNKNOWN")),
        (Some(18), true),
        "{}",
        told(&unknown)
    );

    let damaged = connect(&join.to_string()[..30]);
    assert_eq!(damaged.status.code(), Some(15), "{}", told(&damaged));

    let short = pb::CreateJoinTokenRequest {
        ttl: Some(prost_types::Duration { seconds: 1, nanos: 0 }),
        ..Default::default()
    };
    let short = operator.join_tokens.clone().create_join_token(short).await.unwrap().into_inner();
    let token = short.join_token.unwrap();
    let until = token.expire_time.unwrap();
    muster_tests::eventually::eventually("its time is over", muster_tests::eventually::LONG, || async {
        let now = muster_common::clock::Clock::System.now().0;
        (now > until.seconds * 1000 + i64::from(until.nanos) / 1_000_000).then_some(())
    })
    .await;
    let expired = connect(&short.join_string);
    assert!(told(&expired).contains("TOKEN_EXPIRED"), "{}", told(&expired));

    let revoked =
        operator.join_tokens.clone().create_join_token(pb::CreateJoinTokenRequest::default()).await.unwrap();
    let revoked = revoked.into_inner();
    let request = pb::RevokeJoinTokenRequest { id: revoked.join_token.unwrap().id };
    operator.join_tokens.clone().revoke_join_token(request).await.unwrap();
    assert!(told(&connect(&revoked.join_string)).contains("TOKEN_REVOKED"));

    let foreign =
        pb::CreateJoinTokenRequest { allowed_cidrs: vec!["192.0.2.0/24".to_owned()], ..Default::default() };
    let foreign = operator.join_tokens.clone().create_join_token(foreign).await.unwrap().into_inner();
    assert!(told(&connect(&foreign.join_string)).contains("TOKEN_WRONG_NETWORK"));

    let mut first = Agent::host(folder.path(), "first", OPEN);
    first.connect(&join);
    let used = connect(&join.to_string());
    assert!(told(&used).contains("TOKEN_USED_UP"), "{}", told(&used));
    assert_eq!(operator.select("").await, [first.node.clone()], "nobody else came in");
    assert_eq!(first.cli(&["connect", &join.to_string()]).status.code(), Some(14));
}

#[tokio::test]
async fn a_repeated_enrollment_with_the_same_key_is_the_same_node() {
    let folder = tempfile::tempdir().unwrap();
    let plane = Plane::start(folder.path(), &Options::default()).await;
    let join = plane.join(1, &[]).await;
    let key = rcgen::KeyPair::generate().unwrap();
    let first = enroll(&join, csr(&key, |_| {})).await.unwrap();
    let again = enroll(&join, csr(&key, |_| {})).await.unwrap();
    assert_eq!(first.node_id, again.node_id, "a lost answer costs nothing");
}

async fn enroll(join: &JoinString, csr_der: Vec<u8>) -> Result<agent::EnrollResponse, Status> {
    let tls = Arc::new(tls::enrollment_client_config(join.ca_pin).unwrap());
    let channel = dial::channel(&join.addresses[0], tls).await.unwrap();
    let request = agent::EnrollRequest {
        token: join.secret.clone(),
        csr_der: csr_der.into(),
        hostname: "host".to_owned(),
        ..Default::default()
    };
    EnrollmentServiceClient::new(channel).enroll(request).await.map(tonic::Response::into_inner)
}

fn csr(key: &rcgen::KeyPair, change: impl FnOnce(&mut rcgen::CertificateParams)) -> Vec<u8> {
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    change(&mut params);
    params.serialize_request(key).unwrap().der().to_vec()
}

#[tokio::test]
async fn a_csr_with_foreign_names_or_without_sense_is_refused_and_uses_nothing_up() {
    let folder = tempfile::tempdir().unwrap();
    let plane = Plane::start(folder.path(), &Options::default()).await;
    let join = plane.join(1, &[]).await;
    let key = rcgen::KeyPair::generate().unwrap();
    let uri = rcgen::SanType::URI("spiffe://fleet.test/operator/admin".try_into().unwrap());
    let named = enroll(&join, csr(&key, |params| params.subject_alt_names = vec![uri])).await.unwrap_err();
    assert_eq!((named.code(), reason(&named)), (Code::InvalidArgument, Some(Reason::CsrNamesForbidden)));
    let subject = csr(&key, |params| params.distinguished_name.push(rcgen::DnType::CommonName, "admin"));
    let titled = enroll(&join, subject).await.unwrap_err();
    assert_eq!(reason(&titled), Some(Reason::CsrNamesForbidden));
    for nonsense in [Vec::new(), b"not a request".to_vec()] {
        let refused = enroll(&join, nonsense).await.unwrap_err();
        assert_eq!((refused.code(), reason(&refused)), (Code::InvalidArgument, Some(Reason::CsrInvalid)));
    }
    let mut forged = csr(&key, |_| {});
    let last = forged.len() - 1;
    forged[last] ^= 1;
    assert_eq!(reason(&enroll(&join, forged).await.unwrap_err()), Some(Reason::CsrInvalid));
    enroll(&join, csr(&key, |_| {})).await.expect("the token's one use is still there");
}

#[tokio::test]
async fn an_operators_mistakes_are_told_by_field_and_change_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let plane = Plane::start(folder.path(), &Options::default()).await;
    let operator = plane.operator().await;
    let list = pb::ListNodesRequest { selector: "role in (web".to_owned(), ..Default::default() };
    let refused = operator.nodes.clone().list_nodes(list).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused)), (Code::InvalidArgument, Some(Reason::SelectorInvalid)));
    let violations =
        tonic_types::StatusExt::get_error_details(&refused).bad_request().unwrap().field_violations.clone();
    assert_eq!(violations[0].field, "selector");

    let page = pb::ListNodesRequest { page_token: "nonsense".to_owned(), ..Default::default() };
    assert_eq!(
        reason(&operator.nodes.clone().list_nodes(page).await.unwrap_err()),
        Some(Reason::PageTokenInvalid)
    );

    let relative =
        BundleContent { files: vec![file(std::path::Path::new("etc/app"), "x")], ..Default::default() };
    let create =
        pb::CreateBundleRequest { name: "App!".to_owned(), content: Some(relative), validate_only: false };
    let refused = operator.bundles.clone().create_bundle(create).await.unwrap_err();
    assert_eq!(reason(&refused), Some(Reason::InvalidArgument));
    let violations =
        tonic_types::StatusExt::get_error_details(&refused).bad_request().unwrap().field_violations.clone();
    assert!(violations.iter().any(|fault| fault.field == "content.files[0].path"), "{violations:?}");

    let values = [("colour", "red"), ("facts-interval", "1ms"), ("log-level", "info")];
    let values = values.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    let profile = pb::SettingsProfile { name: "p".to_owned(), values, ..Default::default() };
    let put = pb::PutSettingsProfileRequest { profile: Some(profile), validate_only: false };
    let refused = operator.settings.clone().put_settings_profile(put).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused)), (Code::InvalidArgument, Some(Reason::SettingUnknown)));
    let faults = tonic_types::StatusExt::get_error_details(&refused).bad_request().unwrap().clone();
    let fields: Vec<String> = faults.field_violations.into_iter().map(|fault| fault.field).collect();
    assert_eq!(fields, ["profile.values[colour]", "profile.values[facts-interval]"], "all that is wrong");

    // As much as a request can hold: what is wrong with it fits into an answer's trailer.
    let values = (0..20_000).map(|n| (format!("{n}{}", "k".repeat(20)), "red".to_owned())).collect();
    let profile = pb::SettingsProfile { name: "p".to_owned(), values, ..Default::default() };
    let put = pb::PutSettingsProfileRequest { profile: Some(profile), validate_only: false };
    let refused = operator.settings.clone().put_settings_profile(put).await.unwrap_err();
    assert_eq!(reason(&refused), Some(Reason::SettingUnknown), "{refused:?}");

    let nowhere = pb::GetNodeRequest { id: muster_common::ids::NodeId::generate().to_string() };
    let refused = operator.nodes.clone().get_node(nowhere).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused)), (Code::NotFound, Some(Reason::NotFound)));

    let nobody = pb::StartOperationRequest {
        selector: String::new(),
        spec: Some(script("echo")),
        ..Default::default()
    };
    let refused = operator.operations.clone().start_operation(nobody).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument, "an empty selector never means all");
    let bundles =
        operator.bundles.clone().list_bundles(pb::ListBundlesRequest::default()).await.unwrap().into_inner();
    assert!(bundles.bundles.is_empty());
}

#[tokio::test]
async fn an_update_mask_says_what_changes_and_an_unknown_path_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let plane = Plane::start(folder.path(), &Options::default()).await;
    let operator = plane.operator().await;
    let raw = muster_tests::raw::RawNode::enroll(&plane.join(1, &[("role", "web")]).await).await;
    let id = raw.identity.node.to_string();
    let update = async |name: &str, labels: &[(&str, &str)], mask: &[&str]| {
        let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let node = pb::Node { id: id.clone(), display_name: name.to_owned(), labels, ..Default::default() };
        let paths = mask.iter().map(|path| (*path).to_owned()).collect();
        let update_mask = (!mask.is_empty()).then_some(prost_types::FieldMask { paths });
        let request = pb::UpdateNodeRequest { node: Some(node), update_mask };
        let updated = operator.nodes.clone().update_node(request).await?.into_inner().node.unwrap();
        Ok::<_, Status>((updated.display_name, updated.labels.len()))
    };
    let told = |name: &str, labels: usize| (name.to_owned(), labels);
    // Without a mask, what is empty stays; with one, what it names is set, and nothing else.
    assert_eq!(update("one", &[], &[]).await.unwrap(), told("one", 1));
    assert_eq!(update("two", &[], &["labels"]).await.unwrap(), told("one", 0));
    assert_eq!(update("two", &[("role", "db")], &["display_name"]).await.unwrap(), told("two", 0));
    assert_eq!(
        update("three", &[("a", "b"), ("c", "d")], &["display_name", "labels"]).await.unwrap(),
        told("three", 2)
    );
    for (mask, field) in [(&["labels", "colour"], "update_mask"), (&["labels", "id"], "update_mask")] {
        let refused = update("four", &[], mask).await.unwrap_err();
        assert_eq!(
            (refused.code(), reason(&refused)),
            (Code::InvalidArgument, Some(Reason::InvalidArgument))
        );
        let details = tonic_types::StatusExt::get_error_details(&refused);
        assert_eq!(details.bad_request().unwrap().field_violations[0].field, field);
    }
    assert_eq!(update("", &[], &["display_name"]).await.unwrap_err().code(), Code::InvalidArgument);
    let node = operator.node(&id).await.unwrap();
    assert_eq!((node.display_name, node.labels.len()), told("three", 2), "a refused update changes nothing");
}

#[tokio::test]
async fn what_is_too_large_or_does_not_decode_is_told_with_its_reason_at_every_door() {
    let folder = tempfile::tempdir().unwrap();
    let plane = Plane::start(folder.path(), &Options::default()).await;
    let join = plane.join(1, &[]).await;
    let too_large = (Code::ResourceExhausted, Some(Reason::TooLarge));
    let refused = enroll(&join, vec![0; 100 * 1024]).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused)), too_large, "{refused}");
    let operator = plane.operator().await;
    let huge = BundleContent {
        files: vec![file(std::path::Path::new("/x"), &"x".repeat(5 << 20))],
        ..Default::default()
    };
    let create =
        pb::CreateBundleRequest { name: "huge".to_owned(), content: Some(huge), validate_only: false };
    let refused = operator.bundles.clone().create_bundle(create).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused)), too_large, "{refused}");
    assert!(refused.message().contains("4194304"), "it says the limit: {refused}");

    let stranger = Arc::new(tls::enrollment_client_config(join.ca_pin).unwrap());
    let doors = [
        (
            plane.addresses().operators,
            Arc::new(plane.operator_tls()),
            "/muster.admin.v1.NodesService/ListNodes",
        ),
        (
            plane.addresses().operators,
            Arc::new(plane.operator_tls()),
            "/muster.admin.v1.NodesService/WatchNodes",
        ),
        (plane.addresses().enrollment, stranger, "/muster.agent.v1.EnrollmentService/Enroll"),
    ];
    for (address, tls, method) in doors {
        let channel = dial::channel(&address.to_string(), tls).await.unwrap();
        // A field that says that it is longer than the message.
        let refused = call_with_bytes(channel, method, vec![0x0a, 0x7f, 0x00]).await.unwrap_err();
        let expected = (Code::InvalidArgument, Some(Reason::MessageInvalid));
        assert_eq!((refused.code(), reason(&refused)), expected, "{method}: {refused}");
    }
    enroll(&join, csr(&rcgen::KeyPair::generate().unwrap(), |_| {})).await.expect("nothing was used up");
}

#[tokio::test]
async fn unknown_keys_in_either_configuration_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let plane = Plane::init(folder.path(), &Options::default());
    let text = std::fs::read_to_string(plane.config()).unwrap();
    std::fs::write(plane.config(), format!("colour = \"red\"\n{text}")).unwrap();
    let mut process = plane.spawn(&[]);
    assert_eq!(process.ended().await.code(), Some(1));
    assert!(process.log().contains("colour"), "{}", process.log());

    let host = Agent::host(folder.path(), "host", OPEN);
    host.configure("colour = \"red\"\n");
    let refused = host.cli(&["show"]);
    assert_eq!((refused.status.code(), told(&refused).contains("colour")), (Some(10), true));
}
