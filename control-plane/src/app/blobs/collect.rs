//! Takes away blobs that nobody needs, and what broken uploads have left.

use std::time::Duration;

use muster_common::ids::UploadId;
use muster_domain::blob::State;
use muster_store::{ReadBlobs as _, WriteBlobs as _};

use super::{App, Error, give_up};
use crate::blobs;

/// Blobs in one round.
const STEP: u32 = 100;
/// Longest wait between two rounds.
const EVERY: Duration = Duration::from_secs(60);
/// Shortest wait between two rounds.
const AT_MOST_EVERY: Duration = Duration::from_millis(250);

impl App {
    /// How often [`Self::collect_blobs`] has something to do.
    #[must_use]
    pub fn collect_blobs_every(&self) -> Duration {
        let bounds = &self.fixed.blobs;
        (bounds.keep_unreferenced.min(bounds.keep_uploads) / 4).clamp(AT_MOST_EVERY, EVERY)
    }

    /// Takes away what is not needed any more, and finishes what an end of the
    /// process has cut.
    ///
    /// # Errors
    /// If the store or the storage fails; the rest goes next time.
    pub async fn collect_blobs(&self) -> Result<(), Error> {
        self.collect_uploads().await?;
        self.give_up_unreferenced().await?;
        let leaving = self.store.read(|tx| Ok::<_, Error>(tx.blob_leaving(STEP)?)).await?;
        for sha256 in leaving {
            let stamp = self.own_stamp("blobs.collect");
            let abandon = move |tx: &mut muster_store::WriteTx<'_>| {
                tx.blob_abandon(&sha256)?;
                // Asked again: an upload of it may have begun.
                let state = tx.blob_get(&sha256)?.map(|blob| blob.state);
                Ok::<_, Error>(state == Some(State::Leaving))
            };
            if self.store.write(stamp, abandon).await?.value {
                self.remove_bytes(sha256).await?;
                self.metrics.pruned("blobs", 1);
            }
        }
        Ok(())
    }

    /// Ends uploads whose time is over, and removes files that belong to none.
    async fn collect_uploads(&self) -> Result<(), Error> {
        let now = self.clock.now();
        for id in self.blobs.uploads().await? {
            let upload = self.store.read(move |tx| Ok::<_, Error>(tx.blob_upload_get(id)?)).await?;
            if upload.is_none_or(|upload| upload.expires_at <= now) {
                self.discard_upload(id).await?;
            }
        }
        // Those that never got a file.
        let expired =
            move |tx: &mut muster_store::ReadTx<'_>| Ok::<_, Error>(tx.blob_upload_expired(now, STEP)?);
        for id in self.store.read(expired).await? {
            self.discard_upload(id).await?;
        }
        Ok(())
    }

    /// First the file, then the row: what is cut between them is found again.
    async fn discard_upload(&self, id: UploadId) -> Result<(), Error> {
        match self.blobs.discard(id).await {
            // Whoever writes it now ends in time by itself.
            Err(blobs::Error::Busy) => return Ok(()),
            other => other?,
        }
        let (stamp, now) = (self.own_stamp("blobs.collect"), self.clock.now());
        self.store.write(stamp, move |tx| Ok::<_, Error>(tx.blob_upload_expire(id, now)?)).await?;
        self.metrics.pruned("blob-uploads", 1);
        Ok(())
    }

    async fn give_up_unreferenced(&self) -> Result<(), Error> {
        let before = self.clock.now() - self.fixed.blobs.keep_unreferenced;
        let free =
            move |tx: &mut muster_store::ReadTx<'_>| Ok::<_, Error>(tx.blob_unreferenced(before, STEP)?);
        for sha256 in self.store.read(free).await? {
            let stamp = self.own_stamp("blobs.collect");
            self.store
                .write(stamp, move |tx| {
                    let since = tx.blob_get(&sha256)?.and_then(|blob| blob.unreferenced_since);
                    // Asked again: something may refer to it since.
                    if since.is_some_and(|since| since <= before) {
                        give_up(tx, &sha256)?;
                    }
                    Ok::<_, Error>(())
                })
                .await?;
        }
        Ok(())
    }
}
