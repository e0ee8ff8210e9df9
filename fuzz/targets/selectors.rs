//! T-F4: selectors and labels. The first part is a selector, the second one what the
//! group `g` is in it, then come keys and values in turn.
#![no_main]

use libfuzzer_sys::fuzz_target;
use muster_common::clock::UnixMillis;
use muster_domain::{
    facts::Facts,
    group::Group,
    labels::{Groups, Labels, Selector, Written, check_labels},
};
use muster_fuzz::{joined, parts};

fuzz_target!(init: muster_fuzz::seeds("selectors", seeds), |input: &[u8]| {
    let texts: Vec<_> = parts(input).into_iter().map(String::from_utf8_lossy).collect();
    let Some((text, rest)) = texts.split_first() else { return };
    let (group, pairs) = rest.split_first().map_or(("*", rest), |(group, pairs)| (group.as_ref(), pairs));
    let pairs = pairs.chunks_exact(2).map(|pair| (pair[0].to_string(), pair[1].to_string()));
    let labels: Labels = pairs.collect();
    let facts = Facts { os: "debian".to_owned(), ..Facts::default() }.into();
    let written = match Written::parse(text) {
        Ok(written) => written,
        Err(error) => {
            assert!(error.column >= 1 && error.column <= text.chars().count() + 1, "{error}");
            assert!(Selector::parse(text).is_err(), "without groups no more is read");
            return;
        }
    };
    let again = Written::parse(&written.to_string());
    assert_eq!(again.as_ref(), Ok(&written), "it is read as it is printed");
    let names_none = written.groups().next().is_none();
    assert_eq!(Selector::parse(text).is_ok(), names_none, "no group stands in a scope");
    let groups = Groups::of(&[named(group)]);
    let Ok(selector) = written.resolve(&groups) else { return };
    assert_eq!(selector.to_string(), written.to_string(), "it keeps the names");
    let explained = selector.explain(&labels, &facts).iter().all(|clause| clause.holds);
    assert_eq!(selector.matches(&labels, &facts), explained, "the explanation fits");
    let part = |text: &str| Written::parse(text).ok()?.resolve(&groups).ok();
    if let (Some(inside), Some(outside)) = (part("@g"), part("!@g")) {
        assert_ne!(inside.matches(&labels, &facts), outside.matches(&labels, &facts), "one of the two");
    }
    drop(check_labels(&labels));
});

fn named(selector: &str) -> Group {
    Group {
        name: "g".to_owned(),
        selector: selector.to_owned(),
        description: String::new(),
        created_at: UnixMillis(0),
        updated_at: UnixMillis(0),
        updated_by: String::new(),
        revision: 1,
    }
}

fn seeds() -> [Vec<u8>; 6] {
    [
        joined(&[b"env=prod,role in (web, api),!old", b"*", b"env", b"prod", b"role", b"web"]),
        joined(&[b"example.com/a != b , canary, facts.os==debian", b"a", b"example.com/a", b"c"]),
        joined(&[b"role notin (x,y,z),a=", b"", b"role", b"x", b"facts.os", b"-"]),
        joined(&[b" * "]),
        joined(&[b"env=prod,!@g", b"env=prod,tier in (1,2)", b"env", b"prod", b"tier", b"3"]),
        joined(&[b"@g , ! @other", b"facts.os=debian"]),
    ]
}
