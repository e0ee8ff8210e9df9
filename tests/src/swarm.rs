//! Thousands of real agent sessions in one process: the agent's own session
//! code over real connections, and hosts that do at once what they are told.

mod host;
mod kept;
mod probe;
mod watched;

use std::{
    net::SocketAddr,
    ops::Range,
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
    dial, identity,
    session::{
        Options, Stop, Worker,
        frames::{Goodbye, Outbound},
        transport::{Error, Grpc, Transport},
    },
    state::Line,
};
use muster_proto::agent::v1::{self as pb, enrollment_service_client::EnrollmentServiceClient};
use rcgen::KeyPair;
use rustls::{
    ClientConfig,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
};
use tokio::sync::{Semaphore, watch};

pub use host::SwarmHost;
use kept::Kept;
pub use probe::{Probe, Seen, Temper};
use watched::Watched;

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
    /// Hosts that heard that their answer to all that they were offered is stored.
    pub settled: AtomicU64,
    /// Orders that were received, each once.
    pub ordered: AtomicU64,
    /// Orders whose ends are stored.
    pub answered: AtomicU64,
    /// Sessions that broke, and nobody had said that they would end.
    pub lost: AtomicU64,
    /// Certificates that were renewed.
    pub renewed: AtomicU64,
    /// Renewals that reached nobody, and were tried again.
    pub retried: AtomicU64,
    /// Renewals that were refused, and identities or trust that did not serve.
    pub failed: AtomicU64,
}

/// A host's TLS.
pub type Identity = Arc<ClientConfig>;

/// A swarm of sessions.
#[derive(Debug)]
pub struct Swarm {
    /// What happens.
    pub counters: Arc<Counters>,
    /// Its hosts, in the order in which they were given.
    pub probes: Vec<Arc<Probe>>,
    tasks: Tasks,
    stop: watch::Sender<Stop>,
    permits: Arc<Semaphore>,
    reconnect: watch::Receiver<(Duration, Duration)>,
}

/// Enrolls many hosts, each with a key of its own.
///
/// # Errors
/// If one is refused.
pub async fn enroll(join: &JoinString, count: usize) -> anyhow::Result<Vec<Identity>> {
    enroll_as(std::slice::from_ref(join), 0..count, |answer, key| config(&answer, key)).await
}

/// Enrolls those of many hosts that have these numbers, the first with the first token,
/// and so on, round and round.
///
/// # Errors
/// If one is refused.
pub async fn enroll_dealt(joins: &[JoinString], numbers: Range<usize>) -> anyhow::Result<Vec<Identity>> {
    enroll_as(joins, numbers, |answer, key| config(&answer, key)).await
}

/// Enrolls many hosts that keep their identities as agents do.
///
/// # Errors
/// If one is refused.
pub async fn enroll_members(join: &JoinString, count: usize) -> anyhow::Result<Vec<identity::Identity>> {
    enroll_as(std::slice::from_ref(join), 0..count, |answer, key| kept::enrolled(answer, key, join)).await
}

async fn enroll_as<T>(
    joins: &[JoinString],
    numbers: Range<usize>,
    made: impl Fn(pb::EnrollResponse, &KeyPair) -> anyhow::Result<T>,
) -> anyhow::Result<Vec<T>> {
    let first = joins.first().context("no token")?;
    let address = first.addresses.first().context("no address")?;
    let mut identities = Vec::with_capacity(numbers.len());
    let mut next = numbers.start;
    while next < numbers.end {
        let (socket, to) = (tokio::net::TcpSocket::new_v4()?, address.parse::<SocketAddr>()?);
        if to.ip().is_loopback() {
            // From another loopback address: rates are counted for each.
            socket.bind(SocketAddr::from(([127, 0, 1, u8::try_from(next / PER_ADDRESS + 1)?], 0)))?;
        }
        let stream = socket.connect(to).await?;
        let tls = Arc::new(tls::enrollment_client_config(first.ca_pin)?);
        let client = EnrollmentServiceClient::new(dial::over(stream, address, tls).await?);
        let end = numbers.end.min((next / PER_ADDRESS + 1) * PER_ADDRESS);
        for number in next..end {
            let (answer, key) = enroll_one(client.clone(), &joins[number % joins.len()]).await?;
            identities.push(made(answer, &key)?);
        }
        next = end;
    }
    Ok(identities)
}

async fn enroll_one(
    mut client: EnrollmentServiceClient<tonic::transport::Channel>,
    join: &JoinString,
) -> anyhow::Result<(pb::EnrollResponse, KeyPair)> {
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
    let request = pb::EnrollRequest {
        token: join.secret.clone(),
        csr_der: csr(&key)?.into(),
        hostname: "swarm".to_owned(),
        ..Default::default()
    };
    Ok((client.enroll(request).await?.into_inner(), key))
}

/// A request that carries a key and no names.
fn csr(key: &KeyPair) -> anyhow::Result<Vec<u8>> {
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    Ok(params.serialize_request(key)?.der().to_vec())
}

fn config(answer: &pb::EnrollResponse, key: &KeyPair) -> anyhow::Result<Identity> {
    let chain = answer.certificate_chain_der.iter().map(|der| CertificateDer::from(der.to_vec())).collect();
    let roots: Vec<CertificateDer<'static>> =
        answer.trust_bundle_der.iter().map(|der| CertificateDer::from(der.to_vec())).collect();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let identity = tls::Identity { chain, key };
    Ok(Arc::new(tls::client_config(identity, tls::roots(&roots)?, answer.trust_domain.parse()?)?))
}

/// Opens so many first connections at once and no more. Who was there comes back when it wants to.
struct Paced {
    grpc: Grpc,
    permits: Option<Arc<Semaphore>>,
    counters: Arc<Counters>,
    probe: Arc<Probe>,
}

impl Transport for Paced {
    type Link = Watched<<Grpc as Transport>::Link>;

    async fn open(&mut self, address: &str, hello: Outbound) -> Result<Self::Link, Error> {
        let permits = self.permits.clone();
        let _permit = match &permits {
            Some(permits) => Some(permits.acquire().await.map_err(|_| Error::Closed)?),
            None => None,
        };
        let link = self.grpc.open(address, hello).await?;
        self.permits = None;
        Ok(Watched {
            link,
            welcomed: false,
            told: false,
            counters: Arc::clone(&self.counters),
            probe: Arc::clone(&self.probe),
        })
    }
}

impl Swarm {
    /// Opens a session for each identity, `at_once` at a time.
    #[must_use]
    pub fn start(address: SocketAddr, identities: &[Identity], at_once: usize) -> Self {
        Self::start_at(&[address], identities, at_once)
    }

    /// The same with any of several control planes that serve one store.
    #[must_use]
    pub fn start_at(addresses: &[SocketAddr], identities: &[Identity], at_once: usize) -> Self {
        let mut swarm = Self::empty(at_once);
        let addresses: Vec<String> = addresses.iter().map(SocketAddr::to_string).collect();
        for identity in identities {
            let host = SwarmHost::new(addresses.clone(), Arc::clone(&swarm.counters), swarm.probe());
            swarm.add(host, Grpc::with_config(Arc::clone(identity)), InstanceId::generate());
        }
        swarm
    }

    /// Opens a session for each host, which renews and trusts as it is told.
    #[must_use]
    pub fn start_members(members: Vec<identity::Identity>, at_once: usize) -> Self {
        let mut swarm = Self::empty(at_once);
        for identity in members {
            let (addresses, instance) = (identity.session_addresses.clone(), InstanceId::generate());
            let generation = identity.certificate_generation;
            let current = Arc::new(watch::Sender::new(identity));
            let grpc = Grpc::new(current.subscribe());
            let kept = Kept {
                instance,
                seen: current.subscribe(),
                current,
                server: grpc.server(),
                counters: Arc::clone(&swarm.counters),
                tasks: swarm.tasks.clone(),
                generation,
                renewing: Arc::default(),
            };
            let host = SwarmHost::new(addresses, Arc::clone(&swarm.counters), swarm.probe()).keeping(kept);
            swarm.add(host, grpc, instance);
        }
        swarm
    }

    fn empty(at_once: usize) -> Self {
        let (_, reconnect) = watch::channel((Duration::from_millis(100), Duration::from_secs(5)));
        Self {
            counters: Arc::default(),
            probes: Vec::new(),
            tasks: Tasks::default(),
            stop: watch::Sender::new(Stop::No),
            permits: Arc::new(Semaphore::new(at_once)),
            reconnect,
        }
    }

    fn probe(&self) -> Arc<Probe> {
        Arc::new(Probe::new(Arc::clone(&self.counters)))
    }

    fn add(&mut self, host: SwarmHost, grpc: Grpc, instance: InstanceId) {
        let (permits, counters) = (Some(Arc::clone(&self.permits)), Arc::clone(&self.counters));
        let probe = host.probe();
        self.probes.push(Arc::clone(&probe));
        let options = Options {
            line: Line::default(),
            instance,
            clock: Clock::System,
            reconnect: self.reconnect.clone(),
            stop: self.stop.subscribe(),
        };
        let (worker, _) = Worker::new(host, Paced { grpc, permits, counters, probe }, options);
        self.tasks.spawn("swarm", Kind::BestEffort, async move {
            let _ = worker.run().await;
        });
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
