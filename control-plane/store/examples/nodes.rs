//! Adds synthetic nodes to a store that nobody serves: as many as asked for, each as a
//! host of a real fleet looks, with all its facts. For measuring, not for use.
//!
//! `nodes FILE COUNT [ITEMS]`: the file of the store, how many nodes, how many items each.

#![allow(clippy::print_stdout, reason = "printing is what it is for")]

use std::{env, process::ExitCode};

use muster_common::{
    clock::{Clock, UnixMillis},
    digest::Sha256,
    generation::Generation,
    ids::{JoinTokenId, NodeId},
};
use muster_domain::{
    audit::{Note, Stamp},
    certificate::{Issued, Leaf, NodeCertificate},
    facts::{Address, Disk, Facts},
    item::{ItemName, ItemState, ItemVersion, Outcome},
    liveness::{Liveness, State},
    node::Node,
    settings::{EffectiveSetting, Origin},
};
use muster_store::{Error, Options, Store, WriteNodes as _};

/// Nodes of one write.
const CHUNK: usize = 1000;
const AT: UnixMillis = UnixMillis(1_700_000_000_000);
/// Longer than any measurement.
const LIFE: std::time::Duration = std::time::Duration::from_secs(50 * 365 * 24 * 3600);

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let number = |at: usize| args.get(at).and_then(|text| text.parse::<usize>().ok());
    let (Some(file), Some(count)) = (args.first(), number(1)) else {
        println!("nodes FILE COUNT [ITEMS]");
        return ExitCode::FAILURE;
    };
    match add(file, count, number(2).unwrap_or(0)).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn add(file: &str, count: usize, items: usize) -> Result<(), Error> {
    let begun = Clock::System.monotonic();
    let store = Store::open(&Options::sqlite(file))?;
    for from in (0..count).step_by(CHUNK) {
        let to = (from + CHUNK).min(count);
        store
            .write::<_, Error, _>(stamp(), move |tx| {
                (from..to).try_for_each(|number| tx.node_insert(&node(number, items)))?;
                tx.audit(Note::default())
            })
            .await?;
    }
    println!("{count} nodes in {:.1} s", begun.elapsed().as_secs_f64());
    store.close().await
}

fn stamp() -> Stamp {
    Stamp {
        actor: "control-plane/main".to_owned(),
        action: "bench".to_owned(),
        at: AT,
        remote_address: String::new(),
        trace_id: String::new(),
    }
}

fn node(number: usize, items: usize) -> Node {
    let key = Sha256::of(&number.to_be_bytes());
    let issued = Issued {
        serial: key.to_string()[..40].into(),
        generation: 1,
        issuer: 1,
        not_before: AT,
        not_after: AT + LIFE,
        leaf: Some(Box::new(Leaf { key_sha256: key.as_bytes().to_vec(), der: vec![2; 600] })),
    };
    let labels = [
        ("env", ["prod", "test", "dev"][number % 3].to_owned()),
        ("region", format!("eu-{}", number % 12)),
        ("role", format!("role-{}", number % 40)),
        ("team", format!("team-{}", number % 60)),
        ("rack", format!("r{}", number / 40)),
        ("shard", (number % 100).to_string()),
    ];
    Node {
        // The time in an id rises; so do these.
        id: NodeId::from_u128((0x0190_0000_0000_7000_8000 << 48) + number as u128),
        display_name: format!("host-{number}.example.net"),
        labels: labels.into_iter().map(|(key, value)| (key.to_owned(), value)).collect(),
        facts: facts(number, &key).into(),
        facts_sha256: key.as_bytes()[..].into(),
        liveness: Liveness { state: State::Online, since: AT, reason: "HeartbeatReceived".into() },
        items: (0..items).map(item).collect(),
        certificate: NodeCertificate { current: issued, next: None },
        enrolled_key_sha256: Some(Box::new(key.as_bytes()[..].into())),
        machine_fingerprint: key.as_bytes()[..].into(),
        enrolled_with: JoinTokenId::from_u128(1).into(),
        created_at: AT,
        ledger: None,
        trust_bundle_version: 1,
        recoveries: 0,
        touches: Vec::new(),
        accepted: None,
        own_since: UnixMillis(0),
        quarantine: None,
        kept: None,
        selector_revision: 0,
        revision: 0,
    }
}

fn facts(number: usize, key: &Sha256) -> Facts {
    let disk = |mount_point: &str, file_system: &str, gib: u64| Disk {
        mount_point: mount_point.to_owned(),
        file_system: file_system.to_owned(),
        size_bytes: gib << 30,
    };
    let address = |interface: &str, address: String| Address { interface: interface.to_owned(), address };
    let [a, b, c, _] = u32::try_from(number).unwrap_or_default().to_be_bytes().map(u64::from);
    let boot = key.to_string();
    Facts {
        hostname: format!("host-{number}.example.net"),
        os: "debian".to_owned(),
        os_version: (11 + number % 3).to_string(),
        kernel: format!("6.1.0-{}-amd64", 20 + number % 8),
        architecture: "x86_64".to_owned(),
        cpu_model: format!("Intel(R) Xeon(R) Gold 63{}0 CPU @ 2.00GHz", number % 5),
        cpu_count: 16,
        memory_bytes: 64 << 30,
        disks: vec![disk("/", "ext4", 40), disk("/boot", "ext4", 1), disk("/var", "xfs", 400 + a)],
        addresses: vec![
            address("eth0", format!("10.{a}.{b}.{c}")),
            address("eth0", format!("2001:db8:{a:x}:{b:x}::{number:x}")),
        ],
        machine_id: boot.clone(),
        boot_id: [&boot[..8], &boot[8..12], &boot[12..16], &boot[16..20], &boot[20..32]].join("-"),
        agent_version: format!("0.{}.0", 1 + number % 2),
        timezone: "Europe/Berlin".to_owned(),
        settings: (0..16).map(setting).collect(),
    }
}

fn setting(number: u32) -> EffectiveSetting {
    EffectiveSetting {
        key: format!("some-option-{number}"),
        value: format!("{number}s"),
        origin: Some(Origin::Default),
        desired: None,
    }
}

fn item(number: usize) -> ItemState {
    let version = ItemVersion {
        generation: Generation::new(1, 7),
        version: "7".to_owned(),
        sha256: Sha256::of(b"payload"),
    };
    ItemState {
        item: ItemName::Bundle(format!("bundle-{number}")),
        running: Some(version.clone()),
        attempted: Some(version),
        outcome: Some(Outcome::Applied),
        error: None,
        changed_at: AT,
        drift: Vec::new(),
        progress: None,
        health: None,
    }
}
