//! What becomes of an assignment that somebody writes: decided within the write, by what
//! is stored then.

use muster_common::{clock::UnixMillis, reason::Reason};
use muster_domain::{
    access::Reach,
    assignment::{Assignment, MAX_EXCLUSIONS, Staged, Target},
    audit::Note,
    item::is_resource_name,
};
use muster_store::{ReadAssignments as _, WriteAssignments as _, WriteItemMarks as _, WriteTx};

use super::{Nodes, Rivals, Wish, check_no_rollout, covers, fixed, not_ours, rivals, shown};
use crate::app::{Actor, App, Error, check_etag, selectors};

/// Whether it may, or must, be there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    /// It is new, or equal.
    Create,
    /// It is there.
    Update,
    /// As it comes: for a preview.
    Either,
}

impl How {
    pub(super) const fn action(self) -> &'static str {
        match self {
            Self::Create => "assignments.create",
            Self::Update | Self::Either => "assignments.update",
        }
    }
}

/// A wish, with all that is needed to judge it.
pub(super) struct Put {
    wish: Wish,
    how: How,
    by: String,
    reach: Reach,
    now: UnixMillis,
    app: App,
}

/// What a wish comes to.
pub(super) enum Decided {
    /// It is there just so.
    Same(Assignment),
    /// It is to be written.
    New { before: Option<Box<Assignment>>, after: Assignment },
}

impl Put {
    /// A wish that can be read.
    pub(super) fn new(app: &App, actor: &Actor, how: How, wish: Wish) -> Result<Self, Error> {
        if !is_resource_name(&wish.name) {
            let message = format!("{:?} does not match [a-z0-9]([-a-z0-9]{{0,61}}[a-z0-9])?", wish.name);
            return Err(Error::invalid("assignment.name", message));
        }
        if wish.exclusions.len() > MAX_EXCLUSIONS {
            let message = format!("{} exclusions; at most {MAX_EXCLUSIONS}", wish.exclusions.len());
            let (reason, field) = (Reason::TooLarge, "exclusions".to_owned());
            return Err(Error::Invalid { reason, field, message });
        }
        selectors::written("selector", &wish.selector)?;
        for (n, exclusion) in wish.exclusions.iter().enumerate() {
            selectors::written(&format!("exclusions[{n}]"), exclusion)?;
        }
        Ok(Self {
            wish,
            how,
            by: actor.principal.clone(),
            reach: actor.scope.reach.clone(),
            now: app.clock.now(),
            app: app.clone(),
        })
    }

    pub(super) fn decide(&self, tx: &mut WriteTx<'_>) -> Result<Decided, Error> {
        let (groups, nodes) = (selectors::groups(tx)?, Nodes::of(&self.app));
        let before = tx.assignment_get(&self.wish.name)?;
        let after = self.after(tx, before.as_ref())?;
        let is_ours = before.as_ref().is_none_or(|before| covers(&self.reach, before));
        match &before {
            Some(same) if is_ours && self.is_equal(same, &after) => return Ok(Decided::Same(same.clone())),
            Some(_) if self.how == How::Create => {
                let message = format!("assignment {:?} exists with other content", self.wish.name);
                return Err(Error::refused(Reason::AlreadyExists, message));
            }
            Some(before) if !is_ours => return Err(not_ours(before, &groups, &self.reach, &nodes)),
            Some(before) => check_etag(&self.wish.etag, before.revision)?,
            None if self.how == How::Update => {
                return Err(Error::not_found("assignment", &self.wish.name));
            }
            None => {}
        }
        let after = retargeted(after, before.as_ref(), self.wish.held)?;
        let new = rivals::compiled(&after, &groups)?;
        Rivals::read(tx, &self.app, &groups, Some(&new))?.check(tx, &new, &nodes)?;
        Ok(Decided::New { before: before.map(Box::new), after })
    }

    fn after(&self, tx: &mut WriteTx<'_>, before: Option<&Assignment>) -> Result<Assignment, Error> {
        let wish = &self.wish;
        Ok(Assignment {
            name: wish.name.clone(),
            selector: wish.selector.clone(),
            exclusions: wish.exclusions.clone(),
            // Of whoever made it, for good: a change of it moves no node of others.
            scope: before.map_or_else(|| self.reach.to_string(), |before| before.scope.clone()),
            target: match before {
                // It may have been withdrawn since: that keeps nobody from mending the rest.
                Some(Assignment { target: same @ Target::Release { .. }, .. }) if *same == wish.target => {
                    same.clone()
                }
                _ => fixed(tx, &wish.target, &self.reach)?,
            },
            staged: Staged::default(),
            priority: wish.priority,
            created_at: before.map_or(self.now, |before| before.created_at),
            updated_at: self.now,
            updated_by: self.by.clone(),
            revision: tx.revision(),
        })
    }

    fn is_equal(&self, a: &Assignment, b: &Assignment) -> bool {
        let is_held_alike = self.how != How::Create || a.staged.held == self.wish.held;
        is_held_alike
            && a.selector == b.selector
            && a.exclusions == b.exclusions
            && a.target == b.target
            && a.priority == b.priority
    }
}

/// Stores what was decided.
pub(super) fn write(
    tx: &mut WriteTx<'_>,
    before: Option<&Assignment>,
    after: &Assignment,
    traceparent: &str,
) -> Result<(), Error> {
    tx.assignment_put(after)?;
    // Nodes that lose the item by this have to see a newer generation, too.
    tx.item_mark_in(&after.target.item(), traceparent)?;
    if let Some(before) = before.filter(|before| before.target.item() != after.target.item()) {
        tx.item_mark_in(&before.target.item(), traceparent)?;
    }
    tx.audit(Note {
        subject: format!("assignment/{}", after.name),
        before: before.map_or_else(String::new, shown),
        after: shown(after),
        denied: false,
    })?;
    Ok(())
}

/// With another target all its nodes get that at once, and nothing is left of rollouts.
/// One that is held stays so: only a rollout brings what it names to anybody.
fn retargeted(after: Assignment, before: Option<&Assignment>, held: bool) -> Result<Assignment, Error> {
    if let Some(same) = before.filter(|before| before.target == after.target) {
        return Ok(Assignment { staged: same.staged.clone(), ..after });
    }
    before.map_or(Ok(()), check_no_rollout)?;
    let held = before.map_or(held, |before| before.staged.held);
    Ok(after.given((!held).then(|| after.target.clone()), after.revision))
}
