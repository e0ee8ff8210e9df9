//! T-F5: join strings and the other short texts that people and programs hand
//! in. The first byte says which.
#![no_main]

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use libfuzzer_sys::fuzz_target;
use muster_common::{
    clock::UnixMillis,
    digest::Sha256,
    ids::NodeId,
    join::JoinString,
    reason::Reason,
    settings,
    tls::{
        spiffe::{Principal, TrustDomain},
        workload::WorkloadId,
    },
};
use muster_domain::{item::ItemName, join_token::Terms, page, revocation::Subject};

fuzz_target!(init: muster_fuzz::seeds("texts", seeds), |input: &[u8]| {
    let Some((which, bytes)) = input.split_first() else { return };
    let text = String::from_utf8_lossy(bytes);
    match which % 10 {
        0 => join(&text),
        // What stands in a join string, or nothing would ever get behind its base64.
        1 => join(&format!("muster1.{}", BASE64_URL_SAFE_NO_PAD.encode(bytes))),
        2 => option(&text),
        3 => same::<ItemName>(&text),
        4 => same::<Subject>(&text),
        5 => {
            same::<Principal>(&text);
            same::<TrustDomain>(&text);
            same::<NodeId>(&text);
        }
        6 => tokens(&text),
        8 => {
            let (keys, token) = text.split_once('\n').unwrap_or(("", &text));
            muster_node_agent::workload::fuzz::token(keys, token);
        }
        9 => {
            same::<WorkloadId>(&text);
            muster_node_agent::workload::fuzz::cgroup(&text);
        }
        _ => drop(Terms::check(UnixMillis(0), 1, None, &text.lines().map(str::to_owned).collect::<Vec<_>>())),
    }
});

fn join(text: &str) {
    if let Ok(join) = text.parse::<JoinString>() {
        assert!(!join.addresses.is_empty());
        let again = join.to_string();
        // What was written with other spaces may become longer than is read.
        assert!(again.parse().as_ref() == Ok(&join) || again.len() > 8 * 1024);
    }
}

fn option(text: &str) {
    let (key, value) = text.split_once('=').unwrap_or((text, ""));
    let checked = settings::check(key, value);
    assert!(checked.is_ok() || !checked.unwrap_err().to_string().is_empty());
    let _ = (settings::parse_duration(value), Reason::parse(value), Sha256::parse_hex(value));
}

fn tokens(text: &str) {
    let asked = page::fingerprint("Method", &["a"]);
    if let Ok(after) = page::decode_token(text, asked) {
        let again = page::encode_token(asked, &after);
        assert_eq!(page::decode_token(&again, asked), Ok(after));
    }
    same::<page::ResumeToken>(text);
}

/// What can be read is printed so that it is read as the same again.
fn same<T: std::str::FromStr + std::fmt::Display + PartialEq>(text: &str) {
    if let Ok(read) = text.parse::<T>() {
        let again = read.to_string();
        assert!(again.parse::<T>().is_ok_and(|again| again == read), "{text:?} became {again:?}");
    }
}

fn seeds() -> [Vec<u8>; 14] {
    let join = JoinString {
        addresses: vec!["plane.example:8444".to_owned()],
        ca_pin: Sha256::of(b"root"),
        secret: "c2VjcmV0LXNlY3JldA".to_owned(),
    };
    let text = join.to_string();
    let json = BASE64_URL_SAFE_NO_PAD.decode(&text["muster1.".len()..]).expect("ours");
    let seed = |which: u8, bytes: &[u8]| [&[which], bytes].concat();
    let token = page::encode_token(page::fingerprint("Method", &["a"]), "018f4e9c");
    [
        seed(0, text.as_bytes()),
        seed(1, &json),
        seed(2, b"facts-interval=2m 30s"),
        seed(2, b"log-level=debug"),
        seed(3, b"bundle/app"),
        seed(4, b"serial/0a1b"),
        seed(5, b"operator/alice@example.com"),
        seed(6, token.as_bytes()),
        seed(6, page::ResumeToken { epoch: 1, revision: 9 }.to_string().as_bytes()),
        seed(8, format!("\n{}", token_of_others("ES256")).as_bytes()),
        seed(8, format!("{{\"keys\":[]}}\n{}", token_of_others("none")).as_bytes()),
        seed(9, b"0::/system.slice/nginx.service"),
        seed(9, b"spiffe://fleet.example/workload/018f4e9c-0000-7000-8000-000000000000/web"),
        seed(7, b"192.0.2.0/24\n2001:db8::1"),
    ]
}

/// In the form of a token, signed by nobody.
fn token_of_others(algorithm: &str) -> String {
    let part = |text: &str| BASE64_URL_SAFE_NO_PAD.encode(text);
    let header = format!("{{\"alg\":\"{algorithm}\",\"kid\":\"k\"}}");
    let claims = "{\"sub\":\"spiffe://fleet.example/workload/x/web\",\"aud\":[\"db\"],\"exp\":1700000300}";
    format!("{}.{}.{}", part(&header), part(claims), BASE64_URL_SAFE_NO_PAD.encode([0; 64]))
}
