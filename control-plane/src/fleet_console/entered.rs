//! Who was let in by a link: known to this process alone, by the digest of what the
//! browser keeps, and not for long.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use http::{HeaderMap, header};
use muster_common::{clock::Instant, digest::Sha256};
use parking_lot::Mutex;

use super::links::Spent;

/// `__Host-`: browsers take it over TLS only, and send it to this host and no other.
const COOKIE: &str = "__Host-muster-console";
/// Known at once; beyond, the one that ends first makes room.
const MOST: usize = 256;

/// All of them.
#[derive(Debug)]
pub(super) struct Entered {
    known: Mutex<HashMap<Sha256, Guest>>,
    ttl: Duration,
}

/// One of them.
#[derive(Debug, Clone)]
pub(super) struct Guest {
    pub(super) link: Spent,
    pub(super) key: Sha256,
    until: Instant,
}

impl Entered {
    pub(super) fn new(ttl: Duration) -> Self {
        Self { known: Mutex::default(), ttl }
    }

    /// How long one may stay.
    pub(super) fn ttl(&self) -> Duration {
        self.ttl
    }

    /// Lets one in. Answers the header that the browser is to keep.
    pub(super) fn enter(&self, link: Spent, now: Instant) -> String {
        let secret = BASE64_URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>());
        let key = Sha256::of(secret.as_bytes());
        let mut known = self.known.lock();
        known.retain(|_, guest| guest.until > now);
        if known.len() >= MOST {
            let first = known.values().min_by_key(|guest| guest.until).map(|guest| guest.key);
            first.map(|key| known.remove(&key));
        }
        known.insert(key, Guest { link, key, until: now + self.ttl });
        let seconds = self.ttl.as_secs();
        format!("{COOKIE}={secret}; Max-Age={seconds}; Path=/; Secure; HttpOnly; SameSite=Strict")
    }

    /// Who sends these headers. `None`: nobody who was let in, or not any more.
    pub(super) fn of(&self, headers: &HeaderMap, now: Instant) -> Option<Guest> {
        self.get(Sha256::of(cookie(headers)?.as_bytes()), now)
    }

    /// The names of the links by which they came.
    pub(super) fn links(&self) -> HashSet<String> {
        self.known.lock().values().map(|guest| guest.link.name.clone()).collect()
    }

    /// Ends those who came by one of these.
    pub(super) fn end(&self, links: &HashSet<String>) {
        self.known.lock().retain(|_, guest| !links.contains(&guest.link.name));
    }

    /// One who was there before, if they still are.
    pub(super) fn get(&self, key: Sha256, now: Instant) -> Option<Guest> {
        self.known.lock().get(&key).filter(|guest| guest.until > now).cloned()
    }
}

fn cookie(headers: &HeaderMap) -> Option<&str> {
    let all = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    all.flat_map(|value| value.split(';'))
        .find_map(|pair| pair.trim().strip_prefix(COOKIE)?.strip_prefix('='))
}

#[cfg(test)]
mod tests {
    use muster_common::clock::Clock;
    use muster_domain::access::Role;

    use super::*;

    fn sent(kept: &str) -> HeaderMap {
        let pair = kept.split(';').next().unwrap();
        HeaderMap::from_iter([(header::COOKIE, format!("other=1; {pair}").parse().unwrap())])
    }

    fn link(name: &str) -> Spent {
        Spent { name: name.to_owned(), role: Role::Viewer }
    }

    #[test]
    fn a_guest_is_known_by_the_cookie_for_a_while() {
        let (entered, now) = (Entered::new(Duration::from_secs(60)), Clock::System.monotonic());
        let kept = entered.enter(link("a"), now);
        for part in ["; Secure", "; HttpOnly", "; SameSite=Strict", "; Path=/", "; Max-Age=60", "__Host-"] {
            assert!(kept.contains(part), "{kept} lacks {part}");
        }
        let guest = entered.of(&sent(&kept), now).unwrap();
        assert_eq!(guest.link, link("a"));
        assert!(entered.get(guest.key, now).is_some());
        let after = now + Duration::from_secs(60);
        assert!(entered.of(&sent(&kept), after).is_none() && entered.get(guest.key, after).is_none());
        assert!(entered.of(&sent("__Host-muster-console=x"), now).is_none());
        assert!(entered.of(&HeaderMap::new(), now).is_none());
        entered.end(&HashSet::from(["b".to_owned()]));
        assert_eq!(entered.links(), HashSet::from(["a".to_owned()]));
        entered.end(&entered.links());
        assert!(entered.links().is_empty() && entered.of(&sent(&kept), now).is_none(), "its link was ended");
        assert!(
            !format!("{entered:?}").contains(kept.split(['=', ';']).nth(1).unwrap()),
            "only its digest is kept"
        );
    }

    #[test]
    fn there_are_never_too_many_guests() {
        let (entered, now) = (Entered::new(Duration::from_secs(60)), Clock::System.monotonic());
        let first = entered.enter(link("first"), now);
        for number in 0..MOST as u64 {
            entered.enter(link("more"), now + Duration::from_millis(number + 1));
        }
        assert!(entered.of(&sent(&first), now).is_none(), "it made room");
        assert_eq!(entered.known.lock().len(), MOST);
    }
}
