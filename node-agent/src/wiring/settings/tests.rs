use std::{os::unix::fs::PermissionsExt as _, path::PathBuf};

use muster_common::settings::Applies;

use super::*;

/// A host with a lock file.
struct Lab {
    path: PathBuf,
    host: HostLayers,
    _folder: tempfile::TempDir,
}

impl Lab {
    fn new(configuration: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("locks.toml");
        let locks = locks::Reader::new(path.clone());
        let config = config::Config { settings: map(configuration), ..config::Config::default() };
        let config = config::Config { path: folder.path().join("node-agent.toml"), ..config };
        let configuration = config::Reader::new(config);
        Self {
            path,
            host: HostLayers { configuration, locks, environment: Environment::default() },
            _folder: folder,
        }
    }

    fn lock(&self, text: &str) {
        std::fs::write(&self.path, text).unwrap();
        std::fs::set_permissions(&self.path, std::fs::Permissions::from_mode(0o644)).unwrap();
    }

    /// Value, origin, and what the control plane gave in vain.
    fn is(&self, key: &str, control_plane: &[(&str, &str)]) -> (String, Origin, Option<String>) {
        let all = self.host.over(&map(control_plane)).settings;
        let found = all.into_iter().find(|setting| setting.key == key).unwrap();
        (found.value, found.origin, found.desired)
    }
}

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn decided(value: &str, origin: Origin, desired: Option<&str>) -> (String, Origin, Option<String>) {
    (value.to_owned(), origin, desired.map(str::to_owned))
}

#[test]
fn each_layer_wins_over_those_before_it() {
    let given = [("log-level", "warn")];
    let lab = Lab::new(&[]);
    assert_eq!(lab.is("log-level", &[]), decided("info", Origin::Default, None));
    assert_eq!(lab.is("log-level", &given), decided("warn", Origin::ControlPlane, None));
    let lab = Lab::new(&[("log-level", "debug")]);
    assert_eq!(lab.is("log-level", &given), decided("debug", Origin::Configuration, Some("warn")));
    lab.lock("[settings]\nlog-level = \"trace\"\n");
    assert_eq!(lab.is("log-level", &given), decided("trace", Origin::Lock, Some("warn")));
    assert_eq!(lab.is("log-level", &[("log-level", "trace")]), decided("trace", Origin::Lock, None));
    assert_eq!(lab.is("facts-interval", &given), decided("10m", Origin::Default, None));
}

#[test]
fn while_the_lock_file_cannot_be_used_nothing_of_the_control_plane_is_in_force() {
    let lab = Lab::new(&[("reconnect-min", "3s")]);
    let given = [("log-level", "warn"), ("reconnect-min", "2s")];
    for wrong in [
        "[settings]\nlog-level = \"loud\"\n",
        "[settings]\ncolour = \"red\"\n",
        "[settings]\nlog-level = 3\n",
    ] {
        lab.lock(wrong);
        assert_eq!(lab.is("log-level", &given), decided("info", Origin::Default, Some("warn")), "{wrong}");
        assert_eq!(lab.is("reconnect-min", &given), decided("3s", Origin::Configuration, Some("2s")));
    }
    lab.lock("");
    assert_eq!(lab.is("log-level", &given), decided("warn", Origin::ControlPlane, None));
}

#[test]
fn the_way_to_the_control_plane_is_not_its_own_to_say() {
    let given = [("proxy.url", "http://evil:1"), ("proxy.bypass", "*")];
    let lab = Lab::new(&[("proxy.bypass", "Artifacts")]);
    assert_eq!(lab.is("proxy.url", &given), decided("", Origin::Default, None));
    assert_eq!(lab.is("proxy.bypass", &given), decided("Artifacts", Origin::Configuration, None));
    lab.lock("[settings]\nproxy.url = \"http://u:hunter2@p:1\"\n");
    assert_eq!(lab.is("proxy.url", &given), decided("http://u:***@p:1", Origin::Lock, None));
    let proxies = lab.host.over(&map(&given)).proxies;
    let way = |service| proxies.route(service, "cp.example:8443").to_string();
    assert_eq!(way(settings::Service::Session), "http://u:***@p:1 (setting, lock file)");
    assert_eq!(way(settings::Service::Artifacts), "none (proxy.bypass has Artifacts)");
}

#[test]
fn each_edit_of_a_file_of_the_host_is_another_version_and_nothing_else_is() {
    let lab = Lab::new(&[]);
    let mut before = lab.host.version();
    let mut is_another = || std::mem::replace(&mut before, lab.host.version()) != lab.host.version();
    assert!(!is_another());
    lab.lock("[settings]\nlog-level = \"debug\"\n");
    assert!(is_another() && !is_another());
    std::fs::write(lab.path.with_file_name("node-agent.toml"), "[settings]\nlog-level = \"warn\"\n").unwrap();
    assert!(is_another() && !is_another());
    lab.lock("[settings]\nlog-level = \"loud\"\n");
    assert!(is_another(), "what cannot be used locks everything");
}

/// What somebody who listens to an option's channel hears, as text.
fn heard(in_force: &InForce, key: &str) -> String {
    let duration = |of: &watch::Sender<Duration>| humantime::format_duration(*of.borrow()).to_string();
    let (min, max) = *in_force.reconnect.borrow();
    match key {
        "artifacts.mirror" => in_force.mirror.borrow().as_ref().map(ToString::to_string).unwrap_or_default(),
        "drift-interval" => duration(&in_force.drift_interval),
        "facts-interval" => duration(&in_force.facts_interval),
        "log-level" => in_force.log_level.borrow().clone(),
        "reconnect-max" => humantime::format_duration(max).to_string(),
        "reconnect-min" => humantime::format_duration(min).to_string(),
        "disk-nearly-full" => in_force.disk_full.borrow().to_string(),
        "proxy.bypass" | "proxy.url" => unreachable!("the control plane has no say in it"),
        _ => panic!("{key} is in the schema, and nobody puts it into force"),
    }
}

/// A value that can be, and is not the default.
fn other(key: &str) -> &'static str {
    match key {
        "artifacts.mirror" => "http://mirror.example:81/muster",
        "disk-nearly-full" => "77",
        "log-level" => "debug",
        "reconnect-min" => "2s",
        _ => "77s",
    }
}

/// Each, from the control plane and from the lock file, in the process that runs.
#[tokio::test(start_paused = true)]
async fn every_option_that_applies_live_is_in_force_at_once() {
    let from_afar = SCHEMA.iter().filter(|setting| !setting.host_only);
    for setting in from_afar.filter(|setting| setting.applies == Applies::Live) {
        let (key, lab) = (setting.key, Lab::new(&[]));
        let given = watch::Sender::new(BTreeMap::new());
        let in_force = InForce::new(lab.host.over(&given.borrow()));
        let until = async |value: &str| {
            let mut all = in_force.all.subscribe();
            let is = |all: &Vec<EffectiveSetting>| text(all, key) == value;
            let told = tokio::time::timeout(LOOK * 2, all.wait_for(is)).await;
            drop(told.unwrap_or_else(|_| panic!("{key} is not {value}")).unwrap());
            let parsed = settings::parse_duration(value).map(|it| humantime::format_duration(it).to_string());
            assert_eq!(heard(&in_force, key), parsed.unwrap_or_else(|| value.to_owned()));
        };
        let changes = async {
            until(setting.default).await;
            given.send_replace(map(&[(key, other(key))]));
            until(other(key)).await;
            lab.lock(&format!("[settings]\n{key} = {:?}\n", setting.default));
            until(setting.default).await;
            std::fs::remove_file(&lab.path).unwrap();
            until(other(key)).await;
        };
        tokio::select! {
            () = follow(&lab.host, given.subscribe(), &in_force) => unreachable!("it has no end"),
            () = changes => {}
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_stays_as_it_was_is_no_news() {
    let lab = Lab::new(&[]);
    let given = watch::Sender::new(map(&[("log-level", "warn")]));
    let in_force = InForce::new(lab.host.over(&given.borrow()));
    let (all, interval) = (in_force.all.subscribe(), in_force.facts_interval.subscribe());
    let change = async {
        tokio::time::sleep(LOOK * 10).await;
        assert!(!all.has_changed().unwrap());
        given.send_replace(map(&[("log-level", "debug")]));
        tokio::time::sleep(LOOK).await;
        assert!(all.has_changed().unwrap() && !interval.has_changed().unwrap());
    };
    tokio::select! {
        () = follow(&lab.host, given.subscribe(), &in_force) => unreachable!("it has no end"),
        () = change => {}
    }
}

#[test]
fn the_longest_wait_is_no_shorter_than_the_first() {
    let all = Lab::new(&[("reconnect-min", "50s"), ("reconnect-max", "1s")]).host.over(&BTreeMap::new());
    let fifty = Duration::from_secs(50);
    assert_eq!(*InForce::new(all).reconnect.borrow(), (fifty, fifty));
}
