use std::{collections::BTreeMap, path::PathBuf, time::SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer,
    ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SanType,
    SerialNumber, SigningKey as _,
};

mod lists;

use super::*;
use crate::config::HostCa;

const NOW: UnixMillis = UnixMillis(1_700_000_000_000);
const CHALLENGE: &[u8] = b"a challenge";

fn csr() -> Sha256 {
    Sha256::of(b"the request")
}

type Ca = CertifiedIssuer<'static, KeyPair>;

struct Lab {
    folder: tempfile::TempDir,
    root: Ca,
}

fn at(offset_s: i64) -> SystemTime {
    UnixMillis(NOW.0 + offset_s * 1000).to_system_time()
}

fn ca_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    (params.not_before, params.not_after) = (at(-3600).into(), at(3600).into());
    params
}

fn root(name: &str) -> Ca {
    CertifiedIssuer::self_signed(ca_params(name), KeyPair::generate().unwrap()).unwrap()
}

fn host_params() -> CertificateParams {
    let mut params = CertificateParams::new(vec!["web-1.prod.example".to_owned()]).unwrap();
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.serial_number = Some(SerialNumber::from(7_u64));
    (params.not_before, params.not_after) = (at(-60).into(), at(60).into());
    params
}

impl Lab {
    fn new() -> Self {
        let lab = Self { folder: tempfile::tempdir().unwrap(), root: root("corp") };
        std::fs::write(lab.path("ca.pem"), lab.root.pem()).unwrap();
        lab
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn config(&self) -> HostCa {
        HostCa {
            name: "corp".to_owned(),
            ca_file: self.path("ca.pem"),
            crl_file: None,
            dns: vec!["*.prod.example".to_owned()],
            uri: vec!["spiffe://corp/host/*".to_owned()],
            name_label: Some("host".to_owned()),
            static_labels: BTreeMap::from([("site".to_owned(), "berlin".to_owned())]),
            requestable_labels: vec!["rack".to_owned()],
        }
    }

    fn judge(&self, shown: &Shown) -> Result<Passed, Error> {
        Authorities::new(&[self.config()]).unwrap().judge(shown, csr(), NOW)
    }

    /// What the host of a certificate shows that the root signed.
    fn shown(&self, params: &CertificateParams) -> Shown {
        shown_under(&self.root, &KeyPair::generate().unwrap(), params)
    }

    fn why(&self, shown: &Shown) -> &'static str {
        check(&self.judge(shown).expect_err("it lets somebody in"))
    }

    fn revoke(&self, serial: u64, next_update_s: i64) {
        std::fs::write(self.path("crl.pem"), list(&self.root, serial, -20, next_update_s)).unwrap();
    }

    fn with_lists(&self) -> HostCa {
        HostCa { crl_file: Some(self.path("crl.pem")), ..self.config() }
    }
}

/// A revocation list of one serial.
fn list(ca: &Ca, serial: u64, this_update_s: i64, next_update_s: i64) -> String {
    let revoked = RevokedCertParams {
        serial_number: SerialNumber::from(serial),
        revocation_time: at(-10).into(),
        reason_code: None,
        invalidity_date: None,
    };
    let params = CertificateRevocationListParams {
        this_update: at(this_update_s).into(),
        next_update: at(next_update_s).into(),
        crl_number: SerialNumber::from(1_u64),
        issuing_distribution_point: None,
        revoked_certs: vec![revoked],
        key_identifier_method: KeyIdMethod::Sha256,
    };
    params.signed_by(ca).unwrap().pem().unwrap()
}

fn check(error: &Error) -> &'static str {
    match error {
        Error::Certificate { check, .. } => check,
        Error::Proof => "proof",
        Error::Unavailable { .. } => "unavailable",
    }
}

fn shown_under(ca: &Ca, key: &KeyPair, params: &CertificateParams) -> Shown {
    let leaf = params.signed_by(key, ca).unwrap();
    signed(vec![leaf.der().to_vec()], key)
}

fn signed(chain_der: Vec<Vec<u8>>, key: &KeyPair) -> Shown {
    let signature = key.sign(&proof::enrollment(CHALLENGE, csr())).unwrap();
    Shown { chain_der, challenge: CHALLENGE.to_vec(), signature }
}

#[test]
fn a_host_of_the_fleet_gets_the_labels_of_its_authority() {
    let lab = Lab::new();
    let key = KeyPair::generate().unwrap();
    let passed = lab.judge(&shown_under(&lab.root, &key, &host_params())).unwrap();
    assert_eq!(passed.authority, "corp");
    assert_eq!(
        passed.labels,
        Labels::from([
            ("host".to_owned(), "web-1.prod.example".to_owned()),
            ("site".to_owned(), "berlin".to_owned())
        ])
    );
    let again = lab.judge(&shown_under(&lab.root, &key, &host_params())).unwrap();
    assert_eq!(again.key_sha256, passed.key_sha256, "renewed with its key it is the same host");
    let other = lab.judge(&lab.shown(&host_params())).unwrap();
    assert_ne!(other.key_sha256, passed.key_sha256);
}

#[test]
fn every_usual_kind_of_key_can_be_shown() {
    let lab = Lab::new();
    for algorithm in [&rcgen::PKCS_ECDSA_P256_SHA256, &rcgen::PKCS_ECDSA_P384_SHA384, &rcgen::PKCS_ED25519] {
        let key = KeyPair::generate_for(algorithm).unwrap();
        lab.judge(&shown_under(&lab.root, &key, &host_params())).unwrap();
    }
    // rcgen signs with PKCS #1: the proof is made as an agent makes it.
    let key = KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap();
    let mut shown = shown_under(&lab.root, &key, &host_params());
    assert_eq!(lab.why(&shown), "proof", "the padding of TLS 1.2 is not taken");
    let der = rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let signer = rustls::crypto::aws_lc_rs::sign::any_supported_type(&der).unwrap();
    let signer = signer.choose_scheme(&[SignatureScheme::RSA_PSS_SHA256]).unwrap();
    shown.signature = signer.sign(&proof::enrollment(CHALLENGE, csr())).unwrap();
    lab.judge(&shown).unwrap();
}

#[test]
fn the_proof_is_of_this_key_for_this_challenge_and_this_request() {
    let lab = Lab::new();
    let shown = lab.shown(&host_params());
    assert!(lab.judge(&shown).is_ok());
    let other = KeyPair::generate().unwrap();
    assert_eq!(lab.why(&signed(shown.chain_der.clone(), &other)), "proof");
    assert_eq!(lab.why(&Shown { challenge: b"another".to_vec(), ..shown.clone() }), "proof");
    assert_eq!(lab.why(&Shown { signature: Vec::new(), ..shown.clone() }), "proof");
    let authorities = Authorities::new(&[lab.config()]).unwrap();
    assert_eq!(authorities.judge(&shown, Sha256::of(b"another request"), NOW), Err(Error::Proof));
    // The words of a recovery are worth nothing here.
    let key = KeyPair::generate().unwrap();
    let mut recovers = shown_under(&lab.root, &key, &host_params());
    recovers.signature = key.sign(&proof::recovery(CHALLENGE, csr())).unwrap();
    assert_eq!(lab.why(&recovers), "proof");
}

#[test]
fn a_certificate_that_is_no_hosts_of_the_fleet_lets_nobody_in() {
    let lab = Lab::new();
    let with = |change: fn(&mut CertificateParams)| {
        let mut params = host_params();
        change(&mut params);
        lab.why(&lab.shown(&params))
    };
    assert_eq!(
        with(|it| (it.not_before, it.not_after) = (at(-60).into(), at(-1).into())),
        "chain",
        "expired"
    );
    assert_eq!(
        with(|it| (it.not_before, it.not_after) = (at(10).into(), at(60).into())),
        "chain",
        "not yet valid"
    );
    assert_eq!(with(|it| it.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth]), "chain");
    assert_eq!(with(|it| it.is_ca = IsCa::Ca(BasicConstraints::Unconstrained)), "chain", "an authority");
    assert_eq!(with(|it| it.subject_alt_names = Vec::new()), "names");
    let named = |name: SanType| {
        let mut params = host_params();
        params.subject_alt_names = vec![name];
        lab.why(&lab.shown(&params))
    };
    assert_eq!(named(SanType::DnsName("db.test.example".try_into().unwrap())), "names");
    let uri = SanType::URI("spiffe://corp/host/7".try_into().unwrap());
    assert_eq!(named(uri), "labels", "the label asks for a DNS name");
    let mallory = root("corp");
    assert_eq!(lab.why(&shown_under(&mallory, &KeyPair::generate().unwrap(), &host_params())), "chain");
    let key = KeyPair::generate().unwrap();
    let own = host_params().self_signed(&key).unwrap();
    assert_eq!(lab.why(&signed(vec![own.der().to_vec()], &key)), "chain");
    assert_eq!(lab.why(&signed(Vec::new(), &key)), "form");
    assert_eq!(lab.why(&signed(vec![b"nonsense".to_vec()], &key)), "form");
    assert_eq!(lab.why(&signed(vec![vec![0; MAX_CERTIFICATE + 1]], &key)), "size");
}

#[test]
fn a_chain_is_as_long_as_it_may_be_and_whole() {
    let lab = Lab::new();
    let middle = |name: &str, above: &Ca| {
        CertifiedIssuer::signed_by(ca_params(name), KeyPair::generate().unwrap(), above).unwrap()
    };
    let issuing = middle("issuing", &lab.root);
    let key = KeyPair::generate().unwrap();
    let leaf = host_params().signed_by(&key, &issuing).unwrap().der().to_vec();
    let chain = vec![leaf.clone(), issuing.der().to_vec()];
    assert!(lab.judge(&signed(chain, &key)).is_ok());
    assert_eq!(lab.why(&signed(vec![leaf], &key)), "chain", "what stands between is missing");
    let mut chain = Vec::new();
    let mut below = middle("1", &lab.root);
    chain.push(below.der().to_vec());
    for n in 2..10 {
        below = middle(&n.to_string(), &below);
        chain.insert(0, below.der().to_vec());
    }
    chain.insert(0, host_params().signed_by(&key, &below).unwrap().der().to_vec());
    assert_eq!((chain.len(), lab.why(&signed(chain.clone(), &key))), (10, "size"));
    chain.truncate(MAX_CHAIN);
    assert_eq!(lab.why(&signed(chain, &key)), "chain");
}

#[test]
fn the_longest_chain_is_a_host_six_authorities_and_their_root() {
    let lab = Lab::new();
    let key = KeyPair::generate().unwrap();
    let under = |authorities: u32| {
        let signed_by = |name: String, above: &Ca| {
            CertifiedIssuer::signed_by(ca_params(&name), KeyPair::generate().unwrap(), above).unwrap()
        };
        let mut below = signed_by("1".to_owned(), &lab.root);
        let mut chain = vec![below.der().to_vec(), lab.root.der().to_vec()];
        for n in 2..=authorities {
            below = signed_by(n.to_string(), &below);
            chain.insert(0, below.der().to_vec());
        }
        chain.insert(0, host_params().signed_by(&key, &below).unwrap().der().to_vec());
        signed(chain, &key)
    };
    let longest = under(6);
    assert_eq!(longest.chain_der.len(), MAX_CHAIN);
    lab.judge(&longest).unwrap();
    let mut longer = under(7);
    longer.chain_der.pop();
    assert_eq!((longer.chain_der.len(), lab.why(&longer)), (MAX_CHAIN, "chain"));
}

#[test]
fn each_authority_lets_in_its_own_and_the_one_that_knows_a_certificate_says_why_not() {
    let lab = Lab::new();
    let other = root("other");
    std::fs::write(lab.path("other.pem"), other.pem()).unwrap();
    let elsewhere =
        HostCa { name: "other".to_owned(), ca_file: lab.path("other.pem"), crl_file: None, ..lab.config() };
    let wide = HostCa { name: "wide".to_owned(), dns: vec!["*".to_owned()], ..lab.config() };
    let judge =
        |configured: &[HostCa], shown: &Shown| Authorities::new(configured).unwrap().judge(shown, csr(), NOW);
    let theirs = shown_under(&other, &KeyPair::generate().unwrap(), &host_params());
    assert_eq!(judge(&[lab.config(), elsewhere.clone()], &theirs).unwrap().authority, "other");
    let mut params = host_params();
    params.subject_alt_names = vec![SanType::DnsName("db.test.example".try_into().unwrap())];
    let foreign = lab.shown(&params);
    for configured in [[lab.config(), elsewhere.clone()], [elsewhere, lab.config()]] {
        let refused = judge(&configured, &foreign);
        assert!(matches!(refused, Err(Error::Certificate { check: "names", .. })), "{refused:?}");
    }
    assert_eq!(judge(&[lab.config(), wide], &foreign).unwrap().authority, "wide");
    let none = judge(&[], &foreign);
    assert!(matches!(none, Err(Error::Certificate { check: "chain", .. })), "{none:?}");
}
