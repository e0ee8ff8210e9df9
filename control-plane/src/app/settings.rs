//! Profiles of the agents' own options: immutable versions of sets of values.

use std::collections::{BTreeMap, HashMap};

use muster_domain::{
    assignment::Target,
    audit::Note,
    effective::{Compiled, Decided, Giving},
    event::{Happened, Kind},
    item::{ItemName, is_resource_name},
    page::{Listed, Page},
    settings::{Profile, Values, check_values},
};
use muster_store::{ReadProfiles, WriteProfiles as _};
use serde_json::json;

use super::{
    Actor, App, Error,
    assignments::check_unused,
    catalog::{Contents, Wanted},
    check_etag, events,
    fleet::Entry,
};

/// The values of some versions of profiles.
pub type Profiles = HashMap<ProfileVersion, Values>;

/// Name and number of one.
pub type ProfileVersion = (String, u64);

/// What someone wants a profile to say.
#[derive(Debug, Clone)]
pub struct Wish {
    /// Name.
    pub name: String,
    /// Key to written value.
    pub values: Values,
    /// Of the newest version, as it was read.
    pub etag: String,
    /// Only tell what it would do.
    pub validate_only: bool,
}

impl App {
    /// Adds the next version of a name, unless the newest has the same values. No node
    /// gets anything by this alone.
    ///
    /// # Errors
    /// If keys are unknown, values out of range, or there is a newer version than was read.
    pub async fn put_profile(&self, actor: &Actor, wish: Wish) -> Result<Profile, Error> {
        check_name(&wish.name)?;
        check_values(&wish.values).map_err(Error::Faults)?;
        let (now, created_by) = (self.clock.now(), actor.principal.clone());
        self.commit(actor.stamp("settings.put", now), move |tx| {
            let newest = tx.profile_get(&wish.name, None)?;
            let revision = newest.as_ref().map_or(0, |newest| newest.revision);
            check_etag(&wish.etag, revision)?;
            if let Some(same) = newest.as_ref().filter(|newest| newest.values == wish.values) {
                return Ok(same.clone());
            }
            let profile = Profile {
                name: wish.name.clone(),
                version: tx.profile_next_version(&wish.name)?,
                values: wish.values.clone(),
                created_at: now,
                created_by: created_by.clone(),
                revision,
            };
            if wish.validate_only {
                return Ok(profile);
            }
            tx.profile_insert(&profile)?;
            tx.audit(Note {
                subject: format!("settings/{}", profile.name),
                before: newest.as_ref().map_or_else(String::new, shown),
                after: shown(&profile),
                denied: false,
            })?;
            events::tell(tx, changed(&profile.name, "has another version", Some(profile.version)))?;
            Ok(Profile { revision: tx.revision(), ..profile })
        })
        .await
    }

    /// A version of a profile; 0: the newest.
    ///
    /// # Errors
    /// If it does not exist.
    pub async fn profile(&self, name: String, version: u64) -> Result<Profile, Error> {
        let which = (version > 0).then_some(version);
        self.store.read(move |tx| tx.profile_get(&name, which)?.ok_or_else(|| missing(&name))).await
    }

    /// A page of versions.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn profiles(&self, page: Page, name: Option<String>) -> Result<Listed<Profile>, Error> {
        self.store.read(move |tx| tx.profile_list(&page, name.as_deref()).map_err(Error::from)).await
    }

    /// Removes one version, or all with 0.
    ///
    /// # Errors
    /// If there is none, or an assignment gives it to nodes.
    pub async fn delete_profile(&self, actor: &Actor, name: String, version: u64) -> Result<(), Error> {
        let which = (version > 0).then_some(version);
        self.commit(actor.stamp("settings.delete", self.clock.now()), move |tx| {
            check_unused(tx, &Target::Settings { profile: name.clone(), version })?;
            if tx.profile_delete(&name, which)? == 0 {
                return Err(missing(&name));
            }
            tx.audit(Note {
                subject: format!("settings/{name}"),
                before: json!({ "version": which }).to_string(),
                ..Note::default()
            })?;
            let does = if which.is_some() { "has lost a version" } else { "was deleted" };
            events::tell(tx, changed(&name, does, which))
        })
        .await
    }
}

fn changed(name: &str, does: &str, version: Option<u64>) -> Happened {
    let version = version.map(|version| version.to_string()).unwrap_or_default();
    let what = Happened::new(Kind::SettingsChanged, &format!("settings profile {name} {does}"));
    what.about(format!("settings/{name}")).with("version", version)
}

/// The values of all versions that some assignments may give.
pub(super) fn values_of<'a>(
    tx: &mut impl ReadProfiles,
    assignments: impl Iterator<Item = &'a Compiled>,
) -> Result<Profiles, muster_store::Error> {
    let mut profiles = Profiles::new();
    for target in assignments.flat_map(|compiled| compiled.assignment.targets()) {
        let Target::Settings { profile, version } = target else { continue };
        let key = (profile.clone(), *version);
        if profiles.contains_key(&key) {
            continue;
        }
        let found = tx.profile_get(profile, Some(*version))?;
        profiles.extend(found.map(|found| (key, found.values)));
    }
    Ok(profiles)
}

/// Which version of which profile gave a node the options that it has from here. Nothing
/// as long as it does not run what it should: who gave it that, nobody knows any more.
pub(super) fn settings_by(
    entry: &Entry,
    catalog: &Contents,
    wanted: &[Wanted],
) -> BTreeMap<String, ProfileVersion> {
    let running = entry.reported(&ItemName::Settings).and_then(|state| state.running.as_ref());
    let newest = wanted.iter().find(|wanted| wanted.item == ItemName::Settings);
    if newest.map(|wanted| wanted.version.sha256) != running.map(|running| running.sha256) {
        return BTreeMap::new();
    }
    let by = |(key, decided): (&str, Decided<'_, Giving<'_>>)| match decided.by.target {
        Target::Settings { profile, version } => Some((key.to_owned(), (profile.clone(), *version))),
        Target::Bundle { .. } | Target::Extension { .. } | Target::Release { .. } => None,
    };
    catalog.decided_for(&entry.node).into_iter().filter_map(by).collect()
}

fn missing(name: &str) -> Error {
    Error::not_found("settings profile", name)
}

fn check_name(name: &str) -> Result<(), Error> {
    if is_resource_name(name) {
        return Ok(());
    }
    let message = format!("{name:?} does not match [a-z0-9]([-a-z0-9]{{0,61}}[a-z0-9])?");
    Err(Error::invalid("profile.name", message))
}

fn shown(profile: &Profile) -> String {
    json!({ "version": profile.version, "values": profile.values }).to_string()
}
