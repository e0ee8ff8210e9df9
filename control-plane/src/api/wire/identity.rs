//! Certificates for nodes.

use bytes::Bytes;
use muster_proto::agent::v1 as pb;
use rustls::pki_types::CertificateDer;

use crate::{
    app::{App, enrollment::Grant, identity::Renewed},
    host_ca::Shown,
};

pub(in crate::api) fn shown(certificate: &pb::HostCertificate) -> Shown {
    Shown {
        chain_der: certificate.chain_der.iter().map(|der| der.to_vec()).collect(),
        challenge: certificate.challenge.to_vec(),
        signature: certificate.signature.to_vec(),
    }
}

pub(in crate::api) fn device_logins(app: &App) -> Vec<pb::DeviceLogin> {
    let told = app.oidc.device_logins().map(|(name, issuer, login)| pb::DeviceLogin {
        name: name.to_owned(),
        issuer: issuer.to_owned(),
        client_id: login.client_id.clone(),
        scopes: login.scopes.clone(),
    });
    told.collect()
}

pub(in crate::api) fn enrolled(app: &App, grant: Grant) -> pb::EnrollResponse {
    let bundle = app.ca.trust_bundle();
    pb::EnrollResponse {
        node_id: grant.node.to_string(),
        trust_domain: app.fixed.trust_domain.to_string(),
        certificate_chain_der: chain(grant.chain_der),
        certificate_generation: grant.generation,
        trust_bundle_der: ders(&bundle.roots),
        trust_bundle_version: bundle.version,
        session_addresses: app.fixed.session_addresses.clone(),
        epoch: app.fixed.history.epoch,
        trust_issuers_der: ders(&bundle.issuers),
        enrollment_addresses: app.fixed.enrollment_addresses.clone(),
    }
}

pub(in crate::api) fn renewed(app: &App, renewed: Renewed) -> pb::RenewCertificateResponse {
    let bundle = app.ca.trust_bundle();
    pb::RenewCertificateResponse {
        certificate_chain_der: chain(renewed.chain_der),
        certificate_generation: renewed.generation,
        trust_bundle_der: ders(&bundle.roots),
        trust_bundle_version: bundle.version,
        trust_issuers_der: ders(&bundle.issuers),
    }
}

pub(in crate::api) fn recovered(app: &App, renewed: Renewed) -> pb::RecoverResponse {
    let bundle = app.ca.trust_bundle();
    pb::RecoverResponse {
        certificate_chain_der: chain(renewed.chain_der),
        certificate_generation: renewed.generation,
        trust_bundle_der: ders(&bundle.roots),
        trust_bundle_version: bundle.version,
        trust_issuers_der: ders(&bundle.issuers),
        session_addresses: app.fixed.session_addresses.clone(),
        enrollment_addresses: app.fixed.enrollment_addresses.clone(),
    }
}

fn ders(certificates: &[CertificateDer<'_>]) -> Vec<Bytes> {
    certificates.iter().map(|der| Bytes::copy_from_slice(der)).collect()
}

fn chain(ders: Vec<Vec<u8>>) -> Vec<Bytes> {
    ders.into_iter().map(Bytes::from).collect()
}
