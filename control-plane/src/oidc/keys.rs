//! The keys of one issuer: fetched when they are needed, kept for a while, fetched
//! again for a key that nobody knows, and not more often than that is worth.

use std::{sync::Arc, time::Duration};

use jsonwebtoken::jwk::Jwk;
use muster_common::{
    clock::{Clock, Instant},
    error_chain::Chain,
    tasks::{Kind, Tasks},
    tls::pem,
};
use parking_lot::Mutex;
use tokio::sync::{Semaphore, oneshot};

use super::fetch::Place;
use crate::config;

/// Most keys of an issuer that are looked at.
const MAX_KEYS: usize = 64;

/// How long keys are good.
#[derive(Debug, Clone, Copy)]
struct Rhythm {
    /// After this they are fetched again, so that a key that was taken away is gone.
    fresh: Duration,
    /// So long they serve if that fails.
    stale: Duration,
    /// Between two fetches, whatever tokens name.
    pause: Duration,
    /// The same while there are none.
    first: Duration,
}

const REMOTE: Rhythm = Rhythm {
    fresh: Duration::from_secs(300),
    stale: Duration::from_secs(3600),
    pause: Duration::from_secs(60),
    first: Duration::from_secs(5),
};
/// A file costs nothing, and whoever changes it expects it to count.
const FILE: Rhythm = Rhythm {
    fresh: Duration::from_secs(1),
    stale: Duration::from_secs(1),
    pause: Duration::from_secs(1),
    first: Duration::from_secs(1),
};

pub(super) type Set = Arc<Vec<Jwk>>;

/// The keys of one issuer. Cheap to clone.
#[derive(Clone)]
pub(super) struct Keys(Arc<Issuer>);

struct Issuer {
    name: String,
    place: Place,
    rhythm: Rhythm,
    /// One fetch at a time; whoever waits looks at what it brought.
    turn: Arc<Semaphore>,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    set: Option<(Set, Instant)>,
    tried: Option<Instant>,
}

/// What is to be done for a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// It is there, and fresh.
    Use,
    /// Ask the issuer.
    Fetch,
    /// The issuer was asked a moment ago, or is being asked: what that brings is all.
    Wait,
}

impl Held {
    fn step(&self, key_id: &str, rhythm: Rhythm, now: Instant) -> Step {
        let is_there = |(set, since): &(Set, Instant)| {
            let known = set.iter().any(|key| key.common.key_id.as_deref() == Some(key_id));
            known && now - *since < rhythm.fresh
        };
        let pause = if self.set.is_some() { rhythm.pause } else { rhythm.first };
        match self.tried {
            _ if self.set.as_ref().is_some_and(is_there) => Step::Use,
            Some(tried) if now - tried < pause => Step::Wait,
            Some(_) | None => Step::Fetch,
        }
    }

    /// The keys, as long as they are good.
    fn good(&self, rhythm: Rhythm, now: Instant) -> Option<Set> {
        let (set, since) = self.set.as_ref()?;
        (now - *since <= rhythm.stale).then(|| Arc::clone(set))
    }
}

impl Keys {
    pub(super) fn new(oidc: &config::Oidc) -> Result<Self, pem::Error> {
        let place = Place::new(&oidc.jwks, oidc.ca_file.as_deref())?;
        let rhythm = if matches!(place, Place::File(_)) { FILE } else { REMOTE };
        let (turn, held) = (Arc::new(Semaphore::new(1)), Mutex::default());
        Ok(Self(Arc::new(Issuer { name: oidc.name.clone(), place, rhythm, turn, held })))
    }

    /// The keys to look for this one in. `None`: there are none to be had.
    pub(super) async fn with(&self, key_id: &str, clock: &Clock, tasks: &Tasks) -> Option<Set> {
        let issuer = &self.0;
        if issuer.step(key_id, clock) != Step::Use {
            let turn = Arc::clone(&issuer.turn).acquire_owned().await.ok()?;
            if issuer.step(key_id, clock) == Step::Fetch {
                issuer.held.lock().tried = Some(clock.monotonic());
                // In a task of its own, with the turn: who hangs up meanwhile takes nothing from others.
                let (done, fetched) = oneshot::channel();
                let (issuer, clock) = (Arc::clone(issuer), clock.clone());
                tasks.spawn("issuer-keys", Kind::BestEffort, async move {
                    issuer.fetch(&clock).await;
                    drop(turn);
                    let _ = done.send(());
                });
                let _ = fetched.await;
            }
        }
        issuer.held.lock().good(issuer.rhythm, clock.monotonic())
    }
}

impl Issuer {
    fn step(&self, key_id: &str, clock: &Clock) -> Step {
        self.held.lock().step(key_id, self.rhythm, clock.monotonic())
    }

    async fn fetch(&self, clock: &Clock) {
        match self.place.fetch().await.and_then(|bytes| parse(&bytes)) {
            Ok(set) => self.held.lock().set = Some((Arc::new(set), clock.monotonic())),
            Err(error) => {
                let issuer = &self.name;
                tracing::warn!(%issuer, error = %Chain(&error), "the keys of issuer {issuer} cannot be had");
            }
        }
    }
}

/// A key that cannot be read is passed over: issuers have some that are not for us.
fn parse(bytes: &[u8]) -> Result<Vec<Jwk>, super::fetch::Error> {
    #[derive(serde::Deserialize)]
    struct Set {
        keys: Vec<serde_json::Value>,
    }
    let set: Set = serde_json::from_slice(bytes)?;
    let keys = set.keys.into_iter().take(MAX_KEYS);
    Ok(keys.filter_map(|key| serde_json::from_value(key).ok()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(age: Duration, now: Instant) -> Held {
        let key = r#"{"keys":[{"kid":"a","kty":"OKP","crv":"Ed25519","x":"AAAA"},{"kid":"b","kty":"?"},7]}"#;
        let set = Arc::new(parse(key.as_bytes()).unwrap());
        Held { set: Some((set, now - age)), tried: Some(now - age) }
    }

    #[test]
    fn keys_are_fetched_for_an_unknown_one_once_a_minute_and_again_when_they_are_old() {
        let now = Clock::System.monotonic() + Duration::from_secs(7200);
        let step = |age: u64, key| held(Duration::from_secs(age), now).step(key, REMOTE, now);
        assert_eq!(step(10, "a"), Step::Use);
        assert_eq!(step(10, "c"), Step::Wait, "it is not there, and was looked for a moment ago");
        assert_eq!(step(60, "c"), Step::Fetch);
        assert_eq!(step(299, "a"), Step::Use);
        assert_eq!(step(300, "a"), Step::Fetch, "it may have been taken away");
        assert_eq!(Held::default().step("a", REMOTE, now), Step::Fetch);
        let failed = |ago: u64| Held { set: None, tried: Some(now - Duration::from_secs(ago)) };
        assert_eq!(failed(4).step("a", REMOTE, now), Step::Wait);
        assert_eq!(failed(5).step("a", REMOTE, now), Step::Fetch);
        let good = |age: u64| held(Duration::from_secs(age), now).good(REMOTE, now).is_some();
        assert!(good(3600), "the issuer is away");
        assert!(!good(3601), "and was for too long");
    }
}
