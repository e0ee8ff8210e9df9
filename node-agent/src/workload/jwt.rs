//! Tokens of programs, read by hand: what anybody on the host may bring.

use std::collections::BTreeMap;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use muster_common::{
    clock::UnixMillis,
    tls::{spiffe::TrustDomain, workload::WorkloadId},
};
use serde::Deserialize;
use serde_json::{Map, Value};

/// Longest token that is looked at, in bytes.
const MAX_BYTES: usize = 16 * 1024;
/// Clocks differ: a token may be from so many seconds ahead.
const AHEAD_S: i64 = 60;

/// Public keys by their names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Keys(BTreeMap<String, Vec<u8>>);

/// A token that holds.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Valid {
    /// Whose it is.
    pub(super) id: WorkloadId,
    /// All that it says.
    pub(super) claims: Map<String, Value>,
}

/// Why a token does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the token does not hold: {0}")]
pub(super) struct Invalid(&'static str);

#[derive(Deserialize)]
struct KeySet {
    keys: Vec<Map<String, Value>>,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    typ: Option<String>,
    crit: Option<Value>,
}

impl Keys {
    /// Those of a JWK set that we can use. `None`: it is none.
    pub(super) fn read(jwks: &str) -> Option<Self> {
        let set: KeySet = serde_json::from_str(jwks).ok()?;
        Some(Self(set.keys.iter().filter_map(key).collect()))
    }

    /// Whether there is one of this name.
    pub(super) fn knows(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Checks a token for an audience at a time.
    ///
    /// # Errors
    /// Which check failed.
    pub(super) fn check(
        &self,
        token: &str,
        audience: &str,
        trust_domain: &TrustDomain,
        now: UnixMillis,
    ) -> Result<Valid, Invalid> {
        let wrong = |what| Err(Invalid(what));
        if token.len() > MAX_BYTES {
            return wrong("it is longer than 16 KiB");
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(Invalid("it has not three parts"))?;
        let (header, body) = signed.split_once('.').ok_or(Invalid("it has not three parts"))?;
        let header: Header =
            serde_json::from_slice(&decode(header)?).map_err(|_| Invalid("its header cannot be read"))?;
        if header.alg != "ES256" {
            return wrong("its algorithm is not ES256");
        }
        if header.typ.is_some_and(|typ| typ != "JWT" && typ != "JOSE") || header.crit.is_some() {
            return wrong("its header asks for what is not known here");
        }
        let key =
            header.kid.and_then(|kid| self.0.get(&kid)).ok_or(Invalid("no key of its name is trusted"))?;
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key)
            .verify(signed.as_bytes(), &decode(signature)?)
            .map_err(|_| Invalid("its signature is wrong"))?;
        let claims: Map<String, Value> =
            serde_json::from_slice(&decode(body)?).map_err(|_| Invalid("its claims cannot be read"))?;
        let id = judge(&claims, audience, trust_domain, now.0.div_euclid(1000))?;
        Ok(Valid { id, claims })
    }
}

/// Name of the key by which a token is to be checked; nothing is checked here.
pub(super) fn key_of(token: &str) -> Option<String> {
    let (header, _) = token.split_once('.')?;
    serde_json::from_slice::<Header>(&decode(header).ok()?).ok()?.kid
}

fn judge(
    claims: &Map<String, Value>,
    audience: &str,
    trust_domain: &TrustDomain,
    now_s: i64,
) -> Result<WorkloadId, Invalid> {
    let at = |name: &str| claims.get(name).map(|value| value.as_f64().unwrap_or(f64::NAN));
    #[allow(clippy::cast_precision_loss, reason = "seconds of any year that matters are exact")]
    let (now, latest) = (now_s as f64, (now_s + AHEAD_S) as f64);
    // Compared so that what is no number does not hold.
    if !at("exp").is_some_and(|end| now < end) {
        return Err(Invalid("it has run out, or never says when it does"));
    }
    if !at("nbf").is_none_or(|begin| begin <= latest) || !at("iat").is_none_or(|made| made <= latest) {
        return Err(Invalid("it is not valid yet"));
    }
    let is_for = match claims.get("aud") {
        Some(Value::String(one)) => one == audience,
        Some(Value::Array(many)) => many.iter().any(|one| one.as_str() == Some(audience)),
        _ => false,
    };
    if !is_for {
        return Err(Invalid("it is for another audience"));
    }
    let subject = claims.get("sub").and_then(Value::as_str).and_then(|subject| subject.parse().ok());
    let id: WorkloadId = subject.ok_or(Invalid("its subject is no program of a node"))?;
    if id.trust_domain != *trust_domain {
        return Err(Invalid("it is of another trust domain"));
    }
    Ok(id)
}

fn decode(part: &str) -> Result<Vec<u8>, Invalid> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| Invalid("a part of it is not base64url"))
}

/// The point of a key on P-256, by the key's name.
fn key(jwk: &Map<String, Value>) -> Option<(String, Vec<u8>)> {
    let text = |name: &str| jwk.get(name).and_then(Value::as_str);
    if text("kty") != Some("EC") || text("crv") != Some("P-256") {
        return None;
    }
    let coordinate = |name| URL_SAFE_NO_PAD.decode(text(name)?).ok().filter(|bytes| bytes.len() == 32);
    let point = [vec![4], coordinate("x")?, coordinate("y")?].concat();
    Some((text("kid")?.to_owned(), point))
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::{
        rand::SystemRandom,
        signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _},
    };
    use muster_common::ids::NodeId;
    use serde_json::json;

    use super::*;

    const NOW: UnixMillis = UnixMillis(1_700_000_000_000);

    struct Signer(EcdsaKeyPair);

    impl Signer {
        fn new() -> Self {
            Self(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap())
        }

        fn jwks(&self) -> String {
            let point = self.0.public_key().as_ref();
            let (x, y) = (URL_SAFE_NO_PAD.encode(&point[1..33]), URL_SAFE_NO_PAD.encode(&point[33..]));
            let other = json!({ "kty": "RSA", "kid": "r", "n": "AQAB", "e": "AQAB" });
            json!({ "keys": [other, { "kty": "EC", "crv": "P-256", "kid": "k", "x": x, "y": y }] })
                .to_string()
        }

        fn sign(&self, header: &Value, claims: &Value) -> String {
            let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
            let signed = format!("{}.{}", part(header), part(claims));
            let signature = self.0.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
            format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
        }
    }

    fn header() -> Value {
        json!({ "alg": "ES256", "kid": "k", "typ": "JWT" })
    }

    fn claims() -> Value {
        let sub = format!("spiffe://fleet.example/workload/{}/web", NodeId::generate());
        let now = NOW.0 / 1000;
        json!({ "sub": sub, "aud": ["db", "queue"], "exp": now + 300, "iat": now })
    }

    fn with(base: Value, name: &str, value: Value) -> Value {
        let mut changed = base;
        changed[name] = value;
        changed
    }

    fn check(keys: &Keys, token: &str) -> Result<Valid, Invalid> {
        keys.check(token, "db", &"fleet.example".parse().unwrap(), NOW)
    }

    #[test]
    fn a_token_holds_for_its_audience_and_its_time() {
        let signer = Signer::new();
        let keys = Keys::read(&signer.jwks()).unwrap();
        let token = signer.sign(&header(), &claims());
        let valid = check(&keys, &token).unwrap();
        assert_eq!(key_of(&token).as_deref(), Some("k"));
        assert_eq!((valid.id.name.as_str(), &valid.claims["aud"]), ("web", &json!(["db", "queue"])));
        assert!(check(&keys, &signer.sign(&header(), &with(claims(), "aud", json!("db")))).is_ok());
        let later = UnixMillis(NOW.0 + 300_000);
        let domain = "fleet.example".parse().unwrap();
        assert!(keys.check(&token, "db", &domain, later).is_err(), "at its end it is over");
        assert!(keys.check(&token, "other", &domain, NOW).is_err());
        assert!(keys.check(&token, "db", &"other.example".parse().unwrap(), NOW).is_err());
    }

    #[test]
    fn what_was_changed_or_says_too_little_does_not_hold() {
        let (signer, stranger) = (Signer::new(), Signer::new());
        let keys = Keys::read(&signer.jwks()).unwrap();
        let told = |token: &str| check(&keys, token).unwrap_err().0;
        assert_eq!(told(&stranger.sign(&header(), &claims())), "its signature is wrong");
        let token = signer.sign(&header(), &claims());
        let (body, _) = token.rsplit_once('.').unwrap();
        assert_eq!(told(&format!("{body}.")), "its signature is wrong");
        for (name, value) in [
            ("alg", json!("none")),
            ("alg", json!("HS256")),
            ("kid", json!("r")),
            ("typ", json!("x")),
            ("crit", json!([])),
        ] {
            assert!(
                check(&keys, &signer.sign(&with(header(), name, value.clone()), &claims())).is_err(),
                "{name}"
            );
        }
        let soon = NOW.0 / 1000 + 61;
        for (name, value) in [
            ("exp", Value::Null),
            ("exp", json!("9999999999")),
            ("exp", json!(1)),
            ("nbf", json!(soon)),
            ("iat", json!(soon)),
            ("aud", Value::Null),
            ("aud", json!([])),
            ("sub", json!("spiffe://fleet.example/operator/admin")),
            ("sub", Value::Null),
        ] {
            assert!(
                check(&keys, &signer.sign(&header(), &with(claims(), name, value.clone()))).is_err(),
                "{name}"
            );
        }
        for nonsense in ["", ".", "..", "a.b.c", &"x".repeat(MAX_BYTES + 1)] {
            assert!(check(&keys, nonsense).is_err());
        }
    }

    #[test]
    fn a_set_that_is_none_is_told_and_what_is_not_known_is_left_out() {
        assert_eq!(Keys::read("[]"), None);
        assert!(
            Keys::read("{\"keys\": [{\"kty\": \"EC\", \"crv\": \"P-256\", \"x\": \"AA\"}]}")
                .unwrap()
                .is_empty()
        );
    }
}
