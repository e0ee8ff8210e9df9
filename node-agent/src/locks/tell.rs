//! What a lock file comes to, for its administrator: every rule, what it is and who says so.

use std::path::Path;

use muster_common::settings;
use serde::Serialize;
use serde_json::{Value, json};

use super::{Error, Locks, profile};
use profile::{Ceiling, Source};

/// Rules that are always told, and what they are where nobody says so.
const KNOWN: [(&str, &str); 19] = [
    ("paths.allow", "[]"),
    ("paths.deny", "[]"),
    ("hooks.allow", "false"),
    ("commands.allow", "[]"),
    ("commands.deny", "[]"),
    ("commands.services", "[]"),
    ("commands.journals", "[]"),
    ("commands.run-script.allow", "false"),
    ("commands.run-script.users", "null"),
    ("commands.run-script.sha256", "null"),
    ("commands.run-script.interpreters", "null"),
    ("extensions.allow", "[]"),
    ("extensions.block", "[]"),
    ("upgrade.allow", "true"),
    ("upgrade.pin", "null"),
    ("limits.memory", "null"),
    ("limits.cpu", "null"),
    ("limits.tasks", "null"),
    ("workload.identities", "[]"),
];

/// A rule as it is.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Rule {
    /// `commands.deny`.
    pub key: String,
    /// As it would be written; null: nobody says so, and it limits nothing.
    pub value: Value,
    /// `default`, `file`, `profile NAME`.
    pub origin: String,
    /// Where it stands in the file.
    pub line: Option<usize>,
    /// The profile forbids more than the rule.
    pub overruled: bool,
}

/// All of them.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Told {
    /// `full`, `monitor`, `locked`, or one of the file's own; empty: none.
    pub profile: String,
    /// In order of keys.
    pub rules: Vec<Rule>,
    /// What whoever wrote the file may not have meant.
    pub notes: Vec<String>,
}

impl Locks {
    /// What the text of a lock file comes to. `path`: its name, to tell.
    ///
    /// # Errors
    /// If it cannot be used.
    pub fn tell(path: &Path, text: &str) -> Result<Told, Error> {
        let (locks, table) = Self::of_written(path, text)?;
        let mut rules: Vec<Rule> =
            profile::leaves(&table).into_iter().map(|(key, value)| locks.rule(key, &json!(value))).collect();
        for (key, default) in KNOWN {
            let is_said = locks.sources.of(key).is_some();
            if !is_said {
                let default: Value = serde_json::from_str(default).unwrap_or_default();
                rules.push(locks.rule(key.to_owned(), &default));
            }
        }
        rules.sort_by(|one, other| one.key.cmp(&other.key));
        let notes = locks.notes(&rules);
        let profile = locks.sources.profile.map_or_else(String::new, |(name, _)| name);
        Ok(Told { profile, rules, notes })
    }

    fn rule(&self, key: String, value: &Value) -> Rule {
        let option = key.strip_prefix("settings.").and_then(settings::find).zip(value.as_str());
        let value = option.map_or_else(|| value.clone(), |(option, text)| json!(option.told(text)));
        let name = self.sources.profile.as_ref().map_or("", |(name, _)| name);
        let (origin, line) = match self.sources.of(&key) {
            None => ("default".to_owned(), None),
            Some(Source::File(line)) => ("file".to_owned(), Some(line)),
            Some(Source::Profile(line)) => (format!("profile {name}"), Some(line)),
            Some(Source::BuiltIn) => (format!("profile {name}"), None),
        };
        let overruled = self.ceiling.is_some_and(|ceiling| ceiling.overrules(&key));
        Rule { key, value, origin, line, overruled }
    }

    fn notes(&self, rules: &[Rule]) -> Vec<String> {
        let mut notes = Vec::new();
        match self.ceiling {
            Some(Ceiling::Locked) => notes.push("locked: nothing is done but the session kept".to_owned()),
            Some(Ceiling::Monitor) => notes.push(
                "monitor: nothing on the host is changed; bundles in the mode audit look under paths.allow"
                    .to_owned(),
            ),
            None => {}
        }
        let idle = rules.iter().filter(|rule| rule.overruled && rule.origin == "file");
        let idle: Vec<&str> = idle.map(|rule| rule.key.as_str()).collect();
        if !idle.is_empty() {
            notes.push(format!("without effect under this profile: {}", idle.join(", ")));
        }
        let writes_anywhere = self.ceiling.is_none() && self.writable_root_of(Path::new("/any")).is_some();
        if writes_anywhere || self.may_run_anything() {
            notes.push(
                "who may write anywhere, or run any script as root, can also change this file: it then binds only \
                 whoever does not try"
                    .to_owned(),
            );
        }
        notes
    }

    fn may_run_anything(&self) -> bool {
        let root = super::User { name: "root", uid: Some(0), is_agent: true };
        let text = super::Text {
            sha256: muster_common::digest::Sha256::ZERO,
            interpreter: &["/bin/sh".to_owned()],
            has_environment: true,
        };
        self.allows_command("run-script")
            && self.refuses_script(&root, &text, &super::Caps::default()).is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interpreters_and_identities_are_told_whether_the_file_says_them_or_not() {
        const SAID: &str = "[commands.run-script]\nallow = true\ninterpreters = [\"/bin/sh\"]\n\
                            [[workload.identities]]\nname = \"web\"\nuid = 33\n";
        let told = |text: &str, key: &str| {
            let told = Locks::tell(Path::new("locks.toml"), text).unwrap();
            let mut rules = told.rules.into_iter().filter(|rule| rule.key == key);
            let rule = rules.next().expect(key);
            assert!(rules.next().is_none(), "{key} is told twice");
            (rule.value, rule.origin, rule.line)
        };
        let (interpreters, identities) = ("commands.run-script.interpreters", "workload.identities");
        assert_eq!(told("", interpreters), (Value::Null, "default".to_owned(), None));
        assert_eq!(told("", identities), (json!([]), "default".to_owned(), None));
        assert_eq!(told(SAID, interpreters), (json!(["/bin/sh"]), "file".to_owned(), Some(3)));
        let web = json!([{ "name": "web", "uid": 33 }]);
        assert_eq!(told(SAID, identities), (web, "file".to_owned(), Some(4)));
    }
}
