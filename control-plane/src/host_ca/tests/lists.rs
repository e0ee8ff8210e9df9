//! Revocation lists: none is hidden by another, by a chain, or by another section.

use super::*;

#[test]
fn a_revoked_certificate_lets_nobody_in_and_lists_are_read_anew() {
    let lab = Lab::new();
    let authorities = || Authorities::new(&[lab.with_lists()]);
    assert!(authorities().is_err(), "there is no list: told at the start");
    lab.revoke(8, 60);
    let authorities = authorities().unwrap();
    let shown = lab.shown(&host_params());
    authorities.judge(&shown, csr(), NOW).unwrap();
    lab.revoke(7, 60);
    assert_eq!(authorities.judge(&shown, csr(), NOW).map_err(|error| check(&error)), Err("revocation"));
    // An older list of the same issuer before it does not hide what the newer one says.
    let newer = std::fs::read_to_string(lab.path("crl.pem")).unwrap();
    lab.revoke(8, 60);
    let older = std::fs::read_to_string(lab.path("crl.pem")).unwrap();
    std::fs::write(lab.path("crl.pem"), older + &newer).unwrap();
    assert_eq!(authorities.judge(&shown, csr(), NOW).map_err(|error| check(&error)), Err("revocation"));
    // Nor does another section over the same authority that has no list.
    let without = HostCa { name: "without".to_owned(), ..lab.config() };
    for both in [[lab.with_lists(), without.clone()], [without, lab.with_lists()]] {
        let both = Authorities::new(&both).unwrap();
        assert_eq!(both.judge(&shown, csr(), NOW).map_err(|error| check(&error)), Err("revocation"));
    }
    lab.revoke(8, -1);
    assert_eq!(
        authorities.judge(&shown, csr(), NOW).map_err(|error| check(&error)),
        Err("revocation"),
        "the list is too old"
    );
    std::fs::remove_file(lab.path("crl.pem")).unwrap();
    assert_eq!(authorities.judge(&shown, csr(), NOW).map_err(|error| check(&error)), Err("unavailable"));
}

#[test]
fn what_a_host_adds_to_its_chain_does_not_hide_that_it_is_revoked() {
    let lab = Lab::new();
    lab.revoke(7, 60);
    let newer = std::fs::read_to_string(lab.path("crl.pem")).unwrap();
    let key = KeyPair::generate().unwrap();
    let mut shown = shown_under(&lab.root, &key, &host_params());
    let judge = |shown: &Shown| {
        let authorities = Authorities::new(&[lab.with_lists()]).unwrap();
        authorities.judge(shown, csr(), NOW).map_err(|error| check(&error))
    };
    assert_eq!(judge(&shown), Err("revocation"));
    // One of its own making with the name of the issuer, that has run out: another path, and its error.
    let mut params = ca_params("corp");
    (params.not_before, params.not_after) = (at(-60).into(), at(-1).into());
    shown.chain_der.push(params.self_signed(&key).unwrap().der().to_vec());
    params = ca_params("corp");
    (params.not_before, params.not_after) = (at(-60).into(), at(-1).into());
    let mallory = CertifiedIssuer::self_signed(ca_params("corp"), KeyPair::generate().unwrap()).unwrap();
    shown.chain_der.push(params.signed_by(&key, &mallory).unwrap().der().to_vec());
    shown.chain_der.push(mallory.der().to_vec());
    // The list that says so is not the newest.
    std::fs::write(lab.path("crl.pem"), newer + &list(&lab.root, 8, -10, 60)).unwrap();
    assert_eq!(judge(&shown), Err("revocation"));
}

#[test]
fn of_the_lists_of_an_issuer_the_newest_says_whether_they_are_too_old() {
    let lab = Lab::new();
    let (old, new) = (list(&lab.root, 8, -20, -1), list(&lab.root, 8, -10, 60));
    let shown = lab.shown(&host_params());
    let judge = |text: String| {
        std::fs::write(lab.path("crl.pem"), text).unwrap();
        Authorities::new(&[lab.with_lists()]).unwrap().judge(&shown, csr(), NOW)
    };
    judge(format!("{old}{new}")).unwrap();
    judge(format!("{new}{old}")).unwrap();
    assert_eq!(judge(old).map_err(|error| check(&error)), Err("revocation"));
    // A list of another key with the same name speaks for nobody, and is said.
    let refused = judge(list(&root("corp"), 8, -5, 60) + &new).unwrap_err().to_string();
    assert!(refused.contains("signed by another key"), "{refused}");
}

#[test]
fn a_list_revokes_whatever_else_its_section_says() {
    let lab = Lab::new();
    lab.revoke(7, 60);
    let mut params = ca_params("issuing");
    params.serial_number = Some(SerialNumber::from(40_u64));
    let issuing = CertifiedIssuer::signed_by(params, KeyPair::generate().unwrap(), &lab.root).unwrap();
    std::fs::write(lab.path("issuing.pem"), issuing.pem()).unwrap();
    let judge = |configured: [HostCa; 2], shown: &Shown| {
        let judged = Authorities::new(&configured).unwrap().judge(shown, csr(), NOW);
        judged.map_err(|error| check(&error))
    };
    let without = HostCa { name: "without".to_owned(), ..lab.config() };
    // Other names.
    let stage = HostCa { dns: vec!["*.stage.example".to_owned()], uri: Vec::new(), ..lab.with_lists() };
    let shown = lab.shown(&host_params());
    assert_eq!(judge([without.clone(), stage], &shown), Err("revocation"));
    // Another way up, which the host does not show.
    let lists = list(&lab.root, 8, -10, 60) + &list(&issuing, 7, -10, 60);
    std::fs::write(lab.path("crl.pem"), lists).unwrap();
    let shown = shown_under(&issuing, &KeyPair::generate().unwrap(), &host_params());
    let near = HostCa { ca_file: lab.path("issuing.pem"), ..without };
    assert_eq!(judge([near.clone(), lab.with_lists()], &shown), Err("revocation"));
    // What stands between is revoked, and the way up that lets it in begins there.
    std::fs::write(lab.path("crl.pem"), list(&lab.root, 40, -20, 60) + &list(&issuing, 8, -10, 60)).unwrap();
    let mut longer = shown.clone();
    longer.chain_der.push(issuing.der().to_vec());
    let stage = HostCa { dns: vec!["*.stage.example".to_owned()], uri: Vec::new(), ..lab.with_lists() };
    assert_eq!(judge([near.clone(), stage], &longer), Err("revocation"));
    // A list that cannot be read keeps those out whom it concerns, and nobody else.
    let configured = [near, lab.with_lists()];
    let authorities = Authorities::new(&configured).unwrap();
    std::fs::remove_file(lab.path("crl.pem")).unwrap();
    let theirs = authorities.judge(&shown, csr(), NOW).unwrap();
    assert_eq!(theirs.authority, "without");
    let ours = authorities.judge(&lab.shown(&host_params()), csr(), NOW);
    assert_eq!(ours.map_err(|error| check(&error)), Err("unavailable"));
}

#[test]
fn an_issuer_with_a_key_of_another_kind_brings_its_own_list() {
    let lab = Lab::new();
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
    let anew = CertifiedIssuer::self_signed(ca_params("corp"), key).unwrap();
    std::fs::write(lab.path("ca.pem"), lab.root.pem() + &anew.pem()).unwrap();
    let lists = list(&lab.root, 8, -20, 60) + &list(&anew, 8, -10, 60);
    std::fs::write(lab.path("crl.pem"), lists).unwrap();
    let shown = shown_under(&anew, &KeyPair::generate().unwrap(), &host_params());
    Authorities::new(&[lab.with_lists()]).unwrap().judge(&shown, csr(), NOW).unwrap();
}
