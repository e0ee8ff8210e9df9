//! T-F6: configuration files of both programs, and the lock file. The first byte
//! says which.
#![no_main]

use std::{cell::OnceCell, path::Path};

use libfuzzer_sys::fuzz_target;
use muster_common::settings::{SCHEMA, check};
use muster_control_plane::config::{Config as Plane, render};
use muster_fuzz::Scratch;
use muster_node_agent::{config::Config as Agent, locks::Locks};

thread_local!(static SCRATCH: OnceCell<Scratch> = const { OnceCell::new() });

fuzz_target!(init: muster_fuzz::seeds("configuration", seeds), |input: &[u8]| {
    let Some((which, bytes)) = input.split_first() else { return };
    SCRATCH.with(|scratch| {
        let scratch = scratch.get_or_init(|| {
            let scratch = Scratch::default();
            scratch.empty();
            scratch
        });
        let path = scratch.file("file.toml", bytes);
        match which % 3 {
            0 => plane(&path),
            1 => drop(Agent::load(Some(&path)).map_err(|error| chain(&error))),
            _ => locks(&path),
        }
    });
});

fn plane(path: &Path) {
    match Plane::load(path) {
        Ok(config) => {
            assert!(config.session.heartbeat_jitter <= config.session.heartbeat_interval / 2);
            assert!(!config.told(&[], ([0, 0, 0, 0], 8443).into()).is_empty());
        }
        Err(error) => drop(chain(&error)),
    }
}

fn locks(path: &Path) {
    match Locks::load(path) {
        Ok(locks) => {
            assert!(locks.root_of(Path::new("etc/x")).is_none());
            assert!(locks.root_of(Path::new("/etc/../x")).is_none());
            // Only where nothing at all is allowed.
            assert!(locks.allows_settings() || !locks.allows_command("refresh-facts"));
            assert!(locks.allows_settings() || locks.root_of(Path::new("/etc/app/x")).is_none());
            for setting in SCHEMA {
                let locked = locks.setting(setting.key);
                assert!(locked.is_none_or(|value| check(setting.key, value).is_ok()));
            }
            if let Some(root) = locks.root_of(Path::new("/etc/app/x")) {
                assert!(Path::new("/etc/app/x").starts_with(root));
            }
        }
        Err(error) => drop(chain(&error)),
    }
}

/// What people would read.
fn chain(error: &dyn std::error::Error) -> String {
    muster_common::error_chain::Chain(error).to_string()
}

fn seeds() -> [Vec<u8>; 4] {
    let seed = |which: u8, bytes: &[u8]| [&[which], bytes].concat();
    let domain = "fleet.example".parse().expect("a trust domain");
    let plane = render(&Plane::new(domain, "/var/lib/muster".into()));
    [
        seed(0, plane.as_bytes()),
        seed(
            0,
            b"trust-domain = \"fleet.example\"\nstate-dir = \"/x\"\n[public]\nserver-names = [\"a\"]\n\
              [session]\nheartbeat-interval = \"15s\"\n",
        ),
        seed(1, b"state-dir = \"/x\"\nlog-format = \"json\"\n[settings]\nlog-level = \"debug\"\n"),
        seed(
            2,
            b"[paths]\nallow = [\"/etc/app\"]\n[hooks]\nallow = true\n[commands]\nrun-script = true\n\
              [settings]\nlog-level = \"debug\"\n",
        ),
    ]
}
