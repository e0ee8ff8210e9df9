//! Coming back by proof of the key: after the certificate has run out, or when its
//! issuer is trusted no more. Over the enrollment port, where the control plane
//! shows the way from its root of now to the roots this host knows.

use std::sync::Arc;

use muster_common::{build_info, digest::Sha256, ids::InstanceId, proof, settings::Service};
use muster_proto::agent::v1::{self as pb, enrollment_service_client::EnrollmentServiceClient};
use rcgen::{KeyPair, SigningKey as _};
use tonic::transport::Channel;
use zeroize::Zeroizing;

use super::{Error, Identity, Roots, Store, rpc};
use crate::{dial::Dialer, platform::host};

/// A new certificate and the trust of now, for the same node. The new key is kept
/// until then: if the reply is lost, the same request brings the same answer.
///
/// # Errors
/// With a stable reason, if the control plane gave one.
pub(super) async fn recover(
    store: &Store,
    held: &Identity,
    instance: InstanceId,
    dialer: &Dialer,
) -> Result<Identity, Error> {
    let key_pem = store.recovery_key(held.node)?;
    let key = KeyPair::from_pem(&key_pem)?;
    let mut client = EnrollmentServiceClient::new(connect(held, dialer).await?);
    let node_id = held.node.to_string();
    let begin = pb::BeginRecoveryRequest { node_id: node_id.clone() };
    let challenge = rpc::within(client.begin_recovery(begin)).await?.challenge;
    let csr_der = rpc::csr(&key)?;
    let signed = proof::recovery(&challenge, Sha256::of(&csr_der));
    let request = pb::RecoverRequest {
        node_id,
        challenge,
        csr_der: csr_der.into(),
        signature: KeyPair::from_pem(&held.key_pem)?.sign(&signed)?.into(),
        machine_fingerprint: host::machine_fingerprint().as_bytes().to_vec().into(),
        agent_version: build_info::version().to_owned(),
        instance_id: instance.to_string(),
    };
    let answer = rpc::within(client.recover(request)).await?;
    recovered(held, answer, key_pem)
}

fn recovered(
    held: &Identity,
    answer: pb::RecoverResponse,
    key_pem: Zeroizing<String>,
) -> Result<Identity, Error> {
    let (chain_pem, life) = rpc::chain(&answer.certificate_chain_der)?;
    let roots = Roots::of(&answer.trust_bundle_der, &answer.trust_issuers_der)?;
    let or = |told: Vec<String>, known: &Vec<String>| if told.is_empty() { known.clone() } else { told };
    let recovered = Identity {
        certificate_generation: answer.certificate_generation,
        trust_bundle_version: answer.trust_bundle_version,
        session_addresses: or(answer.session_addresses, &held.session_addresses),
        enrollment_addresses: or(answer.enrollment_addresses, &held.enrollment_addresses),
        not_before: life.0,
        not_after: life.1,
        chain_pem,
        key_pem,
        roots_pem: roots.roots_pem,
        issuers_pem: roots.issuers_pem,
        ..held.clone()
    };
    recovered.client_config()?;
    Ok(recovered)
}

async fn connect(held: &Identity, dialer: &Dialer) -> Result<Channel, Error> {
    let tls = Arc::new(held.recovery_config()?);
    let mut last = Error::Answer("no enrollment address");
    for address in &held.enrollment_addresses {
        match dialer.channel(Service::Enrollment, address, Arc::clone(&tls)).await {
            Ok(channel) => return Ok(channel),
            Err(error) => last = error.into(),
        }
    }
    Err(last)
}
