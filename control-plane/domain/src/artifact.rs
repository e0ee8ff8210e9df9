//! The signed repository, as it was checked and published.

use std::fmt;

use muster_common::{clock::UnixMillis, digest::Sha256};
use serde::{Deserialize, Serialize};

/// Most files that the repository may name.
pub const MAX_TARGETS: usize = 2000;

/// What a file of the repository is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A package of an extension.
    Extension,
    /// The agent.
    Release,
}

/// A file that the newest targets metadata names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Its name there.
    pub name: String,
    /// Of its bytes.
    pub sha256: Sha256,
    /// Of all of it.
    pub size_bytes: u64,
    /// What it is for.
    pub kind: Kind,
    /// Who made it; of a release empty.
    pub publisher: String,
    /// What it is; of a release empty.
    pub of_type: String,
    /// Semantic version.
    pub version: String,
    /// `linux`.
    pub os: String,
    /// `x86_64`, `aarch64` or `any`.
    pub arch: String,
    /// Published first with these bytes.
    pub since: UnixMillis,
}

/// A role of the repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Role {
    /// Version of its metadata.
    pub version: u64,
    /// From then on nobody takes it.
    pub expires_at: UnixMillis,
    /// Since when this version is published here.
    pub since: UnixMillis,
}

/// The newest state of the repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Repository {
    /// Names the keys of all roles.
    pub root: Role,
    /// Says which files there are.
    pub targets: Role,
    /// Says which metadata belong together.
    pub snapshot: Role,
    /// Says which is the newest.
    pub timestamp: Role,
    /// Since when this state is published.
    pub published_at: UnixMillis,
    /// By whom.
    pub published_by: String,
    /// Paths of the metadata files that make it; without roots.
    pub files: Vec<String>,
    /// What was believed with it, as the check writes it: the floor of the next.
    pub kept: String,
}

impl Role {
    /// Whether it is in the last third of its life here, or past it: who signs it should do so
    /// again.
    #[must_use]
    pub fn is_due(&self, now: UnixMillis) -> bool {
        let third = self.expires_at.since(self.since) / 3;
        now + third >= self.expires_at
    }
}

impl Repository {
    /// Its roles, with their names in metadata.
    #[must_use]
    pub const fn roles(&self) -> [(&'static str, Role); 4] {
        [
            ("root", self.root),
            ("targets", self.targets),
            ("snapshot", self.snapshot),
            ("timestamp", self.timestamp),
        ]
    }

    /// The same after another one: a role that has the version that it had is as old as it was.
    #[must_use]
    pub fn after(self, before: &Self) -> Self {
        let aged = |new: Role, old: Role| if new.version == old.version { old } else { new };
        Self {
            root: aged(self.root, before.root),
            targets: aged(self.targets, before.targets),
            snapshot: aged(self.snapshot, before.snapshot),
            timestamp: aged(self.timestamp, before.timestamp),
            ..self
        }
    }
}

impl Kind {
    /// Its written form.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Extension => "extension",
            Self::Release => "release",
        }
    }

    /// The kind written so.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Extension, Self::Release].into_iter().find(|kind| kind.as_str() == text)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The target that a path of a mirror asks for: its digest, and its name. Both places of the digest
/// are known: before the whole name, and before its last part. `None`: it asks for none.
#[must_use]
pub fn target_of(path: &str) -> Option<(Sha256, String)> {
    let rest = path.strip_prefix("targets/")?;
    let digest = |text: &str| {
        text.split_once('.').and_then(|(hex, name)| Some((Sha256::parse_hex(hex)?, name.to_owned())))
    };
    if let Some(found) = digest(rest) {
        return Some(found);
    }
    let (folder, file) = rest.rsplit_once('/')?;
    let (sha256, file) = digest(file)?;
    Some((sha256, format!("{folder}/{file}")))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const DAY: u64 = 86_400_000;

    #[test]
    fn a_role_is_due_in_the_last_third_of_its_life_however_often_others_are_signed() {
        let at = |days: u64| UnixMillis(0) + Duration::from_millis(days * DAY);
        let role = |version, day, days| Role { version, expires_at: at(day + days), since: at(day) };
        let published = |version, day| Repository {
            root: role(1, day, 30 - day),
            targets: role(1, day, 30 - day),
            snapshot: role(version, day, 3),
            timestamp: role(version, day, 3),
            published_at: at(day),
            published_by: "operator/alice".to_owned(),
            files: Vec::new(),
            kept: String::new(),
        };
        let mut newest = published(1, 0);
        assert!(!newest.root.is_due(at(19)) && newest.root.is_due(at(21)) && newest.root.is_due(at(31)));
        for day in 1..=21 {
            newest = published(day + 1, day).after(&newest);
            assert_eq!(
                (newest.root.is_due(at(day)), newest.timestamp.is_due(at(day))),
                (day > 19, false),
                "{day}"
            );
        }
    }

    #[test]
    fn a_digest_stands_before_the_name_or_before_its_last_part() {
        let sha256 = Sha256::of(b"x");
        let name = "agent/0.2.0/linux-x86_64.tar.zst".to_owned();
        let both = [
            format!("targets/{sha256}.{name}"),
            format!("targets/agent/0.2.0/{sha256}.linux-x86_64.tar.zst"),
        ];
        for path in both {
            assert_eq!(target_of(&path), Some((sha256, name.clone())), "{path}");
        }
        for path in ["targets/agent/0.2.0/x.tar.zst", "metadata/1.root.json", "targets/", ""] {
            assert_eq!(target_of(path), None, "{path}");
        }
    }
}
