//! Writes that wait: by lane, and in each in the order in which they came. Of every
//! commit each lane that waits has at least one place, so that none waits for ever.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use muster_common::clock::Instant;
use muster_domain::lane::Lane;
use parking_lot::{Condvar, Mutex};

use super::{Close, Request};
use crate::error::Error;

/// What both ends share.
#[derive(Default)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    more: Condvar,
    room: usize,
}

/// The end of those who hand in. Dropped: nothing comes any more.
pub(super) struct Entrance(Arc<Queue>);

/// The end of the one who writes. Dropped: nothing is taken any more.
pub(super) struct Exit(Arc<Queue>);

#[derive(Default)]
struct Waiting {
    lanes: [VecDeque<(Instant, Request)>; Lane::ALL.len()],
    count: usize,
    /// Nothing is taken in any more; what is there is still written.
    closing: bool,
    close: Option<Close>,
}

/// A queue with room for so many.
pub(super) fn queue(room: usize) -> (Entrance, Exit) {
    let queue = Arc::new(Queue { room: room.max(1), ..Queue::default() });
    (Entrance(Arc::clone(&queue)), Exit(queue))
}

impl Entrance {
    /// # Errors
    /// If there is no room for one more of this lane, or the writer has ended.
    pub(super) fn push(&self, lane: Lane, request: Request, now: Instant) -> Result<(), Error> {
        let mut waiting = self.0.waiting.lock();
        if waiting.closing {
            return Err(Error::Closed);
        }
        if waiting.count >= lane.room(self.0.room) {
            return Err(Error::Busy);
        }
        waiting.lanes[lane as usize].push_back((now, request));
        waiting.count += 1;
        drop(waiting);
        self.0.more.notify_one();
        Ok(())
    }

    /// How many wait, by lane.
    pub(super) fn waiting(&self) -> [(Lane, usize); Lane::ALL.len()] {
        let waiting = self.0.waiting.lock();
        Lane::ALL.map(|lane| (lane, waiting.lanes[lane as usize].len()))
    }

    /// How long the oldest has waited.
    pub(super) fn behind(&self, now: Instant) -> Duration {
        let waiting = self.0.waiting.lock();
        let oldest = waiting.lanes.iter().filter_map(VecDeque::front).map(|(since, _)| *since).min();
        oldest.map_or(Duration::ZERO, |since| now.saturating_duration_since(since))
    }

    /// What was pushed before is still written. A second close is dropped, and so answered.
    pub(super) fn close(&self, close: Close) {
        let mut waiting = self.0.waiting.lock();
        if !waiting.closing {
            (waiting.closing, waiting.close) = (true, Some(close));
        }
        drop(waiting);
        self.0.more.notify_one();
    }
}

impl Drop for Entrance {
    fn drop(&mut self) {
        self.0.waiting.lock().closing = true;
        self.0.more.notify_one();
    }
}

impl Exit {
    /// Waits for writes, and takes up to `limit`. Empty: nothing comes any more.
    pub(super) fn take(&self, limit: usize) -> Vec<Request> {
        let mut waiting = self.0.waiting.lock();
        while waiting.count == 0 && !waiting.closing {
            self.0.more.wait(&mut waiting);
        }
        waiting.take(limit)
    }

    /// Who asked for the end.
    pub(super) fn closed(&self) -> Option<Close> {
        self.0.waiting.lock().close.take()
    }
}

impl Drop for Exit {
    fn drop(&mut self) {
        let left =
            std::mem::replace(&mut *self.0.waiting.lock(), Waiting { closing: true, ..Waiting::default() });
        // Whoever still waits is told by this that nobody answers. Not under the lock: a
        // write may hold the last handle on the store.
        drop(left);
    }
}

impl Waiting {
    fn take(&mut self, limit: usize) -> Vec<Request> {
        let mut places = [0; Lane::ALL.len()];
        let mut left = limit.max(1);
        for most in [1, usize::MAX] {
            for (place, lane) in places.iter_mut().zip(&self.lanes) {
                let more = lane.len().min(most).saturating_sub(*place).min(left);
                *place += more;
                left -= more;
            }
        }
        let mut taken = Vec::with_capacity(places.iter().sum());
        for (place, lane) in places.into_iter().zip(&mut self.lanes) {
            taken.extend(lane.drain(..place).map(|(_, request)| request));
        }
        self.count -= taken.len();
        taken
    }
}

#[cfg(test)]
mod tests {
    use muster_common::clock::{Clock, UnixMillis};
    use muster_domain::audit::Stamp;
    use tokio::sync::oneshot;

    use super::*;

    fn request(action: &str) -> Request {
        let text = String::new;
        let (actor, action) = (text(), action.to_owned());
        let at = UnixMillis(0);
        let stamp = Stamp { actor, action, at, remote_address: text(), trace_id: text() };
        Request::new(stamp, |_| Ok::<_, Error>(()), oneshot::channel().0)
    }

    fn filled(room: usize, lanes: &[(Lane, usize)]) -> (Entrance, Exit) {
        let (entrance, exit) = queue(room);
        for (lane, count) in lanes {
            for number in 0..*count {
                let request = request(&format!("{}-{number}", lane.word()));
                entrance.push(*lane, request, Clock::System.monotonic()).unwrap();
            }
        }
        (entrance, exit)
    }

    fn taken(exit: &Exit, limit: usize) -> Vec<String> {
        exit.take(limit).into_iter().map(|request| request.stamp.action).collect()
    }

    #[test]
    fn the_first_lane_goes_first_and_none_waits_for_ever() {
        let (_entrance, exit) = filled(100, &[(Lane::Enrollment, 2), (Lane::Control, 4), (Lane::Brake, 1)]);
        assert_eq!(taken(&exit, 4), ["brake-0", "control-0", "control-1", "enrollment-0"]);
        assert_eq!(taken(&exit, 1), ["control-2"], "if there is only one place");
        assert_eq!(taken(&exit, 9), ["control-3", "enrollment-1"]);
    }

    #[test]
    fn when_it_fills_up_the_lowest_lane_is_turned_away_first() {
        let now = Clock::System.monotonic();
        let (entrance, _exit) = queue(32);
        let mut count = 0;
        for lane in Lane::ALL.into_iter().rev() {
            while entrance.push(lane, request(""), now).is_ok() {
                count += 1;
            }
            assert_eq!(count, lane.room(32), "{}", lane.word());
        }
        assert!(matches!(entrance.push(Lane::Brake, request(""), now), Err(Error::Busy)));
    }

    #[test]
    fn it_says_how_long_the_oldest_of_any_lane_waits() {
        let (entrance, exit) = queue(9);
        let start = Clock::System.monotonic();
        let second = Duration::from_secs(1);
        assert_eq!(entrance.behind(start), Duration::ZERO);
        entrance.push(Lane::Enrollment, request(""), start).unwrap();
        entrance.push(Lane::Control, request(""), start + second).unwrap();
        assert_eq!(entrance.behind(start + second * 3), second * 3);
        let waiting = entrance.waiting().map(|(_, count)| count);
        assert_eq!(waiting, [0, 1, 0, 0, 1], "one of control, one of enrollment");
        exit.take(9);
        assert_eq!(entrance.waiting().map(|(_, count)| count), [0; 5]);
        assert_eq!(
            entrance.behind(start + second * 3),
            Duration::ZERO,
            "what is being written waits no more"
        );
    }

    #[test]
    fn what_is_there_at_the_end_is_still_taken_and_nothing_after_it() {
        let (entrance, exit) = filled(9, &[(Lane::Control, 3)]);
        let (done, _answer) = oneshot::channel();
        entrance.close(Close { readers: Vec::new(), done });
        let refused = entrance.push(Lane::Brake, request(""), Clock::System.monotonic());
        assert!(matches!(refused, Err(Error::Closed)));
        assert_eq!((taken(&exit, 2).len(), taken(&exit, 2).len(), taken(&exit, 2).len()), (2, 1, 0));
        assert!(exit.closed().is_some());
        let (entrance, exit) = filled(9, &[(Lane::Control, 1)]);
        drop(entrance);
        assert_eq!((taken(&exit, 2).len(), taken(&exit, 2).len()), (1, 0));
    }

    #[test]
    fn who_waits_for_a_writer_that_is_gone_is_told() {
        let (entrance, exit) = queue(9);
        let (done, mut answer) = oneshot::channel::<Result<_, Error>>();
        let stamp = request("").stamp;
        entrance
            .push(Lane::Control, Request::new(stamp, |_| Ok::<_, Error>(()), done), Clock::System.monotonic())
            .unwrap();
        drop(exit);
        assert!(matches!(answer.try_recv(), Err(oneshot::error::TryRecvError::Closed)));
        let refused = entrance.push(Lane::Control, request(""), Clock::System.monotonic());
        assert!(matches!(refused, Err(Error::Closed)));
    }
}
