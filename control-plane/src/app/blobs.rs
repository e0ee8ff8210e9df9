//! Blobs: uploads with their bounds, what there is, and what goes.
//!
//! Whether a blob is needed is asked in one place, the store's references: what
//! refers to a blob writes that with itself, and takes it back with its end.

mod collect;
mod nodes;
mod results;
mod uploads;

use muster_common::{digest::Sha256, reason::Reason};
use muster_domain::{
    audit::Note,
    blob::{Blob, State},
    page::{Listed, Page},
};
use muster_store::{ReadBlobs as _, WriteBlobs as _, WriteTx};
use serde_json::json;

use super::{Actor, App, Error};
use crate::blobs::Reader;

pub use results::{Most, Taking, Told};
pub use uploads::{Begun, Receiving, Which, Wish};

/// Referrers that are told of one blob.
const SHOWN_REFERRERS: u32 = 100;

impl App {
    /// One blob, with those that refer to it.
    ///
    /// # Errors
    /// If it does not exist.
    pub async fn blob(&self, sha256: Sha256) -> Result<(Blob, Vec<String>), Error> {
        self.store
            .read(move |tx| {
                let blob = shown(tx.blob_get(&sha256)?, &sha256)?;
                Ok((blob, tx.blob_referrers(&sha256, SHOWN_REFERRERS)?))
            })
            .await
    }

    /// A page of blobs.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn blobs(&self, page: Page) -> Result<Listed<Blob>, Error> {
        self.store.read(move |tx| tx.blob_list(&page).map_err(Error::from)).await
    }

    /// The bytes of a blob from `offset` on.
    ///
    /// # Errors
    /// If it does not exist, or has fewer bytes.
    pub async fn read_blob(&self, sha256: Sha256, offset: u64) -> Result<Reader, Error> {
        let blob = self.store.read(move |tx| shown(tx.blob_get(&sha256)?, &sha256)).await?;
        self.read_from(&blob, offset).await
    }

    async fn read_from(&self, blob: &Blob, offset: u64) -> Result<Reader, Error> {
        if offset > blob.size_bytes {
            return Err(Error::invalid("offset", format!("the blob has {} bytes", blob.size_bytes)));
        }
        Ok(self.blobs.get(&blob.sha256, blob.size_bytes, offset).await?)
    }

    /// Removes a blob.
    ///
    /// # Errors
    /// If there is none, or something refers to it.
    pub async fn delete_blob(&self, actor: &Actor, sha256: Sha256) -> Result<(), Error> {
        self.commit(actor.stamp("blobs.delete", self.clock.now()), move |tx| {
            shown(tx.blob_get(&sha256)?, &sha256)?;
            if let Some(user) = tx.blob_referrers(&sha256, 1)?.pop() {
                return Err(Error::refused(Reason::InUse, format!("{user} refers to it")));
            }
            give_up(tx, &sha256)
        })
        .await?;
        // It is gone for everyone; if its bytes cannot be removed now, the worker tries again.
        if let Err(error) = self.remove_bytes(sha256).await {
            let chain = muster_common::error_chain::Chain(&error).to_string();
            tracing::warn!(%sha256, error = chain, "the bytes of the deleted blob {sha256} are still there");
        }
        Ok(())
    }

    /// Takes the bytes of a blob away that is leaving, then what is known of it.
    async fn remove_bytes(&self, sha256: Sha256) -> Result<(), Error> {
        self.blobs.delete(&sha256).await?;
        let stamp = self.own_stamp("blobs.forget");
        self.store.write(stamp, move |tx| tx.blob_forget(&sha256).map_err(Error::from)).await?;
        Ok(())
    }
}

/// How a version of a bundle stands among the references.
pub(crate) fn bundle_referrer(name: &str, version: impl std::fmt::Display) -> String {
    format!("bundle/{name}/{version}")
}

/// A blob that can be had.
fn here(found: Option<Blob>, sha256: &Sha256) -> Result<Blob, Error> {
    found.filter(|blob| blob.state == State::Here).ok_or_else(|| Error::not_found("blob", sha256))
}

/// The same, but the files of commands: these are had by their command alone.
fn shown(found: Option<Blob>, sha256: &Sha256) -> Result<Blob, Error> {
    here(found.filter(|blob| !blob.is_of_command()), sha256)
}

/// From here on nobody gets it, and it is written down who took it away.
fn give_up(tx: &mut WriteTx<'_>, sha256: &Sha256) -> Result<(), Error> {
    tx.blob_move(sha256, State::Here, State::Leaving)?;
    tx.audit(Note {
        subject: format!("blob/{sha256}"),
        before: json!({ "sha256": sha256 }).to_string(),
        ..Note::default()
    })?;
    Ok(())
}
