//! Extensions from the signed repository to a booted host and away again, by a control plane's
//! word: the examples of this repository, a version that fails, secrets, the host's own will.

use muster_proto::{
    admin::v1::{self as pb, Liveness},
    types::v1::{ErrorReason, FailureCause, ItemOutcome, ItemState},
};
use muster_tests::{
    catalogue::{Catalogue, Package, content, example, pack},
    host::{Base, Host},
    netns::Network,
    plane::{Options, Plane},
    repository::Repository,
    search::{forms, with_text},
};

const RULES: &str = "[extensions]\nallow = [\"muster/*\", \"acme/app\"]\n";
const HOME: &str = "/var/lib/muster/executor/extensions";
/// Tells all that runs.
const PROGRAMS: &str = "cat /proc/[0-9]*/cmdline | tr '\\0' ' '";
const SECRET: &str = "correct horse battery staple 9b1e";
/// Says who it is, and goes on for ever.
const LIVES: &str = "#!/bin/sh\n[ $MUSTER_EXT_VERB != run ] || exec sleep 100000\n";
/// Takes all the memory that it gets.
const GREEDY: &str =
    "#!/bin/sh\n[ $MUSTER_EXT_VERB = run ] || exit 0\nx=aaaaaaaa; while :; do x=$x$x; done\n";

struct Lab {
    host: Host,
    catalogue: Catalogue,
    _plane: Plane,
    _network: Network,
    folder: tempfile::TempDir,
}

/// The manifest of `acme/app`.
fn manifest(version: &str) -> String {
    let verb = |verb: &str| format!("[verbs.{verb}]\nargv = [\"bin/app\"]\n");
    let verbs: String = ["enable", "disable", "update", "uninstall"].into_iter().map(verb).collect();
    format!(
        "publisher = \"acme\"\ntype = \"app\"\nversion = {version:?}\n[limits]\nmemory-bytes = 33554432\n\
         {verbs}[run]\nargv = [\"bin/app\"]\n"
    )
}

impl Lab {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (network, repository) = (Network::create(), Repository::new());
        let options =
            Options { listen: network.gateway().into(), log: "trace".to_owned(), ..Options::default() };
        let mut plane = Plane::init(folder.path(), &options);
        let root = repository.path().join("metadata/1.root.json");
        plane.configure("root", &format!("{root:?}"));
        plane.serve(&[]).await;
        let mut host = Host::boot_on(Base::Extensions, folder.path(), "host", &network).await;
        host.install_agent(RULES);
        host.copy_in(&root, "/etc/muster/root.json", 0o644);
        host.write("/etc/muster/node-agent.toml", "[settings]\nlog-level = \"trace\"\n");
        host.connect(&plane.join(1, &[("role", "web")]).await);
        let operator = plane.operator().await;
        operator.until_liveness(&host.node, Liveness::Online).await;
        Self { host, catalogue: Catalogue { repository, operator }, _plane: plane, _network: network, folder }
    }

    async fn publish(&self) {
        let built = self.folder.path().join("built");
        let example = |kind| example(kind, "1.0.0", &built);
        let app = |version, program| {
            pack(&[("manifest.toml", 0o644, &manifest(version)), ("bin/app", 0o755, program)])
        };
        let package = |publisher, kind, version, bytes| Package { publisher, kind, version, bytes };
        let (exporter, script) = (example("node-exporter"), example("custom-script"));
        let (first, second) = (app("1.0.0", LIVES), app("2.0.0", GREEDY));
        let packages = [
            package("muster", "node-exporter", "1.0.0", &exporter[..]),
            package("muster", "custom-script", "1.0.0", &script),
            package("acme", "app", "1.0.0", &first),
            package("acme", "app", "2.0.0", &second),
        ];
        self.catalogue.publish(&packages).await;
    }

    async fn ended(&self, name: &str, sha256: &[u8]) -> ItemState {
        self.catalogue.ended(&self.host.node, name, sha256).await
    }

    /// Assigns what is newest of it, and it is applied.
    async fn brings(&self, name: &str, sha256: &[u8]) {
        self.catalogue.give(name, "role=web").await;
        let state = self.ended(name, sha256).await;
        assert_eq!(state.outcome(), ItemOutcome::Applied, "{state:?}");
        self.explains(name, "InSync").await;
    }

    async fn explains(&self, name: &str, verdict: &str) -> pb::ExplainItemResponse {
        let request =
            pb::ExplainItemRequest { id: self.host.node.clone(), item: format!("extension/{name}") };
        let told = self.catalogue.operator.nodes.clone().explain_item(request).await.unwrap().into_inner();
        assert_eq!(told.verdict, verdict, "{told:?}");
        told
    }

    /// What has this text in the control plane and on the host, but the two places on the host
    /// that are to have it, and that only their owners read.
    fn reveals(&self, text: &str) -> Vec<String> {
        let host = self.folder.path().join("host/upper");
        let allowed = [
            host.join(HOME.trim_start_matches('/')).join("script/config/protected.json"),
            host.join("var/lib/muster/node-agent/nodes").join(&self.host.node).join("extensions/script.json"),
        ];
        // It may just be writing the second anew.
        let staged = allowed[1].with_extension("json.new");
        let found = with_text(self.folder.path(), text).into_iter().filter(|path| *path != staged);
        let found: Vec<_> = found.collect();
        assert_eq!(found.iter().filter(|path| allowed.contains(path)).count(), 2, "{found:?}");
        let elsewhere = found.into_iter().filter(|path| !allowed.contains(path));
        let in_memory = ["/run", "/tmp"].into_iter().flat_map(|path| with_text(&self.host.path(path), text));
        let said = ["journalctl --no-pager", PROGRAMS].into_iter();
        let said = said.filter(|line| self.host.sh(line).contains(text)).map(str::to_owned);
        elsewhere.chain(in_memory).map(|path| path.display().to_string()).chain(said).collect()
    }

    /// A program with this in its command line runs on the host.
    fn runs(&self, text: &str) -> bool {
        self.host.sh(PROGRAMS).contains(text)
    }
}

#[tokio::test]
async fn extensions_come_are_enabled_updated_returned_from_blocked_and_leave_nothing() {
    let lab = Lab::new().await;
    lab.publish().await;
    let (host, catalogue) = (&lab.host, &lab.catalogue);

    // The one that wraps a package of Debian: it is installed, and answers.
    let settings = content("muster", "node-exporter", "", "{\"port\": 9109}");
    let metrics = catalogue.extension("metrics", settings, "").await;
    lab.brings("metrics", &metrics).await;
    let state = catalogue.until(&host.node, "metrics", |state| state.health.is_some()).await;
    assert!(state.health.as_ref().unwrap().healthy, "{state:?}");
    let ask = "exec 3<>/dev/tcp/127.0.0.1/9109; printf 'GET /metrics HTTP/1.0\\r\\n\\r\\n' >&3; cat <&3";
    let metrics = host.exec(&["bash", "-c", ask]);
    assert!(String::from_utf8_lossy(&metrics.stdout).contains("\nnode_boot_time_seconds "));
    host.run("dpkg -s prometheus-node-exporter && ! systemctl is-active prometheus-node-exporter");

    // The one that runs a script, with a secret that only its program gets.
    let script = "{\"script\": \"printf %s \\\"$KEY\\\" | sha256sum | cut -c 1-64 > /srv/key\"}";
    let protected = format!("{{\"environment\": {{\"KEY\": \"{SECRET}\"}}}}");
    let ran = content("muster", "custom-script", "1.0.0", script);
    let script = catalogue.extension("script", ran, &protected).await;
    lab.brings("script", &script).await;
    let digest = muster_common::digest::Sha256::of(SECRET.as_bytes()).to_string();
    assert_eq!(host.read("/srv/key").as_deref(), Some(format!("{digest}\n").as_str()));
    let [plain, encoded @ ..] = forms(SECRET);
    assert_eq!(lab.reveals(&plain), Vec::<String>::new());
    for form in encoded {
        assert_eq!(with_text(lab.folder.path(), &form), Vec::<std::path::PathBuf>::new());
    }
    let mode = host.sh(&format!("stat -c '%a %U' {HOME}/script/config/protected.json"));
    assert_eq!(mode.trim(), "600 root");

    // A version that wants too much dies alone, is blamed, and the one before goes on.
    let app = |version| content("acme", "app", version, "");
    let first = catalogue.extension("app", app("1.0.0"), "").await;
    lab.brings("app", &first).await;
    let agent = host.agent_pid();
    let second = catalogue.extension("app", app("2.0.0"), "").await;
    catalogue.give("app", "role=web").await;
    let state = lab.ended("app", &second).await;
    let error = state.error.clone().unwrap();
    assert_eq!(state.outcome(), ItemOutcome::RolledBack, "{state:?}");
    assert_eq!((error.reason(), error.cause()), (ErrorReason::ExtensionUnhealthy, FailureCause::Content));
    assert!(error.message.contains("wanted more memory than it may have"), "{}", error.message);
    assert_eq!(state.running.as_ref().map(|it| &it.sha256[..]), Some(&first[..]));
    lab.explains("app", "Refused").await;
    assert_eq!(host.agent_pid(), agent);
    host.run("systemctl is-active muster-executor.socket");
    assert!(lab.runs("sleep 100000 "));

    // What the host's administrator blocks is denied, and comes when it may.
    host.rules("[extensions]\nallow = [\"muster/*\", \"acme/app\"]\nblock = [\"acme/*\"]\n");
    let third = catalogue.extension("app", content("acme", "app", "1.0.0", "{\"a\": 1}"), "").await;
    catalogue.give("app", "role=web").await;
    let state = lab.ended("app", &third).await;
    let error = state.error.clone().unwrap();
    assert_eq!(
        (state.outcome(), error.reason(), error.cause()),
        (ItemOutcome::Rejected, ErrorReason::ExtensionDenied, FailureCause::Host)
    );
    assert!(error.message.contains("denied-by-local-lock: extensions.block"), "{}", error.message);
    assert_eq!(state.running.as_ref().map(|it| &it.sha256[..]), Some(&first[..]), "it goes on");
    lab.explains("app", "RetriedByHost").await;
    host.rules(RULES);
    let applied = |state: &ItemState| state.outcome() == ItemOutcome::Applied;
    catalogue.until(&host.node, "app", applied).await;

    // Its administrator takes one away; each step on the way out says what is left to do.
    let said = host.works("muster-node-agent extension remove script");
    assert!(said.contains("script was removed") && said.contains("extension remove --all"), "{said}");
    assert!(
        said.contains("left on this host: ") && said.contains("metrics") && said.contains("app"),
        "{said}"
    );
    for name in ["metrics", "script", "app"] {
        catalogue.take_away(name).await;
    }
    for name in ["metrics", "app"] {
        catalogue.until_gone(&host.node, name).await;
    }
    let records = format!("/var/lib/muster/node-agent/nodes/{}/extensions", host.node);
    // That note keeps the version away that was not wanted here.
    assert_eq!(host.sh(&format!("ls -A {HOME} {records} | grep -v : | xargs")).trim(), "script.json");
    assert!(!host.sh(&format!("cat {records}/script.json")).contains(SECRET));
    let units = host.sh("systemctl list-units --all --plain --no-legend 'muster-command-*'");
    assert_eq!(units.trim(), "");
    assert!(!lab.runs("sleep 100000 ") && !lab.runs("prometheus-node-exporter "));
    host.run("! dpkg -s prometheus-node-exporter && test ! -e /etc/systemd/system/prometheus-node-exporter.service");
}
