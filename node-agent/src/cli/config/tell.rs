//! Settings, as they are told.

use std::path::Path;

use muster_common::{
    error_chain::Chain,
    settings::{self, Applies, Kind, Setting},
};
use serde_json::{Value, json};

use super::{
    change::Wanted,
    history::{Change, Entry, History},
};
use crate::{
    applier,
    cli::{
        Context,
        exit::Failure,
        output::{Output, Tone},
    },
    identity::Store,
    locks::Locks,
    state::{EffectiveSetting, Origin},
    wiring::Layers,
};

/// All in force, and what whoever reads them should know.
struct InForce {
    settings: Vec<EffectiveSetting>,
    notes: Vec<String>,
}

fn in_force(context: &Context) -> InForce {
    let mut notes = Vec::new();
    let locks = Locks::load(&context.config.locks_file).unwrap_or_else(|error| {
        notes.push(format!("everything is locked: {}", Chain(&error)));
        Locks::everything()
    });
    let identity = Store::new(context.state.path()).load().unwrap_or_else(|error| {
        notes.push(format!("what the control plane gives is not known: {}", Chain(&error)));
        None
    });
    let items = identity.map(|identity| context.state.node(identity.node).join("items"));
    let control_plane = items.map(|items| applier::settings_on_disk(&items)).unwrap_or_default();
    let layers =
        Layers { control_plane: &control_plane, configuration: &context.config.settings, locks: &locks };
    InForce { settings: layers.in_force(), notes }
}

/// What is not as one might think.
fn told_notes(out: Output, notes: &[String]) {
    for note in notes {
        out.note(&out.paint_note(Tone::Doubtful, note));
    }
}

/// Of some keys, or of all.
fn wanted(all: Vec<EffectiveSetting>, keys: &[String]) -> Vec<(EffectiveSetting, &'static Setting)> {
    let named = |one: &EffectiveSetting| keys.is_empty() || keys.contains(&one.key);
    let all = all.into_iter().filter(named);
    all.filter_map(|one| settings::find(&one.key).map(|setting| (one, setting))).collect()
}

fn told(context: &Context, one: &EffectiveSetting, setting: &Setting) -> Value {
    let configured = context.config.settings.get(&one.key);
    json!({
        "key": one.key,
        "value": setting.told(&one.value),
        "origin": one.origin,
        "desired": one.desired.as_deref().map(|value| setting.told(value)),
        "configured": configured.map(|value| setting.told(value)),
    })
}

/// What is in force.
pub(super) fn list(context: &Context, keys: &[String]) -> Result<(), Failure> {
    let (out, InForce { settings, notes }) = (context.out, in_force(context));
    let shown = wanted(settings, keys);
    if out.is_json() {
        let settings: Vec<Value> = shown.iter().map(|(one, setting)| told(context, one, setting)).collect();
        let whole = json!({ "file": context.config.path, "settings": settings, "notes": notes });
        out.document("config-list/1", &whole);
        return Ok(());
    }
    for (one, setting) in &shown {
        let value = setting.told(&one.value);
        match keys.len() {
            1 => out.line(&value),
            _ => out.line(&format!("{:<16} {value}  ({})", one.key, one.origin)),
        }
    }
    told_notes(out, &notes);
    Ok(())
}

/// What each can be, and is.
pub(super) fn info(context: &Context, keys: &[String]) -> Result<(), Failure> {
    let (out, InForce { settings, notes }) = (context.out, in_force(context));
    let shown = wanted(settings, keys);
    if out.is_json() {
        let settings: Vec<Value> = shown.iter().map(|(one, setting)| whole(context, one, setting)).collect();
        let whole = json!({ "file": context.config.path, "settings": settings, "notes": notes });
        out.document("config-info/1", &whole);
        return Ok(());
    }
    for (one, setting) in &shown {
        let value = setting.told(&one.value);
        out.line(&format!("{}: {value} ({})", out.paint(Tone::Strong, &one.key), one.origin));
        out.line(&format!("  {}", setting.description));
        let default = if setting.default.is_empty() { "none" } else { setting.default };
        out.line(&format!(
            "  type {}{}; default {default}; {}; since {}",
            kind(setting),
            range(setting),
            when(setting),
            setting.since
        ));
        if setting.host_only {
            out.line("  the control plane can neither give nor override it");
        }
    }
    told_notes(out, &notes);
    Ok(())
}

fn whole(context: &Context, one: &EffectiveSetting, setting: &Setting) -> Value {
    let mut told = told(context, one, setting);
    let of_schema = json!({
        "type": kind(setting),
        "unit": setting.unit,
        "minimum": setting.minimum,
        "maximum": setting.maximum,
        "words": setting.words,
        "default": setting.default,
        "applies": match setting.applies { Applies::Live => "live", Applies::Reconnect => "reconnect" },
        "host-only": setting.host_only,
        "since": setting.since,
        "description": setting.description,
    });
    if let (Some(told), Value::Object(of_schema)) = (told.as_object_mut(), of_schema) {
        told.extend(of_schema);
    }
    told
}

const fn kind(setting: &Setting) -> &'static str {
    match setting.kind {
        Kind::Duration => "duration",
        Kind::Integer => "integer",
        Kind::Boolean => "boolean",
        Kind::Text => "text",
        Kind::ProxyUrl | Kind::MirrorUrl => "url",
        Kind::BypassList => "list",
    }
}

fn range(setting: &Setting) -> String {
    match (setting.words, setting.minimum) {
        ([], "") => String::new(),
        ([], minimum) => format!(", {minimum} to {}", setting.maximum),
        (words, _) => format!(", one of {}", words.join(", ")),
    }
}

const fn when(setting: &Setting) -> &'static str {
    match setting.applies {
        Applies::Live => "applies at once",
        Applies::Reconnect => "applies with the next session",
    }
}

/// What was changed, and what of it is in force: the lock file may have the last word.
pub(super) fn changed(context: &Context, path: &Path, changes: &[Change], wanted: &Wanted) {
    let (out, InForce { settings, mut notes }) = (context.out, in_force(context));
    let now = |key: &str| settings.iter().find(|one| one.key == key);
    for key in wanted.keys() {
        if let Some((one, setting)) = now(key).zip(settings::find(key))
            && one.origin == Origin::Lock
        {
            let value = setting.told(&one.value);
            notes.push(format!("{key} stays {value}: the lock file fixes it, whatever stands here"));
        }
    }
    if out.is_json() {
        let changes: Vec<Value> = changes.iter().map(|change| with_force(change, now(&change.key))).collect();
        let whole = json!({ "file": path, "restored": false, "changes": changes, "notes": notes });
        out.document("config-change/1", &whole);
        return;
    }
    for change in changes {
        out.line(&out.paint(Tone::Good, &one_line(change)));
    }
    if changes.is_empty() {
        out.note("it was so already: nothing was changed");
    }
    told_notes(out, &notes);
}

fn with_force(change: &Change, now: Option<&EffectiveSetting>) -> Value {
    let setting = settings::find(&change.key);
    let in_force = now
        .zip(setting)
        .map(|(one, setting)| json!({ "value": setting.told(&one.value), "origin": one.origin }));
    json!({ "key": change.key, "before": change.before, "after": change.after, "in-force": in_force })
}

fn one_line(change: &Change) -> String {
    let word =
        |value: &Option<String>| value.as_ref().map_or("nothing".to_owned(), |value| format!("{value:?}"));
    format!("{}: {}, before {}", change.key, word(&change.after), word(&change.before))
}

/// Who changed what.
pub(super) fn history(history: &History, out: Output) -> Result<(), Failure> {
    if out.is_json() {
        out.document("config-history/1", &json!({ "changes": history.entries() }));
        return Ok(());
    }
    for entry in history.entries() {
        out.line(&heading(entry));
        for change in &entry.changes {
            out.line(&format!("    {}", one_line(change)));
        }
    }
    Ok(())
}

fn heading(entry: &Entry) -> String {
    let at = humantime::format_rfc3339_seconds(entry.at.to_system_time());
    let name = if entry.by.user.is_empty() { "unknown" } else { &entry.by.user };
    let by = match &entry.by.sudo_user {
        Some(sudo) => format!("{sudo} as {name}"),
        None => name.to_owned(),
    };
    let undoes = entry.undoes.map(|number| format!(" of {number}")).unwrap_or_default();
    format!("{} {at} {}{undoes} by {by} (uid {})", entry.number, entry.action, entry.by.uid)
}
