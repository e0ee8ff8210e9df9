//! `connect`.

use std::{
    io::Read as _,
    path::{Path, PathBuf},
    time::Duration,
};

use muster_common::{digest::Sha256, error_chain::Chain, join::JoinString};

use super::{
    Context,
    exit::{self, Failure},
    runtime,
};
use crate::{
    identity::{self, HostCertificate, Join, Proof, Wish},
    platform::host,
};

/// Longest file that can hold a join string or a token.
const MAX_FILE: u64 = 17 * 1024;

/// What can be there instead of a join string.
const OTHERS: [&str; 3] = ["join_file", "oidc_token_file", "host_certificate"];

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The join string, as `token create` printed it. Others on this host can see
    /// it here while the command runs; `--join-file` hides it.
    #[arg(required_unless_present_any = OTHERS, conflicts_with_all = OTHERS)]
    join: Option<String>,
    /// File that holds the join string; `-`: standard input.
    #[arg(long, value_name = "FILE", conflicts_with = "oidc_token_file")]
    join_file: Option<PathBuf>,
    /// File that holds a token (JWT) of an issuer that the control plane trusts,
    /// instead of a join string; `-`: standard input.
    #[arg(long, value_name = "FILE", requires_all = ["address", "ca_pin"])]
    oidc_token_file: Option<PathBuf>,
    /// File with this host's certificate (PEM, with what stands between it and its root)
    /// of an authority that the control plane trusts, instead of a join string.
    #[arg(long, value_name = "FILE", requires_all = ["host_key", "address", "ca_pin"], conflicts_with_all = ["join_file", "oidc_token_file"])]
    host_certificate: Option<PathBuf>,
    /// File with the key of that certificate (PEM). It never leaves the host.
    #[arg(long, value_name = "FILE", requires = "host_certificate")]
    host_key: Option<PathBuf>,
    /// Enrollment port of the control plane, without a join string; repeat for more.
    #[arg(long, value_name = "HOST:PORT", requires = "ca_pin")]
    address: Vec<String>,
    /// Pin of the control plane's root, as `muster-control-plane ca status` shows it.
    #[arg(long, value_name = "SHA256", value_parser = pin, conflicts_with_all = ["join", "join_file"])]
    ca_pin: Option<Sha256>,
    /// How people are to call this node; the host name by default.
    #[arg(long, default_value = "")]
    display_name: String,
    /// How long to wait for a person to approve this host, if its token asks for that.
    #[arg(long, default_value = "10m", value_parser = humantime::parse_duration)]
    wait: Duration,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<(), Failure> {
    let join = join(args)?;
    let wish = Wish {
        display_name: args.display_name.clone(),
        hostname: host::hostname(),
        machine_fingerprint: host::machine_fingerprint(),
    };
    let store = identity::Store::new(context.state.path());
    eprintln!("connecting to {}", join.addresses.join(", "));
    let connect = identity::enroll_when_approved(&store, &join, &wish, args.wait, |waiting| {
        eprintln!("this host's key is SHA256 {}", waiting.key_sha256);
        if let Some(pause) = waiting.pause {
            eprintln!("  {}; asking again in {pause:.0?}", Chain(waiting.why));
        }
    });
    let identity = runtime()?.block_on(connect)?;
    println!("{}", identity.node);
    eprintln!(
        "this host is node {} of {}; `muster-node-agent run` keeps it there",
        identity.node, identity.trust_domain
    );
    Ok(())
}

fn pin(text: &str) -> Result<Sha256, &'static str> {
    Sha256::parse_hex(text).ok_or("64 hexadecimal digits are expected")
}

fn join(args: &Args) -> Result<Join, Failure> {
    if let (Some(path), Some(ca_pin)) = (&args.oidc_token_file, args.ca_pin) {
        let proof = Proof::Oidc(read(path)?.trim().to_owned());
        return Ok(Join { addresses: args.address.clone(), ca_pin, proof });
    }
    if let (Some(certificate), Some(key), Some(ca_pin)) =
        (&args.host_certificate, &args.host_key, args.ca_pin)
    {
        let proof =
            Proof::HostCertificate(HostCertificate::read(certificate, key).map_err(identity::Error::from)?);
        return Ok(Join { addresses: args.address.clone(), ca_pin, proof });
    }
    let text = match &args.join_file {
        Some(path) => read(path)?,
        None => args.join.clone().unwrap_or_default(),
    };
    let join: JoinString = text.parse().map_err(|error| Failure::new(exit::JOIN, &error))?;
    Ok(join.into())
}

fn read(path: &Path) -> Result<String, Failure> {
    let mut text = String::new();
    let read = if path == Path::new("-") {
        std::io::stdin().take(MAX_FILE).read_to_string(&mut text)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(MAX_FILE).read_to_string(&mut text))
    };
    read.map_err(|error| Failure::told(exit::JOIN, format!("cannot read {}: {error}", path.display())))?;
    Ok(text)
}
