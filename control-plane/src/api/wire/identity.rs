//! Certificates for nodes.

use bytes::Bytes;
use muster_proto::agent::v1 as pb;

use crate::app::{App, enrollment::Grant, identity::Renewed};

pub(in crate::api) fn enrolled(app: &App, grant: Grant) -> pb::EnrollResponse {
    let (trust_bundle_version, roots) = app.ca.trust_bundle();
    pb::EnrollResponse {
        node_id: grant.node.to_string(),
        trust_domain: app.fixed.trust_domain.to_string(),
        certificate_chain_der: chain(grant.chain_der),
        certificate_generation: grant.generation,
        trust_bundle_der: roots.iter().map(|root| Bytes::copy_from_slice(root)).collect(),
        trust_bundle_version,
        session_addresses: app.fixed.session_addresses.clone(),
        epoch: app.fixed.epoch,
    }
}

pub(in crate::api) fn renewed(app: &App, renewed: Renewed) -> pb::RenewCertificateResponse {
    let (trust_bundle_version, roots) = app.ca.trust_bundle();
    pb::RenewCertificateResponse {
        certificate_chain_der: chain(renewed.chain_der),
        certificate_generation: renewed.generation,
        trust_bundle_der: roots.iter().map(|root| Bytes::copy_from_slice(root)).collect(),
        trust_bundle_version,
    }
}

fn chain(ders: Vec<Vec<u8>>) -> Vec<Bytes> {
    ders.into_iter().map(Bytes::from).collect()
}
