//! T-U*: metadata of the signed repository, as agents and the control plane read it. What
//! comes is signed first, so that more than its signatures is tried.
#![no_main]

use std::{cell::OnceCell, num::NonZeroU64, time::Duration};

use libfuzzer_sys::fuzz_target;
use muster_common::{
    clock::UnixMillis,
    digest::Sha256,
    tuf::{
        Kept, Role, Target, Update,
        signing::{self, Edition, Holders, Named, SigningKey},
    },
};

const NOW: UnixMillis = UnixMillis(1_800_000_000_000);
const ROLES: [Role; 4] = [Role::Root, Role::Timestamp, Role::Snapshot, Role::Targets];

/// A key, the root that it signed, and the rest of a repository.
struct Lab {
    key: SigningKey,
    root: Vec<u8>,
    rest: [Vec<u8>; 3],
}

thread_local!(static LAB: OnceCell<Lab> = const { OnceCell::new() });

// The first byte says at which step the input is given, the rest is metadata.
fuzz_target!(init: muster_fuzz::seeds("repository", seeds), |input: &[u8]| {
    LAB.with(|lab| {
        let lab = lab.get_or_init(lab_of);
        let Some((step, metadata)) = input.split_first() else { return };
        let role = ROLES[usize::from(*step) % ROLES.len()];
        let bytes = signing::sign(role, metadata, &lab.key).unwrap_or_else(|_| metadata.to_vec());
        let mut update = Update::begin(&lab.root, None, NOW).expect("its own root");
        let mut kept = update.kept();
        while let Some(want) = update.wants() {
            let wanted = role_of(&want.path);
            let given = if wanted == role { Some(bytes.as_slice()) } else { lab.honest(wanted) };
            let taken = update.take(given);
            kept = again(&lab.root, &update.kept());
            if taken.is_err() || (wanted == Role::Root && role == Role::Root) {
                break;
            }
        }
        if let Ok(repository) = kept.repository(&lab.root, NOW) {
            let _ = repository.targets();
        }
    });
});

/// What is kept can always be gone on from: no input spoils a host for what comes after it.
fn again(root: &[u8], kept: &Kept) -> Kept {
    let written = serde_json::to_vec(kept).expect("it is text");
    let read: Kept = serde_json::from_slice(&written).expect("it was just written");
    let update = Update::begin(root, Some(&read), NOW).expect("what was believed is believed");
    update.kept()
}

fn role_of(path: &str) -> Role {
    let role = ROLES.into_iter().find(|role| path.ends_with(&format!("{role}.json")));
    role.expect("it wants metadata of a role")
}

impl Lab {
    fn honest(&self, role: Role) -> Option<&[u8]> {
        ROLES.iter().skip(1).zip(&self.rest).find(|(of, _)| **of == role).map(|(_, bytes)| bytes.as_slice())
    }
}

fn edition() -> Edition {
    let expires = NOW + Duration::from_secs(1000);
    Edition { version: NonZeroU64::MIN, expires }
}

fn lab_of() -> Lab {
    let key = SigningKey::generate().expect("there is randomness");
    let [root, _, _, targets] = drafts(&key);
    let signed = |role, draft: &[u8]| signing::sign(role, draft, &key).expect("a draft");
    let targets = signed(Role::Targets, &targets);
    let named = |bytes: &[u8]| Named::of(NonZeroU64::MIN, bytes);
    let snapshot = signed(Role::Snapshot, &signing::snapshot(edition(), &named(&targets)));
    let timestamp = signed(Role::Timestamp, &signing::timestamp(edition(), &named(&snapshot)));
    Lab { root: signed(Role::Root, &root), rest: [timestamp, snapshot, targets], key }
}

/// One of each role, without signatures.
fn drafts(key: &SigningKey) -> [Vec<u8>; 4] {
    let holders = Holders { keys: vec![key.public().clone()], threshold: 1 };
    let root = signing::root(edition(), &ROLES.map(|role| (role, holders.clone())).into());
    let target = Target {
        name: "agent/1.0.0/linux-any.tar.zst".to_owned(),
        size: 3,
        sha256: Sha256::of(b"one"),
        about: None,
    };
    let targets = signing::targets(edition(), &[target]);
    let named = Named::of(NonZeroU64::MIN, &targets);
    [root, signing::timestamp(edition(), &named), signing::snapshot(edition(), &named), targets]
}

fn seeds() -> [Vec<u8>; 4] {
    let drafts = drafts(&SigningKey::generate().expect("there is randomness"));
    let mut step = 0;
    drafts.map(|draft| {
        let seed = [&[step][..], &draft].concat();
        step += 1;
        seed
    })
}
