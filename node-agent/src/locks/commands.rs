//! What a lock file says of commands.

use std::path::Path;

use muster_common::digest::Sha256;
use serde::{Deserialize, Deserializer};

use super::Error;

/// The section `[commands]`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Commands {
    #[serde(deserialize_with = "yes_no_or_rules")]
    pub(super) run_script: Scripts,
    allow: Vec<String>,
    deny: Vec<String>,
    pub(super) services: Vec<String>,
    pub(super) journals: Vec<String>,
}

/// What keeps the agent itself going: also allowed while nobody knows what is locked.
const CARE: [&str; 3] = ["refresh-facts", "restart-agent", "rotate-identity"];
/// Denied unless the file says otherwise.
const ASKED_FOR: [&str; 2] = ["reboot", "run-script"];
/// All kinds that a file can name.
pub const KINDS: [&str; 8] = [
    "collect-logs",
    "disconnect",
    "reboot",
    "refresh-facts",
    "restart-agent",
    "rotate-identity",
    "run-script",
    "service",
];

/// Which scripts may run, and as whom.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Scripts {
    allow: bool,
    users: Option<Vec<String>>,
    sha256: Option<Vec<Sha256>>,
    interpreters: Option<Vec<String>>,
}

/// What runs scripts that are listed, where the file does not say.
const INTERPRETER: &str = "/bin/sh";

/// What of a script decides what it does, but for its arguments.
#[derive(Debug, Clone, Copy)]
pub struct Text<'a> {
    /// Of the text itself.
    pub sha256: Sha256,
    /// What reads it, with its own words.
    pub interpreter: &'a [String],
    /// Whether the order brings variables of its own.
    pub has_environment: bool,
}

/// As whom a script is to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct User<'a> {
    /// The name that the host knows, or what was asked for if it knows none.
    pub name: &'a str,
    /// The number, if the host knows it.
    pub uid: Option<u32>,
    /// Whether it is the user that the agent works as.
    pub is_agent: bool,
}

impl Commands {
    /// The rule that refuses a kind.
    pub(super) fn refuses(&self, kind: &str, is_unusable: bool) -> Option<&'static str> {
        let is_in = |list: &[String]| list.iter().any(|one| one == kind);
        match kind {
            _ if is_in(&self.deny) => Some("commands.deny"),
            _ if CARE.contains(&kind) => None,
            _ if is_unusable => Some("commands.allow"),
            "run-script" if self.run_script.allow || is_in(&self.allow) => None,
            "run-script" => Some("commands.run-script.allow"),
            _ if ASKED_FOR.contains(&kind) && !is_in(&self.allow) => Some("commands.allow"),
            _ => None,
        }
    }

    /// Refuses kinds that a list cannot have.
    pub(super) fn check(&self, path: &Path) -> Result<(), Error> {
        let lists: [(_, _, &'static [&'static str]); 2] =
            [("allow", &self.allow, &ASKED_FOR), ("deny", &self.deny, &KINDS)];
        for (list, kinds, can) in lists {
            if let Some(kind) = kinds.iter().find(|kind| !can.contains(&kind.as_str())) {
                return Err(Error::Command { path: path.to_owned(), list, kind: kind.clone(), can });
            }
        }
        Ok(())
    }
}

impl Scripts {
    /// The rule that refuses a script, and what it says.
    pub(super) fn refuses(&self, user: &User<'_>, text: &Text<'_>) -> Option<(&'static str, String)> {
        const USERS: &str = "commands.run-script.users";
        match &self.users {
            Some(users) if !users.iter().any(|listed| user.is(listed)) => {
                Some((USERS, format!("allows no script as user {user}")))
            }
            None if !user.is_agent => {
                Some((USERS, format!("allows scripts as the agent's own user only, not as {user}")))
            }
            _ => self.refuses_text(text),
        }
    }

    /// A listed text is worth nothing if who orders it can have it read in another way.
    fn refuses_text(&self, text: &Text<'_>) -> Option<(&'static str, String)> {
        const SHA256: &str = "commands.run-script.sha256";
        let sha256 = &text.sha256;
        if self.sha256.as_ref().is_some_and(|hashes| !hashes.contains(sha256)) {
            return Some((SHA256, format!("does not list the script with SHA-256 {sha256}")));
        }
        let is_listed = self.sha256.is_some();
        if is_listed && text.has_environment {
            return Some((SHA256, "lists scripts, and those get no environment".to_owned()));
        }
        let may_read = match (&self.interpreters, text.interpreter) {
            (None, words) => !is_listed || words == [INTERPRETER],
            (Some(listed), [program]) => listed.contains(program),
            (Some(_), _) => false,
        };
        let words = text.interpreter;
        let rule = if self.interpreters.is_some() { "commands.run-script.interpreters" } else { SHA256 };
        (!may_read).then(|| (rule, format!("does not allow the interpreter {words:?}")))
    }
}

impl User<'_> {
    /// Whether an entry of a list means this user. A number means its user whatever that is
    /// called, a name only whom the host calls so, `*` everybody.
    fn is(&self, listed: &str) -> bool {
        listed == "*" || listed == self.name || (self.uid.is_some() && listed.parse().ok() == self.uid)
    }
}

impl std::fmt::Display for User<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.name, self.uid) {
            ("", Some(uid)) => write!(f, "{uid}"),
            (name, _) => f.write_str(name),
        }
    }
}

/// `run-script = true` is the table with nothing else in it.
fn yes_no_or_rules<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Scripts, D::Error> {
    struct Either;
    impl<'de> serde::de::Visitor<'de> for Either {
        type Value = Scripts;
        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("true, false, or a table with allow, users, sha256 and interpreters")
        }
        fn visit_bool<E>(self, allow: bool) -> Result<Scripts, E> {
            Ok(Scripts { allow, ..Scripts::default() })
        }
        fn visit_map<A: serde::de::MapAccess<'de>>(self, map: A) -> Result<Scripts, A::Error> {
            Scripts::deserialize(serde::de::value::MapAccessDeserializer::new(map))
        }
    }
    deserializer.deserialize_any(Either)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(text: &str) -> Result<Scripts, toml::de::Error> {
        toml::from_str::<Commands>(text).map(|commands| commands.run_script)
    }

    fn refused(text: &str, user: &User<'_>, script: &str) -> Option<String> {
        read_by(text, user, script, &["/bin/sh"], false)
    }

    fn read_by(
        text: &str,
        user: &User<'_>,
        script: &str,
        words: &[&str],
        has_environment: bool,
    ) -> Option<String> {
        let interpreter: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        let sha256 = Sha256::of(script.as_bytes());
        let text_of = Text { sha256, interpreter: &interpreter, has_environment };
        rules(text).unwrap().refuses(user, &text_of).map(|(_, told)| told)
    }

    const AGENT: User<'_> = User { name: "root", uid: Some(0), is_agent: true };
    const APP: User<'_> = User { name: "app", uid: Some(1001), is_agent: false };

    #[test]
    fn a_yes_allows_every_script_as_the_agents_own_user_and_as_nobody_else() {
        assert!(rules("run-script = true").unwrap().allow);
        assert_eq!(refused("run-script = true", &AGENT, "x"), None);
        assert!(refused("run-script = true", &APP, "x").unwrap().contains("not as app"));
        for no in ["", "run-script = false", "[run-script]", "[run-script]\nusers = [\"root\"]"] {
            assert!(!rules(no).unwrap().allow, "{no}");
        }
    }

    #[test]
    fn listed_users_are_meant_by_name_or_number_and_others_are_not_not_even_the_agent() {
        let names = "[run-script]\nallow = true\nusers = [\"app\"]";
        let numbers = "[run-script]\nallow = true\nusers = [\"1001\"]";
        for rules in [names, numbers] {
            assert_eq!(refused(rules, &APP, "x"), None);
            assert!(refused(rules, &AGENT, "x").unwrap().contains("as user root"));
        }
        assert_eq!(refused("[run-script]\nallow = true\nusers = [\"*\"]", &APP, "x"), None);
        // Somebody the host does not know, asked for by a name that looks like a number of another.
        let unknown = User { name: "01001", uid: None, is_agent: false };
        assert!(refused(numbers, &unknown, "x").is_some());
    }

    #[test]
    fn only_listed_scripts_run_where_scripts_are_listed() {
        let hash = Sha256::of(b"echo yes");
        let text = format!("[run-script]\nallow = true\nsha256 = [\"{hash}\"]");
        assert_eq!(refused(&text, &AGENT, "echo yes"), None);
        let refusal = refused(&text, &AGENT, "echo yes ").unwrap();
        assert!(refusal.contains(&Sha256::of(b"echo yes ").to_string()), "it says what to list: {refusal}");
        assert!(refused("[run-script]\nallow = true\nsha256 = []", &AGENT, "x").is_some());
    }

    #[test]
    fn a_listed_script_is_read_by_what_the_file_allows_and_by_nothing_else() {
        let hash = Sha256::of(b"echo yes");
        let plain = format!("[run-script]\nallow = true\nsha256 = [\"{hash}\"]");
        let python = format!("{plain}\ninterpreters = [\"/usr/bin/python3\"]");
        let around: [&[&str]; 3] = [&["/bin/sh", "-c", "anything"], &["/bin/sh", "-e"], &["/bin/bash"]];
        for words in around {
            for text in [&plain, &python] {
                let refusal = read_by(text, &AGENT, "echo yes", words, false).unwrap();
                assert!(refusal.contains(words[0]), "{refusal}");
            }
            assert_eq!(read_by("run-script = true", &AGENT, "x", words, true), None, "nothing is listed");
        }
        assert!(read_by(&plain, &AGENT, "echo yes", &["/bin/sh"], true).unwrap().contains("environment"));
        assert_eq!(read_by(&python, &AGENT, "echo yes", &["/usr/bin/python3"], false), None);
        assert!(read_by(&python, &AGENT, "echo yes", &["/bin/sh"], false).is_some());
        let only = "[run-script]\nallow = true\ninterpreters = [\"/bin/sh\"]";
        assert_eq!(read_by(only, &AGENT, "x", &["/bin/sh"], true), None);
        assert!(read_by(only, &AGENT, "x", &["/bin/bash"], true).is_some());
    }

    #[test]
    fn what_is_no_rule_is_refused() {
        for bad in [
            "run-script = 7",
            "run-script = \"true\"",
            "[run-script]\nallowed = true",
            "[run-script]\nallow = true\nusers = [0]",
            "[run-script]\nallow = true\nsha256 = [\"abc\"]",
        ] {
            assert!(rules(bad).is_err(), "{bad}");
        }
    }
}
