//! A store from before profiles had versions: nothing of it is lost, and no host gets
//! anything else.

use muster_common::ids::{NodeId, RolloutId};
use muster_domain::{
    assignment::{Assignment, Target},
    item::ItemName,
    rollout::Rollout,
    settings::Profile,
};
use muster_store::{
    Error, Options, ReadAssignments as _, ReadItemMarks as _, ReadNodes as _, ReadProfiles as _,
    ReadRollouts as _, Store, WriteProfiles as _,
};

/// The schemas of before, as they were released one after the other.
const BEFORE: [&str; 10] = [
    include_str!("../../migrations/sqlite/0001_start.sql"),
    include_str!("../../migrations/sqlite/0002_ended_operations.sql"),
    include_str!("../../migrations/sqlite/0003_audit_checkpoints.sql"),
    include_str!("../../migrations/sqlite/0004_identity.sql"),
    include_str!("../../migrations/sqlite/0005_own_since.sql"),
    include_str!("../../migrations/sqlite/0006_rollouts.sql"),
    include_str!("../../migrations/sqlite/0007_blobs.sql"),
    include_str!("../../migrations/sqlite/0008_secrets.sql"),
    include_str!("../../migrations/sqlite/0009_profile_versions.sql"),
    include_str!("../../migrations/sqlite/0010_groups.sql"),
];

const NODE: &str = "00000000-0000-0000-0000-000000000001";
const ROLLOUT: &str = "00000000-0000-0000-0000-000000000002";

/// Two profiles; one is assigned, and a rollout from it to the other has touched a node.
fn before() -> String {
    let plan = serde_json::to_string(&muster_domain::rollout::Speed::Careful.plan()).unwrap();
    format!(
        r#"
INSERT INTO meta VALUES ('epoch', '1');
INSERT INTO meta VALUES ('trust-domain', 'example.test');
UPDATE feed SET revision = 40;
INSERT INTO profiles VALUES ('calm', '{{"facts-interval":"30m"}}', 5, 'operator/alice', 11);
INSERT INTO profiles VALUES ('eager', '{{"facts-interval":"1m","log-level":"debug"}}', 6, 'operator/bob', 12);
INSERT INTO assignments (name, selector, scope, target, target_name, target_version, priority, created_at, updated_at,
    updated_by, revision, staged) VALUES ('pace', '*', '*', 'settings', 'calm', NULL, 3, 7, 8, 'operator/alice', 20,
    '{{"rollout":"{ROLLOUT}","variants":[{{"settings":{{"profile":"eager"}}}}]}}');
INSERT INTO assignments (name, selector, scope, target, target_name, target_version, priority, created_at, updated_at,
    updated_by, revision) VALUES ('web', '*', '*', 'bundle', 'web', 7, 0, 7, 8, 'operator/alice', 21);
INSERT INTO item_marks VALUES ('settings', 20);
INSERT INTO nodes VALUES ('{NODE}', 'web-1', '{{}}', x'01', x'02', '00000000-0000-0000-0000-000000000005', 1, 2, 3);
INSERT INTO node_status VALUES ('{NODE}', 'never-seen', 1, 'Enrolled', NULL, NULL, 0, 0, NULL, NULL, 0);
INSERT INTO node_facts VALUES ('{NODE}', '{{}}', x'03');
INSERT INTO node_certificates VALUES ('{NODE}', 0, '0a', 1, 1, 8, 9, x'04', x'05');
INSERT INTO rollouts VALUES ('{ROLLOUT}', 'pace', NULL, 'operator/alice', 0,
    '{{"id":"{ROLLOUT}","assignment":"pace","from":{{"settings":{{"profile":"calm"}}}},
      "to":{{"settings":{{"profile":"eager"}}}},"plan":{plan},"phase":"running","reason":"Started","message":"",
      "step":0,"settled_at":null,"approved":0,"created_at":9,"created_by":"operator/alice","since":9}}', 30);
INSERT INTO rollout_touches VALUES ('{NODE}', 'pace',
    '{{"assignment":"pace","rollout":"{ROLLOUT}","item":"settings","gives":{{"settings":{{"profile":"eager"}}}},
      "before":{{"settings":{{"profile":"calm"}}}},"at":10}}', 31);
"#
    )
}

/// A store with the first `count` migrations.
pub(crate) fn schema_of(options: &Options, count: usize) -> rusqlite::Connection {
    let raw = rusqlite::Connection::open(options.file().unwrap()).unwrap();
    for (number, schema) in (1..).zip(&BEFORE[..count]) {
        raw.execute_batch(schema).unwrap();
        raw.execute("INSERT INTO migrations VALUES (?1, 'before')", [number]).unwrap();
    }
    raw
}

fn migrated(folder: &tempfile::TempDir) -> Store {
    let options = Options::sqlite(folder.path().join("store.db"));
    let raw = schema_of(&options, 7);
    raw.execute_batch(&before()).unwrap();
    drop(raw);
    Store::open(&options).unwrap()
}

fn version(profile: &str, version: u64) -> Target {
    Target::Settings { profile: profile.to_owned(), version }
}

#[test]
fn profiles_become_first_versions_and_every_target_means_them() {
    let folder = tempfile::tempdir().unwrap();
    let store = migrated(&folder);
    let profiles = store.read_blocking::<_, Error, _>(|tx| tx.profile_all()).unwrap();
    let told =
        |it: &Profile| (it.name.clone(), it.version, it.created_at.0, it.created_by.clone(), it.revision);
    assert_eq!(
        profiles.iter().map(told).collect::<Vec<_>>(),
        [
            ("calm".to_owned(), 1, 5, "operator/alice".to_owned(), 11),
            ("eager".to_owned(), 1, 6, "operator/bob".to_owned(), 12)
        ]
    );
    assert_eq!((profiles[0].values["facts-interval"].as_str(), profiles[1].values.len()), ("30m", 2));
    let read = store.read_blocking::<_, Error, _>(|tx| {
        Ok((tx.assignment_all()?, tx.rollout_open_all()?, tx.node_get(NodeId::from_u128(1))?.unwrap()))
    });
    let (assignments, rollouts, node) = read.unwrap();
    let [pace, web]: [Assignment; 2] = assignments.try_into().unwrap();
    assert_eq!(
        (pace.target, pace.revision, pace.priority),
        (version("calm", 1), 20, 3),
        "the rest is as it was"
    );
    assert_eq!(pace.staged.variants, [version("eager", 1)]);
    assert_eq!(pace.staged.rollout, Some(RolloutId::from_u128(2)));
    assert_eq!(web.target, Target::Bundle { name: "web".to_owned(), version: 7 });
    let [Rollout { from, to, .. }]: [Rollout; 1] = rollouts.try_into().unwrap();
    assert_eq!((from, to), (Some(version("calm", 1)), Some(version("eager", 1))));
    let touch = &node.touches[0];
    assert_eq!(
        (touch.gives.clone(), touch.before.clone()),
        (Some(version("eager", 1)), Some(version("calm", 1)))
    );
    // What a host has is offered under the same generation: it hears nothing of this.
    let marks = store.read_blocking::<_, Error, _>(|tx| tx.item_mark_all()).unwrap();
    assert_eq!((marks[&ItemName::Settings], touch.revision), (20, 31));
}

#[test]
fn the_next_version_of_a_profile_of_before_is_the_second() {
    let folder = tempfile::tempdir().unwrap();
    let store = migrated(&folder);
    let next = store.read_blocking::<_, Error, _>(|tx| {
        let newest = tx.profile_get("calm", None)?.unwrap();
        Ok(Profile { version: tx.profile_next_version("calm")?, ..newest })
    });
    let next = next.unwrap();
    assert_eq!(next.version, 2);
    crate::write(&store, move |tx| tx.profile_insert(&next)).unwrap();
    let versions = store.read_blocking::<_, Error, _>(|tx| tx.profile_all()).unwrap();
    assert_eq!(versions.iter().map(|it| it.version).collect::<Vec<_>>(), [2, 1, 1]);
}
