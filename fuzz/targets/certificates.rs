//! T-F3: certificates, certificate requests, names in them, PEM files, and revocation
//! lists. The first byte says which.
#![no_main]

use std::cell::OnceCell;

use libfuzzer_sys::fuzz_target;
use muster_common::{
    clock::UnixMillis,
    digest::Sha256,
    tls::{pem, pin, spiffe},
};
use muster_control_plane::{
    ca::{audit_key::AuditKeys, csr, proof},
    config::HostCa,
    host_ca::{Authorities, Shown},
};
use muster_fuzz::Scratch;

thread_local! {
    static SCRATCH: OnceCell<Scratch> = const { OnceCell::new() };
    static HOST: OnceCell<Host> = const { OnceCell::new() };
}

const NOW: UnixMillis = UnixMillis(1_700_000_000_000);
const CHALLENGE: &[u8] = b"a challenge";

/// A host with a good certificate of an authority that is trusted.
struct Host {
    scratch: Scratch,
    ca: rcgen::CertifiedIssuer<'static, rcgen::KeyPair>,
    shown: Shown,
}

fuzz_target!(init: muster_fuzz::seeds("certificates", seeds), |input: &[u8]| {
    let Some((which, bytes)) = input.split_first() else { return };
    match which % 5 {
        0 => leaf(bytes),
        1 => {
            if let Ok(key) = csr::public_key(bytes) {
                assert_eq!(key.sha256().len(), 32);
            }
        }
        2 => {
            if let Ok(id) = String::from_utf8_lossy(bytes).parse::<spiffe::SpiffeId>() {
                named(&id);
            }
        }
        3 => SCRATCH.with(|scratch| {
            let scratch = scratch.get_or_init(|| {
                let scratch = Scratch::default();
                scratch.empty();
                scratch
            });
            let path = scratch.file("file.pem", bytes);
            if let Ok(found) = pem::certificates(&path) {
                found.iter().for_each(|der| leaf(der));
            }
            drop(pem::private_key(&path));
            drop(AuditKeys::read(&path));
        }),
        _ => HOST.with(|host| lists(host.get_or_init(host_of_the_fleet), bytes)),
    }
});

fn leaf(der: &[u8]) {
    let _ = pin::of_certificate(der);
    assert!(!proof::holds(der, b"challenge", b"request", b"signature"));
    let shown = Shown { chain_der: vec![der.to_vec(); 2], challenge: Vec::new(), signature: vec![0; 64] };
    let nobody = Authorities::new(&[]).expect("no files");
    assert!(nobody.judge(&shown, Sha256::of(b"request"), UnixMillis(0)).is_err());
    if let Ok(leaf) = spiffe::read_leaf(der) {
        named(&leaf.id);
        assert!(leaf.serial.bytes().all(|byte| byte.is_ascii_hexdigit()));
    }
}

/// Whatever the revocation lists are: nobody is let in by what cannot be read.
fn lists(host: &Host, text: &[u8]) {
    let crl_file = host.scratch.file("crl.pem", text);
    let corp = HostCa {
        name: "corp".to_owned(),
        ca_file: host.scratch.file("ca.pem", host.ca.pem().as_bytes()),
        crl_file: None,
        dns: vec!["*.prod.example".to_owned()],
        uri: Vec::new(),
        name_label: None,
        static_labels: std::collections::BTreeMap::new(),
        requestable_labels: Vec::new(),
    };
    let judge = |authority: HostCa| {
        Authorities::new(&[authority]).map(|it| it.judge(&host.shown, Sha256::of(b"request"), NOW))
    };
    let without = judge(corp.clone()).expect("a good file");
    assert!(without.is_ok(), "without a list it is let in: {without:?}");
    if let Ok(Ok(passed)) = judge(HostCa { crl_file: Some(crl_file), ..corp }) {
        assert!(text.starts_with(b"-----BEGIN X509 CRL") || text.windows(8).any(|it| it == b"X509 CRL"));
        assert_eq!(passed.authority, "corp");
    }
}

fn host_of_the_fleet() -> Host {
    let scratch = Scratch::default();
    scratch.empty();
    let mut params = rcgen::CertificateParams::default();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign, rcgen::KeyUsagePurpose::CrlSign];
    let ca = rcgen::CertifiedIssuer::self_signed(params, rcgen::KeyPair::generate().expect("a key"));
    let ca = ca.expect("a certificate");
    let key = rcgen::KeyPair::generate().expect("a key");
    let names = vec!["web-1.prod.example".to_owned()];
    let mut params = rcgen::CertificateParams::new(names).expect("good names");
    params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    let leaf = params.signed_by(&key, &ca).expect("a certificate");
    let said = muster_common::proof::enrollment(CHALLENGE, Sha256::of(b"request"));
    let signature = rcgen::SigningKey::sign(&key, &said).expect("a signature");
    let shown = Shown { chain_der: vec![leaf.der().to_vec()], challenge: CHALLENGE.to_vec(), signature };
    Host { scratch, ca, shown }
}

/// A list of the authority of nobody in particular.
fn list() -> String {
    let host = host_of_the_fleet();
    let at = |s: i64| UnixMillis(NOW.0 + s * 1000).to_system_time().into();
    let params = rcgen::CertificateRevocationListParams {
        this_update: at(-20),
        next_update: at(3600),
        crl_number: rcgen::SerialNumber::from(1_u64),
        issuing_distribution_point: None,
        revoked_certs: Vec::new(),
        key_identifier_method: rcgen::KeyIdMethod::Sha256,
    };
    params.signed_by(&host.ca).expect("a list").pem().expect("a list")
}

fn named(id: &spiffe::SpiffeId) {
    assert_eq!(id.to_string().parse::<spiffe::SpiffeId>().as_ref(), Ok(id), "a name has one form");
}

fn seeds() -> [Vec<u8>; 9] {
    let key = rcgen::KeyPair::generate().expect("a key");
    let uri = |text: &str| rcgen::SanType::URI(text.try_into().expect("ASCII"));
    let dns = |text: &str| rcgen::SanType::DnsName(text.try_into().expect("ASCII"));
    let certificate = |names| {
        let mut params = rcgen::CertificateParams::default();
        params.subject_alt_names = names;
        params.self_signed(&key).expect("a certificate")
    };
    let name = "spiffe://fleet.example/node/018f4e9c-7d5c-7a3b-8f6e-2d1c0b9a8f7e";
    let node = certificate(vec![uri(name)]);
    let plane = certificate(vec![uri("spiffe://fleet.example/control-plane/a"), dns("plane.example")]);
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    let empty = params.serialize_request(&key).expect("a request");
    params.subject_alt_names = vec![uri(name)];
    let named = params.serialize_request(&key).expect("a request");
    let seed = |which: u8, bytes: &[u8]| [&[which], bytes].concat();
    [
        seed(0, node.der()),
        seed(0, plane.der()),
        seed(1, empty.der()),
        seed(1, named.der()),
        seed(2, name.as_bytes()),
        seed(3, [node.pem(), key.serialize_pem()].concat().as_bytes()),
        seed(3, key.public_key_pem().as_bytes()),
        seed(4, list().as_bytes()),
        seed(4, [list(), list()].concat().as_bytes()),
    ]
}
