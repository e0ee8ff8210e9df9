//! The control plane's side of it: `WorkloadIdentityService`.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use muster_common::{
    clock::UnixMillis, error_chain::Chain, ids::InstanceId, reason::Reason, settings::Service,
    tls::workload::WorkloadId,
};
use muster_proto::agent::v1::{
    self as pb, workload_identity_service_client::WorkloadIdentityServiceClient as Client,
};
use rcgen::{CertificateParams, DistinguishedName, KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData as _};
use tokio::{
    sync::{Semaphore, watch},
    time::timeout,
};
use tonic::{Response, Status, transport::Channel};
use zeroize::Zeroizing;

use super::{
    Trouble,
    jwt::{self, Keys},
    svid::{Bundles, Svid},
    tokens::Token,
};
use crate::{
    dial::{self, Dialer},
    identity::{self, Identity},
};

/// For one call, with the wait for its turn.
const WITHIN: Duration = Duration::from_secs(15);
/// Names in one call.
pub(super) const AT_ONCE: usize = 64;
/// If the control plane does not say how often to ask.
const REFRESH: Duration = Duration::from_secs(300);

/// Asks with the identity of now.
#[derive(Debug, Clone)]
pub struct Remote {
    identity: watch::Receiver<Identity>,
    instance: InstanceId,
    dialer: Dialer,
    /// One call at a time: the control plane cuts the oldest connection of a node that has too
    /// many, and that would be the session.
    turn: Arc<Semaphore>,
}

impl Remote {
    /// For a node, by a process of its agent and a way out.
    #[must_use]
    pub fn new(identity: watch::Receiver<Identity>, instance: InstanceId, dialer: Dialer) -> Self {
        Self { identity, instance, dialer, turn: Arc::new(Semaphore::new(1)) }
    }

    /// Certificates for these names, at most [`AT_ONCE`], with keys made here.
    pub(super) async fn issue_x509(
        &self,
        names: &[String],
        now: UnixMillis,
    ) -> Result<(Vec<Svid>, Bundles), Trouble> {
        let identity = self.identity.borrow().clone();
        let (mut keys, mut orders) = (Vec::new(), Vec::new());
        for name in names {
            let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(|error| broken(&error))?;
            let mut params = CertificateParams::default();
            params.distinguished_name = DistinguishedName::new();
            let request = params.serialize_request(&key).map_err(|error| broken(&error))?;
            orders.push(pb::X509SvidOrder {
                name: name.clone(),
                csr_der: Bytes::copy_from_slice(request.der()),
            });
            keys.push(key);
        }
        let request = pb::IssueX509SvidsRequest { orders, instance_id: self.instance.to_string() };
        let answer = self.call(&identity, async |mut client| client.issue_x509_svids(request).await).await?;
        let bundles = bundles(&identity, answer.bundles)?;
        if answer.svids.len() != names.len() {
            return Err(Trouble::answer("it gave another number of certificates"));
        }
        let given = names.iter().zip(keys).zip(answer.svids).map(|((name, key), svid)| {
            let id = id(&identity, name);
            let chain = svid.certificate_chain_der.iter().map(|der| der.to_vec()).collect();
            let secret = Zeroizing::new(key.serialize_der());
            Svid::take(id, chain, secret, &key.subject_public_key_info(), now)
                .filter(|svid| svid.is_trusted_by(&bundles))
                .ok_or_else(|| Trouble::answer("it gave a certificate for something else"))
                .and_then(|svid| if svid.is_valid(now) { Ok(svid) } else { Err(run_out("certificate")) })
        });
        Ok((given.collect::<Result<_, _>>()?, bundles))
    }

    /// Tokens for these names and audiences.
    pub(super) async fn issue_jwt(
        &self,
        names: &[String],
        audiences: &[String],
        now: UnixMillis,
    ) -> Result<Vec<Token>, Trouble> {
        let identity = self.identity.borrow().clone();
        let order = |name: &String| pb::JwtSvidOrder { name: name.clone(), audiences: audiences.to_vec() };
        let orders = names.iter().map(order).collect();
        let request = pb::IssueJwtSvidsRequest { orders, instance_id: self.instance.to_string() };
        let answer = self.call(&identity, async |mut client| client.issue_jwt_svids(request).await).await?;
        if answer.svids.len() != names.len() {
            return Err(Trouble::answer("it gave another number of tokens"));
        }
        // By its length, not by its end: clocks differ.
        let token = |svid: pb::JwtSvid| {
            let life = UnixMillis(svid.expires_at_ms).since(UnixMillis(svid.issued_at_ms));
            if life.is_zero() {
                return Err(run_out("token"));
            }
            let key = jwt::key_of(&svid.token).ok_or_else(|| Trouble::answer("a token of no key"))?;
            Ok(Token { token: svid.token, key, expires_at: now + life, fresh_until: now + life / 2 })
        };
        answer.svids.into_iter().map(token).collect()
    }

    /// Whom programs trust.
    pub(super) async fn bundles(&self) -> Result<Bundles, Trouble> {
        let identity = self.identity.borrow().clone();
        let request = pb::GetWorkloadBundlesRequest { instance_id: self.instance.to_string() };
        let answer =
            self.call(&identity, async |mut client| client.get_workload_bundles(request).await).await?;
        bundles(&identity, answer.bundles)
    }

    /// Whether it asks as the same node.
    pub(super) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.turn, &other.turn)
    }

    /// The name of a program of this node.
    pub(super) fn id(&self, name: &str) -> WorkloadId {
        id(&self.identity.borrow(), name)
    }

    async fn call<T>(
        &self,
        identity: &Identity,
        call: impl AsyncFnOnce(Client<Channel>) -> Result<Response<T>, Status>,
    ) -> Result<T, Trouble> {
        let asked = async {
            let _turn = self.turn.acquire().await;
            let channel = identity::connect(identity, Service::Session, &self.dialer).await?;
            let answer = call(Client::new(channel)).await;
            answer.map(Response::into_inner).map_err(|status| dial::Refusal::from(&status).into())
        };
        let error: identity::Error = match timeout(WITHIN, asked).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) => error,
            Err(_) => return Err(Trouble::away(format!("no answer within {} s", WITHIN.as_secs()))),
        };
        // A certificate that was replaced while it was shown says nothing of this node.
        let is_old = self.identity.borrow().certificate_generation != identity.certificate_generation;
        if !is_old && is_refusal(&error) {
            let reason = error.reason().unwrap_or(Reason::PermissionDenied);
            return Err(Trouble { is_refusal: true, reason, message: Chain(&error).to_string() });
        }
        Err(Trouble::away(Chain(&error).to_string()))
    }
}

/// Whether the control plane does not want this node to have anything. Only itself can say
/// so: not who stands on the way and shows another certificate, or breaks the handshake off.
fn is_refusal(error: &identity::Error) -> bool {
    use Reason::{NodeRemoved, PermissionDenied, Quarantined, WorkloadDisabled};
    use dial::Error::{Handshake, Untrusted};
    match error {
        identity::Error::Dial(Untrusted { .. } | Handshake { .. }) => false,
        _ => {
            error.is_about_identity()
                || matches!(
                    error.reason(),
                    Some(NodeRemoved | PermissionDenied | Quarantined | WorkloadDisabled)
                )
        }
    }
}

fn run_out(what: &str) -> Trouble {
    Trouble::answer(&format!("it gave a {what} that has run out by the clock of this host"))
}

impl Trouble {
    fn away(message: String) -> Self {
        Self { is_refusal: false, reason: Reason::WorkloadUnavailable, message }
    }

    fn answer(what: &str) -> Self {
        Self::away(format!("the control plane's answer cannot be used: {what}"))
    }
}

fn broken(error: &rcgen::Error) -> Trouble {
    Trouble::away(format!("no key can be made: {error}"))
}

fn id(identity: &Identity, name: &str) -> WorkloadId {
    WorkloadId { trust_domain: identity.trust_domain.clone(), node: identity.node, name: name.to_owned() }
}

fn bundles(identity: &Identity, told: Option<pb::WorkloadBundles>) -> Result<Bundles, Trouble> {
    let told = told.ok_or_else(|| Trouble::answer("no bundles"))?;
    let keys = Keys::read(&told.jwks_json).ok_or_else(|| Trouble::answer("keys that are no JWK set"))?;
    if told.x509_authorities_der.is_empty() || keys.is_empty() {
        return Err(Trouble::answer("empty bundles"));
    }
    let refresh_after = told.refresh_after.and_then(|told| Duration::try_from(told).ok()).unwrap_or(REFRESH);
    Ok(Bundles {
        trust_domain: identity.trust_domain.clone(),
        x509_der: told.x509_authorities_der.iter().map(|der| der.to_vec()).collect(),
        jwks: told.jwks_json,
        keys,
        refresh_after: refresh_after.max(Duration::from_secs(1)),
    })
}

#[cfg(test)]
pub(super) mod tests;
