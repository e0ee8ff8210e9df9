//! Uploads: begun within their bounds, taken up, and made blobs.

use muster_common::{digest::Sha256, ids::UploadId, reason::Reason};
use muster_domain::{
    audit::Note,
    blob::{Blob, State, Upload, upload_of},
    lane::Lane,
};
use muster_store::{ReadBlobs as _, WriteBlobs as _, WriteTx};
use serde_json::json;

use super::{Actor, App, Error};
use crate::{
    blobs::{self, Incoming, Wanted},
    config,
};

/// What a caller wants to upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// Of the whole.
    pub sha256: Sha256,
    /// Of the whole.
    pub size_bytes: u64,
    /// `None`: the one that the caller has of these bytes.
    pub upload: Option<UploadId>,
    /// Where the bytes begin that come.
    pub offset: u64,
}

/// Which upload is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// This one.
    Id(UploadId),
    /// The one that the caller has of these bytes.
    Of(Sha256),
}

/// How an upload begins.
#[derive(Debug)]
pub enum Begun {
    /// It need not: the blob is there.
    There(Blob),
    /// The bytes may come.
    Go(Box<Receiving>),
}

/// An upload whose bytes come.
#[derive(Debug)]
pub struct Receiving {
    id: UploadId,
    incoming: Incoming,
}

impl Receiving {
    /// Takes the next bytes.
    ///
    /// # Errors
    /// If they are more than were announced, or cannot be written.
    pub async fn write(&mut self, piece: &[u8]) -> Result<(), Error> {
        Ok(self.incoming.write(piece).await?)
    }
}

impl App {
    /// Begins an upload, or takes one up.
    ///
    /// # Errors
    /// If it is over a bound, belongs to someone else, or is written by another stream.
    pub async fn begin_upload(&self, actor: &Actor, wish: Wish) -> Result<Begun, Error> {
        let bounds = self.fixed.blobs.clone();
        if wish.size_bytes > bounds.max_blob_bytes {
            return Err(Error::Invalid {
                reason: Reason::TooLarge,
                field: "start.size_bytes".to_owned(),
                message: format!("a blob has at most {} bytes", bounds.max_blob_bytes),
            });
        }
        let Wish { sha256, size_bytes, offset, .. } = wish;
        if offset > size_bytes {
            return Err(Error::invalid("start.offset", format!("the whole has {size_bytes} bytes")));
        }
        let now = self.clock.now();
        let upload = Upload {
            id: wish.upload.unwrap_or_else(|| upload_of(&actor.principal, &sha256)),
            sha256,
            size_bytes,
            created_at: now,
            created_by: actor.principal.clone(),
            expires_at: now + bounds.keep_uploads,
        };
        let id = upload.id;
        let stamp = actor.stamp("blobs.begin", now);
        if let Some(blob) =
            self.commit_in(Lane::Artifacts, stamp, move |tx| begin(tx, &upload, &bounds)).await?
        {
            return Ok(Begun::There(blob));
        }
        Ok(Begun::Go(Box::new(self.receive(id, Wanted { sha256, size_bytes }, offset).await?)))
    }

    pub(super) async fn receive(
        &self,
        id: UploadId,
        wanted: Wanted,
        offset: u64,
    ) -> Result<Receiving, Error> {
        Ok(Receiving { id, incoming: self.blobs.receive(id, wanted, offset).await? })
    }

    /// Ends an upload whose last byte has come: from here on it is a blob.
    ///
    /// # Errors
    /// If it is not whole or has another digest, or cannot be stored.
    pub async fn finish_upload(&self, actor: &Actor, receiving: Receiving) -> Result<Blob, Error> {
        self.finish_with(actor, receiving, |_, _| Ok(())).await
    }

    /// The same, and with it what is to be true as soon as it is a blob.
    pub(super) async fn finish_with(
        &self,
        actor: &Actor,
        receiving: Receiving,
        with: impl Fn(&mut WriteTx<'_>, &Sha256) -> Result<(), Error> + Send + 'static,
    ) -> Result<Blob, Error> {
        let Receiving { id, incoming } = receiving;
        let whole = match incoming.finish().await {
            Ok(whole) => whole,
            Err(error) => {
                if let blobs::Error::Digest { .. } = &error {
                    let stamp = actor.stamp("blobs.discard", self.clock.now());
                    self.store
                        .write_in(Lane::Artifacts, stamp, move |tx| {
                            Ok::<_, Error>(tx.blob_upload_delete(id)?)
                        })
                        .await?;
                }
                return Err(error.into());
            }
        };
        let (now, sha256, size_bytes) = (self.clock.now(), whole.sha256(), whole.size_bytes());
        let blob = Blob {
            sha256,
            size_bytes,
            state: State::Arriving,
            created_at: now,
            created_by: actor.principal.clone(),
            unreferenced_since: Some(now),
        };
        self.commit_in(Lane::Artifacts, actor.stamp("blobs.upload", now), {
            let blob = blob.clone();
            move |tx| arrive(tx, id, &blob)
        })
        .await?;
        self.blobs.put(&whole).await?;
        let stamp = actor.stamp("blobs.upload", self.clock.now());
        let blob = self
            .commit_in(Lane::Artifacts, stamp, move |tx| {
                let blob = arrived(tx, id, &blob)?;
                with(tx, &sha256)?;
                Ok(blob)
            })
            .await?;
        // The worker takes away what stays of it.
        if let Err(error) = whole.remove().await {
            let chain = muster_common::error_chain::Chain(&error).to_string();
            tracing::warn!(upload = %id, error = chain, "the file of upload {id} is still there");
        }
        Ok(blob)
    }

    /// How far an upload of the caller is.
    ///
    /// # Errors
    /// If the caller has no such upload.
    pub async fn upload(&self, actor: &Actor, which: Which) -> Result<(Upload, u64), Error> {
        let id = match which {
            Which::Id(id) => id,
            Which::Of(sha256) => upload_of(&actor.principal, &sha256),
        };
        let caller = actor.principal.clone();
        let upload = self.store.read(move |tx| Ok::<_, Error>(tx.blob_upload_get(id)?)).await?;
        let upload = upload.filter(|upload| upload.created_by == caller);
        let upload = upload.ok_or_else(|| Error::not_found("upload", &id))?;
        let received = self.blobs.received(id).await?;
        Ok((upload, received))
    }
}

/// Writes down that an upload may take room; or answers the blob that is there. The file of
/// a command is not: to know its digest is not to have it.
fn begin(tx: &mut WriteTx<'_>, upload: &Upload, bounds: &config::Blobs) -> Result<Option<Blob>, Error> {
    let blob = tx.blob_get(&upload.sha256)?;
    if let Some(blob) = blob.as_ref().filter(|blob| !blob.is_of_command()) {
        if blob.size_bytes != upload.size_bytes {
            let message = format!("the blob with this sha256 has {} bytes", blob.size_bytes);
            return Err(Error::invalid("start.size_bytes", message));
        }
        if blob.state == State::Here {
            tx.blob_touch(&upload.sha256, upload.created_at)?;
            return Ok(Some(blob.clone()));
        }
    }
    take_room(tx, upload, blob.as_ref(), bounds)?;
    Ok(None)
}

/// Writes down that an upload takes room, unless its bytes do already. The caller has to
/// bring all of them, also if they are there.
pub(super) fn take_room(
    tx: &mut WriteTx<'_>,
    upload: &Upload,
    blob: Option<&Blob>,
    bounds: &config::Blobs,
) -> Result<(), Error> {
    match tx.blob_upload_get(upload.id)? {
        Some(known) if known.created_by != upload.created_by => {
            return Err(Error::refused(Reason::AlreadyExists, "the upload is someone else's"));
        }
        Some(known) if (known.sha256, known.size_bytes) != (upload.sha256, upload.size_bytes) => {
            let message = format!(
                "upload {} is of {} bytes with the SHA-256 {}",
                known.id, known.size_bytes, known.sha256
            );
            return Err(Error::refused(Reason::AlreadyExists, message));
        }
        Some(_) => {}
        None => {
            let counted = blob.is_some_and(|blob| blob.size_bytes == upload.size_bytes);
            check_room(tx, if counted { 0 } else { upload.size_bytes }, bounds)?;
        }
    }
    tx.blob_upload_put(upload)?;
    Ok(())
}

/// Refuses an upload for which there is no room.
fn check_room(tx: &mut WriteTx<'_>, more: u64, bounds: &config::Blobs) -> Result<(), Error> {
    if tx.blob_upload_count()? >= bounds.max_uploads {
        let message = format!("{} uploads are not whole; finish one first", bounds.max_uploads);
        return Err(Error::refused(Reason::Overloaded, message));
    }
    let taken = tx.blob_total_bytes()?;
    if taken.saturating_add(more) > bounds.max_total_bytes {
        let message = format!(
            "blobs and uploads have {taken} of {} bytes, and this one has {more}",
            bounds.max_total_bytes
        );
        return Err(Error::refused(Reason::QuotaExceeded, message));
    }
    Ok(())
}

/// Writes down that the bytes of a blob are on their way into the storage.
fn arrive(tx: &mut WriteTx<'_>, id: UploadId, blob: &Blob) -> Result<(), Error> {
    // One that was given up may have been begun anew with other bytes: only these have room.
    let has_room = |upload: Upload| (upload.sha256, upload.size_bytes) == (blob.sha256, blob.size_bytes);
    if !tx.blob_upload_get(id)?.is_some_and(has_room) {
        return Err(Error::refused(Reason::StateConflict, "the upload was given up; begin again"));
    }
    match tx.blob_get(&blob.sha256)?.map(|blob| blob.state) {
        // Another upload of the same bytes; both may put them.
        Some(State::Arriving | State::Here) => Ok(()),
        Some(State::Leaving) => Err(being_removed()),
        None => {
            tx.blob_insert(blob)?;
            tx.audit(Note {
                subject: format!("blob/{}", blob.sha256),
                after: json!({ "sha256": blob.sha256, "size": blob.size_bytes }).to_string(),
                ..Note::default()
            })?;
            Ok(())
        }
    }
}

/// Writes down that the bytes are in the storage.
fn arrived(tx: &mut WriteTx<'_>, id: UploadId, brought: &Blob) -> Result<Blob, Error> {
    let sha256 = &brought.sha256;
    tx.blob_move(sha256, State::Arriving, State::Here)?;
    let here = |tx: &mut WriteTx<'_>| {
        let blob = tx.blob_get(sha256)?.filter(|blob| blob.state == State::Here);
        blob.ok_or_else(being_removed)
    };
    let known = here(tx)?;
    if known.is_of_command() && !brought.is_of_command() {
        // Whose file it was keeps it; from here on it is a blob among others, too.
        tx.blob_adopt(sha256, &brought.created_by)?;
        tx.audit(Note {
            subject: format!("blob/{sha256}"),
            before: json!({ "created_by": known.created_by }).to_string(),
            after: json!({ "created_by": brought.created_by }).to_string(),
            ..Note::default()
        })?;
    }
    tx.blob_touch(sha256, brought.created_at)?;
    tx.blob_upload_delete(id)?;
    here(tx)
}

fn being_removed() -> Error {
    Error::refused(Reason::Overloaded, "the same blob is being removed; upload it again in a moment")
}
