//! Thousands of real agent sessions in one process: the agent's own session
//! code over real connections, and hosts that do at once what they are told.

mod host;

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::Context as _;
use muster_common::{
    clock::Clock,
    ids::InstanceId,
    join::JoinString,
    tasks::{Kind, Tasks},
    tls::{self, pem},
};
use muster_node_agent::{
    dial,
    session::{
        Options, Stop, Worker,
        frames::{Goodbye, Outbound},
        transport::{Error, Grpc, Transport},
    },
};
use muster_proto::agent::v1::{self as pb, enrollment_service_client::EnrollmentServiceClient};
use rustls::{
    ClientConfig,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
};
use tokio::sync::{Semaphore, watch};

pub use host::SwarmHost;

/// Hosts that enroll at once.
const ENROLLING: usize = 8;
/// Hosts of one source address; as many as a control plane lets in at a stretch.
const PER_ADDRESS: usize = 400;

/// What all hosts of a swarm count together.
#[derive(Debug, Default)]
pub struct Counters {
    /// Sessions that were opened.
    pub opened: AtomicU64,
    /// Heartbeats that were sent.
    pub beats: AtomicU64,
    /// Items that were received.
    pub received: AtomicU64,
}

/// A host's TLS.
pub type Identity = Arc<ClientConfig>;

/// A swarm of sessions.
#[derive(Debug)]
pub struct Swarm {
    /// What happens.
    pub counters: Arc<Counters>,
    tasks: Tasks,
    stop: watch::Sender<Stop>,
}

/// Enrolls many hosts, each with a key of its own.
///
/// # Errors
/// If one is refused.
pub async fn enroll(join: &JoinString, count: usize) -> anyhow::Result<Vec<Identity>> {
    let mut identities = Vec::with_capacity(count);
    while identities.len() < count {
        // From another loopback address: rates are counted for each.
        let source = SocketAddr::from(([127, 0, 1, u8::try_from(identities.len() / PER_ADDRESS + 1)?], 0));
        let socket = tokio::net::TcpSocket::new_v4()?;
        socket.bind(source)?;
        let address = join.addresses.first().context("no address")?;
        let stream = socket.connect(address.parse()?).await?;
        let tls = Arc::new(tls::enrollment_client_config(join.ca_pin)?);
        let client = EnrollmentServiceClient::new(dial::over(stream, address, tls).await?);
        let wanted = PER_ADDRESS.min(count - identities.len());
        let mut left = wanted;
        while left > 0 {
            let batch = ENROLLING.min(left);
            let calls: Vec<_> = (0..batch).map(|_| enroll_one(client.clone(), join)).collect();
            for call in calls {
                identities.push(call.await?);
            }
            left -= batch;
        }
    }
    Ok(identities)
}

async fn enroll_one(
    mut client: EnrollmentServiceClient<tonic::transport::Channel>,
    join: &JoinString,
) -> anyhow::Result<Identity> {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    let request = pb::EnrollRequest {
        token: join.secret.clone(),
        csr_der: params.serialize_request(&key)?.der().to_vec().into(),
        hostname: "swarm".to_owned(),
        ..Default::default()
    };
    let answer = client.enroll(request).await?.into_inner();
    let chain = answer.certificate_chain_der.iter().map(|der| CertificateDer::from(der.to_vec())).collect();
    let roots: Vec<CertificateDer<'static>> =
        answer.trust_bundle_der.iter().map(|der| CertificateDer::from(der.to_vec())).collect();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let identity = tls::Identity { chain, key };
    Ok(Arc::new(tls::client_config(identity, tls::roots(&roots)?, answer.trust_domain.parse()?)?))
}

/// Opens so many connections at once and no more.
struct Paced {
    grpc: Grpc,
    permits: Arc<Semaphore>,
}

impl Transport for Paced {
    type Link = <Grpc as Transport>::Link;

    async fn open(&mut self, address: &str, hello: Outbound) -> Result<Self::Link, Error> {
        let _permit = self.permits.acquire().await.map_err(|_| Error::Closed)?;
        self.grpc.open(address, hello).await
    }
}

impl Swarm {
    /// Opens a session for each identity, `at_once` at a time.
    #[must_use]
    pub fn start(address: SocketAddr, identities: &[Identity], at_once: usize) -> Self {
        let (counters, tasks) = (Arc::<Counters>::default(), Tasks::default());
        let (stop, stopped) = watch::channel(Stop::No);
        let permits = Arc::new(Semaphore::new(at_once));
        let (_, reconnect) = watch::channel((Duration::from_millis(100), Duration::from_secs(5)));
        for identity in identities {
            let host = SwarmHost::new(address.to_string(), Arc::clone(&counters));
            let transport =
                Paced { grpc: Grpc::with_config(Arc::clone(identity)), permits: Arc::clone(&permits) };
            let options = Options {
                instance: InstanceId::generate(),
                clock: Clock::System,
                reconnect: reconnect.clone(),
                stop: stopped.clone(),
            };
            let (worker, _) = Worker::new(host, transport, options);
            tasks.spawn("swarm", Kind::BestEffort, async move {
                let _ = worker.run().await;
            });
        }
        Self { counters, tasks, stop }
    }

    /// Ends all sessions.
    pub async fn end(self) {
        self.stop.send_replace(Stop::Say(Goodbye::Shutdown));
        self.tasks.close();
        if tokio::time::timeout(Duration::from_secs(20), self.tasks.ended()).await.is_err() {
            self.tasks.abort_all();
            self.tasks.ended().await;
        }
    }
}

impl Counters {
    /// Waits until so many were counted. Answers whether they were in time.
    pub async fn reach(&self, which: &AtomicU64, count: u64, within: Duration) -> bool {
        let clock = Clock::System;
        let begun = clock.monotonic();
        while which.load(Ordering::Relaxed) < count {
            if clock.monotonic() - begun > within {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        true
    }
}

/// The identity that the bare programs find in their folder.
///
/// # Errors
/// If it is not there.
pub fn bare_identity(folder: &std::path::Path) -> anyhow::Result<tls::Identity> {
    let chain = pem::certificates(&folder.join("bare.crt"))?;
    Ok(tls::Identity { chain, key: pem::private_key(&folder.join("bare.key"))? })
}

/// An identity under the CA of a control plane, with whatever name: for a server to
/// compare with, and for peers that the control plane itself would never certify.
///
/// # Errors
/// If the CA's files cannot be used.
pub fn server_identity(ca: &std::path::Path, uri: &str) -> anyhow::Result<tls::Identity> {
    let issuer_pem = std::fs::read_to_string(ca.join("issuing.crt"))?;
    let issuer_key = rcgen::KeyPair::from_pem(&std::fs::read_to_string(ca.join("issuing.key"))?)?;
    let issuer = rcgen::Issuer::from_ca_cert_pem(&issuer_pem, issuer_key)?;
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
    let mut params = rcgen::CertificateParams::default();
    params.subject_alt_names = vec![rcgen::SanType::URI(uri.try_into()?)];
    // The minimal client shows the same certificate.
    params.extended_key_usages =
        vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth, rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    let leaf = params.signed_by(&key, &issuer)?;
    let mut chain = vec![leaf.der().clone()];
    chain.extend(pem::certificates(&ca.join("issuing.crt"))?);
    Ok(tls::Identity { chain, key: PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())) })
}
