//! Assignments: which nodes get which item at which version.

mod nodes;
mod paths;

pub(super) use nodes::Nodes;

use muster_common::{ids::NodeId, reason::Reason};
use muster_domain::{
    access::{Reach, Scope},
    assignment::{Assignment, Staged, Target},
    audit::Note,
    effective::{self, Compiled, Index},
    facts::Facts,
    item::{MAX_WANTED, is_resource_name},
    labels::Labels,
    page::{Listed, Page},
};
use muster_store::{
    ReadAssignments as _, ReadBundles as _, ReadProfiles as _, ReadSecrets as _, WriteAssignments as _,
    WriteItemMarks as _, WriteTx,
};
use serde_json::json;

use super::{Actor, App, Error, check_etag, settings};

/// The paths that a bundle's bytes write.
pub type PathsOf = fn(&[u8]) -> Vec<String>;

/// Selectors tried at one go: some hundred microseconds.
const REST_AFTER: usize = 2000;

/// A node, as selectors see it.
pub(super) type Labelled = (NodeId, Labels, Facts);

/// What someone wants to assign.
#[derive(Debug, Clone)]
pub struct Wish {
    /// Name.
    pub name: String,
    /// As written.
    pub selector: String,
    /// Version 0 is the newest.
    pub target: Target,
    /// Higher wins.
    pub priority: i32,
    /// It gives nothing but to nodes that a rollout has touched.
    pub held: bool,
    /// Of the reading it was made from.
    pub etag: String,
}

impl App {
    /// Makes an assignment, or answers the equal one that is there.
    ///
    /// # Errors
    /// If it cannot be, its name is taken, or it contradicts another one.
    pub async fn create_assignment(
        &self,
        actor: &Actor,
        wish: Wish,
        validate_only: bool,
    ) -> Result<Assignment, Error> {
        self.put_assignment(actor, "assignments.create", wish, validate_only).await
    }

    /// Replaces selector, target and priority.
    ///
    /// # Errors
    /// If it does not exist, was changed since it was read, or contradicts another one.
    pub async fn update_assignment(
        &self,
        actor: &Actor,
        wish: Wish,
        validate_only: bool,
    ) -> Result<Assignment, Error> {
        self.put_assignment(actor, "assignments.update", wish, validate_only).await
    }

    async fn put_assignment(
        &self,
        actor: &Actor,
        action: &'static str,
        wish: Wish,
        validate_only: bool,
    ) -> Result<Assignment, Error> {
        if !is_resource_name(&wish.name) {
            let message = format!("{:?} does not match [a-z0-9]([-a-z0-9]{{0,61}}[a-z0-9])?", wish.name);
            return Err(Error::invalid("assignment.name", message));
        }
        super::selector(&wish.selector)?;
        let now = self.clock.now();
        let (by, reach, app) = (actor.principal.clone(), actor.scope.reach.clone(), self.clone());
        let creating = action == "assignments.create";
        self.commit(actor.stamp(action, now), move |tx| {
            let nodes = Nodes::of(&app);
            let before = tx.assignment_get(&wish.name)?;
            let mut after = Assignment {
                name: wish.name.clone(),
                selector: wish.selector.clone(),
                // Of whoever made it, for good: a change of it moves no node of others.
                scope: before.as_ref().map_or_else(|| reach.to_string(), |before| before.scope.clone()),
                target: fixed(tx, &wish.target, &reach)?,
                staged: Staged::default(),
                priority: wish.priority,
                created_at: before.as_ref().map_or(now, |before| before.created_at),
                updated_at: now,
                updated_by: by.clone(),
                revision: tx.revision(),
            };
            let is_ours = before.as_ref().is_none_or(|before| covers(&reach, before));
            match &before {
                Some(same) if is_ours && is_equal(same, &after) => return Ok(same.clone()),
                Some(before) if !creating && !is_ours => return Err(not_ours(before, &reach, &nodes)),
                Some(_) if creating => {
                    let message = format!("assignment {:?} exists with other content", wish.name);
                    return Err(Error::refused(Reason::AlreadyExists, message));
                }
                None if !creating => return Err(Error::not_found("assignment", &wish.name)),
                Some(before) => check_etag(&wish.etag, before.revision)?,
                None => {}
            }
            after = retargeted(after, before.as_ref(), wish.held)?;
            check_conflict(tx, &app, &after, &nodes)?;
            if validate_only {
                after.revision = before.map_or(0, |before| before.revision);
                return Ok(after);
            }
            tx.assignment_put(&after)?;
            // Nodes that lose the item by this have to see a newer generation, too.
            tx.item_mark(&after.target.item())?;
            if let Some(before) = before.as_ref().filter(|before| before.target.item() != after.target.item())
            {
                tx.item_mark(&before.target.item())?;
            }
            tx.audit(Note {
                subject: format!("assignment/{}", after.name),
                before: before.as_ref().map_or_else(String::new, shown),
                after: shown(&after),
                denied: false,
            })?;
            Ok(after)
        })
        .await
    }

    /// One assignment, and how many nodes of the scope it reaches. One that is of
    /// no concern to the scope is as if it were not there.
    ///
    /// # Errors
    /// If it does not exist.
    pub async fn assignment(&self, scope: &Scope, name: String) -> Result<(Assignment, usize), Error> {
        let missing = Error::not_found("assignment", &name);
        let found = self.store.read(move |tx| tx.assignment_get(&name).map_err(Error::from)).await?;
        self.shown(scope, found.into_iter().collect()).await.pop().ok_or(missing)
    }

    /// A page of assignments, and how many nodes of the scope each reaches. Those
    /// that are of no concern to the scope are left out: a page may be short.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn assignments(&self, scope: &Scope, page: Page) -> Result<Listed<(Assignment, usize)>, Error> {
        let listed = self.store.read(move |tx| tx.assignment_list(&page).map_err(Error::from)).await?;
        Ok(Listed { rows: self.shown(scope, listed.rows).await, next: listed.next })
    }

    async fn shown(&self, scope: &Scope, found: Vec<Assignment>) -> Vec<(Assignment, usize)> {
        let counts = self.reach(scope, &found).await;
        let concerns =
            |(assignment, count): &(Assignment, usize)| *count > 0 || covers(&scope.reach, assignment);
        found.into_iter().zip(counts).filter(concerns).collect()
    }

    /// Takes the item from its nodes.
    ///
    /// # Errors
    /// If it does not exist, its scope is wider than the caller's, or it was changed
    /// since it was read.
    pub async fn delete_assignment(&self, actor: &Actor, name: String, etag: String) -> Result<(), Error> {
        let (app, reach) = (self.clone(), actor.scope.reach.clone());
        self.commit(actor.stamp("assignments.delete", self.clock.now()), move |tx| {
            let before = tx.assignment_get(&name)?.ok_or_else(|| Error::not_found("assignment", &name))?;
            if !covers(&reach, &before) {
                return Err(not_ours(&before, &reach, &app.labelled()));
            }
            check_etag(&etag, before.revision)?;
            check_no_rollout(&before)?;
            tx.assignment_delete(&name)?;
            tx.item_mark(&before.target.item())?;
            tx.audit(Note {
                subject: format!("assignment/{name}"),
                before: shown(&before),
                ..Note::default()
            })?;
            Ok(())
        })
        .await
    }

    /// How many nodes of the scope each of these assignments reaches now: one look
    /// at the fleet for all of them, with rests in which others work.
    pub async fn reach(&self, scope: &Scope, assignments: &[Assignment]) -> Vec<usize> {
        let compiled: Vec<Option<Compiled>> =
            assignments.iter().map(|assignment| Compiled::new(assignment.clone()).ok()).collect();
        let mut counts = vec![0; compiled.len()];
        for nodes in self.fleet.ids().chunks(REST_AFTER / compiled.len().max(1) + 1) {
            for node in nodes {
                self.fleet.with(*node, |entry| {
                    if !scope.sees(&entry.node) {
                        return;
                    }
                    for (compiled, count) in compiled.iter().zip(&mut counts) {
                        let reaches = |it: &Compiled| it.reaches(&entry.node.labels, &entry.node.facts);
                        *count += usize::from(compiled.as_ref().is_some_and(reaches));
                    }
                });
            }
            tokio::task::yield_now().await;
        }
        counts
    }

    pub(super) fn labelled(&self) -> Vec<Labelled> {
        let mut nodes = Vec::with_capacity(self.fleet.len());
        self.fleet.for_each(|entry| {
            nodes.push((entry.node.id, entry.node.labels.clone(), entry.node.facts.clone()));
        });
        nodes
    }
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

fn check_no_rollout(assignment: &Assignment) -> Result<(), Error> {
    let Some(rollout) = assignment.staged.rollout else { return Ok(()) };
    let (name, id) = (&assignment.name, rollout);
    let message =
        format!("rollout {id} of assignment {name:?} is under way; wait, abort it, or roll it back");
    Err(Error::refused(Reason::StateConflict, message))
}

/// The target with its version fixed; it must exist. Who gives protected contents to a node
/// can read them there: only those may who can change the bundle itself.
pub(super) fn fixed(tx: &mut WriteTx<'_>, target: &Target, reach: &Reach) -> Result<Target, Error> {
    match target {
        Target::Bundle { name, version } => {
            let bundle = tx.bundle_get(name, (*version > 0).then_some(*version))?;
            let bundle = bundle.ok_or_else(|| Error::not_found("bundle", name))?;
            if !reach.is_all() && !tx.secret_uses(name, bundle.version)?.is_empty() {
                let message =
                    format!("bundle {name:?} has protected contents: giving it needs a binding on \"*\"");
                return Err(Error::refused(Reason::PermissionDenied, message));
            }
            Ok(Target::Bundle { name: bundle.name, version: bundle.version })
        }
        Target::Settings { profile, version } => {
            let found = tx.profile_get(profile, (*version > 0).then_some(*version))?;
            let found = found.ok_or_else(|| Error::not_found("settings profile", profile))?;
            Ok(Target::Settings { profile: found.name, version: found.version })
        }
    }
}

/// Whether all that an assignment can reach is in reach of a caller. One whose
/// scope cannot be read may reach everything.
pub(super) fn covers(reach: &Reach, assignment: &Assignment) -> bool {
    reach.covers(&assignment.scope.parse().unwrap_or_else(|_| Reach::all()))
}

/// One that reaches no node of the caller's is as if it were not there.
pub(super) fn not_ours(assignment: &Assignment, reach: &Reach, nodes: &[Labelled]) -> Error {
    let name = &assignment.name;
    let compiled = Compiled::new(assignment.clone()).ok();
    let reaches = |(_, labels, facts): &Labelled| {
        reach.matches(labels, facts) && compiled.as_ref().is_some_and(|it| it.reaches(labels, facts))
    };
    if !nodes.iter().any(reaches) {
        return Error::not_found("assignment", name);
    }
    let message = format!("assignment {name:?} may reach nodes outside of your scope");
    Error::refused(Reason::PermissionDenied, message)
}

fn is_equal(a: &Assignment, b: &Assignment) -> bool {
    a.selector == b.selector && a.target == b.target && a.priority == b.priority
}

pub(super) fn check_conflict(
    tx: &mut WriteTx<'_>,
    app: &App,
    assignment: &Assignment,
    nodes: &Nodes<'_>,
) -> Result<(), Error> {
    let compiled =
        |assignment: Assignment| Compiled::new(assignment).map_err(|error| super::invalid_selector(&error));
    let new = compiled(assignment.clone())?;
    let others =
        tx.assignment_all()?.into_iter().filter_map(|other| Compiled::new(other).ok()).collect::<Vec<_>>();
    check_room(&new, &others, nodes)?;
    paths::check(tx, app, &new, &others, nodes)?;
    let profiles = settings::values_of(tx, others.iter().chain([&new]))?;
    let profile = |name: &str, version| profiles.get(&(name.to_owned(), version));
    // Not before the first rival is found.
    let nodes = std::iter::once(nodes).flat_map(|nodes| nodes.iter());
    let nodes = nodes.map(|(id, labels, facts)| (*id, labels, facts));
    match effective::conflict(&new, &others, nodes, profile) {
        Some(conflict) => Err(Error::refused(Reason::Conflict, conflict.to_string())),
        None => Ok(()),
    }
}

/// Refuses what would give a node more items than it can have. Labels may still
/// lead there later; then the first ones count, in the order of their names.
fn check_room(new: &Compiled, others: &[Compiled], nodes: &Nodes<'_>) -> Result<(), Error> {
    if others.len() < MAX_WANTED {
        return Ok(()); // with this one there are not more than that
    }
    let others = others.iter().filter(|other| other.assignment.name != new.assignment.name);
    let all: Vec<&Compiled> = others.chain([new]).collect();
    let index = Index::of(all.iter().map(|compiled| &compiled.selector));
    if index.most() <= MAX_WANTED {
        return Ok(()); // not one node has to be looked at
    }
    for (id, labels, facts) in nodes.iter() {
        if new.reaches(labels, facts) {
            let near = index.near(labels, facts).map(|place| all[place]);
            let count = effective::winners(labels, facts, &[], near).len();
            if count > MAX_WANTED {
                let message = format!("node {id} would have {count} items; a node has at most {MAX_WANTED}");
                return Err(Error::refused(Reason::TooLarge, message));
            }
        }
    }
    Ok(())
}

fn shown(assignment: &Assignment) -> String {
    let target = match &assignment.target {
        Target::Bundle { name, version } => json!({ "bundle": name, "version": version }),
        Target::Settings { profile, version } => json!({ "settings": profile, "version": version }),
    };
    json!({
        "selector": assignment.selector,
        "scope": assignment.scope,
        "priority": assignment.priority,
        "target": target,
        "held": assignment.staged.held,
    })
    .to_string()
}
