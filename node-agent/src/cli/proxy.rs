//! `proxy`: the proxy in the environment of the agent's service, and which one is used.

use std::{collections::BTreeMap, ffi::OsString, io::Read as _};

use muster_common::settings::{Bypass, ProxyUrl};
use serde_json::json;

use super::{
    Context,
    exit::{self, Failure},
    output::Output,
    runtime,
};
use crate::{
    locks::Locks,
    platform::{
        service_proxy::{SERVICE, ServiceProxy, Variables},
        systemd,
    },
    proxy::{Environment, Rules},
    wiring::Layers,
};

/// Longest address that is read from standard input.
const MAX_INPUT: u64 = 4096;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Give the agent's service a proxy in its environment (HTTPS_PROXY), instead of an
    /// earlier one. The option `proxy.url` wins over it. Needs root.
    Add(Add),
    /// Take the proxy out of the environment of the agent's service. Needs root.
    Remove(Remove),
    /// Tell which proxy is used for which service and why, and what the service's
    /// environment says.
    Show,
}

#[derive(Debug, clap::Args)]
struct Add {
    /// http://[USER:PASSWORD@]HOST[:PORT]; -: it stands on standard input, where other
    /// users of this host cannot see it. Port 80 if none is said; what is special in a
    /// password is written as % and two hexadecimal digits.
    url: String,
    /// What goes past it (NO_PROXY): hosts with all below them, addresses, networks, or *;
    /// between commas.
    #[arg(long, default_value = "", value_name = "LIST", hide_default_value = true)]
    bypass: String,
    /// Restart the service if it runs, so that the agent uses it at once.
    #[arg(long)]
    restart: bool,
}

#[derive(Debug, clap::Args)]
struct Remove {
    /// Restart the service if it runs, so that the agent does without it at once.
    #[arg(long)]
    restart: bool,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<(), Failure> {
    match &args.command {
        Command::Add(add) => run_add(add, context),
        Command::Remove(remove) => run_remove(remove, context),
        Command::Show => {
            show(context);
            Ok(())
        }
    }
}

fn run_add(add: &Add, context: &Context) -> Result<(), Failure> {
    let invalid = |why: String| Failure::told(exit::PROXY_INVALID, why);
    // Not by clap: its error repeats what was given, and that may have a password.
    let proxy = if add.url == "-" { from_input()? } else { add.url.clone() };
    let url = ProxyUrl::parse(&proxy)
        .map_err(|why| invalid(format!("the proxy's address cannot be used: {why}")))?;
    let bypass =
        Bypass::parse(&add.bypass).map_err(|why| invalid(format!("--bypass cannot be used: {why}")))?;
    if let Some(service) = bypass.first_service() {
        let why = format!("NO_PROXY knows no services: name {service} in the option proxy.bypass");
        return Err(invalid(why));
    }
    need_root()?;
    let no_proxy = add.bypass.split(',').map(str::trim).collect::<Vec<_>>().join(",");
    let files = ServiceProxy::default();
    let news =
        files.write(&Variables { proxy, no_proxy }).map_err(|error| cannot("write", &files, &error))?;
    context.out.note(&format!("{} has the proxy {url}", files.path().display()));
    tell_systemd(news, add.restart, context.out)
}

fn run_remove(remove: &Remove, context: &Context) -> Result<(), Failure> {
    need_root()?;
    let files = ServiceProxy::default();
    let news = files.remove().map_err(|error| cannot("remove", &files, &error))?;
    context.out.note(&format!("the environment of {SERVICE} has no proxy of ours"));
    tell_systemd(news, remove.restart, context.out)
}

fn from_input() -> Result<String, Failure> {
    let mut text = String::new();
    let read = std::io::stdin().take(MAX_INPUT).read_to_string(&mut text);
    read.map_err(|error| Failure::told(exit::PROXY_INVALID, format!("cannot read standard input: {error}")))?;
    Ok(text.trim().to_owned())
}

fn need_root() -> Result<(), Failure> {
    if rustix::process::geteuid().is_root() {
        return Ok(());
    }
    Err(Failure::told(exit::ROOT, format!("the environment of {SERVICE} is changed by root alone")))
}

fn cannot(doing: &str, files: &ServiceProxy, error: &std::io::Error) -> Failure {
    Failure::told(exit::STATE, format!("cannot {doing} {}: {error}", files.path().display()))
}

/// Has systemd read what changed, and the agent use it, or says how.
fn tell_systemd(news: bool, restart: bool, out: Output) -> Result<(), Failure> {
    if !systemd::is_booted() {
        out.note("systemd does not run here: start the agent with these variables yourself");
        return Ok(());
    }
    systemctl(&["daemon-reload"])?; // also when nothing is new: an earlier one may have failed
    if restart {
        return systemctl(&["try-restart", SERVICE]);
    }
    if news {
        out.note(&format!("an agent that runs already goes on as before: systemctl restart {SERVICE}"));
    }
    Ok(())
}

fn systemctl(words: &[&str]) -> Result<(), Failure> {
    let failed = |why: String| Failure::told(exit::INTERNAL, format!("systemctl {}: {why}", words.join(" ")));
    let call = async { systemd::systemctl(words).output().await };
    let done = runtime()?.block_on(call).map_err(|error| failed(error.to_string()))?;
    if done.status.success() {
        return Ok(());
    }
    Err(failed(String::from_utf8_lossy(&done.stderr).trim().to_owned()))
}

fn show(context: &Context) {
    let (ways, out) = (context.ways(), context.out);
    let service = ServiceProxy::default().read().map(|it| {
        let url = ProxyUrl::parse(&it.proxy).map_or_else(|_| "***".to_owned(), |url| url.to_string());
        (url, it.no_proxy)
    });
    if out.is_json() {
        let service = service.map(|(url, no_proxy)| json!({ "HTTPS_PROXY": url, "NO_PROXY": no_proxy }));
        out.document("proxy-show/1", &json!({ "proxy": ways, "service-environment": service }));
        return;
    }
    for (service, way) in ways {
        out.line(&format!("{:<28} {way}", format!("proxy.{service}")));
    }
    if let Some((url, no_proxy)) = service {
        out.line(&format!("{:<28} HTTPS_PROXY={url} NO_PROXY={no_proxy}", "service-environment"));
    }
}

impl Context {
    /// Which connection of a command goes through which proxy.
    pub(super) fn proxies(&self) -> Rules {
        let locks = Locks::load(&self.config.locks_file).unwrap_or_else(|_| Locks::everything());
        let layers =
            Layers { control_plane: &BTreeMap::new(), configuration: &self.config.settings, locks: &locks };
        layers.proxies(environment())
    }

    /// By which way each service is reached: as the agent that runs says it, else as one
    /// would that was started now.
    pub(super) fn ways(&self) -> BTreeMap<String, String> {
        let here = || {
            let identity = crate::identity::Store::new(self.state.path()).load().ok().flatten();
            crate::wiring::told_ways(&self.proxies(), identity.as_ref())
        };
        self.ways_of_agent().unwrap_or_else(here)
    }

    /// As the agent that runs says it, if one does and has an identity.
    pub(super) fn ways_of_agent(&self) -> Option<BTreeMap<String, String>> {
        let ways = self.state.status().map(|status| status.proxies).filter(|ways| !ways.is_empty())?;
        (self.state.is_running() == Some(true)).then_some(ways)
    }
}

/// The rules of a command that was given a proxy, or of this host.
pub(super) fn rules(given: Option<&str>, context: &Context) -> Result<Rules, Failure> {
    let Some(given) = given else { return Ok(context.proxies()) };
    let url = ProxyUrl::parse(given)
        .map_err(|why| Failure::told(exit::PROXY_INVALID, format!("--proxy cannot be used: {why}")))?;
    Ok(Rules::given(url))
}

/// That of this process; of the agent's service, where it alone has a proxy.
fn environment() -> Environment {
    let own = Environment::of_process();
    match ServiceProxy::default().read() {
        Some(service) if !own.has_proxy() => {
            Environment::read("environment of the service", |name| match name {
                "HTTPS_PROXY" => Some(OsString::from(&service.proxy)),
                "NO_PROXY" => Some(OsString::from(&service.no_proxy)),
                _ => None,
            })
        }
        _ => own,
    }
}
