//! `proxy`: the proxy in the environment of the agent's service, and which one is used.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    io::{self, Read as _},
    path::PathBuf,
};

use muster_common::settings::{Bypass, ProxyUrl};
use serde_json::json;

use super::{
    Context,
    exit::{self, Failure},
    output::Output,
    runtime,
    show::UNKNOWN,
};
use crate::{
    locks::Locks,
    platform::{
        service_proxy::{SERVICE, ServiceProxy, Variables},
        systemd,
    },
    proxy::{self, Environment, Rules},
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
    if let Some(entry) = proxy::misread(&add.bypass) {
        let why = format!("NO_PROXY cannot say {entry}: name it in the option proxy.bypass, or say * alone");
        return Err(invalid(why));
    }
    need_root()?;
    let no_proxy = add.bypass.split(',').map(str::trim).collect::<Vec<_>>().join(",");
    let files = ServiceProxy::default();
    let news =
        files.write(&Variables { proxy, no_proxy }).map_err(|error| cannot("write", &files, &error))?;
    context.out.note(&format!("{} has the proxy {url}", files.path().display()));
    let restarted = tell_systemd(news, add.restart, context.out)?;
    answer(context.out, &files, (news, restarted));
    Ok(())
}

fn run_remove(remove: &Remove, context: &Context) -> Result<(), Failure> {
    need_root()?;
    let files = ServiceProxy::default();
    let news = files.remove().map_err(|error| cannot("remove", &files, &error))?;
    context.out.note(&format!("the environment of {SERVICE} has no proxy of ours"));
    let restarted = tell_systemd(news, remove.restart, context.out)?;
    answer(context.out, &files, (news, restarted));
    Ok(())
}

fn from_input() -> Result<String, Failure> {
    let mut text = String::new();
    let read = io::stdin().take(MAX_INPUT).read_to_string(&mut text);
    read.map_err(|error| Failure::told(exit::PROXY_INVALID, format!("cannot read standard input: {error}")))?;
    Ok(text.trim().to_owned())
}

fn need_root() -> Result<(), Failure> {
    if rustix::process::geteuid().is_root() {
        return Ok(());
    }
    Err(Failure::told(exit::ROOT, format!("the environment of {SERVICE} is changed by root alone")))
}

fn cannot(doing: &str, files: &ServiceProxy, error: &io::Error) -> Failure {
    Failure::told(exit::STATE, format!("cannot {doing} {}: {error}", files.path().display()))
}

/// For a program: what the service's environment says now.
fn answer(out: Output, files: &ServiceProxy, (changed, restarted): (bool, bool)) {
    if out.is_json() {
        let whole = json!({
            "file": files.path(), "changed": changed, "restarted": restarted,
            "service-environment": told(files).unwrap_or_default(), // root may read it
        });
        out.document("proxy-change/1", &whole);
    }
}

/// What the service's environment says, without a password. Null: nothing of ours.
fn told(files: &ServiceProxy) -> io::Result<Option<BTreeMap<&'static str, String>>> {
    let Some(Variables { proxy, no_proxy }) = files.read()? else { return Ok(None) };
    let url = ProxyUrl::parse(&proxy).map_or_else(|_| "***".to_owned(), |url| url.to_string());
    Ok(Some(BTreeMap::from([("HTTPS_PROXY", url), ("NO_PROXY", no_proxy)])))
}

/// Has systemd read what changed, and the agent use it, or says how. Answers whether the
/// service was asked to start anew.
fn tell_systemd(news: bool, restart: bool, out: Output) -> Result<bool, Failure> {
    if !systemd::is_booted() {
        out.note("systemd does not run here: start the agent with these variables yourself");
        return Ok(false);
    }
    systemctl(&["daemon-reload"])?; // also when nothing is new: an earlier one may have failed
    if restart {
        return systemctl(&["try-restart", SERVICE]).map(|()| true);
    }
    if news {
        out.note(&format!("an agent that runs already goes on as before: systemctl restart {SERVICE}"));
    }
    Ok(false)
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
    let service = told(&ServiceProxy::default());
    if out.is_json() {
        let service = service.map_or(json!(UNKNOWN), |told| json!(told));
        out.document("proxy-show/1", &json!({ "proxy": ways, "service-environment": service }));
        return;
    }
    for (service, way) in ways {
        out.line(&format!("{:<28} {way}", format!("proxy.{service}")));
    }
    match service {
        Ok(Some(variables)) => {
            let told: Vec<String> = variables.iter().map(|(name, value)| format!("{name}={value}")).collect();
            out.line(&format!("{:<28} {}", "service-environment", told.join(" ")));
        }
        Ok(None) => {}
        Err(_) => out.line(&format!("{:<28} {UNKNOWN}", "service-environment")),
    }
}

/// What this host says of proxies.
struct Said {
    rules: Rules,
    /// What this user cannot read and what might say something else.
    hidden: Vec<PathBuf>,
}

impl Context {
    /// Which connection of a command goes through which proxy.
    pub(super) fn proxies(&self) -> Rules {
        let Said { rules, hidden } = self.said();
        for path in hidden {
            self.out.note(&format!(
                "{} is not for this user to read: what it says of proxies is passed over",
                path.display()
            ));
        }
        rules
    }

    fn said(&self) -> Said {
        let mut hidden = Vec::new();
        let locks = Locks::load(&self.config.locks_file).unwrap_or_else(|error| {
            if error.is_forbidden() {
                hidden.push(self.config.locks_file.clone());
            }
            Locks::everything()
        });
        let layers =
            Layers { control_plane: &BTreeMap::new(), configuration: &self.config.settings, locks: &locks };
        let by_option = layers.proxies(Environment::default());
        if by_option.has_proxy() {
            return Said { rules: by_option, hidden };
        }
        let environment = environment().unwrap_or_else(|_| {
            hidden.push(ServiceProxy::default().variables());
            Environment::of_process()
        });
        Said { rules: layers.proxies(environment), hidden }
    }

    /// By which way each service is reached: as the agent that runs says it, else as one
    /// would that was started now.
    pub(super) fn ways(&self) -> BTreeMap<String, String> {
        if let Some(ways) = self.ways_of_agent() {
            return ways;
        }
        let Said { rules, hidden } = self.said();
        if self.state.is_running().is_none() || !hidden.is_empty() {
            let services = crate::wiring::told_ways(&Rules::default(), None).into_keys();
            return services.map(|service| (service, UNKNOWN.to_owned())).collect();
        }
        let identity = crate::identity::Store::new(self.state.path()).load().ok().flatten();
        crate::wiring::told_ways(&rules, identity.as_ref())
    }

    /// As the agent that runs says it, if one does and has an identity.
    pub(super) fn ways_of_agent(&self) -> Option<BTreeMap<String, String>> {
        self.state.status_now().map(|status| status.proxies).filter(|ways| !ways.is_empty())
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
fn environment() -> io::Result<Environment> {
    let own = Environment::of_process();
    if own.has_proxy() {
        return Ok(own);
    }
    let Some(service) = ServiceProxy::default().read()? else { return Ok(own) };
    Ok(Environment::read("environment of the service", |name| match name {
        "HTTPS_PROXY" => Some(OsString::from(&service.proxy)),
        "NO_PROXY" => Some(OsString::from(&service.no_proxy)),
        _ => None,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config::Config, state_dir::StateDir};

    #[test]
    fn who_may_not_see_whether_an_agent_runs_is_told_no_way() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let ways = |state: PathBuf| {
            let state = StateDir::at(&state);
            let context = Context { config: Config::default(), state, out: Output::new(false, true, false) };
            context.ways()
        };
        let hidden = ways(file.path().join("state"));
        assert!(hidden.len() == 3 && hidden.values().all(|way| way == UNKNOWN), "{hidden:?}");
        let folder = tempfile::tempdir().unwrap();
        assert!(ways(folder.path().to_owned()).values().all(|way| way != UNKNOWN));
    }

    #[test]
    fn the_environment_of_the_service_is_told_without_its_password() {
        let folder = tempfile::tempdir().unwrap();
        let files = ServiceProxy::below(folder.path());
        assert_eq!(told(&files).unwrap(), None);
        let proxy = "http://u:hunter2@p:3128".to_owned();
        files.write(&Variables { proxy, no_proxy: "a.example".to_owned() }).unwrap();
        let told = told(&files).unwrap().unwrap();
        assert_eq!(
            (told["HTTPS_PROXY"].as_str(), told["NO_PROXY"].as_str()),
            ("http://u:***@p:3128", "a.example")
        );
    }
}
