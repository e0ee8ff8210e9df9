//! Groups: selectors with a name, used in others.
//!
//! A change of one is a change of every assignment that names it, and is judged so:
//! each of them is held against all others before anything is written.

mod users;

use muster_common::reason::Reason;
use muster_domain::{
    access::Scope,
    audit::Note,
    facts::Known,
    group::{Group, is_description},
    item::is_resource_name,
    labels::{Groups, Labels, Selector},
    page::{Listed, Page},
};
use muster_store::{ReadGroups as _, WriteGroups as _, WriteItemMarks as _, WriteTx};
use serde_json::json;

use super::{
    Actor, App, Error,
    assignments::{Nodes, Rivals},
    check_etag,
    preview::{Change, NodeSet, Preview},
    selectors,
};

/// What someone wants a group to be.
#[derive(Debug, Clone)]
pub struct Wish {
    /// Name.
    pub name: String,
    /// As written.
    pub selector: String,
    /// For people.
    pub description: String,
    /// Of the reading it was made from.
    pub etag: String,
}

/// A group as a caller sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// As stored.
    pub group: Group,
    /// Nodes of the scope in it.
    pub matched: usize,
    /// What names it: `assignment/NAME`, `rollout/ID`.
    pub used_by: Vec<String>,
}

/// What a change of a group would do.
#[derive(Debug, Clone, PartialEq)]
pub struct GroupPreview {
    /// Nodes that come into it.
    pub entering: NodeSet,
    /// Nodes that leave it.
    pub leaving: NodeSet,
    /// Assignments that name it.
    pub assignments: Vec<String>,
    /// What becomes of what these give.
    pub preview: Preview,
}

impl App {
    /// Makes a group, or answers the equal one that is there.
    ///
    /// # Errors
    /// If it cannot be, or its name is taken.
    pub async fn create_group(&self, actor: &Actor, wish: Wish, validate_only: bool) -> Result<View, Error> {
        check(&wish)?;
        let (now, by) = (self.clock.now(), actor.principal.clone());
        let made = self.commit(actor.stamp("groups.create", now), move |tx| {
            match tx.group_get(&wish.name)? {
                Some(same) if is_as_wished(&same, &wish) => return Ok(same),
                Some(_) => {
                    let message = format!("group {:?} exists with other content", wish.name);
                    return Err(Error::refused(Reason::AlreadyExists, message));
                }
                None => {}
            }
            let group = Group {
                name: wish.name.clone(),
                selector: wish.selector.clone(),
                description: wish.description.clone(),
                created_at: now,
                updated_at: now,
                updated_by: by.clone(),
                revision: if validate_only { 0 } else { tx.revision() },
            };
            if !validate_only {
                put(tx, None, &group, "")?;
            }
            Ok(group)
        });
        let made = made.await?;
        self.viewed(&actor.scope, made).await
    }

    /// Replaces selector and description. With `validate_only` it tells what that would do.
    ///
    /// # Errors
    /// If it does not exist, was changed since it was read, or an assignment that names it
    /// would contradict another one.
    pub async fn update_group(
        &self,
        actor: &Actor,
        wish: Wish,
        validate_only: bool,
    ) -> Result<(View, Option<GroupPreview>), Error> {
        check(&wish)?;
        let (now, by) = (self.clock.now(), actor.principal.clone());
        let (app, traceparent) = (self.clone(), actor.traceparent());
        let after = self.commit(actor.stamp("groups.update", now), move |tx| {
            let before = tx.group_get(&wish.name)?.ok_or_else(|| Error::not_found("group", &wish.name))?;
            check_etag(&wish.etag, before.revision)?;
            if is_as_wished(&before, &wish) {
                return Ok(before);
            }
            let after = Group {
                selector: wish.selector.clone(),
                description: wish.description.clone(),
                updated_at: now,
                updated_by: by.clone(),
                revision: if validate_only { before.revision } else { tx.revision() },
                ..before.clone()
            };
            if before.selector != after.selector {
                check_users(tx, &app, &after)?;
            }
            if !validate_only {
                put(tx, Some(&before), &after, &traceparent)?;
            }
            Ok(after)
        });
        let after = after.await?;
        let preview =
            if validate_only { Some(self.preview_group(&actor.scope, &after).await?) } else { None };
        Ok((self.viewed(&actor.scope, after).await?, preview))
    }

    /// One group.
    ///
    /// # Errors
    /// If it does not exist.
    pub async fn group(&self, scope: &Scope, name: String) -> Result<View, Error> {
        let found =
            self.store.read(move |tx| tx.group_get(&name)?.ok_or_else(|| Error::not_found("group", &name)));
        self.viewed(scope, found.await?).await
    }

    /// A page of groups.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn groups(&self, scope: &Scope, page: Page) -> Result<Listed<View>, Error> {
        let listed = self.store.read(move |tx| tx.group_list(&page).map_err(Error::from)).await?;
        Ok(Listed { rows: self.views(scope, listed.rows).await, next: listed.next })
    }

    /// Takes a group away that nothing names.
    ///
    /// # Errors
    /// If it does not exist, was changed since it was read, or something names it.
    pub async fn delete_group(&self, actor: &Actor, name: String, etag: String) -> Result<(), Error> {
        self.commit(actor.stamp("groups.delete", self.clock.now()), move |tx| {
            let before = tx.group_get(&name)?.ok_or_else(|| Error::not_found("group", &name))?;
            check_etag(&etag, before.revision)?;
            if let Some(user) = users::first(tx, &name)? {
                return Err(Error::refused(Reason::InUse, format!("{user} names it")));
            }
            tx.group_delete(&name)?;
            tx.audit(Note { subject: format!("group/{name}"), before: shown(&before), ..Note::default() })?;
            Ok(())
        })
        .await
    }

    async fn viewed(&self, scope: &Scope, group: Group) -> Result<View, Error> {
        let missing = Error::not_found("group", &group.name);
        self.views(scope, vec![group]).await.pop().ok_or(missing)
    }

    async fn views(&self, scope: &Scope, groups: Vec<Group>) -> Vec<View> {
        let selectors: Vec<Option<Selector>> =
            groups.iter().map(|group| Selector::parse(&group.selector).ok()).collect();
        let matches = |selector: &Option<Selector>, labels: &Labels, facts: &Known| {
            selector.as_ref().is_some_and(|it| it.matches(labels, facts))
        };
        let counts = self.count_matching(scope, &selectors, matches).await;
        let mut users = self.users_of_groups(scope, &groups).await;
        let view = |(group, matched): (Group, usize)| {
            let used_by = users.remove(&group.name).unwrap_or_default();
            View { group, matched, used_by }
        };
        groups.into_iter().zip(counts).map(view).collect()
    }

    async fn preview_group(&self, scope: &Scope, after: &Group) -> Result<GroupPreview, Error> {
        let catalog = self.catalog.now();
        let groups = catalog.groups.with(after);
        let users = catalog.assignments.iter().map(|it| &it.assignment);
        let users: Vec<_> = users.filter(|it| it.groups().contains(&after.name)).cloned().collect();
        let (entering, leaving) = self.moved_by(scope, &catalog.groups, after)?;
        let seen = self.shown(scope, users.clone()).await;
        let change = Change { put: users, groups: Some(groups), ..Change::default() };
        Ok(GroupPreview {
            entering,
            leaving,
            assignments: seen.into_iter().map(|(assignment, _)| assignment.name).collect(),
            preview: self.preview_at_once(scope, &change).await?,
        })
    }

    /// The nodes of the scope that come into a group, and that leave it.
    fn moved_by(&self, scope: &Scope, groups: &Groups, after: &Group) -> Result<(NodeSet, NodeSet), Error> {
        let written = selectors::written("selector", &format!("@{}", after.name))?;
        let was = selectors::resolved("selector", &written, groups)?;
        let will = selectors::plain("group.selector", &after.selector)?;
        let (mut entering, mut leaving) = (NodeSet::default(), NodeSet::default());
        self.fleet.for_each(|entry| {
            let node = &entry.node;
            let is_in = |selector: &Selector| selector.matches(&node.labels, &node.facts);
            match (scope.sees(node), is_in(&was), is_in(&will)) {
                (true, false, true) => entering.add(node.id, &node.display_name),
                (true, true, false) => leaving.add(node.id, &node.display_name),
                _ => {}
            }
        });
        Ok((entering, leaving))
    }
}

fn check(wish: &Wish) -> Result<(), Error> {
    if !is_resource_name(&wish.name) {
        let message = format!("{:?} does not match [a-z0-9]([-a-z0-9]{{0,61}}[a-z0-9])?", wish.name);
        return Err(Error::invalid("group.name", message));
    }
    if !is_description(&wish.description) {
        let message = "at most 1024 bytes, without control characters";
        return Err(Error::invalid("group.description", message));
    }
    selectors::plain("group.selector", &wish.selector).map(drop)
}

/// Refuses a group by which an assignment that names it would contradict another one, or
/// give a node too much.
fn check_users(tx: &mut WriteTx<'_>, app: &App, after: &Group) -> Result<(), Error> {
    let (groups, nodes) = (selectors::groups(tx)?.with(after), Nodes::of(app));
    let rivals = Rivals::read(tx, app, &groups, None)?;
    let users = rivals.named(|it| it.groups().contains(&after.name));
    if let Some(refused) = rivals.check_all(tx, &users, &nodes)? {
        let name = &refused.assignment;
        return Err(match refused.why {
            Error::Refused { reason, message } => {
                Error::refused(reason, format!("assignment {name:?}, which names the group: {message}"))
            }
            other => other,
        });
    }
    Ok(())
}

/// Stores a group. All that depends on it gets a newer generation.
fn put(tx: &mut WriteTx<'_>, before: Option<&Group>, after: &Group, traceparent: &str) -> Result<(), Error> {
    tx.group_put(after)?;
    if before.is_some_and(|before| before.selector != after.selector) {
        for item in users::items(tx, &after.name)? {
            tx.item_mark_in(&item, traceparent)?;
        }
    }
    tx.audit(Note {
        subject: format!("group/{}", after.name),
        before: before.map_or_else(String::new, shown),
        after: shown(after),
        denied: false,
    })?;
    Ok(())
}

fn is_as_wished(group: &Group, wish: &Wish) -> bool {
    group.selector == wish.selector && group.description == wish.description
}

fn shown(group: &Group) -> String {
    json!({ "selector": group.selector, "description": group.description }).to_string()
}
