//! Assignments: which nodes get which item at which version. What becomes of one that is
//! written is in `put`, what it is held against in `rivals`.

mod nodes;
mod paths;
mod put;
mod rivals;

pub(super) use nodes::Nodes;

use muster_common::{ids::NodeId, reason::Reason};
use muster_domain::{
    access::{Reach, Scope},
    assignment::{Assignment, Target},
    audit::Note,
    effective::Compiled,
    facts::Known,
    labels::{Groups, Labels},
    page::{Listed, Page},
};
use muster_store::{
    ReadAssignments as _, ReadBundles as _, ReadExtensions as _, ReadProfiles as _, ReadSecrets as _,
    WriteAssignments as _, WriteItemMarks as _, WriteTx,
};
use serde_json::json;

use put::{Decided, How, Put};
pub(super) use rivals::{Rivals, compiled};

use super::{
    Actor, App, Error, check_etag,
    preview::{Change, Preview},
    selectors,
};

/// The paths that a bundle's bytes write.
pub type PathsOf = fn(&[u8]) -> Vec<String>;

/// Selectors tried at one go: some hundred microseconds.
const REST_AFTER: usize = 2000;

/// A node, as selectors see it.
pub(super) type Labelled = (NodeId, Labels, Known);

/// What someone wants to assign.
#[derive(Debug, Clone)]
pub struct Wish {
    /// Name.
    pub name: String,
    /// As written.
    pub selector: String,
    /// Selectors, as written.
    pub exclusions: Vec<String>,
    /// A bundle's version 0 is the newest.
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
        self.put_assignment(actor, How::Create, wish, validate_only).await
    }

    /// Replaces selector, exclusions, target and priority.
    ///
    /// # Errors
    /// If it does not exist, was changed since it was read, or contradicts another one.
    pub async fn update_assignment(
        &self,
        actor: &Actor,
        wish: Wish,
        validate_only: bool,
    ) -> Result<Assignment, Error> {
        self.put_assignment(actor, How::Update, wish, validate_only).await
    }

    /// What an assignment would do that was created, or updated if it is there.
    ///
    /// # Errors
    /// As the change itself.
    pub async fn preview_assignment(
        &self,
        actor: &Actor,
        wish: Wish,
    ) -> Result<(Assignment, Preview), Error> {
        let after = self.put_assignment(actor, How::Either, wish, true).await?;
        let change = Change { put: vec![after.clone()], ..Change::default() };
        Ok((after, self.preview_at_once(&actor.scope, &change).await?))
    }

    /// What the end of an assignment would do.
    ///
    /// # Errors
    /// As the deletion itself.
    pub async fn preview_deletion(
        &self,
        actor: &Actor,
        name: String,
    ) -> Result<(Assignment, Preview), Error> {
        let (app, reach) = (self.clone(), actor.scope.reach.clone());
        let change = Change { delete: Some(name.clone()), ..Change::default() };
        let stamp = actor.stamp("assignments.delete", self.clock.now());
        let found = self.commit(stamp, move |tx| deletable(tx, &app, &reach, &name, "")).await?;
        Ok((found, self.preview_at_once(&actor.scope, &change).await?))
    }

    async fn put_assignment(
        &self,
        actor: &Actor,
        how: How,
        wish: Wish,
        validate_only: bool,
    ) -> Result<Assignment, Error> {
        let (put, traceparent) = (Put::new(self, actor, how, wish)?, actor.traceparent());
        self.commit(actor.stamp(how.action(), self.clock.now()), move |tx| match put.decide(tx)? {
            Decided::Same(same) => Ok(same),
            Decided::New { before, after } if validate_only => {
                Ok(Assignment { revision: before.map_or(0, |before| before.revision), ..after })
            }
            Decided::New { before, after } => {
                put::write(tx, before.as_deref(), &after, &traceparent)?;
                Ok(after)
            }
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

    pub(super) async fn shown(&self, scope: &Scope, found: Vec<Assignment>) -> Vec<(Assignment, usize)> {
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
        let (app, reach, traceparent) = (self.clone(), actor.scope.reach.clone(), actor.traceparent());
        self.commit(actor.stamp("assignments.delete", self.clock.now()), move |tx| {
            let before = deletable(tx, &app, &reach, &name, &etag)?;
            tx.assignment_delete(&name)?;
            tx.item_mark_in(&before.target.item(), &traceparent)?;
            tx.audit(Note {
                subject: format!("assignment/{name}"),
                before: shown(&before),
                ..Note::default()
            })?;
            Ok(())
        })
        .await
    }

    /// How many nodes of the scope each of these assignments reaches now.
    pub async fn reach(&self, scope: &Scope, assignments: &[Assignment]) -> Vec<usize> {
        let catalog = self.catalog.now();
        let compiled: Vec<Option<Compiled>> =
            assignments.iter().map(|it| Compiled::new(it.clone(), &catalog.groups).ok()).collect();
        let reaches = |compiled: &Option<Compiled>, labels: &Labels, facts: &Known| {
            compiled.as_ref().is_some_and(|it| it.reaches(labels, facts))
        };
        self.count_matching(scope, &compiled, reaches).await
    }

    /// How many nodes of the scope match each of these: one look at the fleet for all of
    /// them, with rests in which others work.
    pub(super) async fn count_matching<T: Sync>(
        &self,
        scope: &Scope,
        things: &[T],
        matches: impl Fn(&T, &Labels, &Known) -> bool,
    ) -> Vec<usize> {
        let mut counts = vec![0; things.len()];
        for nodes in self.fleet.ids().chunks(REST_AFTER / things.len().max(1) + 1) {
            for node in nodes {
                self.fleet.with(*node, |entry| {
                    let node = &entry.node;
                    for (thing, count) in things.iter().zip(&mut counts).filter(|_| scope.sees(node)) {
                        *count += usize::from(matches(thing, &node.labels, &node.facts));
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

/// An assignment that the caller may delete now.
fn deletable(
    tx: &mut WriteTx<'_>,
    app: &App,
    reach: &Reach,
    name: &str,
    etag: &str,
) -> Result<Assignment, Error> {
    let found = tx.assignment_get(name)?.ok_or_else(|| Error::not_found("assignment", name))?;
    if !covers(reach, &found) {
        return Err(not_ours(&found, &selectors::groups(tx)?, reach, &app.labelled()));
    }
    check_etag(etag, found.revision)?;
    check_no_rollout(&found)?;
    Ok(found)
}

fn check_no_rollout(assignment: &Assignment) -> Result<(), Error> {
    let Some(rollout) = assignment.staged.rollout else { return Ok(()) };
    let (name, id) = (&assignment.name, rollout);
    let message =
        format!("rollout {id} of assignment {name:?} is under way; wait, abort it, or roll it back");
    Err(Error::refused(Reason::StateConflict, message))
}

/// Refuses to let go of what an assignment gives to nodes, or may; a version 0 stands for all.
pub(super) fn check_unused(tx: &mut WriteTx<'_>, gone: &Target) -> Result<(), Error> {
    let gives = |it: &Assignment| it.target.answers(gone) || it.targets().any(|it| it.answers(gone));
    let Some(user) = tx.assignment_all()?.into_iter().find(gives) else { return Ok(()) };
    Err(Error::refused(Reason::InUse, format!("assignment {:?} gives it to nodes", user.name)))
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
        Target::Extension { name, version } => {
            let found = tx.extension_get(name, (*version > 0).then_some(*version))?;
            let found = found.ok_or_else(|| Error::not_found("extension", name))?;
            if !reach.is_all() && tx.secret_of_extension(name, found.version)?.is_some() {
                let message =
                    format!("extension {name:?} has protected settings: giving it needs a binding on \"*\"");
                return Err(Error::refused(Reason::PermissionDenied, message));
            }
            Ok(Target::Extension { name: found.name, version: found.version })
        }
        Target::Release { version } => super::releases::fixed(tx, version),
    }
}

/// Whether all that an assignment can reach is in reach of a caller. One whose
/// scope cannot be read may reach everything.
pub(super) fn covers(reach: &Reach, assignment: &Assignment) -> bool {
    reach.covers(&assignment.scope.parse().unwrap_or_else(|_| Reach::all()))
}

/// One that reaches no node of the caller's is as if it were not there.
pub(super) fn not_ours(assignment: &Assignment, groups: &Groups, reach: &Reach, nodes: &[Labelled]) -> Error {
    let name = &assignment.name;
    let compiled = Compiled::new(assignment.clone(), groups).ok();
    let reaches = |(_, labels, facts): &Labelled| {
        reach.matches(labels, facts) && compiled.as_ref().is_some_and(|it| it.reaches(labels, facts))
    };
    if !nodes.iter().any(reaches) {
        return Error::not_found("assignment", name);
    }
    let message = format!("assignment {name:?} may reach nodes outside of your scope");
    Error::refused(Reason::PermissionDenied, message)
}

fn shown(assignment: &Assignment) -> String {
    let target = match &assignment.target {
        Target::Bundle { name, version } => json!({ "bundle": name, "version": version }),
        Target::Settings { profile, version } => json!({ "settings": profile, "version": version }),
        Target::Extension { name, version } => json!({ "extension": name, "version": version }),
        Target::Release { version } => json!({ "release": version }),
    };
    json!({
        "selector": assignment.selector,
        "exclusions": assignment.exclusions,
        "scope": assignment.scope,
        "priority": assignment.priority,
        "target": target,
        "held": assignment.staged.held,
    })
    .to_string()
}
