use muster_common::clock::UnixMillis;

use super::*;
use crate::{facts::Known, labels::Labels};

fn group(name: &str, selector: &str, revision: u64) -> Group {
    Group {
        name: name.to_owned(),
        selector: selector.to_owned(),
        description: String::new(),
        created_at: UnixMillis(0),
        updated_at: UnixMillis(0),
        updated_by: String::new(),
        revision,
    }
}

fn groups() -> Groups {
    Groups::of(&[group("canary", "env=prod,tier=1", 7), group("all", "*", 3), group("bad", "=", 9)])
}

fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn matches(text: &str, pairs: &[(&str, &str)]) -> bool {
    let selector = Written::parse(text).unwrap().resolve(&groups()).unwrap();
    selector.matches(&labels(pairs), &Known::default())
}

#[test]
fn a_group_is_its_nodes_and_its_denial_all_others() {
    let (inside, half, outside) = ([("env", "prod"), ("tier", "1")], [("env", "prod")], [("env", "test")]);
    assert!(matches("@canary", &inside) && !matches("!@canary", &inside));
    // Both of its terms must hold: one alone does not make a node of the group.
    assert!(!matches("@canary", &half) && matches("!@canary", &half));
    assert!(!matches("@canary", &outside) && matches(" ! @canary", &outside));
    assert!(matches("env=prod,!@canary", &half) && !matches("env=prod,!@canary", &outside));
    assert!(!matches("@canary,!@canary", &inside) && !matches("@canary,!@canary", &half));
    assert!(matches("@all", &outside) && !matches("!@all", &outside));
}

#[test]
fn the_written_form_is_one_and_keeps_the_names() {
    for (text, canonical) in [
        (" !@b , @a,env = prod,@a", "env=prod,@a,!@b"),
        ("! @b", "!@b"),
        ("@web-1", "@web-1"),
        ("*", "*"),
        ("role in (db)", "role=db"),
    ] {
        let written = Written::parse(text).unwrap();
        assert_eq!(written.to_string(), canonical);
        assert_eq!(canonical.parse::<Written>().unwrap(), written);
    }
    let resolved = Written::parse("!@canary,x").unwrap().resolve(&groups()).unwrap();
    assert_eq!(resolved.to_string(), "x,!@canary");
    assert!(
        !Written::parse("@all").unwrap().resolve(&groups()).unwrap().is_all(),
        "it is until the group changes"
    );
    assert_eq!(Written::parse("@b,@a,!@c").unwrap().groups().collect::<Vec<_>>(), ["a", "b", "c"]);
}

#[test]
fn every_error_has_its_column_and_what_was_expected() {
    for (text, column, expected) in [
        ("@", 2, "the name of a group"),
        ("@Web", 2, "the name of a group"),
        ("@a/b", 2, "the name of a group"),
        ("@@a", 2, "the name of a group"),
        ("a,!@", 5, "the name of a group"),
        ("@a b", 4, "',' or the end"),
        ("@a=1", 3, "',' or the end"),
        ("@a in (b)", 4, "',' or the end"),
        ("a@b", 1, "a label key, a fact or a group"),
        ("!!@a", 2, "a label key, a fact or a group"),
        ("@a,", 4, "a label key, a fact or a group"),
    ] {
        let error = Written::parse(text).expect_err(text);
        assert_eq!((error.column, error.expected.as_str()), (column, expected), "{text}");
    }
    let refused = Selector::parse("env=prod, !@canary").unwrap_err();
    assert_eq!((refused.column, refused.found.as_str()), (12, "\"@canary\""));
    assert!(refused.expected.ends_with("no group can be named here"), "{refused}");
}

#[test]
fn a_group_that_is_not_there_is_named() {
    for name in ["nobody", "bad"] {
        let written = Written::parse(&format!("env=prod,!@{name}")).unwrap();
        assert_eq!(written.resolve(&groups()), Err(NoGroup(name.to_owned())));
    }
}

#[test]
fn groups_count_among_the_terms_of_a_selector() {
    let groups = |count| (0..count).map(|n| format!("@g{n}")).collect::<Vec<_>>().join(",");
    assert!(Written::parse(&format!("{},a", groups(63))).is_ok());
    assert_eq!(Written::parse(&groups(65)).unwrap_err().expected, "at most 64 terms");
}

#[test]
fn the_newest_of_the_named_groups_says_how_old_an_answer_is() {
    let revision = |text| groups().revision_of(&Written::parse(text).unwrap());
    assert_eq!((revision("a"), revision("@all"), revision("@all,!@canary,@nobody")), (0, 3, 7));
}

#[test]
fn explain_tells_the_terms_within_a_group() {
    let selector = Written::parse("env,@canary,!@all").unwrap().resolve(&groups()).unwrap();
    let clauses = selector.explain(&labels(&[("env", "prod")]), &Known::default());
    let told = |clause: &crate::labels::Clause| (clause.text.clone(), clause.holds);
    assert_eq!(
        clauses.iter().map(told).collect::<Vec<_>>(),
        [("env".to_owned(), true), ("!@all".to_owned(), false), ("@canary".to_owned(), false)]
    );
    assert_eq!(clauses[1].within.as_deref(), Some([].as_slice()), "every node is in it");
    assert_eq!(
        clauses[2].within.iter().flatten().map(told).collect::<Vec<_>>(),
        [("env=prod".to_owned(), true), ("tier=1".to_owned(), false)]
    );
}
