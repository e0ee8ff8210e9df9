//! Releases of the agent, and what channels recommend.

use muster_common::clock::UnixMillis;
use muster_domain::release::{Channel, Release};

use crate::{
    changes::ChangeKind,
    engine::{Row, params},
    error::Error,
    tx::{ReadTx, Reader, WriteTx, Writer},
};

/// Reads releases and channels.
pub trait ReadReleases: Reader {
    /// One release.
    ///
    /// # Errors
    /// If the store fails.
    fn release_get(&mut self, version: &str) -> Result<Option<Release>, Error> {
        const SQL: &str =
            "SELECT version, sha256, published_at, withdrawn_at FROM releases WHERE version = $1";
        self.row(SQL, params![version], decode)
    }

    /// All that were ever published.
    ///
    /// # Errors
    /// If the store fails.
    fn release_all(&mut self) -> Result<Vec<Release>, Error> {
        const SQL: &str = "SELECT version, sha256, published_at, withdrawn_at FROM releases ORDER BY version";
        self.rows(SQL, &[], decode)
    }

    /// The bytes of one.
    ///
    /// # Errors
    /// If the store fails.
    fn release_payload(&mut self, version: &str) -> Result<Option<Vec<u8>>, Error> {
        let sql = "SELECT payload FROM releases WHERE version = $1";
        self.row(sql, params![version], |row| row.bytes("release payload"))
    }

    /// One channel.
    ///
    /// # Errors
    /// If the store fails.
    fn channel_get(&mut self, name: &str) -> Result<Option<Channel>, Error> {
        const SQL: &str = "SELECT name, version, updated_at, updated_by, revision FROM release_channels \
                           WHERE name = $1";
        self.row(SQL, params![name], decode_channel)
    }

    /// All channels, by name.
    ///
    /// # Errors
    /// If the store fails.
    fn channel_all(&mut self) -> Result<Vec<Channel>, Error> {
        const SQL: &str =
            "SELECT name, version, updated_at, updated_by, revision FROM release_channels ORDER BY name";
        self.rows(SQL, &[], decode_channel)
    }
}

/// Writes releases and channels.
pub trait WriteReleases: ReadReleases + Writer {
    /// Adds a release, or puts these bytes in the place of those that it had.
    ///
    /// # Errors
    /// If the store fails.
    fn release_put(&mut self, release: &Release, payload: &[u8]) -> Result<(), Error> {
        const SQL: &str = "INSERT INTO releases (version, sha256, payload, published_at, withdrawn_at) \
                           VALUES ($1, $2, $3, $4, $5) ON CONFLICT (version) DO UPDATE SET \
                           sha256 = excluded.sha256, payload = excluded.payload, \
                           withdrawn_at = excluded.withdrawn_at";
        self.needs_audit("a release");
        self.changed(ChangeKind::Release, release.version.clone());
        let row =
            params![&release.version, &release.sha256, payload, release.published_at, release.withdrawn_at,];
        self.execute(SQL, row).map(drop)
    }

    /// Writes down that a release is published no more.
    ///
    /// # Errors
    /// If the store fails.
    fn release_withdraw(&mut self, version: &str, now: UnixMillis) -> Result<(), Error> {
        const SQL: &str = "UPDATE releases SET withdrawn_at = $1 WHERE version = $2 AND withdrawn_at IS NULL";
        self.needs_audit("a release");
        self.changed(ChangeKind::Release, version.to_owned());
        self.execute(SQL, params![now, version]).map(drop)
    }

    /// Makes a channel, or puts this in the place of the one with its name. Its release must be
    /// there. Its revision becomes that of this write.
    ///
    /// # Errors
    /// If the store fails.
    fn channel_put(&mut self, channel: &Channel) -> Result<(), Error> {
        const SQL: &str = "INSERT INTO release_channels (name, version, updated_at, updated_by, revision) \
                           VALUES ($1, $2, $3, $4, $5) ON CONFLICT (name) DO UPDATE SET \
                           version = excluded.version, updated_at = excluded.updated_at, \
                           updated_by = excluded.updated_by, revision = excluded.revision";
        self.needs_audit("a channel");
        self.changed(ChangeKind::Release, format!("@{}", channel.name));
        let revision = self.own_revision();
        let row = params![&channel.name, &channel.version, channel.updated_at, &channel.updated_by, revision];
        self.execute(SQL, row).map(drop)
    }
}

fn decode(row: &mut Row) -> Result<Release, Error> {
    Ok(Release {
        version: row.text("release version")?,
        sha256: row.sha256("release hash")?,
        published_at: row.millis("published_at")?,
        withdrawn_at: row.opt_millis("withdrawn_at")?,
    })
}

fn decode_channel(row: &mut Row) -> Result<Channel, Error> {
    Ok(Channel {
        name: row.text("channel name")?,
        version: row.text("release version")?,
        updated_at: row.millis("updated_at")?,
        updated_by: row.text("updated_by")?,
        revision: row.u64("revision")?,
    })
}

impl ReadReleases for ReadTx<'_> {}
impl ReadReleases for WriteTx<'_> {}
impl WriteReleases for WriteTx<'_> {}
