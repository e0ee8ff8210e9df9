//! Attacks on the root half of an agent by whoever has taken over the other half: a user
//! who may speak to it and says what the daemon never would.

use muster_common::{digest::Sha256, ids::CommandId};
use muster_node_agent::verbs::{
    frame,
    messages::{
        Act, Answer, AskOf, FileVerb, Id, Journal, LookAt, Nothing, Reboot, Request, Rights, Run, Said,
        Service, Verb,
    },
};
use muster_tests::{binaries, host::Host, netns::Network};
use prost::Message as _;

const SOCKET: &str = "/run/muster/executor.sock";
const RULES: &str =
    "[paths]\nallow = [\"/srv/app\", \"/srv/mine\"]\n[commands]\nservices = [\"app.service\"]\n";

/// What the host is like, where nothing may change.
const LOOK: &str = "cat /etc/passwd /etc/shadow /etc/muster/locks.toml | sha256sum; \
                    find /etc /srv /root -printf '%p %u %g %m %l\\n' | sort";

/// A host with an agent that is in no fleet: its executor listens all the same.
struct Lab {
    host: Host,
    _network: Network,
    _folder: tempfile::TempDir,
}

impl Lab {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let network = Network::create();
        let host = Host::boot(folder.path(), "host", &network).await;
        host.install_agent(RULES);
        host.copy_in(&binaries::path("muster-say"), "/usr/bin/muster-say", 0o755);
        host.run("mkdir -p /srv/app /srv/mine && chown muster:muster /srv/mine && echo theirs > /srv/secret");
        Self { host, _network: network, _folder: folder }
    }

    /// Says bytes as a user; what comes back.
    fn say_as(&self, user: &str, bytes: &[u8], times: u32) -> Vec<Vec<u8>> {
        let (hex, times) = (hex::encode(bytes), times.to_string());
        let done = self.host.exec(&[
            "setpriv",
            &format!("--reuid={user}"),
            &format!("--regid={user}"),
            "--init-groups",
            "/usr/bin/muster-say",
            SOCKET,
            &hex,
            &times,
        ]);
        let heard = String::from_utf8_lossy(&done.stdout).into_owned();
        heard.lines().map(|line| hex::decode(line).unwrap_or_else(|_| line.as_bytes().to_vec())).collect()
    }

    /// Says a verb and the bytes after it as the daemon.
    fn say(&self, verb: Verb, content: &[u8]) -> Option<Said> {
        let bytes = [frame::encode(&Request { verb: Some(verb) }).unwrap(), content.to_vec()].concat();
        let heard = self.say_as("muster", &bytes, 1);
        frame::read::<Answer>(heard.first()?.as_slice()).ok()?.said
    }

    fn file(&self, path: &str, act: Act, content: &[u8]) -> Option<Said> {
        self.say(Verb::File(whole(path, act, content)), content)
    }

    fn is_refused(&self, verb: Verb) -> bool {
        matches!(self.say(verb, b""), Some(Said::Locked(_) | Said::Failed(_) | Said::None(_)))
    }
}

fn whole(path: &str, act: Act, content: &[u8]) -> FileVerb {
    FileVerb {
        rights: Some(Rights { mode: 0o644, user: 0, group: 0 }),
        sha256: Sha256::of(content).as_bytes().to_vec(),
        size: content.len() as u64,
        ..FileVerb::of(path.as_ref(), act)
    }
}

fn run(text: Option<&str>, program: &[&str]) -> Run {
    Run {
        id: CommandId::generate().to_string(),
        text: text.map(str::to_owned),
        program: program.iter().map(|word| (*word).to_owned()).collect(),
        folder: "/".to_owned(),
        time_ms: Some(10_000),
        output: 1000,
        ..Run::default()
    }
}

fn id(text: &str) -> Id {
    Id { id: text.to_owned() }
}

#[tokio::test]
async fn nothing_gets_through_that_the_lock_file_does_not_allow() {
    let lab = Lab::new().await;
    // What may be, so that what follows says something.
    assert_eq!(lab.file("/srv/app/a", Act::Stage, b"mine"), Some(frame::DONE));
    assert_eq!(lab.file("/srv/app/a", Act::SwapIn, b""), Some(frame::DONE));
    assert_eq!(lab.host.read("/srv/app/a").as_deref(), Some("mine"));

    let before = lab.host.sh(LOOK);
    lab.host.run("ln -s /etc /srv/app/etc; ln /srv/secret /srv/app/name; setpriv --reuid=muster --clear-groups ln -s /etc /srv/mine/etc");
    for path in [
        "/etc/passwd",
        "/srv/app/../../etc/passwd",
        "/srv/app/./../secret",
        "srv/app/x",
        "",
        "/",
        "/srv/app",
        "/srv/application/x",
        "/srv/app//x",
        "/srv/app/etc/passwd",
        "/srv/mine/etc/passwd",
        "/etc/muster/locks.toml",
        "/var/lib/muster/executor/x",
        "/run/muster/x",
        "/srv/app/x\0y",
    ] {
        for act in [
            Act::Look,
            Act::KeepOriginal,
            Act::Stage,
            Act::SwapIn,
            Act::SwapBack,
            Act::Remove,
            Act::MakeFolder,
            Act::SetRights,
            Act::RemoveFolder,
            Act::Text,
        ] {
            let said = lab.file(path, act, if act == Act::Stage { b"mine" } else { b"" });
            assert!(matches!(said, Some(Said::Locked(_) | Said::Failed(_))), "{path:?} {act:?}: {said:?}");
        }
    }
    for mode in [0o4755, 0o2755, 0o6777] {
        let verb = FileVerb {
            rights: Some(Rights { mode, user: 0, group: 0 }),
            ..whole("/srv/app/tool", Act::Stage, b"x")
        };
        assert!(matches!(lab.say(Verb::File(verb), b"x"), Some(Said::Failed(_))));
    }
    let huge = FileVerb { size: u64::MAX, ..whole("/srv/app/huge", Act::Stage, b"x") };
    assert!(matches!(lab.say(Verb::File(huge), b"x"), Some(Said::Failed(_))));
    let other = FileVerb { sha256: vec![7; 32], ..whole("/srv/app/other", Act::Stage, b"x") };
    assert!(matches!(lab.say(Verb::File(other), b"x"), Some(Said::Failed(_))));

    for verb in [
        Verb::Start(run(Some("touch /srv/ran"), &["/bin/sh"])),
        Verb::Start(run(None, &["/bin/touch", "/srv/ran"])),
        Verb::Start(Run {
            environment: [("LD_PRELOAD".to_owned(), "/srv/mine/x.so".to_owned())].into(),
            ..run(None, &["/bin/true"])
        }),
        Verb::Start(Run { id: "../../../etc/x".to_owned(), ..run(None, &["/bin/true"]) }),
        Verb::Start(Run { id: "app.service".to_owned(), ..run(None, &["/bin/true"]) }),
        Verb::Start(Run { user: "root".to_owned(), ..run(None, &["/bin/true"]) }),
        Verb::Kill(id("app.service")),
        Verb::Kill(id("x --property=ExecStart=/bin/true")),
        Verb::Clear(id("..")),
        Verb::CallOff(id("/etc")),
        Verb::Look(LookAt { id: "../..".to_owned(), ..LookAt::default() }),
        Verb::Ask(AskOf { id: CommandId::generate().to_string(), why: 1 }),
        Verb::Ask(AskOf { id: CommandId::generate().to_string(), why: 99 }),
        Verb::Service(Service { unit: "sshd.service".to_owned(), act: 2 }),
        Verb::Service(Service { unit: "--root=/srv/mine".to_owned(), act: 1 }),
        Verb::Service(Service { unit: "app.service\nmuster-node-agent.service".to_owned(), act: 2 }),
        Verb::Service(Service { unit: "app.service".to_owned(), act: 9 }),
        Verb::Journal(Journal { unit: "dbus.service".to_owned(), since_ms: 0 }),
        Verb::Journal(Journal { unit: "--file=/etc/shadow".to_owned(), since_ms: 0 }),
        Verb::Reboot(Reboot { tell: None }),
        Verb::Reboot(Reboot { tell: Some("boo".to_owned()) }),
    ] {
        assert!(lab.is_refused(verb.clone()), "{verb:?}");
    }
    assert_eq!(lab.host.read("/srv/ran"), None);
    lab.host.run("rm /srv/app/etc /srv/app/name /srv/mine/etc");
    let after = lab.host.sh(LOOK);
    assert_eq!(after, before);

    // A folder of its own, where it can put links faster than anybody looks.
    let race = "setpriv --reuid=muster --regid=muster --clear-groups sh -c 'cd /srv/mine; while [ ! -e stop ]; do rm -rf d; ln -s /etc d; rm d; mkdir d; done'";
    lab.host.run(&format!("systemd-run --quiet --unit=race {race}"));
    for act in [Act::Stage, Act::SwapIn, Act::Remove, Act::KeepOriginal] {
        let content: &[u8] = if act == Act::Stage { b"mine" } else { b"" };
        let verb = Verb::File(whole("/srv/mine/d/passwd", act, content));
        let bytes = [frame::encode(&Request { verb: Some(verb) }).unwrap(), content.to_vec()].concat();
        assert_eq!(lab.say_as("muster", &bytes, 100).len(), 100);
    }
    lab.host.run("touch /srv/mine/stop");
    let raced = lab.host.sh("cat /etc/passwd /etc/shadow /etc/muster/locks.toml | sha256sum; ls -A /etc");
    assert_eq!(raced.lines().next(), after.lines().next());
    assert!(!raced.contains(".muster-"), "{raced}");
}

#[tokio::test]
async fn bytes_that_are_no_verb_other_users_and_crowds_are_turned_away_and_the_executor_goes_on() {
    let lab = Lab::new().await;
    let good = frame::encode(&Request { verb: Some(Verb::List(Nothing {})) }).unwrap();
    let alive = || matches!(lab.say(Verb::List(Nothing {}), b""), Some(Said::Names(_)));
    assert!(alive());
    let unknown = [0, 0, 0, 3, 0xa2, 0x06, 0x00];
    let long = [u32::MAX.to_be_bytes().to_vec(), vec![0x41; 4096]].concat();
    let just = [600_000_u32.to_be_bytes().to_vec(), vec![0; 4096]].concat();
    let twice = [good.clone(), good.clone()].concat();
    for bytes in [
        &b""[..],
        &good[..2],
        &good[..good.len() - 1],
        &unknown,
        &long,
        &just,
        &[0, 0, 0, 0],
        &[0xff; 64],
        b"GET / HTTP/1.1\r\n\r\n",
    ] {
        let heard = lab.say_as("muster", bytes, 1).concat();
        let said = frame::read::<Answer>(heard.as_slice()).ok().and_then(|answer| answer.said);
        assert!(matches!(said, None | Some(Said::Failed(_))), "{said:?}");
    }
    let heard = lab.say_as("muster", &twice, 1).concat();
    assert_eq!(heard, lab.say_as("muster", &good, 1).concat(), "what comes after a verb is not heard");
    assert!(alive());

    // Nobody else: not by the rights of the socket, and not by the executor's own look.
    for user in ["nobody", "root"] {
        let group = if user == "nobody" { "nogroup" } else { user };
        let done = lab.host.exec(&[
            "setpriv",
            &format!("--reuid={user}"),
            &format!("--regid={group}"),
            "--clear-groups",
            "/usr/bin/muster-say",
            SOCKET,
            &hex::encode(&good),
        ]);
        let heard = String::from_utf8_lossy(&done.stdout).into_owned();
        assert!(matches!(heard.trim(), "" | "error PermissionDenied"), "{user}: {heard}");
    }
    lab.host.run("useradd --no-create-home --groups muster other");
    assert_eq!(lab.say_as("other", &good, 1).concat(), b"", "of the group, and not the daemon");

    // More at once than it does; it lets go of who says nothing.
    let crowd = "sleep 60 | setpriv --reuid=muster --regid=muster --init-groups /usr/bin/muster-say /run/muster/executor.sock hold 200 > /srv/crowd";
    lab.host.write("/srv/crowd.sh", crowd);
    lab.host.run("systemd-run --quiet --unit=crowd sh /srv/crowd.sh");
    muster_tests::eventually::eventually("there is room again", muster_tests::eventually::LONG, || {
        std::future::ready(
            (lab.host.read("/srv/crowd").is_some_and(|held| !held.is_empty()) && alive()).then_some(()),
        )
    })
    .await;
    lab.host.run("systemctl stop crowd");

    // A lock file that is not root's locks everything.
    lab.host.run("chown muster /etc/muster/locks.toml");
    assert!(matches!(lab.file("/srv/app/b", Act::Stage, b"x"), Some(Said::Locked(_))));
    lab.host.run("chown root /etc/muster/locks.toml && chmod 666 /etc/muster/locks.toml");
    assert!(matches!(lab.file("/srv/app/b", Act::Stage, b"x"), Some(Said::Locked(_))));
    lab.host.run("chmod 644 /etc/muster/locks.toml");
    assert_eq!(lab.file("/srv/app/b", Act::Stage, b"x"), Some(frame::DONE));
    assert_eq!(lab.file("/srv/app/b", Act::ClearStaged, b""), Some(frame::DONE));
}

#[tokio::test]
async fn a_run_is_started_once_as_it_is_allowed_and_with_nothing_of_who_ordered_it() {
    let lab = Lab::new().await;
    let listed = "echo x >> /srv/ran; env | cut -d= -f1 | sort | tr '\\n' ' '";
    let hash = Sha256::of(listed.as_bytes());
    lab.host.rules(&format!("[commands.run-script]\nallow = true\nsha256 = [\"{hash}\"]\n"));
    for other in [
        run(Some("id"), &["/bin/sh"]),
        run(Some(listed), &["/bin/sh", "-x"]),
        run(Some(listed), &["/bin/bash"]),
        run(None, &["/bin/sh", "-c", listed]),
        Run {
            environment: [("ENV".to_owned(), "/srv/mine/x".to_owned())].into(),
            ..run(Some(listed), &["/bin/sh"])
        },
        Run { user: "nobody".to_owned(), ..run(Some(listed), &["/bin/sh"]) },
    ] {
        assert!(matches!(lab.say(Verb::Judge(other.clone()), b""), Some(Said::Locked(_))), "{other:?}");
        assert!(matches!(lab.say(Verb::Start(other.clone()), b""), Some(Said::Locked(_))), "{other:?}");
    }
    let order = run(Some(listed), &["/bin/sh"]);
    assert_eq!(lab.say(Verb::Start(order.clone()), b""), Some(frame::DONE));
    let look = LookAt { id: order.id.clone(), unit: true, ..LookAt::default() };
    let ended = muster_tests::eventually::eventually("it has ended", muster_tests::eventually::LONG, || {
        let said = lab.say(Verb::Look(look.clone()), b"");
        std::future::ready(match said {
            Some(Said::Run(state)) if state.ended.is_some() && state.gone => Some(state),
            _ => None,
        })
    })
    .await;
    assert_eq!(String::from_utf8_lossy(&ended.stdout), "MUSTER_COMMAND_ID PATH PWD ");
    // The same again, while it is known and by many at once.
    let again = frame::encode(&Request { verb: Some(Verb::Start(order.clone())) }).unwrap();
    for heard in lab.say_as("muster", &again, 20) {
        assert!(matches!(frame::read::<Answer>(heard.as_slice()).unwrap().said, Some(Said::Failed(_))));
    }
    assert_eq!(lab.host.read("/srv/ran").as_deref(), Some("x\n"));
    assert_eq!(lab.say(Verb::CallOff(id(&order.id)), b""), Some(Said::Is(false)));
    assert_eq!(lab.say(Verb::Clear(id(&order.id)), b""), Some(frame::DONE));
    assert!(Request { verb: None }.encode_to_vec().is_empty());
}
