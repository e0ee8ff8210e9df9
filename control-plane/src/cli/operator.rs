//! `operator`.

use std::{
    fs,
    io::Write as _,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use clap::Subcommand;
use muster_common::{
    clock::Clock,
    tls::{
        pem,
        spiffe::{self, Principal},
    },
};
use muster_domain::{
    access::{Caller, Role},
    audit::Note,
};
use muster_store::{ReadAccess as _, Store, WriteAccess as _};
use rustls::pki_types::CertificateDer;

use super::{ConfigArg, open_ca, open_store, stamp};
use crate::{ca::Ca, config::Config};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make a certificate for an operator; replaces role and certificate of one that exists.
    Create {
        #[command(flatten)]
        config: ConfigArg,
        /// Name: letters, digits, '.', '_', '@', '-'.
        name: String,
        /// viewer, operator, deployer, enroller, security-admin or admin.
        #[arg(long, value_parser = role)]
        role: Role,
        /// Where to write NAME.crt, NAME.key and ca.crt.
        #[arg(long)]
        out: Option<PathBuf>,
    },
    /// Who may call.
    List {
        #[command(flatten)]
        config: ConfigArg,
    },
}

fn role(text: &str) -> Result<Role, String> {
    Role::parse(text).ok_or_else(|| {
        let roles: Vec<&str> = Role::ALL.iter().map(|role| role.as_str()).collect();
        format!("there are {}", roles.join(", "))
    })
}

pub(super) fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Create { config, name, role, out } => {
            let config = config.load()?;
            if !spiffe::is_principal_name(&name) {
                bail!("{name:?} is not a name: letters, digits, '.', '_', '@', '-', at most 128");
            }
            let store = open_store(&config)?;
            let ca = open_ca(&config, &store)?;
            let out = out.unwrap_or_else(|| config.state_dir.join("operators"));
            create(&config, &ca, &store, &Principal::Operator(name.clone()), role, &out)?;
            store.close_blocking()?;
            println!("{}", out.join(format!("{name}.crt")).display());
            Ok(())
        }
        Command::List { config } => {
            let store = open_store(&config.load()?)?;
            for caller in store.read_blocking(|tx| tx.caller_all())? {
                println!("{}\t{}\t{}", caller.principal, caller.role.as_str(), caller.serial);
            }
            Ok(())
        }
    }
}

/// Makes a caller with certificate and key in a folder.
pub(super) fn create(
    config: &Config,
    ca: &Ca,
    store: &Store,
    principal: &Principal,
    role: Role,
    out: &Path,
) -> anyhow::Result<()> {
    let (certificate, key) =
        ca.issue_operator(principal.clone(), config.identity.operator_certificate_ttl, Clock::System.now())?;
    let caller = Caller {
        principal: principal.to_string(),
        role,
        serial: certificate.serial.clone(),
        issuer: certificate.issuer,
        not_after: certificate.not_after,
        created_at: Clock::System.now(),
    };
    store.write_blocking(stamp("operators.create"), move |tx| {
        tx.caller_put(&caller)?;
        tx.audit(Note {
            subject: caller.principal.clone(),
            after: serde_json::json!({ "role": caller.role.as_str(), "serial": caller.serial }).to_string(),
            ..Note::default()
        })
    })?;
    let name = principal.to_string().rsplit('/').next().unwrap_or_default().to_owned();
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(out);
    made.with_context(|| format!("cannot make {}", out.display()))?;
    let chain: Vec<CertificateDer<'_>> =
        certificate.chain_der.iter().map(|der| der.as_slice().into()).collect();
    let roots = ca.trust_bundle().roots;
    write(&out.join(format!("{name}.key")), &key, 0o600)?;
    write(&out.join(format!("{name}.crt")), &pem::encode_certificates(&chain), 0o644)?;
    write(&out.join("ca.crt"), &pem::encode_certificates(&roots), 0o644)
}

fn write(path: &Path, text: &str, mode: u32) -> anyhow::Result<()> {
    let staged = path.with_extension("new");
    let _ = fs::remove_file(&staged);
    let write = || -> std::io::Result<()> {
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&staged)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&staged, path)
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}
