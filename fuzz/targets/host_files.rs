//! T-F6: what an agent finds in its state directory: records, the journal and
//! the bytes of the applier, the identity, the status and the memo. The first
//! byte of each part says which file it is.
#![no_main]

use std::cell::OnceCell;

use libfuzzer_sys::fuzz_target;
use muster_common::{clock::UnixMillis, digest::Sha256, generation::Generation};
use muster_fuzz::{Scratch, joined, parts};
use muster_node_agent::{
    applier::fuzz::read,
    identity::Store,
    state::{ItemState, ItemVersion, Outcome},
    state_dir::{Memo, Status},
};

thread_local!(static SCRATCH: OnceCell<Scratch> = const { OnceCell::new() });

fuzz_target!(init: muster_fuzz::seeds("host_files", seeds), |input: &[u8]| {
    SCRATCH.with(|scratch| {
        let scratch = scratch.get_or_init(Scratch::default);
        let folder = scratch.empty();
        for part in parts(input).into_iter().take(8) {
            let Some((which, content)) = part.split_first() else { continue };
            let name = match which % 8 {
                0 => "records/settings.json".to_owned(),
                1 => "records/bundle+app.json".to_owned(),
                2 => "records/other.json".to_owned(),
                3 => "journal.json".to_owned(),
                4 => "cut-offs.json".to_owned(),
                5 => format!("blobs/{}", Sha256::of(content)),
                6 => "identity/current.json".to_owned(),
                _ => {
                    drop(serde_json::from_slice::<Status>(content));
                    drop(serde_json::from_slice::<Memo>(content).map(|mut memo| memo.heard_clock(i64::MIN)));
                    continue;
                }
            };
            scratch.file(&name, content);
        }
        let found = read(folder);
        assert_eq!(read(folder), found, "it is read as the same again");
        if let Ok(Some(identity)) = Store::new(folder).load() {
            let again = serde_json::to_vec(&identity).expect("an identity has a JSON form");
            assert!(serde_json::from_slice(&again).is_ok_and(|again: muster_node_agent::identity::Identity| again == identity));
        }
    });
});

fn seeds() -> [Vec<u8>; 4] {
    let bundle = b"\x0a\x0b\x0a\x06/etc/x\x12\x01y".as_slice();
    let version = ItemVersion {
        generation: Generation::new(1, 7),
        version: "7".to_owned(),
        sha256: Sha256::of(bundle),
    };
    let state = |item: &str| ItemState {
        item: item.to_owned(),
        running: Some(version.clone()),
        attempted: Some(version.clone()),
        outcome: Outcome::Applied,
        error: None,
        changed_at: UnixMillis(1_700_000_000_000),
        drift: Vec::new(),
        progress: None,
        health: None,
    };
    let original = serde_json::json!({ "sha256": Sha256::of(b"before"), "mode": 420, "owner": [0, 0] });
    let record = serde_json::json!({
        "state": state("bundle/app"),
        "owned": [{ "path": "/etc/x", "original": original }],
        "made": [["/etc", "/etc/app"]],
    });
    let settings = serde_json::json!({ "state": state("settings"), "settings": { "facts-interval": "20s" } });
    let step = serde_json::json!({ "root": "/etc", "path": "/etc/x", "had": true, "removes": false });
    let journal = serde_json::json!({
        "item": "bundle/app", "version": version, "removal": false, "phase": "swapping",
        "steps": [step], "made": [["/etc", "/etc/app"]],
    });
    let counts = serde_json::json!({ "bundle/app": { "version": version, "count": 2 } });
    let identity = serde_json::json!({
        "node": "018f4e9c-7d5c-7a3b-8f6e-2d1c0b9a8f7e", "trust_domain": "fleet.example",
        "certificate_generation": 1, "trust_bundle_version": 1, "session_addresses": ["a:8443"],
        "not_before": 1, "not_after": 2, "chain_pem": "", "key_pem": "", "roots_pem": "",
    });
    let memo = serde_json::json!({ "epoch": 1, "display_name": "web-1", "clock_ahead_ms": 5 });
    let file = |which: u8, json: &serde_json::Value| [&[which], json.to_string().as_bytes()].concat();
    [
        joined(&[&file(1, &record), &file(0, &settings), &[b"\x05", bundle].concat()]),
        joined(&[&file(3, &journal), &file(4, &counts)]),
        joined(&[&file(6, &identity), &file(7, &memo)]),
        joined(&[&file(0, &record), &file(2, &settings), b"\x03{"]),
    ]
}
