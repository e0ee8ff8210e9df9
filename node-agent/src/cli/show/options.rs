//! The options in force, and whether the lock file can be used.

use std::{collections::BTreeMap, io};

use muster_common::{error_chain::Chain, settings::SCHEMA};
use serde_json::{Map, Value, json};

use super::{Tree, UNKNOWN};
use crate::{
    applier,
    cli::Context,
    identity::Identity,
    locks::{Error, Locks},
    wiring::Layers,
};

pub(super) fn put(context: &Context, identity: Option<&Identity>, all: &mut Tree) {
    let (locks, error) = match Locks::load(&context.config.locks_file) {
        Ok(locks) => (Some(locks), String::new()),
        // This user may not read what the agent may.
        Err(Error::Read { source, .. }) if source.kind() == io::ErrorKind::PermissionDenied => {
            (None, UNKNOWN.to_owned())
        }
        Err(error) => (Some(Locks::everything()), Chain(&error).to_string()),
    };
    all.put("locks-error", json!(error));
    let desired = identity.map_or_else(BTreeMap::new, |identity| {
        applier::settings_on_disk(&context.state.node(identity.node).join("items"))
    });
    all.put("settings", in_force(context, &desired, locks.as_ref()));
}

/// Nobody knows what a file says that cannot be used.
pub(super) fn lose(context: &Context, all: &mut Tree) {
    let unknown = "unknown: the configuration file cannot be used";
    let settings = SCHEMA.iter().map(|setting| (setting.key.to_owned(), json!(unknown)));
    all.put("settings", settings.collect::<Map<_, _>>().into());
    if context.ways_of_agent().is_none() {
        let ways = context.ways().into_keys().map(|service| (service, json!(unknown)));
        all.put("proxy", ways.collect::<Map<_, _>>().into());
    }
}

fn in_force(context: &Context, desired: &BTreeMap<String, String>, locks: Option<&Locks>) -> Value {
    let Some(locks) = locks else {
        return SCHEMA
            .iter()
            .map(|setting| (setting.key.to_owned(), json!(UNKNOWN)))
            .collect::<Map<_, _>>()
            .into();
    };
    let layers = Layers { control_plane: desired, configuration: &context.config.settings, locks };
    let told = layers.in_force().into_iter().map(|it| {
        let option = json!({ "value": it.value, "origin": it.origin.to_string(), "desired": it.desired });
        (it.key, option)
    });
    told.collect::<Map<_, _>>().into()
}
