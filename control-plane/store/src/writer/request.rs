//! One write that waits: a closure, its stamp, and where its answer goes.

use std::panic::{AssertUnwindSafe, catch_unwind};

use muster_domain::audit::Stamp;
use tokio::sync::oneshot;

use crate::{
    error::Error,
    store::Committed,
    tx::{Head, WriteTx},
};

/// A write of any kind.
pub(crate) struct Request {
    pub(crate) stamp: Stamp,
    work: Box<dyn Work>,
}

/// How a run ended that did not fail.
pub(crate) enum Ran {
    /// To be committed; where the numbered rows stand after it.
    Accepted(Head),
    /// To be rolled back: the closure said so.
    Refused,
}

/// How a call of the closure ended.
enum Called {
    Accepted,
    Refused,
    Panicked(String),
}

trait Work: Send {
    fn run(&mut self, tx: &mut WriteTx<'_>) -> Called;
    fn answer(self: Box<Self>, verdict: Result<u64, Error>);
}

struct Typed<T, E, F> {
    f: F,
    result: Option<Result<T, E>>,
    done: oneshot::Sender<Result<Committed<T>, E>>,
}

impl Request {
    pub(crate) fn new<T, E, F>(stamp: Stamp, f: F, done: oneshot::Sender<Result<Committed<T>, E>>) -> Self
    where
        F: Fn(&mut WriteTx<'_>) -> Result<T, E> + Send + 'static,
        E: From<Error> + Send + 'static,
        T: Send + 'static,
    {
        Self { stamp, work: Box::new(Typed { f, result: None, done }) }
    }

    /// Runs the closure on a transaction that `begin` makes of the stamp; its
    /// result is kept until the answer. Where the numbered rows stand after it.
    pub(crate) fn run<'a>(&'a mut self, begin: impl FnOnce(&'a Stamp) -> WriteTx<'a>) -> Result<Ran, Error> {
        let mut tx = begin(&self.stamp);
        match self.work.run(&mut tx) {
            Called::Accepted => tx.finish().map(Ran::Accepted),
            Called::Refused => Ok(Ran::Refused),
            Called::Panicked(what) => Err(Error::Panicked(what)),
        }
    }

    /// `Ok`: committed, and the revision. If the closure itself refused, its
    /// own error goes out instead.
    pub(crate) fn answer(self, verdict: Result<u64, Error>) {
        self.work.answer(verdict);
    }
}

impl<T, E, F> Work for Typed<T, E, F>
where
    F: Fn(&mut WriteTx<'_>) -> Result<T, E> + Send + 'static,
    E: From<Error> + Send + 'static,
    T: Send + 'static,
{
    fn run(&mut self, tx: &mut WriteTx<'_>) -> Called {
        // What a panic leaves half done is rolled back with the savepoint, and the result is not looked at.
        match catch_unwind(AssertUnwindSafe(|| (self.f)(tx))) {
            Ok(result) => {
                let called = if result.is_ok() { Called::Accepted } else { Called::Refused };
                self.result = Some(result);
                called
            }
            Err(panic) => Called::Panicked(panic_text(&*panic)),
        }
    }

    fn answer(self: Box<Self>, verdict: Result<u64, Error>) {
        let answer = match (verdict, self.result) {
            (Err(error), _) => Err(error.into()),
            (Ok(_), Some(Err(refused))) => Err(refused),
            (Ok(revision), Some(Ok(value))) => Ok(Committed { value, revision }),
            (Ok(_), None) => Err(Error::Incomplete.into()), // never run, never committed
        };
        // Nobody waits any more: the write holds all the same.
        let _ = self.done.send(answer);
    }
}

/// What a panic said.
pub(crate) fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
}
