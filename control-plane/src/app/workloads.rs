//! Identities for programs on hosts. A node vouches for its own programs: it gets any
//! name under its own id, and none under another's.

mod keys;

use std::{collections::BTreeSet, path::Path, sync::Arc};

use muster_common::{
    clock::UnixMillis,
    error_chain::Chain,
    ids::NodeId,
    reason::Reason,
    tls::{
        spiffe::TrustDomain,
        workload::{MAX_NAME, WorkloadId, is_workload_name},
    },
};
use muster_domain::{
    audit::{Note, Stamp},
    lane::Lane,
    secret::Secret,
    workload::{Issuer, Issuers as Standings, Rules},
};
use muster_store::{
    ReadNodes as _, ReadWorkloadIssuers as _, Store, WriteSecrets as _, WriteTx, WriteWorkloadIssuers as _,
};
use serde_json::{Value, json};

use super::{Actor, App, Error, speaker::By};
use crate::{
    ca::{
        self, csr,
        workload::{Alone, Bundle, Claims, forget_keys, make},
    },
    vault::Vault,
};

/// Orders in one call.
const MAX_ORDERS: usize = 64;
/// Audiences of one token, and the longest of them in bytes.
const MAX_AUDIENCES: usize = 8;
const MAX_AUDIENCE: usize = 256;

/// A certificate that is wanted.
#[derive(Debug, Clone)]
pub struct X509Order {
    /// Of the program.
    pub name: String,
    /// Carries its key.
    pub csr_der: Vec<u8>,
}

/// A token that is wanted.
#[derive(Debug, Clone)]
pub struct JwtOrder {
    /// Of the program.
    pub name: String,
    /// For whom.
    pub audiences: Vec<String>,
}

/// A token.
#[derive(Debug, Clone)]
pub struct Token {
    /// Of the program.
    pub name: String,
    /// In compact form.
    pub token: String,
    /// Whole seconds.
    pub issued_at: UnixMillis,
    /// Whole seconds.
    pub expires_at: UnixMillis,
}

/// Makes the first issuer of an installation that has none, and opens those that it has.
///
/// # Errors
/// If the store fails, or files are missing.
pub async fn open(
    store: &Store,
    vault: &Vault,
    ca_dir: &Path,
    trust_domain: &TrustDomain,
    rules: Rules,
    stamp: Stamp,
) -> anyhow::Result<ca::workload::Issuers> {
    let read = || store.read::<_, muster_store::Error, _>(|tx| tx.workload_issuers());
    let mut standings = read().await?;
    if standings.all.is_empty() {
        let made = make(ca_dir, trust_domain, standings.newest + 1, rules.life, stamp.at)?;
        let (made, fresh) = keys::with_keys(vault, ca_dir, made)?;
        let (first, fresh) = (Standings::first(made), Vec::from_iter(fresh));
        store.write::<_, Error, _>(stamp, move |tx| put(tx, &Standings::default(), &first, &fresh)).await?;
        standings = read().await?;
    }
    keys::fetch(store, vault, ca_dir, &standings).await?;
    Ok(ca::workload::Issuers::open(ca_dir, standings)?)
}

/// Puts issuers in the place of those that were read before.
fn put(tx: &mut WriteTx<'_>, before: &Standings, after: &Standings, fresh: &[Secret]) -> Result<(), Error> {
    if tx.workload_issuers()?.all != before.all {
        return Err(Error::refused(Reason::StateConflict, "the issuers changed meanwhile; look again"));
    }
    fresh.iter().try_for_each(|secret| tx.secret_put(secret))?;
    tx.workload_issuers_put(after)?;
    tx.secret_sweep()?;
    Ok(tx.audit(Note {
        subject: "workload-issuers".to_owned(),
        before: shown(before),
        after: shown(after),
        ..Note::default()
    })?)
}

fn shown(standings: &Standings) -> String {
    let one = |issuer: &Issuer| json!({ "issuer": issuer.number, "is": issuer.standing.as_str() });
    Value::Array(standings.all.iter().map(one).collect()).to_string()
}

impl App {
    /// Certificates for programs of a node, in the order of their orders: all or none.
    ///
    /// # Errors
    /// If an order is not valid, or the node gets nothing now.
    pub async fn issue_x509(
        &self,
        actor: &Actor,
        node: NodeId,
        by: &By,
        orders: Vec<X509Order>,
    ) -> Result<Vec<(String, Vec<Vec<u8>>)>, Error> {
        self.may_have_workloads(node, by)?;
        check_names(orders.iter().map(|order| order.name.as_str()), true)?;
        let mut keys = Vec::new();
        for (at, order) in orders.into_iter().enumerate() {
            let key = csr::public_key(&order.csr_der).map_err(|reason| Error::Invalid {
                reason,
                field: format!("orders[{at}].csr_der"),
                message: "it must be a request with a key on P-256 and no names".to_owned(),
            })?;
            keys.push((order.name, key));
        }
        let (app, ttl, now) = (self.clone(), self.fixed.workload.x509_ttl, self.clock.now());
        let work = move || {
            let issue = |(name, key): (String, csr::PublicKey)| {
                let issued = app.workloads.issue_x509(&app.workload_id(node, &name), &key, ttl, now)?;
                Ok((name, issued))
            };
            keys.into_iter().map(issue).collect::<Result<Vec<_>, ca::Error>>()
        };
        let issued = self.workshop.work(work).await.map_err(|error| failed(&error))?;
        let told = issued.iter().map(
            |(name, svid)| json!({ "name": name, "serial": svid.serial, "not_after_ms": svid.not_after.0 }),
        );
        let after = json!({ "x509": told.collect::<Vec<_>>() });
        self.note_issue(actor, "workload.issue-x509", node, by, after).await?;
        self.metrics.svids_issued("x509", issued.len());
        Ok(issued.into_iter().map(|(name, svid)| (name, svid.chain_der)).collect())
    }

    /// Tokens for programs of a node, in the order of their orders: all or none.
    ///
    /// # Errors
    /// If an order is not valid, or the node gets nothing now.
    pub async fn issue_jwt(
        &self,
        actor: &Actor,
        node: NodeId,
        by: &By,
        orders: Vec<JwtOrder>,
    ) -> Result<Vec<Token>, Error> {
        self.may_have_workloads(node, by)?;
        check_names(orders.iter().map(|order| order.name.as_str()), false)?;
        for (at, order) in orders.iter().enumerate() {
            check_audiences(&format!("orders[{at}].audiences"), &order.audiences)?;
        }
        let (app, now) = (self.clone(), self.clock.now());
        let work = move || {
            let sign = |order: JwtOrder| {
                let jti = hex::encode(rand::random::<[u8; 16]>());
                let token = app.sign(node, &order, &jti, now)?;
                Ok((json!({ "name": order.name, "audiences": order.audiences, "jti": jti }), token))
            };
            orders.into_iter().map(sign).collect::<Result<Vec<_>, ca::Error>>()
        };
        let signed = self.workshop.work(work).await.map_err(|error| failed(&error))?;
        let (told, tokens): (Vec<_>, Vec<_>) = signed.into_iter().unzip();
        self.note_issue(actor, "workload.issue-jwt", node, by, json!({ "jwt": told })).await?;
        self.metrics.svids_issued("jwt", tokens.len());
        Ok(tokens)
    }

    fn sign(&self, node: NodeId, order: &JwtOrder, jti: &str, now: UnixMillis) -> Result<Token, ca::Error> {
        let workload = &self.fixed.workload;
        let issued_at = UnixMillis(now.0.div_euclid(1000) * 1000);
        let expires_at = issued_at + workload.jwt_ttl;
        let token = self.workloads.sign_jwt(&Claims {
            sub: &self.workload_id(node, &order.name).to_string(),
            aud: &order.audiences,
            exp: expires_at.0 / 1000,
            iat: issued_at.0 / 1000,
            jti,
            iss: &workload.jwt_issuer,
        })?;
        Ok(Token { name: order.name.clone(), token, issued_at, expires_at })
    }

    /// Whom programs of a node trust.
    ///
    /// # Errors
    /// If the node gets nothing now.
    pub fn workload_bundle(&self, node: NodeId, by: &By) -> Result<Arc<Bundle>, Error> {
        self.may_have_workloads(node, by)?;
        Ok(self.workloads.bundle())
    }

    /// Makes the next issuer; `at_once`, it is the only one from now on.
    ///
    /// # Errors
    /// If one is on its way already, or its files cannot be written.
    pub async fn rotate_workloads(&self, actor: &Actor, at_once: bool) -> Result<(), Error> {
        let alone = self.workloads.alone().await;
        self.rotate(actor.stamp("workload.rotate-issuer", self.clock.now()), at_once, &alone).await
    }

    async fn rotate(&self, stamp: Stamp, at_once: bool, alone: &Alone) -> Result<(), Error> {
        let before: Standings = self.store.read(|tx| tx.workload_issuers().map_err(Error::from)).await?;
        let conflict =
            |error: &dyn std::error::Error| Error::refused(Reason::StateConflict, error.to_string());
        if let (false, Some(next)) = (at_once, before.at(muster_domain::workload::Standing::Next)) {
            return Err(conflict(&muster_domain::workload::OnItsWay(next.number)));
        }
        let life = self.fixed.workload.issuer_life;
        let made = make(self.workloads.dir(), &self.fixed.trust_domain, before.newest + 1, life, stamp.at);
        let made = made.map_err(|error| unusable(&error))?;
        let made = keys::with_keys(&self.vault, self.workloads.dir(), made);
        let (made, fresh) = made.map_err(|error| unusable(error.as_ref()))?;
        let after = if at_once {
            Standings::first(made)
        } else {
            before.with_next(made).map_err(|error| conflict(&error))?
        };
        self.put_issuers(stamp, before, after, Vec::from_iter(fresh), alone).await
    }

    /// Stored, and in use.
    async fn put_issuers(
        &self,
        stamp: Stamp,
        before: Standings,
        after: Standings,
        fresh: Vec<Secret>,
        alone: &Alone,
    ) -> Result<(), Error> {
        // The write goes on when its caller goes away, and nobody else begins before its end.
        let held = Arc::clone(alone);
        let write = move |tx: &mut WriteTx<'_>| {
            let _held = &held;
            put(tx, &before, &after, &fresh)
        };
        self.commit(stamp, write).await?;
        self.reload_workloads().await
    }

    /// Lets issuers take their turns.
    ///
    /// # Errors
    /// If the store fails, or files.
    pub(crate) async fn turn_workloads(&self) -> Result<(), Error> {
        let alone = self.workloads.alone().await;
        // What was stored may not have been taken in then.
        self.reload_workloads().await?;
        let (rules, now) = (self.fixed.workload.rules(), self.clock.now());
        let before = self.workloads.standings();
        let after = before.settled(rules, now);
        if after != before {
            self.put_issuers(self.own_stamp("workload.turn-issuers"), before, after, Vec::new(), &alone)
                .await?;
        }
        self.leave_keys(&alone).await?;
        if self.workloads.standings().needs_next(rules, now) {
            self.rotate(self.own_stamp("workload.rotate-issuer"), false, &alone).await?;
        }
        Ok(())
    }

    /// Takes the store's issuers.
    ///
    /// # Errors
    /// If the store fails, or files are missing; then the former ones go on.
    pub(super) async fn reload_workloads(&self) -> Result<(), Error> {
        // Without being alone: who is waits for this, as for all that follows the store.
        let standings: Standings = self.store.read(|tx| tx.workload_issuers().map_err(Error::from)).await?;
        let fetched = keys::fetch(&self.store, &self.vault, self.workloads.dir(), &standings).await;
        fetched.map_err(|error| unusable(error.as_ref()))?;
        self.workloads.take(standings.clone()).map_err(|error| {
            let chain = Chain(&error);
            tracing::error!(error = %chain, "the issuers of programs' identities could not follow the store: {chain}");
            unusable(&error)
        })?;
        if let Err(error) = forget_keys(self.workloads.dir(), &standings) {
            let error = Chain(&error);
            tracing::error!(%error, "keys of an issuer that issues no more are still there: {error}");
        }
        Ok(())
    }

    fn may_have_workloads(&self, node: NodeId, by: &By) -> Result<(), Error> {
        if !self.fixed.workload.enabled {
            let message = "this control plane issues no identities for programs ([workload] enabled = false)";
            return Err(Error::refused(Reason::WorkloadDisabled, message));
        }
        if self.fleet.with(node, |_| ()).is_none() {
            return Err(gone());
        }
        self.speaks(node, by)
    }

    /// Every issue is in the audit before anybody has it: one entry for one call.
    async fn note_issue(
        &self,
        actor: &Actor,
        action: &'static str,
        node: NodeId,
        by: &By,
        after: Value,
    ) -> Result<(), Error> {
        let (app, by, after) = (self.clone(), by.clone(), after.to_string());
        let write = move |tx: &mut WriteTx<'_>| -> Result<(), Error> {
            let stored = tx.node_get(node)?.ok_or_else(gone)?;
            app.speaks_now(tx, &stored, &by)?;
            let subject = format!("node/{node}");
            Ok(tx.audit(Note { subject, after: after.clone(), ..Note::default() })?)
        };
        self.has_time_for(Lane::Reports)?;
        self.store.write_in(Lane::Reports, actor.stamp(action, self.clock.now()), write).await.map(drop)
    }

    fn workload_id(&self, node: NodeId, name: &str) -> WorkloadId {
        WorkloadId { trust_domain: self.fixed.trust_domain.clone(), node, name: name.to_owned() }
    }
}

fn check_names<'a>(names: impl ExactSizeIterator<Item = &'a str>, once: bool) -> Result<(), Error> {
    if !(1..=MAX_ORDERS).contains(&names.len()) {
        let message = format!("there are {}; there must be 1 to {MAX_ORDERS}", names.len());
        return Err(Error::invalid("orders", message));
    }
    let mut seen = BTreeSet::new();
    for (at, name) in names.enumerate() {
        let wrong = |message: String| Err(Error::invalid(format!("orders[{at}].name"), message));
        if !is_workload_name(name) {
            let shown: String = name.chars().take(MAX_NAME).collect();
            return wrong(format!(
                "{shown:?} is no name of a program: letters, digits, '.', '_', '-', at most {MAX_NAME}"
            ));
        }
        if !seen.insert(name) && once {
            return wrong(format!("{name} is wanted twice"));
        }
    }
    Ok(())
}

fn check_audiences(field: &str, audiences: &[String]) -> Result<(), Error> {
    if !(1..=MAX_AUDIENCES).contains(&audiences.len()) {
        let message = format!("there are {}; there must be 1 to {MAX_AUDIENCES}", audiences.len());
        return Err(Error::invalid(field, message));
    }
    match audiences.iter().find(|audience| !(1..=MAX_AUDIENCE).contains(&audience.len())) {
        None => Ok(()),
        Some(bad) => {
            let message = format!("one has {} bytes; it must have 1 to {MAX_AUDIENCE}", bad.len());
            Err(Error::invalid(field, message))
        }
    }
}

fn gone() -> Error {
    Error::refused(Reason::NodeRemoved, "the node is no more")
}

fn failed(error: &ca::Error) -> Error {
    let error = Chain(error);
    tracing::error!(%error, "an identity for a program could not be signed: {error}");
    Error::refused(Reason::Internal, "it could not be signed; the log of the control plane says more")
}

fn unusable(error: &(dyn std::error::Error + 'static)) -> Error {
    Error::refused(Reason::AuthorityUnusable, Chain(error).to_string())
}
