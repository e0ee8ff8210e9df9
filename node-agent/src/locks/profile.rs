//! Profiles: whole sets of rules under one name, and where each rule that holds comes from.

use std::{collections::BTreeMap, path::Path};

use muster_common::settings;
use serde::Deserialize;
use toml::{Table, Value, de::DeTable};

use super::{
    Error, commands::Commands, extensions::Extensions, limits::Caps, rules, upgrade::Upgrade,
    workload::Workload,
};
use rules::{Hooks, Paths, Rules};

use crate::redaction::redact;

/// Everything is allowed that a lock file can allow.
const FULL: &str = "full";
const FULL_RULES: &str = r#"
[paths]
allow = ["/"]
[hooks]
allow = true
[commands]
allow = ["reboot"]
services = ["*"]
journals = ["*"]
[commands.run-script]
allow = true
users = ["*"]
[extensions]
allow = ["*/*"]
"#;

/// What a built-in profile forbids, whatever else stands in the file: one line that is put
/// on top of a file must be enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ceiling {
    /// Nothing on the host is changed; it may be looked at.
    Monitor,
    /// Nothing but the session.
    Locked,
}

/// Kinds of commands that only look, or care for the agent's own identity.
const HARMLESS: [&str; 3] = ["collect-logs", "refresh-facts", "rotate-identity"];

impl Ceiling {
    const ALL: [Self; 2] = [Self::Monitor, Self::Locked];

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Monitor => "monitor",
            Self::Locked => "locked",
        }
    }

    fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|ceiling| ceiling.as_str() == name)
    }

    pub(super) fn allows_command(self, kind: &str) -> bool {
        self == Self::Monitor && HARMLESS.contains(&kind)
    }

    /// Whether a rule decides nothing under it.
    pub(super) fn overrules(self, rule: &str) -> bool {
        let section = rule.split('.').next().unwrap_or_default();
        match (self, section) {
            // What a host's own programs are is nothing that a remote side could change.
            (_, "settings" | "workload") => false,
            (Self::Locked, _) => true,
            (Self::Monitor, "paths") => false,
            (Self::Monitor, _) => !matches!(rule, "commands.deny" | "commands.journals"),
        }
    }
}

/// Where a rule comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// A line of the file, outside of profiles.
    File(usize),
    /// A line of the profile that the file has and chose.
    Profile(usize),
    /// The profile `full`.
    BuiltIn,
}

/// Of the rules that hold.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Sources {
    /// The profile's name, and the line that chose it.
    pub(super) profile: Option<(String, usize)>,
    rules: BTreeMap<String, Source>,
}

impl Sources {
    /// Of a rule, by its dotted name. What is said in short is said of all that it is short for.
    pub(super) fn of(&self, rule: &str) -> Option<Source> {
        let above = || rule.rsplit_once('.').and_then(|(above, _)| self.rules.get(above));
        self.rules.get(rule).or_else(above).copied()
    }

    /// The rule and where it stands, for people.
    pub(super) fn place(&self, rule: &str) -> String {
        let name = self.profile.as_ref().map_or("", |(name, _)| name);
        match self.of(rule) {
            Some(Source::File(line)) => format!("{rule}, line {line}"),
            Some(Source::Profile(line)) => format!("{rule} of profile {name}, line {line}"),
            Some(Source::BuiltIn) => format!("{rule} of profile {name}"),
            None => format!("{rule} is not set"),
        }
    }

    /// The line that chose a profile, for people.
    pub(super) fn profile_line(&self, name: &str) -> String {
        let line = self.profile.as_ref().map_or(0, |(_, line)| *line);
        format!("profile {name}, line {line}")
    }
}

/// A file, understood.
pub(super) struct Written {
    pub(super) rules: Rules,
    pub(super) ceiling: Option<Ceiling>,
    pub(super) sources: Sources,
    /// The rules that hold, as they would be written.
    pub(super) table: Table,
}

/// The file as it must be. What its sections say is read a second time, over the profile;
/// this time it is for errors with their lines.
#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
struct Shape {
    profile: Option<String>,
    profiles: BTreeMap<String, Rules>,
    paths: Paths,
    hooks: Hooks,
    commands: Commands,
    #[serde(deserialize_with = "settings::from_tables")]
    settings: BTreeMap<String, String>,
    extensions: Extensions,
    upgrade: Upgrade,
    limits: Caps,
    workload: Workload,
}

/// Reads the text of a lock file. `path`: its name, to tell.
pub(super) fn read(path: &Path, text: &str) -> Result<Written, Error> {
    // The parser shows the line, and it may have a password.
    let parse = |error: toml::de::Error| Error::Parse {
        path: path.to_owned(),
        why: redact(error.to_string().trim_end()),
    };
    let Shape { profile, profiles, paths, hooks, commands, settings, extensions, upgrade, limits, workload } =
        toml::from_str(text).map_err(parse)?;
    Rules { paths, hooks, commands, settings, extensions, upgrade, limits, workload }.check(path)?;
    profiles.values().try_for_each(|rules| rules.check(path))?;
    let unknown = |name: &str, why| Error::Profile { path: path.to_owned(), name: name.to_owned(), why };
    if let Some(name) = profiles.keys().find(|name| *name == FULL || Ceiling::named(name).is_some()) {
        return Err(unknown(name, "which is the name of a built-in one"));
    }
    let chosen = profile.as_deref();
    if let Some(name) =
        chosen.filter(|name| *name != FULL && Ceiling::named(name).is_none() && !profiles.contains_key(*name))
    {
        return Err(unknown(name, "and there is none of this name; built in are full, monitor and locked"));
    }
    let mut file: Table = toml::from_str(text).map_err(parse)?;
    let own = file.remove("profiles");
    file.remove("profile");
    let mut table = base(chosen, own.as_ref()).map_err(parse)?;
    name_in_full(&mut table);
    name_in_full(&mut file);
    lay_over(&mut table, &file);
    let sources = sources(&table, &file, chosen, &lines(text).map_err(parse)?);
    let rules: Rules = table.clone().try_into().map_err(parse)?;
    Ok(Written { rules, ceiling: chosen.and_then(Ceiling::named), sources, table })
}

/// The rules of the chosen profile.
fn base(chosen: Option<&str>, own: Option<&Value>) -> Result<Table, toml::de::Error> {
    match chosen {
        Some(FULL) => toml::from_str(FULL_RULES),
        Some(name) => Ok(own.and_then(|own| own.get(name)?.as_table()).cloned().unwrap_or_default()),
        None => Ok(Table::new()),
    }
}

/// `proxy.url` in quotes or not is one option: both ways must meet under one name.
fn name_in_full(table: &mut Table) {
    let Some(Value::Table(options)) = table.get_mut("settings") else { return };
    let named = leaves(options).into_iter().map(|(key, value)| (key, value.clone()));
    *options = named.collect();
}

/// Tables are laid over each other; all else takes the place of what was there.
fn lay_over(under: &mut Table, over: &Table) {
    for (key, value) in over {
        match (under.get_mut(key), value) {
            (Some(Value::Table(under)), Value::Table(over)) => lay_over(under, over),
            _ => drop(under.insert(key.clone(), value.clone())),
        }
    }
}

fn sources(table: &Table, file: &Table, chosen: Option<&str>, lines: &BTreeMap<String, usize>) -> Sources {
    let line = |key: &str| lines.get(key).copied();
    let profile = chosen.map(|name| (name.to_owned(), line("profile").unwrap_or_default()));
    let in_file: Vec<String> = leaves(file).into_iter().map(|(key, _)| key).collect();
    let source = |key: &str| match chosen {
        _ if in_file.iter().any(|written| written == key) => Source::File(line(key).unwrap_or_default()),
        Some(FULL) | None => Source::BuiltIn,
        Some(name) => Source::Profile(line(&format!("profiles.{name}.{key}")).unwrap_or_default()),
    };
    let rules = leaves(table).into_iter().map(|(key, _)| (key.clone(), source(&key))).collect();
    Sources { profile, rules }
}

/// All that is said, by dotted names.
pub(super) fn leaves(table: &Table) -> Vec<(String, &Value)> {
    let mut found = Vec::new();
    for (key, value) in table {
        match value {
            Value::Table(below) => {
                found.extend(leaves(below).into_iter().map(|(name, value)| (format!("{key}.{name}"), value)));
            }
            _ => found.push((key.clone(), value)),
        }
    }
    found
}

/// The line of each key, by its dotted name.
fn lines(text: &str) -> Result<BTreeMap<String, usize>, toml::de::Error> {
    let mut found = BTreeMap::new();
    note_lines(text, "", DeTable::parse(text)?.get_ref(), &mut found);
    Ok(found)
}

fn note_lines(text: &str, above: &str, table: &DeTable<'_>, found: &mut BTreeMap<String, usize>) {
    for (key, value) in table {
        let name =
            if above.is_empty() { key.get_ref().to_string() } else { format!("{above}.{}", key.get_ref()) };
        match value.get_ref().as_table() {
            Some(below) => note_lines(text, &name, below, found),
            None => {
                let before = text.get(..key.span().start).unwrap_or_default();
                found.insert(name, before.matches('\n').count() + 1);
            }
        }
    }
}
