//! Issuers of identities for programs, and how they take turns.
//!
//! ```text
//!            rotate           time to learn of it          life of what it signed
//!  (nothing) ------> next --------------------> active --> previous ------------> (nothing)
//! ```
//!
//! All of them are trusted; one issues. Who rotates at once, because a key is stolen,
//! skips both times. Nobody needs to be asked: programs fetch whom to trust again and
//! again, and what is issued does not live long.

use std::time::Duration;

use muster_common::{clock::UnixMillis, ids::SecretId};

/// Where an issuer stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Trusted, does not issue yet.
    Next,
    /// Trusted, issues.
    Active,
    /// Trusted, issues no more.
    Previous,
}

/// An issuer: the public halves. The keys are files of whoever issues.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issuer {
    /// From 1; never given twice.
    pub number: u32,
    /// Where it stands.
    pub standing: Standing,
    /// Self-signed: the root of certificates.
    pub certificate_der: Vec<u8>,
    /// Public key info of the key that signs tokens.
    pub jwt_key_der: Vec<u8>,
    /// End of the certificate.
    pub not_after: UnixMillis,
    /// When it was made.
    pub created_at: UnixMillis,
    /// When it came to where it stands.
    pub changed_at: UnixMillis,
    /// Its keys, encrypted, for the other replicas. None: it issues no more, or there was no key
    /// to encrypt them with yet.
    pub secret: Option<SecretId>,
}

/// All of them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Issuers {
    /// By number.
    pub all: Vec<Issuer>,
    /// Number of the newest that ever was.
    pub newest: u32,
}

/// Times of the turns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// How long everyone has to learn of an issuer before it issues.
    pub publish_for: Duration,
    /// How long the former one is trusted.
    pub keep_for: Duration,
    /// How long an issuer's certificate lives; the next one is made at two thirds.
    pub life: Duration,
}

/// There is one on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "issuer {0} is on its way already; it issues by itself when everyone has had the time to learn of it"
)]
pub struct OnItsWay(pub u32);

impl Standing {
    const ALL: [Self; 3] = [Self::Next, Self::Active, Self::Previous];

    /// In one word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Next => "next",
            Self::Active => "active",
            Self::Previous => "previous",
        }
    }

    /// The standing written so.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|standing| standing.as_str() == text)
    }
}

impl Issuers {
    /// The one that stands so.
    #[must_use]
    pub fn at(&self, standing: Standing) -> Option<&Issuer> {
        self.all.iter().find(|issuer| issuer.standing == standing)
    }

    /// This one alone, which issues: the first, or one before which no other is trusted any more.
    #[must_use]
    pub fn first(issuer: Issuer) -> Self {
        Self { newest: issuer.number, all: vec![Issuer { standing: Standing::Active, ..issuer }] }
    }

    /// With another one on its way.
    ///
    /// # Errors
    /// If one is already.
    pub fn with_next(&self, issuer: Issuer) -> Result<Self, OnItsWay> {
        if let Some(next) = self.at(Standing::Next) {
            return Err(OnItsWay(next.number));
        }
        let mut after = self.clone();
        after.newest = issuer.number;
        after.all.push(Issuer { standing: Standing::Next, ..issuer });
        Ok(after)
    }

    /// As they stand at this time, whoever has not looked meanwhile.
    #[must_use]
    pub fn settled(&self, rules: Rules, now: UnixMillis) -> Self {
        let is_due = |issuer: &Issuer| self.due_at(issuer, rules).is_some_and(|due| due <= now);
        let promoted = self.at(Standing::Next).filter(|next| is_due(next)).map(|next| next.number);
        let mut after = self.clone();
        after.all.retain(|issuer| issuer.standing != Standing::Previous || !is_due(issuer));
        for issuer in &mut after.all {
            let standing = match issuer.standing {
                Standing::Next if promoted.is_some() => Standing::Active,
                Standing::Active if promoted.is_some() => Standing::Previous,
                same => same,
            };
            if standing != issuer.standing {
                (issuer.standing, issuer.changed_at) = (standing, now);
            }
            if standing == Standing::Previous {
                issuer.secret = None;
            }
        }
        after
    }

    /// Whether the next one is to be made.
    #[must_use]
    pub fn needs_next(&self, rules: Rules, now: UnixMillis) -> bool {
        let is_late = |active: &Issuer| now + rules.life / 3 >= active.not_after;
        self.at(Standing::Next).is_none() && self.at(Standing::Active).is_some_and(is_late)
    }

    /// When an issuer goes on by itself.
    #[must_use]
    pub fn due_at(&self, issuer: &Issuer, rules: Rules) -> Option<UnixMillis> {
        match issuer.standing {
            Standing::Next => Some(issuer.changed_at + rules.publish_for),
            Standing::Active => None,
            Standing::Previous => Some(issuer.changed_at + rules.keep_for),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);
    const RULES: Rules =
        Rules { publish_for: HOUR, keep_for: HOUR, life: Duration::from_secs(90 * 24 * 3600) };

    fn issuer(number: u32, at: i64) -> Issuer {
        Issuer {
            number,
            standing: Standing::Next,
            certificate_der: vec![1],
            jwt_key_der: vec![2],
            not_after: UnixMillis(at) + RULES.life,
            created_at: UnixMillis(at),
            changed_at: UnixMillis(at),
            secret: None,
        }
    }

    fn standings(issuers: &Issuers) -> Vec<(u32, Standing)> {
        issuers.all.iter().map(|issuer| (issuer.number, issuer.standing)).collect()
    }

    #[test]
    fn an_issuer_is_known_before_it_issues_and_trusted_after_it_did() {
        let hour = 3_600_000;
        let start = Issuers::first(issuer(1, 0));
        let prepared = start.with_next(issuer(2, 0)).unwrap();
        assert_eq!(prepared.with_next(issuer(3, 0)), Err(OnItsWay(2)));
        assert_eq!(prepared.settled(RULES, UnixMillis(hour - 1)), prepared, "not everyone knows it yet");
        let turned = prepared.settled(RULES, UnixMillis(hour));
        assert_eq!(standings(&turned), [(1, Standing::Previous), (2, Standing::Active)]);
        assert_eq!(turned.settled(RULES, UnixMillis(2 * hour - 1)), turned, "what it signed lives");
        let over = turned.settled(RULES, UnixMillis(2 * hour));
        assert_eq!(standings(&over), [(2, Standing::Active)]);
        assert_eq!(over.newest, 2, "its number is not given again");
    }

    #[test]
    fn the_next_one_is_made_in_time_and_once() {
        let start = Issuers::first(issuer(1, 0));
        let late = UnixMillis(0) + RULES.life * 2 / 3;
        assert!(!start.needs_next(RULES, UnixMillis(late.0 - 1)) && start.needs_next(RULES, late));
        assert!(!start.with_next(issuer(2, late.0)).unwrap().needs_next(RULES, late));
        assert!(!Issuers::default().needs_next(RULES, late), "the first one is made at the start");
    }

    #[test]
    fn a_turn_while_the_former_is_still_kept_keeps_both() {
        let both = Issuers::first(issuer(1, 0)).with_next(issuer(2, 0)).unwrap();
        let now = UnixMillis(3_600_000);
        let three = both.settled(RULES, now).with_next(issuer(3, now.0)).unwrap();
        let rules = Rules { publish_for: Duration::ZERO, ..RULES };
        let turned = three.settled(rules, now);
        let all = [(1, Standing::Previous), (2, Standing::Previous), (3, Standing::Active)];
        assert_eq!(standings(&turned), all);
    }
}
