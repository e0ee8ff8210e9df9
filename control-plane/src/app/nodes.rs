//! Nodes as operators see and edit them.

use std::collections::BTreeMap;

use muster_common::{ids::NodeId, reason::Reason};
use muster_domain::{
    access::Scope,
    audit::Note,
    command::Event,
    event::{Happened, Kind},
    item::ItemVersion,
    labels::{Labels, Selector, check_labels},
    liveness::State,
    node::{Node, is_display_name},
    page::{Listed, Page},
    sighting::Sighting,
};
use muster_store::{
    ReadCommands as _, ReadNodes as _, ReadOperations as _, WriteCommands as _, WriteNodes as _, WriteTx,
};
use parking_lot::MutexGuard;
use serde_json::json;

use super::{
    Actor, App, Error,
    catalog::Wanted,
    check_etag, check_reason,
    events::{self, Ends},
    fleet::{Entry, Live},
    recorder::{Ended, end_operations},
    settings::{ProfileVersion, settings_by},
};
use crate::session::ports::End;

/// A node with what only the living know.
#[derive(Debug, Clone)]
pub struct View {
    /// As stored.
    pub node: Node,
    /// Who was refused since it was released as another process.
    pub turned_away: Vec<Sighting>,
    /// When it was last heard by this process.
    pub last_heard: Option<muster_common::clock::UnixMillis>,
    /// Its session, here or with another replica.
    pub live: Option<Live>,
    /// The replica that has it, by name. `None`: nobody has, or this process is alone.
    pub replica: Option<String>,
    /// What it says holds.
    pub conditions: Vec<muster_domain::condition::Condition>,
    /// Of what it should have, what it does not get, and why.
    pub withheld: Vec<(muster_domain::item::ItemName, Reason)>,
    /// What it should have, in order of items.
    pub desired: Vec<(muster_domain::item::ItemName, ItemVersion)>,
    /// Which version of which profile gave it the options that are in force there.
    pub settings_by: BTreeMap<String, ProfileVersion>,
    /// The release that its agent could be upgraded to. `None`: nothing newer is recommended.
    pub upgrade_available: Option<String>,
}

/// A change of what operators can edit.
#[derive(Debug, Clone, Default)]
pub struct Edit {
    /// `None`: as it is.
    pub display_name: Option<String>,
    /// `None`: as they are.
    pub labels: Option<Labels>,
    /// Of the reading it was made from; empty: whatever is there.
    pub etag: String,
}

impl App {
    /// One node. One outside of the scope is as if it were not there.
    ///
    /// # Errors
    /// If it does not exist.
    pub fn node(&self, scope: &Scope, id: NodeId) -> Result<View, Error> {
        let look = |entry: MutexGuard<'_, Entry>| scope.sees(&entry.node).then(|| self.view(&entry));
        self.fleet.with(id, look).flatten().ok_or_else(|| Error::not_found("node", &id))
    }

    /// Whether a node is there, and in a scope.
    pub(crate) fn sees(&self, scope: &Scope, id: NodeId) -> bool {
        self.fleet.with(id, |entry| scope.sees(&entry.node)) == Some(true)
    }

    /// Nodes that match, in order of ids; and how many match in all.
    ///
    /// # Errors
    /// If the page's key is not a node's id.
    pub fn nodes(
        &self,
        scope: &Scope,
        selector: &Selector,
        page: &Page,
    ) -> Result<(Listed<View>, usize), Error> {
        let after = match &page.after {
            Some(key) => Some(key.parse::<NodeId>().map_err(|_| muster_store::Error::PageKey(key.clone()))?),
            None => None,
        };
        let part = self.fleet.some_matching(scope, selector, after, page.size as usize);
        // It may have become another one since, which is not for this caller to see.
        let look = |entry: MutexGuard<'_, Entry>| entry.is_found(scope, selector).then(|| self.view(&entry));
        let rows = part.ids.iter().filter_map(|id| self.fleet.with(*id, look).flatten()).collect();
        let next = part.ids.last().filter(|_| part.has_more).map(ToString::to_string);
        Ok((Listed { rows, next }, part.total))
    }

    /// Ids of the nodes that match, in order.
    #[must_use]
    pub fn matching(&self, scope: &Scope, selector: &Selector) -> Vec<NodeId> {
        self.fleet.matching(scope, selector)
    }

    /// Changes display name and labels. Nobody can give a node away: it must be
    /// in the scope afterwards, too. Nor can anybody bring it under another role of
    /// their own.
    ///
    /// # Errors
    /// If the node does not exist, was changed since it was read, or the values cannot be.
    pub async fn edit_node(&self, actor: &Actor, id: NodeId, edit: Edit) -> Result<View, Error> {
        if let Some(name) = edit.display_name.as_deref().filter(|name| !is_display_name(name)) {
            return Err(Error::invalid(
                "node.display_name",
                format!("{name:?} is not a name of 1 to 128 characters"),
            ));
        }
        if let Some(labels) = &edit.labels {
            check_labels(labels).map_err(|error| Error::invalid("node.labels", error.to_string()))?;
        }
        let (stamp, scope) = (actor.stamp("nodes.update", self.clock.now()), actor.scope.clone());
        let rights = self.access.rights(&actor.principal);
        self.commit(stamp, move |tx| {
            let node = node_in(tx, &scope, id)?;
            check_etag(&edit.etag, node.revision)?;
            let name = edit.display_name.as_ref().unwrap_or(&node.display_name);
            let labels = edit.labels.as_ref().unwrap_or(&node.labels);
            if *name == node.display_name && *labels == node.labels {
                return Ok(());
            }
            if !scope.reach.matches(labels, &node.facts) {
                let message = "with these labels the node would be outside of your scope";
                return Err(Error::refused(Reason::PermissionDenied, message));
            }
            if rights.as_ref().is_some_and(|rights| rights.gains(&node.labels, labels, &node.facts).is_some())
            {
                let message =
                    "with these labels you would be allowed more on the node; somebody else must set them";
                return Err(Error::refused(Reason::PermissionDenied, message));
            }
            tx.node_edit(id, name, labels)?;
            if *name != node.display_name {
                events::tell(tx, renamed(&node, name))?;
            }
            if *labels != node.labels {
                events::tell(tx, labelled(&node, name, labels))?;
            }
            tx.audit(Note {
                subject: format!("node/{id}"),
                before: json!({ "display_name": node.display_name, "labels": node.labels }).to_string(),
                after: json!({ "display_name": name, "labels": labels }).to_string(),
                denied: false,
            })?;
            Ok(())
        })
        .await?;
        self.node(&actor.scope, id)
    }

    /// Removes a node for ever.
    ///
    /// # Errors
    /// If it does not exist or was changed since it was read.
    pub async fn remove_node(
        &self,
        actor: &Actor,
        id: NodeId,
        etag: String,
        reason: String,
    ) -> Result<(), Error> {
        self.remove_node_if(actor, id, etag, Leaves::Told(reason), |_, _| Ok(())).await
    }

    /// Removes a node for ever, if whoever has the last word, in the write, says so.
    pub(super) async fn remove_node_if(
        &self,
        actor: &Actor,
        id: NodeId,
        etag: String,
        why: Leaves,
        may: impl Fn(&mut WriteTx<'_>, &Node) -> Result<(), Error> + Send + 'static,
    ) -> Result<(), Error> {
        let (reason, gone) = match why {
            Leaves::Told(reason) => (reason, false),
            Leaves::Itself(reason) => (format!("the host left: {reason}"), true),
        };
        check_reason("reason", &reason)?;
        let now = self.clock.now();
        let stamp = actor.stamp("nodes.delete", now);
        // Before the write: its session is ended by whoever sees the write first.
        self.fleet.with(id, |mut entry| {
            if actor.scope.sees(&entry.node) {
                entry.farewell = Some(reason.clone());
            }
        });
        let scope = actor.scope.clone();
        let removed = self.commit(stamp, move |tx| {
            let node = node_in(tx, &scope, id)?;
            check_etag(&etag, node.revision)?;
            may(tx, &node)?;
            let ended = end_commands(tx, id, gone, now)?;
            tx.node_delete(id)?;
            events::tell(tx, removed(&node, gone, &reason))?;
            tx.audit(Note {
                subject: format!("node/{id}"),
                before: json!({ "display_name": node.display_name, "labels": node.labels }).to_string(),
                after: json!({ "reason": reason }).to_string(),
                denied: false,
            })?;
            Ok(ended)
        });
        self.all_ended(&removed.await?);
        Ok(())
    }

    /// Takes a node that is no more out of memory, whoever removed it.
    pub(crate) fn forget_node(&self, id: NodeId) {
        let now = self.clock.now();
        let ends = |entry: MutexGuard<'_, Entry>| entry.node.certificate.both().map(|it| it.not_after).max();
        let ends = self.fleet.with(id, ends).flatten().into_iter();
        // Another replica may have issued one a moment ago.
        let until = ends.fold(now + self.fixed.node_certificate_ttl, Ord::max);
        let farewell = self.fleet.remove(id, until, now).and_then(|entry| entry.lock().farewell.take());
        if let Some(session) = self.hub.get(id) {
            let why = farewell.filter(|reason| !reason.is_empty());
            session.end(End::Removed(why.unwrap_or_else(|| "the node was removed".to_owned())));
        }
        self.lines.leave(id);
    }

    fn view(&self, entry: &Entry) -> View {
        let catalog = self.catalog.now();
        let desired = catalog.wanted(&entry.node, self.fixed.history.epoch);
        let why = |wanted: &Wanted| Some((wanted.item.clone(), self.withheld(entry, wanted)?));
        let withheld = desired.iter().filter_map(why).collect();
        View {
            node: entry.node.clone(),
            turned_away: entry.turned_away.all().to_vec(),
            last_heard: entry.last_heard,
            live: entry.live.as_deref().cloned(),
            replica: self.holder_of(entry),
            conditions: self.conditions(entry),
            upgrade_available: self.upgrade_available(entry),
            withheld,
            settings_by: settings_by(entry, &catalog, &desired),
            desired: desired.into_iter().map(|wanted| (wanted.item, wanted.version)).collect(),
        }
    }

    /// How many nodes of the scope are in each state, and how many of them have a session here.
    pub async fn node_counts(&self, scope: &Scope) -> (Vec<(State, usize)>, usize) {
        let mut counts: std::collections::BTreeMap<State, usize> = std::collections::BTreeMap::new();
        let mut live = 0;
        let count = |entry: MutexGuard<'_, Entry>| {
            if scope.sees(&entry.node) {
                *counts.entry(entry.node.liveness.state).or_default() += 1;
                live += usize::from(entry.live.as_deref().is_some_and(Live::is_here));
            }
        };
        self.fleet.visit(count).await;
        (counts.into_iter().collect(), live)
    }
}

/// A node as stored, for a write; one outside of the scope is as if it were not there.
pub(crate) fn node_in(tx: &mut WriteTx<'_>, scope: &Scope, id: NodeId) -> Result<Node, Error> {
    let found = tx.node_get(id)?.filter(|node| scope.sees(node));
    found.ok_or_else(|| Error::not_found("node", &id))
}

/// A node has another display name.
pub(super) fn renamed(node: &Node, name: &str) -> Happened {
    let before = &node.display_name;
    Happened::new(Kind::NodeRenamed, &format!("{before} is called {name}"))
        .to(node.id)
        .with("before", before)
        .with("after", name)
}

fn labelled(node: &Node, name: &str, labels: &Labels) -> Happened {
    let shown = |labels: &Labels| json!(labels).to_string();
    Happened::new(Kind::NodeLabelled, &format!("{name} has other labels"))
        .to(node.id)
        .with("before", shown(&node.labels))
        .with("after", shown(labels))
}

fn removed(node: &Node, left: bool, reason: &str) -> Happened {
    let (name, labels) = (&node.display_name, json!(node.labels).to_string());
    let (kind, message) = match left {
        true => (Kind::NodeDisconnected, format!("{name} left the fleet")),
        false => (Kind::NodeRemoved, format!("{name} was removed")),
    };
    Happened::new(kind, &message)
        .to(node.id)
        .with("display_name", name)
        .with("labels", labels)
        .with("why", reason)
}

/// Why a node leaves the fleet.
pub(super) enum Leaves {
    /// An operator removes it.
    Told(String),
    /// The host has said so.
    Itself(String),
}

/// A removed node's open orders end with it. `left`: its host said so; if it was told to,
/// that order is done.
fn end_commands(
    tx: &mut WriteTx<'_>,
    node: NodeId,
    left: bool,
    now: muster_common::clock::UnixMillis,
) -> Result<Ended, Error> {
    let (mut operations, mut commands, mut ends) = (Vec::new(), Vec::new(), Ends::default());
    for command in tx.command_open_for_node(node)? {
        let told = left
            && tx
                .operation_get(command.operation)?
                .is_some_and(|operation| operation.kind == muster_domain::operation::DISCONNECT);
        let event = if told { Event::NodeLeft } else { Event::NodeGone };
        if let Ok(ended) = muster_domain::command::apply(&command, &event, now) {
            tx.command_put(&ended)?;
            ends.saw(command.state, &ended);
            if !operations.contains(&command.operation) {
                operations.push(command.operation);
            }
            commands.push(ended);
        }
    }
    ends.tell(tx)?;
    Ok(end_operations(tx, operations, now)?.and(commands))
}
