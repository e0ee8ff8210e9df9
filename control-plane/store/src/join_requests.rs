//! Hosts that wait until a person says yes.

use muster_common::{
    clock::UnixMillis,
    ids::{JoinRequestId, JoinTokenId},
};
use muster_domain::{
    join_request::{JoinRequest, State},
    page::{Listed, Page},
};

use crate::{
    changes::ChangeKind,
    engine::{Row, json, params},
    error::Error,
    page,
    tx::{ReadTx, Reader, WriteTx, Writer},
};

const BY_ID: &str = "SELECT id, token_id, key_sha256, display_name, hostname, machine_fingerprint, remote_address, \
                     created_at, expires_at, state, decided_at, decided_by, requested_labels FROM join_requests WHERE id = $1";
const BY_KEY: &str = "SELECT id, token_id, key_sha256, display_name, hostname, machine_fingerprint, remote_address, \
                      created_at, expires_at, state, decided_at, decided_by, requested_labels FROM join_requests \
                      WHERE token_id = $1 AND key_sha256 = $2";
const PAGE: &str = "SELECT id, token_id, key_sha256, display_name, hostname, machine_fingerprint, remote_address, \
                    created_at, expires_at, state, decided_at, decided_by, requested_labels FROM join_requests \
                    WHERE id > $1 AND expires_at > $2 ORDER BY id LIMIT $3";

/// Reads join requests.
pub trait ReadJoinRequests: Reader {
    /// One request.
    ///
    /// # Errors
    /// If the store fails.
    fn join_request_get(&mut self, id: JoinRequestId) -> Result<Option<JoinRequest>, Error> {
        self.row(BY_ID, params![id], decode)
    }

    /// The request of the host with this key that came with this token.
    ///
    /// # Errors
    /// If the store fails.
    fn join_request_by_key(
        &mut self,
        token: JoinTokenId,
        key_sha256: &[u8],
    ) -> Result<Option<JoinRequest>, Error> {
        self.row(BY_KEY, params![token, key_sha256], decode)
    }

    /// One page of those whose token has not run out, oldest first.
    ///
    /// # Errors
    /// If the store fails.
    fn join_request_list(&mut self, now: UnixMillis, page: &Page) -> Result<Listed<JoinRequest>, Error> {
        let rows = self.rows(PAGE, params![page::after(page), now, page::limit(page)], decode)?;
        Ok(page::listed(page, rows, |request| request.id.to_string()))
    }

    /// How many wait for an answer under tokens that are still good: in all, and of
    /// one token.
    ///
    /// # Errors
    /// If the store fails.
    fn join_requests_waiting(&mut self, token: JoinTokenId, now: UnixMillis) -> Result<(u64, u64), Error> {
        const ALL: &str = "SELECT COUNT(*) FROM join_requests JOIN join_tokens ON join_tokens.id = token_id \
                           WHERE state = $1 AND revoked_at IS NULL AND join_requests.expires_at > $2";
        const OF_TOKEN: &str = "SELECT COUNT(*) FROM join_requests WHERE token_id = $1 AND state = $2";
        let waiting = State::Pending.as_str();
        let all = self.row(ALL, params![waiting, now], |row| row.u64("count"))?;
        let of_token = self.row(OF_TOKEN, params![token, waiting], |row| row.u64("count"))?;
        Ok((all.unwrap_or(0), of_token.unwrap_or(0)))
    }
}

/// Writes join requests.
pub trait WriteJoinRequests: ReadJoinRequests + Writer {
    /// Adds a request.
    ///
    /// # Errors
    /// If its id, or its key with its token, is there already, or the store fails.
    fn join_request_insert(&mut self, request: &JoinRequest) -> Result<(), Error> {
        const SQL: &str = "INSERT INTO join_requests (id, token_id, key_sha256, display_name, hostname, \
                           machine_fingerprint, remote_address, created_at, expires_at, state, decided_at, decided_by, requested_labels) \
                           VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)";
        self.needs_audit("a join request");
        self.changed(ChangeKind::JoinRequest, request.id.to_string());
        let row = params![
            request.id,
            request.token,
            &request.key_sha256,
            &request.display_name,
            &request.hostname,
            &request.machine_fingerprint,
            &request.remote_address,
            request.created_at,
            request.expires_at,
            request.state.as_str(),
            request.decided_at,
            &request.decided_by,
            json(&request.requested_labels),
        ];
        self.execute(SQL, row).map(drop)
    }

    /// Writes down what a person said.
    ///
    /// # Errors
    /// If the store fails.
    fn join_request_decide(
        &mut self,
        id: JoinRequestId,
        state: State,
        at: UnixMillis,
        by: &str,
    ) -> Result<(), Error> {
        let sql = "UPDATE join_requests SET state = $1, decided_at = $2, decided_by = $3 WHERE id = $4";
        if self.execute(sql, params![state.as_str(), at, by, id])? > 0 {
            self.needs_audit("a join request");
            self.changed(ChangeKind::JoinRequest, id.to_string());
        }
        Ok(())
    }

    /// Takes away a request whose host has become a node.
    ///
    /// # Errors
    /// If the store fails.
    fn join_request_delete(&mut self, id: JoinRequestId) -> Result<(), Error> {
        if self.execute("DELETE FROM join_requests WHERE id = $1", params![id])? > 0 {
            self.changed(ChangeKind::JoinRequest, id.to_string());
        }
        Ok(())
    }

    /// Takes away some of those whose token has run out. How many went.
    ///
    /// # Errors
    /// If the store fails.
    fn join_request_prune(&mut self, now: UnixMillis, step: u64) -> Result<u64, Error> {
        const OVER: &str = "SELECT id FROM join_requests WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2";
        let over: Vec<JoinRequestId> =
            self.rows(OVER, params![now, step], |row| row.parsed("join request id"))?;
        for id in &over {
            self.join_request_delete(*id)?;
        }
        Ok(over.len() as u64)
    }
}

fn decode(row: &mut Row) -> Result<JoinRequest, Error> {
    Ok(JoinRequest {
        id: row.parsed("join request id")?,
        token: row.parsed("join token id")?,
        key_sha256: row.bytes("key hash")?,
        display_name: row.text("display_name")?,
        hostname: row.text("hostname")?,
        machine_fingerprint: row.bytes("machine fingerprint")?,
        remote_address: row.text("remote_address")?,
        created_at: row.millis("created_at")?,
        expires_at: row.millis("expires_at")?,
        state: row.word("state of a join request", State::parse)?,
        decided_at: row.opt_millis("decided_at")?,
        decided_by: row.text("decided_by")?,
        requested_labels: row.json("requested labels")?,
    })
}

impl ReadJoinRequests for ReadTx<'_> {}
impl ReadJoinRequests for WriteTx<'_> {}
impl WriteJoinRequests for WriteTx<'_> {}
