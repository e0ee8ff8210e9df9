//! Which nodes get which item.

use muster_domain::{
    assignment::{Assignment, Target},
    page::{Listed, Page},
};

use crate::{
    changes::ChangeKind,
    engine::{Row, json, params},
    error::Error,
    page,
    tx::{ReadTx, Reader, WriteTx, Writer},
};

const BY_NAME: &str = "SELECT name, selector, exclusions, scope, target, target_name, target_version, staged, priority, created_at, updated_at, \
                       updated_by, revision FROM assignments WHERE name = $1";
const ALL: &str = "SELECT name, selector, exclusions, scope, target, target_name, target_version, staged, priority, created_at, updated_at, \
                   updated_by, revision FROM assignments ORDER BY name";
const PAGE: &str = "SELECT name, selector, exclusions, scope, target, target_name, target_version, staged, priority, created_at, updated_at, \
                    updated_by, revision FROM assignments WHERE name > $1 ORDER BY name LIMIT $2";

/// Reads assignments.
pub trait ReadAssignments: Reader {
    /// One assignment.
    ///
    /// # Errors
    /// If the store fails.
    fn assignment_get(&mut self, name: &str) -> Result<Option<Assignment>, Error> {
        self.row(BY_NAME, params![name], decode)
    }

    /// All assignments, by name.
    ///
    /// # Errors
    /// If the store fails.
    fn assignment_all(&mut self) -> Result<Vec<Assignment>, Error> {
        self.rows(ALL, &[], decode)
    }

    /// One page of them, by name.
    ///
    /// # Errors
    /// If the store fails.
    fn assignment_list(&mut self, page: &Page) -> Result<Listed<Assignment>, Error> {
        let rows = self.rows(PAGE, params![page::after(page), page::limit(page)], decode)?;
        Ok(page::listed(page, rows, |assignment| assignment.name.clone()))
    }
}

/// Writes assignments.
pub trait WriteAssignments: ReadAssignments + Writer {
    /// Makes an assignment, or puts this in the place of the one with its
    /// name. Its revision becomes that of this write.
    ///
    /// # Errors
    /// If the store fails.
    fn assignment_put(&mut self, assignment: &Assignment) -> Result<(), Error> {
        const SQL: &str = "INSERT INTO assignments (name, selector, exclusions, scope, target, target_name, \
                           target_version, staged, priority, created_at, updated_at, updated_by, revision) \
                           VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) \
                           ON CONFLICT (name) DO UPDATE SET \
                           selector = excluded.selector, exclusions = excluded.exclusions, \
                           scope = excluded.scope, target = excluded.target, \
                           target_name = excluded.target_name, target_version = excluded.target_version, \
                           staged = excluded.staged, \
                           priority = excluded.priority, created_at = excluded.created_at, \
                           updated_at = excluded.updated_at, updated_by = excluded.updated_by, \
                           revision = excluded.revision";
        self.needs_audit("an assignment");
        self.changed(ChangeKind::Assignment, assignment.name.clone());
        let revision = self.own_revision();
        let (kind, name, version) = match &assignment.target {
            Target::Bundle { name, version } => ("bundle", name, *version),
            Target::Settings { profile, version } => ("settings", profile, *version),
            Target::Extension { name, version } => ("extension", name, *version),
            Target::Release { version } => ("release", version, 0),
        };
        let row = params![
            &assignment.name,
            &assignment.selector,
            json(&assignment.exclusions),
            &assignment.scope,
            kind,
            name,
            version,
            json(&assignment.staged),
            assignment.priority,
            assignment.created_at,
            assignment.updated_at,
            &assignment.updated_by,
            revision,
        ];
        self.execute(SQL, row).map(drop)
    }

    /// Deletes an assignment. Whether there was one.
    ///
    /// # Errors
    /// If the store fails.
    fn assignment_delete(&mut self, name: &str) -> Result<bool, Error> {
        let found = self.execute("DELETE FROM assignments WHERE name = $1", params![name])? > 0;
        if found {
            self.needs_audit("an assignment");
            self.changed(ChangeKind::Assignment, name.to_owned());
        }
        Ok(found)
    }
}

fn decode(row: &mut Row) -> Result<Assignment, Error> {
    Ok(Assignment {
        name: row.text("assignment name")?,
        selector: row.text("selector")?,
        exclusions: row.json("exclusions")?,
        scope: row.text("scope")?,
        target: target(row)?,
        staged: row.json("staged")?,
        priority: row.i32("priority")?,
        created_at: row.millis("created_at")?,
        updated_at: row.millis("updated_at")?,
        updated_by: row.text("updated_by")?,
        revision: row.u64("revision")?,
    })
}

fn target(row: &mut Row) -> Result<Target, Error> {
    let (kind, name, version) = (row.text("target")?, row.text("target name")?, row.u64("target version")?);
    match kind.as_str() {
        "bundle" => Ok(Target::Bundle { name, version }),
        "settings" => Ok(Target::Settings { profile: name, version }),
        "extension" => Ok(Target::Extension { name, version }),
        "release" => Ok(Target::Release { version: name }),
        _ => Err(Error::row("target", kind)),
    }
}

impl ReadAssignments for ReadTx<'_> {}
impl ReadAssignments for WriteTx<'_> {}
impl WriteAssignments for WriteTx<'_> {}
