//! Profiles of the agents' own options.

use std::collections::BTreeMap;

use muster_common::{reason::Reason, settings};
use muster_domain::{
    assignment::{Assignment, Target},
    audit::Note,
    effective::{self, Compiled},
    item::{ItemName, is_resource_name},
    page::{Listed, Page},
    settings::Profile,
};
use muster_store::{
    ReadAssignments as _, ReadProfiles as _, WriteItemMarks as _, WriteProfiles as _, WriteTx,
};
use serde_json::json;

use super::{Actor, App, Error, assignments::Labelled, check_etag};

impl App {
    /// Makes or replaces a profile whole.
    ///
    /// # Errors
    /// If a key is unknown, a value out of range, or the profile was changed since it was read.
    pub async fn put_profile(
        &self,
        actor: &Actor,
        name: String,
        values: BTreeMap<String, String>,
        etag: String,
        validate_only: bool,
    ) -> Result<Profile, Error> {
        check(&name, &values)?;
        let now = self.clock.now();
        let mut profile =
            Profile { name, values, updated_at: now, updated_by: actor.principal.clone(), revision: 0 };
        let (row, nodes) = (profile.clone(), self.labelled());
        let revision = self
            .commit(actor.stamp("settings.put", now), move |tx| {
                let before = tx.profile_get(&row.name)?;
                check_etag(&etag, before.as_ref().map_or(0, |before| before.revision))?;
                check_rivals(tx, &row, &nodes)?;
                if validate_only {
                    return Ok(before.map_or(0, |before| before.revision));
                }
                if let Some(same) = before.as_ref().filter(|before| before.values == row.values) {
                    return Ok(same.revision);
                }
                tx.profile_put(&row)?;
                tx.item_mark(&ItemName::Settings)?;
                tx.audit(Note {
                    subject: format!("settings/{}", row.name),
                    before: before.map_or_else(String::new, |before| json!(before.values).to_string()),
                    after: json!(row.values).to_string(),
                    denied: false,
                })?;
                Ok(tx.revision())
            })
            .await?;
        profile.revision = revision;
        Ok(profile)
    }

    /// One profile.
    ///
    /// # Errors
    /// If it does not exist.
    pub async fn profile(&self, name: String) -> Result<Profile, Error> {
        self.store
            .read(move |tx| tx.profile_get(&name)?.ok_or_else(|| Error::not_found("settings profile", &name)))
            .await
    }

    /// A page of profiles.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn profiles(&self, page: Page) -> Result<Listed<Profile>, Error> {
        self.store.read(move |tx| tx.profile_list(&page).map_err(Error::from)).await
    }

    /// Removes a profile.
    ///
    /// # Errors
    /// If it does not exist, or an assignment gives it to nodes.
    pub async fn delete_profile(&self, actor: &Actor, name: String) -> Result<(), Error> {
        self.commit(actor.stamp("settings.delete", self.clock.now()), move |tx| {
            if let Some(user) = tx.assignment_all()?.into_iter().find(|a| gives(a, &name)) {
                return Err(Error::refused(
                    Reason::InUse,
                    format!("assignment {:?} gives it to nodes", user.name),
                ));
            }
            if !tx.profile_delete(&name)? {
                return Err(Error::not_found("settings profile", &name));
            }
            tx.audit(Note { subject: format!("settings/{name}"), ..Note::default() })?;
            Ok(())
        })
        .await
    }
}

fn gives(assignment: &Assignment, profile: &str) -> bool {
    let is_it = |target: &Target| matches!(target, Target::Settings { profile: given } if given == profile);
    is_it(&assignment.target) || assignment.targets().any(is_it)
}

fn check(name: &str, values: &BTreeMap<String, String>) -> Result<(), Error> {
    if !is_resource_name(name) {
        return Err(Error::invalid(
            "profile.name",
            format!("{name:?} does not match [a-z0-9]([-a-z0-9]{{0,61}}[a-z0-9])?"),
        ));
    }
    for (key, value) in values {
        settings::check(key, value).map_err(|error| Error::Invalid {
            reason: error.reason,
            field: format!("profile.values[{key}]"),
            message: error.to_string(),
        })?;
    }
    Ok(())
}

/// Refuses values that would set two assignments of one priority at odds on some node.
fn check_rivals(tx: &mut WriteTx<'_>, profile: &Profile, nodes: &[Labelled]) -> Result<(), Error> {
    let all: Vec<Compiled> =
        tx.assignment_all()?.into_iter().filter_map(|other| Compiled::new(other).ok()).collect();
    let mut profiles: BTreeMap<String, BTreeMap<String, String>> =
        tx.profile_all()?.into_iter().map(|profile| (profile.name, profile.values)).collect();
    profiles.insert(profile.name.clone(), profile.values.clone());
    for ours in all.iter().filter(|ours| gives(&ours.assignment, &profile.name)) {
        let nodes = nodes.iter().map(|(id, labels, facts)| (*id, labels, facts));
        if let Some(conflict) = effective::conflict(ours, &all, nodes, |name| profiles.get(name)) {
            let (name, keys) = (&ours.assignment.name, conflict.keys.join(", "));
            let message = format!("assignment {name:?} would be at odds in {keys}: {conflict}");
            return Err(Error::refused(Reason::Conflict, message));
        }
    }
    Ok(())
}
