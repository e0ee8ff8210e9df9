//! `SpiffeWorkloadAPI`: what programs of the host call.

mod refusal;
mod stream;
mod wire;

use std::sync::Arc;

use muster_common::{clock::UnixMillis, reason::Reason};
use muster_proto::spiffe::{
    self as pb, JwtBundlesRequest, JwtBundlesResponse, JwtsvidRequest, JwtsvidResponse,
    ValidateJwtsvidRequest, ValidateJwtsvidResponse, X509BundlesRequest, X509BundlesResponse,
    X509svidRequest, X509svidResponse,
    spiffe_workload_api_server::{SpiffeWorkloadApi, SpiffeWorkloadApiServer},
};
use tonic::{Request, Response, Status};

use super::{Bundles, Caller, PATIENCE, Remote, Shared, Trouble, View, Want, Workloads, tokens::Key};
use refusal::status;
use stream::Changes;

/// Largest message of a program: a token to be checked.
const MESSAGE: usize = 32 * 1024;
/// Without this no call is answered: a browser or a server that is tricked into a request
/// cannot set it.
const HEADER: &str = "workload.spiffe.io";
/// Audiences of one token, and the longest of them in bytes.
const MAX_AUDIENCES: usize = 8;
const MAX_AUDIENCE: usize = 256;

/// Who calls, as the door that took the connection knows it.
pub type WhoCalls = fn(&http::Extensions) -> Option<Caller>;

/// Answers programs.
struct Handler {
    shared: Arc<Shared>,
    who: WhoCalls,
}

/// The service, for a door that says who calls.
#[must_use]
pub fn service(workloads: &Workloads, who: WhoCalls) -> SpiffeWorkloadApiServer<impl SpiffeWorkloadApi> {
    let handler = Handler { shared: Arc::clone(&workloads.0), who };
    SpiffeWorkloadApiServer::new(handler).max_decoding_message_size(MESSAGE)
}

impl Handler {
    fn caller<T>(&self, request: &Request<T>) -> Result<Caller, Status> {
        let header = request.metadata().get(HEADER).and_then(|value| value.to_str().ok());
        if header != Some("true") {
            let message = "the metadata workload.spiffe.io must be true";
            return Err(status(Reason::InvalidArgument, message));
        }
        (self.who)(request.extensions()).ok_or_else(|| status(Reason::Internal, "nobody knows who calls"))
    }

    /// The caller's names; one at least.
    async fn names(&self, caller: &Caller) -> Result<Vec<String>, Status> {
        names(&self.shared, caller).await
    }

    /// The bundles, fetched if they are not here.
    async fn bundles(&self) -> Result<Arc<Bundles>, Status> {
        let _listening = self.shared.listen(vec![Want::Bundles]);
        wait(&self.shared, |view| view.bundles.clone()).await
    }

    /// What holds is given at once, and replaced beside that when it is old. Only where there is
    /// nothing that holds does the caller wait for the control plane.
    async fn tokens(
        &self,
        uid: u32,
        names: &[String],
        audiences: &[String],
    ) -> Result<Vec<pb::Jwtsvid>, Status> {
        let shared = &self.shared;
        let key = |name: &String| (name.clone(), audiences.to_vec());
        let remote = shared.remote.lock().clone();
        let remote = remote.ok_or_else(|| refusal::of_trouble(&Trouble::no_fleet()))?;
        let now = shared.clock.now();
        let holds = |name: &&String| shared.tokens.lock().valid(&key(name), now).is_some();
        let (held, missing): (Vec<_>, Vec<_>) = names.iter().partition(holds);
        for name in held {
            self.replace_if_old(key(name), now);
        }
        let mut refused = None;
        if !missing.is_empty() {
            let missing: Vec<String> = missing.into_iter().cloned().collect();
            refused = self.issue(uid, &remote, &missing, audiences).await.err();
        }
        let kept = shared.tokens.lock();
        let held = names.iter().filter_map(|name| Some((name, kept.valid(&key(name), now)?)));
        let given: Vec<_> = held.map(|(name, token)| wire::token(&remote.id(name), token.token)).collect();
        if given.is_empty() {
            let lost = || refusal::of_trouble(&Trouble::no_fleet());
            return Err(refused.unwrap_or_else(lost));
        }
        Ok(given)
    }

    fn replace_if_old(&self, key: Key, now: UnixMillis) {
        if self.shared.tokens.lock().fresh(&key, now).is_none() {
            self.shared.old.lock().insert(key);
            self.shared.wake.notify_one();
        }
    }

    async fn issue(
        &self,
        uid: u32,
        remote: &Remote,
        names: &[String],
        audiences: &[String],
    ) -> Result<(), Status> {
        let (shared, now) = (&self.shared, self.shared.clock.now());
        if !shared.rate.lock().take(uid, shared.clock.monotonic()) {
            let message = "this user has too many tokens made; use those that it has, or try again later";
            return Err(status(Reason::RateLimited, message));
        }
        match remote.issue_jwt(names, audiences, now).await {
            Ok(tokens) => {
                let keys = names.iter().map(|name| (name.clone(), audiences.to_vec()));
                shared.keep(remote, keys.zip(tokens), now);
                shared.wake.notify_one();
                Ok(())
            }
            Err(trouble) => {
                let refused = refusal::of_trouble(&trouble);
                if trouble.is_refusal {
                    shared.take_trouble(trouble);
                }
                Err(refused)
            }
        }
    }
}

#[tonic::async_trait]
impl SpiffeWorkloadApi for Handler {
    type FetchX509SVIDStream = Changes<X509svidResponse>;
    type FetchX509BundlesStream = Changes<X509BundlesResponse>;
    type FetchJWTBundlesStream = Changes<JwtBundlesResponse>;

    async fn fetch_x509svid(
        &self,
        request: Request<X509svidRequest>,
    ) -> Result<Response<Self::FetchX509SVIDStream>, Status> {
        let caller = self.caller(&request)?;
        self.names(&caller).await?;
        Ok(Response::new(stream::x509(&self.shared, caller)))
    }

    async fn fetch_x509_bundles(
        &self,
        request: Request<X509BundlesRequest>,
    ) -> Result<Response<Self::FetchX509BundlesStream>, Status> {
        self.caller(&request)?;
        Ok(Response::new(stream::bundles(&self.shared, wire::x509_bundles)))
    }

    async fn fetch_jwtsvid(
        &self,
        request: Request<JwtsvidRequest>,
    ) -> Result<Response<JwtsvidResponse>, Status> {
        let caller = self.caller(&request)?;
        let mut names = self.names(&caller).await?;
        let request = request.into_inner();
        let mut audiences = request.audience;
        let fits = |audience: &String| (1..=MAX_AUDIENCE).contains(&audience.len());
        if !(1..=MAX_AUDIENCES).contains(&audiences.len()) || !audiences.iter().all(fits) {
            let message = format!(
                "audience: there must be 1 to {MAX_AUDIENCES} of them, each of 1 to {MAX_AUDIENCE} bytes"
            );
            return Err(status(Reason::InvalidArgument, message));
        }
        audiences.sort_unstable();
        audiences.dedup();
        if !request.spiffe_id.is_empty() {
            let remote = self.shared.remote.lock().clone();
            let is_it = |name: &String| {
                remote.as_ref().is_some_and(|remote| remote.id(name).to_string() == request.spiffe_id)
            };
            names.retain(is_it);
            if names.is_empty() {
                let shown: String = request.spiffe_id.chars().take(256).collect();
                let message = format!("spiffe_id: {shown:?} is none of the caller's identities");
                return Err(status(Reason::WorkloadDenied, message));
            }
        }
        Ok(Response::new(JwtsvidResponse { svids: self.tokens(caller.uid, &names, &audiences).await? }))
    }

    async fn fetch_jwt_bundles(
        &self,
        request: Request<JwtBundlesRequest>,
    ) -> Result<Response<Self::FetchJWTBundlesStream>, Status> {
        self.caller(&request)?;
        Ok(Response::new(stream::bundles(&self.shared, wire::jwt_bundles)))
    }

    async fn validate_jwtsvid(
        &self,
        request: Request<ValidateJwtsvidRequest>,
    ) -> Result<Response<ValidateJwtsvidResponse>, Status> {
        self.caller(&request)?;
        let request = request.into_inner();
        if request.audience.is_empty() || request.svid.is_empty() {
            return Err(status(Reason::InvalidArgument, "audience and svid must both be given"));
        }
        let bundles = self.bundles().await?;
        let now = self.shared.clock.now();
        let checked = bundles.keys.check(&request.svid, &request.audience, &bundles.trust_domain, now);
        let valid = checked.map_err(|error| status(Reason::WorkloadTokenInvalid, error.to_string()))?;
        Ok(Response::new(wire::valid(valid)))
    }
}

async fn names(shared: &Shared, caller: &Caller) -> Result<Vec<String>, Status> {
    let names = shared.names(caller).await;
    if names.is_empty() { Err(refusal::denied(caller, shared.locks.error().is_some())) } else { Ok(names) }
}

/// What is found in the view, once it is there: the control plane is asked once at most.
async fn wait<T>(shared: &Shared, find: impl Fn(&View) -> Option<T>) -> Result<T, Status> {
    let mut views = shared.view.subscribe();
    let begun = views.borrow().turns;
    let is_known = |view: &Arc<View>| find(view).is_some() || over(view, begun).is_some();
    let waited = tokio::time::timeout(PATIENCE, views.wait_for(is_known)).await;
    let view = match waited {
        Ok(Ok(view)) => Arc::clone(&view),
        _ => return Err(status(Reason::WorkloadUnavailable, "the control plane has not answered yet")),
    };
    let trouble = || over(&view, begun).map(refusal::of_trouble);
    find(&view).ok_or_else(|| trouble().unwrap_or_else(|| status(Reason::WorkloadUnavailable, "it was lost")))
}

/// Why it is of no use to wait any longer.
fn over(view: &View, begun: u64) -> Option<&Trouble> {
    let no_fleet = Trouble::no_fleet();
    view.trouble.as_ref().filter(|trouble| view.turns > begun || **trouble == no_fleet)
}

#[cfg(test)]
mod tests;
