//! The certificate authority's slots, and what is revoked.

use muster_domain::{
    authority::{Authority, KEPT, Nodes, Progress, Slot, Standing},
    revocation::{Revocation, Subject},
    secret::Secret,
};

use crate::{
    changes::ChangeKind,
    engine::{Param, Row, params},
    error::Error,
    tx::{ReadTx, Reader, WriteTx, Writer},
};

/// A node that gets certificates now; as [`Progress::count`] asks.
const LIVE: &str = "s.quarantine IS NULL AND s.liveness IN ('online', 'late')";
const HOLDS: &str =
    "EXISTS (SELECT 1 FROM node_certificates c WHERE c.node_id = s.node_id AND c.issuer = $1)";

const VERSION: &str = "trust-bundle-version";

/// Reads the authority.
pub trait ReadAuthority: Reader {
    /// All slots and the version of the trusted set. Without slots: not made yet.
    ///
    /// # Errors
    /// If the store fails.
    fn authority_get(&mut self) -> Result<Authority, Error> {
        const SQL: &str = "SELECT number, standing, root_of, root_der, issuing_der, cross_der, external, not_after, \
                           created_at, changed_at FROM authority_slots ORDER BY number";
        let slots = self.rows(SQL, &[], slot)?;
        let sql = "SELECT value FROM meta WHERE name = $1";
        let version = self.row(sql, params![VERSION], |row| row.parsed(VERSION))?;
        Ok(Authority { slots, bundle_version: version.unwrap_or(0) })
    }

    /// The key of a trusted slot, encrypted, if it was left here.
    ///
    /// # Errors
    /// If the store fails.
    fn authority_key(&mut self, slot: u32) -> Result<Option<Secret>, Error> {
        let sql = "SELECT id, key_id, sealed FROM authority_keys WHERE slot = $1";
        self.row(sql, params![slot], |row| {
            Ok(Secret {
                id: row.parsed("secret id")?,
                key_id: row.text("key id")?,
                sealed: row.bytes("sealed key")?,
            })
        })
    }

    /// How far all nodes are, counted where they are stored. `progress`: without any node yet.
    ///
    /// # Errors
    /// If the store fails.
    fn authority_progress(&mut self, authority: &Authority, progress: Progress) -> Result<Progress, Error> {
        let live = nodes(self, LIVE, &[])?.count;
        let behind = params![authority.bundle_version];
        let unacknowledged = nodes(self, &format!("{LIVE} AND s.trust_bundle < $1"), behind)?;
        let mut progress = Progress { live, unacknowledged, ..progress };
        for (standing, holders) in
            [(Standing::Previous, &mut progress.on_previous), (Standing::Next, &mut progress.on_next)]
        {
            let Some(slot) = authority.at(standing).map(|slot| slot.number) else { continue };
            holders.live = nodes(self, &format!("{HOLDS} AND {LIVE}"), params![slot])?;
            holders.absent = nodes(self, &format!("{HOLDS} AND NOT ({LIVE})"), params![slot])?;
        }
        Ok(progress)
    }

    /// Everything that is revoked.
    ///
    /// # Errors
    /// If the store fails.
    fn revocation_all(&mut self) -> Result<Vec<Revocation>, Error> {
        self.rows("SELECT subject, reason, at, by FROM revocations ORDER BY subject", &[], revocation)
    }

    /// Whether and why a subject is revoked.
    ///
    /// # Errors
    /// If the store fails.
    fn revocation_get(&mut self, subject: &Subject) -> Result<Option<Revocation>, Error> {
        let sql = "SELECT subject, reason, at, by FROM revocations WHERE subject = $1";
        self.row(sql, params![subject.to_string()], revocation)
    }
}

/// Writes the authority.
pub trait WriteAuthority: ReadAuthority + Writer {
    /// Puts the slots as they are after a move in the place of those before.
    ///
    /// # Errors
    /// If the store fails.
    fn authority_put(&mut self, authority: &Authority) -> Result<(), Error> {
        const SQL: &str = "INSERT INTO authority_slots (number, standing, root_of, root_der, issuing_der, cross_der, \
                           external, not_after, created_at, changed_at) \
                           VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT (number) DO UPDATE \
                           SET standing = excluded.standing, changed_at = excluded.changed_at";
        // A slot that is not trusted any more signs nothing.
        const KEYS: &str = "DELETE FROM authority_keys WHERE slot NOT IN \
                            (SELECT number FROM authority_slots WHERE standing IN ('next', 'active', 'previous'))";
        self.needs_audit("the certificate authority");
        self.changed(ChangeKind::Authority, String::new());
        for slot in &authority.slots {
            let row = params![
                slot.number,
                slot.standing.as_str(),
                slot.root_of,
                &slot.root_der,
                &slot.issuing_der,
                slot.cross_der.as_ref(),
                slot.external,
                slot.not_after,
                slot.created_at,
                slot.changed_at,
            ];
            self.execute(SQL, row)?;
        }
        self.execute(KEYS, &[])?;
        let row = params![authority.bundle_version.to_string(), VERSION];
        self.execute("UPDATE meta SET value = $1 WHERE name = $2", row).map(drop)
    }

    /// Leaves the key of a slot, encrypted, in the place of what was there.
    ///
    /// # Errors
    /// If there is no such slot, or the store fails.
    fn authority_key_put(&mut self, slot: u32, key: &Secret) -> Result<(), Error> {
        const SQL: &str = "INSERT INTO authority_keys (slot, id, key_id, sealed) VALUES ($1, $2, $3, $4) \
                           ON CONFLICT (slot) DO UPDATE SET id = excluded.id, key_id = excluded.key_id, \
                           sealed = excluded.sealed";
        self.needs_audit("a key of the certificate authority");
        self.changed(ChangeKind::Authority, String::new());
        let row = params![slot, key.id.to_string(), &key.key_id, key.sealed.as_slice()];
        self.execute(SQL, row).map(drop)
    }

    /// Revokes a subject; who revoked it first, and why, stays.
    ///
    /// # Errors
    /// If the store fails.
    fn revocation_put(&mut self, revocation: &Revocation) -> Result<bool, Error> {
        const SQL: &str = "INSERT INTO revocations (subject, reason, at, by) VALUES ($1, $2, $3, $4) \
                           ON CONFLICT (subject) DO NOTHING";
        self.needs_audit("a revocation");
        let subject = revocation.subject.to_string();
        let row = params![&subject, &revocation.reason, revocation.at, &revocation.by];
        let is_new = self.execute(SQL, row)? > 0;
        if is_new {
            self.changed(ChangeKind::Revocation, subject);
        }
        Ok(is_new)
    }

    /// Takes a revocation back. Whether there was one.
    ///
    /// # Errors
    /// If the store fails.
    fn revocation_delete(&mut self, subject: &Subject) -> Result<bool, Error> {
        self.needs_audit("a revocation");
        let text = subject.to_string();
        let found = self.execute("DELETE FROM revocations WHERE subject = $1", params![&text])? > 0;
        if found {
            self.changed(ChangeKind::Revocation, text);
        }
        Ok(found)
    }
}

/// Nodes of which this holds.
fn nodes<R: Reader + ?Sized>(tx: &mut R, holds: &str, params: &[Param<'_>]) -> Result<Nodes, Error> {
    let count = format!("SELECT count(*) FROM node_status s WHERE {holds}");
    let count = tx.row(&count, params, |row| row.u64("nodes"))?.unwrap_or(0);
    if count == 0 {
        return Ok(Nodes::default());
    }
    let first = format!("SELECT s.node_id FROM node_status s WHERE {holds} ORDER BY s.node_id LIMIT {KEPT}");
    let first = tx.rows(&first, params, |row| row.parsed("node id"))?;
    Ok(Nodes { count: usize::try_from(count).unwrap_or(usize::MAX), first })
}

fn slot(row: &mut Row) -> Result<Slot, Error> {
    Ok(Slot {
        number: row.u32("slot number")?,
        standing: row.word("standing", Standing::parse)?,
        root_of: row.u32("root_of")?,
        root_der: row.bytes("root")?,
        issuing_der: row.bytes("issuing certificate")?,
        cross_der: row.opt_bytes("cross-signed root")?,
        external: row.bool("external")?,
        not_after: row.millis("not_after")?,
        created_at: row.millis("created_at")?,
        changed_at: row.millis("changed_at")?,
    })
}

fn revocation(row: &mut Row) -> Result<Revocation, Error> {
    Ok(Revocation {
        subject: row.parsed("revoked subject")?,
        reason: row.text("reason")?,
        at: row.millis("at")?,
        by: row.text("by")?,
    })
}

impl ReadAuthority for ReadTx<'_> {}
impl ReadAuthority for WriteTx<'_> {}
impl WriteAuthority for WriteTx<'_> {}
