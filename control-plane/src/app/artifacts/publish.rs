//! Makes a state of the repository the newest.

use std::collections::{BTreeMap, BTreeSet};

use muster_common::{clock::UnixMillis, digest::Sha256, reason::Reason};
use muster_domain::{
    artifact::{Kind, Repository, Target},
    audit::Note,
    blob::State,
    item::ItemName,
    release::Release,
};
use muster_store::{
    ReadArtifacts as _, ReadBlobs as _, ReadReleases as _, WriteArtifacts as _, WriteBlobs as _,
    WriteItemMarks as _, WriteReleases as _, WriteTx,
};
use serde_json::json;

use super::check::{Checked, check, earlier_roots, is_root};
use crate::app::{Actor, App, Error};

/// Who needs the blobs of the newest state.
const REFERRER: &str = "repository";
/// The one metadata file whose path does not say its version.
const TIMESTAMP: &str = "metadata/timestamp.json";
/// Most files in one call.
const MAX_FILES: usize = 128;
/// Files named in a refusal.
const NAMED: usize = 5;

/// Metadata files by their paths.
pub type Files = BTreeMap<String, Vec<u8>>;

impl App {
    /// Makes what these files say the newest state, with those that are here already.
    ///
    /// # Errors
    /// If an agent would refuse it, a file that it names is not here, or it is not newer.
    pub async fn publish_repository(
        &self,
        actor: &Actor,
        files: Files,
        validate_only: bool,
    ) -> Result<Repository, Error> {
        let Some(pinned) = self.fixed.artifacts_root.clone() else {
            let message = "no root of the repository is pinned: name its root.json in [artifacts] root";
            return Err(Error::refused(Reason::NoTrustRoot, message));
        };
        if files.len() > MAX_FILES {
            return Err(Error::invalid("metadata", format!("{} files; at most {MAX_FILES}", files.len())));
        }
        let (now, by) = (self.clock.now(), actor.principal.clone());
        let (release_of, files_of) = (self.fixed.release_of, self.fixed.files_of_release);
        let (before, here) = self.store.read(stored).await?;
        let have = |path: &str| files.get(path).or_else(|| here.get(path)).cloned();
        let last = before.as_ref().map(|(repository, _)| repository);
        let mut checked = check(&pinned, last, now, have)?;
        checked.read.extend(earlier_roots(&pinned, now, &files)?);
        let is_same = last.is_some_and(|last| last.kept == checked.repository.kept);
        // With new keys versions may begin anew.
        let is_rotated = last.is_some_and(|last| last.root.version < checked.repository.root.version);
        check_versions(&files, &here, |path| match path {
            TIMESTAMP => !is_same,
            path => is_rotated && !is_root(path),
        })?;
        if let Some(last) =
            last.filter(|_| is_same && checked.read.keys().all(|path| here.contains_key(path)))
        {
            return Ok(last.clone());
        }
        checked.repository.published_by = by;
        if let Some(last) = last {
            checked.repository = checked.repository.after(last);
        }
        let seen = before.map(|(_, revision)| revision);
        self.commit(actor.stamp("artifacts.publish", now), move |tx| {
            let last = tx.repository_get()?;
            if last.as_ref().map(|(_, revision)| *revision) != seen {
                let message = "somebody else published meanwhile; look at what is there, and try again";
                return Err(Error::refused(Reason::RepositoryStale, message));
            }
            let last = last.map(|(repository, _)| repository);
            check_blobs(tx, &checked.targets)?;
            check_releases(tx, &checked.targets, files_of)?;
            super::needed::check(tx, &checked.targets)?;
            if !validate_only {
                write(tx, last.as_ref(), &checked, now)?;
                releases(tx, &checked.targets, release_of, now)?;
                tx.audit(Note {
                    subject: REFERRER.to_owned(),
                    before: last.as_ref().map_or_else(String::new, |it| shown(it, None)),
                    after: shown(&checked.repository, Some(checked.targets.len())),
                    denied: false,
                })?;
            }
            Ok(checked.repository.clone())
        })
        .await
    }
}

type Stored = (Option<(Repository, u64)>, Files);

/// The newest state, and all metadata files.
fn stored(tx: &mut muster_store::ReadTx<'_>) -> Result<Stored, Error> {
    let mut files = Files::new();
    for path in tx.metadata_paths()? {
        files.extend(tx.metadata_get(&path)?.map(|content| (path, content)));
    }
    Ok((tx.repository_get()?, files))
}

/// Refuses other files under the versions that are published: nobody would know which is meant. Only
/// the timestamp has one path for all its versions.
fn check_versions(files: &Files, here: &Files, may_change: impl Fn(&str) -> bool) -> Result<(), Error> {
    let is_other = |(path, content): &(&String, &Vec<u8>)| {
        !may_change(path) && here.get(*path).is_some_and(|here| here != *content)
    };
    let Some((path, _)) = files.iter().find(is_other) else { return Ok(()) };
    let message = format!("{path} is another file than the published one, and has the same version");
    Err(Error::refused(Reason::RepositoryStale, message))
}

/// Refuses files whose bytes are not here.
fn check_blobs(tx: &mut WriteTx<'_>, targets: &[Target]) -> Result<(), Error> {
    let (mut missing, mut count) = (Vec::new(), 0);
    for target in targets {
        // The file of a command is for who may see that command.
        let known = tx.blob_get(&target.sha256)?;
        let known = known.filter(|it| it.state == State::Here && !it.is_of_command());
        if known.is_none_or(|it| it.size_bytes != target.size_bytes) {
            count += 1;
            if missing.len() < NAMED {
                missing.push(format!("{} ({})", target.name, target.sha256));
            }
        }
    }
    if count == 0 {
        return Ok(());
    }
    let message = format!("{count} files are not here: upload them as blobs first: {}", missing.join(", "));
    Err(Error::refused(Reason::TargetMissing, message))
}

/// Refuses other bytes for what was published as this version, for the same kind of hosts, also if it
/// was withdrawn meanwhile: hosts that run it are not told of a difference.
fn check_releases(
    tx: &mut WriteTx<'_>,
    targets: &[Target],
    files_of: super::FilesOfRelease,
) -> Result<(), Error> {
    for target in targets.iter().filter(|it| it.kind == Kind::Release) {
        let Some(payload) = tx.release_payload(&target.version)? else { continue };
        let is_other = |(name, sha256): &(String, Sha256)| *name == target.name && *sha256 != target.sha256;
        if files_of(&payload).iter().any(is_other) {
            let name = &target.name;
            let message = format!("{name} was published with other bytes; give them another version");
            let (reason, field) = (Reason::RepositoryInvalid, "metadata".to_owned());
            return Err(Error::Invalid { reason, field, message });
        }
    }
    Ok(())
}

fn write(
    tx: &mut WriteTx<'_>,
    last: Option<&Repository>,
    checked: &Checked,
    now: UnixMillis,
) -> Result<(), Error> {
    for (path, content) in &checked.read {
        tx.metadata_put(path, content)?;
    }
    // Who has just read the timestamp of before goes on with what belongs to it.
    let stays = |path: &String| {
        is_root(path)
            || checked.repository.files.contains(path)
            || last.is_some_and(|last| last.files.contains(path))
    };
    for path in tx.metadata_paths()?.iter().filter(|path| !stays(path)) {
        tx.metadata_delete(path)?;
    }
    let known: BTreeMap<(String, Sha256), UnixMillis> =
        tx.target_all()?.into_iter().map(|it| ((it.name, it.sha256), it.since)).collect();
    let since = |it: &Target| known.get(&(it.name.clone(), it.sha256)).copied().unwrap_or(now);
    let targets: Vec<Target> =
        checked.targets.iter().map(|it| Target { since: since(it), ..it.clone() }).collect();
    tx.target_replace(&targets)?;
    tx.blob_release(REFERRER, now)?;
    for target in &targets {
        tx.blob_refer(&target.sha256, REFERRER)?;
    }
    Ok(tx.repository_put(&checked.repository)?)
}

/// Releases follow from the files: those that are new, those that are there for another kind of host,
/// and those that are no more.
fn releases(
    tx: &mut WriteTx<'_>,
    targets: &[Target],
    release_of: super::ReleaseOf,
    now: UnixMillis,
) -> Result<(), Error> {
    let of = targets.iter().filter(|it| it.kind == Kind::Release);
    let versions: BTreeSet<&str> = of.map(|it| it.version.as_str()).collect();
    for version in &versions {
        let files = super::platforms(targets.iter().filter(|it| it.kind == Kind::Release), version);
        let payload = release_of(version, &files);
        let (sha256, known) = (Sha256::of(&payload), tx.release_get(version)?);
        if known.as_ref().is_some_and(|it| it.sha256 == sha256 && it.withdrawn_at.is_none()) {
            continue;
        }
        let published_at = known.as_ref().map_or(now, |known| known.published_at);
        let version = (*version).to_owned();
        tx.release_put(&Release { version, sha256, published_at, withdrawn_at: None }, &payload)?;
        if known.is_some_and(|known| known.sha256 != sha256) {
            tx.item_mark(&ItemName::Release)?; // who has it is told of the other bytes
        }
    }
    for gone in tx.release_all()? {
        if gone.withdrawn_at.is_none() && !versions.contains(gone.version.as_str()) {
            tx.release_withdraw(&gone.version, now)?;
        }
    }
    Ok(())
}

fn shown(repository: &Repository, targets: Option<usize>) -> String {
    let versions: BTreeMap<&str, u64> =
        repository.roles().into_iter().map(|(name, role)| (name, role.version)).collect();
    match targets {
        Some(targets) => json!({ "versions": versions, "targets": targets }).to_string(),
        None => json!({ "versions": versions }).to_string(),
    }
}
