//! What to do about each kind of alert: the pages of `docs/runbooks`, which are in the program.

use maud::{Markup, html};
use muster_domain::alert::Kind;

/// The page of a kind, as it stands in `docs/runbooks`.
const fn text(kind: Kind) -> &'static str {
    match kind {
        Kind::NodeOffline => include_str!("../../../docs/runbooks/node-offline.md"),
        Kind::NodeLate => include_str!("../../../docs/runbooks/node-late.md"),
        Kind::CertificateExpiry => include_str!("../../../docs/runbooks/certificate-expiry.md"),
        Kind::AuthorityExpiry => include_str!("../../../docs/runbooks/authority-expiry.md"),
        Kind::RepositoryExpiry => include_str!("../../../docs/runbooks/repository-expiry.md"),
        Kind::ItemFailed => include_str!("../../../docs/runbooks/item-failed.md"),
        Kind::ItemRejected => include_str!("../../../docs/runbooks/item-rejected.md"),
        Kind::ItemStuck => include_str!("../../../docs/runbooks/item-stuck.md"),
        Kind::Drift => include_str!("../../../docs/runbooks/drift.md"),
        Kind::Quarantine => include_str!("../../../docs/runbooks/quarantine.md"),
        Kind::ClockSkew => include_str!("../../../docs/runbooks/clock-skew.md"),
        Kind::VersionUnsupported => include_str!("../../../docs/runbooks/version-unsupported.md"),
        Kind::RolloutStopped => include_str!("../../../docs/runbooks/rollout-stopped.md"),
        Kind::ReplicaLost => include_str!("../../../docs/runbooks/replica-lost.md"),
        Kind::DiskNearlyFull => include_str!("../../../docs/runbooks/disk-nearly-full.md"),
    }
}

/// The way to the page of a kind.
pub(super) fn way(kind: Kind) -> Markup {
    let name = kind.as_str();
    html! { a href=(format!("/runbooks/{name}")) { "Runbook " (name) } }
}

/// The page of this name, without its title. `None`: there is none.
pub(super) fn named(name: &str) -> Option<Markup> {
    let kind = Kind::ALL.into_iter().find(|kind| kind.as_str() == name)?;
    Some(html! { @for block in text(kind).split("\n\n") { (shown(block.trim_matches('\n'))) } })
}

/// The part of Markdown that these pages are written in: headings, commands, lists and paragraphs.
fn shown(block: &str) -> Markup {
    let command = block.strip_prefix("```sh\n").and_then(|rest| rest.strip_suffix("\n```"));
    if block.starts_with("# ") {
        html! {}
    } else if let Some(title) = block.strip_prefix("## ") {
        html! { h2 { (title) } }
    } else if let Some(command) = command {
        html! { pre { (command) } }
    } else if let Some(list) = block.strip_prefix("- ") {
        html! { ul { @for item in list.split("\n- ") { li { (line(item)) } } } }
    } else {
        html! { p { (line(block)) } }
    }
}

/// What is between backticks is code.
fn line(text: &str) -> Markup {
    html! {
        @for (at, part) in text.split('`').enumerate() {
            @if at % 2 == 1 { code { (part) } } @else { (part) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_its_page_of_which_nothing_is_left_that_is_no_html() {
        for kind in Kind::ALL {
            let name = kind.as_str();
            assert!(text(kind).starts_with(&format!("# {name}\n\n")), "{name} has the page of another");
            let page = named(name).unwrap().into_string();
            for part in ["<h2>How to see it</h2>", "<h2>What to do</h2>", "<li>"] {
                assert!(page.contains(part), "{name} has no {part}: {page}");
            }
            for mark in ["`", "](", "**", "\n#", "\n- "] {
                assert!(!page.contains(mark), "{name} shows {mark:?}: {page}");
            }
            assert!(way(kind).into_string().contains(&format!("href=\"/runbooks/{name}\"")));
        }
        assert!(named("node-on-fire").is_none());
    }
}
