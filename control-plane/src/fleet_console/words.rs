//! How things are written on pages.

use maud::{Markup, html};
use muster_common::clock::UnixMillis;
use muster_domain::{
    alert::Severity,
    item::{ItemVersion, Outcome},
    liveness::State,
};

/// All states, the best first.
pub(super) const STATES: [State; 7] = [
    State::Online,
    State::Late,
    State::Unknown,
    State::NeverSeen,
    State::Quarantined,
    State::Expired,
    State::Offline,
];

/// A state in a word, which is also the name of its colour in the style.
pub(super) const fn state(state: State) -> &'static str {
    match state {
        State::NeverSeen => "never-seen",
        State::Online => "online",
        State::Late => "late",
        State::Offline => "offline",
        State::Unknown => "unknown",
        State::Expired => "expired",
        State::Quarantined => "quarantined",
    }
}

/// The same with its colour beside it.
pub(super) fn mark(it: State) -> Markup {
    let word = state(it);
    html! { span class={ "state " (word) } { (word) } }
}

/// How bad an alert is, with its colour beside it.
pub(super) fn severity(it: Severity) -> Markup {
    let word = it.as_str();
    html! { span class={ "state " (word) } { (word) } }
}

/// Yes or no, where no is bad.
pub(super) fn good(it: bool) -> Markup {
    if it {
        html! { span.good { "yes" } }
    } else {
        html! { span.bad { "no" } }
    }
}

/// Whether something holds, of which nobody says whether that is good.
pub(super) const fn holds(it: Option<bool>) -> &'static str {
    match it {
        Some(true) => "yes",
        Some(false) => "no",
        None => "unknown",
    }
}

/// A time in UTC, to the second.
pub(super) fn time(at: UnixMillis) -> Markup {
    match jiff::Timestamp::from_millisecond(at.0) {
        Ok(stamp) => html! {
            time datetime=(stamp) { (stamp.strftime("%Y-%m-%d %H:%M:%S UTC")) }
        },
        Err(_) => html! { (at) },
    }
}

/// A version of an item; nothing where there is none.
pub(super) fn version(version: Option<&ItemVersion>) -> Markup {
    match version {
        Some(it) if it.is_removal() => html! { "removal" },
        Some(it) if it.version.is_empty() => html! { code { (it.sha256.to_string().split_at(12).0) } },
        Some(it) => html! { (it.version) },
        None => html! { span.quiet { "nothing" } },
    }
}

/// What became of an attempt.
pub(super) const fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Applied => "applied",
        Outcome::Unchanged => "unchanged",
        Outcome::RolledBack => "rolled back",
        Outcome::Rejected => "rejected",
        Outcome::Broken => "broken",
        Outcome::Removed => "removed",
    }
}

/// An address with a query; empty values are left out.
pub(super) fn link(path: &str, values: &[(&str, &str)]) -> String {
    let given = values.iter().filter(|(_, value)| !value.is_empty());
    let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(given).finish();
    if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") }
}

/// A wide table, which scrolls by itself on a narrow screen.
pub(super) fn table(name: &str, heads: &[&str], rows: &Markup) -> Markup {
    region("table", name, heads, rows)
}

/// A table of numbers: what is beside the first column stands on the right of its own.
pub(super) fn numbers(name: &str, heads: &[&str], rows: &Markup) -> Markup {
    region("table numbers", name, heads, rows)
}

fn region(class: &str, name: &str, heads: &[&str], rows: &Markup) -> Markup {
    html! {
        div class=(class) role="region" aria-label=(name) tabindex="0" {
            table {
                thead { tr { @for head in heads { th scope="col" { (head) } } } }
                tbody { (rows) }
            }
        }
    }
}

/// Facts as pairs.
pub(super) fn pairs(pairs: &[(&str, Markup)]) -> Markup {
    html! {
        dl { @for (name, value) in pairs { div { dt { (name) } dd { (value) } } } }
    }
}

/// The ways to the first page and to the next one.
pub(super) fn paging(first: Option<&str>, next: Option<&str>) -> Markup {
    html! {
        @if first.is_some() || next.is_some() {
            nav.paging aria-label="More" {
                @if let Some(address) = first { a href=(address) { "First page" } }
                @if let Some(address) = next { a href=(address) rel="next" { "Next page" } }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_only_what_is_asked_and_nothing_gets_out_of_it() {
        assert_eq!(link("/nodes", &[("selector", ""), ("after", "")]), "/nodes");
        assert_eq!(link("/nodes", &[("selector", "a=b,c&d#\"<")]), "/nodes?selector=a%3Db%2Cc%26d%23%22%3C");
    }

    #[test]
    fn a_time_is_told_in_utc_and_one_beyond_all_calendars_is_no_panic() {
        let told = time(UnixMillis(1_700_000_000_123)).into_string();
        assert!(told.contains(">2023-11-14 22:13:20 UTC<"), "{told}");
        assert!(!time(UnixMillis(i64::MAX)).into_string().is_empty());
    }

    #[test]
    fn what_hosts_say_is_text_wherever_it_stands() {
        let evil = "\"><script>alert(1)</script>";
        let shown = [
            table(evil, &[evil], &html! { tr { td { (evil) } } }),
            pairs(&[("name", html! { (evil) })]),
            paging(Some(evil), Some(evil)),
        ];
        for shown in shown {
            let shown = shown.into_string();
            assert!(!shown.contains("<script") && !shown.contains("\"\">"), "{shown}");
        }
    }

    #[test]
    fn every_state_has_its_place_in_the_order() {
        let mut words: Vec<&str> = STATES.into_iter().map(state).collect();
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), 7);
    }
}
