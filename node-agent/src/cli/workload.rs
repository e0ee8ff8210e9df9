//! `workload`: identities for programs, for scripts that speak no gRPC. Who runs the command
//! is who asks: the agent sees its user and its unit, and knows no more of it than of any
//! other program.

use std::{
    fs, io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    time::{Duration, UNIX_EPOCH},
};

use muster_common::reason::Reason;
use serde_json::json;

use super::{
    Context,
    exit::{self, Failure},
    runtime,
    status::said,
};
use crate::{
    local_api::client::{Client, Error, X509},
    platform::files,
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Write certificate, key and roots of an identity: svid.pem, key.pem (for its user
    /// alone) and bundle.pem. The certificate lives an hour, as a rule: run it again by then.
    X509(X509Args),
    /// Print a token of an identity. It lives five minutes, as a rule.
    Jwt(JwtArgs),
}

#[derive(Debug, clap::Args)]
struct X509Args {
    /// What the lock file of this host calls the identity.
    name: String,
    /// Folder for the files; made if it is missing. Those that are there are replaced.
    #[arg(long, value_name = "DIR", default_value = ".")]
    out: PathBuf,
}

#[derive(Debug, clap::Args)]
struct JwtArgs {
    /// What the lock file of this host calls the identity.
    name: String,
    /// For whom the token is, as that program calls itself; repeat for more.
    #[arg(long, value_name = "AUDIENCE", required = true)]
    audience: Vec<String>,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<(), Failure> {
    match &args.command {
        Command::X509(args) => x509(args, context),
        Command::Jwt(args) => jwt(args, context),
    }
}

fn x509(args: &X509Args, context: &Context) -> Result<(), Failure> {
    let given = runtime()?.block_on(async {
        let client = Client::connect(&context.config.sockets()).await?;
        client.x509().await
    });
    let given = named(given.map_err(|error| refused(&error))?, &args.name, |svid| &svid.name)?;
    let out = &args.out;
    let written = write(out, &given).map_err(|error| {
        Failure::told(exit::OUTPUT, format!("cannot write to {}: {error}", out.display()))
    })?;
    let expires = UNIX_EPOCH + Duration::from_secs(u64::try_from(given.expires_at).unwrap_or_default());
    let expires = humantime::format_rfc3339_seconds(expires).to_string();
    if context.out.is_json() {
        let [bundle, key, svid] = &written;
        let answer = json!({
            "spiffe-id": given.id, "expires-at": expires, "svid": svid, "key": key, "bundle": bundle,
        });
        context.out.document("workload-x509/1", &answer);
    } else {
        context.out.line(&given.id);
        context.out.note(&format!("good until {expires}; in {}", out.display()));
    }
    Ok(())
}

/// Bundle, key and certificate, each whole at any time. The certificate comes last: who waits
/// for it to change finds the key that belongs to it.
fn write(folder: &Path, svid: &X509) -> io::Result<[PathBuf; 3]> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let files = [
        ("bundle.pem", svid.bundle_pem.as_str(), 0o644),
        ("key.pem", svid.key_pem.as_str(), 0o600),
        ("svid.pem", svid.chain_pem.as_str(), 0o644),
    ];
    for (name, text, mode) in files {
        files::write_atomically(&folder.join(name), text.as_bytes(), mode)?;
    }
    Ok(files.map(|(name, ..)| folder.join(name)))
}

fn jwt(args: &JwtArgs, context: &Context) -> Result<(), Failure> {
    let given = runtime()?.block_on(async {
        let client = Client::connect(&context.config.sockets()).await?;
        client.jwt(args.audience.clone()).await
    });
    let given = named(given.map_err(|error| refused(&error))?, &args.name, |svid| &svid.name)?;
    if context.out.is_json() {
        context.out.document("workload-jwt/1", &json!({ "spiffe-id": given.id, "token": given.token }));
    } else {
        context.out.line(&given.token);
    }
    Ok(())
}

/// The one that was asked for, of those that the agent gives.
fn named<T>(given: Vec<T>, name: &str, of: impl Fn(&T) -> &String) -> Result<T, Failure> {
    let names: Vec<String> = given.iter().map(|it| of(it).clone()).collect();
    given.into_iter().find(|it| of(it) == name).ok_or_else(|| {
        let cause = format!("the agent gives this user no identity {name:?}, but {}", names.join(", "));
        Failure::told(exit::NO_IDENTITY, cause)
    })
}

fn refused(error: &Error) -> Failure {
    match error {
        Error::Refused { reason: reason @ Some(Reason::WorkloadDenied), .. } => {
            Failure::new(exit::NO_IDENTITY, error).because(*reason)
        }
        error => said(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_identity_that_was_asked_for_is_given() {
        let given = || vec!["web".to_owned(), "db".to_owned()];
        assert_eq!(named(given(), "db", |it| it).unwrap(), "db");
        let failure = format!("{:?}", named(given(), "root", |it| it).unwrap_err());
        assert!(failure.contains("NO_IDENTITY") && failure.contains("web, db"), "{failure}");
    }
}
