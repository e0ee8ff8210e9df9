//! Watches of each caller. A watch holds memory for as long as it is open, so
//! a rate does not bound it.

use std::{
    collections::HashMap,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use parking_lot::Mutex;
use tonic::{Status, body::Body};

/// Open watches of all callers. Cheap to clone. Bounded by the streams.
#[derive(Debug, Clone)]
pub struct Watches {
    open: Arc<Mutex<HashMap<String, usize>>>,
    most: usize,
}

/// One of them; given back when dropped.
#[derive(Debug)]
pub struct Watching {
    watches: Watches,
    caller: String,
}

/// The body of a watch's answer, which lives as long as the watch.
struct Held {
    body: Body,
    _watching: Watching,
}

impl Watches {
    /// At most so many for each caller.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self { open: Arc::default(), most }
    }

    /// One more, if the caller has room.
    #[must_use]
    pub fn open(&self, caller: &str) -> Option<Watching> {
        let mut all = self.open.lock();
        let count = all.entry(caller.to_owned()).or_default();
        if *count >= self.most {
            if *count == 0 {
                all.remove(caller);
            }
            return None;
        }
        *count += 1;
        Some(Watching { watches: self.clone(), caller: caller.to_owned() })
    }
}

impl Watching {
    /// Ties the place to the answer.
    pub(super) fn hold(self, body: Body) -> Body {
        Body::new(Held { body, _watching: self })
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let mut all = self.watches.open.lock();
        if let Some(count) = all.get_mut(&self.caller) {
            *count -= 1;
            if *count == 0 {
                all.remove(&self.caller);
            }
        }
    }
}

impl http_body::Body for Held {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_callers_watches_take_no_place_of_anothers() {
        let watches = Watches::new(2);
        let held = (watches.open("a").unwrap(), watches.open("a").unwrap());
        assert!(watches.open("a").is_none());
        assert!(watches.open("b").is_some());
        let body = held.0.hold(Body::new(http_body_util::Full::new(Bytes::from_static(b"news"))));
        assert!(watches.open("a").is_none(), "the answer holds the place");
        drop(body);
        assert!(watches.open("a").is_some());
        drop(held.1);
        assert!(watches.open.lock().is_empty());
    }
}
