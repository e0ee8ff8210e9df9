//! What is deployed: configurations are taken by the control plane, and the scripts of the
//! container bring a replica up.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use muster_tests::{
    binaries::{self, repository},
    eventually::{LONG, eventually},
    plane::http_get,
    process::Process,
};

fn config_check(folder: &Path, text: &str) -> Output {
    let path = folder.join("control-plane.toml");
    // What is mounted there on a cluster.
    let password = folder.join("password");
    fs::write(&password, "secret\n").unwrap();
    let line = |line: &str| match line.split_once(" = ") {
        Some(("password-file", _)) => format!("password-file = {password:?}"),
        _ => line.replace("@replica@", "muster-0"),
    };
    fs::write(&path, text.lines().map(line).collect::<Vec<_>>().join("\n")).unwrap();
    let program = binaries::path("muster-control-plane");
    Command::new(program).args(["config", "check", "--config"]).arg(path).output().unwrap()
}

fn assert_taken(checked: &Output) {
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
}

/// What the chart renders from one of its templates with these arguments.
fn template(name: &str, args: &[&str]) -> String {
    let helm = repository().join(".tools/charts/bin/helm");
    assert!(helm.exists(), "{} is missing: run make tools", helm.display());
    let mut template = Command::new(helm);
    template.args(["template", "muster"]).arg(repository().join("deploy/helm/muster"));
    let done = template.args(["--show-only", &format!("templates/{name}.yaml")]).args(args).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap()
}

/// The configuration that it renders.
fn rendered(args: &[&str]) -> String {
    let text = template("configuration", args);
    let (_, config) = text.split_once("control-plane.toml: |\n").expect("the map has it");
    config.lines().map(|line| line.strip_prefix("    ").unwrap_or(line)).collect::<Vec<_>>().join("\n")
}

#[test]
fn what_the_chart_and_the_compose_file_configure_is_taken_by_the_control_plane() {
    let folder = tempfile::tempdir().unwrap();
    assert_taken(&config_check(folder.path(), &rendered(&[])));
    assert_room_for_uploads(folder.path());
    let all = repository().join("deploy/helm/all-values.yaml");
    let text = rendered(&["--values", all.to_str().unwrap()]);
    assert!(text.contains("heartbeat-interval = \"30s\""), "{text}");
    assert!(text.contains("[fleet-console]\nlisten = \"0.0.0.0:8446\"\nsession-ttl = \"30m\""), "{text}");
    assert!(text.contains("\"muster-fleet-console.default.svc\""), "{text}");
    assert!(!rendered(&[]).contains("fleet-console"), "it is off unless it is asked for");
    // This authority is mounted on a cluster only.
    let text = text.replace("?sslrootcert=/etc/muster/store-ca/ca.crt", "");
    assert_taken(&config_check(folder.path(), &text));
    let compose = fs::read_to_string(repository().join("deploy/compose/control-plane.toml")).unwrap();
    assert_taken(&config_check(folder.path(), &compose));

    assert_whole_for_one_address(folder.path());

    let wrong = config_check(folder.path(), &compose.replace("[store]", "[storage]"));
    assert!(!wrong.status.success(), "a key that nobody knows is no configuration");
}

/// What was checked last, with all defaults.
fn printed(checked: &Path) -> toml::Table {
    let mut print = Command::new(binaries::path("muster-control-plane"));
    print.args(["config", "print", "--config"]).arg(checked.join("control-plane.toml"));
    let printed = String::from_utf8(print.output().unwrap().stdout).unwrap();
    printed.parse().unwrap()
}

/// A pod whose volume is fuller than its limit is evicted: all uploads that may wait have room in it, and a
/// quarter of that is for the rest.
fn assert_room_for_uploads(checked: &Path) {
    let config = printed(checked);
    let of = |key: &str| config["blobs"][key].as_integer().unwrap();
    let replicas = template("replicas", &[]);
    let limit = replicas.lines().find_map(|line| line.trim().strip_prefix("sizeLimit: ")).unwrap();
    let limit: i64 = limit.trim_end_matches("Gi").parse().expect("it is told in Gi");
    let uploads = of("max-uploads") * of("max-blob-bytes");
    assert!(limit << 30 >= uploads + uploads / 4, "{limit}Gi are too few for uploads of {uploads} bytes");
}

/// Behind a balancer all hosts have one address: no bound of one may be less than that of all.
fn assert_whole_for_one_address(checked: &Path) {
    let config = printed(checked);
    for door in ["agents", "enrollment", "operators"] {
        let of = |key: &str| config["doors"][door][key].as_integer().unwrap();
        for (one, all) in [
            ("per-address", "connections"),
            ("silent-per-address", "silent"),
            ("half-open-per-address", "half-open"),
            ("handshakes-per-address", "handshakes"),
            ("waiting-per-address", "waiting"),
        ] {
            assert!(of(one) >= of(all), "{door}: {one} is {}, {all} {}", of(one), of(all));
        }
    }
}

fn script(name: &str) -> Command {
    let mut command = Command::new("sh");
    command.arg(repository().join("deploy/container").join(name));
    let binaries = binaries::path("muster-control-plane");
    let path = format!("{}:{}", binaries.parent().unwrap().display(), std::env::var("PATH").unwrap());
    command.env("PATH", path);
    command
}

/// Starts a replica by the container's script; answers where its state is, too.
async fn replica(folder: &Path, config: &Path, name: &str, fleet_console: &str) -> (Process, PathBuf) {
    let state = folder.join(name);
    fs::create_dir_all(&state).unwrap();
    let mut command = script("replica.sh");
    command.env("REPLICA", name).env("STATE_DIR", &state).env("CONFIG", config);
    command.env("FLEET_CONSOLE", fleet_console);
    command.env("INSTALLATION", folder.join("installation/installation.tar"));
    let told = state.join("addresses.json");
    let _ = fs::remove_file(&told); // of a start before this one
    let mut process = Process::start(command, &folder.join(format!("{name}.log")));
    let console = eventually("the replica says where it listens", LONG, || {
        assert!(process.is_running(), "the replica ended: {}", process.log());
        let json: Option<serde_json::Value> =
            fs::read(&told).ok().and_then(|text| serde_json::from_slice(&text).ok());
        std::future::ready(json.and_then(|json| json["console"].as_str()?.parse().ok()))
    })
    .await;
    eventually("the replica is ready", LONG, || async move {
        http_get(console, "/readyz").await.filter(|answer| answer.starts_with("HTTP/1.1 200"))
    })
    .await;
    (process, state)
}

fn has_fleet_console(state: &Path) -> bool {
    let told: serde_json::Value =
        serde_json::from_slice(&fs::read(state.join("addresses.json")).unwrap()).unwrap();
    told["fleet_console"].is_string()
}

#[tokio::test]
async fn the_scripts_of_the_container_make_an_installation_once_and_serve_it() {
    let folder = tempfile::tempdir().unwrap();
    let installation = folder.path().join("installation");
    fs::create_dir(&installation).unwrap();
    let database = muster_cluster::Cluster::shared().database();
    let make = || {
        let mut command = script("installation.sh");
        let args = ["--trust-domain", "fleet.test", "--store-url", &database];
        command.arg(&installation).args(args).output().unwrap()
    };
    let done = make();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let first = fs::read(installation.join("installation.tar")).unwrap();
    assert!(make().status.success(), "it may be run again");
    assert_eq!(fs::read(installation.join("installation.tar")).unwrap(), first, "and changes nothing then");

    let config = folder.path().join("template.toml");
    let state = folder.path().join("@replica@");
    let ports =
        ["agents", "enrollment", "operators", "console"].map(|it| format!("{it} = \"127.0.0.1:0\"\n"));
    let text = format!(
        "trust-domain = \"fleet.test\"\nstate-dir = {state:?}\nreplica = \"@replica@\"\n[store]\nurl = \
         {database:?}\n[listen]\n{}",
        ports.concat()
    );
    fs::write(&config, text).unwrap();
    let (mut serving, state) = replica(folder.path(), &config, "muster-0", "").await;
    // The keys are those of the installation, which are the same for all.
    let keys = |state: &Path| fs::read(state.join("secrets.key")).unwrap();
    let before = keys(&state);
    assert!(!has_fleet_console(&state), "nobody asked for it");
    serving.stop().await;

    // A folder that is still there keeps what it has; one that is new has the same keys.
    let (mut again, state) = replica(folder.path(), &config, "muster-0", "127.0.0.1:0").await;
    assert_eq!(keys(&state), before);
    assert!(has_fleet_console(&state), "it was asked for");
    again.stop().await;
    let (mut other, state) = replica(folder.path(), &config, "muster-1", "").await;
    assert_eq!(keys(&state), before);
    other.stop().await;

    let unnamed = script("replica.sh").env("REPLICA", "a b").output().unwrap();
    assert!(!unnamed.status.success(), "a name that cannot be one is refused");
}
