//! Releases of the agent, the channels that recommend them, and which agents are too old.

use muster_common::{clock::UnixMillis, digest::Sha256};
use semver::Version;

/// The channel whose recommendation nodes are held against.
pub const STABLE: &str = "stable";
/// Minor versions behind the newest release with which an agent is still supported.
pub const SUPPORTED_MINORS: u64 = 2;

/// One release, without its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    /// Semantic version.
    pub version: String,
    /// Of the payload.
    pub sha256: Sha256,
    /// First.
    pub published_at: UnixMillis,
    /// The repository does not name it any more. `None`: it does.
    pub withdrawn_at: Option<UnixMillis>,
}

/// A name for a release that may be another one tomorrow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Channel {
    /// `stable`.
    pub name: String,
    /// What it recommends.
    pub version: String,
    /// Last write.
    pub updated_at: UnixMillis,
    /// By whom.
    pub updated_by: String,
    /// Of the last write; the etag.
    pub revision: u64,
}

/// Whether an agent is new enough for what is published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Support {
    /// It is.
    Supported,
    /// More than [`SUPPORTED_MINORS`] behind this.
    TooOld(Version),
    /// It says no version, or nothing is published.
    Unknown,
}

/// Releases of now, as far as nodes are held against them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recommended {
    /// The newest that is published, and no pre-release.
    pub newest: Option<Version>,
    /// What the channel `stable` recommends, unless that was withdrawn.
    pub stable: Option<Version>,
}

/// Whether this is a semantic version that a file name can have.
#[must_use]
pub fn is_version(text: &str) -> bool {
    text.len() <= 64 && Version::parse(text).is_ok()
}

impl Recommended {
    /// Of these.
    #[must_use]
    pub fn of(releases: &[Release], channels: &[Channel]) -> Self {
        let published = || releases.iter().filter(|it| it.withdrawn_at.is_none());
        let versions = published().filter_map(|it| Version::parse(&it.version).ok());
        let stable = channels.iter().find(|it| it.name == STABLE);
        let stable = stable.filter(|stable| published().any(|it| it.version == stable.version));
        Self {
            newest: versions.filter(|it| it.pre.is_empty()).max(),
            stable: stable.and_then(|it| Version::parse(&it.version).ok()),
        }
    }

    /// What an agent of this version could be upgraded to. `None`: nothing newer is recommended,
    /// or what it runs is not known.
    #[must_use]
    pub fn upgrade_of(&self, agent: &str) -> Option<String> {
        let agent = Version::parse(agent).ok()?;
        self.stable.as_ref().filter(|stable| **stable > agent).map(Version::to_string)
    }

    /// Whether an agent of this version is still supported.
    #[must_use]
    pub fn support_of(&self, agent: &str) -> Support {
        let (Ok(agent), Some(newest)) = (Version::parse(agent), &self.newest) else {
            return Support::Unknown;
        };
        // Another major version is another matter: nothing of it is promised.
        let is_too_old = agent.major < newest.major
            || agent.major == newest.major && newest.minor.saturating_sub(agent.minor) > SUPPORTED_MINORS;
        if is_too_old { Support::TooOld(newest.clone()) } else { Support::Supported }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn release(version: &str) -> Release {
        let (sha256, published_at) = (Sha256::ZERO, UnixMillis(0));
        Release { version: version.to_owned(), sha256, published_at, withdrawn_at: None }
    }

    fn stable(version: &str) -> Channel {
        Channel {
            name: STABLE.to_owned(),
            version: version.to_owned(),
            updated_at: UnixMillis(0),
            updated_by: String::new(),
            revision: 1,
        }
    }

    #[test]
    fn only_something_newer_is_an_upgrade() {
        let recommended = Recommended::of(&[release("0.9.0"), release("0.10.0")], &[stable("0.10.0")]);
        assert_eq!(recommended.upgrade_of("0.9.0").as_deref(), Some("0.10.0"));
        assert_eq!(recommended.upgrade_of("0.10.0-rc.1").as_deref(), Some("0.10.0"));
        for same_or_newer in ["0.10.0", "0.11.0", "", "nonsense"] {
            assert_eq!(recommended.upgrade_of(same_or_newer), None, "{same_or_newer}");
        }
        assert_eq!(Recommended::default().upgrade_of("0.1.0"), None);
        let withdrawn = Release { withdrawn_at: Some(UnixMillis(1)), ..release("0.10.0") };
        let recommended = Recommended::of(&[release("0.9.0"), withdrawn], &[stable("0.10.0")]);
        assert_eq!(recommended.upgrade_of("0.9.0"), None, "nobody can have it");
    }

    #[test]
    fn two_minors_behind_are_supported_and_three_are_not() {
        let withdrawn = Release { withdrawn_at: Some(UnixMillis(1)), ..release("0.9.0") };
        let releases = [release("0.5.1"), release("0.4.0"), release("0.8.0-rc.1"), withdrawn];
        let recommended = Recommended::of(&releases, &[]);
        assert_eq!(recommended.support_of("0.3.0"), Support::Supported);
        assert_eq!(recommended.support_of("0.6.0"), Support::Supported);
        assert_eq!(recommended.support_of("0.18446744073709551615.0"), Support::Supported);
        assert_eq!(recommended.support_of("0.2.9"), Support::TooOld(Version::new(0, 5, 1)));
        assert_eq!(recommended.support_of(""), Support::Unknown);
        assert_eq!(Recommended::default().support_of("0.1.0"), Support::Unknown);
        let next = Recommended::of(&[release("1.0.0")], &[]);
        assert_eq!(next.support_of("0.9.0"), Support::TooOld(Version::new(1, 0, 0)));
    }
}
