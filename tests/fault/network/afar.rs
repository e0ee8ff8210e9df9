//! A swarm in a network namespace of its own: on a thread that is in it.

use std::{net::SocketAddr, sync::Arc, thread::JoinHandle};

use muster_common::join::JoinString;
use muster_tests::{
    netns::Namespace,
    swarm::{self, Counters, Swarm},
};
use tokio::sync::oneshot;

/// Connections that a swarm opens at once.
const AT_ONCE: usize = 4;

/// A swarm elsewhere. Dropped: its sessions are ended.
pub(crate) struct Afar {
    pub(crate) counters: Arc<Counters>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Afar {
    /// Hosts that enroll and open their sessions to any of the addresses that they are told.
    pub(crate) async fn start(place: &Namespace, join: JoinString, count: usize) -> Self {
        let begin = async move || {
            let members = swarm::enroll_members(&join, count).await.expect("the swarm is let in");
            Swarm::start_members(members, AT_ONCE)
        };
        Self::run(place, begin).await
    }

    /// One that opens its sessions to this address alone.
    pub(crate) async fn start_at(place: &Namespace, address: SocketAddr, join: JoinString) -> Self {
        let begin = async move || {
            let identities = swarm::enroll(&join, 1).await.expect("it is let in");
            Swarm::start(address, &identities, AT_ONCE)
        };
        Self::run(place, begin).await
    }

    async fn run<F: AsyncFnOnce() -> Swarm + Send + 'static>(place: &Namespace, begin: F) -> Self {
        let ((stop, stopped), (tell, told)) = (oneshot::channel(), oneshot::channel());
        let thread = place.inside(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let swarm = begin().await;
                let _ = tell.send(Arc::clone(&swarm.counters));
                let _ = stopped.await; // its owner has gone, whichever way
                swarm.end().await;
            });
        });
        let counters = told.await.expect("the swarm is there");
        Self { counters, stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for Afar {
    fn drop(&mut self) {
        drop(self.stop.take());
        // The namespace is gone only when nobody is in it any more.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}
