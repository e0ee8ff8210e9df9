//! `logs`: one archive with what helps somebody who has to find out why. Credentials are
//! taken out by how they look; keys, certificates and protected contents are not read at all.

use std::{
    fs::{self, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use muster_common::{build_info, clock::Clock, error_chain::Chain};
use serde_json::json;

use super::{
    Context,
    exit::{self, Failure},
    progress, runtime, show,
    status::newest,
};
use crate::{
    applier::explain,
    commands::archive::{self, Wish},
    identity::Store,
    locks::Locks,
    platform::{files, host, systemd},
};

/// Whose journals are taken: the services of Muster.
const UNITS: &str = "muster-*.service";
/// Of each journal, unless all of it is wanted.
const SINCE: Duration = Duration::from_secs(24 * 3600);
const FULL_SINCE: Duration = Duration::from_secs(30 * 24 * 3600);
const BYTES: u64 = 8 * 1024 * 1024;
const FULL_BYTES: u64 = 64 * 1024 * 1024;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The journals of 30 days, up to 64 MiB; a day and 8 MiB by default.
    #[arg(long)]
    full: bool,
    /// Where the archive is written (tar.gz); it must not be there yet. By default
    /// `muster-node-agent-HOST-TIME.tar.gz` in the folder of now.
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// `fault`: why the options of the configuration file cannot be used.
pub(super) fn run(args: &Args, context: &Context, fault: Option<&str>) -> Result<(), Failure> {
    let (out, now) = (context.out, Clock::System.now());
    let path = args.output.clone().unwrap_or_else(|| {
        let time =
            humantime::format_rfc3339_seconds(now.to_system_time()).to_string().replace([':', '-'], "");
        PathBuf::from(format!("muster-node-agent-{}-{time}.tar.gz", host::hostname()))
    });
    let unusable =
        |error: &io::Error| Failure::told(exit::OUTPUT, format!("cannot write {}: {error}", path.display()));
    // Here: nothing that is there is written over.
    let new = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
    drop(new.map_err(|error| unusable(&error))?);
    let (since, most) = if args.full { (FULL_SINCE, FULL_BYTES) } else { (SINCE, BYTES) };
    let units = if systemd::is_booted() { vec![UNITS.to_owned()] } else { Vec::new() };
    let packed = texts(context, fault).and_then(|texts| {
        let wish = Wish { path: &path, texts, units, since: now - since, now, most };
        let packing = progress::watched(out, || "collecting".to_owned(), archive::pack(wish));
        runtime()?.block_on(packing).map_err(|error| unusable(&error))
    });
    let packed = packed.inspect_err(|_| {
        let _ = fs::remove_file(&path); // half an archive is none
    })?;
    if out.is_json() {
        let answer = json!({
            "file": path, "size-bytes": packed.size_bytes, "sha256": packed.sha256,
            "cut": packed.cut, "members": packed.members, "configuration-error": fault.unwrap_or_default(),
        });
        out.document("logs/1", &answer);
        return Ok(());
    }
    out.line(&path.display());
    if let Some(fault) = fault {
        out.note(&format!("what could be had without all of the configuration: {fault}"));
    }
    out.note(&format!("{} bytes; look through it before you give it away", packed.size_bytes));
    if packed.cut {
        out.note("the oldest lines were left out; `--full` takes more");
    }
    Ok(())
}

/// What the archive says besides the journals, by name.
fn texts(context: &Context, fault: Option<&str>) -> Result<Vec<(String, Vec<u8>)>, Failure> {
    let file = |path: &Path| or_why(path, fs::read(path));
    let contact = context.state.path().join("contact.json");
    let shown = show::properties(context, fault)?.json();
    let mut texts = vec![
        ("about/version.txt".to_owned(), format!("{}\n", build_info::line(super::NAME)).into_bytes()),
        ("about/show.json".to_owned(), format!("{shown:#}\n").into_bytes()),
        ("about/status.json".to_owned(), status(&context.config.status_files())),
        ("about/contact.json".to_owned(), plain(&contact)),
        ("about/node-agent.toml".to_owned(), file(&context.config.path)),
        ("about/locks.toml".to_owned(), file(&context.config.locks_file)),
        ("about/explain.json".to_owned(), explained(context).into_bytes()),
        ("about/files.txt".to_owned(), listed(context.state.path()).into_bytes()),
    ];
    if !systemd::is_booted() {
        let told =
            "systemd does not run this host: the agent logs to its standard error, wherever that goes\n";
        texts.push(("journal/none.txt".to_owned(), told.as_bytes().to_vec()));
    }
    Ok(texts)
}

fn or_why(path: &Path, read: io::Result<Vec<u8>>) -> Vec<u8> {
    read.unwrap_or_else(|error| format!("# {} cannot be read: {error}\n", path.display()).into_bytes())
}

/// A file of the agent, whose user could lay a link there.
fn plain(path: &Path) -> Vec<u8> {
    or_why(path, files::read_plain(path))
}

/// The newest status that an agent has left in any of these files.
fn status(files: &[PathBuf]) -> Vec<u8> {
    match newest(files) {
        Some((status, path)) => format!("{:#}\n", json!({ "file": path, "status": status })).into_bytes(),
        None => format!("# no status that can be read is in {files:?}\n").into_bytes(),
    }
}

fn explained(context: &Context) -> String {
    let items = Store::new(context.state.path()).load().map(|identity| {
        let identity = identity?;
        let locks = Locks::load(&context.config.locks_file).unwrap_or_default();
        Some(explain::explain(&context.state.node(identity.node).join("items"), &locks))
    });
    match items {
        Ok(None) => "[]\n".to_owned(),
        Ok(Some(Ok(items))) => format!("{:#}\n", json!(items)),
        Ok(Some(Err(error))) => format!("{:#}\n", json!({ "error": error.to_string() })),
        Err(error) => format!("{:#}\n", json!({ "error": Chain(&error).to_string() })),
    }
}

/// Names and sizes of all files of the agent; not what is in them.
fn listed(state: &Path) -> String {
    let mut text = String::new();
    let mut folders = vec![state.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) => {
                text += &format!("{}: {error}\n", folder.display());
                continue;
            }
        };
        let mut entries: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
        entries.sort();
        for path in entries {
            match path.symlink_metadata() {
                Ok(found) if found.is_dir() => folders.push(path),
                Ok(found) => text += &format!("{:>12} {}\n", found.len(), path.display()),
                Err(error) => text += &format!("{}: {error}\n", path.display()),
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_link_in_the_agents_folder_leads_to_is_in_no_archive() {
        let folder = tempfile::tempdir().unwrap();
        let (elsewhere, link) = (folder.path().join("elsewhere"), folder.path().join("link"));
        fs::write(&elsewhere, "hunter2").unwrap();
        std::os::unix::fs::symlink(&elsewhere, &link).unwrap();
        for bytes in [plain(&link), status(&[link])] {
            let text = String::from_utf8(bytes).unwrap();
            assert!(text.starts_with("# ") && !text.contains("hunter2"), "{text}");
        }
        assert_eq!(plain(&elsewhere), b"hunter2");
    }
}
