//! T-F3: certificates, certificate requests, names in them, and PEM files. The
//! first byte says which.
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
    host_ca::{Authorities, Shown},
};
use muster_fuzz::Scratch;

thread_local!(static SCRATCH: OnceCell<Scratch> = const { OnceCell::new() });

fuzz_target!(init: muster_fuzz::seeds("certificates", seeds), |input: &[u8]| {
    let Some((which, bytes)) = input.split_first() else { return };
    match which % 4 {
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
        _ => SCRATCH.with(|scratch| {
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

fn named(id: &spiffe::SpiffeId) {
    assert_eq!(id.to_string().parse::<spiffe::SpiffeId>().as_ref(), Ok(id), "a name has one form");
}

fn seeds() -> [Vec<u8>; 7] {
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
    ]
}
