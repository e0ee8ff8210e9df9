//! Who is told.

use muster_common::{clock::UnixMillis, ids::SecretId, issuer, reason::Reason};
use muster_domain::{
    access::{Asked, Permission, Scope},
    alert::{MAX_RULES, Receiver, TRIES, TRIES_LIMITS, Target},
    audit::Note,
    item::is_resource_name,
    secret::Secret,
};
use muster_store::{
    ReadAlerts as _, ReadReceivers as _, ReadSecrets as _, WriteReceivers as _, WriteSecrets as _, WriteTx,
};
use serde_json::json;
use zeroize::Zeroizing;

use crate::app::{Actor, App, Error, check_etag, secrets};

/// Longest URL, in bytes.
const MAX_URL: usize = 1024;
/// Bytes of a secret: fewer can be guessed.
const SECRET: std::ops::RangeInclusive<usize> = 16..=256;

/// What it takes to write receivers.
const WRITES: Asked = Asked { permission: Permission::Secure, fleet: true };

/// A receiver as someone wants it.
pub struct Wish {
    /// Name.
    pub name: String,
    /// How it is told.
    pub target: Target,
    /// Where.
    pub url: String,
    /// With what it is signed. `None`: as before, or not.
    pub secret: Option<Zeroizing<Vec<u8>>>,
    /// So often one delivery is tried; 0: as usual.
    pub tries: u32,
    /// It is told nothing for now.
    pub paused: bool,
    /// Of the reading it was made from.
    pub etag: String,
}

/// What a write works with: it may be done more than once.
struct Prepared {
    wished: Receiver,
    given: Option<Zeroizing<Vec<u8>>>,
    /// The same, encrypted.
    sealed: Option<Secret>,
    etag: String,
}

impl App {
    /// Makes a receiver, or answers the equal one that is there.
    ///
    /// # Errors
    /// If it cannot be, its name is taken, or there are too many.
    pub async fn create_receiver(&self, actor: &Actor, wish: Wish) -> Result<Receiver, Error> {
        let (prepared, app) = (self.prepared(actor, wish)?, self.clone());
        self.commit(actor.stamp("alerts.create-receiver", prepared.wished.created_at), move |tx| {
            let wished = &prepared.wished;
            if wished.target == Target::Webhook && prepared.sealed.is_none() {
                let message = "a webhook has one: who gets its deliveries knows by it that they are ours";
                return Err(Error::invalid("receiver.secret", message));
            }
            let all = tx.receiver_all()?;
            if let Some(same) = all.iter().find(|it| it.name == wished.name) {
                let keeps_secret = prepared.given.is_none() || app.has_secret(tx, same, &prepared)?;
                if is_equal(same, wished) && keeps_secret {
                    return Ok(same.clone());
                }
                let message = format!("receiver {:?} exists with other content", wished.name);
                return Err(Error::refused(Reason::AlreadyExists, message));
            }
            if all.len() >= MAX_RULES {
                let message = format!("there are {MAX_RULES} receivers; more are not kept");
                return Err(Error::refused(Reason::QuotaExceeded, message));
            }
            put(tx, None, &prepared, wished.clone())
        })
        .await
    }

    /// Replaces a receiver; without a secret it keeps the one that it has.
    ///
    /// # Errors
    /// If it does not exist, was changed since it was read, has another target, or cannot be.
    pub async fn update_receiver(&self, actor: &Actor, wish: Wish) -> Result<Receiver, Error> {
        let (prepared, app) = (self.prepared(actor, wish)?, self.clone());
        self.commit(actor.stamp("alerts.update-receiver", prepared.wished.updated_at), move |tx| {
            let wished = &prepared.wished;
            let before = found(tx, &wished.name)?;
            check_etag(&prepared.etag, before.revision)?;
            if before.target != wished.target {
                return Err(Error::invalid(
                    "receiver.target",
                    "a receiver keeps its target; make another one",
                ));
            }
            let keeps_secret = prepared.given.is_none() || app.has_secret(tx, &before, &prepared)?;
            if is_equal(&before, wished) && keeps_secret {
                return Ok(before);
            }
            let after = Receiver { created_at: before.created_at, ..wished.clone() };
            put(tx, Some(&before), &prepared, after)
        })
        .await
    }

    /// All receivers, by name. Whoever has a webhook's URL may be all that it takes to be heard there: it is
    /// shown to those who may write receivers, and to others where it is, without the rest.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn receivers(&self, scope: &Scope) -> Result<Vec<Receiver>, Error> {
        let mut all = self.store.read(|tx| tx.receiver_all().map_err(Error::from)).await?;
        let rights = self.access.rights(&scope.principal);
        if rights.is_none_or(|rights| rights.reach(WRITES).is_none()) {
            all.iter_mut().for_each(|it| it.url = place(&it.url));
        }
        Ok(all)
    }

    /// Takes a receiver away that no rule names, with all that it was to be told.
    ///
    /// # Errors
    /// If it does not exist, was changed since it was read, or a rule names it.
    pub async fn delete_receiver(&self, actor: &Actor, name: String, etag: String) -> Result<(), Error> {
        self.commit(actor.stamp("alerts.delete-receiver", self.clock.now()), move |tx| {
            let before = found(tx, &name)?;
            check_etag(&etag, before.revision)?;
            let rules = tx.alert_rule_all()?;
            if let Some(user) = rules.iter().find(|rule| rule.receivers.contains(&name)) {
                return Err(Error::refused(Reason::InUse, format!("rule {:?} names it", user.name)));
            }
            tx.receiver_delete(&name)?;
            tx.secret_sweep()?;
            let subject = format!("alert-receiver/{name}");
            tx.audit(Note { subject, before: shown(&before), ..Note::default() })?;
            Ok(())
        })
        .await
    }

    fn prepared(&self, actor: &Actor, wish: Wish) -> Result<Prepared, Error> {
        let wished = check(&wish, actor, self.clock.now())?;
        let encrypt = |content: &Zeroizing<Vec<u8>>| self.vault.encrypt(SecretId::generate(), content);
        let sealed = wish.secret.as_ref().map(encrypt).transpose();
        let sealed =
            sealed.map_err(|error| Error::refused(Reason::ProtectedUnreadable, error.to_string()))?;
        Ok(Prepared { wished, given: wish.secret, sealed, etag: wish.etag })
    }

    /// Whether a receiver has this very secret.
    fn has_secret(
        &self,
        tx: &mut WriteTx<'_>,
        receiver: &Receiver,
        prepared: &Prepared,
    ) -> Result<bool, Error> {
        let held = tx.secret_of_receiver(&receiver.name)?;
        let given = prepared.given.as_ref().map_or(&[][..], |it| it);
        Ok(held.is_some_and(|held| secrets::is_same(&self.vault, &held, given)))
    }
}

fn found(tx: &mut WriteTx<'_>, name: &str) -> Result<Receiver, Error> {
    tx.receiver_get(name)?.ok_or_else(|| Error::not_found("receiver", name))
}

fn put(
    tx: &mut WriteTx<'_>,
    before: Option<&Receiver>,
    prepared: &Prepared,
    after: Receiver,
) -> Result<Receiver, Error> {
    let kept = before.and_then(|before| before.secret);
    if let Some(secret) = &prepared.sealed {
        tx.secret_put(secret)?;
    }
    let secret = prepared.sealed.as_ref().map(|secret| secret.id).or(kept);
    let after = Receiver { secret, revision: tx.revision(), ..after };
    tx.receiver_put(&after)?;
    tx.secret_sweep()?;
    tx.audit(Note {
        subject: format!("alert-receiver/{}", after.name),
        before: before.map_or_else(String::new, shown),
        after: shown(&after),
        denied: false,
    })?;
    Ok(after)
}

/// The receiver that would be stored, if it can be.
fn check(wish: &Wish, actor: &Actor, now: UnixMillis) -> Result<Receiver, Error> {
    let invalid = |field: &str, message: String| Err(Error::invalid(format!("receiver.{field}"), message));
    if !is_resource_name(&wish.name) {
        let message = format!("{:?} does not match [a-z0-9]([-a-z0-9]{{0,61}}[a-z0-9])?", wish.name);
        return invalid("name", message);
    }
    if wish.url.len() > MAX_URL {
        return invalid("url", format!("it is {} bytes long; it may be {MAX_URL}", wish.url.len()));
    }
    if let Err(why) = issuer::url(&wish.url) {
        return invalid("url", format!("{why}; it must be https, or http to this very machine"));
    }
    match (&wish.secret, wish.target) {
        (Some(_), Target::Alertmanager) => {
            return invalid("secret", "leave it out: an Alertmanager takes no signature".to_owned());
        }
        (Some(secret), Target::Webhook) if !SECRET.contains(&secret.len()) => {
            let (least, most) = SECRET.into_inner();
            return invalid("secret", format!("it must have {least} to {most} bytes"));
        }
        _ => {}
    }
    let tries = if wish.tries == 0 { TRIES } else { wish.tries };
    if !TRIES_LIMITS.contains(&tries) {
        return invalid("max_tries", "it must be from 1 to 100".to_owned());
    }
    Ok(Receiver {
        name: wish.name.clone(),
        target: wish.target,
        url: wish.url.clone(),
        tries,
        paused: wish.paused,
        created_at: now,
        updated_at: now,
        updated_by: actor.principal.clone(),
        secret: None,
        revision: 0,
    })
}

/// Whether both are told the same in the same way, whoever wrote them when.
fn is_equal(one: &Receiver, other: &Receiver) -> bool {
    let parts = |it: &Receiver| (it.name.clone(), it.target, it.url.clone(), it.tries, it.paused);
    parts(one) == parts(other)
}

/// Of a URL who is asked there, without what only its receiver is to know.
fn place(url: &str) -> String {
    let url = issuer::url(url).ok();
    let place = url.and_then(|it| Some(format!("{}://{}", it.scheme_str()?, it.authority()?)));
    place.unwrap_or_default()
}

/// A URL may carry what only its receiver is to know: its path is not shown.
fn shown(receiver: &Receiver) -> String {
    let host = issuer::url(&receiver.url).ok().and_then(|url| url.host().map(str::to_owned));
    json!({
        "target": receiver.target,
        "host": host,
        "url_sha256": muster_common::digest::Sha256::of(receiver.url.as_bytes()),
        "max_tries": receiver.tries,
        "paused": receiver.paused,
        "has_secret": receiver.secret.is_some(),
    })
    .to_string()
}
