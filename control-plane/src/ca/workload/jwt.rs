//! Tokens, and the public keys that check them.

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair},
};
use muster_common::digest::Sha256;
use rcgen::{KeyPair, PublicKeyData as _};
use serde::Serialize;
use serde_json::{Value, json};

use super::base64url;
use crate::ca::{Error, audit_key};

/// What a token says.
#[derive(Debug, Clone, Serialize)]
pub struct Claims<'a> {
    /// Name of the program.
    pub sub: &'a str,
    /// For whom it is.
    pub aud: &'a [String],
    /// End, Unix seconds.
    pub exp: i64,
    /// When it was made, Unix seconds.
    pub iat: i64,
    /// Of this token alone; the audit has it, too.
    pub jti: &'a str,
    /// Who made it, where a checker asks for that.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub iss: &'a str,
}

/// Signs tokens.
pub(super) struct Key {
    pair: EcdsaKeyPair,
    id: String,
}

impl Key {
    pub(super) fn new(key: &KeyPair) -> Result<Self, Error> {
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &key.serialize_der());
        let pair = pair.map_err(|_| rcgen::Error::CouldNotParseKeyPair)?;
        Ok(Self { pair, id: key_id(&key.subject_public_key_info()) })
    }

    /// In compact form.
    pub(super) fn sign(&self, claims: &Claims<'_>) -> Result<String, Error> {
        let header = json!({ "alg": "ES256", "kid": self.id, "typ": "JWT" });
        let body = serde_json::to_vec(claims).map_err(|_| rcgen::Error::RingUnspecified)?;
        let signed = format!("{}.{}", base64url(header.to_string()), base64url(body));
        let signature = self.pair.sign(&SystemRandom::new(), signed.as_bytes());
        let signature = signature.map_err(|_| rcgen::Error::RingUnspecified)?;
        Ok(format!("{signed}.{}", base64url(signature)))
    }
}

/// Names a key: the begin of the SHA-256 of its public key info.
pub(super) fn key_id(public_key_info: &[u8]) -> String {
    base64url(&Sha256::of(public_key_info).as_bytes()[..16])
}

/// A public key as others read it. `None`: it is not one on P-256.
pub(super) fn jwk(public_key_info: &[u8]) -> Option<Value> {
    let point = audit_key::point(public_key_info)?;
    let (x, y) = (base64url(&point[1..33]), base64url(&point[33..65]));
    let id = key_id(public_key_info);
    Some(json!({ "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": id, "x": x, "y": y }))
}
