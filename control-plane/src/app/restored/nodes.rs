//! Hosts that were told what the restored store does not know: they are given nothing until
//! a person lets what they have be overwritten.

use muster_common::{generation::Generation, ids::NodeId};
use muster_domain::{
    audit::Note,
    join_token::check_description,
    node::Node,
    sighting::{Quarantine, Suspicion},
};
use muster_store::{ReadHistories as _, ReadMeta, WriteNodes as _, WriteTx};
use serde_json::json;

use crate::app::{Actor, App, Error, events, nodes::node_in, quarantine::released};

/// Nodes that are let out in one write.
const AT_ONCE: usize = 500;

impl App {
    /// Whether a host was told what this store does not know, and nobody has accepted that.
    /// Memory may be behind the store: the write that locks it up asks once more.
    pub(crate) fn has_forgotten(&self, node: &Node, newest: Generation) -> bool {
        let revision = (*self.feed.applied().borrow()).max(*self.store.committed().borrow());
        node.accepted.as_deref().is_none_or(|accepted| newest > *accepted)
            && self.fixed.history.has_forgotten(newest, revision)
    }

    /// Lets out all matching nodes that are in quarantine because the store does not know what
    /// they follow: they get what it knows. Answers how many there are; without `go`, that
    /// is all.
    ///
    /// # Errors
    /// If the selector or the reason cannot be, or the store fails: then some may be out.
    pub async fn accept_restored(
        &self,
        actor: &Actor,
        selector: &str,
        reason: String,
        go: bool,
    ) -> Result<usize, Error> {
        check_description(&reason).map_err(|violation| Error::invalid("reason", violation.description))?;
        let selector = self.selector_or_all(selector)?;
        let mut found: Vec<NodeId> = Vec::new();
        self.fleet.for_each(|entry| {
            let node = &entry.node;
            let is_held = node.quarantine.as_ref().is_some_and(|it| it.reason == Suspicion::NewerThanStore);
            if is_held && selector.matches(&node.labels, &node.facts) && actor.scope.sees(node) {
                found.push(node.id);
            }
        });
        if !go {
            return Ok(found.len());
        }
        let mut count = 0;
        for some in found.chunks(AT_ONCE) {
            let (ids, scope, reason) = (some.to_vec(), actor.scope.clone(), reason.clone());
            let stamp = actor.stamp("nodes.accept-restored", self.clock.now());
            count += self
                .commit(stamp, move |tx| {
                    let (mut count, mut out) = (0, Vec::new());
                    for id in &ids {
                        // One that was removed, or let out, meanwhile is no error of the others.
                        let Ok(node) = node_in(tx, &scope, *id) else { continue };
                        let held =
                            node.quarantine.as_ref().filter(|it| it.reason == Suspicion::NewerThanStore);
                        let Some(held) = held else { continue };
                        tx.node_set_quarantine(*id, None, None)?;
                        accept(tx, *id, held)?;
                        out.push(released(&node, &reason));
                        tx.audit(Note {
                            subject: format!("node/{id}"),
                            before: json!({ "quarantine": held.reason.as_str() }).to_string(),
                            after: json!({ "quarantine": null, "reason": reason }).to_string(),
                            ..Note::default()
                        })?;
                        count += 1;
                    }
                    events::tell_all(tx, out)?;
                    Ok::<_, Error>(count)
                })
                .await?;
        }
        Ok(count)
    }
}

/// What the host of a quarantine was told may be overwritten from now on.
fn accept(tx: &mut WriteTx<'_>, id: NodeId, held: &Quarantine) -> Result<(), Error> {
    if let Some(newest) = held.newest {
        tx.node_set_accepted(id, newest)?;
    }
    Ok(())
}

/// In which quarantine a node is after it was let out of one. Of being undone nobody was told by
/// another reason; that is asked for itself.
pub(crate) fn after_release(
    tx: &mut WriteTx<'_>,
    node: &Node,
    held: &Quarantine,
    newest: Generation,
) -> Result<Option<Quarantine>, Error> {
    accept(tx, node.id, held)?;
    if held.newest.is_some() || is_known(tx, node, newest)? {
        return Ok(None);
    }
    Ok(Some(Quarantine { reason: Suspicion::NewerThanStore, newest: Some(newest), ..held.clone() }))
}

/// Whether the store knows, after all, what a host was told.
pub(crate) fn is_known(tx: &mut WriteTx<'_>, node: &Node, newest: Generation) -> Result<bool, Error> {
    let (history, revision) = (tx.history()?, ReadMeta::revision(tx)?);
    let is_accepted = node.accepted.as_deref().is_some_and(|accepted| newest <= *accepted);
    Ok(is_accepted || !history.has_forgotten(newest, revision))
}
