//! Blobs: which there are, who refers to them, and uploads that are not whole.

use muster_common::{clock::UnixMillis, digest::Sha256, ids::UploadId};
use muster_domain::{
    blob::{Blob, State, Upload},
    page::{Listed, Page},
};

use crate::{
    engine::{Row, params},
    error::Error,
    page,
    tx::{ReadTx, Reader, WriteTx, Writer},
};

const BY_DIGEST: &str = "SELECT sha256, size_bytes, state, created_at, created_by, unreferenced_since \
                         FROM blobs WHERE sha256 = $1";
const PAGE: &str = "SELECT sha256, size_bytes, state, created_at, created_by, unreferenced_since \
                    FROM blobs WHERE state = 'here' AND sha256 > $1 AND created_by NOT LIKE 'node/%' \
                    ORDER BY sha256 LIMIT $2";
const UPLOAD: &str = "SELECT id, sha256, size_bytes, created_at, created_by, expires_at \
                      FROM blob_uploads WHERE id = $1";
/// An upload that is becoming a blob stands in both tables; its room is counted once.
const TOTAL: &str = "SELECT CAST(COALESCE((SELECT SUM(size_bytes) FROM blobs), 0) + \
                     COALESCE((SELECT SUM(size_bytes) FROM blob_uploads u WHERE NOT EXISTS \
                     (SELECT 1 FROM blobs b WHERE b.sha256 = u.sha256 AND b.size_bytes = u.size_bytes)), 0) AS BIGINT)";

/// Reads blobs.
pub trait ReadBlobs: Reader {
    /// One blob, in whatever state.
    ///
    /// # Errors
    /// If the store fails.
    fn blob_get(&mut self, sha256: &Sha256) -> Result<Option<Blob>, Error> {
        self.row(BY_DIGEST, params![sha256], decode)
    }

    /// A page of those that can be had, by digest; without those that hosts brought.
    ///
    /// # Errors
    /// If the page's key is none of this list, or the store fails.
    fn blob_list(&mut self, page: &Page) -> Result<Listed<Blob>, Error> {
        let after = match page.after.as_deref() {
            None => Vec::new(),
            Some(key) => {
                let parsed = Sha256::parse_hex(key);
                let wrong = || Error::PageKey(key.chars().take(80).collect());
                parsed.ok_or_else(wrong)?.as_bytes().to_vec()
            }
        };
        let rows = self.rows(PAGE, params![&after, page::limit(page)], decode)?;
        Ok(page::listed(page, rows, |blob| blob.sha256.to_string()))
    }

    /// Bytes of all blobs and of all uploads, as they will be when they are whole.
    ///
    /// # Errors
    /// If the store fails.
    fn blob_total_bytes(&mut self) -> Result<u64, Error> {
        Ok(self.row(TOTAL, &[], |row| row.u64("bytes of blobs"))?.unwrap_or(0))
    }

    /// Some of those that refer to a blob.
    ///
    /// # Errors
    /// If the store fails.
    fn blob_referrers(&mut self, sha256: &Sha256, limit: u32) -> Result<Vec<String>, Error> {
        const SQL: &str = "SELECT referrer FROM blob_references WHERE sha256 = $1 ORDER BY referrer LIMIT $2";
        self.rows(SQL, params![sha256, limit], |row| row.text("referrer"))
    }

    /// The blob that one referrer needs, if it needs one.
    ///
    /// # Errors
    /// If the store fails.
    fn blob_of(&mut self, referrer: &str) -> Result<Option<Sha256>, Error> {
        let sql = "SELECT sha256 FROM blob_references WHERE referrer = $1 ORDER BY sha256 LIMIT 1";
        self.row(sql, params![referrer], |row| row.sha256("blob"))
    }

    /// Some of those that nothing has referred to since before `before`.
    ///
    /// # Errors
    /// If the store fails.
    fn blob_unreferenced(&mut self, before: UnixMillis, limit: u32) -> Result<Vec<Sha256>, Error> {
        const SQL: &str = "SELECT sha256 FROM blobs WHERE unreferenced_since <= $1 AND state = 'here' \
                           ORDER BY unreferenced_since LIMIT $2";
        self.rows(SQL, params![before, limit], |row| row.sha256("blob"))
    }

    /// Some of those whose bytes are to be taken away: given up, or arriving for
    /// an upload that is no more.
    ///
    /// # Errors
    /// If the store fails.
    fn blob_leaving(&mut self, limit: u32) -> Result<Vec<Sha256>, Error> {
        const SQL: &str = "SELECT sha256 FROM blobs b WHERE state = 'leaving' OR (state = 'arriving' AND \
                           NOT EXISTS (SELECT 1 FROM blob_uploads u WHERE u.sha256 = b.sha256)) LIMIT $1";
        self.rows(SQL, params![limit], |row| row.sha256("blob"))
    }

    /// One upload.
    ///
    /// # Errors
    /// If the store fails.
    fn blob_upload_get(&mut self, id: UploadId) -> Result<Option<Upload>, Error> {
        self.row(UPLOAD, params![id], decode_upload)
    }

    /// How many uploads there are.
    ///
    /// # Errors
    /// If the store fails.
    fn blob_upload_count(&mut self) -> Result<u64, Error> {
        Ok(self.row("SELECT COUNT(*) FROM blob_uploads", &[], |row| row.u64("uploads"))?.unwrap_or(0))
    }

    /// Some of those whose time is over.
    ///
    /// # Errors
    /// If the store fails.
    fn blob_upload_expired(&mut self, now: UnixMillis, limit: u32) -> Result<Vec<UploadId>, Error> {
        const SQL: &str = "SELECT id FROM blob_uploads WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2";
        self.rows(SQL, params![now, limit], |row| row.parsed("upload id"))
    }
}

/// Writes blobs.
pub trait WriteBlobs: ReadBlobs + Writer {
    /// Adds an upload, or keeps one for longer.
    ///
    /// # Errors
    /// If the store fails.
    fn blob_upload_put(&mut self, upload: &Upload) -> Result<(), Error> {
        const SQL: &str = "INSERT INTO blob_uploads (id, sha256, size_bytes, created_at, created_by, expires_at) \
                           VALUES ($1, $2, $3, $4, $5, $6) \
                           ON CONFLICT (id) DO UPDATE SET expires_at = excluded.expires_at";
        let Upload { id, sha256, size_bytes, created_at, created_by, expires_at } = upload;
        let row = params![*id, sha256, *size_bytes, *created_at, created_by, *expires_at];
        self.execute(SQL, row).map(drop)
    }

    /// Forgets an upload.
    ///
    /// # Errors
    /// If the store fails.
    fn blob_upload_delete(&mut self, id: UploadId) -> Result<(), Error> {
        self.execute("DELETE FROM blob_uploads WHERE id = $1", params![id]).map(drop)
    }

    /// Forgets an upload whose time is over.
    ///
    /// # Errors
    /// If the store fails.
    fn blob_upload_expire(&mut self, id: UploadId, now: UnixMillis) -> Result<(), Error> {
        const SQL: &str = "DELETE FROM blob_uploads WHERE id = $1 AND expires_at <= $2";
        self.execute(SQL, params![id, now]).map(drop)
    }

    /// Gives up a blob that is arriving, if no upload brings it any more.
    ///
    /// # Errors
    /// If the store fails.
    fn blob_abandon(&mut self, sha256: &Sha256) -> Result<(), Error> {
        const SQL: &str = "UPDATE blobs SET state = 'leaving' WHERE sha256 = $1 AND state = 'arriving' \
                           AND NOT EXISTS (SELECT 1 FROM blob_uploads u WHERE u.sha256 = blobs.sha256)";
        self.execute(SQL, params![sha256]).map(drop)
    }

    /// Adds a blob.
    ///
    /// # Errors
    /// If it is there already, or the store fails.
    fn blob_insert(&mut self, blob: &Blob) -> Result<(), Error> {
        const SQL: &str = "INSERT INTO blobs (sha256, size_bytes, state, created_at, created_by, \
                           unreferenced_since) VALUES ($1, $2, $3, $4, $5, $6)";
        self.needs_audit("a blob");
        let row = params![
            &blob.sha256,
            blob.size_bytes,
            blob.state.as_str(),
            blob.created_at,
            &blob.created_by,
            blob.unreferenced_since,
        ];
        self.execute(SQL, row).map(drop)
    }

    /// Moves a blob from one state to another. `false`: it is not in the first.
    ///
    /// # Errors
    /// If the store fails.
    fn blob_move(&mut self, sha256: &Sha256, from: State, to: State) -> Result<bool, Error> {
        const SQL: &str = "UPDATE blobs SET state = $1 WHERE sha256 = $2 AND state = $3";
        Ok(self.execute(SQL, params![to.as_str(), sha256, from.as_str()])? > 0)
    }

    /// Makes someone else the one that brought a blob.
    ///
    /// # Errors
    /// If the store fails.
    fn blob_adopt(&mut self, sha256: &Sha256, created_by: &str) -> Result<(), Error> {
        const SQL: &str = "UPDATE blobs SET created_by = $1 WHERE sha256 = $2";
        self.needs_audit("who brought a blob");
        self.execute(SQL, params![created_by, sha256]).map(drop)
    }

    /// Starts anew the time for which a blob is kept without a referrer.
    ///
    /// # Errors
    /// If the store fails.
    fn blob_touch(&mut self, sha256: &Sha256, now: UnixMillis) -> Result<(), Error> {
        const SQL: &str = "UPDATE blobs SET unreferenced_since = $1 \
                           WHERE sha256 = $2 AND unreferenced_since < $1";
        self.execute(SQL, params![now, sha256]).map(drop)
    }

    /// Forgets a blob that is leaving.
    ///
    /// # Errors
    /// If the store fails.
    fn blob_forget(&mut self, sha256: &Sha256) -> Result<(), Error> {
        const SQL: &str = "DELETE FROM blobs WHERE sha256 = $1 AND state = 'leaving'";
        self.execute(SQL, params![sha256]).map(drop)
    }

    /// Writes down that something needs a blob, with the write of that thing.
    /// `false`: the blob is not here.
    ///
    /// # Errors
    /// If the store fails.
    fn blob_refer(&mut self, sha256: &Sha256, referrer: &str) -> Result<bool, Error> {
        const NEEDED: &str =
            "UPDATE blobs SET unreferenced_since = NULL WHERE sha256 = $1 AND state = 'here'";
        const SQL: &str = "INSERT INTO blob_references (sha256, referrer) VALUES ($1, $2) \
                           ON CONFLICT (sha256, referrer) DO NOTHING";
        if self.execute(NEEDED, params![sha256])? == 0 {
            return Ok(false);
        }
        self.execute(SQL, params![sha256, referrer])?;
        Ok(true)
    }

    /// Writes down that something needs no blob any more, with its end.
    ///
    /// # Errors
    /// If the store fails.
    fn blob_release(&mut self, referrer: &str, now: UnixMillis) -> Result<(), Error> {
        const FREED: &str = "UPDATE blobs SET unreferenced_since = $1 WHERE sha256 IN \
                             (SELECT sha256 FROM blob_references WHERE referrer = $2) AND NOT EXISTS \
                             (SELECT 1 FROM blob_references r WHERE r.sha256 = blobs.sha256 \
                             AND r.referrer <> $2)";
        self.execute(FREED, params![now, referrer])?;
        self.execute("DELETE FROM blob_references WHERE referrer = $1", params![referrer]).map(drop)
    }

    /// Writes down that commands need their files no more: those of operations that ended
    /// before a time, and those that are no more. At most `step`; answers how many.
    ///
    /// # Errors
    /// If the store fails.
    fn blob_release_files(&mut self, before: UnixMillis, step: u64, now: UnixMillis) -> Result<u64, Error> {
        // All that begin with "command/": the sign after the slash is the nought.
        const SQL: &str = "SELECT r.referrer FROM blob_references r \
                           LEFT JOIN commands c ON c.id = substr(r.referrer, 9) \
                           LEFT JOIN operations o ON o.id = c.operation_id \
                           WHERE r.referrer >= 'command/' AND r.referrer < 'command0' \
                           AND (c.id IS NULL OR o.ended_at < $1) LIMIT $2";
        let over = self.rows(SQL, params![before, step], |row| row.text("referrer"))?;
        for referrer in &over {
            self.blob_release(referrer, now)?;
        }
        Ok(over.len() as u64)
    }
}

fn decode(row: &mut Row) -> Result<Blob, Error> {
    Ok(Blob {
        sha256: row.sha256("blob")?,
        size_bytes: row.u64("size_bytes")?,
        state: row.word("state", State::parse)?,
        created_at: row.millis("created_at")?,
        created_by: row.text("created_by")?,
        unreferenced_since: row.opt_millis("unreferenced_since")?,
    })
}

fn decode_upload(row: &mut Row) -> Result<Upload, Error> {
    Ok(Upload {
        id: row.parsed("upload id")?,
        sha256: row.sha256("blob")?,
        size_bytes: row.u64("size_bytes")?,
        created_at: row.millis("created_at")?,
        created_by: row.text("created_by")?,
        expires_at: row.millis("expires_at")?,
    })
}

impl ReadBlobs for ReadTx<'_> {}
impl ReadBlobs for WriteTx<'_> {}
impl WriteBlobs for WriteTx<'_> {}
