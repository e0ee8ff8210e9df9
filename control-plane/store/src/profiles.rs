//! Profiles of the agents' own options, in versions.

use muster_domain::{
    page::{Listed, Page},
    settings::Profile,
};

use crate::{
    changes::ChangeKind,
    engine::{Row, json, params},
    error::Error,
    page,
    tx::{ReadTx, Reader, WriteTx, Writer},
};

const BY_VERSION: &str = "SELECT name, version, options, created_at, created_by, revision FROM profile_versions \
                          WHERE name = $1 AND version = $2";
const NEWEST: &str = "SELECT name, version, options, created_at, created_by, revision FROM profile_versions \
                      WHERE name = $1 ORDER BY version DESC LIMIT 1";
const ALL: &str = "SELECT name, version, options, created_at, created_by, revision FROM profile_versions \
                   ORDER BY name, version DESC";
const PAGE: &str = "SELECT name, version, options, created_at, created_by, revision FROM profile_versions \
                    WHERE name > $1 OR (name = $1 AND version < $2) ORDER BY name, version DESC LIMIT $3";
const PAGE_OF_NAME: &str = "SELECT name, version, options, created_at, created_by, revision FROM profile_versions \
                            WHERE name = $1 AND version < $2 ORDER BY version DESC LIMIT $3";

/// Reads profiles.
pub trait ReadProfiles: Reader {
    /// One version of a profile; `None`: the newest.
    ///
    /// # Errors
    /// If the store fails.
    fn profile_get(&mut self, name: &str, version: Option<u64>) -> Result<Option<Profile>, Error> {
        match version {
            Some(version) => self.row(BY_VERSION, params![name, version], decode),
            None => self.row(NEWEST, params![name], decode),
        }
    }

    /// All versions of all profiles, by name, newest first.
    ///
    /// # Errors
    /// If the store fails.
    fn profile_all(&mut self) -> Result<Vec<Profile>, Error> {
        self.rows(ALL, &[], decode)
    }

    /// One page of them, of one name or of all: by name, newest first.
    ///
    /// # Errors
    /// If the page's key is none of this list, or the store fails.
    fn profile_list(&mut self, page: &Page, name: Option<&str>) -> Result<Listed<Profile>, Error> {
        page::of_versions(self, page, name, (PAGE, PAGE_OF_NAME), (decode, key_of))
    }

    /// The number for the next version of a name: never one that was given before.
    ///
    /// # Errors
    /// If the store fails.
    fn profile_next_version(&mut self, name: &str) -> Result<u64, Error> {
        let sql = "SELECT last_version FROM profile_names WHERE name = $1";
        let last = self.row(sql, params![name], |row| row.u64("last version"))?;
        Ok(last.unwrap_or(0) + 1)
    }
}

/// Writes profiles.
pub trait WriteProfiles: ReadProfiles + Writer {
    /// Adds a version. Its revision becomes that of this write.
    ///
    /// # Errors
    /// If this version is there already, or the store fails.
    fn profile_insert(&mut self, profile: &Profile) -> Result<(), Error> {
        const PROFILE: &str = "INSERT INTO profile_versions (name, version, options, created_at, created_by, revision) \
                               VALUES ($1, $2, $3, $4, $5, $6)";
        const NAME: &str = "INSERT INTO profile_names (name, last_version) VALUES ($1, $2) \
                            ON CONFLICT (name) DO UPDATE SET last_version = excluded.last_version \
                            WHERE excluded.last_version > profile_names.last_version";
        self.needs_audit("a settings profile");
        self.changed(ChangeKind::Profile, key_of(profile));
        let (revision, options) = (self.own_revision(), json(&profile.values));
        let row = params![
            &profile.name,
            profile.version,
            options,
            profile.created_at,
            &profile.created_by,
            revision,
        ];
        self.execute(PROFILE, row)?;
        self.put(NAME, params![&profile.name, profile.version])
    }

    /// Deletes one version, or all versions of a name. How many there were.
    ///
    /// # Errors
    /// If the store fails.
    fn profile_delete(&mut self, name: &str, version: Option<u64>) -> Result<u64, Error> {
        let versions = match version {
            Some(version) => vec![version],
            None => {
                let sql = "SELECT version FROM profile_versions WHERE name = $1";
                self.rows(sql, params![name], |row| row.u64("profile version"))?
            }
        };
        let mut deleted = 0;
        for version in versions {
            let sql = "DELETE FROM profile_versions WHERE name = $1 AND version = $2";
            if self.execute(sql, params![name, version])? > 0 {
                deleted += 1;
                self.needs_audit("a settings profile");
                self.changed(ChangeKind::Profile, page::version(name, version));
            }
        }
        Ok(deleted)
    }
}

fn key_of(profile: &Profile) -> String {
    page::version(&profile.name, profile.version)
}

fn decode(row: &mut Row) -> Result<Profile, Error> {
    Ok(Profile {
        name: row.text("profile name")?,
        version: row.u64("profile version")?,
        values: row.json("profile options")?,
        created_at: row.millis("created_at")?,
        created_by: row.text("created_by")?,
        revision: row.u64("revision")?,
    })
}

impl ReadProfiles for ReadTx<'_> {}
impl ReadProfiles for WriteTx<'_> {}
impl WriteProfiles for WriteTx<'_> {}
