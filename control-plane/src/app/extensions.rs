//! Extensions: immutable versions of a package of the signed repository, and how it is set.

use std::sync::Arc;

use bytes::Bytes;
use muster_common::{digest::Sha256, ids::SecretId, reason::Reason};
use muster_domain::{
    artifact::{Kind, Target as File},
    assignment::Target,
    audit::Note,
    extension::Extension,
    item::is_resource_name,
    page::{Listed, Page},
    secret::Secret,
};
use muster_store::{
    ReadArtifacts as _, ReadExtensions as _, ReadSecrets as _, WriteExtensions as _, WriteSecrets as _,
    WriteTx,
};
use semver::Version;
use serde_json::json;

use super::{
    Actor, App, Error, artifacts,
    assignments::check_unused,
    secrets::{Value, is_same},
};

/// An extension as someone wants it; its settings and limits were checked by whoever decoded it.
#[derive(Clone)]
pub struct Draft {
    /// Name.
    pub name: String,
    /// Of its package.
    pub publisher: String,
    /// Of its package.
    pub of_type: String,
    /// Of its package; empty: the newest.
    pub package_version: String,
    /// Its protected settings. `None`: it has none.
    pub protected: Option<Arc<Value>>,
    /// The bytes to store.
    pub encode: Encode,
}

/// What was chosen for an extension.
pub struct Chosen<'a> {
    /// Of its package.
    pub package_version: &'a str,
    /// Its package, one for each kind of host.
    pub files: &'a [File],
    /// Of its protected settings.
    pub protected: Option<SecretId>,
}

/// The bytes of an extension with what was chosen for it.
pub type Encode = Arc<dyn Fn(&Chosen<'_>) -> Bytes + Send + Sync>;

impl App {
    /// Adds the next version of a name, unless the newest has the same bytes.
    ///
    /// # Errors
    /// If the name cannot be, the repository has no such package, or protected settings are to
    /// stay that are not there.
    pub async fn create_extension(
        &self,
        actor: &Actor,
        draft: Draft,
        validate_only: bool,
    ) -> Result<Extension, Error> {
        if !is_resource_name(&draft.name) {
            let message = format!("{:?} does not match [a-z0-9]([-a-z0-9]{{0,61}}[a-z0-9])?", draft.name);
            return Err(Error::invalid("name", message));
        }
        let fresh = match draft.protected.as_deref() {
            Some(Value::Given(content)) => Some(self.vault.encrypt(SecretId::generate(), content)),
            Some(Value::Kept(_)) | None => None,
        };
        let fresh = fresh
            .transpose()
            .map_err(|error| Error::refused(Reason::ProtectedUnreadable, error.to_string()))?;
        let (now, by, app) = (self.clock.now(), actor.principal.clone(), self.clone());
        self.commit(actor.stamp("extensions.create", now), move |tx| {
            let name = &draft.name;
            let newest = tx.extension_get(name, None)?;
            let (package_version, files) = package(tx, &draft)?;
            let protected = app.protected(tx, &draft, newest.as_ref(), fresh.as_ref())?;
            let chosen = Chosen { package_version: &package_version, files: &files, protected };
            let payload = (draft.encode)(&chosen);
            let sha256 = Sha256::of(&payload);
            if let Some(same) = newest.as_ref().filter(|newest| newest.sha256 == sha256) {
                return Ok(same.clone());
            }
            let extension = Extension {
                name: name.clone(),
                version: tx.extension_next_version(name)?,
                sha256,
                publisher: draft.publisher.clone(),
                of_type: draft.of_type.clone(),
                package_version,
                created_at: now,
                created_by: by.clone(),
            };
            if !validate_only {
                if let Some(fresh) = fresh.as_ref().filter(|fresh| Some(fresh.id) == protected) {
                    tx.secret_put(fresh)?;
                }
                tx.extension_insert(&extension, &payload, protected)?;
                tx.audit(Note {
                    subject: format!("extension/{name}"),
                    after: shown(&extension, protected.is_some()),
                    ..Note::default()
                })?;
            }
            Ok(extension)
        })
        .await
    }

    /// The id of the protected settings. Those of the newest version keep theirs, if they are the
    /// same: the same extension sent again is the same version.
    fn protected(
        &self,
        tx: &mut WriteTx<'_>,
        draft: &Draft,
        newest: Option<&Extension>,
        fresh: Option<&Secret>,
    ) -> Result<Option<SecretId>, Error> {
        let name = &draft.name;
        match draft.protected.as_deref() {
            None => Ok(None),
            Some(Value::Kept(id)) => {
                let kept = tx.secret_in_extensions(*id, name)?.map(|kept| kept.id);
                let message = || format!("no version of extension {name:?} has protected settings {id}");
                Ok(Some(kept.ok_or_else(|| Error::invalid("content.protected_id", message()))?))
            }
            Some(Value::Given(content)) => {
                let held = match newest {
                    Some(newest) => tx.secret_of_extension(name, newest.version)?,
                    None => None,
                };
                let same = held.filter(|held| is_same(&self.vault, held, content));
                Ok(same.as_ref().or(fresh).map(|secret| secret.id))
            }
        }
    }

    /// A version with its bytes; 0: the newest.
    ///
    /// # Errors
    /// If it does not exist.
    pub async fn extension(&self, name: String, version: u64) -> Result<(Extension, Bytes), Error> {
        self.store
            .read(move |tx| {
                let missing = || Error::not_found("extension", &name);
                let found = tx.extension_get(&name, (version > 0).then_some(version))?.ok_or_else(missing)?;
                let payload = tx.extension_payload(&name, found.version)?.ok_or_else(missing)?;
                Ok((found, Bytes::from(payload)))
            })
            .await
    }

    /// A page of versions.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn extensions(&self, page: Page, name: Option<String>) -> Result<Listed<Extension>, Error> {
        self.store.read(move |tx| tx.extension_list(&page, name.as_deref()).map_err(Error::from)).await
    }

    /// Removes one version, or all with 0.
    ///
    /// # Errors
    /// If there is none, or an assignment gives it to nodes.
    pub async fn delete_extension(&self, actor: &Actor, name: String, version: u64) -> Result<(), Error> {
        let which = (version > 0).then_some(version);
        self.commit(actor.stamp("extensions.delete", self.clock.now()), move |tx| {
            check_unused(tx, &Target::Extension { name: name.clone(), version })?;
            if tx.extension_delete(&name, which)? == 0 {
                return Err(Error::not_found("extension", &name));
            }
            tx.secret_sweep()?;
            tx.audit(Note {
                subject: format!("extension/{name}"),
                before: json!({ "version": which }).to_string(),
                ..Note::default()
            })?;
            Ok(())
        })
        .await
    }
}

/// The version of the package, and its files, out of the repository.
fn package(tx: &mut WriteTx<'_>, draft: &Draft) -> Result<(String, Vec<File>), Error> {
    let Draft { publisher, of_type, package_version, .. } = draft;
    let all = tx.target_of_package(Kind::Extension, publisher, of_type)?;
    let none = |what: String| Error::refused(Reason::PackageNotPublished, what);
    if all.is_empty() {
        return Err(none(format!("the repository has no package {publisher}/{of_type}")));
    }
    let newest = || {
        let versions = all.iter().filter_map(|it| Version::parse(&it.version).ok());
        versions.filter(|it| it.pre.is_empty()).max().map(|it| it.to_string())
    };
    let version = match package_version.as_str() {
        "" => newest().ok_or_else(|| {
            none(format!("the repository has pre-releases only of package {publisher}/{of_type}: name one"))
        })?,
        version => version.to_owned(),
    };
    let files = artifacts::platforms(all.iter(), &version);
    if files.is_empty() {
        let newest = newest().unwrap_or_else(|| "a pre-release".to_owned());
        let what = format!(
            "the repository has no version {version} of package {publisher}/{of_type}; the newest is {newest}"
        );
        return Err(none(what));
    }
    Ok((version, files))
}

fn shown(extension: &Extension, is_protected: bool) -> String {
    let Extension { version, sha256, publisher, of_type, package_version, .. } = extension;
    let package = format!("{publisher}/{of_type} {package_version}");
    json!({ "version": version, "sha256": sha256, "package": package, "protected": is_protected }).to_string()
}
