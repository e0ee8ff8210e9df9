use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, jwk::JwkSet};
use muster_common::{
    clock::Clock,
    ids::NodeId,
    tls::{
        self,
        spiffe::{self, TrustDomain},
    },
};
use muster_domain::workload::Rules;
use rcgen::{DistinguishedName, KeyPair};
use rustls::pki_types::{CertificateDer, UnixTime};

use super::*;

const HOUR: Duration = Duration::from_secs(3600);
const RULES: Rules = Rules { publish_for: HOUR, keep_for: HOUR, life: Duration::from_secs(90 * 24 * 3600) };

struct Lab {
    folder: tempfile::TempDir,
    standings: Standings,
}

impl Lab {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let standings = Standings::first(made(folder.path(), 1));
        Self { folder, standings }
    }

    fn open(&self) -> Issuers {
        Issuers::open(self.folder.path(), self.standings.clone()).unwrap()
    }
}

fn domain() -> TrustDomain {
    "fleet.example".parse().unwrap()
}

fn now() -> UnixMillis {
    Clock::System.now()
}

fn made(dir: &std::path::Path, number: u32) -> muster_domain::workload::Issuer {
    make(dir, &domain(), number, RULES.life, now()).unwrap()
}

fn id() -> WorkloadId {
    WorkloadId { trust_domain: domain(), node: NodeId::generate(), name: "web".to_owned() }
}

fn svid(issuers: &Issuers, id: &WorkloadId, ttl: Duration) -> Svid {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    let request = params.serialize_request(&KeyPair::generate().unwrap()).unwrap().der().to_vec();
    issuers.issue_x509(id, &csr::public_key(&request).unwrap(), ttl, now()).unwrap()
}

fn accepted(chain: &[Vec<u8>], bundle: &Bundle, at: UnixMillis) -> bool {
    let roots: Vec<_> = bundle.x509_der.iter().map(|der| CertificateDer::from(der.clone())).collect();
    let verifier = tls::client_verifier(tls::roots(&roots).unwrap()).unwrap();
    let at = UnixTime::since_unix_epoch(Duration::from_millis(u64::try_from(at.0).unwrap()));
    let chain: Vec<_> = chain.iter().map(|der| CertificateDer::from(der.clone())).collect();
    verifier.verify_client_cert(&chain[0], &chain[1..], at).is_ok()
}

fn token(issuers: &Issuers, sub: &str) -> String {
    let iat = now().0 / 1000;
    let aud = ["db".to_owned()];
    issuers.sign_jwt(&Claims { sub, aud: &aud, exp: iat + 300, iat, jti: "1", iss: "" }).unwrap()
}

/// By a library that is not ours.
fn checked(token: &str, jwks: &str) -> Option<serde_json::Value> {
    let keys: JwkSet = serde_json::from_str(jwks).unwrap();
    let header = jsonwebtoken::decode_header(token).unwrap();
    let key = keys.find(&header.kid?)?;
    let mut validation = Validation::new(Algorithm::ES256);
    validation.set_audience(&["db"]);
    decode(token, &DecodingKey::from_jwk(key).unwrap(), &validation).ok().map(|data| data.claims)
}

#[test]
fn a_programs_certificate_has_its_name_for_both_ends_and_is_nobody_of_ours() {
    let issuers = Lab::new().open();
    let id = id();
    let issued = svid(&issuers, &id, HOUR);
    assert!(accepted(&issued.chain_der, &issuers.bundle(), now()));
    assert!(!accepted(&issued.chain_der, &issuers.bundle(), now() + 2 * HOUR));
    assert!(spiffe::read_leaf(&issued.chain_der[0]).is_err(), "no port of ours reads a name in it");
    let (_, leaf) = x509_parser::parse_x509_certificate(&issued.chain_der[0]).unwrap();
    let names = leaf.subject_alternative_name().unwrap().unwrap().value.general_names.clone();
    let uri = id.to_string();
    assert!(matches!(&names[..], [x509_parser::prelude::GeneralName::URI(found)] if **found == *uri));
    let usage = leaf.extended_key_usage().unwrap().unwrap().value;
    assert!(usage.client_auth && usage.server_auth && !leaf.is_ca());
    assert!(leaf.basic_constraints().unwrap().is_some(), "some libraries want it said that it is none");
    let long = svid(&issuers, &id, 100 * RULES.life);
    assert_eq!(long.not_after, issuers.standings().all[0].not_after, "no leaf outlives its issuer");
}

#[test]
fn a_token_is_read_by_others_with_the_published_keys() {
    let issuers = Lab::new().open();
    let sub = id().to_string();
    let token = token(&issuers, &sub);
    let claims = checked(&token, &issuers.bundle().jwks).unwrap();
    assert_eq!((&claims["sub"], &claims["aud"]), (&sub.into(), &serde_json::json!(["db"])));
    assert!(claims.get("iss").is_none());
    let other = Lab::new().open();
    assert!(checked(&token, &other.bundle().jwks).is_none(), "others' keys do not check it");
}

#[test]
fn what_the_former_issuer_signed_is_good_until_it_is_dropped_and_its_keys_go_first() {
    let mut lab = Lab::new();
    let issuers = lab.open();
    let (old, sub) = (svid(&issuers, &id(), HOUR), id().to_string());
    let old_token = token(&issuers, &sub);
    lab.standings = lab.standings.with_next(made(lab.folder.path(), 2)).unwrap();
    issuers.take(lab.standings.clone()).unwrap();
    assert_eq!(issuers.bundle().x509_der.len(), 2);
    let before = svid(&issuers, &id(), HOUR);
    lab.standings = lab.standings.settled(RULES, now() + 2 * HOUR);
    issuers.take(lab.standings.clone()).unwrap();
    forget_keys(lab.folder.path(), &lab.standings).unwrap();
    let path = |name: &str| lab.folder.path().join("workload").join(name);
    assert!(!path("1").exists() && path("2/jwt.key").exists());
    let after = svid(&lab.open(), &id(), HOUR);
    for chain in [&old.chain_der, &before.chain_der, &after.chain_der] {
        assert!(accepted(chain, &issuers.bundle(), now()));
    }
    assert!(checked(&old_token, &issuers.bundle().jwks).is_some());
    lab.standings = lab.standings.settled(RULES, now() + 4 * HOUR);
    issuers.take(lab.standings.clone()).unwrap();
    assert!(!accepted(&old.chain_der, &issuers.bundle(), now()));
    assert!(accepted(&after.chain_der, &issuers.bundle(), now()));
    assert!(checked(&old_token, &issuers.bundle().jwks).is_none());
}

#[test]
fn keys_of_another_issuer_are_told() {
    let lab = Lab::new();
    let folder = lab.folder.path().join("workload/1");
    std::fs::copy(folder.join("jwt.key"), folder.join("issuing.key")).unwrap();
    let refused = Issuers::open(lab.folder.path(), lab.standings.clone());
    assert!(matches!(refused, Err(Error::Unusable { .. })));
    std::fs::write(folder.join("issuing.key"), "nonsense").unwrap();
    assert!(Issuers::open(lab.folder.path(), lab.standings).is_err());
}
