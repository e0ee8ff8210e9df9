use std::time::Duration;

use muster_common::digest::Sha256;
use muster_domain::audit::Stamp;
use muster_store::{Options, Store};

use super::*;

const NOW: UnixMillis = UnixMillis(1_700_000_000_000);
const RHYTHM: Rhythm = Rhythm { entries: 3, time: Duration::from_secs(60) };

struct Scene {
    store: Store,
    key: AuditKey,
    _folder: tempfile::TempDir,
}

impl Scene {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = Options::sqlite(folder.path().join("store.db")).with_replica("a");
        let store = Store::create(&options, "fleet.test").unwrap();
        let key = AuditKey::open_or_create(&folder.path().join("ca")).unwrap();
        Self { store, key, _folder: folder }
    }

    fn append(&self, count: usize) {
        let stamp = Stamp {
            actor: "operator/alice".into(),
            action: "tests.write".into(),
            at: NOW,
            remote_address: String::new(),
            trace_id: String::new(),
        };
        let write =
            move |tx: &mut muster_store::WriteTx<'_>| (0..count).try_for_each(|_| tx.audit(Note::default()));
        self.store.write_blocking::<_, muster_store::Error, _>(stamp, write).unwrap();
    }

    /// What would be signed so long after the start: `None` nothing, else the entry or what is wrong.
    fn found(&self, after: Duration) -> Option<Result<u64, String>> {
        let keys = AuditKeys::of(&self.key);
        let found = self.store.read_blocking(move |tx| find(tx, "a", RHYTHM, &keys, NOW + after)).unwrap();
        match found {
            Found::Nothing => None,
            Found::Newest(entry) => Some(Ok(entry.seq)),
            Found::Broken(what) => Some(Err(what)),
        }
    }

    /// Puts a checkpoint on the newest entry, by a key, changed.
    fn sign(&self, key: &AuditKey, change: fn(&mut Checkpoint)) {
        let newest = self.store.read_blocking::<_, muster_store::Error, _>(|tx| tx.audit_last("a"));
        let checkpoint = Checkpoint::of(&newest.unwrap().unwrap(), "fleet.test", NOW, Sha256::ZERO);
        let mut checkpoint = key.sign(checkpoint).unwrap();
        change(&mut checkpoint);
        let stamp = Stamp {
            actor: "control-plane/a".into(),
            action: "audit.sign".into(),
            at: NOW,
            remote_address: String::new(),
            trace_id: String::new(),
        };
        let write = move |tx: &mut muster_store::WriteTx<'_>| tx.checkpoint_insert(&checkpoint);
        assert!(self.store.write_blocking::<_, muster_store::Error, _>(stamp, write).unwrap().value);
    }
}

#[test]
fn the_first_entry_is_signed_at_once_and_later_ones_in_their_rhythm() {
    let scene = Scene::new();
    assert_eq!(scene.found(Duration::ZERO), None, "nothing is written");
    scene.append(1);
    assert_eq!(scene.found(Duration::ZERO), Some(Ok(1)));
    scene.sign(&scene.key, |_| {});
    assert_eq!(scene.found(Duration::from_secs(3600)), None, "nothing is new");
    scene.append(2);
    assert_eq!(scene.found(Duration::from_secs(59)), None);
    assert_eq!(scene.found(Duration::from_secs(60)), Some(Ok(3)), "it was long enough");
    scene.append(1);
    assert_eq!(scene.found(Duration::ZERO), Some(Ok(4)), "there are enough");
}

#[test]
fn nothing_is_signed_on_top_of_a_forged_checkpoint() {
    let scene = Scene::new();
    scene.append(3);
    scene.sign(&scene.key, |checkpoint| checkpoint.at.0 -= 1);
    scene.append(3);
    let Some(Err(what)) = scene.found(Duration::ZERO) else { panic!("it must be refused") };
    assert_eq!(what, "the checkpoint of entry 3: its signature does not fit");
}

#[test]
fn a_checkpoint_that_was_taken_out_is_missed() {
    let scene = Scene::new();
    scene.append(3);
    scene.sign(&scene.key, |_| {});
    let lost = |known| scene.store.read_blocking(move |tx| lost(tx, "a", known)).unwrap();
    assert_eq!((lost(0), lost(3)), (None, None));
    assert_eq!(lost(4).as_deref(), Some("the checkpoint of entry 4 is not there any more"));
}

#[test]
fn a_new_key_vouches_for_the_whole_chain() {
    let scene = Scene::new();
    let folder = tempfile::tempdir().unwrap();
    let former = AuditKey::open_or_create(folder.path()).unwrap();
    scene.append(3);
    scene.sign(&former, |_| {});
    scene.append(3);
    assert_eq!(scene.found(Duration::ZERO), Some(Ok(6)));
}
