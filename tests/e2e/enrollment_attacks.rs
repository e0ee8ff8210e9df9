//! What strangers try on the enrollment port.

use std::sync::Arc;

use muster_common::{clock::Clock, join::JoinString, reason::Reason, tls};
use muster_node_agent::dial;
use muster_proto::agent::v1::{self as agent, enrollment_service_client::EnrollmentServiceClient};
use muster_tests::{
    eventually::LONG,
    operator::reason,
    plane::{Options, Plane},
};
use tonic::{Code, Status, transport::Channel};

async fn stranger(join: &JoinString) -> EnrollmentServiceClient<Channel> {
    let tls = Arc::new(tls::enrollment_client_config(join.ca_pin).unwrap());
    EnrollmentServiceClient::new(dial::channel(&join.addresses[0], tls).await.unwrap())
}

fn csr(change: impl FnOnce(&mut rcgen::CertificateParams)) -> Vec<u8> {
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    change(&mut params);
    params.serialize_request(&rcgen::KeyPair::generate().unwrap()).unwrap().der().to_vec()
}

async fn enroll(join: &JoinString, csr_der: Vec<u8>) -> Result<agent::EnrollResponse, Status> {
    let request = agent::EnrollRequest {
        token: join.secret.clone(),
        csr_der: csr_der.into(),
        hostname: "host".to_owned(),
        ..Default::default()
    };
    stranger(join).await.enroll(request).await.map(tonic::Response::into_inner)
}

#[tokio::test]
async fn ten_thousand_guesses_let_nobody_in_are_held_back_and_disturb_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let mut plane = Plane::init(folder.path(), &Options::default());
    plane.configure("enrollments", "5");
    plane.configure("enrollments-burst", "50");
    plane.serve(&[]).await;
    let (operator, join) = (plane.operator().await, plane.join(1, &[]).await);
    let (begun, csr_der) = (Clock::System.monotonic(), csr(|_| {}));
    let mut client = stranger(&join).await;
    let (mut unknown, mut limited) = (0, 0);
    for guess in 0..10_000 {
        let request = agent::EnrollRequest {
            token: format!("{guess:043}"),
            csr_der: csr_der.clone().into(),
            ..Default::default()
        };
        let refused = client.enroll(request).await.unwrap_err();
        match (refused.code(), reason(&refused)) {
            (Code::Unauthenticated, Some(Reason::TokenUnknown)) => unknown += 1,
            (Code::ResourceExhausted, Some(Reason::RateLimited)) => limited += 1,
            // A connection that is refused a thousand times is ended; a guesser comes again.
            (_, None) => client = stranger(&join).await,
            other => panic!("{other:?}: {refused}"),
        }
        if guess % 2500 == 0 {
            assert_eq!(operator.select("").await, Vec::<String>::new());
        }
    }
    assert!(Clock::System.monotonic() - begun < LONG);
    assert!(unknown >= 50 && limited >= 5000, "{unknown} were looked at, {limited} were not");
    assert!(plane.metric(r#"muster_door_limits_total{door="enrollment",limit="enrollments"}"#).await >= 5000);
    assert!(plane.metric(r#"muster_enrollments_refused_total{reason="TOKEN_UNKNOWN"}"#).await >= 50);
}

#[tokio::test]
async fn a_request_for_more_than_a_certificate_of_ones_own_key_is_refused_and_uses_nothing_up() {
    let folder = tempfile::tempdir().unwrap();
    let plane = Plane::start(folder.path(), &Options::default()).await;
    let join = plane.join(1, &[]).await;
    let refused = async |csr_der| {
        let refused = enroll(&join, csr_der).await.unwrap_err();
        (refused.code(), reason(&refused))
    };
    let named = csr(|params| {
        params.subject_alt_names = vec![rcgen::SanType::DnsName("plane.test".try_into().unwrap())];
    });
    // By hand: rcgen writes no such flag into a request.
    let flag = rcgen::CustomExtension::from_oid_content(&[2, 5, 29, 19], vec![0x30, 3, 1, 1, 0xff]);
    let flagged = csr(|params| params.custom_extensions = vec![flag]);
    let forbidden = (Code::InvalidArgument, Some(Reason::CsrNamesForbidden));
    assert_eq!(refused(named).await, forbidden);
    assert_eq!(refused(flagged).await, forbidden);
    let invalid = (Code::InvalidArgument, Some(Reason::CsrInvalid));
    assert_eq!(refused(rsa_512()).await, invalid);
    let padded = |bytes: usize| {
        let content = vec![0; bytes];
        csr(|params| {
            params.custom_extensions = vec![rcgen::CustomExtension::from_oid_content(&[1, 2, 3], content)];
        })
    };
    assert_eq!(refused(padded(8 * 1024)).await, invalid);
    let (_, huge) = refused(padded(1024 * 1024)).await;
    assert_eq!(huge, Some(Reason::TooLarge));
    enroll(&join, csr(|_| {})).await.expect("the token's one use is still there");
}

/// A request with an RSA key of 512 bits, and a signature that nobody needs to look at.
fn rsa_512() -> Vec<u8> {
    let modulus = [&[0, 0x80][..], &[0x5b; 62], &[1]].concat();
    let key = der(0x30, &[der(2, &modulus), der(2, &[1, 0, 1])].concat());
    let rsa = der(0x30, &[der(6, &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1]), der(5, &[])].concat());
    let with_sha256 =
        der(0x30, &[der(6, &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 11]), der(5, &[])].concat());
    let info = der(0x30, &[rsa, der(3, &[&[0][..], &key].concat())].concat());
    let info = der(0x30, &[der(2, &[0]), der(0x30, &[]), info, der(0xa0, &[])].concat());
    der(0x30, &[info, with_sha256, der(3, &[&[0][..], &[7; 64]].concat())].concat())
}

fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = u8::try_from(content.len()).unwrap();
    let head = if length < 128 { vec![tag, length] } else { vec![tag, 0x81, length] };
    [head, content.to_vec()].concat()
}
