//! The way between one host and the control plane: what is under way in both
//! directions, in the bytes' own types, and what may happen to it there.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use futures_util::Stream;
use muster_control_plane::{
    api,
    session::frames::{Inbound as Heard, Refusal},
};
use muster_node_agent::session::{
    frames::{Inbound, Outbound},
    transport::{Error, Link, Transport},
    wire,
};
use muster_proto::agent::v1::{self as pb, session_request, session_response};
use tokio::sync::watch;

/// A host's network, as it knows it: it may open a stream when it is let.
#[derive(Clone)]
pub(crate) struct Network(Arc<watch::Sender<Leave>>);

/// Who may open a stream.
#[derive(Debug, Clone, Default)]
struct Leave {
    /// Leave that nobody has used yet.
    given: bool,
    /// The newest stream that was opened.
    opened: Option<Stretch>,
}

/// One stream. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stretch(Arc<Mutex<Under>>);

/// What is under way.
#[derive(Debug, Default)]
pub(crate) struct Under {
    /// The host said it.
    pub(crate) up: VecDeque<pb::SessionRequest>,
    /// It came to the control plane.
    arrived_up: VecDeque<pb::SessionRequest>,
    /// The control plane said it.
    pub(crate) down: VecDeque<pb::SessionResponse>,
    /// It came to the host.
    arrived_down: VecDeque<pb::SessionResponse>,
    /// The host's end has broken.
    cut_down: bool,
    /// The control plane's end has.
    cut_up: bool,
    waker: Option<Waker>,
}

impl Stretch {
    pub(crate) fn under(&self) -> MutexGuard<'_, Under> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets some of what the host said arrive.
    pub(crate) fn carry_up(&self, count: usize) {
        let mut under = self.under();
        let count = count.min(under.up.len());
        let some: Vec<_> = under.up.drain(..count).collect();
        under.arrived_up.extend(some);
    }

    /// Lets some of what the control plane said arrive.
    pub(crate) fn carry_down(&self, count: usize) {
        let mut under = self.under();
        let count = count.min(under.down.len());
        let some: Vec<_> = under.down.drain(..count).collect();
        under.arrived_down.extend(some);
        if let Some(waker) = under.waker.take() {
            waker.wake();
        }
    }

    /// Whether the control plane has all that has arrived there.
    pub(crate) fn is_read(&self) -> bool {
        self.under().arrived_up.is_empty()
    }

    /// It breaks: what is under way is lost. The control plane may notice later.
    pub(crate) fn cut(&self, both: bool) {
        let mut under = self.under();
        under.up.clear();
        under.down.clear();
        under.cut_down = true;
        under.cut_up |= both;
        if let Some(waker) = under.waker.take() {
            waker.wake();
        }
    }

    pub(crate) fn is_cut(&self) -> bool {
        self.under().cut_down
    }
}

/// Where a lost, repeated or overtaking message can do harm: orders and what is said of them.
pub(crate) fn is_of_commands_up(message: &pb::SessionRequest) -> bool {
    matches!(message.kind, Some(session_request::Kind::Command(_)))
}

pub(crate) fn is_of_commands_down(message: &pb::SessionResponse) -> bool {
    use session_response::Kind;
    matches!(message.kind, Some(Kind::Command(_) | Kind::Cancel(_) | Kind::Ack(_)))
}

/// Loses, repeats or swaps one of the messages that match.
pub(crate) fn disturb<T: Clone>(
    queue: &mut VecDeque<T>,
    matches: impl Fn(&T) -> bool,
    dice: u32,
) -> Option<&'static str> {
    let places: Vec<usize> = (0..queue.len()).filter(|n| matches(&queue[*n])).collect();
    let place = *places.get(dice as usize / 3 % places.len().max(1))?;
    match dice % 3 {
        0 => {
            queue.remove(place);
            Some("lost")
        }
        1 => {
            let again = queue[place].clone();
            queue.push_back(again);
            Some("repeated")
        }
        _ => {
            let other = *places.last()?;
            queue.swap(place, other);
            Some("overtaken")
        }
    }
}

impl Network {
    pub(crate) fn new() -> Self {
        Self(Arc::new(watch::Sender::new(Leave::default())))
    }

    /// Lets the host open a stream.
    pub(crate) fn open(&self) {
        self.0.send_modify(|leave| leave.given = true);
    }

    /// The stream that was opened since the last call.
    pub(crate) fn opened(&self) -> Option<Stretch> {
        let mut opened = None;
        self.0.send_if_modified(|leave| {
            opened = leave.opened.take();
            false
        });
        opened
    }

    /// No stream is opened for now.
    pub(crate) fn close(&self) {
        self.0.send_modify(|leave| leave.given = false);
    }
}

impl Transport for Network {
    type Link = Stretch;

    async fn open(&mut self, _: &str, hello: Outbound) -> Result<Stretch, Error> {
        let mut leave = self.0.subscribe();
        // The sender lives in self: the waiting itself cannot fail.
        let _ = leave.wait_for(|leave| leave.given).await;
        let stretch = Stretch::default();
        stretch.under().up.push_back(wire::outbound(hello));
        self.0.send_modify(|leave| {
            leave.given = false;
            leave.opened = Some(stretch.clone());
        });
        Ok(stretch)
    }
}

impl Link for Stretch {
    async fn send(&mut self, message: Outbound) -> Result<(), Error> {
        let mut under = self.under();
        if under.cut_down {
            return Err(Error::Closed);
        }
        // Nothing of commands hangs on heartbeats arriving, and their moment is a matter of chance.
        if !matches!(message, Outbound::Heartbeat(_)) {
            under.up.push_back(wire::outbound(message));
        }
        Ok(())
    }

    async fn next(&mut self) -> Result<Inbound, Error> {
        std::future::poll_fn(|context| {
            let mut under = self.under();
            if under.cut_down {
                return Poll::Ready(Err(Error::Closed));
            }
            if let Some(message) = under.arrived_down.pop_front() {
                return Poll::Ready(Ok(wire::inbound(message)));
            }
            under.waker = Some(context.waker().clone());
            Poll::Pending
        })
        .await
    }

    async fn finish(self) {}
}

/// The control plane's end of a stream. It is looked at again whenever something has arrived.
pub(crate) struct Arriving(pub(crate) Stretch);

impl Stream for Arriving {
    type Item = Result<Heard, Refusal>;

    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut under = self.0.under();
        match under.arrived_up.pop_front() {
            Some(message) => Poll::Ready(Some(api::session_inbound(message))),
            None if under.cut_up => Poll::Ready(None),
            None => Poll::Pending,
        }
    }
}
