//! What a child writes: the end of it is kept, and the rest let go, however much it is.

use std::{sync::Arc, time::Duration};

use futures_util::future::join;
use muster_common::tasks::{Kind, Tasks};
use parking_lot::Mutex;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    sync::watch,
};

use crate::platform::process::Group;

/// Kept of the end.
const TAIL: usize = 4096;
/// Once the child has ended: for what is still in its pipes.
const SETTLES: Duration = Duration::from_millis(500);

/// Of one child. It is read also while nobody asks: a child never waits for a reader.
pub(super) struct Output {
    kept: Arc<Mutex<Vec<u8>>>,
    /// Ends with the pipes.
    over: watch::Receiver<()>,
}

impl Output {
    /// Reads what a child writes until nobody can write there any more.
    pub(super) fn of(group: &mut Group) -> Self {
        let kept = Arc::new(Mutex::new(Vec::new()));
        let (reads, over) = watch::channel(());
        let (stdout, stderr) = group.outputs();
        let (first, second) = (Arc::clone(&kept), Arc::clone(&kept));
        Tasks::default().spawn("extension-output", Kind::BestEffort, async move {
            join(read(stdout, &first), read(stderr, &second)).await;
            drop(reads);
        });
        Self { kept, over }
    }

    /// The end of it, once the child has ended.
    pub(super) async fn tail(&self) -> Vec<u8> {
        let mut over = self.over.clone();
        // Who left it may have given its pipes to others.
        let _ = tokio::time::timeout(SETTLES, over.changed()).await;
        self.kept.lock().clone()
    }
}

async fn read(from: Option<impl AsyncRead + Unpin>, kept: &Mutex<Vec<u8>>) {
    let Some(mut from) = from else { return };
    let mut piece = vec![0; TAIL];
    while let Ok(length @ 1..) = from.read(&mut piece).await {
        let mut kept = kept.lock();
        kept.extend_from_slice(&piece[..length]);
        let surplus = kept.len().saturating_sub(TAIL);
        kept.drain(..surplus);
    }
}
