//! One token, check by check. Pure: keys and the time come in.

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD as BASE64};
use jsonwebtoken::{Algorithm, DecodingKey, crypto, jwk};
use muster_common::{clock::UnixMillis, digest::Sha256};
use muster_domain::labels::{Labels, check_labels};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::Error;
use crate::config::Oidc;

/// Longest token.
const MAX: usize = 16 * 1024;
/// Clocks may differ by this much, in seconds.
const LEEWAY: i64 = 60;
/// Latest end that counts, in seconds: the year 9999, so that sums never overflow.
const LATEST: i64 = 253_402_300_799;

/// A token of which nothing is certain yet.
#[derive(Debug)]
pub(super) struct Read<'a> {
    pub(super) key_id: String,
    pub(super) issuer: String,
    algorithm: Algorithm,
    claims: Map<String, Value>,
    message: &'a str,
    signature: &'a str,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    crit: Option<Value>,
}

/// Takes a token apart.
pub(super) fn read(token: &str) -> Result<Read<'_>, Error> {
    if token.len() > MAX {
        return Err(Error::token("size", format!("it is {} bytes long; it may be {MAX}", token.len())));
    }
    let form = || Error::token("form", "it is not three parts of base64url with JSON in the first two");
    let (message, signature) = token.rsplit_once('.').ok_or_else(form)?;
    let (header, claims) = message.split_once('.').ok_or_else(form)?;
    let header: Header = part(header).ok_or_else(form)?;
    let claims: Map<String, Value> = part(claims).ok_or_else(form)?;
    // Only these: what is none of them has no signature, or one that anybody can make
    // who has the public key.
    let algorithm = match header.alg.as_str() {
        "RS256" => Algorithm::RS256,
        "ES256" => Algorithm::ES256,
        "EdDSA" => Algorithm::EdDSA,
        _ => return Err(Error::token("alg", "it must be RS256, ES256 or EdDSA")),
    };
    if header.crit.is_some() {
        return Err(Error::token("crit", "it asks for an extension that is not known here"));
    }
    let key_id = header.kid.ok_or_else(|| Error::token("kid", "it names no key"))?;
    let issuer = claims.get("iss").and_then(Value::as_str);
    let issuer = issuer.ok_or_else(|| Error::token("iss", "it names no issuer"))?.to_owned();
    Ok(Read { key_id, issuer, algorithm, claims, message, signature })
}

fn part<T: serde::de::DeserializeOwned>(text: &str) -> Option<T> {
    serde_json::from_slice(&BASE64.decode(text).ok()?).ok()
}

impl Read<'_> {
    /// Its claims, if one of these keys signed it.
    pub(super) fn verified(self, keys: &[jwk::Jwk]) -> Result<Map<String, Value>, Error> {
        let named = keys.iter().filter(|key| key.common.key_id.as_deref() == Some(&self.key_id));
        let mut named = named.peekable();
        if named.peek().is_none() {
            return Err(Error::token("kid", "the issuer has no such key"));
        }
        let key = named.find(|key| fits(key, self.algorithm));
        let key = key.ok_or_else(|| Error::token("alg", "the key with this kid is not for it"))?;
        let key = DecodingKey::from_jwk(key).map_err(|_| Error::token("kid", "the key cannot be used"))?;
        let good = crypto::verify(self.signature, self.message.as_bytes(), &key, self.algorithm);
        if good.unwrap_or(false) { Ok(self.claims) } else { Err(Error::token("signature", "it is wrong")) }
    }
}

/// Whether a key is of the kind that an algorithm needs, and for nothing else.
fn fits(key: &jwk::Jwk, algorithm: Algorithm) -> bool {
    use jwk::{AlgorithmParameters as Kind, EllipticCurve, KeyAlgorithm, PublicKeyUse};
    let common = &key.common;
    let (kind, name) = match (&key.algorithm, algorithm) {
        (Kind::RSA(_), Algorithm::RS256) => (true, KeyAlgorithm::RS256),
        (Kind::EllipticCurve(it), Algorithm::ES256) => (it.curve == EllipticCurve::P256, KeyAlgorithm::ES256),
        (Kind::OctetKeyPair(it), Algorithm::EdDSA) => {
            (it.curve == EllipticCurve::Ed25519, KeyAlgorithm::EdDSA)
        }
        _ => return false,
    };
    kind && common.public_key_use.as_ref().is_none_or(|usage| *usage == PublicKeyUse::Signature)
        && common.key_algorithm.as_ref().is_none_or(|named| *named == name)
}

/// Whether the claims are for us, for now, and what they must be. Until when.
pub(super) fn check(claims: &Map<String, Value>, oidc: &Oidc, now: UnixMillis) -> Result<UnixMillis, Error> {
    let named = match claims.get("aud") {
        Some(Value::String(one)) => *one == oidc.audience,
        Some(Value::Array(several)) => several.iter().any(|one| one.as_str() == Some(&oidc.audience)),
        _ => false,
    };
    if !named {
        return Err(Error::token("aud", "it was made for somebody else"));
    }
    let now = now.0.div_euclid(1000);
    let exp = seconds(claims, "exp")?.ok_or_else(|| Error::token("exp", "it has no end"))?;
    if exp + LEEWAY <= now {
        return Err(Error::token("exp", "it has run out"));
    }
    for check in ["nbf", "iat"] {
        if seconds(claims, check)?.is_some_and(|from| from - LEEWAY > now) {
            return Err(Error::token(check, "it is of the future; look at both clocks"));
        }
    }
    for (claim, wanted) in &oidc.claims {
        let given = claims.get(claim).map(text);
        if !given.flatten().is_some_and(|given| wanted.all().contains(&given)) {
            let why = format!("claim {claim:?} is not what enrollment.oidc {:?} asks for", oidc.name);
            return Err(Error::token("claims", why));
        }
    }
    Ok(UnixMillis((exp + LEEWAY) * 1000))
}

/// A time of a token. JSON has one kind of number: a fraction is cut off.
fn seconds(claims: &Map<String, Value>, name: &'static str) -> Result<Option<i64>, Error> {
    let Some(value) = claims.get(name) else { return Ok(None) };
    #[allow(clippy::cast_possible_truncation, reason = "it saturates, and the range is looked at next")]
    let number = value.as_i64().or_else(|| value.as_f64().map(|number| number as i64));
    let sane = number.filter(|number| (0..=LATEST).contains(number));
    sane.map(Some).ok_or_else(|| Error::token(name, "it is no time"))
}

/// Claims that can be compared or written on a label.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(yes) => Some(yes.to_string()),
        Value::Number(number) => Some(number.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// The labels that a token gives.
pub(super) fn labels(claims: &Map<String, Value>, oidc: &Oidc) -> Result<Labels, Error> {
    let mut labels = Labels::new();
    for (label, claim) in &oidc.labels {
        let value = claims.get(claim).and_then(text);
        let value =
            value.ok_or_else(|| Error::token("labels", format!("it has no claim {claim:?} with a value")))?;
        labels.insert(label.clone(), value);
    }
    labels.extend(oidc.static_labels.clone()); // what the operator wrote wins
    check_labels(&labels).map_err(|error| Error::token("labels", error.to_string()))?;
    Ok(labels)
}

/// By what a token is known again: its own number with its issuer, or all of it.
pub(super) fn id(claims: &Map<String, Value>, token: &str) -> Sha256 {
    let text = |name| claims.get(name).and_then(Value::as_str);
    match (text("iss"), text("jti").filter(|jti| !jti.is_empty())) {
        (Some(issuer), Some(jti)) => {
            Sha256::of(&[b"jti\0", issuer.as_bytes(), b"\0", jti.as_bytes()].concat())
        }
        // The signed part: a signature can be written in more than one way.
        _ => Sha256::of(token.rsplit_once('.').map_or(token, |(message, _)| message).as_bytes()),
    }
}
