//! T-F8: what a proxy answers to CONNECT, addresses of proxies and what goes past them. The
//! first byte says which.
#![no_main]

use libfuzzer_sys::fuzz_target;
use muster_common::settings::{Bypass, ProxyUrl, Service, find};
use muster_node_agent::proxy::answer::{self, MAX};

fuzz_target!(init: muster_fuzz::seeds("proxies", seeds), |input: &[u8]| {
    let Some((which, bytes)) = input.split_first() else { return };
    match (which % 3, std::str::from_utf8(bytes)) {
        (0, _) => answer(bytes),
        (1, Ok(text)) => url(text),
        (_, Ok(text)) => bypass(text),
        _ => {}
    }
});

/// In pieces it is read as it is in one: what was decided stays decided.
fn answer(bytes: &[u8]) {
    let whole = answer::read(bytes);
    if let Ok(Some(answer)) = &whole {
        assert!((100..=999).contains(&answer.status) && answer.phrase.len() <= 80);
        assert!(answer.phrase.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
    }
    assert!(bytes.len() < MAX || !matches!(whole, Ok(None)), "it would be waited for without an end");
    let part = answer::read(&bytes[..bytes.len() / 2]);
    assert!(part.is_ok() || whole.is_err());
}

fn url(text: &str) {
    let option = find("proxy.url").expect("it is in the schema");
    let told = option.told(text).into_owned();
    match ProxyUrl::parse(text) {
        Ok(url) => {
            // With its scheme, its port and stars for a short password it may be too long to be written.
            if told.len() <= option.max_bytes() {
                let again = ProxyUrl::parse(&told).expect("what is told is an address");
                assert_eq!((url.host(), url.port()), (again.host(), again.port()));
            }
            assert!(url.credentials().is_none_or(|pair| !pair.chars().any(char::is_control)));
            assert_eq!(url.is_secret(), told.contains("***@"));
        }
        Err(_) => assert!(told.is_empty() || told == "***"),
    }
}

fn bypass(text: &str) {
    let Ok(list) = Bypass::parse(text) else { return };
    for (service, host) in Service::ALL.into_iter().zip(["10.1.2.3", "2001:db8::1", "cp.example.com"]) {
        if let Some(entry) = list.find(service, host) {
            let alone = Bypass::parse(entry).expect("an entry is a list");
            assert_eq!(alone.find(service, host), Some(entry));
        }
    }
}

fn seeds() -> [Vec<u8>; 8] {
    let seed = |which: u8, text: &str| [&[which], text.as_bytes()].concat();
    [
        seed(0, "HTTP/1.1 200 Connection established\r\nVia: 1.1 proxy\r\n\r\n"),
        seed(0, "HTTP/1.0 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\n\r\n<html>"),
        seed(0, "HTTP/1.1 200 OK\r\n\r\nmore"),
        seed(1, "http://u:p%40%2F@proxy.example:3128/"),
        seed(1, "http://token@[2001:db8::1]"),
        seed(1, "proxy:3128"),
        seed(2, "Session, Artifacts, .example.com, 10.0.0.0/8, [2001:db8::1]"),
        seed(2, "*"),
    ]
}
