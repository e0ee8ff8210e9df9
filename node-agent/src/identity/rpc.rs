//! The calls about identity, and what they have in common.

use std::{future::Future, sync::Arc, time::Duration};

use muster_common::{
    clock::UnixMillis,
    ids::InstanceId,
    settings::Service,
    tls::{pem, spiffe},
};
use muster_proto::agent::v1::{self as pb, identity_service_client::IdentityServiceClient};
use rcgen::{CertificateParams, DistinguishedName, KeyPair};
use rustls::pki_types::CertificateDer;
use tonic::{Response, Status, transport::Channel};

use super::{Error, Identity};
use crate::dial::{self, Dialer};

const WITHIN: Duration = Duration::from_secs(30);

/// Asks the control plane to remove this node.
///
/// # Errors
/// If it cannot be reached, or says no.
pub async fn leave(identity: &Identity, reason: &str, dialer: &Dialer) -> Result<(), Error> {
    let request = pb::LeaveRequest { reason: reason.to_owned() };
    let channel = connect(identity, Service::Session, dialer).await?;
    within(IdentityServiceClient::new(channel).leave(request)).await.map(|_| ())
}

pub(super) async fn renew(
    identity: &Identity,
    instance: InstanceId,
    key: &KeyPair,
    dialer: &Dialer,
) -> Result<pb::RenewCertificateResponse, Error> {
    let request = pb::RenewCertificateRequest {
        csr_der: csr(key)?.into(),
        certificate_generation: identity.certificate_generation,
        instance_id: instance.to_string(),
    };
    let channel = connect(identity, Service::Session, dialer).await?;
    within(IdentityServiceClient::new(channel).renew_certificate(request)).await
}

/// A connection to the control plane by which a node speaks, for a service.
///
/// # Errors
/// If none of the addresses for sessions can be reached.
pub async fn connect(identity: &Identity, service: Service, dialer: &Dialer) -> Result<Channel, Error> {
    let tls = Arc::new(identity.client_config()?);
    let mut last = Error::Answer("no session address");
    for address in &identity.session_addresses {
        match dialer.channel(service, address, Arc::clone(&tls)).await {
            Ok(channel) => return Ok(channel),
            Err(error) => last = error.into(),
        }
    }
    Err(last)
}

pub(super) async fn within<T>(call: impl Future<Output = Result<Response<T>, Status>>) -> Result<T, Error> {
    match tokio::time::timeout(WITHIN, call).await {
        Ok(Ok(response)) => Ok(response.into_inner()),
        Ok(Err(status)) => Err(dial::Refusal::from(&status).into()),
        Err(_) => Err(dial::Refusal::from(&Status::deadline_exceeded("no answer within 30 s")).into()),
    }
}

/// A request that carries a key and no names: names come from the control plane.
pub(super) fn csr(key: &KeyPair) -> Result<Vec<u8>, Error> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    Ok(params.serialize_request(key)?.der().to_vec())
}

/// The chain as PEM, and the leaf's life.
pub(super) fn chain(ders: &[bytes::Bytes]) -> Result<(String, (UnixMillis, UnixMillis)), Error> {
    let chain: Vec<CertificateDer<'_>> = ders.iter().map(|der| CertificateDer::from(der.as_ref())).collect();
    let leaf = chain.first().ok_or(Error::Answer("no certificate"))?;
    let leaf = spiffe::read_leaf(leaf).map_err(|_| Error::Answer("a certificate without a name"))?;
    let at = |seconds: i64| UnixMillis(seconds.saturating_mul(1000));
    Ok((pem::encode_certificates(&chain), (at(leaf.not_before_s), at(leaf.not_after_s))))
}
