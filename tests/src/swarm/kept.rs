//! The identity of a swarm's host that obeys as an agent does: it renews with a
//! new key when told to, trusts what it is told to trust, and says so.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use muster_common::{
    backoff::Backoff,
    clock::{Clock, UnixMillis},
    error_chain::Chain,
    ids::InstanceId,
    join::JoinString,
    tasks::{Kind, Tasks},
    tls::{pem, spiffe},
};
use muster_node_agent::{
    dial,
    identity::{Identity, Roots},
    session::Changes,
};
use muster_proto::agent::v1::{self as pb, identity_service_client::IdentityServiceClient};
use prost::bytes::Bytes;
use rand::RngExt as _;
use rcgen::KeyPair;
use rustls::pki_types::CertificateDer;
use tokio::sync::watch;
use zeroize::Zeroizing;

use super::Counters;

/// Between tries of a renewal that was not answered.
const RETRY_MIN: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(15);

/// An identity in use.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) instance: InstanceId,
    pub(super) current: Arc<watch::Sender<Identity>>,
    pub(super) seen: watch::Receiver<Identity>,
    /// What the control plane showed in the newest session.
    pub(super) server: watch::Receiver<dial::Chain>,
    pub(super) counters: Arc<Counters>,
    pub(super) tasks: Tasks,
    /// Of the certificate that the session shows.
    pub(super) generation: u64,
    /// Asked for, until a session shows it.
    pub(super) renewing: Arc<AtomicBool>,
}

impl Kept {
    /// What a session begins with: generation of the certificate, version of the trust.
    pub(super) fn introduce(&mut self) -> (u64, u64) {
        let now = self.seen.borrow_and_update();
        self.generation = now.certificate_generation;
        self.renewing.store(false, Ordering::Relaxed);
        (now.certificate_generation, now.trust_bundle_version)
    }

    pub(super) async fn changed(&mut self) -> Changes {
        if self.seen.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
        let now = self.seen.borrow_and_update();
        let certificate = now.certificate_generation != self.generation;
        Changes { certificate, trust_bundle: Some(now.trust_bundle_version), ..Changes::default() }
    }

    pub(super) fn trust(&self, version: u64, roots: &[Vec<u8>], issuers: &[Vec<u8>]) {
        let (server, now) = (self.server.borrow().clone(), Clock::System.now());
        let held = self.current.borrow().clone();
        let changed =
            Roots::of(roots, issuers).and_then(|trust| held.with_trust(version, &trust, &server, now));
        match changed {
            Ok(Some(changed)) => {
                let trusted = |latest: &mut Identity| {
                    latest.trust_bundle_version = changed.trust_bundle_version;
                    latest.roots_pem.clone_from(&changed.roots_pem);
                    latest.issuers_pem.clone_from(&changed.issuers_pem);
                };
                self.current.send_modify(trusted);
            }
            // The same again: it is said again that it is in force.
            Ok(None) => self.current.send_modify(|_| {}),
            Err(error) => self.failed(&Chain(&error).to_string()),
        }
    }

    pub(super) fn renew(&self, spread: Duration) {
        if self.renewing.swap(true, Ordering::Relaxed) {
            return;
        }
        let wait = spread.mul_f64(rand::rng().random());
        let (instance, current, counters) =
            (self.instance, Arc::clone(&self.current), Arc::clone(&self.counters));
        self.tasks.spawn("renewal", Kind::BestEffort, async move {
            tokio::time::sleep(wait).await;
            let held = current.borrow().clone();
            let mut backoff = Backoff::new(RETRY_MIN, RETRY_MAX);
            let done = loop {
                match renewed(&held, instance).await {
                    // Nobody said no: an agent comes again, too.
                    Err(error) if error.is::<dial::Error>() => {
                        counters.retried.fetch_add(1, Ordering::Relaxed);
                        tokio::time::sleep(backoff.next_wait()).await;
                    }
                    done => break done,
                }
            };
            match done {
                Ok(new) => {
                    counters.renewed.fetch_add(1, Ordering::Relaxed);
                    current.send_modify(|latest| {
                        *latest = Identity {
                            trust_bundle_version: latest.trust_bundle_version,
                            roots_pem: latest.roots_pem.clone(),
                            issuers_pem: latest.issuers_pem.clone(),
                            ..new
                        };
                    });
                }
                Err(error) => {
                    eprintln!("swarm: a renewal failed: {error:#}");
                    counters.failed.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
    }

    pub(super) fn failed(&self, why: &str) {
        eprintln!("swarm: an identity does not serve: {why}");
        self.counters.failed.fetch_add(1, Ordering::Relaxed);
    }
}

async fn renewed(held: &Identity, instance: InstanceId) -> anyhow::Result<Identity> {
    let channel = dial::channel(&held.session_addresses[0], Arc::new(held.client_config()?)).await?;
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
    let request = pb::RenewCertificateRequest {
        csr_der: super::csr(&key)?.into(),
        certificate_generation: held.certificate_generation,
        instance_id: instance.to_string(),
    };
    let answer = IdentityServiceClient::new(channel).renew_certificate(request).await?.into_inner();
    let (chain_pem, not_before, not_after) = chain(&answer.certificate_chain_der)?;
    Ok(Identity {
        certificate_generation: answer.certificate_generation,
        not_before,
        not_after,
        chain_pem,
        key_pem: Zeroizing::new(key.serialize_pem()),
        ..held.clone()
    })
}

/// The identity that an enrollment gave.
pub(super) fn enrolled(
    answer: pb::EnrollResponse,
    key: &KeyPair,
    join: &JoinString,
) -> anyhow::Result<Identity> {
    let (chain_pem, not_before, not_after) = chain(&answer.certificate_chain_der)?;
    let pem_of = |ders: &[Bytes]| {
        pem::encode_certificates(
            &ders.iter().map(|der| CertificateDer::from(der.to_vec())).collect::<Vec<_>>(),
        )
    };
    Ok(Identity {
        node: answer.node_id.parse()?,
        trust_domain: answer.trust_domain.parse()?,
        certificate_generation: answer.certificate_generation,
        trust_bundle_version: answer.trust_bundle_version,
        session_addresses: answer.session_addresses,
        enrollment_addresses: join.addresses.clone(),
        not_before,
        not_after,
        chain_pem,
        key_pem: Zeroizing::new(key.serialize_pem()),
        roots_pem: pem_of(&answer.trust_bundle_der),
        issuers_pem: pem_of(&answer.trust_issuers_der),
    })
}

fn chain(ders: &[Bytes]) -> anyhow::Result<(String, UnixMillis, UnixMillis)> {
    let chain: Vec<_> = ders.iter().map(|der| CertificateDer::from(der.to_vec())).collect();
    let leaf = spiffe::read_leaf(chain.first().ok_or_else(|| anyhow::anyhow!("no certificate"))?)?;
    let at = |seconds: i64| UnixMillis(seconds * 1000);
    Ok((pem::encode_certificates(&chain), at(leaf.not_before_s), at(leaf.not_after_s)))
}
