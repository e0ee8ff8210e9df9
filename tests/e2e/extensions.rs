//! Extensions by the root half of an agent, on a booted host: what the lock file and the
//! package say holds, whoever asks; limits limit; nothing is left.

use std::time::Duration;

use muster_common::{digest::Sha256, ids::CommandId};
use muster_node_agent::verbs::{
    frame,
    messages::{Extension, ExtensionAct, ExtensionPackage, RunState, Said, Verb},
};
use muster_tests::{catalogue::pack, host::Host, netns::Network};

const ADMITTED: &str = "/var/lib/muster/executor/artifacts/files";
const SIGNED: &str = "/var/lib/muster/executor/artifacts/signed";
const HOME: &str = "/var/lib/muster/executor/extensions";
const OPEN: &str = "[extensions]\nallow = [\"acme/*\"]\nblock = [\"acme/bad\"]\n[limits]\ntasks = 40\n";
const BLOCKED: &str = "[extensions]\nallow = [\"acme/*\"]\nblock = [\"acme/*\"]\n";

/// `health` lives on beside `run`, which takes all the memory that it gets.
const MANIFEST: &str = "publisher = \"acme\"\ntype = \"TYPE\"\nversion = \"1.0\"\n\
    [limits]\nmemory-bytes = 33554432\n\
    [verbs.enable]\nargv = [\"bin/enable\"]\n[verbs.disable]\nargv = [\"bin/enable\"]\n\
    [verbs.health]\nargv = [\"/bin/sleep\", \"600\"]\ntimeout-s = 3600\n\
    [run]\nargv = [\"/bin/sh\", \"-c\", \"x=aaaaaaaa; while :; do x=$x$x; done\"]\n";
const ENABLE: &str = "#!/bin/sh\nset -e\nid -u > $MUSTER_EXT_STATE/who\ncat $MUSTER_EXT_CONFIG/settings.json\n\
    stat -c '%a %U' $MUSTER_EXT_CONFIG/protected.json\n\
    v1=$(sed -n 's/^[0-9]*:pids://p' /proc/self/cgroup)\nv2=$(sed -n 's/^0:://p' /proc/self/cgroup)\n\
    cat /sys/fs/cgroup${v1:+/pids}${v1:-$v2}/pids.max\n";

struct Lab {
    host: Host,
    _network: Network,
    folder: tempfile::TempDir,
}

impl Lab {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let network = Network::create();
        let host = Host::boot(folder.path(), "host", &network).await;
        host.install_agent(OPEN);
        host.install_say();
        host.run(&format!("mkdir -p {ADMITTED} {SIGNED}"));
        Self { host, _network: network, folder }
    }

    /// A package that the signed repository has brought.
    fn admit(&self, kind: &str) -> ExtensionPackage {
        let manifest = MANIFEST.replace("TYPE", kind);
        let files = [("manifest.toml", 0o644, manifest.as_str()), ("bin/enable", 0o755, ENABLE)];
        let bytes = pack(&files);
        let sha256 = Sha256::of(&bytes);
        let file = self.folder.path().join(sha256.to_string());
        std::fs::write(&file, &bytes).unwrap();
        self.host.copy_in(&file, &format!("{ADMITTED}/{sha256}"), 0o600);
        let signed = format!(
            r#"[{{"name":"extension/acme/{kind}/1.0/linux-any.tar.zst","about":{{"kind":"extension",
            "publisher":"acme","type":"{kind}","version":"1.0","os":"linux","arch":"any"}}}}]"#
        );
        self.host.write(&format!("{SIGNED}/{sha256}"), &signed);
        ExtensionPackage {
            name: kind.to_owned(),
            publisher: "acme".to_owned(),
            kind: kind.to_owned(),
            version: "1.0".to_owned(),
            sha256: sha256.as_bytes().to_vec(),
        }
    }

    fn say(&self, word: Extension) -> Said {
        self.host.say(Verb::Extension(word))
    }

    fn act(&self, act: ExtensionAct, package: &ExtensionPackage) -> Said {
        self.say(Extension { act: act.into(), packages: vec![package.clone()], ..Extension::default() })
    }

    fn launch(&self, package: &ExtensionPackage, verb: &str) -> Result<String, Box<Said>> {
        let id = CommandId::generate().to_string();
        match self.say(launch(package, verb, &id)) {
            Said::Done(_) => Ok(id),
            other => Err(Box::new(other)),
        }
    }

    fn look(&self, id: &str) -> RunState {
        match self.say(Extension {
            act: ExtensionAct::Look.into(),
            id: id.to_owned(),
            ..Extension::default()
        }) {
            Said::Run(state) => state,
            other => panic!("{other:?}"),
        }
    }

    async fn ended(&self, id: &str) -> RunState {
        for _ in 0..300 {
            let state = self.look(id);
            if state.ended.is_some() {
                return state;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("{id} does not end: {:?}", self.look(id));
    }

    fn is_there(&self, path: &str) -> bool {
        self.host.sh(&format!("test -e {path} && echo yes || true")).contains("yes")
    }
}

fn launch(package: &ExtensionPackage, verb: &str, id: &str) -> Extension {
    Extension {
        act: ExtensionAct::Launch.into(),
        packages: vec![package.clone()],
        id: id.to_owned(),
        verb: verb.to_owned(),
        ..Extension::default()
    }
}

#[tokio::test]
async fn an_extension_has_what_its_package_and_the_lock_file_say_and_leaves_nothing() {
    let lab = Lab::new().await;
    let (log, bad) = (lab.admit("log"), lab.admit("bad"));
    let blocked = |said: &Said| matches!(said, Said::Locked(why) if why.contains("denied-by-local-lock"));
    assert!(blocked(&lab.act(ExtensionAct::Unpack, &bad)) && !lab.is_there(&format!("{HOME}/bad")));
    // It may not call itself what is allowed, either.
    let disguised = ExtensionPackage { kind: "log".to_owned(), ..bad };
    assert!(matches!(lab.act(ExtensionAct::Unpack, &disguised), Said::Failed(_)));
    assert!(matches!(lab.act(ExtensionAct::Unpack, &log), Said::Bytes(_)));
    let settings = Extension {
        settings: b"{\"a\":1}".to_vec(),
        protected: b"{\"key\":\"s3cret\"}".to_vec(),
        act: ExtensionAct::Configure.into(),
        packages: vec![log.clone()],
        ..Extension::default()
    };
    assert_eq!(lab.say(settings), frame::DONE);

    let id = lab.launch(&log, "enable").unwrap();
    let state = lab.ended(&id).await;
    let output = String::from_utf8_lossy(&state.stdout).into_owned();
    assert_eq!(state.ended.as_ref().unwrap().exit_code, Some(0), "{state:?}");
    // The package says nothing of tasks: the lock file does. One is what watches over it.
    assert_eq!(output, "{\"a\":1}600 root\n41\n");
    assert_eq!(lab.host.read(&format!("{HOME}/log/state/who")).as_deref(), Some("0\n"));
    assert!(matches!(lab.say(launch(&log, "enable", &id)), Said::Failed(_)), "an id is for one run");

    // What it wants too much of it does not get, and nobody else dies of it.
    let (neighbour, hog) = (lab.launch(&log, "health").unwrap(), lab.launch(&log, "run").unwrap());
    let state = lab.ended(&hog).await;
    assert!(state.ended.as_ref().unwrap().out_of_memory, "{state:?}");
    assert_eq!(lab.look(&neighbour).ended, None);
    lab.host.run("systemctl is-active muster-executor.socket");

    let other = Extension {
        proxy: [("LD_PRELOAD".to_owned(), "/tmp/x.so".to_owned())].into(),
        ..launch(&log, "enable", &CommandId::generate().to_string())
    };
    assert!(matches!(lab.say(other), Said::Failed(_)));
    for package in [
        ExtensionPackage { name: "../log".to_owned(), ..log.clone() },
        ExtensionPackage { version: "../1.0".to_owned(), ..log.clone() },
    ] {
        assert!(matches!(lab.act(ExtensionAct::Status, &package), Said::Failed(_)), "{package:?}");
    }

    // From now on it is blocked: what leads out is allowed all the same.
    lab.host.write("/etc/muster/locks.toml", BLOCKED);
    assert!(blocked(&lab.launch(&log, "enable").unwrap_err()));
    let id = lab.launch(&log, "disable").unwrap();
    lab.ended(&id).await;
    for run in [&id, &neighbour, &hog] {
        let word = Extension { act: ExtensionAct::End.into(), id: run.clone(), ..Extension::default() };
        assert_eq!(lab.say(word), frame::DONE);
    }
    assert_eq!(lab.act(ExtensionAct::Clear, &log), frame::DONE);
    assert!(!lab.is_there(&format!("{HOME}/log")) && lab.is_there(HOME));
    let units = lab.host.sh("systemctl list-units --all --plain --no-legend 'muster-command-*'");
    assert_eq!(units.trim(), "");
}
