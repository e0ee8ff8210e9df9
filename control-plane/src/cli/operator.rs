//! `operator` and `service`: who may call the operators' API.

mod files;

use std::path::{Path, PathBuf};

use anyhow::bail;
use clap::Subcommand;
use muster_common::{clock::Clock, tls::spiffe::Principal};
use muster_domain::{
    access::{Binding, Caller, Rights, Role},
    audit::Note,
    join_token::check_description,
    labels::Selector,
    revocation::{Revocation, Subject},
};
use muster_store::{Error, ReadAccess as _, ReadAuthority as _, Store, WriteAccess as _, WriteTx};
use serde_json::json;

use super::{ConfigArg, open_ca, open_store, stamp};
use crate::{
    app::{self, authority::still_issues, bindings},
    ca::Ca,
    config::Config,
};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make a certificate, and bind its name to a role; replaces both of one that exists.
    Create {
        #[command(flatten)]
        config: ConfigArg,
        /// Name: letters, digits, '.', '_', '@', '-'.
        name: String,
        /// viewer, operator, deployer, enroller, security-admin or admin.
        #[arg(long, value_parser = role)]
        role: Role,
        /// Nodes on which the role holds.
        #[arg(long, default_value = "*")]
        selector: Selector,
        /// Where to write NAME.crt, NAME.key and ca.crt.
        #[arg(long)]
        out: Option<PathBuf>,
    },
    /// Make a new certificate for one that exists; the old one is refused from then on.
    Renew {
        #[command(flatten)]
        config: ConfigArg,
        /// Name.
        name: String,
        /// Where to write NAME.crt, NAME.key and ca.crt.
        #[arg(long)]
        out: Option<PathBuf>,
    },
    /// Let one in no more, whatever certificate it shows, and cut what is open.
    Revoke {
        #[command(flatten)]
        config: ConfigArg,
        /// Name.
        name: String,
        /// Why, for those who read the audit.
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// Who may call, with which certificate and which bindings.
    List {
        #[command(flatten)]
        config: ConfigArg,
    },
}

/// What kind of caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A person.
    Operator,
    /// A program.
    Service,
}

pub(super) fn role(text: &str) -> Result<Role, String> {
    Role::parse(text).ok_or_else(|| {
        let roles: Vec<&str> = Role::ALL.iter().map(|role| role.as_str()).collect();
        format!("there are {}", roles.join(", "))
    })
}

impl Kind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Service => "service",
        }
    }

    fn principal(self, name: &str) -> anyhow::Result<Principal> {
        match format!("{}/{name}", self.as_str()).parse() {
            Ok(principal) => Ok(principal),
            Err(_) => bail!("{name:?} is not a name: letters, digits, '.', '_', '@', '-', at most 128"),
        }
    }

    /// Where certificates go if nobody says otherwise.
    fn folder(self, config: &Config) -> PathBuf {
        config.state_dir.join(format!("{}s", self.as_str()))
    }
}

pub(super) fn run(kind: Kind, command: Command) -> anyhow::Result<()> {
    match command {
        Command::Create { config, name, role, selector, out } => {
            let principal = kind.principal(&name)?;
            with_place(kind, &config, out, |place| place.create(&principal, role, &selector.to_string()))
        }
        Command::Renew { config, name, out } => {
            let principal = kind.principal(&name)?;
            with_place(kind, &config, out, |place| place.renew(&principal))
        }
        Command::Revoke { config, name, reason } => {
            let principal = kind.principal(&name)?;
            let store = open_store(&config.load()?)?;
            let done = revoke(&store, principal, reason);
            store.close_blocking()?;
            done
        }
        Command::List { config } => {
            let store = open_store(&config.load()?)?;
            let done = list(&store, kind);
            store.close_blocking()?;
            done
        }
    }
}

fn with_place(
    kind: Kind,
    config: &ConfigArg,
    out: Option<PathBuf>,
    act: impl FnOnce(&Place<'_>) -> anyhow::Result<PathBuf>,
) -> anyhow::Result<()> {
    let config = config.load()?;
    let store = open_store(&config)?;
    let ca = open_ca(&config, &store)?;
    let out = out.unwrap_or_else(|| kind.folder(&config));
    let done = act(&Place { config: &config, ca: &ca, store: &store, out: &out });
    store.close_blocking()?;
    println!("{}", done?.display());
    Ok(())
}

/// Where callers are made, and where their files go.
pub(super) struct Place<'a> {
    pub(super) config: &'a Config,
    pub(super) ca: &'a Ca,
    pub(super) store: &'a Store,
    pub(super) out: &'a Path,
}

impl Place<'_> {
    /// Makes a caller with certificate and key in a folder, and binds it. Answers
    /// where the certificate is.
    pub(super) fn create(
        &self,
        principal: &Principal,
        role: Role,
        selector: &str,
    ) -> anyhow::Result<PathBuf> {
        let stamp = stamp(if matches!(principal, Principal::Service(_)) {
            "services.create"
        } else {
            "operators.create"
        });
        let binding = Binding {
            // The name that one principal's own binding has.
            name: principal.to_string(),
            principal: principal.to_string().parse()?,
            role,
            selector: selector.to_owned(),
            created_at: stamp.at,
            created_by: stamp.actor.clone(),
        };
        self.issue(principal, stamp, move |tx| {
            tx.binding_put(&binding)?;
            let subject = format!("binding/{}", binding.name);
            tx.audit(Note { subject, after: bindings::shown(&binding), ..Note::default() })
        })
    }

    /// Another certificate; the bindings stay.
    fn renew(&self, principal: &Principal) -> anyhow::Result<PathBuf> {
        let name = principal.to_string();
        if self.store.read_blocking(move |tx| tx.caller_get(&name))?.is_none() {
            bail!("{principal} does not exist; create makes one");
        }
        let action =
            if matches!(principal, Principal::Service(_)) { "services.renew" } else { "operators.renew" };
        self.issue(principal, stamp(action), |_| Ok(()))
    }

    fn issue(
        &self,
        principal: &Principal,
        stamp: muster_domain::audit::Stamp,
        also: impl Fn(&mut WriteTx<'_>) -> Result<(), Error> + Send + 'static,
    ) -> anyhow::Result<PathBuf> {
        let subject = Subject::Principal(principal.clone());
        if self.store.read_blocking(move |tx| tx.revocation_get(&subject))?.is_some() {
            bail!(
                "{principal} is revoked: a new certificate would be refused, too; take the revocation back first"
            );
        }
        let now = Clock::System.now();
        let ttl = self.config.identity.operator_certificate_ttl;
        let (certificate, key) = self.ca.issue_operator(principal.clone(), ttl, now)?;
        let caller = Caller {
            principal: principal.to_string(),
            serial: certificate.serial.clone(),
            issuer: certificate.issuer,
            not_after: certificate.not_after,
            created_at: now,
        };
        self.store.write_blocking::<_, app::Error, _>(stamp, move |tx| {
            still_issues(tx, caller.issuer)?;
            tx.caller_put(&caller)?;
            let (subject, after) = (caller.principal.clone(), json!({ "serial": caller.serial }).to_string());
            tx.audit(Note { subject, after, ..Note::default() })?;
            Ok(also(tx)?)
        })?;
        files::write(self.out, principal, &certificate.chain_der, &key, &self.ca.trust_bundle().roots)
    }
}

fn revoke(store: &Store, principal: Principal, reason: String) -> anyhow::Result<()> {
    if let Err(violation) = check_description(&reason) {
        bail!("the reason cannot be taken: {}", violation.description);
    }
    let stamp = stamp("identity.revoke");
    let (at, by) = (stamp.at, stamp.actor.clone());
    let revocation = Revocation { subject: Subject::Principal(principal), reason, at, by };
    store.write_blocking(stamp, move |tx| app::revocation::put(tx, &revocation))?;
    Ok(())
}

fn list(store: &Store, kind: Kind) -> anyhow::Result<()> {
    let (callers, bindings, revoked) = store
        .read_blocking::<_, Error, _>(|tx| Ok((tx.caller_all()?, tx.binding_all()?, tx.revocation_all()?)))?;
    for caller in callers.into_iter().filter(|caller| caller.principal.starts_with(kind.as_str())) {
        let rights = Rights::of(&caller.principal, &bindings);
        let held: Vec<String> =
            rights.bindings.iter().map(|it| format!("{} on {}", it.role.as_str(), it.selector)).collect();
        let is_revoked = revoked.iter().any(|it| it.subject.to_string() == caller.principal);
        let state = if is_revoked { "revoked".to_owned() } else { format!("until {}", caller.not_after) };
        println!("{}\t{}\t{state}\t{}", caller.principal, caller.serial, held.join("; "));
    }
    Ok(())
}
