//! Where each item stands on this host and why, from what is written down alone: for
//! somebody who stands before a host that nobody reaches. Where the control plane's
//! `ExplainItem` says the same, the words are the same. Nothing is made, changed or locked.

use std::{collections::BTreeMap, io, path::Path};

use muster_common::{clock::UnixMillis, reason::Reason as Code};
use serde::Serialize;

use super::{
    bundle::Mode,
    failure,
    journal::{Journal, Phase},
    records::{self, Record},
    waits::Waits,
};
use crate::{
    locks::{Act, Locks, Name},
    state::{Cause, ItemState, Outcome},
};

/// The answer in one stable word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Verdict {
    /// It runs what it was told last, as far as this host has heard.
    InSync,
    /// It does, and something else changed a file of it.
    Drifted,
    /// It is being brought, or failed for what others did and is told again.
    OnItsWay,
    /// It has failed for what the host is: the host tries again by itself.
    RetriedByHost,
    /// It has failed for what it is: only another version changes that.
    Refused,
    /// It is broken: a person is needed.
    Broken,
    /// The host's lock file forbids it, whoever asks.
    DeniedByLocalLock,
}

/// One reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reason {
    /// What it is about; one stable word.
    pub about: &'static str,
    /// Whether it speaks for what was told last being there.
    pub holds: bool,
    /// For people.
    pub text: String,
}

/// A change that is under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct UnderWay {
    /// To which version; empty: it is taken off the host.
    pub version: String,
    /// `staging`, `in place`, `returned`.
    pub phase: &'static str,
    /// Until then a new session must open, or it is undone.
    pub confirm_until: Option<UnixMillis>,
}

/// Where one item stands, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Explanation {
    /// `settings`, `bundle/NAME`.
    pub item: String,
    /// In one word.
    pub verdict: Verdict,
    /// In the order in which they decide.
    pub reasons: Vec<Reason>,
    /// What was told of it last, without the output. `None`: nothing yet.
    pub state: Option<ItemState>,
    /// The last part of what a hook printed that said no.
    pub output: String,
    /// What is being done to it.
    pub under_way: Option<UnderWay>,
    /// When the host tries again by itself.
    pub retry_at: Option<UnixMillis>,
}

/// All items of which something is written down in a folder, by name.
///
/// # Errors
/// If the folder cannot be read.
pub fn explain(folder: &Path, locks: &Locks) -> io::Result<Vec<Explanation>> {
    let records = records::read_all(folder)?.into_iter();
    let mut records: BTreeMap<String, Record> =
        records.map(|record| (record.state.item.clone(), record)).collect();
    let (waits, journal) = (Waits::read(folder), Journal::look(folder));
    for told in &waits.told {
        let told = told.clone();
        match records.get_mut(&told.item) {
            Some(record) => record.state = told,
            None => drop(records.insert(told.item.clone(), Record::new(told))),
        }
    }
    let new = journal.iter().map(|journal| &journal.item).filter(|item| !records.contains_key(*item));
    let new: Vec<Explanation> = new.map(|item| begun(item, journal.as_ref())).collect();
    let known = records.values().map(|record| {
        let journal = journal.as_ref().filter(|journal| journal.item == record.state.item);
        let retry_at = waits.retries.get(&record.state.item).copied();
        of_record(record, journal, retry_at, &in_the_way(folder, record, locks))
    });
    let mut all: Vec<Explanation> = known.chain(new).collect();
    all.sort_by(|a, b| a.item.cmp(&b.item));
    Ok(all)
}

/// Of an extension, as far as the lock file decides it. `None`: it has nothing against it.
#[must_use]
pub fn extension(name: &Name, item: &str, locks: &Locks) -> Option<Explanation> {
    let refused = locks.refuses_extension(name, Act::Bring)?;
    let mut reasons = vec![no("LocalLock", refused)];
    if locks.refuses_extension(name, Act::Remove).is_none() {
        reasons.push(yes("LocalLock", "what is there of it may be taken away all the same"));
    }
    Some(Explanation {
        item: item.to_owned(),
        verdict: Verdict::DeniedByLocalLock,
        reasons,
        state: None,
        output: String::new(),
        under_way: None,
        retry_at: None,
    })
}

/// Of an item that the host has never brought before.
fn begun(item: &str, journal: Option<&Journal>) -> Explanation {
    let under_way = journal.map(under_way);
    let mut reasons = vec![no("Host", "the host has never said anything of it")];
    reasons.extend(under_way.iter().map(of_way));
    Explanation {
        item: item.to_owned(),
        verdict: Verdict::OnItsWay,
        reasons,
        state: None,
        output: String::new(),
        under_way,
        retry_at: None,
    }
}

fn of_record(
    record: &Record,
    journal: Option<&Journal>,
    retry_at: Option<UnixMillis>,
    in_the_way: &[String],
) -> Explanation {
    let state = &record.state;
    let mut reasons = vec![Reason { about: "Host", holds: state.error.is_none(), text: said(state) }];
    let under_way = journal.map(under_way);
    reasons.extend(under_way.iter().map(of_way));
    let verdict = match &under_way {
        Some(_) => Verdict::OnItsWay,
        None => of_attempt(state, retry_at, &mut reasons),
    };
    let open = state.drift.iter().filter(|drift| !drift.corrected);
    reasons.extend(open.map(|drift| {
        let error = if drift.error.is_empty() { String::new() } else { format!("; {}", drift.error) };
        no("Drift", format!("{}: {}, since {}{error}", drift.path, drift.what, time(drift.noticed_at)))
    }));
    reasons.extend(in_the_way.iter().map(|text| no("LocalLock", text.clone())));
    let mut state = state.clone();
    let output = state.error.as_mut().map(|error| std::mem::take(&mut error.output)).unwrap_or_default();
    Explanation {
        item: state.item.clone(),
        verdict,
        reasons,
        state: Some(state),
        output: String::from_utf8_lossy(&output).into_owned(),
        under_way,
        retry_at,
    }
}

/// What became of what was told last; the words are the control plane's.
fn of_attempt(state: &ItemState, retry_at: Option<UnixMillis>, reasons: &mut Vec<Reason>) -> Verdict {
    let Some(error) = &state.error else {
        let differs = state.drift.iter().any(|drift| !drift.corrected);
        return if differs { Verdict::Drifted } else { Verdict::InSync };
    };
    let (verdict, reason) = match error.cause {
        _ if state.outcome == Outcome::Broken => {
            (Verdict::Broken, no("Delivery", "the way back failed, too: a person is needed on the host"))
        }
        // What was not fetched is retried here whatever its cause: then it has a time.
        _ if failure::is_retried_here(state) || failure::is_unsettled(state) && retry_at.is_some() => {
            let at = retry_at.map(|at| format!(", not before {}", time(at))).unwrap_or_default();
            let session = if error.reason == Code::NotConfirmed { ", while it has a session" } else { "" };
            let text = format!("the host tries it again by itself{session}{at}");
            (Verdict::RetriedByHost, yes("Delivery", text))
        }
        Cause::Network | Cause::ControlPlane => (Verdict::OnItsWay, yes("Delivery", "it is told again")),
        Cause::Content | Cause::Host => {
            let text = "the host does not try it again: only another version changes that";
            (Verdict::Refused, no("Delivery", text))
        }
    };
    reasons.push(reason);
    verdict
}

fn under_way(journal: &Journal) -> UnderWay {
    let phase = match journal.phase {
        Phase::Staging => "staging",
        Phase::Swapping => "in place",
        Phase::Returned => "returned",
    };
    let version = if journal.removal { String::new() } else { journal.version.version.clone() };
    UnderWay { version, phase, confirm_until: journal.confirm_until.filter(|_| phase == "in place") }
}

fn of_way(way: &UnderWay) -> Reason {
    let what = match way.version.as_str() {
        "" => "it is being taken off the host".to_owned(),
        version => format!("version {version} is being brought onto the host"),
    };
    match (way.phase, way.confirm_until) {
        (_, Some(until)) => {
            let until = time(until);
            yes(
                "Confirmation",
                format!("{what}: it is in place, and kept if a new session opens until {until}"),
            )
        }
        ("staging", None) => yes("Delivery", format!("{what}: nothing has changed yet")),
        ("returned", None) => no("Delivery", format!("{what}: that failed, and its files are as they were")),
        (_, None) => yes("Delivery", format!("{what}: its files are in place, its hooks run")),
    }
}

/// What of the lock file stands in the way of what runs.
fn in_the_way(folder: &Path, record: &Record, locks: &Locks) -> Vec<String> {
    let Some(bundle) = records::bundle_of(folder, record) else { return Vec::new() };
    let closed = |path: &Path| match bundle.mode {
        // It is only looked at.
        Mode::Audit if locks.root_of(path).is_some() => None,
        _ => locks.refuses_writing(path),
    };
    let mut texts: Vec<String> = bundle.paths().filter_map(closed).collect();
    let mut hooks = [&bundle.validate, &bundle.on_change, &bundle.probe].into_iter().flatten();
    if bundle.mode != Mode::Audit && hooks.next().is_some() && !locks.allows_hooks() {
        texts.push(locks.hooks_refused());
    }
    texts
}

fn said(state: &ItemState) -> String {
    let running = state.running.as_ref().map_or("nothing".to_owned(), |it| format!("version {}", it.version));
    let error = state.error.as_ref().map(|error| {
        let tried = state.attempted.as_ref().map_or(String::new(), |it| format!(" version {}", it.version));
        format!("; it tried{tried}, and failed: {}: {}", error.reason, error.message)
    });
    format!("the host runs {running} of it{}", error.unwrap_or_default())
}

fn yes(about: &'static str, text: impl Into<String>) -> Reason {
    Reason { about, holds: true, text: text.into() }
}

fn no(about: &'static str, text: impl Into<String>) -> Reason {
    Reason { about, holds: false, text: text.into() }
}

fn time(at: UnixMillis) -> String {
    humantime::format_rfc3339_seconds(at.to_system_time()).to_string()
}
