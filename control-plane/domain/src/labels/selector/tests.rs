use super::*;
use crate::facts::Facts;

fn node() -> (Labels, Known) {
    let labels = [("env", "prod"), ("role", "web"), ("example.com/tier", "1"), ("empty", "")];
    let facts = Facts { os: "debian".into(), timezone: "Europe/Berlin".into(), ..Facts::default() }.into();
    (labels.map(|(k, v)| (k.to_owned(), v.to_owned())).into(), facts)
}

fn holds(text: &str) -> bool {
    let (labels, facts) = node();
    Selector::parse(text).unwrap_or_else(|error| panic!("{text}: {error}")).matches(&labels, &facts)
}

#[test]
fn terms_hold_as_with_kubernetes() {
    for text in [
        "*",
        " * ",
        "env=prod",
        "env==prod",
        "env = prod",
        "role!=db",
        "absent!=x",
        "role in (web,api)",
        "role in ( api , web )",
        "role notin (db)",
        "absent notin (db)",
        "env",
        "!absent",
        "! absent",
        "empty",
        "empty=",
        "example.com/tier=1",
        "facts.os=debian",
        "facts.os in (debian,ubuntu)",
        "facts.timezone=Europe/Berlin",
        "!facts.kernel",
        "facts.kernel!=6.1",
        "env=prod,role in (web,api),!canary,facts.os=debian",
    ] {
        assert!(holds(text), "{text}");
    }
    for text in [
        "env=test",
        "env!=prod",
        "role in (db)",
        "role notin (web)",
        "absent",
        "absent=",
        "!env",
        "facts.os=alpine",
        "facts.kernel",
        "env=prod,absent",
        "env=prod,env=test",
    ] {
        assert!(!holds(text), "{text}");
    }
}

#[test]
fn every_error_has_its_column_and_what_was_expected() {
    for (text, column, expected) in [
        ("", 1, "a selector (every node is written \"*\")"),
        ("   ", 4, "a selector (every node is written \"*\")"),
        ("*,env=prod", 2, "the end after '*'"),
        ("env=prod,*", 10, "a label key or a fact"),
        ("env=prod,", 10, "a label key or a fact"),
        (",env", 1, "a label key or a fact"),
        ("!", 2, "a label key or a fact"),
        ("-env=prod", 1, "a label key or a fact"),
        ("ü=1", 1, "a label key or a fact"),
        ("env=ü", 5, "a value"),
        ("env=-x", 5, "a value"),
        ("env=a/b", 5, "a value"),
        ("env=a=b", 6, "',' or the end"),
        ("env=prod role=web", 10, "',' or the end"),
        ("env prod", 5, "'=', '!=', 'in', 'notin', ',' or the end"),
        ("env>3", 4, "'=', '!=', 'in', 'notin', ',' or the end"),
        ("env!prod", 4, "'=', '!=', 'in', 'notin', ',' or the end"),
        ("role in web", 9, "'('"),
        ("role in ()", 10, "a value"),
        ("role in (web,)", 14, "a value"),
        ("role in (web", 13, "',' or ')'"),
        ("role in (web) x", 15, "',' or the end"),
        ("!env=prod", 5, "',' or the end"),
        ("facts.os=", 10, "a value"),
    ] {
        let error = Selector::parse(text).expect_err(text);
        assert_eq!((error.column, error.expected.as_str()), (column, expected), "{text}");
    }
}

#[test]
fn an_unknown_fact_is_answered_with_the_known_ones() {
    let error = Selector::parse("env=prod,facts.colour=red").unwrap_err();
    assert_eq!(error.column, 10);
    for fact in Facts::SELECTABLE {
        assert!(error.expected.contains(&format!("facts.{fact}")), "{error}");
    }
    assert!(Selector::parse("facts.=x").is_err());
}

#[test]
fn every_selectable_fact_can_be_asked_for() {
    for fact in Facts::SELECTABLE {
        let json = format!("{{{:?}: \"x\"}}", fact.replace('-', "_"));
        let facts = serde_json::from_str::<Facts>(&json).unwrap().into();
        let selector = Selector::parse(&format!("facts.{fact}=x")).unwrap();
        assert!(selector.matches(&Labels::new(), &facts), "{fact}");
    }
}

#[test]
fn empty_is_all_for_lists_only() {
    use crate::labels::Written;
    assert_eq!(Written::parse_or_all(" ").unwrap(), Written::all());
    assert!(Written::parse(" ").is_err() && Selector::parse("").is_err());
    assert_eq!(Selector::parse("*").unwrap(), Selector::all());
    assert!(Selector::all().is_all() && !Selector::parse("a").unwrap().is_all());
}

#[test]
fn the_written_form_is_one() {
    for (text, canonical) in [
        (" role in (web, api,web) , env == prod", "env=prod,role in (api,web)"),
        ("role notin (db)", "role!=db"),
        ("role in (db),role=db", "role=db"),
        ("! canary", "!canary"),
        ("  *", "*"),
        ("empty=", "empty="),
    ] {
        let selector = Selector::parse(text).unwrap();
        assert_eq!(selector.to_string(), canonical);
        assert_eq!(canonical.parse::<Selector>().unwrap(), selector);
    }
}

#[test]
fn length_and_terms_are_bounded() {
    let terms = |n| vec!["a"; n].join(",");
    assert!(Selector::parse(&terms(64)).is_ok());
    assert_eq!(Selector::parse(&terms(65)).unwrap_err().expected, "at most 64 terms");
    let long = |n| format!("a in ({})", "x".repeat(63) + &",y".repeat(n));
    assert!(Selector::parse(&long(2000)).is_ok());
    assert_eq!(Selector::parse(&long(2020)).unwrap_err().expected, "at most 4096 bytes");
}

#[test]
fn explain_judges_every_term_by_itself() {
    let (labels, facts) = node();
    let clauses = Selector::parse("role=db,!canary,facts.os=debian").unwrap().explain(&labels, &facts);
    let told: Vec<_> = clauses.iter().map(|c| (c.text.as_str(), c.holds, c.found.as_deref())).collect();
    assert_eq!(
        told,
        [("!canary", true, None), ("role=db", false, Some("web")), ("facts.os=debian", true, Some("debian"))]
    );
}
