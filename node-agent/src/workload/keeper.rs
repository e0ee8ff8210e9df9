//! Fetches what callers want, and keeps it fresh while this host is in a fleet.

use std::{sync::Arc, time::Duration};

use muster_common::{
    backoff::Backoff,
    clock::{self, Instant, UnixMillis},
    drain::Drain,
};

use super::{
    Remote, Shared, Trouble, View, Want, Workloads,
    remote::AT_ONCE,
    svid::{Bundles, Svid},
    tokens::{Key, Token},
};

const RETRY_MIN: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(30);
/// Between looks at the clock.
const LOOK: Duration = Duration::from_secs(5);

/// What is to be asked for.
#[derive(Debug, PartialEq, Eq)]
enum Errand {
    X509(Vec<String>),
    Bundles,
    Nothing,
}

/// When the bundles are to be asked for again.
type BundlesDue = Option<Instant>;

impl Workloads {
    /// Works for this node until it is over; then nothing of it is left.
    pub async fn keep(self, remote: Remote, drain: Drain) {
        let shared = &self.0;
        // Also if this task is ended before its time.
        let _forget = Forget(Arc::clone(shared));
        shared.forget_what_was_given();
        *shared.remote.lock() = Some(remote.clone());
        shared.view.send_replace(Arc::default());
        let (mut backoff, mut bundles_due) = (Backoff::new(RETRY_MIN, RETRY_MAX), None);
        loop {
            let turned = tokio::select! {
                biased;
                () = drain.begun() => break,
                turned = shared.turn(&remote, &mut bundles_due) => turned,
            };
            let pause = match turned {
                Ok(true) => {
                    backoff.reset();
                    continue;
                }
                Ok(false) => None,
                Err(trouble) => {
                    shared.take_trouble(trouble);
                    // Whoever asks meanwhile hurries the next try, and not more than that.
                    tokio::select! {
                        biased;
                        () = drain.begun() => break,
                        () = tokio::time::sleep(RETRY_MIN) => {}
                    }
                    Some(backoff.next_wait())
                }
            };
            tokio::select! {
                biased;
                () = drain.begun() => break,
                () = shared.wake.notified() => {}
                () = rest(pause) => {}
            }
        }
    }
}

/// Until the next look, or, after a failure, the next try.
async fn rest(pause: Option<Duration>) {
    match pause {
        None => clock::step(LOOK).await,
        Some(pause) => tokio::time::sleep(pause).await,
    }
}

/// Nothing of a node is left when it is dropped.
struct Forget(Arc<Shared>);

impl Drop for Forget {
    fn drop(&mut self) {
        self.0.forget();
    }
}

impl Shared {
    /// Whether there was something to do.
    async fn turn(&self, remote: &Remote, bundles_due: &mut BundlesDue) -> Result<bool, Trouble> {
        let (now, instant) = (self.clock.now(), self.clock.monotonic());
        let wants = self.wants(instant);
        let is_due = bundles_due.is_none_or(|due| due <= instant);
        let errand = errand(&self.view.borrow(), &wants, is_due, now);
        let (bundles, svids) = match errand {
            Errand::Nothing => return self.renew_token(remote, now).await,
            Errand::Bundles => (remote.bundles().await?, Vec::new()),
            Errand::X509(names) => {
                let (svids, bundles) = remote.issue_x509(&names, now).await?;
                tracing::info!(
                    names = names.len(),
                    "identities of programs were renewed: {}",
                    names.join(", ")
                );
                (bundles, svids)
            }
        };
        self.tokens.lock().retain_trusted(&bundles.keys);
        *bundles_due = Some(self.clock.monotonic() + bundles.refresh_after);
        self.view.send_modify(|view| *view = Arc::new(with(view, bundles, svids, now)));
        Ok(true)
    }

    /// Replaces one token that somebody uses and that is old. Whether there was one.
    async fn renew_token(&self, remote: &Remote, now: UnixMillis) -> Result<bool, Trouble> {
        let Some(key) = self.old.lock().pop_first() else { return Ok(false) };
        if self.tokens.lock().fresh(&key, now).is_none() {
            let (name, audiences) = &key;
            let tokens = remote.issue_jwt(std::slice::from_ref(name), audiences, now).await?;
            self.keep(remote, tokens.into_iter().map(|token| (key.clone(), token)), now);
            self.view.send_if_modified(|view| {
                let was_trouble = view.trouble.is_some();
                if was_trouble {
                    *view = Arc::new(View { trouble: None, ..View::clone(view) });
                }
                was_trouble
            });
        }
        Ok(true)
    }

    /// Keeps tokens, if this host is still the node for which they were made.
    pub(super) fn keep(&self, remote: &Remote, tokens: impl Iterator<Item = (Key, Token)>, now: UnixMillis) {
        let current = self.remote.lock();
        if current.as_ref().is_some_and(|current| current.is(remote)) {
            let mut kept = self.tokens.lock();
            tokens.for_each(|(key, token)| kept.put(key, token, now));
        }
    }

    pub(super) fn take_trouble(&self, trouble: Trouble) {
        if self.view.borrow().trouble.as_ref() != Some(&trouble) {
            tracing::warn!("programs get no new identities: {}", trouble.message);
        }
        if trouble.is_refusal {
            self.forget_what_was_given();
        }
        self.view.send_modify(|view| {
            // Who is refused has lost what it was given, too.
            let kept = if trouble.is_refusal { View::default() } else { View::clone(view) };
            *view = Arc::new(View { trouble: Some(trouble), turns: view.turns + 1, ..kept });
        });
    }

    fn forget(&self) {
        *self.remote.lock() = None;
        self.forget_what_was_given();
        self.view.send_replace(Arc::new(View { trouble: Some(Trouble::no_fleet()), ..View::default() }));
    }
}

impl Shared {
    fn forget_what_was_given(&self) {
        self.tokens.lock().clear();
        self.old.lock().clear();
    }
}

fn errand(view: &View, wants: &[Want], bundles_are_due: bool, now: UnixMillis) -> Errand {
    let is_old = |name: &&String| view.svids.get(*name).is_none_or(|svid| svid.renew_at <= now);
    let names = wants.iter().filter_map(|want| match want {
        Want::X509(name) => Some(name),
        Want::Bundles => None,
    });
    let due: Vec<String> = names.filter(is_old).take(AT_ONCE).cloned().collect();
    if !due.is_empty() {
        Errand::X509(due)
    } else if !wants.is_empty() && (bundles_are_due || view.bundles.is_none()) {
        Errand::Bundles
    } else {
        Errand::Nothing
    }
}

/// What is there after an answer.
fn with(view: &View, bundles: Bundles, news: Vec<Svid>, now: UnixMillis) -> View {
    let mut svids = view.svids.clone();
    // An issuer is trusted no more: what it signed is worth nothing, and is asked for anew.
    if view.bundles.as_ref().is_some_and(|before| !before.is_within(&bundles)) {
        svids.retain(|_, svid| svid.is_trusted_by(&bundles));
    }
    svids.retain(|_, svid| svid.is_valid(now));
    svids.extend(news.into_iter().map(|svid| (svid.id.name.clone(), Arc::new(svid))));
    let bundles = match &view.bundles {
        Some(same) if **same == bundles => Arc::clone(same),
        _ => Arc::new(bundles),
    };
    View { svids, bundles: Some(bundles), trouble: None, turns: view.turns + 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_somebody_wants_is_asked_for_and_certificates_first() {
        let (view, now) = (View::default(), UnixMillis(0));
        assert_eq!(errand(&view, &[], true, now), Errand::Nothing, "nobody listens");
        assert_eq!(errand(&view, &[Want::Bundles], false, now), Errand::Bundles, "there are none yet");
        let web = Want::X509("web".to_owned());
        let both = [Want::Bundles, web];
        assert_eq!(errand(&view, &both, true, now), Errand::X509(vec!["web".to_owned()]));
        let many: Vec<Want> = (0..100).map(|n| Want::X509(n.to_string())).collect();
        let Errand::X509(names) = errand(&view, &many, true, now) else { panic!("certificates are wanted") };
        assert_eq!(names.len(), AT_ONCE, "as many as go into one call");
    }
}
