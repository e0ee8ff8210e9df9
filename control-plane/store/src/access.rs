//! Callers of the operators' API, and what they are bound to.

use muster_domain::{
    access::{Binding, Caller, Role},
    page::{Listed, Page},
};

use crate::{
    changes::ChangeKind,
    engine::{Row, params},
    error::Error,
    page,
    tx::{ReadTx, Reader, WriteTx, Writer},
};

macro_rules! bindings {
    ($rest:literal) => {
        concat!("SELECT name, principal, role, selector, created_at, created_by FROM bindings ", $rest)
    };
}

/// Reads callers and bindings.
pub trait ReadAccess: Reader {
    /// One caller, by `operator/alice`.
    ///
    /// # Errors
    /// If the store fails.
    fn caller_get(&mut self, principal: &str) -> Result<Option<Caller>, Error> {
        const SQL: &str =
            "SELECT principal, serial, issuer, not_after, created_at FROM callers WHERE principal = $1";
        self.row(SQL, params![principal], decode)
    }

    /// All callers, by name.
    ///
    /// # Errors
    /// If the store fails.
    fn caller_all(&mut self) -> Result<Vec<Caller>, Error> {
        const SQL: &str =
            "SELECT principal, serial, issuer, not_after, created_at FROM callers ORDER BY principal";
        self.rows(SQL, &[], decode)
    }

    /// One binding.
    ///
    /// # Errors
    /// If the store fails.
    fn binding_get(&mut self, name: &str) -> Result<Option<Binding>, Error> {
        self.row(bindings!("WHERE name = $1"), params![name], decode_binding)
    }

    /// All bindings, by name.
    ///
    /// # Errors
    /// If the store fails.
    fn binding_all(&mut self) -> Result<Vec<Binding>, Error> {
        self.rows(bindings!("ORDER BY name"), &[], decode_binding)
    }

    /// One page of them, by name.
    ///
    /// # Errors
    /// If the store fails.
    fn binding_list(&mut self, page: &Page) -> Result<Listed<Binding>, Error> {
        let sql = bindings!("WHERE name > $1 ORDER BY name LIMIT $2");
        let rows = self.rows(sql, params![page::after(page), page::limit(page)], decode_binding)?;
        Ok(page::listed(page, rows, |binding| binding.name.clone()))
    }
}

/// Writes callers and bindings.
pub trait WriteAccess: ReadAccess + Writer {
    /// Makes a caller, or puts this in the place of the one with its name.
    ///
    /// # Errors
    /// If the store fails.
    fn caller_put(&mut self, caller: &Caller) -> Result<(), Error> {
        const SQL: &str = "INSERT INTO callers (principal, serial, issuer, not_after, created_at) \
                           VALUES ($1, $2, $3, $4, $5) ON CONFLICT (principal) DO UPDATE SET \
                           serial = excluded.serial, issuer = excluded.issuer, not_after = excluded.not_after, \
                           created_at = excluded.created_at";
        self.needs_audit("a caller");
        self.changed(ChangeKind::Caller, caller.principal.clone());
        let row =
            params![&caller.principal, &caller.serial, caller.issuer, caller.not_after, caller.created_at,];
        self.execute(SQL, row).map(drop)
    }

    /// Makes a binding, or puts this in the place of the one with its name.
    ///
    /// # Errors
    /// If the store fails.
    fn binding_put(&mut self, binding: &Binding) -> Result<(), Error> {
        const SQL: &str = "INSERT INTO bindings (name, principal, role, selector, created_at, created_by) \
                           VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (name) DO UPDATE SET \
                           principal = excluded.principal, role = excluded.role, selector = excluded.selector, \
                           created_at = excluded.created_at, created_by = excluded.created_by";
        self.needs_audit("a binding");
        self.changed(ChangeKind::Binding, binding.name.clone());
        let principal = binding.principal.to_string();
        let row = params![
            &binding.name,
            &principal,
            binding.role.as_str(),
            &binding.selector,
            binding.created_at,
            &binding.created_by,
        ];
        self.execute(SQL, row).map(drop)
    }

    /// Deletes a binding. Whether there was one.
    ///
    /// # Errors
    /// If the store fails.
    fn binding_delete(&mut self, name: &str) -> Result<bool, Error> {
        let found = self.execute("DELETE FROM bindings WHERE name = $1", params![name])? > 0;
        if found {
            self.needs_audit("a binding");
            self.changed(ChangeKind::Binding, name.to_owned());
        }
        Ok(found)
    }
}

fn decode_binding(row: &mut Row) -> Result<Binding, Error> {
    Ok(Binding {
        name: row.text("binding name")?,
        principal: row.parsed("principal pattern")?,
        role: row.word("role", Role::parse)?,
        selector: row.text("selector")?,
        created_at: row.millis("created_at")?,
        created_by: row.text("created_by")?,
    })
}

fn decode(row: &mut Row) -> Result<Caller, Error> {
    Ok(Caller {
        principal: row.text("principal")?,
        serial: row.text("serial")?,
        issuer: row.u32("issuer")?,
        not_after: row.millis("not_after")?,
        created_at: row.millis("created_at")?,
    })
}

impl ReadAccess for ReadTx<'_> {}
impl ReadAccess for WriteTx<'_> {}
impl WriteAccess for WriteTx<'_> {}
