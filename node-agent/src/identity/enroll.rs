//! How the host comes by its identity.

use std::{collections::BTreeMap, sync::Arc};

use muster_common::{build_info, digest::Sha256, join::JoinString, settings::Service, tls};
use muster_proto::agent::v1::{self as pb, enrollment_service_client::EnrollmentServiceClient};
use rcgen::KeyPair;
use tonic::transport::Channel;
use zeroize::Zeroizing;

use super::{
    Error, HostCertificate, Identity, Roots, Store,
    rpc::{self, csr},
    store::Pending,
};
use crate::dial::{self, Dialer};

/// What the host says of itself when it comes.
#[derive(Debug, Clone)]
pub struct Wish {
    /// Empty: the host name.
    pub display_name: String,
    /// As the host calls itself.
    pub hostname: String,
    /// A claim.
    pub machine_fingerprint: Sha256,
    /// Labels that the node is to have; the control plane may say no to all of it.
    pub labels: BTreeMap<String, String>,
}

/// Where to go, and by what the host wants in.
#[derive(Clone)]
pub struct Join {
    /// `host:port` of enrollment ports; tried in order.
    pub addresses: Vec<String>,
    /// SHA-256 of the root's public key info.
    pub ca_pin: Sha256,
    /// By what.
    pub proof: Proof,
    /// By which way.
    pub dialer: Dialer,
}

/// By what a host wants in.
#[derive(Clone)]
pub enum Proof {
    /// Secret of a join token.
    Secret(String),
    /// Token of an issuer that the control plane trusts.
    Oidc(String),
    /// Certificate of another authority that the control plane trusts.
    HostCertificate(HostCertificate),
}

impl From<JoinString> for Join {
    fn from(join: JoinString) -> Self {
        let proof = Proof::Secret(join.secret);
        Self { addresses: join.addresses, ca_pin: join.ca_pin, proof, dialer: Dialer::default() }
    }
}

impl Join {
    /// What makes an enrollment the same as one before. Issuers' tokens live for minutes,
    /// certificates are renewed: a host comes with another one each time, and is the same.
    fn same_as(&self) -> Sha256 {
        match &self.proof {
            Proof::Secret(secret) => Sha256::of(secret.as_bytes()),
            Proof::Oidc(_) => Sha256::of(&[b"oidc\0".as_slice(), self.ca_pin.as_bytes()].concat()),
            Proof::HostCertificate(_) => {
                Sha256::of(&[b"host-certificate\0".as_slice(), self.ca_pin.as_bytes()].concat())
            }
        }
    }

    async fn request(
        &self,
        channel: Channel,
        csr_der: Vec<u8>,
        wish: &Wish,
    ) -> Result<pb::EnrollRequest, Error> {
        let (mut token, mut oidc_token, mut host_certificate) = Default::default();
        match &self.proof {
            Proof::Secret(secret) => token = secret.clone(),
            Proof::Oidc(given) => oidc_token = given.clone(),
            Proof::HostCertificate(certificate) => {
                let request = pb::BeginEnrollmentRequest {};
                let answer =
                    rpc::within(EnrollmentServiceClient::new(channel).begin_enrollment(request)).await?;
                host_certificate = Some(certificate.shown(answer.challenge, &csr_der)?);
            }
        }
        Ok(pb::EnrollRequest {
            token,
            oidc_token,
            host_certificate,
            csr_der: csr_der.into(),
            display_name: wish.display_name.clone(),
            hostname: wish.hostname.clone(),
            machine_fingerprint: wish.machine_fingerprint.as_bytes().to_vec().into(),
            agent_version: build_info::version().to_owned(),
            requested_labels: wish.labels.clone().into_iter().collect(),
        })
    }
}

/// Enrolls this host. Safe to repeat with the same join string after any
/// failure: the same node comes back.
///
/// # Errors
/// With a stable reason, if the control plane gave one.
pub async fn enroll(store: &Store, join: &Join, wish: &Wish) -> Result<Identity, Error> {
    if let Some(identity) = store.load()? {
        return Err(Error::Enrolled(identity.node));
    }
    let pending = pending(store, join)?;
    let key = KeyPair::from_pem(&pending.key_pem)?;
    let channel = connect(join).await?;
    let request = join.request(channel.clone(), csr(&key)?, wish).await?;
    let answer = rpc::within(EnrollmentServiceClient::new(channel).enroll(request)).await?;
    let identity = identity(answer, pending.key_pem, join)?;
    identity.client_config()?;
    store.save_first(&identity)?;
    Ok(identity)
}

/// Whether a control plane answers at one of the join string's addresses that has the
/// root of its pin.
///
/// # Errors
/// As `enroll` would fail there.
pub async fn reach(join: &Join) -> Result<(), Error> {
    connect(join).await.map(drop)
}

fn pending(store: &Store, join: &Join) -> Result<Pending, Error> {
    let token_sha256 = join.same_as();
    if let Some(pending) = store.pending()?
        && pending.token_sha256 == token_sha256
    {
        return Ok(pending);
    }
    let key_pem = Zeroizing::new(KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?.serialize_pem());
    let pending = Pending { key_pem, token_sha256 };
    store.save_pending(&pending)?;
    Ok(pending)
}

/// The first of the join string's addresses that can be reached. One that has
/// the wrong root is not passed over in silence.
pub(super) async fn connect(join: &Join) -> Result<Channel, Error> {
    let tls = Arc::new(tls::enrollment_client_config(join.ca_pin)?);
    let mut last = Error::Answer("no address of a control plane was given");
    for address in &join.addresses {
        match join.dialer.channel(Service::Enrollment, address, Arc::clone(&tls)).await {
            Ok(channel) => return Ok(channel),
            Err(dial::Error::Untrusted { address, .. }) => return Err(Error::PinMismatch { address }),
            Err(error) => last = error.into(),
        }
    }
    Err(last)
}

fn identity(answer: pb::EnrollResponse, key_pem: Zeroizing<String>, join: &Join) -> Result<Identity, Error> {
    let (chain_pem, life) = rpc::chain(&answer.certificate_chain_der)?;
    // Who sent it was known by the pin; the root of now may be a later one.
    let roots = Roots::of(&answer.trust_bundle_der, &answer.trust_issuers_der)?;
    let told = answer.enrollment_addresses;
    Ok(Identity {
        node: answer.node_id.parse().map_err(|_| Error::Answer("no node id"))?,
        trust_domain: answer.trust_domain.parse().map_err(|_| Error::Answer("no trust domain"))?,
        certificate_generation: answer.certificate_generation,
        trust_bundle_version: answer.trust_bundle_version,
        session_addresses: answer.session_addresses,
        enrollment_addresses: if told.is_empty() { join.addresses.clone() } else { told },
        not_before: life.0,
        not_after: life.1,
        chain_pem,
        key_pem,
        roots_pem: roots.roots_pem,
        issuers_pem: roots.issuers_pem,
    })
}
