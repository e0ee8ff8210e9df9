//! Files that commands bring: taken only from the host that was asked for one, and kept
//! for the command. Whoever may see the command may have its file; it is found by the
//! reference that was written with it, never by what a host says.

use muster_common::{
    digest::Sha256,
    ids::{CommandId, NodeId},
    reason::Reason,
};
use muster_domain::{
    access::Scope,
    blob::{Upload, upload_of},
    command::Command,
    lane::Lane,
};
use muster_store::{ReadBlobs, ReadCommands, ReadOperations, WriteBlobs as _, WriteTx};

use super::{
    Actor, App, Error, here,
    uploads::{Receiving, take_room},
};
use crate::{
    blobs::{Reader, Wanted},
    config,
};

/// What a host says it brings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told {
    /// For which command.
    pub command: CommandId,
    /// Of the whole.
    pub sha256: Sha256,
    /// Of the whole.
    pub size_bytes: u64,
}

/// How it begins.
#[derive(Debug)]
pub enum Taking {
    /// It is here already.
    There,
    /// Its bytes may come.
    Go(Box<Receiving>),
}

/// Most bytes that a command of this kind with these arguments may bring. `None`: it
/// brings nothing.
pub type Most = fn(kind: &str, args: &[u8]) -> Option<u64>;

impl App {
    /// Begins to take a file.
    ///
    /// # Errors
    /// If the node was not asked for it, there is no room, or the store is far behind.
    pub async fn begin_result(
        &self,
        actor: &Actor,
        node: NodeId,
        told: Told,
        most: Most,
    ) -> Result<Taking, Error> {
        self.check_free(node)?;
        self.has_time_for(Lane::Artifacts)?;
        // Looked at first: a node that may bring nothing costs no write.
        if self.store.read(move |tx| look(tx, node, told, most)).await? {
            return Ok(Taking::There);
        }
        let (now, bounds) = (self.clock.now(), share(&self.fixed.blobs));
        let Told { command, sha256, size_bytes } = told;
        let upload = Upload {
            // One for each command, whatever it says of it: a node must not take the room of others.
            id: upload_of(&format!("{} {command}", actor.principal), &Sha256::ZERO),
            sha256,
            size_bytes,
            created_at: now,
            created_by: actor.principal.clone(),
            expires_at: now + bounds.keep_uploads,
        };
        let id = upload.id;
        // The turn comes first: what is written down is not changed under another stream.
        let receiving = self.receive(id, Wanted { sha256, size_bytes }, 0).await?;
        let begin = move |tx: &mut WriteTx<'_>| {
            if look(tx, node, told, most)? {
                return Ok(true);
            }
            if tx
                .blob_upload_get(id)?
                .is_some_and(|begun| (begun.sha256, begun.size_bytes) != (sha256, size_bytes))
            {
                tx.blob_upload_delete(id)?;
            }
            // Also if others have brought the same bytes: to know their digest is not to have them.
            let known = tx.blob_get(&sha256)?;
            take_room(tx, &upload, known.as_ref(), &bounds)?;
            Ok(false)
        };
        if self.commit_in(Lane::Artifacts, actor.stamp("results.begin", now), begin).await? {
            return Ok(Taking::There);
        }
        Ok(Taking::Go(Box::new(receiving)))
    }

    /// Whether more of it is taken. Asked again while it comes: a node must not hold its place
    /// for longer than its command is open.
    ///
    /// # Errors
    /// If the command has ended, or the node is in quarantine.
    pub async fn check_result(&self, node: NodeId, command: CommandId, most: Most) -> Result<(), Error> {
        self.check_free(node)?;
        self.store.read(move |tx| asked(tx, node, command, most)).await.map(drop)
    }

    fn check_free(&self, node: NodeId) -> Result<(), Error> {
        if self.fleet.with(node, |entry| entry.node.quarantine.is_none()) == Some(true) {
            return Ok(());
        }
        Err(Error::refused(Reason::Quarantined, "the node is in quarantine: nothing is taken"))
    }

    /// Ends it: from here on the command has its file, for as long as it is kept.
    ///
    /// # Errors
    /// If it is not whole, has another digest, or meanwhile the command has ended or the node
    /// is in quarantine.
    pub async fn finish_result(
        &self,
        actor: &Actor,
        node: NodeId,
        command: CommandId,
        receiving: Receiving,
        most: Most,
    ) -> Result<(), Error> {
        self.check_free(node)?;
        let keep = move |tx: &mut WriteTx<'_>, sha256: &Sha256| {
            asked(tx, node, command, most)?;
            if tx.blob_of(&referrer(command))?.is_some_and(|other| other != *sha256) {
                return Err(Error::refused(Reason::StateConflict, "the command has brought another file"));
            }
            tx.blob_refer(sha256, &referrer(command))?;
            Ok(())
        };
        self.finish_with(actor, receiving, keep).await?;
        Ok(())
    }

    /// The file of a command from `offset` on, and of which node it is.
    ///
    /// # Errors
    /// If the caller sees no such command, or it has brought no file, or a shorter one.
    pub async fn read_result(
        &self,
        scope: &Scope,
        command: CommandId,
        offset: u64,
    ) -> Result<(Reader, NodeId), Error> {
        let sight = self.sight(scope);
        let find = move |tx: &mut muster_store::ReadTx<'_>| {
            let found = tx.command_get(command)?.filter(|found| sight.sees(found.node));
            let found = found.ok_or_else(|| Error::not_found("command", &command))?;
            let none = || Error::not_found("file of command", &command);
            let sha256 = tx.blob_of(&referrer(command))?.ok_or_else(none)?;
            Ok::<_, Error>((here(tx.blob_get(&sha256)?, &sha256)?, found.node))
        };
        let (blob, node) = self.store.read(find).await?;
        Ok((self.read_from(&blob, offset).await?, node))
    }
}

/// How a command stands among the references.
fn referrer(command: CommandId) -> String {
    format!("command/{command}")
}

/// What hosts may fill: a quarter of the room, and half of the uploads, stay for operators.
fn share(bounds: &config::Blobs) -> config::Blobs {
    config::Blobs {
        max_total_bytes: bounds.max_total_bytes / 4 * 3,
        max_uploads: bounds.max_uploads.div_ceil(2),
        ..bounds.clone()
    }
}

/// Whether a file is here already that a node may bring.
fn look(
    tx: &mut (impl ReadCommands + ReadOperations + ReadBlobs),
    node: NodeId,
    told: Told,
    most: Most,
) -> Result<bool, Error> {
    let Told { command, sha256, size_bytes } = told;
    let most = asked(tx, node, command, most)?;
    if size_bytes > most {
        return Err(Error::Invalid {
            reason: Reason::TooLarge,
            field: "start.size_bytes".to_owned(),
            message: format!("it is {size_bytes}; this command may bring {most}"),
        });
    }
    match tx.blob_of(&referrer(command))? {
        Some(same) if same == sha256 => Ok(true),
        Some(_) => Err(Error::refused(Reason::StateConflict, "the command has brought another file")),
        None => Ok(false),
    }
}

/// How much a node may bring for a command.
fn asked(
    tx: &mut (impl ReadCommands + ReadOperations),
    node: NodeId,
    id: CommandId,
    most: Most,
) -> Result<u64, Error> {
    // The same for all: a node does not learn what others were asked for.
    let none =
        || Error::refused(Reason::PermissionDenied, format!("node {node} was not asked for a file by {id}"));
    let command: Command = tx.command_get(id)?.filter(|found| found.node == node).ok_or_else(none)?;
    let operation = tx.operation_get(command.operation)?.ok_or_else(none)?;
    let bytes = most(&operation.kind, &operation.args).ok_or_else(none)?;
    if command.state.is_end() {
        return Err(Error::refused(Reason::StateConflict, format!("command {id} has ended")));
    }
    Ok(bytes)
}
