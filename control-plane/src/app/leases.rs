//! Concurrency leases: how many commands may be in flight at once, of all operations.
//!
//! A lease has no holders to be kept: its places are counted from the commands that are
//! delivered or running, in the write that hands the next one out.

use muster_common::reason::Reason;
use muster_domain::{
    audit::Note,
    lease::Lease,
    page::{Listed, Page},
};
use muster_store::{ReadLeases, ReadTx, WriteLeases as _, WriteTx};
use serde_json::json;

use super::{Actor, App, Error, check_etag};

/// What someone wants a lease to be.
#[derive(Debug, Clone)]
pub struct Wish {
    /// Name.
    pub name: String,
    /// Places.
    pub limit: u32,
    /// Commands of these kinds always take one.
    pub kinds: Vec<String>,
    /// For people.
    pub description: String,
    /// Of the reading it was made from.
    pub etag: String,
}

/// A lease, and how many of its places are taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// As stored.
    pub lease: Lease,
    /// By commands in flight.
    pub taken: u32,
}

impl App {
    /// Makes a lease, or answers the equal one that is there.
    ///
    /// # Errors
    /// If its name is taken.
    pub async fn create_lease(&self, actor: &Actor, wish: Wish) -> Result<View, Error> {
        let (now, by) = (self.clock.now(), actor.principal.clone());
        self.commit(actor.stamp("concurrency-leases.create", now), move |tx| {
            match tx.lease_get(&wish.name)? {
                Some(same) if is_as_wished(&same, &wish) => return viewed(tx, same),
                Some(_) => {
                    let message = format!("concurrency lease {:?} exists with other content", wish.name);
                    return Err(Error::refused(Reason::AlreadyExists, message));
                }
                None => {}
            }
            let lease = Lease {
                name: wish.name.clone(),
                limit: wish.limit,
                kinds: wish.kinds.clone(),
                description: wish.description.clone(),
                created_at: now,
                updated_at: now,
                updated_by: by.clone(),
                revision: tx.revision(),
            };
            put(tx, None, &lease)?;
            viewed(tx, lease)
        })
        .await
    }

    /// Replaces limit, kinds and description.
    ///
    /// # Errors
    /// If it does not exist, or was changed since it was read.
    pub async fn update_lease(&self, actor: &Actor, wish: Wish) -> Result<View, Error> {
        let (now, by) = (self.clock.now(), actor.principal.clone());
        self.commit(actor.stamp("concurrency-leases.update", now), move |tx| {
            let before = found(tx, &wish.name)?;
            check_etag(&wish.etag, before.revision)?;
            if is_as_wished(&before, &wish) {
                return viewed(tx, before);
            }
            let after = Lease {
                limit: wish.limit,
                kinds: wish.kinds.clone(),
                description: wish.description.clone(),
                updated_at: now,
                updated_by: by.clone(),
                revision: tx.revision(),
                ..before.clone()
            };
            put(tx, Some(&before), &after)?;
            viewed(tx, after)
        })
        .await
    }

    /// One lease.
    ///
    /// # Errors
    /// If it does not exist.
    pub async fn lease(&self, name: String) -> Result<View, Error> {
        let read = self.store.read(move |tx: &mut ReadTx<'_>| {
            let lease = found(tx, &name)?;
            viewed(tx, lease)
        });
        read.await
    }

    /// A page of leases.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn leases(&self, page: Page) -> Result<Listed<View>, Error> {
        let read = self.store.read(move |tx| {
            let (listed, in_flight) = (tx.lease_list(&page)?, tx.command_in_flight()?);
            let view = |lease: Lease| View { taken: lease.room(&in_flight).taken, lease };
            Ok::<_, Error>(Listed { rows: listed.rows.into_iter().map(view).collect(), next: listed.next })
        });
        read.await
    }

    /// Takes a lease away that no open operation names.
    ///
    /// # Errors
    /// If it does not exist, was changed since it was read, or an operation names it.
    pub async fn delete_lease(&self, actor: &Actor, name: String, etag: String) -> Result<(), Error> {
        self.commit(actor.stamp("concurrency-leases.delete", self.clock.now()), move |tx| {
            let before = found(tx, &name)?;
            check_etag(&etag, before.revision)?;
            if tx.lease_is_named(&name)? {
                let message = "an operation that has not ended names it; wait for it, or cancel it";
                return Err(Error::refused(Reason::InUse, message));
            }
            tx.lease_delete(&name)?;
            let subject = format!("concurrency-lease/{name}");
            tx.audit(Note { subject, before: shown(&before), ..Note::default() })?;
            Ok(())
        })
        .await
    }
}

fn found(tx: &mut impl ReadLeases, name: &str) -> Result<Lease, Error> {
    tx.lease_get(name)?.ok_or_else(|| Error::not_found("concurrency lease", name))
}

fn viewed(tx: &mut impl ReadLeases, lease: Lease) -> Result<View, Error> {
    Ok(View { taken: lease.room(&tx.command_in_flight()?).taken, lease })
}

fn put(tx: &mut WriteTx<'_>, before: Option<&Lease>, after: &Lease) -> Result<(), Error> {
    tx.lease_put(after)?;
    tx.audit(Note {
        subject: format!("concurrency-lease/{}", after.name),
        before: before.map_or_else(String::new, shown),
        after: shown(after),
        denied: false,
    })?;
    Ok(())
}

fn is_as_wished(lease: &Lease, wish: &Wish) -> bool {
    lease.limit == wish.limit && lease.kinds == wish.kinds && lease.description == wish.description
}

fn shown(lease: &Lease) -> String {
    json!({ "limit": lease.limit, "kinds": lease.kinds, "description": lease.description }).to_string()
}
