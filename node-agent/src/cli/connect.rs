//! `connect`: brings this host into a fleet, stage by stage. Each stage may be repeated:
//! who runs the same command again after it was cut goes on with the same key, and comes
//! out as the same node.

mod labels;
mod login;
mod session;

use std::{path::PathBuf, time::Duration};

use muster_common::{clock::Clock, digest::Sha256, error_chain::Chain, ids::NodeId};
use serde_json::json;

use super::{
    Context,
    exit::{self, Failure},
    join::{self, read},
    proxy, runtime,
    stages::Stages,
};
use crate::{
    dial::{self, Dialer},
    identity::{self, HostCertificate, Identity, Join, Proof, Wish},
    platform::host,
    state_dir::StateDir,
};

/// For all that is not waiting for a person.
const BESIDE_WAITING: Duration = Duration::from_secs(300);

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    join: join::Given,
    /// File that holds a token (JWT) of an issuer that the control plane trusts,
    /// instead of a join string; `-`: standard input.
    #[arg(long, value_name = "FILE", requires_all = ["address", "ca_pin"], conflicts_with_all = ["join", "join_file"])]
    oidc_token_file: Option<PathBuf>,
    /// File with this host's certificate (PEM, with what stands between it and its root)
    /// of an authority that the control plane trusts, instead of a join string.
    #[arg(long, value_name = "FILE", requires_all = ["host_key", "address", "ca_pin"], conflicts_with_all = ["join", "join_file", "oidc_token_file"])]
    host_certificate: Option<PathBuf>,
    /// File with the key of that certificate (PEM). It never leaves the host.
    #[arg(long, value_name = "FILE", requires = "host_certificate")]
    host_key: Option<PathBuf>,
    #[command(flatten)]
    login: login::SignIn,
    /// Enrollment port of the control plane, without a join string; repeat for more.
    #[arg(long, value_name = "HOST:PORT", requires = "ca_pin")]
    address: Vec<String>,
    /// Pin of the control plane's root, as `muster-control-plane ca status` shows it.
    #[arg(long, value_name = "SHA256", value_parser = pin, conflicts_with_all = ["join", "join_file"])]
    ca_pin: Option<Sha256>,
    /// How people are to call this node; the host name by default.
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    display_name: String,
    /// Labels to ask for. Operators say which a host may ask for (`token create
    /// --requestable-label`); if one is not among them, the host does not come in at all.
    #[arg(long, value_name = "KEY=VALUE,…", value_delimiter = ',', value_parser = labels::one)]
    labels: Vec<(String, String)>,
    /// Proxy for this command alone, whatever the options and the environment of this host
    /// say; the agent itself goes by `proxy.url`. http://[USER:PASSWORD@]HOST[:PORT].
    #[arg(long, value_name = "URL")]
    proxy: Option<String>,
    /// How long to wait for a person to approve this host, if its token asks for that.
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = humantime::parse_duration)]
    wait: Duration,
    /// Do not wait until the running agent has its first session.
    #[arg(long)]
    no_wait: bool,
    /// How long all of it may take; by default 5m longer than `--wait`, and with `--login` 1h more.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    time_limit: Option<Duration>,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<(), Failure> {
    // Who types it in may take their time.
    let given = join(args);
    let mut stages = Stages::new(context.out, "connect/1", limit(args));
    let done = runtime()?.block_on(connect(args, context, given, &mut stages));
    let (identity, session) = done.map_err(|failure| stages.failed(failure))?;
    let (node, domain) = (identity.node, &identity.trust_domain);
    let out = context.out;
    if out.is_json() {
        stages.document(json!({ "node-id": node, "trust-domain": domain, "session": session }));
        return Ok(());
    }
    out.line(&node);
    out.note(&format!("this host is node {node} of {domain}; `muster-node-agent run` keeps it there"));
    Ok(())
}

/// The person who is waited for has all of `--wait`, who signs in all the time of a code, and the rest
/// its time, too.
fn limit(args: &Args) -> Duration {
    let login = if args.login.login { identity::LOGIN_MOST } else { Duration::ZERO };
    args.time_limit.unwrap_or_else(|| args.wait.saturating_add(login).saturating_add(BESIDE_WAITING))
}

/// The pipeline. Answers the identity, and whether the first session was seen.
async fn connect(
    args: &Args,
    context: &Context,
    given: Result<Join, Failure>,
    stages: &mut Stages,
) -> Result<(Identity, &'static str), Failure> {
    labels::each_once(&args.labels)?;
    let store = identity::Store::new(context.state.path());
    let begun = stages.stage("configuration", async { configured(args, context, &store, given) }).await?;
    let identity = match begun {
        Begun::Stranger(join) => Box::pin(enter(args, context, &store, *join, stages)).await?,
        Begun::Node(identity) => {
            ENTRY.iter().for_each(|stage| stages.skip(stage, "done before"));
            *identity
        }
    };
    stages.stage("identity", async { stored(&store, &identity) }).await?;
    if args.no_wait {
        stages.skip("session", "not waited for");
        return Ok((identity, "not-waited-for"));
    }
    if context.state.is_running() != Some(true) {
        stages.skip(
            "session",
            "no agent runs here: `systemctl start muster-node-agent`, or `muster-node-agent run`",
        );
        return Ok((identity, "no-agent-runs"));
    }
    let patience = stages.left();
    stages.stage("session", session::first(&context.state, identity.node, patience)).await?;
    Ok((identity, "connected"))
}

/// How far the host has come before.
enum Begun {
    /// It is no node yet, and wants in so.
    Stranger(Box<Join>),
    /// It is one, and has never had a session.
    Node(Box<Identity>),
}

/// The stages by which a host becomes a node.
const ENTRY: [&str; 3] = ["network", "trust", "enroll"];

async fn enter(
    args: &Args,
    context: &Context,
    store: &identity::Store,
    mut join: Join,
    stages: &mut Stages,
) -> Result<Identity, Failure> {
    let reached = reach(stages, &join).await?;
    stages.stage("trust", async { trusted(reached, &join) }).await?;
    if args.login.login {
        let signed_in = Box::pin(login::sign_in(&args.login, context.out, &join));
        join.proof = Proof::Oidc(stages.stage("login", signed_in).await?);
    }
    let patience = args.wait.min(stages.left());
    stages.stage("enroll", Box::pin(enroll(args, context, store, &join, patience))).await
}

fn configured(
    args: &Args,
    context: &Context,
    store: &identity::Store,
    given: Result<Join, Failure>,
) -> Result<(Begun, String), Failure> {
    // What was given may be for root's eyes alone; the store is its owner's.
    let rules = proxy::rules(args.proxy.as_deref(), context);
    context.become_owner()?;
    if let Some(identity) = store.load()? {
        // A cut between the identity and the first session: what is missing is still done.
        let is_same = given.is_ok_and(|join| identity.is_under(join.ca_pin));
        if is_same && !args.no_wait && lacks_session(&context.state, identity.node) {
            let told =
                format!("this host is node {} already, and its first session is missing", identity.node);
            return Ok((Begun::Node(Box::new(identity)), told));
        }
        return Err(identity::Error::Enrolled(identity.node).into());
    }
    let join = Join { dialer: Dialer::fixed(rules?), ..given? };
    let told = format!("to {}", join.addresses.join(", "));
    Ok((Begun::Stranger(Box::new(join)), told))
}

/// Whether an agent runs that never had a session as this node.
fn lacks_session(state: &StateDir, node: NodeId) -> bool {
    state.is_running() == Some(true) && state.memo(node).epoch == 0
}

/// Whether an address can be reached; what was found there is for the next stage.
async fn reach(stages: &mut Stages, join: &Join) -> Result<Result<(), identity::Error>, Failure> {
    let network = async {
        match identity::reach(join).await {
            Err(error) if !is_about_trust(&error) => Err(error.into()),
            reached => Ok((reached, "a control plane answers".to_owned())),
        }
    };
    stages.stage("network", network).await
}

fn is_about_trust(error: &identity::Error) -> bool {
    use dial::Error::{Handshake, Http, Untrusted};
    match error {
        identity::Error::Dial(error) => matches!(error, Untrusted { .. } | Handshake { .. } | Http { .. }),
        error => matches!(error, identity::Error::PinMismatch { .. }),
    }
}

fn trusted(reached: Result<(), identity::Error>, join: &Join) -> Result<((), String), Failure> {
    reached?;
    Ok(((), format!("its root has the pin {}", join.ca_pin)))
}

async fn enroll(
    args: &Args,
    context: &Context,
    store: &identity::Store,
    join: &Join,
    patience: Duration,
) -> Result<(Identity, String), Failure> {
    let wish = Wish {
        display_name: args.display_name.clone(),
        hostname: host::hostname(),
        machine_fingerprint: host::machine_fingerprint(),
        labels: args.labels.iter().cloned().collect(),
    };
    let out = context.out;
    let identity = identity::enroll_when_approved(store, join, &wish, patience, |waiting| {
        out.note(&format!("this host's key is SHA256 {}", waiting.key_sha256));
        if let Some(pause) = waiting.pause {
            out.note(&format!("  {}; asking again in {pause:.0?}", Chain(waiting.why)));
        }
    });
    let identity = identity.await?;
    let told = format!("node {} of {}", identity.node, identity.trust_domain);
    Ok((identity, told))
}

/// What was written is what will be read.
fn stored(store: &identity::Store, identity: &Identity) -> Result<((), String), Failure> {
    let held = store.load()?.filter(|held| held.node == identity.node);
    let held = held.ok_or(identity::Error::Gone(identity.node))?;
    let left = held.not_after.since(Clock::System.now());
    let left = humantime::format_duration(Duration::from_secs(left.as_secs()));
    Ok(((), format!("certificate good for {left}")))
}

pub(super) fn pin(text: &str) -> Result<Sha256, &'static str> {
    Sha256::parse_hex(text).ok_or("64 hexadecimal digits are expected")
}

fn join(args: &Args) -> Result<Join, Failure> {
    if let (true, Some(ca_pin)) = (args.login.login, args.ca_pin) {
        let proof = Proof::Oidc(String::new()); // the stage `login` brings the token
        return Ok(Join { addresses: args.address.clone(), ca_pin, proof, dialer: Dialer::default() });
    }
    if let (Some(path), Some(ca_pin)) = (&args.oidc_token_file, args.ca_pin) {
        let proof = Proof::Oidc(read(path)?.trim().to_owned());
        return Ok(Join { addresses: args.address.clone(), ca_pin, proof, dialer: Dialer::default() });
    }
    if let (Some(certificate), Some(key), Some(ca_pin)) =
        (&args.host_certificate, &args.host_key, args.ca_pin)
    {
        let proof =
            Proof::HostCertificate(HostCertificate::read(certificate, key).map_err(identity::Error::from)?);
        return Ok(Join { addresses: args.address.clone(), ca_pin, proof, dialer: Dialer::default() });
    }
    let found = args.join.find()?.ok_or_else(|| {
        let told = "a join string is needed: as an argument, with --join-file FILE, on standard input with -, or in \
                    the variable MUSTER_JOIN; or --login, --oidc-token-file or --host-certificate";
        Failure::told(exit::COMMAND_LINE, told.to_owned())
    })?;
    Ok(found.into())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    #[test]
    fn there_is_time_for_the_person_who_is_waited_for() {
        let limit = |words: &[&str]| limit(&Line::parse_from([&["connect"], words].concat()).args).as_secs();
        assert_eq!(limit(&[]), 15 * 60);
        assert_eq!(limit(&["--wait", "2h"]), 125 * 60);
        let mut signs_in = Line::parse_from(["connect"]).args;
        signs_in.login.login = true;
        assert_eq!(super::limit(&signs_in).as_secs(), 75 * 60);
        assert_eq!(limit(&["--wait", "2h", "--time-limit", "1m"]), 60);
    }
}
