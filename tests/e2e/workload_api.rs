//! The SPIFFE Workload API of the agent, as programs of the host have it.

use std::{os::unix::fs::MetadataExt as _, sync::Arc, time::Duration};

use hyper_util::rt::TokioIo;
use muster_common::{reason::Reason, tls};
use muster_proto::{
    admin::v1 as pb,
    spiffe::{self, spiffe_workload_api_client::SpiffeWorkloadApiClient as Api},
};
use muster_tests::{
    agent::{Agent, OPEN},
    eventually::{LONG, eventually},
    operator::reason,
    plane::{Options, Plane, TRUST_DOMAIN},
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tonic::{
    Code, Request, Status, Streaming,
    transport::{Channel, Endpoint, Uri},
};

/// A program on the agent's host.
pub(crate) async fn program(agent: &Agent) -> Api<Channel> {
    let path = agent.state().join("agent.sock");
    let channel = eventually("the socket is there", LONG, || async {
        let path = path.clone();
        let connector = tower::service_fn(move |_: Uri| {
            let path = path.clone();
            async move { tokio::net::UnixStream::connect(path).await.map(TokioIo::new) }
        });
        Endpoint::from_static("http://agent").connect_with_connector(connector).await.ok()
    });
    Api::new(channel.await)
}

fn asked<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("workload.spiffe.io", "true".parse().unwrap());
    request
}

/// Rules that name this very process.
fn rules(agent: &Agent, names: &[&str]) {
    let uid = std::fs::metadata("/proc/self").unwrap().uid();
    let rule = |name: &&str| format!("[[workload.identities]]\nname = {name:?}\nuid = {uid}\n");
    agent.rules(&(OPEN.to_owned() + &names.iter().map(rule).collect::<String>()));
}

async fn stream(api: &mut Api<Channel>) -> Result<Streaming<spiffe::X509svidResponse>, Status> {
    api.fetch_x509svid(asked(spiffe::X509svidRequest {})).await.map(tonic::Response::into_inner)
}

/// An open stream with its first message, once the agent has something to give.
pub(crate) async fn served(
    api: &Api<Channel>,
) -> (Streaming<spiffe::X509svidResponse>, spiffe::X509svidResponse) {
    eventually("the program is served", LONG, || async {
        let mut open = stream(&mut api.clone()).await.ok()?;
        let first = next(&mut open).await.ok()?;
        Some((open, first))
    })
    .await
}

/// The next message of a stream, or how it ends.
async fn next<T>(stream: &mut Streaming<T>) -> Result<T, Status> {
    let message = tokio::time::timeout(LONG, stream.message()).await.expect("a message in time");
    message.map(|message| message.expect("a stream that goes on"))
}

async fn token(api: &mut Api<Channel>, audience: &str) -> Result<spiffe::Jwtsvid, Status> {
    let request = spiffe::JwtsvidRequest { audience: vec![audience.to_owned()], ..Default::default() };
    let answer = api.fetch_jwtsvid(asked(request)).await?.into_inner();
    Ok(answer.svids.into_iter().next().expect("a token"))
}

fn identity(svid: &spiffe::X509svid) -> tls::Identity {
    tls::Identity {
        chain: certificates(&svid.x509_svid),
        key: PrivateKeyDer::Pkcs8(svid.x509_svid_key.to_vec().into()),
    }
}

/// Certificates that stand one after the other.
fn certificates(mut ders: &[u8]) -> Vec<CertificateDer<'static>> {
    let mut found = Vec::new();
    while ders.len() > 4 {
        // A SEQUENCE with a length of two bytes, as all of ours have.
        assert_eq!(&ders[..2], [0x30, 0x82]);
        let length = 4 + usize::from(u16::from_be_bytes([ders[2], ders[3]]));
        found.push(CertificateDer::from(ders[..length].to_vec()));
        ders = &ders[length..];
    }
    found
}

pub(crate) async fn enrolled(folder: &std::path::Path, plane: &Plane, names: &[&str]) -> Agent {
    let mut agent = Agent::host(folder, "web-1", OPEN);
    rules(&agent, names);
    agent.connect(&plane.join(1, &[]).await);
    agent.run();
    agent
}

async fn fast_plane(folder: &std::path::Path, ttl: &str) -> Plane {
    let mut plane = Plane::init(folder, &Options::default());
    for (key, value) in [("x509-ttl", ttl), ("bundle-refresh", "\"1s\""), ("publish-for", "\"1s\"")] {
        plane.configure(key, value);
    }
    plane.serve(&[]).await;
    plane
}

#[tokio::test]
async fn two_programs_get_identities_and_speak_with_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let plane = Plane::start(folder.path(), &Options::default()).await;
    let agent = enrolled(folder.path(), &plane, &["web", "db"]).await;
    let mut api = program(&agent).await;
    let given = served(&api).await.1.svids;
    let name = |name: &str| format!("spiffe://{TRUST_DOMAIN}/workload/{}/{name}", agent.node);
    let ids: Vec<_> = given.iter().map(|svid| svid.spiffe_id.clone()).collect();
    assert_eq!(ids, [name("web"), name("db")]);
    assert_eq!((given[0].hint.as_str(), given[1].hint.as_str()), ("web", "db"));
    let mut bundles =
        api.fetch_x509_bundles(asked(spiffe::X509BundlesRequest {})).await.unwrap().into_inner();
    let bundles = next(&mut bundles).await.unwrap().bundles;
    assert_eq!(bundles[&format!("spiffe://{TRUST_DOMAIN}")], given[0].bundle);

    let (seen_by_db, seen_by_web) = speak(&given[0], &given[1]).await;
    assert_eq!(seen_by_db, given[0].x509_svid, "the db knows that it is the web");
    assert_eq!(seen_by_web, given[1].x509_svid);
}

/// Mutual TLS between the owner of one identity and that of another; whom each saw.
async fn speak(client: &spiffe::X509svid, server: &spiffe::X509svid) -> (Vec<u8>, Vec<u8>) {
    let roots = || tls::roots(&certificates(&server.bundle)).unwrap();
    let accepts = tls::server_config(identity(server), roots()).unwrap();
    let (client_side, server_side) = tokio::io::duplex(64 * 1024);
    let serve = async {
        let mut tls = tokio_rustls::TlsAcceptor::from(Arc::new(accepts)).accept(server_side).await.unwrap();
        tls.write_all(b"hello").await.unwrap();
        tls.shutdown().await.unwrap();
        tls.get_ref().1.peer_certificates().unwrap()[0].to_vec()
    };
    let ask = async {
        // SPIFFE names stand in no DNS: the chain is judged as that of any peer.
        let verifier = Arc::new(AnyName(tls::client_verifier(roots()).unwrap()));
        let me = identity(client);
        let mut config = rustls::ClientConfig::builder_with_provider(tls::provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_client_auth_cert(me.chain, me.key)
            .unwrap();
        config.alpn_protocols = vec![b"h2".to_vec()];
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        let name = ServerName::try_from("db").unwrap();
        let mut tls = connector.connect(name, client_side).await.unwrap();
        let mut said = Vec::new();
        tls.read_to_end(&mut said).await.unwrap();
        assert_eq!(said, b"hello");
        tls.get_ref().1.peer_certificates().unwrap()[0].to_vec()
    };
    tokio::join!(serve, ask)
}

/// Judges a server's chain and not its name.
#[derive(Debug)]
struct AnyName(Arc<dyn rustls::server::danger::ClientCertVerifier>);

impl rustls::client::danger::ServerCertVerifier for AnyName {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        rest: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: rustls::pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        self.0.verify_client_cert(leaf, rest, now)?;
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

#[tokio::test]
async fn who_is_not_named_gets_nothing_and_an_edit_of_the_lock_file_counts_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let plane = Plane::start(folder.path(), &Options::default()).await;
    let agent = enrolled(folder.path(), &plane, &[]).await;
    let mut api = program(&agent).await;
    let refused = stream(&mut api).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused)), (Code::PermissionDenied, Some(Reason::WorkloadDenied)));
    assert!(refused.message().contains("no [[workload.identities]]"), "{refused}");
    assert_eq!(token(&mut api, "db").await.unwrap_err().code(), Code::PermissionDenied);
    agent.rules(&(OPEN.to_owned() + "[[workload.identities]]\nname = \"web\"\nuid = 4711\n"));
    assert_eq!(stream(&mut api).await.unwrap_err().code(), Code::PermissionDenied, "it is another's");

    rules(&agent, &["web"]);
    let bare = Request::new(spiffe::X509svidRequest {});
    let refused = api.fetch_x509svid(bare).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused)), (Code::InvalidArgument, Some(Reason::InvalidArgument)));
    let (mut open, first) = served(&api).await;
    assert_eq!(first.svids.len(), 1);
    rules(&agent, &["web", "also"]);
    assert_eq!(next(&mut open).await.unwrap().svids.len(), 2, "the new rule counts");
    rules(&agent, &[]);
    let ended = next(&mut open).await.unwrap_err();
    assert_eq!(reason(&ended), Some(Reason::WorkloadDenied), "what was taken away is taken back");
}

#[tokio::test]
async fn a_certificate_is_renewed_on_the_stream_and_served_to_its_end_without_the_control_plane() {
    let folder = tempfile::tempdir().unwrap();
    let mut plane = fast_plane(folder.path(), "\"8s\"").await;
    let agent = enrolled(folder.path(), &plane, &["web"]).await;
    let mut api = program(&agent).await;
    let (mut open, first) = served(&api).await;
    let second = next(&mut open).await.unwrap();
    assert_ne!(first.svids[0].x509_svid, second.svids[0].x509_svid);
    assert_ne!(first.svids[0].x509_svid_key, second.svids[0].x509_svid_key, "each has a key of its own");
    plane.kill();
    let still = next(&mut stream(&mut api).await.unwrap()).await.unwrap();
    assert_eq!(still.svids[0].x509_svid, second.svids[0].x509_svid, "what is valid is served");
    let over = next(&mut open).await.unwrap_err();
    assert_eq!((over.code(), reason(&over)), (Code::Unavailable, Some(Reason::WorkloadUnavailable)));
    plane.serve(&[]).await;
    served(&api).await;
}

#[tokio::test]
async fn programs_hear_of_another_issuer_and_leave_one_that_is_not_trusted_any_more() {
    let folder = tempfile::tempdir().unwrap();
    let plane = fast_plane(folder.path(), "\"1h\"").await;
    let agent = enrolled(folder.path(), &plane, &["web"]).await;
    let api = program(&agent).await;
    let (mut open, mut first) = served(&api).await;
    let first = first.svids.remove(0);
    let operator = plane.operator().await;
    let rotate = |at_once| {
        let request = pb::RotateWorkloadIssuerRequest { at_once };
        let mut workloads = operator.workloads.clone();
        async move { workloads.rotate_workload_issuer(request).await.unwrap() }
    };
    rotate(false).await;
    let second = next(&mut open).await.unwrap().svids.remove(0);
    assert_eq!(second.x509_svid, first.x509_svid, "it is as good as before");
    assert_eq!(certificates(&second.bundle).len(), 2, "and another issuer is trusted, too");
    rotate(true).await;
    let third = eventually_svid(&mut open, |svid| certificates(&svid.bundle).len() == 1).await;
    assert_ne!(third.x509_svid, first.x509_svid);
    let verifier = tls::client_verifier(tls::roots(&certificates(&third.bundle)).unwrap()).unwrap();
    let trusted = |svid: &spiffe::X509svid| {
        let now = muster_common::clock::Clock::System.now().0;
        let now = Duration::from_millis(u64::try_from(now).unwrap());
        let leaf = &certificates(&svid.x509_svid)[0];
        verifier.verify_client_cert(leaf, &[], rustls::pki_types::UnixTime::since_unix_epoch(now)).is_ok()
    };
    assert!(trusted(&third) && !trusted(&first));
}

/// The first certificate of a stream that is as wished.
async fn eventually_svid(
    open: &mut Streaming<spiffe::X509svidResponse>,
    is: impl Fn(&spiffe::X509svid) -> bool,
) -> spiffe::X509svid {
    for _ in 0..10 {
        let svid = next(open).await.unwrap().svids.remove(0);
        if is(&svid) {
            return svid;
        }
    }
    panic!("no certificate is as wished")
}

#[tokio::test]
async fn tokens_hold_for_their_audience_and_a_denied_node_gets_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let plane = Plane::start(folder.path(), &Options::default()).await;
    let agent = enrolled(folder.path(), &plane, &["web", "db"]).await;
    let mut api = program(&agent).await;
    let web = format!("spiffe://{TRUST_DOMAIN}/workload/{}/web", agent.node);
    let given = eventually("a token comes", LONG, || {
        let mut api = api.clone();
        async move { token(&mut api, "queue").await.ok() }
    });
    let given = given.await;
    assert_eq!(given.spiffe_id, web);
    assert_eq!(token(&mut api, "queue").await.unwrap().svid, given.svid, "it is young: the same");
    let valid = validate(&mut api, &given.svid, "queue").await.unwrap();
    assert_eq!(valid.spiffe_id, web);
    assert!(valid.claims.unwrap().fields.contains_key("exp"));
    for (svid, audience) in [(given.svid.as_str(), "other"), ("a.b.c", "queue"), (&given.svid[..40], "queue")]
    {
        let refused = validate(&mut api, svid, audience).await.unwrap_err();
        assert_eq!(
            (refused.code(), reason(&refused)),
            (Code::InvalidArgument, Some(Reason::WorkloadTokenInvalid))
        );
    }
    for (audience, spiffe_id, code) in [
        (vec![], "", Code::InvalidArgument),
        (vec![String::new()], "", Code::InvalidArgument),
        (vec!["queue".to_owned()], "spiffe://fleet.test/workload/x/y", Code::PermissionDenied),
    ] {
        let request = spiffe::JwtsvidRequest { audience, spiffe_id: spiffe_id.to_owned() };
        assert_eq!(api.fetch_jwtsvid(asked(request)).await.unwrap_err().code(), code);
    }
    let mut keys = api.fetch_jwt_bundles(asked(spiffe::JwtBundlesRequest {})).await.unwrap().into_inner();
    let keys = next(&mut keys).await.unwrap().bundles;
    assert!(keys[&format!("spiffe://{TRUST_DOMAIN}")].starts_with(b"{\"keys\":"));

    let mut open = stream(&mut api).await.unwrap();
    next(&mut open).await.unwrap();
    let subject = format!("node/{}", agent.node);
    let request = pb::RevokeRequest { subject, reason: "stolen".to_owned() };
    plane.operator().await.identity.clone().revoke(request).await.unwrap();
    let refused = eventually("nothing new is to be had", Duration::from_secs(2), || {
        let mut api = api.clone();
        async move { token(&mut api, "another").await.err().filter(|it| it.code() == Code::PermissionDenied) }
    });
    refused.await;
    assert_eq!(next(&mut open).await.unwrap_err().code(), Code::PermissionDenied, "and the stream ends");
}

pub(crate) async fn validate(
    api: &mut Api<Channel>,
    svid: &str,
    audience: &str,
) -> Result<spiffe::ValidateJwtsvidResponse, Status> {
    let request = spiffe::ValidateJwtsvidRequest { audience: audience.to_owned(), svid: svid.to_owned() };
    api.validate_jwtsvid(asked(request)).await.map(tonic::Response::into_inner)
}
