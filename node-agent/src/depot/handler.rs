//! Packages that are laid out as Azure's VM extensions are: `HandlerManifest.json` with
//! commands, `HandlerEnvironment.json` with places, `config/0.settings`, and
//! `status/0.status`. Read, not trusted: it says what can be run, and nothing more.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Package, invalid,
    manifest::{LONGEST, Manifest, Program, Restart, Unusable, Verb},
};
use crate::platform::{files, units::Limits};

/// The one sequence number: settings that change are written over.
pub(super) const STATUS: &str = "0.status";
/// What Azure's agent gives a command.
const TIMEOUT: Duration = Duration::from_secs(900);
const INTERVAL: Duration = Duration::from_secs(60);

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct File {
    handler_manifest: Commands,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Commands {
    install_command: String,
    uninstall_command: String,
    enable_command: String,
    disable_command: String,
    #[serde(default)]
    update_command: String,
}

/// The manifest of such a package. Publisher, type and version stand in the signed
/// repository only: the package itself has no word for them. They are those of `package`,
/// which was held against what is signed before.
///
/// # Errors
/// If there is none.
pub(super) fn manifest(folder: &Path, package: &Package) -> io::Result<Result<Manifest, Unusable>> {
    let bytes = fs::read(folder.join("HandlerManifest.json")).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => invalid("the package has no manifest".to_owned()),
        _ => error,
    })?;
    Ok(parse(&bytes, package))
}

fn parse(bytes: &[u8], package: &Package) -> Result<Manifest, Unusable> {
    if bytes.len() > LONGEST {
        return Err(Unusable(format!("HandlerManifest.json has more than {LONGEST} bytes")));
    }
    let unusable = |error: serde_json::Error| Unusable(format!("HandlerManifest.json: {error}"));
    let value: Value = serde_json::from_slice(bytes).map_err(unusable)?;
    // A list of one, or that one alone: both are seen.
    let one = match value {
        Value::Array(list) => list.into_iter().next().unwrap_or_default(),
        other => other,
    };
    let File { handler_manifest: commands } = serde_json::from_value(one).map_err(unusable)?;
    let mut verbs = BTreeMap::new();
    for (verb, command) in [
        (Verb::Install, commands.install_command),
        (Verb::Uninstall, commands.uninstall_command),
        (Verb::Enable, commands.enable_command),
        (Verb::Disable, commands.disable_command),
        (Verb::Update, commands.update_command),
    ] {
        let argv: Vec<String> = command.split_ascii_whitespace().map(str::to_owned).collect();
        if argv.first().is_some_and(|program| program.split('/').any(|part| part == "..")) {
            return Err(Unusable(format!("{} names no program of the package", verb.as_str())));
        }
        if !argv.is_empty() {
            verbs.insert(verb, Program { argv, timeout: TIMEOUT });
        }
    }
    Ok(Manifest {
        publisher: package.publisher.clone(),
        kind: package.kind.clone(),
        version: package.version.clone(),
        os: "linux".to_owned(),
        arch: "any".to_owned(),
        wants_proxy: false,
        reports_status: false,
        limits: Limits::default(),
        requires_limits: false,
        verbs,
        health_interval: INTERVAL,
        health_within: INTERVAL,
        restart: Restart { always: false, most: 0 },
        is_handler: true,
    })
}

/// Writes what a handler reads. The handler's own folder is the package's; protected
/// settings stand as plain JSON, in a file that only its user may read: there is no
/// certificate that it could be encrypted for.
pub(super) fn configure(
    home: &Path,
    folder: &Path,
    package: &Package,
    settings: &[u8],
    protected: &[u8],
) -> io::Result<()> {
    let read = |bytes: &[u8]| -> io::Result<Value> {
        let bytes = if bytes.is_empty() { b"{}" } else { bytes };
        serde_json::from_slice(bytes).map_err(|error| invalid(format!("settings are no JSON: {error}")))
    };
    let (public, protected) = (read(settings)?, read(protected)?);
    let place = |name: &str| -> PathBuf { home.join(name) };
    let environment = json!([{
        "name": format!("{}.{}", package.publisher, package.kind),
        "version": 1.0,
        "handlerEnvironment": {
            "logFolder": place("log"),
            "configFolder": place("config"),
            "statusFolder": place("status"),
            "heartbeatFile": place("status").join("heartbeat.json"),
        },
    }]);
    let settings = json!({ "runtimeSettings": [{ "handlerSettings": {
        "publicSettings": public,
        "protectedSettings": protected,
    }}]});
    let write = |path: &Path, value: &Value, mode| {
        files::write_atomically(path, &serde_json::to_vec_pretty(value)?, mode)
    };
    write(&folder.join("HandlerEnvironment.json"), &environment, 0o644)?;
    write(&place("config").join("0.settings"), &settings, 0o600)
}
