//! Callers of the operators' API.

use muster_domain::access::{Caller, Role};

use crate::{
    changes::ChangeKind,
    engine::{Row, params},
    error::Error,
    tx::{ReadTx, Reader, WriteTx, Writer},
};

/// Reads callers.
pub trait ReadAccess: Reader {
    /// One caller, by `operator/alice`.
    ///
    /// # Errors
    /// If the store fails.
    fn caller_get(&mut self, principal: &str) -> Result<Option<Caller>, Error> {
        const SQL: &str =
            "SELECT principal, role, serial, issuer, not_after, created_at FROM callers WHERE principal = $1";
        self.row(SQL, params![principal], decode)
    }

    /// All callers, by name.
    ///
    /// # Errors
    /// If the store fails.
    fn caller_all(&mut self) -> Result<Vec<Caller>, Error> {
        const SQL: &str =
            "SELECT principal, role, serial, issuer, not_after, created_at FROM callers ORDER BY principal";
        self.rows(SQL, &[], decode)
    }
}

/// Writes callers.
pub trait WriteAccess: ReadAccess + Writer {
    /// Makes a caller, or puts this in the place of the one with its name.
    ///
    /// # Errors
    /// If the store fails.
    fn caller_put(&mut self, caller: &Caller) -> Result<(), Error> {
        const SQL: &str = "INSERT INTO callers (principal, role, serial, issuer, not_after, created_at) \
                           VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (principal) DO UPDATE SET role = excluded.role, \
                           serial = excluded.serial, issuer = excluded.issuer, not_after = excluded.not_after, \
                           created_at = excluded.created_at";
        self.needs_audit("a caller");
        self.changed(ChangeKind::Caller, caller.principal.clone());
        let row = params![
            &caller.principal,
            caller.role.as_str(),
            &caller.serial,
            caller.issuer,
            caller.not_after,
            caller.created_at,
        ];
        self.execute(SQL, row).map(drop)
    }
}

fn decode(row: &mut Row) -> Result<Caller, Error> {
    Ok(Caller {
        principal: row.text("principal")?,
        role: row.word("role", Role::parse)?,
        serial: row.text("serial")?,
        issuer: row.u32("issuer")?,
        not_after: row.millis("not_after")?,
        created_at: row.millis("created_at")?,
    })
}

impl ReadAccess for ReadTx<'_> {}
impl ReadAccess for WriteTx<'_> {}
impl WriteAccess for WriteTx<'_> {}
