//! One connection to a server, driven by the thread that uses it: nothing of it
//! runs between two calls.
//!
//! A statement whose answer nobody waits for is *sent ahead*: it goes out with
//! the next one, and costs no round trip of its own. The server runs them in the
//! order in which they were given; once one has failed in a transaction, all
//! that follow fail too, so nothing is built on what did not happen.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    future::poll_fn,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use futures_util::future::join;
use tokio::runtime::Runtime;
use tokio_postgres::{AsyncMessage, Client, Connection, Error as Said, Row, Socket, Statement, tls};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::server::Server;
use crate::{engine::Value, error::Cause};

/// Statements, and bytes of their parameters, that are sent ahead at most before answers are waited for.
const AHEAD: (usize, usize) = (512, 4 << 20);

type Stream = <MakeRustlsConnect as tls::MakeTlsConnect<Socket>>::Stream;
type Answer<T> = Pin<Box<dyn Future<Output = Result<T, Said>> + Send>>;

/// A connection.
pub(super) struct Link {
    client: Arc<Client>,
    wire: Wire,
    statements: HashMap<String, Statement>,
    ahead: VecDeque<Answer<()>>,
    /// Bytes in it.
    bytes: usize,
    /// Whether there is more in it than what begins and ends transactions and writes.
    has_put: bool,
}

/// Its end here.
struct Wire {
    runtime: Arc<Runtime>,
    /// None: it was closed.
    connection: Option<Connection<Socket, Stream>>,
    /// A notification came.
    heard: bool,
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Failed {
    /// The server or the connection says so.
    Said(Said),
    /// Nothing came for so long.
    Silent(Duration),
}

/// The server says nothing.
#[derive(Debug, thiserror::Error)]
#[error("the server said nothing for {} s", .0.as_secs())]
pub(super) struct Silent(Duration);

impl From<Said> for Failed {
    fn from(said: Said) -> Self {
        Self::Said(said)
    }
}

impl Failed {
    pub(super) fn silent(after: Duration) -> Cause {
        Arc::new(Silent(after))
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").finish_non_exhaustive()
    }
}

impl Link {
    /// Connects to the one of the server's addresses that takes writes.
    pub(super) fn connect(
        runtime: &Arc<Runtime>,
        server: &Server,
        tls: MakeRustlsConnect,
        limit: Duration,
    ) -> Result<Self, Failed> {
        let connected =
            runtime.block_on(async { tokio::time::timeout(limit, server.config().connect(tls)).await });
        let (client, connection) = connected.map_err(|_| Failed::Silent(limit))??;
        let wire = Wire { runtime: Arc::clone(runtime), connection: Some(connection), heard: false };
        Ok(Self {
            client: Arc::new(client),
            wire,
            statements: HashMap::new(),
            ahead: VecDeque::new(),
            bytes: 0,
            has_put: false,
        })
    }

    /// Sends statements, and waits for no answer.
    pub(super) fn send(&mut self, sql: &str) {
        let (client, sql) = (Arc::clone(&self.client), sql.to_owned());
        self.push(Box::pin(async move { client.batch_execute(&sql).await }));
    }

    /// Sends a statement, and waits for no answer.
    pub(super) fn put(&mut self, sql: &str, params: Vec<Value>, limit: Duration) -> Result<(), Failed> {
        let (client, statement) = (Arc::clone(&self.client), self.prepared(sql, limit)?);
        self.bytes += params.iter().map(size).sum::<usize>();
        self.push(Box::pin(async move { client.execute_raw(&statement, params).await.map(drop) }));
        self.has_put = true;
        if self.ahead.len() >= AHEAD.0 || self.bytes >= AHEAD.1 { self.settle(limit) } else { Ok(()) }
    }

    /// Waits for the answers to what was sent ahead.
    pub(super) fn settle(&mut self, limit: Duration) -> Result<(), Failed> {
        self.answered(Box::pin(async { Ok(()) }), limit)
    }

    /// Whether nothing was put since answers were last waited for.
    pub(super) const fn is_settled(&self) -> bool {
        !self.has_put
    }

    /// Lets go of the answers to what was sent ahead: what it did is being rolled back.
    pub(super) fn forget(&mut self) {
        self.ahead.clear();
        (self.has_put, self.bytes) = (false, 0);
    }

    /// Runs statements without parameters.
    pub(super) fn batch(&mut self, sql: &str, limit: Duration) -> Result<(), Failed> {
        let (client, sql) = (Arc::clone(&self.client), sql.to_owned());
        self.answered(Box::pin(async move { client.batch_execute(&sql).await }), limit)
    }

    /// Runs statements, and sends others behind them whose answer nobody needs.
    pub(super) fn batch_then(&mut self, sql: &str, after: &str, limit: Duration) -> Result<(), Failed> {
        let (client, sql) = (Arc::clone(&self.client), sql.to_owned());
        let mut first: Answer<()> = Box::pin(async move { client.batch_execute(&sql).await });
        let is_done = started(&mut first);
        let mut then = pin!(self.client.batch_execute(after));
        let _ = then.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        let Some(done) = is_done else {
            return Self::wait(&mut self.wire, &mut self.ahead, first, limit);
        };
        done.map_err(Failed::from)
    }

    /// Runs a statement; how many rows it touched.
    pub(super) fn execute(&mut self, sql: &str, params: Vec<Value>, limit: Duration) -> Result<u64, Failed> {
        let (client, statement) = (Arc::clone(&self.client), self.prepared(sql, limit)?);
        self.answered(Box::pin(async move { client.execute_raw(&statement, params).await }), limit)
    }

    /// Runs a query; its rows.
    pub(super) fn query(
        &mut self,
        sql: &str,
        params: Vec<Value>,
        limit: Duration,
    ) -> Result<Vec<Row>, Failed> {
        use futures_util::TryStreamExt as _;
        let (client, statement) = (Arc::clone(&self.client), self.prepared(sql, limit)?);
        let rows = async move { client.query_raw(&statement, params).await?.try_collect().await };
        self.answered(Box::pin(rows), limit)
    }

    /// Writes out what waits, reads what has come, and waits for neither.
    /// Whether the connection is still there.
    pub(super) fn nudge(&mut self) -> bool {
        let wire = &mut self.wire;
        let runtime = Arc::clone(&wire.runtime);
        runtime.block_on(async {
            // Lets the runtime hear of what came while nobody listened, a server's end above all.
            tokio::task::yield_now().await;
            poll_fn(|cx| {
                wire.poll(cx);
                Poll::Ready(())
            })
            .await;
        });
        wire.connection.is_some() && !self.client.is_closed()
    }

    /// Waits for a notification, or until something else happens.
    pub(super) fn listen<F: Future>(&mut self, until: F) {
        let wire = &mut self.wire;
        let runtime = Arc::clone(&wire.runtime);
        let mut until = pin!(until);
        runtime.block_on(poll_fn(|cx| {
            wire.poll(cx);
            let is_over = until.as_mut().poll(cx).is_ready();
            if is_over || wire.heard || wire.connection.is_none() { Poll::Ready(()) } else { Poll::Pending }
        }));
        wire.heard = false;
    }

    fn push(&mut self, mut statement: Answer<()>) {
        if let Some(done) = started(&mut statement) {
            statement = Box::pin(async move { done });
        }
        self.ahead.push_back(statement);
    }

    /// Statements stay prepared for as long as the connection lives.
    fn prepared(&mut self, sql: &str, limit: Duration) -> Result<Statement, Failed> {
        if let Some(statement) = self.statements.get(sql) {
            return Ok(statement.clone());
        }
        let (client, text) = (Arc::clone(&self.client), sql.to_owned());
        let statement = self.answered(Box::pin(async move { client.prepare(&text).await }), limit)?;
        self.statements.insert(sql.to_owned(), statement.clone());
        Ok(statement)
    }

    /// Sends a statement and waits for its answer, and for those to what was sent ahead.
    fn answered<T: Send + 'static>(
        &mut self,
        mut statement: Answer<T>,
        limit: Duration,
    ) -> Result<T, Failed> {
        if let Some(done) = started(&mut statement) {
            statement = Box::pin(async move { done });
        }
        (self.has_put, self.bytes) = (false, 0);
        Self::wait(&mut self.wire, &mut self.ahead, statement, limit)
    }

    fn wait<T>(
        wire: &mut Wire,
        ahead: &mut VecDeque<Answer<()>>,
        statement: Answer<T>,
        limit: Duration,
    ) -> Result<T, Failed> {
        let before = async {
            let mut first = Ok(());
            while let Some(answer) = ahead.pop_front() {
                first = first.and(answer.await);
            }
            first
        };
        let (before, answer) = wire.drive(join(before, statement), limit)?;
        before?;
        Ok(answer?)
    }
}

impl Wire {
    /// Drives the connection until the work is done.
    fn drive<F: Future>(&mut self, work: F, limit: Duration) -> Result<F::Output, Failed> {
        let runtime = Arc::clone(&self.runtime);
        let mut work = pin!(work);
        let driven = poll_fn(|cx| {
            // First what came; then what comes of it; then what that wants to send.
            self.poll(cx);
            let done = work.as_mut().poll(cx);
            if done.is_pending() {
                self.poll(cx);
            }
            done
        });
        runtime
            .block_on(async { tokio::time::timeout(limit, driven).await })
            .map_err(|_| Failed::Silent(limit))
    }

    fn poll(&mut self, cx: &mut Context<'_>) {
        while let Some(connection) = &mut self.connection {
            match connection.poll_message(cx) {
                Poll::Pending => return,
                Poll::Ready(Some(Ok(AsyncMessage::Notification(_)))) => self.heard = true,
                Poll::Ready(Some(Ok(_))) => {}
                // Whoever waits for an answer is told that it is closed.
                Poll::Ready(Some(Err(error))) => {
                    tracing::debug!(%error, "a connection to the database ended");
                    self.connection = None;
                }
                Poll::Ready(None) => self.connection = None,
            }
        }
    }
}

const fn size(value: &Value) -> usize {
    match value {
        Value::Null | Value::Int(_) => 8,
        Value::Text(text) => text.len(),
        Value::Blob(bytes) => bytes.len(),
    }
}

/// Gives a statement to the connection, which is done by its first poll; its answer, if there is one already.
fn started<T>(statement: &mut Answer<T>) -> Option<Result<T, Said>> {
    match statement.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(done) => Some(done),
        Poll::Pending => None,
    }
}
