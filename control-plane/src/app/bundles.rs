//! Bundles: immutable versions of named sets of files.

use bytes::Bytes;
use muster_common::digest::Sha256;
use muster_domain::{
    assignment::Target,
    audit::Note,
    blob::State,
    bundle::{BlobOf, Bundle},
    item::is_resource_name,
    page::{Listed, Page},
};
use muster_store::{
    ReadBlobs as _, ReadBundles as _, WriteBlobs as _, WriteBundles as _, WriteSecrets as _, WriteTx,
};
use serde_json::json;

use super::{
    Actor, App, Error,
    assignments::check_unused,
    blobs::bundle_referrer,
    secrets::{Draft, Prepared},
};

impl App {
    /// Adds the next version of a name, unless the newest has the same bytes.
    /// The content was checked by whoever decoded it.
    ///
    /// # Errors
    /// If the name cannot be, a protected content is to stay that is not there, or a blob of
    /// it is not here.
    pub async fn create_bundle(
        &self,
        actor: &Actor,
        name: String,
        draft: Draft,
        validate_only: bool,
    ) -> Result<Bundle, Error> {
        if !is_resource_name(&name) {
            return Err(Error::invalid(
                "name",
                format!("{name:?} does not match [a-z0-9]([-a-z0-9]{{0,61}}[a-z0-9])?"),
            ));
        }
        let now = self.clock.now();
        let created_by = actor.principal.clone();
        let (prepared, app) = (Prepared::new(&self.vault, draft)?, self.clone());
        self.commit(actor.stamp("bundles.create", now), move |tx| {
            let newest = tx.bundle_get(&name, None)?;
            let chosen =
                prepared.choose(tx, &app.vault, &name, newest.as_ref().map(|newest| newest.version))?;
            let (payload, sha256) = (&chosen.payload, Sha256::of(&chosen.payload));
            if let Some(same) = newest.as_ref().filter(|newest| newest.sha256 == sha256) {
                return Ok(same.clone());
            }
            let blobs = (app.fixed.bundle_blobs)(payload);
            let bundle = Bundle {
                name: name.clone(),
                version: tx.bundle_next_version(&name)?,
                sha256,
                size_bytes: payload.len() as u64,
                created_at: now,
                created_by: created_by.clone(),
            };
            check_blobs(tx, &blobs)?;
            if !validate_only {
                tx.bundle_insert(&bundle, payload)?;
                refer(tx, &bundle, &blobs)?;
                chosen.put(tx, &name, bundle.version)?;
                let (version, protected) = (bundle.version, chosen.count());
                let after = json!({ "version": version, "sha256": sha256, "protected": protected });
                let subject = format!("bundle/{name}");
                tx.audit(Note { subject, after: after.to_string(), ..Note::default() })?;
            }
            Ok(bundle)
        })
        .await
    }

    /// A version with its bytes; 0: the newest.
    ///
    /// # Errors
    /// If it does not exist.
    pub async fn bundle(&self, name: String, version: u64) -> Result<(Bundle, Bytes), Error> {
        self.store
            .read(move |tx| {
                let missing = || Error::not_found("bundle", &name);
                let bundle = tx.bundle_get(&name, (version > 0).then_some(version))?.ok_or_else(missing)?;
                let payload = tx.bundle_payload(&name, bundle.version)?.ok_or_else(missing)?;
                Ok((bundle, Bytes::from(payload)))
            })
            .await
    }

    /// A page of versions.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn bundles(&self, page: Page, name: Option<String>) -> Result<Listed<Bundle>, Error> {
        self.store.read(move |tx| tx.bundle_list(&page, name.as_deref()).map_err(Error::from)).await
    }

    /// Removes one version, or all with 0.
    ///
    /// # Errors
    /// If there is none, or an assignment gives it to nodes.
    pub async fn delete_bundle(&self, actor: &Actor, name: String, version: u64) -> Result<(), Error> {
        let which = (version > 0).then_some(version);
        let now = self.clock.now();
        self.commit(actor.stamp("bundles.delete", now), move |tx| {
            check_unused(tx, &Target::Bundle { name: name.clone(), version })?;
            let deleted = tx.bundle_delete(&name, which)?;
            if deleted.is_empty() {
                return Err(Error::not_found("bundle", &name));
            }
            for version in deleted {
                tx.blob_release(&bundle_referrer(&name, version), now)?;
            }
            tx.secret_sweep()?;
            tx.audit(Note {
                subject: format!("bundle/{name}"),
                before: json!({ "version": which }).to_string(),
                ..Note::default()
            })?;
            Ok(())
        })
        .await
    }
}

/// Refuses blobs that are not here, or not as the bundle says.
fn check_blobs(tx: &mut WriteTx<'_>, blobs: &[BlobOf]) -> Result<(), Error> {
    for BlobOf { file, sha256, size_bytes } in blobs {
        // The file of a command is for who may see that command, not for who knows its digest.
        let known = tx.blob_get(sha256)?;
        let known = known.filter(|known| known.state == State::Here && !known.is_of_command());
        let Some(known) = known else {
            let message = format!("there is no blob {sha256}; upload it first");
            return Err(Error::invalid(format!("content.files[{file}].blob"), message));
        };
        if known.size_bytes != *size_bytes {
            let message = format!("blob {sha256} has {} bytes, not {size_bytes}", known.size_bytes);
            return Err(Error::invalid(format!("content.files[{file}].blob.size_bytes"), message));
        }
    }
    Ok(())
}

/// From now on the blobs stay as long as this version does.
fn refer(tx: &mut WriteTx<'_>, bundle: &Bundle, blobs: &[BlobOf]) -> Result<(), Error> {
    let referrer = bundle_referrer(&bundle.name, bundle.version);
    for blob in blobs {
        tx.blob_refer(&blob.sha256, &referrer)?;
    }
    Ok(())
}
