//! The certificate that a node shows for the first time, into the store.

use muster_domain::{certificate::Shown, node::Node};
use muster_store::{ReadNodes as _, WriteNodes as _, WriteTx};

use crate::app::Error;

/// The first use of the next certificate. `false`: the store has another one
/// since; nothing was written.
pub(super) fn promote(tx: &mut WriteTx<'_>, node: &Node) -> Result<bool, Error> {
    let Some(stored) = tx.node_get(node.id)? else { return Ok(true) };
    match stored.certificate.judge(&node.certificate.current.serial.to_string()) {
        Shown::Next => {
            tx.node_set_certificate(node.id, &stored.certificate.promoted())?;
            Ok(true)
        }
        Shown::Current => Ok(true),
        Shown::Superseded => Ok(false),
    }
}
