use std::{collections::BTreeMap, sync::Arc, time::Duration};

use aws_lc_rs::{
    hmac,
    rand::SystemRandom,
    rsa::KeySize,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256,
        RsaKeyPair, RsaPublicKeyComponents,
    },
};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD as BASE64};
use muster_common::{clock::Clock, tasks::Tasks};
use serde_json::{Value, json};

use super::*;
use crate::config::Values;

const NOW: UnixMillis = UnixMillis(1_700_000_000_000);
const NOW_S: i64 = 1_700_000_000;

enum Key {
    Rsa(RsaKeyPair),
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
}

impl Key {
    fn rsa(size: KeySize) -> Self {
        Self::Rsa(RsaKeyPair::generate(size).unwrap())
    }

    fn ec() -> Self {
        Self::Ec(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap())
    }

    fn ed() -> Self {
        Self::Ed(Ed25519KeyPair::generate().unwrap())
    }

    fn jwk(&self, kid: &str) -> Value {
        let text = |bytes: &[u8]| BASE64.encode(bytes);
        match self {
            Self::Rsa(key) => {
                let public = RsaPublicKeyComponents::<Vec<u8>>::from(key.public_key());
                json!({ "kid": kid, "kty": "RSA", "n": text(&public.n), "e": text(&public.e) })
            }
            Self::Ec(key) => {
                let point = key.public_key().as_ref();
                let (x, y) = (text(&point[1..33]), text(&point[33..]));
                json!({ "kid": kid, "kty": "EC", "crv": "P-256", "x": x, "y": y })
            }
            Self::Ed(key) => {
                json!({ "kid": kid, "kty": "OKP", "crv": "Ed25519", "x": text(key.public_key().as_ref()) })
            }
        }
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match self {
            Self::Rsa(key) => {
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).unwrap();
                signature
            }
            Self::Ec(key) => key.sign(&random, message).unwrap().as_ref().to_vec(),
            Self::Ed(key) => key.sign(message).as_ref().to_vec(),
        }
    }

    fn token(&self, header: &Value, claims: &Value) -> String {
        let message = message(header, claims);
        format!("{message}.{}", BASE64.encode(self.sign(message.as_bytes())))
    }
}

fn message(header: &Value, claims: &Value) -> String {
    format!("{}.{}", BASE64.encode(header.to_string()), BASE64.encode(claims.to_string()))
}

fn claims() -> Value {
    json!({
        "iss": "https://issuer.example", "aud": ["other", "muster"], "sub": "job", "jti": "1",
        "iat": NOW_S, "nbf": NOW_S, "exp": NOW_S + 300, "ref": "main", "repository": "app", "attempt": 3,
    })
}

fn with(name: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[name] = value;
    claims
}

fn without(name: &str) -> Value {
    let mut claims = claims();
    claims.as_object_mut().unwrap().remove(name);
    claims
}

/// An issuer whose keys are in a file.
struct Place {
    folder: tempfile::TempDir,
    issuers: Issuers,
}

impl Place {
    fn new(keys: &[Value]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let oidc = config::Oidc {
            name: "ci".to_owned(),
            issuer: "https://issuer.example".to_owned(),
            audience: "muster".to_owned(),
            jwks: folder.path().join("keys.json").to_str().unwrap().to_owned(),
            ca_file: None,
            claims: [("ref".to_owned(), Values::Any(vec!["main".to_owned(), "next".to_owned()]))].into(),
            any_subject: false,
            labels: [("repo".to_owned(), "repository".to_owned())].into(),
            static_labels: [("role".to_owned(), "runner".to_owned())].into(),
            requestable_labels: Vec::new(),
            device_login: None,
        };
        let place = Self { issuers: Issuers::new(&[oidc]).unwrap(), folder };
        place.write(keys);
        place
    }

    fn write(&self, keys: &[Value]) {
        std::fs::write(self.folder.path().join("keys.json"), json!({ "keys": keys }).to_string()).unwrap();
    }

    async fn judge(&self, token: &str) -> Result<Passed, Error> {
        judge(&self.issuers, token).await
    }

    /// The check that fails.
    async fn refused(&self, token: &str) -> &'static str {
        match self.judge(token).await {
            Err(Error::Token { check, .. }) => check,
            other => panic!("{other:?}"),
        }
    }
}

async fn judge(issuers: &Issuers, token: &str) -> Result<Passed, Error> {
    let keys = issuers.keys(token, &Clock::test(NOW), &Tasks::default()).await?;
    issuers.judge(token, &keys, NOW)
}

fn header(algorithm: &str) -> Value {
    json!({ "alg": algorithm, "kid": "a", "typ": "JWT" })
}

#[tokio::test]
async fn good_tokens_of_every_kind_of_key_pass_with_their_labels() {
    for (key, algorithm) in
        [(Key::rsa(KeySize::Rsa2048), "RS256"), (Key::ec(), "ES256"), (Key::ed(), "EdDSA")]
    {
        let place = Place::new(&[key.jwk("a")]);
        let passed = place.judge(&key.token(&header(algorithm), &claims())).await.unwrap();
        let labels = BTreeMap::from([("repo", "app"), ("role", "runner")]);
        let labels = labels.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        assert_eq!((passed.issuer.as_str(), passed.labels), ("ci", labels), "{algorithm}");
        assert_eq!(passed.until, NOW + Duration::from_secs(360));
    }
}

#[tokio::test]
async fn the_key_decides_about_the_algorithm() {
    let (rsa, ec) = (Key::rsa(KeySize::Rsa2048), Key::ec());
    let place = Place::new(&[rsa.jwk("a"), ec.jwk("ec")]);
    let unsigned = format!("{}.", message(&json!({ "alg": "none", "kid": "a" }), &claims()));
    assert_eq!(place.refused(&unsigned).await, "alg");
    let unsigned = format!("{}.", message(&header("RS256"), &claims()));
    assert_eq!(place.refused(&unsigned).await, "signature");
    // Everybody has the public key: as a secret it is none.
    let secret = rsa.jwk("a").to_string();
    let message = message(&header("HS256"), &claims());
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()), message.as_bytes());
    assert_eq!(place.refused(&format!("{message}.{}", BASE64.encode(tag))).await, "alg");
    assert_eq!(place.refused(&rsa.token(&json!({ "alg": "RS256", "kid": "ec" }), &claims())).await, "alg");
    assert_eq!(place.refused(&ec.token(&header("ES256"), &claims())).await, "alg");
    for algorithm in ["RS512", "PS256", "ES384", "rs256", ""] {
        assert_eq!(place.refused(&rsa.token(&header(algorithm), &claims())).await, "alg", "{algorithm}");
    }
}

#[tokio::test]
async fn keys_that_are_not_for_signatures_or_are_secrets_open_nothing() {
    let key = Key::ed();
    let mut encrypts = key.jwk("a");
    encrypts["use"] = json!("enc");
    let token = key.token(&header("EdDSA"), &claims());
    assert_eq!(Place::new(&[encrypts]).refused(&token).await, "alg");
    let mut other = key.jwk("a");
    other["alg"] = json!("ES256");
    assert_eq!(Place::new(&[other]).refused(&token).await, "alg");
    let secret = json!({ "kid": "a", "kty": "oct", "k": BASE64.encode("secret") });
    let message = message(&header("HS256"), &claims());
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, b"secret"), message.as_bytes());
    let place = Place::new(&[secret]);
    assert_eq!(place.refused(&format!("{message}.{}", BASE64.encode(tag))).await, "alg");
    assert_eq!(place.refused(&token).await, "alg");
}

#[tokio::test]
async fn a_token_of_another_key_or_changed_on_the_way_is_refused() {
    let (key, thief) = (Key::ed(), Key::ed());
    let place = Place::new(&[key.jwk("a"), json!({ "kid": "b", "kty": "unknown" }), json!(7)]);
    assert_eq!(place.refused(&thief.token(&header("EdDSA"), &claims())).await, "signature");
    let good = key.token(&header("EdDSA"), &claims());
    let (message, signature) = good.rsplit_once('.').unwrap();
    let changed = super::tests::message(&header("EdDSA"), &with("ref", json!("next")));
    assert_ne!(message, changed);
    assert_eq!(place.refused(&format!("{changed}.{signature}")).await, "signature");
    assert_eq!(place.refused(&key.token(&json!({ "alg": "EdDSA", "kid": "z" }), &claims())).await, "kid");
    assert_eq!(place.refused(&key.token(&json!({ "alg": "EdDSA" }), &claims())).await, "kid");
    let critical = json!({ "alg": "EdDSA", "kid": "a", "crit": ["b64"], "b64": false });
    assert_eq!(place.refused(&key.token(&critical, &claims())).await, "crit");
}

#[tokio::test]
async fn claims_are_for_us_for_now_and_what_they_must_be() {
    let key = Key::ed();
    let place = Place::new(&[key.jwk("a")]);
    let token = |claims: &Value| key.token(&header("EdDSA"), claims);
    let refused = async |claims: Value| place.refused(&token(&claims)).await;
    assert_eq!(refused(with("aud", json!("other"))).await, "aud");
    assert_eq!(refused(with("aud", json!(["muster2", 7]))).await, "aud");
    assert_eq!(refused(without("aud")).await, "aud");
    assert_eq!(refused(without("exp")).await, "exp");
    for exp in [json!(NOW_S - 60), json!(-1), json!("soon"), json!(1e300), json!(u64::MAX)] {
        assert_eq!(refused(with("exp", exp.clone())).await, "exp", "{exp}");
    }
    for check in ["nbf", "iat"] {
        assert_eq!(refused(with(check, json!(NOW_S + 61))).await, check);
        assert!(place.judge(&token(&with(check, json!(NOW_S + 60)))).await.is_ok(), "clocks differ");
    }
    assert!(place.judge(&token(&with("exp", json!(NOW_S - 59)))).await.is_ok(), "clocks differ");
    for value in [json!("other"), json!(["main"]), json!(null)] {
        assert_eq!(refused(with("ref", value)).await, "claims");
    }
    assert_eq!(refused(without("repository")).await, "labels");
    assert_eq!(refused(with("repository", json!("no label: \u{202e}"))).await, "labels");
    assert_eq!(refused(without("iss")).await, "iss");
    assert_eq!(place.judge(&token(&with("iss", json!("https://evil.example")))).await, Err(Error::Issuer));
}

#[tokio::test]
async fn what_is_huge_or_no_token_is_refused_before_anything_else() {
    let place = Place::new(&[]);
    assert_eq!(place.refused(&"a.".repeat(16 * 1024)).await, "size");
    for nonsense in ["", ".", "..", "a.b.c", "e30.e30.e30", "e30.W10.x", "\u{e9}.e30.e30"] {
        assert_eq!(place.refused(nonsense).await, "form", "{nonsense:?}");
    }
}

#[tokio::test]
async fn a_token_is_known_again_by_its_number_or_by_what_was_signed() {
    let key = Key::ec();
    let place = Place::new(&[key.jwk("a")]);
    let id = async |claims: &Value| place.judge(&key.token(&header("ES256"), claims)).await.unwrap().id;
    assert_eq!(id(&claims()).await, id(&with("attempt", json!(4))).await, "one number is one token");
    assert_ne!(id(&claims()).await, id(&with("jti", json!("2"))).await);
    let bare = without("jti");
    assert_eq!(id(&bare).await, id(&bare).await, "ECDSA signs the same in another way each time");
    assert_ne!(id(&bare).await, id(&claims()).await);
}

#[tokio::test(start_paused = true)]
async fn a_key_that_was_changed_in_its_file_counts_and_the_old_one_does_not() {
    let (old, new) = (Key::ed(), Key::ed());
    let place = Place::new(&[old.jwk("a")]);
    let token = |key: &Key, kid: &str| key.token(&json!({ "alg": "EdDSA", "kid": kid }), &claims());
    place.judge(&token(&old, "a")).await.unwrap();
    place.write(&[new.jwk("b")]);
    tokio::time::advance(Duration::from_secs(2)).await;
    place.judge(&token(&new, "b")).await.unwrap();
    assert_eq!(place.refused(&token(&old, "a")).await, "kid");
    place.write(&[]);
    std::fs::remove_file(place.folder.path().join("keys.json")).unwrap();
    tokio::time::advance(Duration::from_secs(2)).await;
    let unavailable = Err(Error::Unavailable { issuer: "ci".to_owned() });
    assert_eq!(place.judge(&token(&new, "b")).await, unavailable);
}

/// Shows a certificate under a root, says these keys to whoever trusts it, and ends.
fn https(keys: &str) -> (u16, String) {
    use std::io::{Read as _, Write as _};
    let root = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::default();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let pem = params.self_signed(&root).unwrap().pem();
    let issuer = rcgen::Issuer::new(params, root);
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let leaf = params.signed_by(&key, &issuer).unwrap().der().clone();
    let key = rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(muster_common::tls::provider());
    let config = config.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    let config = Arc::new(config.with_single_cert(vec![leaf], key).unwrap());
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{keys}", keys.len());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let session = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut tls = rustls::StreamOwned::new(session, stream.unwrap());
            if tls.read(&mut [0; 4096]).is_ok() {
                let _ = tls.write_all(answer.as_bytes());
            }
        }
    });
    (port, pem)
}

#[tokio::test]
async fn keys_over_https_come_from_a_server_under_the_configured_roots_alone() {
    let key = Key::ed();
    let (port, root) = https(&json!({ "keys": [key.jwk("a")] }).to_string());
    let (_, other) = https("");
    let folder = tempfile::tempdir().unwrap();
    let judged = async |name: &str, root: Option<&str>| {
        let ca_file = root.map(|root| {
            let file = folder.path().join("ca.pem");
            std::fs::write(&file, root).unwrap();
            file
        });
        let oidc = config::Oidc {
            name: "ci".to_owned(),
            issuer: "https://issuer.example".to_owned(),
            audience: "muster".to_owned(),
            jwks: format!("https://{name}:{port}/keys"),
            ca_file,
            claims: BTreeMap::new(),
            any_subject: true,
            labels: BTreeMap::new(),
            static_labels: BTreeMap::new(),
            requestable_labels: Vec::new(),
            device_login: None,
        };
        let issuers = Issuers::new(&[oidc]).unwrap();
        judge(&issuers, &key.token(&header("EdDSA"), &claims())).await.map(drop)
    };
    let unavailable = Err(Error::Unavailable { issuer: "ci".to_owned() });
    assert_eq!(judged("localhost", Some(&root)).await, Ok(()));
    assert_eq!(judged("localhost", Some(&other)).await, unavailable, "another root");
    assert_eq!(judged("127.0.0.1", Some(&root)).await, unavailable, "another name");
    assert_eq!(judged("localhost", None).await, unavailable, "not under a root of the system");
}

#[tokio::test]
async fn hosts_that_come_while_the_keys_are_fetched_wait_for_them() {
    let key = Key::ed();
    let place = Place::new(&[key.jwk("a")]);
    let token = key.token(&header("EdDSA"), &claims());
    let judged = futures_util::future::join_all((0..8).map(|_| place.judge(&token))).await;
    assert!(judged.iter().all(Result::is_ok), "{judged:?}");
}

#[tokio::test]
async fn who_hangs_up_while_the_issuer_is_asked_takes_nothing_from_others() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let key = Key::ed();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let oidc = config::Oidc {
        name: "ci".to_owned(),
        issuer: "https://issuer.example".to_owned(),
        audience: "muster".to_owned(),
        jwks: format!("http://{}/keys", listener.local_addr().unwrap()),
        ca_file: None,
        claims: BTreeMap::new(),
        any_subject: true,
        labels: BTreeMap::new(),
        static_labels: BTreeMap::new(),
        requestable_labels: Vec::new(),
        device_login: None,
    };
    let issuers = Issuers::new(&[oidc]).unwrap();
    let token = key.token(&header("EdDSA"), &claims());
    let mut stranger = Box::pin(judge(&issuers, &token));
    let (mut asked, _) = tokio::select! {
        asked = listener.accept() => asked.unwrap(),
        judged = &mut stranger => panic!("{judged:?}"),
    };
    drop(stranger);
    let answers = async {
        let keys = json!({ "keys": [key.jwk("a")] }).to_string();
        assert!(asked.read(&mut [0; 4096]).await.unwrap() > 0);
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{keys}", keys.len());
        asked.write_all(answer.as_bytes()).await.unwrap();
    };
    let (judged, ()) = tokio::join!(judge(&issuers, &token), answers);
    assert!(judged.is_ok(), "{judged:?}");
}
