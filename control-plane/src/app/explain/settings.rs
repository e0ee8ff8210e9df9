//! Which version of which profile decides each option of a node, and what the host
//! keeps as it has it, whatever is given to it.

use muster_domain::settings::{EffectiveSetting, Origin};

use super::{Reason, no, yes};
use crate::app::{catalog::Contents, fleet::Entry};

pub(super) fn reasons(entry: &Entry, catalog: &Contents) -> Vec<Reason> {
    let decided = catalog.decided_for(&entry.node).into_iter().map(|(key, decided)| {
        let (value, target, name) = (decided.value, decided.by.target, &decided.by.by.assignment.name);
        yes("Profile", format!("{key:?} is {value:?} by {target}, of assignment {name:?}"))
    });
    decided.chain(entry.node.facts.settings().iter().filter_map(kept)).collect()
}

/// What a host has in force in the place of what it was given.
fn kept(setting: &EffectiveSetting) -> Option<Reason> {
    let desired = setting.desired.as_ref()?;
    let by = match setting.origin {
        Some(Origin::Lock) => "its lock file says so",
        Some(Origin::Configuration) => "its configuration file says so",
        Some(Origin::Default | Origin::ControlPlane) | None => {
            "its lock file cannot be used, and locks everything"
        }
    };
    let (key, value) = (&setting.key, &setting.value);
    Some(no("LocalLock", format!("the host keeps {key:?} at {value:?}, not {desired:?}: {by}")))
}
