//! What programs get, as the standard has it.

use std::collections::BTreeMap;

use bytes::Bytes;
use muster_common::tls::workload::WorkloadId;
use muster_proto::spiffe as pb;
use prost_types::{ListValue, Struct, Value, value::Kind};
use serde_json::Value as Json;

use crate::workload::{
    jwt::Valid,
    svid::{Bundles, Svid},
};

/// Deepest claim that is passed on.
const DEEPEST: usize = 16;

pub(super) fn x509<'a>(svids: impl Iterator<Item = &'a Svid>, bundles: &Bundles) -> pb::X509svidResponse {
    let bundle = Bytes::from(bundles.x509_der.concat());
    let svid = |svid: &Svid| pb::X509svid {
        spiffe_id: svid.id.to_string(),
        x509_svid: svid.chain_der.concat().into(),
        x509_svid_key: Bytes::copy_from_slice(&svid.key_der),
        bundle: bundle.clone(),
        hint: svid.id.name.clone(),
    };
    pb::X509svidResponse { svids: svids.map(svid).collect(), ..Default::default() }
}

pub(super) fn x509_bundles(bundles: &Bundles) -> pb::X509BundlesResponse {
    let all = BTreeMap::from([(domain(bundles), Bytes::from(bundles.x509_der.concat()))]);
    pb::X509BundlesResponse { crl: Vec::new(), bundles: all }
}

pub(super) fn jwt_bundles(bundles: &Bundles) -> pb::JwtBundlesResponse {
    let jwks = Bytes::copy_from_slice(bundles.jwks.as_bytes());
    pb::JwtBundlesResponse { bundles: BTreeMap::from([(domain(bundles), jwks)]) }
}

pub(super) fn token(id: &WorkloadId, svid: String) -> pb::Jwtsvid {
    pb::Jwtsvid { spiffe_id: id.to_string(), svid, hint: id.name.clone() }
}

pub(super) fn valid(valid: Valid) -> pb::ValidateJwtsvidResponse {
    let fields = valid.claims.into_iter().map(|(name, claim)| (name, value(claim, 0))).collect();
    pb::ValidateJwtsvidResponse { spiffe_id: valid.id.to_string(), claims: Some(Struct { fields }) }
}

fn domain(bundles: &Bundles) -> String {
    format!("spiffe://{}", bundles.trust_domain)
}

fn value(json: Json, depth: usize) -> Value {
    let kind = match json {
        _ if depth > DEEPEST => Kind::NullValue(0),
        Json::Null => Kind::NullValue(0),
        Json::Bool(value) => Kind::BoolValue(value),
        Json::Number(number) => Kind::NumberValue(number.as_f64().unwrap_or(f64::NAN)),
        Json::String(text) => Kind::StringValue(text),
        Json::Array(all) => {
            let values = all.into_iter().map(|one| value(one, depth + 1)).collect();
            Kind::ListValue(ListValue { values })
        }
        Json::Object(all) => {
            let fields = all.into_iter().map(|(name, one)| (name, value(one, depth + 1))).collect();
            Kind::StructValue(Struct { fields })
        }
    };
    Value { kind: Some(kind) }
}
