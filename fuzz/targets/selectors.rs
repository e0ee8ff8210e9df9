//! T-F4: selectors and labels. The first part is a selector, then come keys and
//! values in turn.
#![no_main]

use libfuzzer_sys::fuzz_target;
use muster_domain::{
    facts::Facts,
    labels::{Labels, Selector, check_labels},
};
use muster_fuzz::{joined, parts};

fuzz_target!(init: muster_fuzz::seeds("selectors", seeds), |input: &[u8]| {
    let texts: Vec<_> = parts(input).into_iter().map(String::from_utf8_lossy).collect();
    let Some((text, pairs)) = texts.split_first() else { return };
    let pairs = pairs.chunks_exact(2).map(|pair| (pair[0].to_string(), pair[1].to_string()));
    let labels: Labels = pairs.collect();
    let facts = Facts { os: "debian".to_owned(), ..Facts::default() };
    let selector = match Selector::parse(text) {
        Ok(selector) => selector,
        Err(error) => {
            assert!(error.column >= 1 && error.column <= text.chars().count() + 1, "{error}");
            return;
        }
    };
    let again = Selector::parse(&selector.to_string());
    assert_eq!(again.as_ref(), Ok(&selector), "it is read as it is printed");
    let explained = selector.explain(&labels, &facts).iter().all(|clause| clause.holds);
    assert_eq!(selector.matches(&labels, &facts), explained, "the explanation fits");
    drop(check_labels(&labels));
});

fn seeds() -> [Vec<u8>; 4] {
    [
        joined(&[b"env=prod,role in (web, api),!old", b"env", b"prod", b"role", b"web"]),
        joined(&[b"example.com/a != b , canary, facts.os==debian", b"example.com/a", b"c"]),
        joined(&[b"role notin (x,y,z),a=", b"role", b"x", b"facts.os", b"-"]),
        joined(&[b" * "]),
    ]
}
