//! Tokens of issuers that have let a node in, until they run out.

use muster_common::{clock::UnixMillis, digest::Sha256};

use crate::{
    engine::params,
    error::Error,
    tx::{ReadTx, Reader, WriteTx, Writer},
};

/// Knows tokens again.
pub trait ReadSpentTokens: Reader {
    /// Whether a token is remembered.
    ///
    /// # Errors
    /// If the store fails.
    fn spent_token_is_known(&mut self, id: &Sha256) -> Result<bool, Error> {
        const SQL: &str = "SELECT 1 FROM spent_tokens WHERE id = $1";
        Ok(self.row(SQL, params![id], |row| row.u64("one"))?.is_some())
    }
}

/// Remembers tokens.
pub trait WriteSpentTokens: ReadSpentTokens + Writer {
    /// Remembers a token. `false`: it was remembered before.
    ///
    /// # Errors
    /// If the store fails.
    fn spent_token_insert(&mut self, id: &Sha256, expires_at: UnixMillis) -> Result<bool, Error> {
        const SQL: &str =
            "INSERT INTO spent_tokens (id, expires_at) VALUES ($1, $2) ON CONFLICT (id) DO NOTHING";
        Ok(self.execute(SQL, params![id, expires_at])? > 0)
    }

    /// Forgets some of those that have run out. How many went.
    ///
    /// # Errors
    /// If the store fails.
    fn spent_token_prune(&mut self, now: UnixMillis, step: u64) -> Result<u64, Error> {
        const SQL: &str = "DELETE FROM spent_tokens WHERE id IN \
                           (SELECT id FROM spent_tokens WHERE expires_at <= $1 LIMIT $2)";
        self.execute(SQL, params![now, step])
    }
}

impl ReadSpentTokens for ReadTx<'_> {}
impl ReadSpentTokens for WriteTx<'_> {}
impl WriteSpentTokens for WriteTx<'_> {}
