//! Who signs what: keys that do not count, too few of them, one for two, and how the keys
//! that do are followed.

use std::{fs, time::Duration};

use muster_common::{clock::Clock, reason::Reason};
use muster_tests::{
    hostile::Trick,
    repository::{Published, Repository},
};
use serde_json::Value;

use super::lab::Lab;

/// A document with these signatures in place of its own.
fn signed_by(document: &[u8], signatures: impl Fn(&[Value]) -> Vec<Value>) -> Vec<u8> {
    let mut document: Value = serde_json::from_slice(document).unwrap();
    let theirs = signatures(document["signatures"].as_array().unwrap());
    document["signatures"] = theirs.into();
    document.to_string().into_bytes()
}

/// Gives that in place of a document of the newest repository, and is refused; afterwards the
/// honest one is believed.
async fn refuses_in_place_of(lab: &Lab, file: &Published, name: &str, forged: Vec<u8>) {
    lab.mirror.serve(&lab.repository.path());
    lab.mirror.does(name, [Trick::Bytes(forged)]);
    let error = lab.refuses(file, Reason::ArtifactUntrusted).await;
    let told = ["keys signed the", "Duplicate key ID"];
    assert!(told.iter().any(|why| error.message.contains(why)), "{name}: {error}");
}

#[tokio::test]
async fn too_few_signatures_and_one_key_twice_are_none() {
    let lab = Lab::new().await;
    let file = lab.publish("1.0.0", b"by enough keys");
    let document = |name: &str| fs::read(lab.repository.path().join("metadata").join(name)).unwrap();
    // T-U7: of a root, two of the three keys before it must sign.
    lab.repository.does(&["rotate-root", "REPOSITORY", "--keys", "KEYS"]);
    let root = document("2.root.json");
    let forgeries = [
        signed_by(&root, |_| Vec::new()),
        signed_by(&root, |theirs| vec![theirs[0].clone()]),
        signed_by(&root, |theirs| vec![theirs[0].clone(), theirs[0].clone()]),
        // One key by the name of another.
        signed_by(&root, |theirs| {
            let mut other = theirs[0].clone();
            other["keyid"] = theirs[1]["keyid"].clone();
            vec![theirs[0].clone(), other]
        }),
    ];
    for forged in forgeries {
        refuses_in_place_of(&lab, &file, "2.root.json", forged).await;
    }
    // Two are enough, whichever: the third may be lost.
    lab.mirror.serve(&lab.repository.path());
    lab.mirror.does("2.root.json", [Trick::Bytes(signed_by(&root, |theirs| theirs[1..].to_vec()))]);
    lab.recovers_from(&file).await;
    // The newest of all, by nobody, and by a key that is good for other documents.
    let second = lab.publish("2.0.0", b"by enough keys, too");
    let timestamp = document("timestamp.json");
    let of_root = serde_json::from_slice::<Value>(&root).unwrap()["signatures"][0].clone();
    for forged in [signed_by(&timestamp, |_| Vec::new()), signed_by(&timestamp, |_| vec![of_root.clone()])] {
        refuses_in_place_of(&lab, &second, "timestamp.json", forged).await;
    }
    lab.recovers(&second).await;
}

#[tokio::test]
async fn keys_that_do_not_count_sign_nothing_and_roots_are_followed_link_by_link() {
    let lab = Lab::new().await;
    let file = lab.publish("1.0.0", b"by the first keys");
    // T-U7: all is signed, by keys of somebody else.
    let evil = Repository::new();
    evil.add("1.0.0", &file.content);
    evil.sign();
    lab.mirror.serve(&evil.path());
    lab.refuses(&file, Reason::ArtifactUntrusted).await;
    // T-U8: two rotations, of which one is held back.
    lab.mirror.serve(&lab.repository.path());
    let rotate =
        |group| lab.repository.does(&["rotate-root", "REPOSITORY", "--keys", "KEYS", "--replace", group]);
    rotate("root");
    rotate("targets");
    let second = lab.publish("2.0.0", b"by the second keys");
    let third = fs::read(lab.repository.path().join("metadata/3.root.json")).unwrap();
    lab.mirror.does("2.root.json", [Trick::Bytes(third)]);
    lab.refuses(&second, Reason::ArtifactUntrusted).await;
    lab.mirror.serve(&lab.repository.path());
    lab.mirror.does("2.root.json", [Trick::Status(404)]);
    lab.refuses(&second, Reason::ArtifactUntrusted).await;
    lab.recovers(&second).await;
    lab.recovers(&file).await;
}

#[tokio::test]
async fn a_repository_that_was_wound_forward_comes_back_with_new_online_keys() {
    let lab = Lab::new().await;
    let file = lab.publish("1.0.0", b"before");
    // T-U9: who has the online key signs versions that nobody reaches.
    let wound = lab.repository.copy();
    wind_forward(wound.path(), &lab.repository.keys());
    lab.mirror.serve(wound.path());
    lab.recovers_from(&file).await;
    let second = lab.publish("2.0.0", b"after");
    lab.mirror.serve(&lab.repository.path());
    lab.refuses(&second, Reason::ArtifactRolledBack).await;
    lab.repository.does(&["rotate-root", "REPOSITORY", "--keys", "KEYS", "--replace", "online"]);
    lab.repository.sign();
    lab.recovers(&second).await;
}

/// Signs snapshot and timestamp of the highest version, with the online key.
fn wind_forward(folder: &std::path::Path, keys: &std::path::Path) {
    use muster_common::tuf::{
        Role,
        signing::{self, Edition, Named, SigningKey},
    };
    use std::num::NonZeroU64;
    let online = fs::read_dir(keys).unwrap().map(|entry| entry.unwrap().path());
    let online = online.into_iter().find(|path| path.to_str().unwrap().contains("online-")).unwrap();
    let key = SigningKey::from_pem(&fs::read_to_string(online).unwrap()).unwrap();
    let targets = fs::read(folder.join("metadata/2.targets.json")).unwrap();
    let expires = Clock::System.now() + Duration::from_secs(1000);
    let most = Edition { version: NonZeroU64::new(u64::MAX - 1).unwrap(), expires };
    let named = Named::of(NonZeroU64::new(2).unwrap(), &targets);
    let snapshot = signing::sign(Role::Snapshot, &signing::snapshot(most, &named), &key).unwrap();
    let named = Named::of(most.version, &snapshot);
    let timestamp = signing::sign(Role::Timestamp, &signing::timestamp(most, &named), &key).unwrap();
    fs::write(folder.join(format!("metadata/{}.snapshot.json", most.version)), snapshot).unwrap();
    fs::write(folder.join("metadata/timestamp.json"), timestamp).unwrap();
}
