//! What holds of every write, whatever it writes.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use muster_domain::lane::Lane;
use muster_store::{
    Batch, Error, Meter, ReadBundles as _, ReadChanges as _, ReadMeta as _, ReadNodes as _, Store,
    Transaction, WriteBundles as _, WriteNodes as _, WriteTx,
};

use crate::{
    harness::{Database, Gate, block_on, hand_in, note, read, report, stamp, write},
    samples::{bundle, node},
};

fn insert(number: u128) -> impl Fn(&mut WriteTx<'_>) -> Result<u64, Error> + Send + 'static {
    move |tx| {
        tx.node_insert(&node(number))?;
        tx.audit(note(format!("node/{number}")))?;
        Ok(tx.revision())
    }
}

type AnyWrite = Box<dyn Fn(&mut WriteTx<'_>) -> Result<u64, Error> + Send>;

/// Hands in several writes while the writer is busy, so that they share one commit.
fn together(store: &Store, writes: Vec<AnyWrite>) -> Vec<Result<u64, Error>> {
    let gate = Gate::close(store);
    let all = writes.into_iter().map(|f| store.write(stamp(), f));
    block_on(async {
        let mut waiting: Vec<_> = all.map(Box::pin).collect();
        for write in &mut waiting {
            hand_in(write).await;
        }
        gate.open();
        let mut answers = Vec::new();
        for write in waiting {
            answers.push(write.await.map(|committed| committed.revision));
        }
        answers
    })
}

pub(crate) fn a_failing_write_leaves_the_others(database: &impl Database) {
    let store = database.open();
    let refused = |tx: &mut WriteTx<'_>| {
        tx.node_insert(&node(2))?;
        tx.audit(note("node/2"))?;
        Err(Error::Busy) // any error of its own
    };
    let answers = together(&store, vec![Box::new(insert(1)), Box::new(refused), Box::new(insert(3))]);
    let (first, third) = (answers[0].clone().unwrap(), answers[2].clone().unwrap());
    assert!(matches!(answers[1], Err(Error::Busy)));
    assert_eq!(third, first + 1, "a refused write takes no revision");
    let ids: Vec<_> = read(&store, |tx| tx.node_all()).into_iter().map(|node| node.id).collect();
    assert_eq!(ids, [node(1).id, node(3).id]);
    let entries = read(&store, |tx| {
        Ok((
            muster_store::ReadAudit::audit_last(tx, "main")?,
            muster_store::ReadAudit::audit_verify(tx, "main")?,
        ))
    });
    assert_eq!((entries.0.unwrap().seq, entries.1), (2, None), "its audit entry went with it");
    assert_eq!(read(&store, |tx| tx.changes_since(0, 10)).len(), 2);
}

pub(crate) fn a_panic_harms_nobody(database: &impl Database) {
    let store = database.open();
    let panics = |tx: &mut WriteTx<'_>| -> Result<u64, Error> {
        tx.node_insert(&node(2))?;
        panic!("on purpose {}", 2);
    };
    let answers = together(&store, vec![Box::new(insert(1)), Box::new(panics), Box::new(insert(3))]);
    assert!(matches!(&answers[1], Err(Error::Panicked(what)) if what == "on purpose 2"));
    assert!(answers[0].is_ok() && answers[2].is_ok());
    assert_eq!(read(&store, |tx| tx.node_all()).len(), 2);
    let read_panics = store.read_blocking::<(), Error, _>(|_| panic!("while reading"));
    assert!(matches!(read_panics, Err(Error::Panicked(what)) if what == "while reading"));
    // More reads than there are threads: none of them has ended.
    (0..8).for_each(|_| assert_eq!(read(&store, |tx| tx.node_all()).len(), 2));
}

pub(crate) fn a_swallowed_failure_is_not_committed(database: &impl Database) {
    let store = database.open();
    write(&store, |tx| tx.bundle_insert(&bundle("motd", 1, b"x"), b"x"));
    let swallowed = store.write_blocking::<_, Error, _>(stamp(), |tx| {
        tx.node_insert(&node(1))?;
        let _ = tx.bundle_insert(&bundle("motd", 1, b"y"), b"y");
        tx.audit(note("node/1"))
    });
    assert!(matches!(swallowed, Err(Error::Incomplete)));
    assert_eq!(read(&store, |tx| tx.node_all()), []);
    assert_eq!(read(&store, |tx| tx.bundle_payload("motd", 1)), Some(b"x".to_vec()));
}

pub(crate) fn a_full_queue_is_an_answer(database: &impl Database) {
    let store = database.open_with(|mut options| {
        options.queue = 32; // of which control has 30
        options
    });
    let ran = Arc::new(AtomicU64::new(0));
    let gate = Gate::close(&store);
    let last = block_on(async {
        let counted = || {
            let ran = Arc::clone(&ran);
            move |_: &mut WriteTx<'_>| {
                ran.fetch_add(1, Ordering::Relaxed);
                Ok::<_, Error>(())
            }
        };
        let mut waiting: Vec<_> = (0..31).map(|_| Box::pin(store.write(stamp(), counted()))).collect();
        for write in &mut waiting[..30] {
            hand_in(write).await;
        }
        let last = waiting.pop().unwrap().await;
        gate.open();
        for write in waiting {
            write.await.unwrap();
        }
        last
    });
    assert!(matches!(last, Err(Error::Busy)));
    assert_eq!(ran.load(Ordering::Relaxed), 30);
}
pub(crate) fn what_changed_nothing_takes_no_revision(database: &impl Database) {
    let store = database.open();
    let first = write(&store, insert(1)).revision;
    assert_eq!(report(&store, |_| Ok(())).revision, first);
    assert_eq!(report(&store, |tx| tx.node_delete(node(9).id)).revision, first);
    assert_eq!(read(&store, |tx| tx.revision()), first);
    assert_eq!(report(&store, |tx| Ok(tx.revision())).value, first + 1, "one that asked for it has it");
}

pub(crate) fn closing_keeps_what_was_handed_in(database: &impl Database) {
    let store = database.open();
    let other = store.clone();
    let gate = Gate::close(&store);
    block_on(async {
        let mut write = Box::pin(other.write(stamp(), insert(1)));
        hand_in(&mut write).await;
        let mut close = Box::pin(store.close());
        hand_in(&mut close).await;
        gate.open();
        write.await.unwrap();
        close.await.unwrap();
        assert!(matches!(other.write(stamp(), insert(2)).await, Err(Error::Closed)));
    });
    let again = database.open();
    assert_eq!(read(&again, |tx| tx.node_all()).len(), 1);
    assert_eq!(*again.committed().borrow(), 1, "a handle knows from its start what is committed");
}

pub(crate) fn reads_see_one_state(database: &impl Database) {
    let store = database.open();
    write(&store, insert(1));
    let writer = store.clone();
    let counts = read(&store, move |tx| {
        let before = tx.node_all()?.len();
        write(&writer, insert(2));
        Ok((before, tx.node_all()?.len()))
    });
    assert_eq!(counts, (1, 1), "a commit in the middle is not seen");
    assert_eq!(read(&store, |tx| tx.node_all()).len(), 2);
}

#[derive(Default)]
struct Told {
    took: Mutex<Vec<Transaction>>,
    batches: Mutex<Vec<(u64, u64)>>,
}

impl Meter for Told {
    fn took(&self, transaction: Transaction, took: Duration) {
        assert!(took < Duration::from_secs(60));
        self.took.lock().unwrap().push(transaction);
    }

    fn committed(&self, batch: Batch) {
        self.batches.lock().unwrap().push((batch.writes, batch.audit_entries));
    }

    fn failed(&self, _: u64) {}
}

pub(crate) fn whoever_asked_is_told_what_the_store_does(database: &impl Database) {
    let store = database.open();
    let told = Arc::new(Told::default());
    store.measure(Arc::clone(&told) as _);
    let refused: AnyWrite = Box::new(|_| Err(Error::Busy));
    let answers = together(&store, vec![Box::new(insert(1)), refused, Box::new(insert(2))]);
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 2);
    // One that only reads, beside them.
    let revision = block_on(store.read(|tx| tx.revision())).unwrap();
    block_on(store.read_own(|tx| tx.revision())).unwrap();
    assert!(revision > 0 && store.waiting().iter().all(|(_, count)| *count == 0));
    let written = Transaction::Write(Lane::Control);
    let all = [written, written, written, Transaction::Read, Transaction::OwnRead];
    assert_eq!(*told.took.lock().unwrap(), all);
    let batches = told.batches.lock().unwrap();
    // The one that held the others up, and all that waited meanwhile.
    assert_eq!(*batches, [(1, 0), (3, 2)], "writes, and entries of the audit");
}
