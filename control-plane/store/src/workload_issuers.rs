//! Issuers of identities for programs.

use muster_domain::workload::{Issuer, Issuers, Standing};

use crate::{
    changes::ChangeKind,
    engine::{Row, params},
    error::Error,
    tx::{ReadTx, Reader, WriteTx, Writer},
};

const NEWEST: &str = "workload-issuers-newest";

/// Reads the issuers.
pub trait ReadWorkloadIssuers: Reader {
    /// All that are trusted. None: not made yet.
    ///
    /// # Errors
    /// If the store fails.
    fn workload_issuers(&mut self) -> Result<Issuers, Error> {
        const SQL: &str = "SELECT number, standing, certificate_der, jwt_key_der, not_after, created_at, changed_at, \
                           secret_id FROM workload_issuers ORDER BY number";
        let all = self.rows(SQL, &[], issuer)?;
        let sql = "SELECT value FROM meta WHERE name = $1";
        let newest = self.row(sql, params![NEWEST], |row| row.parsed(NEWEST))?;
        Ok(Issuers { all, newest: newest.unwrap_or(0) })
    }
}

/// Writes the issuers.
pub trait WriteWorkloadIssuers: ReadWorkloadIssuers + Writer {
    /// Puts these in the place of those before.
    ///
    /// # Errors
    /// If the store fails.
    fn workload_issuers_put(&mut self, issuers: &Issuers) -> Result<(), Error> {
        const SQL: &str = "INSERT INTO workload_issuers (number, standing, certificate_der, jwt_key_der, not_after, \
                           created_at, changed_at, secret_id) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
        self.needs_audit("the issuers of programs' identities");
        self.changed(ChangeKind::Authority, String::new());
        self.execute("DELETE FROM workload_issuers", &[])?;
        for issuer in &issuers.all {
            let row = params![
                issuer.number,
                issuer.standing.as_str(),
                &issuer.certificate_der,
                &issuer.jwt_key_der,
                issuer.not_after,
                issuer.created_at,
                issuer.changed_at,
                issuer.secret.map(|id| id.to_string()),
            ];
            self.execute(SQL, row)?;
        }
        let row = params![issuers.newest.to_string(), NEWEST];
        self.execute("UPDATE meta SET value = $1 WHERE name = $2", row).map(drop)
    }
}

fn issuer(row: &mut Row) -> Result<Issuer, Error> {
    Ok(Issuer {
        number: row.u32("issuer number")?,
        standing: row.word("standing", Standing::parse)?,
        certificate_der: row.bytes("certificate")?,
        jwt_key_der: row.bytes("key of tokens")?,
        not_after: row.millis("not_after")?,
        created_at: row.millis("created_at")?,
        changed_at: row.millis("changed_at")?,
        secret: row.opt_parsed("secret id")?,
    })
}

impl ReadWorkloadIssuers for ReadTx<'_> {}
impl ReadWorkloadIssuers for WriteTx<'_> {}
impl WriteWorkloadIssuers for WriteTx<'_> {}
