//! Identities of programs, and who issues them.

use bytes::Bytes;
use muster_domain::workload::{Issuer, Standing};
use muster_proto::{admin::v1 as admin, agent::v1 as pb};

use super::timestamp;
use crate::{
    app::{
        App,
        workloads::{JwtOrder, Token, X509Order},
    },
    ca::workload::{Bundle, Issuers},
};

pub(in crate::api) fn x509_order(order: pb::X509SvidOrder) -> X509Order {
    X509Order { name: order.name, csr_der: order.csr_der.to_vec() }
}

pub(in crate::api) fn jwt_order(order: pb::JwtSvidOrder) -> JwtOrder {
    JwtOrder { name: order.name, audiences: order.audiences }
}

pub(in crate::api) fn x509_svid((name, chain): (String, Vec<Vec<u8>>)) -> pb::X509Svid {
    pb::X509Svid { name, certificate_chain_der: chain.into_iter().map(Bytes::from).collect() }
}

pub(in crate::api) fn jwt_svid(token: Token) -> pb::JwtSvid {
    let (issued_at_ms, expires_at_ms) = (token.issued_at.0, token.expires_at.0);
    pb::JwtSvid { name: token.name, token: token.token, expires_at_ms, issued_at_ms }
}

pub(in crate::api) fn bundles(app: &App, bundle: &Bundle) -> pb::WorkloadBundles {
    pb::WorkloadBundles {
        x509_authorities_der: bundle.x509_der.iter().map(|der| Bytes::copy_from_slice(der)).collect(),
        jwks_json: bundle.jwks.clone(),
        refresh_after: prost_types::Duration::try_from(app.fixed.workload.bundle_refresh).ok(),
    }
}

pub(in crate::api) fn issuers(app: &App) -> Vec<admin::WorkloadIssuer> {
    let (standings, rules) = (app.workloads.standings(), app.fixed.workload.rules());
    standings.all.iter().map(|one| issuer(one, standings.due_at(one, rules))).collect()
}

fn issuer(issuer: &Issuer, due: Option<muster_common::clock::UnixMillis>) -> admin::WorkloadIssuer {
    let standing = match issuer.standing {
        Standing::Next => admin::WorkloadIssuerStanding::Next,
        Standing::Active => admin::WorkloadIssuerStanding::Active,
        Standing::Previous => admin::WorkloadIssuerStanding::Previous,
    };
    admin::WorkloadIssuer {
        number: issuer.number,
        standing: standing as i32,
        certificate_der: issuer.certificate_der.clone().into(),
        key_id: Issuers::key_id(&issuer.jwt_key_der),
        created_at: Some(timestamp(issuer.created_at)),
        changed_at: Some(timestamp(issuer.changed_at)),
        not_after: Some(timestamp(issuer.not_after)),
        next_step_at: due.map(timestamp),
    }
}
