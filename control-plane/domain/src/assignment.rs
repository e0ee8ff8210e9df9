//! "Nodes matched by this selector get this item at this version."

mod staged;

use std::{collections::BTreeSet, fmt};

use muster_common::clock::UnixMillis;
use serde::{Deserialize, Serialize};

pub use staged::{Staged, Touch};

use crate::{item::ItemName, labels::Written};

/// Most exclusions of one assignment.
pub const MAX_EXCLUSIONS: usize = 16;

/// One assignment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// Name.
    pub name: String,
    /// As written; parsed by whoever matches.
    pub selector: String,
    /// Selectors as written: a node that one of them matches is not reached.
    pub exclusions: Vec<String>,
    /// The nodes that whoever made it may deploy to: it reaches only those. A
    /// written `Reach`.
    pub scope: String,
    /// What its nodes get; see `staged` for those that get something else.
    pub target: Target,
    /// What rollouts have made of it.
    pub staged: Staged,
    /// Higher wins.
    pub priority: i32,
    /// First write.
    pub created_at: UnixMillis,
    /// Last write.
    pub updated_at: UnixMillis,
    /// By whom.
    pub updated_by: String,
    /// Revision of the last write; the etag, and part of the generation of what it gives.
    pub revision: u64,
}

/// What an assignment gives.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Target {
    /// A fixed version of a bundle.
    Bundle {
        /// Name.
        name: String,
        /// Version.
        version: u64,
    },
    /// A fixed version of a settings profile.
    Settings {
        /// Name.
        profile: String,
        /// Version. What was stored before profiles had versions means the first.
        #[serde(default = "first_version")]
        version: u64,
    },
    /// A fixed version of an extension.
    Extension {
        /// Name.
        name: String,
        /// Version.
        version: u64,
    },
    /// A release of the agent.
    Release {
        /// Semantic version. In a request `@CHANNEL` asks for what a channel recommends.
        version: String,
    },
}

const fn first_version() -> u64 {
    1
}

impl Assignment {
    /// The groups that its selectors name. Of one that does not parse nothing is known.
    #[must_use]
    pub fn groups(&self) -> BTreeSet<String> {
        let texts = std::iter::once(&self.selector).chain(&self.exclusions);
        let written = texts.filter_map(|text| Written::parse(text).ok());
        written.flat_map(|it| it.groups().map(str::to_owned).collect::<Vec<_>>()).collect()
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bundle { name, version } => write!(f, "version {version} of bundle {name:?}"),
            Self::Settings { profile, version } => {
                write!(f, "version {version} of settings profile {profile:?}")
            }
            Self::Extension { name, version } => write!(f, "version {version} of extension {name:?}"),
            Self::Release { version } => write!(f, "release {version} of the agent"),
        }
    }
}

impl Target {
    /// The item its nodes get.
    #[must_use]
    pub fn item(&self) -> ItemName {
        match self {
            Self::Bundle { name, .. } => ItemName::Bundle(name.clone()),
            Self::Settings { .. } => ItemName::Settings,
            Self::Extension { name, .. } => ItemName::Extension(name.clone()),
            Self::Release { .. } => ItemName::Release,
        }
    }

    /// Whether its nodes get this item.
    #[must_use]
    pub fn is_of(&self, item: &ItemName) -> bool {
        match (self, item) {
            (Self::Bundle { name, .. }, ItemName::Bundle(wanted))
            | (Self::Extension { name, .. }, ItemName::Extension(wanted)) => name == wanted,
            (Self::Settings { .. }, ItemName::Settings) | (Self::Release { .. }, ItemName::Release) => true,
            (
                Self::Bundle { .. } | Self::Settings { .. } | Self::Extension { .. } | Self::Release { .. },
                ItemName::Bundle(_) | ItemName::Settings | ItemName::Extension(_) | ItemName::Release,
            ) => false,
        }
    }

    /// Whether this is what somebody asked for: a version 0 asks for whichever is the newest,
    /// and a channel for whatever it recommends.
    #[must_use]
    pub fn answers(&self, asked: &Self) -> bool {
        let is_same = |version: u64, asked: u64| asked == 0 || version == asked;
        match (self, asked) {
            (Self::Bundle { name: a, version }, Self::Bundle { name: b, version: asked })
            | (Self::Settings { profile: a, version }, Self::Settings { profile: b, version: asked })
            | (Self::Extension { name: a, version }, Self::Extension { name: b, version: asked }) => {
                a == b && is_same(*version, *asked)
            }
            (Self::Release { version }, Self::Release { version: asked }) => {
                asked.starts_with('@') || version == asked
            }
            (
                Self::Bundle { .. } | Self::Settings { .. } | Self::Extension { .. } | Self::Release { .. },
                Self::Bundle { .. } | Self::Settings { .. } | Self::Extension { .. } | Self::Release { .. },
            ) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_of_before_versions_is_the_first_version() {
        let read: Target = serde_json::from_str(r#"{"settings":{"profile":"base"}}"#).unwrap();
        let first = Target::Settings { profile: "base".to_owned(), version: 1 };
        assert_eq!(read, first);
        let written = serde_json::to_string(&first).unwrap();
        assert_eq!(written, r#"{"settings":{"profile":"base","version":1}}"#);
    }

    #[test]
    fn a_version_0_asks_for_any() {
        let settings = |profile: &str, version| Target::Settings { profile: profile.to_owned(), version };
        let bundle = |version| Target::Bundle { name: "a".to_owned(), version };
        for (asked, is_it) in [
            (settings("a", 0), true),
            (settings("a", 2), true),
            (settings("a", 3), false),
            (settings("b", 0), false),
            (bundle(0), false),
        ] {
            assert_eq!(settings("a", 2).answers(&asked), is_it, "{asked}");
        }
        assert!(bundle(7).answers(&bundle(0)) && !bundle(7).answers(&bundle(8)));
        let release = |version: &str| Target::Release { version: version.to_owned() };
        assert!(
            release("0.2.0").answers(&release("@stable")) && !release("0.2.0").answers(&release("0.3.0"))
        );
        let extension = Target::Extension { name: "a".to_owned(), version: 7 };
        assert!(!extension.answers(&bundle(7)) && !bundle(7).answers(&extension));
    }
}
