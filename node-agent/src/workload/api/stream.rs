//! Streams that stay open: a whole message at the begin, and whenever something changed.

use std::{pin::Pin, sync::Arc, time::Duration};

use futures_util::{Stream, StreamExt as _, stream};
use muster_common::reason::Reason;
use muster_proto::spiffe::X509svidResponse;
use tokio::sync::watch;
use tonic::Status;

use super::{names, over, refusal, wire};
use crate::workload::{Caller, Listening, PATIENCE, Shared, View, Want, svid::Bundles};

/// Between looks at the lock file and at the clock.
const LOOK: Duration = Duration::from_secs(2);

/// Messages of a stream.
pub(super) type Changes<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// What a caller gets at a moment. `Ok(None)`: nothing yet.
type Look<T> = Box<dyn FnMut(&View, u64, Vec<String>) -> Result<Option<T>, Status> + Send>;

/// Whose names are to be looked up for each look.
type Who = Option<(Arc<Shared>, Caller)>;

struct State<T> {
    who: Who,
    look: Look<T>,
    views: watch::Receiver<Arc<View>>,
    begun: u64,
    last: Option<T>,
    is_over: bool,
}

/// The identities of a caller.
pub(super) fn x509(shared: &Arc<Shared>, caller: Caller) -> Changes<X509svidResponse> {
    let who = Some((Arc::clone(shared), caller));
    let shared = Arc::clone(shared);
    let mut listening: Option<(Vec<String>, Listening)> = None;
    let views = shared.view.subscribe();
    let look = move |view: &View, begun: u64, names: Vec<String>| {
        if listening.as_ref().is_none_or(|(known, _)| *known != names) {
            let wants = names.iter().cloned().map(Want::X509).collect();
            listening = Some((names.clone(), shared.listen(wants)));
        }
        let now = shared.clock.now();
        let held = names.iter().filter_map(|name| view.svids.get(name)).filter(|svid| svid.is_valid(now));
        let held: Vec<_> = held.collect();
        match &view.bundles {
            // One that is missing while the control plane is away takes none of the others away.
            Some(bundles) if held.len() == names.len() || !held.is_empty() && view.trouble.is_some() => {
                Ok(Some(wire::x509(held.into_iter().map(AsRef::as_ref), bundles)))
            }
            _ => over(view, begun).map_or(Ok(None), |trouble| Err(refusal::of_trouble(trouble))),
        }
    };
    changes(who, views, Box::new(look))
}

/// Whom programs trust.
pub(super) fn bundles<T>(shared: &Arc<Shared>, message: fn(&Bundles) -> T) -> Changes<T>
where
    T: PartialEq + Clone + Send + 'static,
{
    let listening = shared.listen(vec![Want::Bundles]);
    let look = move |view: &View, begun: u64, _: Vec<String>| {
        let _kept = &listening;
        match &view.bundles {
            Some(bundles) => Ok(Some(message(bundles))),
            None => over(view, begun).map_or(Ok(None), |trouble| Err(refusal::of_trouble(trouble))),
        }
    };
    changes(None, shared.view.subscribe(), Box::new(look))
}

fn changes<T>(who: Who, views: watch::Receiver<Arc<View>>, look: Look<T>) -> Changes<T>
where
    T: PartialEq + Clone + Send + 'static,
{
    let begun = views.borrow().turns;
    stream::unfold(State { who, look, views, begun, last: None, is_over: false }, next).boxed()
}

async fn next<T: PartialEq + Clone>(mut state: State<T>) -> Option<(Result<T, Status>, State<T>)> {
    if state.is_over {
        return None;
    }
    let mut waited = Duration::ZERO;
    loop {
        let view = Arc::clone(&state.views.borrow_and_update());
        // Asked again each time: an edit of the lock file counts at once.
        let named = match &state.who {
            Some((shared, caller)) => names(shared, caller).await,
            None => Ok(Vec::new()),
        };
        match named.and_then(|names| (state.look)(&view, state.begun, names)) {
            Ok(Some(now)) if state.last.as_ref() != Some(&now) => {
                state.last = Some(now.clone());
                return Some((Ok(now), state));
            }
            Ok(None) if state.last.is_none() && waited >= PATIENCE => {
                state.is_over = true;
                let message = "the control plane has not answered yet";
                return Some((Err(refusal::status(Reason::WorkloadUnavailable, message)), state));
            }
            Ok(_) => {}
            Err(refused) => {
                state.is_over = true;
                return Some((Err(refused), state));
            }
        }
        match tokio::time::timeout(LOOK, state.views.changed()).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return None, // the agent ends
            Err(_) => waited += LOOK,
        }
    }
}
