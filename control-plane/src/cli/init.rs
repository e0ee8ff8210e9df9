//! `init`: everything a new installation needs, or nothing at all.

use std::{
    fs,
    net::{IpAddr, SocketAddr},
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use muster_common::{
    clock::Clock,
    tls::spiffe::{Principal, TrustDomain},
};
use muster_domain::{
    access::Role,
    audit::Note,
    authority::{Authority, Slot},
};
use muster_store::{Options, Store, WriteAuthority as _};

use super::{operator, stamp};
use crate::{
    app::audit::key_note,
    ca::{self, Ca, audit_key::AuditKey},
    config::{Config, render},
    wiring,
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Under which all names stand: a lower-case DNS-like name of yours.
    #[arg(long)]
    trust_domain: TrustDomain,
    /// Where everything is kept; must not exist or be empty.
    #[arg(long, default_value = "/var/lib/muster-control-plane")]
    state_dir: PathBuf,
    /// Configuration file to write; must not exist.
    #[arg(long, default_value = "/etc/muster/control-plane.toml")]
    config: PathBuf,
    /// Database of a PostgreSQL server to keep the store in, empty and ready:
    /// postgres://USER@HOST:PORT/DATABASE. Without it, a file of SQLite is made.
    #[arg(long)]
    store_url: Option<String>,
    /// File with the password of that database's user.
    #[arg(long, requires = "store_url")]
    store_password_file: Option<PathBuf>,
    /// Port for nodes.
    #[arg(long)]
    listen_agents: Option<SocketAddr>,
    /// Port for hosts without an identity.
    #[arg(long)]
    listen_enrollment: Option<SocketAddr>,
    /// Port for operators.
    #[arg(long)]
    listen_operators: Option<SocketAddr>,
    /// Port for probes and scrapers.
    #[arg(long)]
    listen_console: Option<SocketAddr>,
    /// DNS name by which others reach this host; repeat for more.
    #[arg(long = "server-name")]
    server_names: Vec<String>,
    /// Address by which others reach this host; repeat for more.
    #[arg(long = "server-ip")]
    server_ips: Vec<IpAddr>,
    /// Chain of your own authority, its issuing certificate first and its root last;
    /// without it, an authority is made.
    #[arg(long, requires = "ca_key")]
    ca_chain: Option<PathBuf>,
    /// Key of that issuing certificate.
    #[arg(long, requires = "ca_chain")]
    ca_key: Option<PathBuf>,
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let config = config(args);
    if args.config.exists() {
        bail!("{} exists already", args.config.display());
    }
    let made_dir = !args.state_dir.exists();
    if !made_dir && fs::read_dir(&args.state_dir)?.next().is_some() {
        bail!("{} is not empty: there is an installation already", args.state_dir.display());
    }
    let options = wiring::store::options(&config, "cli")?;
    if let Err(error) = make(args, &config, &options) {
        undo(args, made_dir);
        return Err(error);
    }
    eprintln!("made {} with its certificate authority and store", args.state_dir.display());
    eprintln!("first operator: {}", args.state_dir.join("operators/admin.crt").display());
    eprintln!("next: muster-control-plane serve --config {}", args.config.display());
    Ok(())
}

fn config(args: &Args) -> Config {
    let mut config = Config::new(args.trust_domain.clone(), args.state_dir.clone());
    let listen = &mut config.listen;
    let wishes = [
        (&mut listen.agents, args.listen_agents),
        (&mut listen.enrollment, args.listen_enrollment),
        (&mut listen.operators, args.listen_operators),
        (&mut listen.console, args.listen_console),
    ];
    for (address, wish) in wishes {
        *address = wish.unwrap_or(*address);
    }
    if let Some(url) = &args.store_url {
        config.store.url.clone_from(url);
    }
    if let Some(path) = &args.store_password_file {
        config.store.password_file = absolute(path);
    }
    // A name that was given is the one to tell others; localhost stays usable.
    let names = args.server_names.iter().cloned();
    config.public.server_names = names.chain(config.public.server_names).collect();
    config.public.server_ips.extend(&args.server_ips);
    if let (Some(chain), Some(key)) = (&args.ca_chain, &args.ca_key) {
        (config.authority.chain, config.authority.key) = (absolute(chain), absolute(key));
    }
    config
}

/// Where the files are wherever the control plane is started.
fn absolute(path: &Path) -> PathBuf {
    fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

fn make(args: &Args, config: &Config, options: &Options) -> anyhow::Result<()> {
    let dir = &args.state_dir;
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.with_context(|| format!("cannot make {}", dir.display()))?;
    let (ca_dir, now) = (config.ca_dir(), Clock::System.now());
    let slot = match (&args.ca_chain, &args.ca_key) {
        (Some(chain), Some(key)) => ca::from_files(&ca_dir, 1, chain, key, now)?,
        _ => ca::first(&ca_dir, &args.trust_domain, now)?,
    };
    let store = Store::create(options, args.trust_domain.as_str())?;
    // Ours from here on: with what comes to nothing, it goes again.
    fill(args, config, &store, slot)
        .and_then(|()| Ok(store.close_blocking()?))
        .and_then(|()| write_config(&args.config, &render(config)))
        .map_err(|error| match muster_store::unmake(options) {
            Ok(()) => error,
            Err(left) => error.context(format!(
                "and the database could not be emptied again ({left}): drop its tables before the next init"
            )),
        })
}

fn fill(args: &Args, config: &Config, store: &Store, slot: Slot) -> anyhow::Result<()> {
    let ca_dir = config.ca_dir();
    let authority = Authority::first(slot);
    let kept = authority.clone();
    store.write_blocking::<_, muster_store::Error, _>(stamp("authority.create"), move |tx| {
        tx.authority_put(&kept)?;
        tx.audit(Note { subject: "authority".to_owned(), ..Note::default() })
    })?;
    let audit_key = AuditKey::open_or_create(&ca_dir)?;
    store.write_blocking::<_, muster_store::Error, _>(stamp("audit.create-key"), move |tx| {
        tx.audit(key_note(&audit_key))
    })?;
    let ca = Ca::open(&ca_dir, &args.trust_domain, authority)?;
    let admin = Principal::Operator("admin".to_owned());
    let place = operator::Place { config, ca: &ca, store, out: &args.state_dir.join("operators") };
    place.create(&admin, Role::Admin, "*")?;
    Ok(())
}

fn write_config(path: &Path, text: &str) -> anyhow::Result<()> {
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
    }
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

fn undo(args: &Args, made_dir: bool) {
    // Best effort: the error that brought us here is the one to tell.
    for name in ["ca", "operators"] {
        let _ = fs::remove_dir_all(args.state_dir.join(name));
    }
    let _ = fs::remove_file(&args.config);
    if made_dir {
        let _ = fs::remove_dir(&args.state_dir);
    }
}
