//! The agent's options in force. Each layer wins over those before it: default, control
//! plane, this host's configuration file, its lock file. While the lock file cannot be
//! used everything is locked: nothing that the control plane gives comes into force.

use std::{collections::BTreeMap, time::Duration};

use muster_common::{
    clock,
    settings::{self, MirrorUrl, SCHEMA, Setting},
};
use tokio::sync::watch;

use crate::{
    config,
    locks::{self, Locks},
    proxy::{Environment, Rules},
    state::{EffectiveSetting, Origin},
};

/// Between looks at the host's files.
const LOOK: Duration = clock::STRIDE;

/// What each layer says.
#[derive(Debug, Clone, Copy)]
pub struct Layers<'a> {
    /// The control plane.
    pub control_plane: &'a BTreeMap<String, String>,
    /// This host's configuration file.
    pub configuration: &'a BTreeMap<String, String>,
    /// This host's lock file.
    pub locks: &'a Locks,
}

/// The layers of the host itself.
#[derive(Debug, Clone)]
pub(super) struct HostLayers {
    pub(super) configuration: config::Reader,
    pub(super) locks: locks::Reader,
    pub(super) environment: Environment,
}

/// What the layers come to.
#[derive(Debug)]
pub(super) struct Decided {
    /// Without what is secret in them.
    pub(super) settings: Vec<EffectiveSetting>,
    pub(super) proxies: Rules,
}

/// Where each option in force is told.
#[derive(Debug)]
pub(super) struct InForce {
    pub(super) all: watch::Sender<Vec<EffectiveSetting>>,
    pub(super) facts_interval: watch::Sender<Duration>,
    pub(super) drift_interval: watch::Sender<Duration>,
    /// First and longest wait.
    pub(super) reconnect: watch::Sender<(Duration, Duration)>,
    pub(super) log_level: watch::Sender<String>,
    pub(super) proxies: watch::Sender<Rules>,
    /// From so many percent on a disk is nearly full.
    pub(super) disk_full: watch::Sender<u32>,
    /// A static mirror of the signed repository.
    pub(super) mirror: watch::Sender<Option<MirrorUrl>>,
}

impl Layers<'_> {
    /// Every option there is, as it is in force and may be told to anybody.
    #[must_use]
    pub fn in_force(&self) -> Vec<EffectiveSetting> {
        SCHEMA.iter().map(|setting| self.told(setting)).collect()
    }

    /// Which connection goes through which proxy.
    #[must_use]
    pub fn proxies(&self, environment: Environment) -> Rules {
        let written = |key| settings::find(key).map_or(("", Origin::Default), |it| self.decide(it));
        Rules::new(written("proxy.url"), written("proxy.bypass").0, environment)
    }

    /// Most bytes of files of the signed repository.
    #[must_use]
    pub fn artifacts_quota(&self) -> u64 {
        let written = settings::find("artifacts.cache").map_or("", |setting| self.decide(setting).0);
        written.parse::<u64>().unwrap_or_default().saturating_mul(1024 * 1024)
    }

    fn told(&self, setting: &Setting) -> EffectiveSetting {
        let (value, origin) = self.decide(setting);
        let given = self.given(setting).filter(|given| *given != value);
        EffectiveSetting {
            key: setting.key.to_owned(),
            value: setting.told(value).into_owned(),
            origin,
            desired: given.map(str::to_owned),
        }
    }

    /// By the control plane, where it has a say.
    fn given(&self, setting: &Setting) -> Option<&str> {
        self.control_plane.get(setting.key).filter(|_| !setting.host_only).map(String::as_str)
    }

    /// As written, with what is secret, and who says it.
    fn decide(&self, setting: &Setting) -> (&str, Origin) {
        let layers = [
            (self.locks.setting(setting.key), Origin::Lock),
            (self.configuration.get(setting.key).map(String::as_str), Origin::Configuration),
            (self.given(setting).filter(|_| self.locks.allows_settings()), Origin::ControlPlane),
        ];
        let decided = layers.into_iter().find_map(|(value, origin)| Some((value?, origin)));
        decided.unwrap_or((setting.default, Origin::Default))
    }
}

impl HostLayers {
    /// Another one once a file of this host may say something else.
    fn version(&self) -> (u64, u64) {
        (self.configuration.version(), self.locks.version())
    }

    /// The options in force with what the control plane gives.
    pub(super) fn over(&self, control_plane: &BTreeMap<String, String>) -> Decided {
        let (configuration, locks) = (&self.configuration.settings(), &self.locks.current());
        let layers = Layers { control_plane, configuration, locks };
        Decided { settings: layers.in_force(), proxies: layers.proxies(self.environment.clone()) }
    }
}

impl InForce {
    pub(super) fn new(decided: Decided) -> Self {
        let Decided { settings: all, proxies } = decided;
        Self {
            proxies: watch::Sender::new(proxies),
            facts_interval: watch::Sender::new(duration(&all, "facts-interval")),
            drift_interval: watch::Sender::new(duration(&all, "drift-interval")),
            reconnect: watch::Sender::new(reconnect(&all)),
            log_level: watch::Sender::new(text(&all, "log-level")),
            disk_full: watch::Sender::new(percent(&all, "disk-nearly-full")),
            mirror: watch::Sender::new(mirror(&all)),
            all: watch::Sender::new(all),
        }
    }

    /// Puts options into force; who listens hears of what is another one.
    fn put(&self, decided: Decided) {
        let Decided { settings: all, proxies } = decided;
        tell(&self.proxies, proxies);
        tell(&self.facts_interval, duration(&all, "facts-interval"));
        tell(&self.drift_interval, duration(&all, "drift-interval"));
        tell(&self.reconnect, reconnect(&all));
        tell(&self.log_level, text(&all, "log-level"));
        tell(&self.disk_full, percent(&all, "disk-nearly-full"));
        tell(&self.mirror, mirror(&all));
        for (old, new) in self.all.borrow().iter().zip(&all).filter(|(old, new)| old != new) {
            let EffectiveSetting { key, value, origin, .. } = new;
            tracing::info!(key, value, "{key} is {value} ({origin}); it was {} ({})", old.value, old.origin);
        }
        tell(&self.all, all);
    }
}

/// It was checked where it was read.
fn mirror(all: &[EffectiveSetting]) -> Option<MirrorUrl> {
    MirrorUrl::parse(&text(all, "artifacts.mirror")).ok()
}

fn tell<T: PartialEq>(to: &watch::Sender<T>, new: T) {
    to.send_if_modified(|old| {
        let is_news = *old != new;
        *old = new;
        is_news
    });
}

fn text(all: &[EffectiveSetting], key: &str) -> String {
    all.iter().find(|setting| setting.key == key).map(|setting| setting.value.clone()).unwrap_or_default()
}

fn percent(all: &[EffectiveSetting], key: &str) -> u32 {
    // Checked before they came here, too.
    text(all, key).parse().unwrap_or(100)
}

fn duration(all: &[EffectiveSetting], key: &str) -> Duration {
    // Checked before they came here, and defaults are durations: a test of the schema says so.
    settings::parse_duration(&text(all, key)).unwrap_or(Duration::from_secs(60))
}

fn reconnect(all: &[EffectiveSetting]) -> (Duration, Duration) {
    let (min, max) = (duration(all, "reconnect-min"), duration(all, "reconnect-max"));
    (min, max.max(min))
}

/// Keeps in force what the layers say, without an end.
pub(super) async fn follow(
    host: &HostLayers,
    mut control_plane: watch::Receiver<BTreeMap<String, String>>,
    in_force: &InForce,
) {
    let mut seen = None;
    loop {
        // Before they are read: what is edited meanwhile is seen at the next look.
        let version = host.version();
        if seen.replace(version) != Some(version) {
            in_force.put(host.over(&control_plane.borrow_and_update()));
        }
        tokio::select! {
            changed = control_plane.changed() => {
                if changed.is_err() {
                    return std::future::pending().await; // the applier's end is told elsewhere
                }
                seen = None;
            }
            () = clock::step(LOOK) => {}
        }
    }
}

#[cfg(test)]
mod tests;
