//! Rollouts, and which nodes they have touched.

use muster_common::ids::{NodeId, RolloutId};
use muster_domain::{
    assignment::Touch,
    page::{Listed, Page},
    rollout::{Brake, Rollout},
};

use crate::{
    assignments::ReadAssignments,
    changes::ChangeKind,
    engine::{Row, json, params},
    error::Error,
    page,
    tx::{ReadTx, WriteTx, Writer},
};

/// Reads rollouts.
pub trait ReadRollouts: ReadAssignments {
    /// One rollout.
    ///
    /// # Errors
    /// If the store fails.
    fn rollout_get(&mut self, id: RolloutId) -> Result<Option<Rollout>, Error> {
        self.row("SELECT body, revision FROM rollouts WHERE id = $1", params![id], decode)
    }

    /// The rollout a caller has made under its own id of the request.
    ///
    /// # Errors
    /// If the store fails.
    fn rollout_by_request(&mut self, created_by: &str, request_id: &str) -> Result<Option<Rollout>, Error> {
        let sql = "SELECT body, revision FROM rollouts WHERE created_by = $1 AND request_id = $2";
        self.row(sql, params![created_by, request_id], decode)
    }

    /// All that are not over, oldest first.
    ///
    /// # Errors
    /// If the store fails.
    fn rollout_open_all(&mut self) -> Result<Vec<Rollout>, Error> {
        self.rows("SELECT body, revision FROM rollouts WHERE is_over = 0 ORDER BY id", &[], decode)
    }

    /// Those that are over and were written last, the newest first, at most so many.
    ///
    /// # Errors
    /// If the store fails.
    fn rollout_over_last(&mut self, limit: u32) -> Result<Vec<Rollout>, Error> {
        let sql = "SELECT body, revision FROM rollouts WHERE is_over = 1 ORDER BY revision DESC LIMIT $1";
        self.rows(sql, params![limit], decode)
    }

    /// One page of them, newest first; of one assignment, or of all.
    ///
    /// # Errors
    /// If the store fails.
    fn rollout_list(&mut self, page: &Page, assignment: Option<&str>) -> Result<Listed<Rollout>, Error> {
        let rows = match assignment {
            Some(assignment) => {
                let sql = "SELECT body, revision FROM rollouts WHERE assignment = $1 AND id < $2 \
                           ORDER BY id DESC LIMIT $3";
                self.rows(sql, params![assignment, page::before(page), page::limit(page)], decode)?
            }
            None => {
                let sql = "SELECT body, revision FROM rollouts WHERE id < $1 ORDER BY id DESC LIMIT $2";
                self.rows(sql, params![page::before(page), page::limit(page)], decode)?
            }
        };
        Ok(page::listed(page, rows, |rollout| rollout.id.to_string()))
    }

    /// Who stopped all rollouts.
    ///
    /// # Errors
    /// If the store fails.
    fn rollout_brake(&mut self) -> Result<Option<Brake>, Error> {
        let sql = "SELECT NULLIF(value, '') FROM meta WHERE name = 'rollout-brake'";
        Ok(self.row(sql, &[], |row| row.opt_json("rollout brake"))?.flatten())
    }
}

/// Writes rollouts.
pub trait WriteRollouts: ReadRollouts + Writer {
    /// Adds a rollout.
    ///
    /// # Errors
    /// If its id is there already, or its maker has used its request id before, or the store fails.
    fn rollout_insert(&mut self, rollout: &Rollout, request_id: Option<&str>) -> Result<(), Error> {
        const SQL: &str = "INSERT INTO rollouts (id, assignment, request_id, created_by, is_over, body, revision) \
                           VALUES ($1, $2, $3, $4, $5, $6, $7)";
        self.needs_audit("a rollout");
        self.changed(ChangeKind::Rollout, rollout.id.to_string());
        let (revision, body) = (self.own_revision(), json(rollout));
        let row = params![
            rollout.id,
            &rollout.assignment,
            request_id,
            &rollout.created_by,
            rollout.phase.is_over(),
            body,
            revision
        ];
        self.execute(SQL, row).map(drop)
    }

    /// Puts this in the place of the one with its id. Its revision becomes that of this write.
    ///
    /// # Errors
    /// If the store fails.
    fn rollout_update(&mut self, rollout: &Rollout) -> Result<(), Error> {
        self.needs_audit("a rollout");
        self.changed(ChangeKind::Rollout, rollout.id.to_string());
        let (revision, body) = (self.own_revision(), json(rollout));
        let sql = "UPDATE rollouts SET is_over = $1, body = $2, revision = $3 WHERE id = $4";
        self.execute(sql, params![rollout.phase.is_over(), body, revision, rollout.id]).map(drop)
    }

    /// A rollout has given something to a node. Whether there is such a node. The touch's
    /// revision becomes that of this write.
    ///
    /// # Errors
    /// If the store fails.
    fn touch_put(&mut self, node: NodeId, touch: &Touch) -> Result<bool, Error> {
        const SQL: &str = "INSERT INTO rollout_touches (node_id, assignment, touch, revision) \
                           SELECT $1, $2, $3, $4 WHERE EXISTS (SELECT 1 FROM nodes WHERE id = $1) \
                           ON CONFLICT (node_id, assignment) DO UPDATE SET touch = excluded.touch, \
                           revision = excluded.revision";
        let revision = self.own_revision();
        let found = self.execute(SQL, params![node, &touch.assignment, json(touch), revision])? > 0;
        if found {
            self.changed(ChangeKind::Node, node.to_string());
        }
        Ok(found)
    }

    /// Takes away, at most so many, what says nothing any more: what was given before an
    /// assignment gave something else to all, or by one that is no more. How many.
    ///
    /// # Errors
    /// If the store fails.
    fn touches_prune(&mut self, limit: u64) -> Result<u64, Error> {
        const ORPHANS: &str = "SELECT node_id, assignment FROM rollout_touches WHERE NOT EXISTS \
                               (SELECT 1 FROM assignments WHERE name = assignment) LIMIT $1";
        const VOID: &str = "SELECT node_id, assignment FROM rollout_touches \
                            WHERE assignment = $1 AND revision <= $2 LIMIT $3";
        let read = |row: &mut Row| Ok((row.parsed("node id")?, row.text("assignment")?));
        let mut void: Vec<(NodeId, String)> = self.rows(ORPHANS, params![limit], read)?;
        for assignment in self.assignment_all()? {
            let (until, left) = (assignment.staged.void_until, limit.saturating_sub(void.len() as u64));
            if until > 0 && left > 0 {
                void.extend(self.rows(VOID, params![&assignment.name, until, left], read)?);
            }
        }
        for (node, assignment) in &void {
            let sql = "DELETE FROM rollout_touches WHERE node_id = $1 AND assignment = $2";
            self.execute(sql, params![*node, assignment])?;
            self.changed(ChangeKind::Node, node.to_string());
        }
        Ok(void.len() as u64)
    }

    /// Stops all rollouts, or lets them go on.
    ///
    /// # Errors
    /// If the store fails.
    fn rollout_set_brake(&mut self, brake: Option<&Brake>) -> Result<(), Error> {
        self.needs_audit("the brake of all rollouts");
        self.changed(ChangeKind::Rollout, "brake".to_owned());
        let value = brake.map(json).unwrap_or_default();
        self.execute("UPDATE meta SET value = $1 WHERE name = 'rollout-brake'", params![value]).map(drop)
    }
}

fn decode(row: &mut Row) -> Result<Rollout, Error> {
    let rollout: Rollout = row.json("rollout")?;
    Ok(Rollout { revision: row.u64("revision")?, ..rollout })
}

impl ReadRollouts for ReadTx<'_> {}
impl ReadRollouts for WriteTx<'_> {}
impl WriteRollouts for WriteTx<'_> {}
