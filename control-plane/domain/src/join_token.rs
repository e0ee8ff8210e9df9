//! What lets a host enroll.

use std::{net::IpAddr, time::Duration};

use ipnet::IpNet;
use muster_common::{clock::UnixMillis, ids::JoinTokenId, reason::Reason};

use crate::{labels::Labels, requestable::Requestable, violation::Violation};

/// Life of a token when the caller does not say.
pub const TTL: Duration = Duration::from_secs(3600);
/// Longest life of a token.
pub const MAX_TTL: Duration = Duration::from_secs(90 * 24 * 3600);
/// Most hosts that can enroll with one token.
pub const MAX_USES: u32 = 1_000_000;
/// Most networks a token can name.
const MAX_NETWORKS: usize = 64;
/// Longest description, in characters.
const MAX_DESCRIPTION: usize = 256;

/// A join token; its secret is known by its hash alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinToken {
    /// Public name.
    pub id: JoinTokenId,
    /// For people.
    pub description: String,
    /// SHA-256 of the secret.
    pub secret_sha256: Vec<u8>,
    /// Given to every node that enrolls with it.
    pub labels: Labels,
    /// How many nodes may.
    pub max_uses: u32,
    /// How many did.
    pub uses: u32,
    /// When it was made.
    pub created_at: UnixMillis,
    /// End of its life.
    pub expires_at: UnixMillis,
    /// Ended by hand.
    pub revoked_at: Option<UnixMillis>,
    /// From where; empty: from anywhere.
    pub allowed: Vec<IpNet>,
    /// A person says yes to each host.
    pub require_approval: bool,
    /// Which labels its hosts may ask for.
    pub requestable: Requestable,
}

/// Whether a host may enroll with a token now. To be asked only of one who has
/// shown the right secret: the answer tells about the token.
///
/// # Errors
/// The reason against it.
pub fn judge(token: &JoinToken, now: UnixMillis, remote: IpAddr) -> Result<(), Reason> {
    judge_approved(token, now, remote)?;
    if token.uses >= token.max_uses { Err(Reason::TokenUsedUp) } else { Ok(()) }
}

/// The same for a host for which a use was counted before, when a person said yes.
///
/// # Errors
/// The reason against it.
pub fn judge_approved(token: &JoinToken, now: UnixMillis, remote: IpAddr) -> Result<(), Reason> {
    // An IPv4 peer of an IPv6 socket is still an IPv4 peer.
    let remote = remote.to_canonical();
    if token.revoked_at.is_some() {
        Err(Reason::TokenRevoked)
    } else if now >= token.expires_at {
        Err(Reason::TokenExpired)
    } else if !token.allowed.is_empty() && !token.allowed.iter().any(|network| network.contains(&remote)) {
        Err(Reason::TokenWrongNetwork)
    } else {
        Ok(())
    }
}

/// What someone who makes a token asks for, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// How many nodes may enroll.
    pub max_uses: u32,
    /// End of its life.
    pub expires_at: UnixMillis,
    /// From where; empty: from anywhere.
    pub allowed: Vec<IpNet>,
}

impl Terms {
    /// Fills in what the caller left out and checks the whole.
    ///
    /// # Errors
    /// The first field that cannot be so.
    pub fn check(
        now: UnixMillis,
        max_uses: i32,
        ttl: Option<Duration>,
        allowed: &[String],
    ) -> Result<Self, Violation> {
        let max_uses = match u32::try_from(max_uses) {
            Ok(0) => 1,
            Ok(uses) if uses <= MAX_USES => uses,
            _ => return Err(Violation::invalid("max_uses", format!("it must be from 1 to {MAX_USES}"))),
        };
        let ttl = ttl.unwrap_or(TTL);
        if !(Duration::from_secs(1)..=MAX_TTL).contains(&ttl) {
            return Err(Violation::invalid("ttl", "it must be from 1 second to 90 days"));
        }
        if allowed.len() > MAX_NETWORKS {
            return Err(Violation::too_large("allowed_cidrs", format!("at most {MAX_NETWORKS} networks")));
        }
        let network = |(n, text): (usize, &String)| {
            parse_network(text).ok_or_else(|| {
                let what = "not a network such as 192.0.2.0/24 or 2001:db8::/32, nor an address";
                Violation::invalid(format!("allowed_cidrs[{n}]"), what)
            })
        };
        let allowed = allowed.iter().enumerate().map(network).collect::<Result<_, _>>()?;
        Ok(Self { max_uses, expires_at: now + ttl, allowed })
    }
}

/// Whether a description can be taken.
///
/// # Errors
/// When it is too long or has control characters.
pub fn check_description(text: &str) -> Result<(), Violation> {
    if text.chars().count() > MAX_DESCRIPTION {
        Err(Violation::too_large("description", format!("at most {MAX_DESCRIPTION} characters")))
    } else if text.chars().any(char::is_control) {
        Err(Violation::invalid("description", "no control characters"))
    } else {
        Ok(())
    }
}

fn parse_network(text: &str) -> Option<IpNet> {
    text.parse::<IpNet>()
        .ok()
        .map(|network| network.trunc())
        .or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMillis = UnixMillis(1_700_000_000_000);

    fn token() -> JoinToken {
        JoinToken {
            id: JoinTokenId::from_u128(1),
            description: String::new(),
            secret_sha256: vec![0; 32],
            labels: Labels::new(),
            max_uses: 2,
            uses: 1,
            created_at: NOW,
            expires_at: NOW + TTL,
            revoked_at: None,
            allowed: vec!["192.0.2.0/24".parse().unwrap(), "2001:db8::/32".parse().unwrap()],
            require_approval: false,
            requestable: Requestable::default(),
        }
    }

    fn judged(token: &JoinToken, remote: &str) -> Result<(), Reason> {
        judge(token, NOW, remote.parse().unwrap())
    }

    #[test]
    fn a_good_token_opens_from_its_networks() {
        for remote in ["192.0.2.7", "2001:db8::1", "::ffff:192.0.2.7"] {
            assert_eq!(judged(&token(), remote), Ok(()), "{remote}");
        }
        for remote in ["192.0.3.7", "2001:db9::1", "::ffff:192.0.3.7"] {
            assert_eq!(judged(&token(), remote), Err(Reason::TokenWrongNetwork), "{remote}");
        }
        assert_eq!(judged(&JoinToken { allowed: vec![], ..token() }, "203.0.113.1"), Ok(()));
    }

    #[test]
    fn a_token_ends_by_hand_by_time_and_by_use() {
        let revoked = JoinToken { revoked_at: Some(NOW), ..token() };
        assert_eq!(judged(&revoked, "192.0.2.7"), Err(Reason::TokenRevoked));
        let expired = JoinToken { expires_at: NOW, ..token() };
        assert_eq!(judged(&expired, "192.0.2.7"), Err(Reason::TokenExpired));
        let used_up = JoinToken { uses: 2, ..token() };
        assert_eq!(judged(&used_up, "192.0.2.7"), Err(Reason::TokenUsedUp));
        let approved = judge_approved(&used_up, NOW, "192.0.2.7".parse().unwrap());
        assert_eq!(approved, Ok(()), "the use was counted when it was approved");
    }

    #[test]
    fn terms_have_defaults_and_limits() {
        let check = |uses, ttl, cidrs: &[&str]| {
            let cidrs: Vec<_> = cidrs.iter().map(|c| (*c).to_owned()).collect();
            Terms::check(NOW, uses, ttl, &cidrs)
        };
        let terms = check(0, None, &["192.0.2.9/24", "2001:db8::1"]).unwrap();
        assert_eq!((terms.max_uses, terms.expires_at), (1, NOW + TTL));
        assert_eq!(
            terms.allowed.iter().map(ToString::to_string).collect::<Vec<_>>(),
            ["192.0.2.0/24", "2001:db8::1/128"]
        );
        let field = |result: Result<Terms, Violation>| result.unwrap_err().field;
        assert_eq!(field(check(-1, None, &[])), "max_uses");
        assert_eq!(field(check(1_000_001, None, &[])), "max_uses");
        assert_eq!(field(check(1, Some(Duration::ZERO), &[])), "ttl");
        assert_eq!(field(check(1, Some(MAX_TTL + TTL), &[])), "ttl");
        assert_eq!(field(check(1, None, &["10.0.0.0/8", "10.0.0.0/33"])), "allowed_cidrs[1]");
        assert_eq!(field(check(1, None, &["10.0.0.1"; 65])), "allowed_cidrs");
    }

    #[test]
    fn a_description_is_one_line() {
        assert_eq!(check_description("rack 7, for the new web hosts"), Ok(()));
        assert!(check_description("two\nlines").is_err());
        assert!(check_description(&"x".repeat(257)).is_err());
    }
}
