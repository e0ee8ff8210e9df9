//! T-F4: the content of a bundle, as the control plane checks it and as a host
//! does. What the control plane takes, no host may call malformed.
#![no_main]

use std::{cell::OnceCell, fs};

use libfuzzer_sys::fuzz_target;
use muster_common::{clock::Clock, ids::NodeId};
use muster_control_plane::api::fuzz::bundle;
use muster_fuzz::Scratch;
use muster_node_agent::{
    applier::{
        Options,
        fuzz::{Judge, Verdict},
    },
    locks,
    state::{Line, Pauses},
    verbs::Hands,
};
use muster_proto::types::v1 as types;
use prost::Message as _;

thread_local!(static JUDGES: OnceCell<(Scratch, [Judge; 2])> = const { OnceCell::new() });

fuzz_target!(init: muster_fuzz::seeds("bundles", seeds), |input: &[u8]| {
    JUDGES.with(|judges| {
        let (_, [open, narrow]) = judges.get_or_init(judges_of);
        let payload = types::BundleContent::decode(input).ok().and_then(|content| bundle(&content));
        if let Some(payload) = payload {
            assert_eq!(bundle(&types::BundleContent::decode(&*payload).expect("ours")).as_ref(), Some(&payload));
            assert_ne!(open.bundle(&payload), Verdict::Malformed);
        }
        let said = open.bundle(input);
        // Rules can only take away.
        assert!(narrow.bundle(input) != Verdict::Taken || said == Verdict::Taken);
    });
});

/// A host that allows everything, and one that allows little.
fn judges_of() -> (Scratch, [Judge; 2]) {
    let scratch = Scratch::default();
    let folder = scratch.empty().to_owned();
    let judge = |name: &str, rules: &str| {
        let locks = folder.join(format!("{name}.toml"));
        fs::write(&locks, rules).expect("a lock file can be written");
        Judge::new(Options {
            line: Line::default(),
            hands: Hands::Here,
            pauses: Pauses::default(),
            folder: folder.join(name),
            node: NodeId::from_u128(1),
            locks: locks::Reader::new(locks),
            clock: Clock::System,
            protected: vec!["/var/lib/muster".into()],
        })
    };
    let open = judge("open", "[paths]\nallow = [\"/\"]\n[hooks]\nallow = true\n");
    let narrow = judge("narrow", "[paths]\nallow = [\"/etc/app\"]\n");
    (scratch, [open, narrow])
}

fn seeds() -> [Vec<u8>; 4] {
    let file = |path: &str, mode| types::BundleFile {
        path: path.to_owned(),
        content: b"listen = 80\n".to_vec().into(),
        mode,
        ..Default::default()
    };
    let hook = types::Hook {
        argv: vec!["/bin/true".to_owned(), "-x".to_owned()],
        timeout_s: 5,
        ..Default::default()
    };
    let whole = types::BundleContent {
        files: vec![file("/etc/app/app.conf", 0o640), file("/etc/app/d/more.conf", 0)],
        validate: Some(hook.clone()),
        on_change: Some(hook.clone()),
        probe: Some(hook),
        confirm_after_s: 60,
        ..Default::default()
    };
    let small = types::BundleContent { files: vec![file("/etc/app/x", 0)], ..Default::default() };
    let wrong = types::BundleContent { files: vec![file("/etc/../x", 0o4755)], ..Default::default() };
    let blob = types::FileBlob { sha256: vec![7; 32].into(), size_bytes: 5 << 20 };
    let of_blob =
        types::BundleFile { content: Vec::new().into(), blob: Some(blob), ..file("/etc/app/big", 0) };
    let large = types::BundleContent { files: vec![of_blob, file("/etc/app/x", 0)], ..Default::default() };
    [whole.encode_to_vec(), small.encode_to_vec(), wrong.encode_to_vec(), large.encode_to_vec()]
}
