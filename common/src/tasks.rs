//! Background tasks with a name and a kind: who dies quietly, and who takes the
//! process along.

use std::{
    cell::Cell,
    collections::HashMap,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use parking_lot::Mutex;
use tokio::{sync::watch, task::AbortHandle};
use tokio_util::task::{TaskTracker, task_tracker::TaskTrackerWaitFuture};

/// What the end of a task means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The process cannot go on without it: its end, unless the process is
    /// draining, or its panic ends the process.
    Fatal,
    /// Its end is normal; a panic is logged and harms nobody else.
    BestEffort,
}

/// A task whose end the process cannot survive.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("task {name} {how}")]
pub struct Fatal {
    name: &'static str,
    how: &'static str,
}

/// All tasks of a process. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Tasks {
    tracker: TaskTracker,
    fatal: Arc<watch::Sender<Option<Fatal>>>,
    running: Arc<Mutex<Running>>,
}

/// Tasks that have not ended. `None`: it is just being started.
#[derive(Debug, Default)]
struct Running {
    last: u64,
    aborts: HashMap<u64, Option<AbortHandle>>,
}

impl Running {
    fn begin(&mut self) -> u64 {
        self.last += 1;
        self.aborts.insert(self.last, None);
        self.last
    }
}

impl Default for Tasks {
    fn default() -> Self {
        Self {
            tracker: TaskTracker::new(),
            fatal: Arc::new(watch::Sender::new(None)),
            running: Arc::default(),
        }
    }
}

impl Tasks {
    /// Starts a task.
    pub fn spawn<F>(&self, name: &'static str, kind: Kind, task: F) -> AbortHandle
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let fatal = Arc::clone(&self.fatal);
        let tracker = self.tracker.clone();
        let ours = Arc::clone(&self.running);
        let number = self.running.lock().begin();
        #[allow(clippy::disallowed_methods)] // the one place
        let handle = self.tracker.spawn(Guarded {
            task,
            guard: Guard { name, kind, fatal, tracker, running: ours, number, done: false },
        });
        let abort = handle.abort_handle();
        // Not held while it was spawned: when the runtime is ending, a task ends within that call.
        if let Some(place) = self.running.lock().aborts.get_mut(&number) {
            *place = Some(abort.clone());
        }
        abort
    }

    /// Waits until a fatal task has ended; for the main function's `select!`.
    pub async fn failed(&self) -> Fatal {
        let mut fatal = self.fatal.subscribe();
        match fatal.wait_for(Option::is_some).await {
            Ok(found) => found.clone().unwrap_or(Fatal { name: "?", how: "ended" }),
            Err(_) => std::future::pending().await, // we hold a sender: cannot happen
        }
    }

    /// No more news of fatal ends; from now on ending is what tasks should do.
    pub fn close(&self) {
        self.tracker.close();
    }

    /// Waits until all tasks have ended. Call `close` before.
    pub fn ended(&self) -> TaskTrackerWaitFuture<'_> {
        self.tracker.wait()
    }

    /// Ends all tasks where they are.
    pub fn abort_all(&self) {
        let running: Vec<_> = self.running.lock().aborts.values().flatten().cloned().collect();
        running.iter().for_each(AbortHandle::abort);
    }
}

thread_local! {
    static IN_PLACE: Cell<bool> = const { Cell::new(false) };
}

/// From now on, what this thread's tasks wait for the disk with is done by this thread:
/// a model tells the same story again only if no other thread has a say in it.
pub fn block_in_place() {
    IN_PLACE.set(true);
}

/// Does work that waits for the disk, on a thread where that holds nobody up.
/// Its panic is the caller's.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    if IN_PLACE.get() {
        let done = work();
        // Others get their turn all the same, and whoever waits may be ended meanwhile.
        tokio::task::yield_now().await;
        return done;
    }
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => std::future::pending().await, // the runtime is ending, and this task with it
        },
    }
}

pin_project_lite::pin_project! {
    /// A task and what tells of its end. Not an async block, which would keep
    /// room for the task twice: as it was given and as it is awaited.
    struct Guarded<F> {
        // Dropped first: its panic while it is dropped is the task's too.
        #[pin]
        task: F,
        guard: Guard,
    }
}

impl<F: Future<Output = ()>> Future for Guarded<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        std::task::ready!(this.task.poll(context));
        this.guard.done = true;
        Poll::Ready(())
    }
}

struct Guard {
    name: &'static str,
    kind: Kind,
    fatal: Arc<watch::Sender<Option<Fatal>>>,
    tracker: TaskTracker,
    running: Arc<Mutex<Running>>,
    number: u64,
    done: bool,
}

impl Drop for Guard {
    fn drop(&mut self) {
        let how = if self.done {
            "ended"
        } else if std::thread::panicking() {
            "panicked"
        } else {
            "was stopped"
        };
        self.running.lock().aborts.remove(&self.number);
        let name = self.name;
        if how == "panicked" {
            tracing::error!(task = name, "task {name} panicked");
        }
        if self.kind == Kind::Fatal && !self.tracker.is_closed() {
            self.fatal.send_if_modified(|fatal| {
                fatal.is_none() && {
                    *fatal = Some(Fatal { name, how });
                    true
                }
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_in_a_fatal_task_is_told_and_in_another_is_not() {
        let tasks = Tasks::default();
        tasks.spawn("calm", Kind::BestEffort, async { panic!("on purpose") });
        tasks.spawn("grave", Kind::Fatal, async { panic!("on purpose") });
        let fatal = tasks.failed().await;
        assert_eq!(fatal.to_string(), "task grave panicked");
    }

    #[tokio::test]
    async fn every_task_can_be_ended_and_those_that_ended_are_not_kept() {
        let tasks = Tasks::default();
        tasks.spawn("long", Kind::BestEffort, std::future::pending());
        let (done, ended) = tokio::sync::oneshot::channel::<()>();
        tasks.spawn("short", Kind::BestEffort, async move { drop(done) });
        assert!(ended.await.is_err());
        while tasks.running.lock().aborts.len() > 1 {
            tokio::task::yield_now().await;
        }
        tasks.close();
        tasks.abort_all();
        tasks.ended().await;
    }

    #[test]
    fn a_task_that_comes_while_the_runtime_ends_holds_nobody_up() {
        struct Late(Tasks);
        impl Drop for Late {
            fn drop(&mut self) {
                self.0.spawn("late", Kind::BestEffort, std::future::pending());
            }
        }
        let tasks = Tasks::default();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let late = Late(tasks.clone());
        runtime.block_on(async {
            tasks.spawn("first", Kind::BestEffort, async move {
                let _late = late;
                std::future::pending::<()>().await;
            });
            tokio::task::yield_now().await;
        });
        drop(runtime);
        assert!(tasks.running.lock().aborts.is_empty());
    }

    #[tokio::test]
    async fn after_close_ending_is_no_failure() {
        let tasks = Tasks::default();
        tasks.spawn("long", Kind::Fatal, std::future::pending());
        tasks.close();
        tasks.abort_all();
        tasks.ended().await;
        assert!(tasks.fatal.borrow().is_none());
    }
}
