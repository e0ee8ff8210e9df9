//! Profiles of the agents' own options.

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

/// Reads profiles.
pub trait ReadProfiles: Reader {
    /// One profile.
    ///
    /// # Errors
    /// If the store fails.
    fn profile_get(&mut self, name: &str) -> Result<Option<Profile>, Error> {
        const SQL: &str =
            "SELECT name, options, updated_at, updated_by, revision FROM profiles WHERE name = $1";
        self.row(SQL, params![name], decode)
    }

    /// All profiles, by name.
    ///
    /// # Errors
    /// If the store fails.
    fn profile_all(&mut self) -> Result<Vec<Profile>, Error> {
        const SQL: &str =
            "SELECT name, options, updated_at, updated_by, revision FROM profiles ORDER BY name";
        self.rows(SQL, &[], decode)
    }

    /// One page of them, by name.
    ///
    /// # Errors
    /// If the store fails.
    fn profile_list(&mut self, page: &Page) -> Result<Listed<Profile>, Error> {
        const SQL: &str = "SELECT name, options, updated_at, updated_by, revision FROM profiles \
                           WHERE name > $1 ORDER BY name LIMIT $2";
        let rows = self.rows(SQL, params![page::after(page), page::limit(page)], decode)?;
        Ok(page::listed(page, rows, |profile| profile.name.clone()))
    }
}

/// Writes profiles.
pub trait WriteProfiles: ReadProfiles + Writer {
    /// Makes a profile, or puts this in the place of the one with its name.
    /// Its revision becomes that of this write.
    ///
    /// # Errors
    /// If the store fails.
    fn profile_put(&mut self, profile: &Profile) -> Result<(), Error> {
        const SQL: &str = "INSERT INTO profiles (name, options, updated_at, updated_by, revision) \
                           VALUES ($1, $2, $3, $4, $5) ON CONFLICT (name) DO UPDATE SET \
                           options = excluded.options, updated_at = excluded.updated_at, \
                           updated_by = excluded.updated_by, revision = excluded.revision";
        self.needs_audit("a settings profile");
        self.changed(ChangeKind::Profile, profile.name.clone());
        let revision = self.own_revision();
        let options = json(&profile.values);
        let row = params![&profile.name, options, profile.updated_at, &profile.updated_by, revision];
        self.execute(SQL, row).map(drop)
    }

    /// Deletes a profile. Whether there was one.
    ///
    /// # Errors
    /// If the store fails.
    fn profile_delete(&mut self, name: &str) -> Result<bool, Error> {
        let found = self.execute("DELETE FROM profiles WHERE name = $1", params![name])? > 0;
        if found {
            self.needs_audit("a settings profile");
            self.changed(ChangeKind::Profile, name.to_owned());
        }
        Ok(found)
    }
}

fn decode(row: &mut Row) -> Result<Profile, Error> {
    Ok(Profile {
        name: row.text("profile name")?,
        values: row.json("profile options")?,
        updated_at: row.millis("updated_at")?,
        updated_by: row.text("updated_by")?,
        revision: row.u64("revision")?,
    })
}

impl ReadProfiles for ReadTx<'_> {}
impl ReadProfiles for WriteTx<'_> {}
impl WriteProfiles for WriteTx<'_> {}
