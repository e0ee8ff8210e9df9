//! Looks at the way to a control plane, one step after the other, and says of each
//! whether it works, how long it took and what to do if not. It opens connections of its
//! own and no session: a session that is open stays as it is.

mod calls;
mod tls;
mod way;

use std::{sync::Arc, time::Duration};

use muster_common::{
    clock::{Clock, UnixMillis},
    digest::Sha256,
    settings::Service,
    tls as common_tls,
};
use rustls::ClientConfig;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::{
    identity::{self, Identity},
    proxy::Rules,
};
use way::Line;

/// For each step that is not about lasting.
const WITHIN: Duration = Duration::from_secs(20);
/// A clock that is off by more can make certificates look over, or not yet good.
const SKEW: Duration = Duration::from_secs(120);

/// What a connection is to be.
#[derive(Debug, Clone)]
pub enum Port {
    /// For sessions, with the certificate of this host.
    Session(Box<Identity>),
    /// For coming back, by the roots that this host knows.
    Recovery(Box<Identity>),
    /// For a host in no fleet, by the pin of a root.
    Enrollment(Sha256),
    /// Nobody says whom to trust: who answers is told, and nothing more is said to it.
    Unknown,
}

/// How much is asked.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// How long a stream is held on which nobody speaks; nothing: not at all.
    pub hold: Duration,
    /// How many bytes are fetched; none: not at all.
    pub bytes: u32,
    /// A step that fails is a failure of the whole.
    pub required: bool,
}

/// How a step went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// As it should be.
    Passed,
    /// It works, and something about it is not as it should be.
    Doubtful,
    /// It does not work.
    Failed,
    /// Not tried, because of a step before it or because nobody asked for it.
    Skipped,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Step {
    /// `dns`, `tcp`, `proxy`, `tls`, `h2`, `authentication`, `enrollment`, `clock`, `stream`, `throughput`.
    pub name: &'static str,
    /// How it went.
    pub outcome: Outcome,
    /// Whether the whole fails with it.
    pub required: bool,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
    /// What was found, for people.
    pub told: String,
    /// What to do; empty if there is nothing to do.
    pub remedy: &'static str,
    /// What was found, for programs.
    pub details: Map<String, Value>,
}

/// What is told while it looks.
#[derive(Debug)]
pub enum Event<'a> {
    /// A step of this name begins.
    Begins(&'static str),
    /// It is over.
    Over(&'a Step),
}

/// What one step found.
struct Found {
    outcome: Outcome,
    told: String,
    remedy: &'static str,
    details: Map<String, Value>,
}

impl Found {
    fn passed(told: String) -> Self {
        Self { outcome: Outcome::Passed, told, remedy: "", details: Map::new() }
    }

    fn failed(told: String, remedy: &'static str) -> Self {
        Self { outcome: Outcome::Failed, remedy, ..Self::passed(told) }
    }

    fn doubtful(told: String, remedy: &'static str) -> Self {
        Self { outcome: Outcome::Doubtful, remedy, ..Self::passed(told) }
    }

    fn skipped(why: &str) -> Self {
        Self { outcome: Outcome::Skipped, ..Self::passed(why.to_owned()) }
    }

    fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.details.insert(name.to_owned(), value.into());
        self
    }
}

/// Whether the certificate of this host can be shown.
#[must_use]
pub fn certificate(identity: &Identity, now: UnixMillis) -> Step {
    let until = humantime::format_rfc3339_seconds(identity.not_after.to_system_time());
    let generation = identity.certificate_generation;
    let found = if identity.is_over(now) {
        let told = format!("generation {generation} is over since {until}");
        Found::failed(
            told,
            "let the agent run: it comes back by the enrollment port if it may; see that the clock is right",
        )
    } else {
        Found::passed(format!("generation {generation} is good until {until}"))
    };
    let found = found.with("generation", generation).with("not-after", until.to_string());
    step("certificate", found, true, Duration::ZERO)
}

fn step(name: &'static str, found: Found, required: bool, took: Duration) -> Step {
    let Found { outcome, told, remedy, details } = found;
    let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    Step { name, outcome, required, took_ms, told, remedy, details }
}

/// One address, and how it is reached.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    /// `host:port`.
    pub address: &'a str,
    /// What it is.
    pub port: &'a Port,
    /// By which proxy.
    pub proxies: &'a Rules,
}

/// Looks at one address; tells each step.
pub async fn look(target: Target<'_>, plan: Plan, clock: &Clock, told: impl FnMut(Event<'_>)) -> Vec<Step> {
    let mut look = Look { plan, clock, steps: Vec::new(), told };
    let route = target.proxies.route(target.port.service(), target.address);
    match route.proxy() {
        Ok(proxy) => look.all(Line { address: target.address, proxy }, target.port).await,
        Err(error) => {
            let found = Found::failed(error.to_string(), "correct it; `proxy show` tells who names it");
            look.step("proxy", std::future::ready(found)).await;
        }
    }
    look.steps
}

struct Look<'a, F> {
    plan: Plan,
    clock: &'a Clock,
    steps: Vec<Step>,
    told: F,
}

impl<F: FnMut(Event<'_>)> Look<'_, F> {
    async fn all(&mut self, line: Line<'_>, port: &Port) {
        let (first, clock) = (line.first(), self.clock);
        // Behind a proxy it is the proxy that knows names.
        if !self.step("dns", way::resolve(&first)).await {
            return;
        }
        if !self.step("tcp", way::reach(&first)).await {
            return;
        }
        if line.proxy.is_some() && !self.step("proxy", way::pass(line)).await {
            return;
        }
        let trust = match port.trust() {
            Ok(trust) => trust,
            Err(error) => {
                let why = Found::failed(error.to_string(), "connect this host anew");
                self.step("tls", std::future::ready(why)).await;
                return;
            }
        };
        if !self.step("tls", tls::shake(line, trust.clone(), clock.now())).await {
            return;
        }
        let Some(trust) = trust else { return };
        let mut channel = None;
        if !self.step("h2", calls::open(line, trust, &mut channel)).await {
            return;
        }
        let Some(channel) = channel else { return };
        let mut ahead = None;
        match port {
            Port::Session(_) => {
                if !self.step("authentication", calls::echo(channel.clone(), clock, &mut ahead)).await {
                    return;
                }
                self.step("clock", std::future::ready(judge_clock(ahead))).await;
                self.step("stream", calls::hold(channel.clone(), self.plan.hold)).await;
                self.step("throughput", calls::measure(channel, self.plan.bytes, clock)).await;
            }
            Port::Recovery(_) | Port::Enrollment(_) => {
                if self.step("enrollment", calls::enrollment(channel, clock, &mut ahead)).await {
                    self.step("clock", std::future::ready(judge_clock(ahead))).await;
                }
            }
            Port::Unknown => {}
        }
    }

    /// Does a step; answers whether those that need it can follow.
    async fn step(&mut self, name: &'static str, doing: impl Future<Output = Found>) -> bool {
        (self.told)(Event::Begins(name));
        let began = self.clock.monotonic();
        let found = doing.await;
        let took = self.clock.monotonic().duration_since(began);
        // How fast it is and how right the clock is keeps nobody out.
        let required = self.plan.required && !matches!(name, "clock" | "throughput");
        let step = step(name, found, required, took);
        (self.told)(Event::Over(&step));
        let goes_on = matches!(step.outcome, Outcome::Passed | Outcome::Doubtful);
        self.steps.push(step);
        goes_on
    }
}

impl Port {
    /// As which it is reached.
    const fn service(&self) -> Service {
        match self {
            Self::Session(_) => Service::Session,
            Self::Recovery(_) | Self::Enrollment(_) | Self::Unknown => Service::Enrollment,
        }
    }

    /// The TLS of such a connection. `None`: nobody is trusted.
    fn trust(&self) -> Result<Option<Arc<ClientConfig>>, identity::Error> {
        Ok(match self {
            Self::Session(identity) => Some(Arc::new(identity.client_config()?)),
            Self::Recovery(identity) => Some(Arc::new(identity.recovery_config()?)),
            Self::Enrollment(pin) => Some(Arc::new(common_tls::enrollment_client_config(*pin)?)),
            Self::Unknown => None,
        })
    }
}

/// By how much the control plane's clock is ahead of this host's.
fn judge_clock(ahead_ms: Option<i64>) -> Found {
    let Some(ahead) = ahead_ms else { return Found::skipped("the control plane does not say its time") };
    let off = Duration::from_millis(ahead.unsigned_abs());
    let told = match ahead {
        0.. => format!("this host is {} behind the control plane", seconds(off)),
        _ => format!("this host is {} ahead of the control plane", seconds(off)),
    };
    let found = if off > SKEW {
        Found::doubtful(told, "set the clock, best by a time service such as chrony or systemd-timesyncd")
    } else {
        Found::passed(told)
    };
    found.with("ahead-ms", ahead)
}

fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}

/// The control plane's time minus this host's, in the middle between asking and hearing.
fn ahead(theirs_ms: i64, asked: UnixMillis, heard: UnixMillis) -> Option<i64> {
    let middle = asked.0.saturating_add(heard.0.saturating_sub(asked.0) / 2);
    (theirs_ms != 0).then(|| theirs_ms.saturating_sub(middle)) // 0: an older control plane
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_doubtful_from_two_minutes_on_in_either_direction() {
        for (ahead, outcome) in [
            (0, Outcome::Passed),
            (119_000, Outcome::Passed),
            (121_000, Outcome::Doubtful),
            (-119_000, Outcome::Passed),
            (-121_000, Outcome::Doubtful),
            (i64::MIN, Outcome::Doubtful),
        ] {
            assert_eq!(judge_clock(Some(ahead)).outcome, outcome, "{ahead}");
        }
        assert_eq!(judge_clock(None).outcome, Outcome::Skipped);
    }

    #[test]
    fn the_time_on_the_way_is_shared_by_both_directions() {
        assert_eq!(ahead(1_500, UnixMillis(1_000), UnixMillis(2_000)), Some(0));
        assert_eq!(ahead(5_000, UnixMillis(1_000), UnixMillis(2_000)), Some(3_500));
        assert_eq!(ahead(0, UnixMillis(1_000), UnixMillis(2_000)), None);
    }
}
