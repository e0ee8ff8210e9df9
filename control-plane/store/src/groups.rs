//! Selectors with a name.

use muster_domain::{
    group::Group,
    page::{Listed, Page},
};

use crate::{
    changes::ChangeKind,
    engine::{Row, params},
    error::Error,
    page,
    tx::{ReadTx, Reader, WriteTx, Writer},
};

/// Reads groups.
pub trait ReadGroups: Reader {
    /// One group.
    ///
    /// # Errors
    /// If the store fails.
    fn group_get(&mut self, name: &str) -> Result<Option<Group>, Error> {
        const SQL: &str = "SELECT name, selector, description, created_at, updated_at, updated_by, revision \
                           FROM node_groups WHERE name = $1";
        self.row(SQL, params![name], decode)
    }

    /// All groups, by name.
    ///
    /// # Errors
    /// If the store fails.
    fn group_all(&mut self) -> Result<Vec<Group>, Error> {
        const SQL: &str = "SELECT name, selector, description, created_at, updated_at, updated_by, revision \
                           FROM node_groups ORDER BY name";
        self.rows(SQL, &[], decode)
    }

    /// One page of them, by name.
    ///
    /// # Errors
    /// If the store fails.
    fn group_list(&mut self, page: &Page) -> Result<Listed<Group>, Error> {
        const SQL: &str = "SELECT name, selector, description, created_at, updated_at, updated_by, revision \
                           FROM node_groups WHERE name > $1 ORDER BY name LIMIT $2";
        let rows = self.rows(SQL, params![page::after(page), page::limit(page)], decode)?;
        Ok(page::listed(page, rows, |group| group.name.clone()))
    }
}

/// Writes groups.
pub trait WriteGroups: ReadGroups + Writer {
    /// Makes a group, or puts this in the place of the one with its name. Its
    /// revision becomes that of this write.
    ///
    /// # Errors
    /// If the store fails.
    fn group_put(&mut self, group: &Group) -> Result<(), Error> {
        const SQL: &str = "INSERT INTO node_groups (name, selector, description, created_at, updated_at, \
                           updated_by, revision) \
                           VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (name) DO UPDATE SET \
                           selector = excluded.selector, description = excluded.description, \
                           created_at = excluded.created_at, updated_at = excluded.updated_at, \
                           updated_by = excluded.updated_by, revision = excluded.revision";
        self.needs_audit("a group");
        self.changed(ChangeKind::Group, group.name.clone());
        let revision = self.own_revision();
        let row = params![
            &group.name,
            &group.selector,
            &group.description,
            group.created_at,
            group.updated_at,
            &group.updated_by,
            revision,
        ];
        self.execute(SQL, row).map(drop)
    }

    /// Deletes a group. Whether there was one.
    ///
    /// # Errors
    /// If the store fails.
    fn group_delete(&mut self, name: &str) -> Result<bool, Error> {
        let found = self.execute("DELETE FROM node_groups WHERE name = $1", params![name])? > 0;
        if found {
            self.needs_audit("a group");
            self.changed(ChangeKind::Group, name.to_owned());
        }
        Ok(found)
    }
}

fn decode(row: &mut Row) -> Result<Group, Error> {
    Ok(Group {
        name: row.text("group name")?,
        selector: row.text("selector")?,
        description: row.text("description")?,
        created_at: row.millis("created_at")?,
        updated_at: row.millis("updated_at")?,
        updated_by: row.text("updated_by")?,
        revision: row.u64("revision")?,
    })
}

impl ReadGroups for ReadTx<'_> {}
impl ReadGroups for WriteTx<'_> {}
impl WriteGroups for WriteTx<'_> {}
