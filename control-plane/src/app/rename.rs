//! A host gives its node another display name.

use muster_common::{ids::NodeId, reason::Reason};
use muster_domain::{audit::Note, lane::Lane, node::is_display_name};
use muster_store::{ReadNodes as _, WriteNodes as _};
use serde_json::json;

use super::{Actor, App, Error, events, nodes::renamed, speaker::By};

impl App {
    /// Renames a node by its host's own wish; answers the name. Nothing else of it changes.
    ///
    /// # Errors
    /// If names are for operators only, the name cannot be, or who asks does not speak for
    /// the node.
    pub async fn rename(
        &self,
        actor: &Actor,
        node: NodeId,
        serial: String,
        name: String,
    ) -> Result<String, Error> {
        let by = By { instance: None, serial };
        self.speaks(node, &by)?;
        if !self.fixed.hosts_may_rename {
            let message = "hosts may not rename themselves here; an operator can (nodes-rename.sh)";
            return Err(Error::refused(Reason::RenameDisabled, message));
        }
        if !is_display_name(&name) {
            let message = "it must have 1 to 128 characters, not only spaces, and no control characters";
            return Err(Error::invalid("display_name", message));
        }
        self.has_time_for(Lane::Reports)?;
        let (app, stamp) = (self.clone(), actor.stamp("nodes.rename", self.clock.now()));
        self.commit_in(Lane::Reports, stamp, move |tx| {
            let removed = || Error::refused(Reason::NodeRemoved, "the node was removed");
            let stored = tx.node_get(node)?.ok_or_else(removed)?;
            app.speaks_now(tx, &stored, &by)?;
            if stored.display_name != name {
                tx.node_edit(node, &name, &stored.labels)?;
                events::tell(tx, renamed(&stored, &name))?;
                tx.audit(Note {
                    subject: format!("node/{node}"),
                    before: json!({ "display_name": stored.display_name }).to_string(),
                    after: json!({ "display_name": name }).to_string(),
                    denied: false,
                })?;
            }
            Ok(name.clone())
        })
        .await
    }
}
