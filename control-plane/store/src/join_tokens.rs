//! Join tokens. Their secrets are known by their hashes alone.

use ipnet::IpNet;
use muster_common::{clock::UnixMillis, ids::JoinTokenId};
use muster_domain::{
    join_token::JoinToken,
    page::{Listed, Page},
    requestable::Requestable,
};

use crate::{
    changes::ChangeKind,
    engine::{Row, json, params},
    error::Error,
    page,
    tx::{ReadTx, Reader, WriteTx, Writer},
};

const BY_ID: &str = "SELECT id, description, secret_sha256, labels, max_uses, uses, created_at, expires_at, \
                     revoked_at, allowed, require_approval, requestable FROM join_tokens WHERE id = $1";
const BY_SECRET: &str = "SELECT id, description, secret_sha256, labels, max_uses, uses, created_at, expires_at, \
                         revoked_at, allowed, require_approval, requestable FROM join_tokens WHERE secret_sha256 = $1";
const PAGE: &str = "SELECT id, description, secret_sha256, labels, max_uses, uses, created_at, expires_at, \
                    revoked_at, allowed, require_approval, requestable FROM join_tokens WHERE id > $1 ORDER BY id LIMIT $2";

/// Reads join tokens.
pub trait ReadJoinTokens: Reader {
    /// One token.
    ///
    /// # Errors
    /// If the store fails.
    fn join_token_get(&mut self, id: JoinTokenId) -> Result<Option<JoinToken>, Error> {
        self.row(BY_ID, params![id], decode)
    }

    /// The token with this secret, by the secret's SHA-256.
    ///
    /// # Errors
    /// If the store fails.
    fn join_token_by_secret(&mut self, secret_sha256: &[u8]) -> Result<Option<JoinToken>, Error> {
        self.row(BY_SECRET, params![secret_sha256], decode)
    }

    /// One page of them, oldest first.
    ///
    /// # Errors
    /// If the store fails.
    fn join_token_list(&mut self, page: &Page) -> Result<Listed<JoinToken>, Error> {
        let rows = self.rows(PAGE, params![page::after(page), page::limit(page)], decode)?;
        Ok(page::listed(page, rows, |token| token.id.to_string()))
    }
}

/// Writes join tokens.
pub trait WriteJoinTokens: ReadJoinTokens + Writer {
    /// Adds a token.
    ///
    /// # Errors
    /// If its id or secret is there already, or the store fails.
    fn join_token_insert(&mut self, token: &JoinToken) -> Result<(), Error> {
        const SQL: &str = "INSERT INTO join_tokens (id, description, secret_sha256, labels, max_uses, uses, \
                           created_at, expires_at, revoked_at, allowed, require_approval, requestable) \
                           VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)";
        self.needs_audit("a join token");
        self.changed(ChangeKind::JoinToken, token.id.to_string());
        let allowed: Vec<String> = token.allowed.iter().map(ToString::to_string).collect();
        let row = params![
            token.id,
            &token.description,
            &token.secret_sha256,
            json(&token.labels),
            token.max_uses,
            token.uses,
            token.created_at,
            token.expires_at,
            token.revoked_at,
            json(&allowed),
            token.require_approval,
            json(&token.requestable.written()),
        ];
        self.execute(SQL, row).map(drop)
    }

    /// Counts one use, if any is left. Whether one was; never counts above the most.
    ///
    /// # Errors
    /// If the store fails.
    fn join_token_use_once(&mut self, id: JoinTokenId) -> Result<bool, Error> {
        let sql = "UPDATE join_tokens SET uses = uses + 1 WHERE id = $1 AND uses < max_uses";
        let used = self.execute(sql, params![id])? > 0;
        if used {
            self.needs_audit("a join token");
            self.changed(ChangeKind::JoinToken, id.to_string());
        }
        Ok(used)
    }

    /// Takes a use back that let nobody in.
    ///
    /// # Errors
    /// If the store fails.
    fn join_token_give_back(&mut self, id: JoinTokenId) -> Result<bool, Error> {
        let sql = "UPDATE join_tokens SET uses = uses - 1 WHERE id = $1 AND uses > 0";
        let given = self.execute(sql, params![id])? > 0;
        if given {
            self.needs_audit("a join token");
            self.changed(ChangeKind::JoinToken, id.to_string());
        }
        Ok(given)
    }

    /// Ends a token, unless it was ended before. Whether it was this call that did.
    ///
    /// # Errors
    /// If the store fails.
    fn join_token_revoke(&mut self, id: JoinTokenId, at: UnixMillis) -> Result<bool, Error> {
        let sql = "UPDATE join_tokens SET revoked_at = $1 WHERE id = $2 AND revoked_at IS NULL";
        let revoked = self.execute(sql, params![at, id])? > 0;
        if revoked {
            self.needs_audit("a join token");
            self.changed(ChangeKind::JoinToken, id.to_string());
        }
        Ok(revoked)
    }
}

fn decode(row: &mut Row) -> Result<JoinToken, Error> {
    Ok(JoinToken {
        id: row.parsed("join token id")?,
        description: row.text("description")?,
        secret_sha256: row.bytes("secret hash")?,
        labels: row.json("labels")?,
        max_uses: row.u32("max_uses")?,
        uses: row.u32("uses")?,
        created_at: row.millis("created_at")?,
        expires_at: row.millis("expires_at")?,
        revoked_at: row.opt_millis("revoked_at")?,
        allowed: networks(&row.json::<Vec<String>>("allowed networks")?)?,
        require_approval: row.bool("require_approval")?,
        requestable: requestable(&row.json::<Vec<String>>("requestable labels")?)?,
    })
}

fn networks(texts: &[String]) -> Result<Vec<IpNet>, Error> {
    texts.iter().map(|text| text.parse().map_err(|_| Error::row("allowed network", text))).collect()
}

fn requestable(texts: &[String]) -> Result<Requestable, Error> {
    Requestable::read("requestable", texts)
        .map_err(|violation| Error::row("requestable label", &violation.field))
}

impl ReadJoinTokens for ReadTx<'_> {}
impl ReadJoinTokens for WriteTx<'_> {}
impl WriteJoinTokens for WriteTx<'_> {}
