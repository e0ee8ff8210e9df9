//! `check`.

use std::{cell::Cell, time::Duration};

use muster_common::{clock::Clock, digest::Sha256};
use serde::Serialize;
use serde_json::json;

use super::{
    Context,
    connect::pin,
    exit::{self, Failure},
    join,
    output::{Output, Tone},
    progress, runtime,
};
use crate::{
    diagnostics::{self, Event, Outcome, Plan, Port, Step},
    identity::{Identity, Store},
};

/// Most bytes that a control plane gives at once, in MiB.
const MOST_MIB: u32 = 16;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    join: join::Given,
    /// Look at this address instead, such as one of the enrollment port; repeat for more.
    #[arg(long, value_name = "HOST:PORT", conflicts_with_all = ["join", "join_file"])]
    address: Vec<String>,
    /// Pin of the root that must answer there, as `muster-control-plane ca status` shows it.
    /// Without it is told who answers, and no more.
    #[arg(long, value_name = "SHA256", value_parser = pin, requires = "address")]
    ca_pin: Option<Sha256>,
    /// How long to hold a stream on which nobody speaks, to find what cuts such connections:
    /// at most 5m; 0s: not at all. From 60s on a ping each minute keeps it, as it keeps a session.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = hold)]
    hold: Duration,
    /// How many MiB to fetch, to see how fast they come; 0: none.
    #[arg(long, value_name = "MIB", default_value_t = 4, value_parser = clap::value_parser!(u32).range(0..=i64::from(MOST_MIB)))]
    throughput: u32,
}

/// One address, or this host, and what was found there.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Target {
    /// Empty: this host.
    address: String,
    /// `host`, `session`, `recovery`, `enrollment`, `unknown`.
    port: &'static str,
    passed: bool,
    steps: Vec<Step>,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<(), Failure> {
    let (out, clock) = (context.out, Clock::System);
    let mut targets = Vec::new();
    let asked = asked(args, context)?;
    if let Some(identity) = &asked.identity {
        heading(out, "this host");
        let step = diagnostics::certificate(identity, clock.now());
        tell(out, &step);
        targets.push(Target {
            address: String::new(),
            port: "host",
            passed: is_passed(&step),
            steps: vec![step],
        });
    }
    let (runtime, proxies) = (runtime()?, context.proxies());
    for (address, port) in &asked.ports {
        heading(out, &format!("{address} ({})", name(port)));
        // A host that is connected needs enrollment ports only after a long absence.
        let required = !matches!(port, Port::Recovery(_));
        let plan = Plan { hold: args.hold, bytes: args.throughput * 1024 * 1024, required };
        let target = diagnostics::Target { address, port, proxies: &proxies };
        let steps = runtime.block_on(look(out, target, plan, &clock));
        let passed = steps.iter().all(is_passed);
        targets.push(Target { address: address.clone(), port: name(port), passed, steps });
    }
    end(out, &targets)
}

/// Where to look.
struct Asked {
    identity: Option<Identity>,
    ports: Vec<(String, Port)>,
}

fn asked(args: &Args, context: &Context) -> Result<Asked, Failure> {
    if !args.address.is_empty() {
        let port = || args.ca_pin.map_or(Port::Unknown, Port::Enrollment);
        let ports = args.address.iter().map(|address| (address.clone(), port())).collect();
        return Ok(Asked { identity: None, ports });
    }
    let given = args.join.join.is_some() || args.join.join_file.is_some();
    // What was said on the command line wins, what happens to be in the environment does not.
    let identity = if given { None } else { Store::new(context.state.path()).load()? };
    if let Some(identity) = identity {
        let ports = |addresses: &[String], port: &dyn Fn(Box<Identity>) -> Port| {
            addresses.iter().map(|at| (at.clone(), port(Box::new(identity.clone())))).collect::<Vec<_>>()
        };
        let mut all = ports(&identity.session_addresses, &Port::Session);
        all.extend(ports(&identity.enrollment_addresses, &Port::Recovery));
        return Ok(Asked { ports: all, identity: Some(identity) });
    }
    let join = args.join.find()?.ok_or_else(|| {
        let cause = "this host is in no fleet, and no join string and no --address says where to look";
        Failure::told(exit::NOT_CONNECTED, cause.to_owned())
    })?;
    let port = |address| (address, Port::Enrollment(join.ca_pin));
    Ok(Asked { identity: None, ports: join.addresses.into_iter().map(port).collect() })
}

async fn look(out: Output, target: diagnostics::Target<'_>, plan: Plan, clock: &Clock) -> Vec<Step> {
    let now = Cell::new("");
    let told = |event: Event<'_>| match event {
        Event::Begins(name) => now.set(name),
        Event::Over(step) => {
            progress::wipe(out);
            tell(out, step);
        }
    };
    let looking = Box::pin(diagnostics::look(target, plan, clock, told));
    progress::watched(out, || format!("  {}", now.get()), looking).await
}

fn end(out: Output, targets: &[Target]) -> Result<(), Failure> {
    let sound = |port: &str| {
        let mut of_port = targets.iter().filter(|target| target.port == port).peekable();
        // One address that works is enough: the agent takes it.
        of_port.peek().is_none() || of_port.any(|target| target.passed)
    };
    let failed = ["host", "session", "enrollment", "unknown"].into_iter().find(|port| !sound(port));
    let failure = failed.map(|port| {
        let faults = targets.iter().filter(|target| target.port == port);
        let first = faults.flat_map(|target| &target.steps).find(|step| !is_passed(step));
        let cause = first.map_or_else(String::new, |step| format!("{}: {}", step.name, step.told));
        Failure::told(exit::CHECK, cause)
    });
    if out.is_json() {
        let answer = json!({ "passed": failure.is_none(), "targets": targets });
        return match failure {
            None => {
                out.document("check/1", &answer);
                Ok(())
            }
            Some(failure) => Err(failure.beside("check/1", answer)),
        };
    }
    match failure {
        None => {
            out.line(&out.paint(Tone::Good, "everything that the agent needs works"));
            Ok(())
        }
        Some(failure) => Err(failure),
    }
}

fn is_passed(step: &Step) -> bool {
    !(step.required && step.outcome == Outcome::Failed)
}

fn heading(out: Output, text: &str) {
    if !out.is_json() {
        out.line(&out.paint(Tone::Strong, text));
    }
}

fn tell(out: Output, step: &Step) {
    if out.is_json() {
        return;
    }
    let (tone, word) = match step.outcome {
        Outcome::Passed => (Tone::Good, "ok"),
        Outcome::Doubtful => (Tone::Doubtful, "doubtful"),
        Outcome::Failed if step.required => (Tone::Bad, "FAILED"),
        Outcome::Failed => (Tone::Doubtful, "failed"),
        Outcome::Skipped => (Tone::Strong, "skipped"),
    };
    let word = out.paint(tone, &format!("{word:<8}"));
    out.line(&format!("  {:<15} {word} {:>6} ms  {}", step.name, step.took_ms, step.told));
    if !step.remedy.is_empty() {
        out.line(&format!("{:38}remedy: {}", "", step.remedy));
    }
}

const fn name(port: &Port) -> &'static str {
    match port {
        Port::Session(_) => "session",
        Port::Recovery(_) => "recovery",
        Port::Enrollment(_) => "enrollment",
        Port::Unknown => "unknown",
    }
}

fn hold(text: &str) -> Result<Duration, String> {
    let hold = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if hold > Duration::from_secs(300) { Err("at most 5m".to_owned()) } else { Ok(hold) }
}
