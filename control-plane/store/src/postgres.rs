//! PostgreSQL behind the engine's trait: a client of our own thread's, with limits
//! on every wait.
//!
//! Promises:
//! - What reads or writes goes to a server that takes writes; a connection that
//!   was lost is made anew by the next transaction.
//! - A commit that was not answered is recognised by the next transaction: every
//!   batch leaves its number in a row of its writer.
//! - No commit is answered before the server has done what its own settings ask
//!   for: the limit on statements does not cut a wait for a standby short.

use std::{sync::Arc, time::Duration};

use muster_common::ids::OperationId;
use tokio::{runtime::Runtime, sync::oneshot};

use crate::{
    dialect::{self, Dialect},
    engine::{Begin, Engine, Param, Row, Value, params},
    error::Error,
    options::{Options, Place},
    watcher::Watch,
};

mod fault;
mod link;
pub(crate) mod server;
mod types;

use fault::{Fault, judge};
use link::{Failed, Link};
use server::Server;

/// Above the server's own limit on a statement: it is the server that should say so.
const GRACE: Duration = Duration::from_secs(5);
/// For the schema, and for moving everything: as good as none.
const LONG: Duration = Duration::from_secs(24 * 3600);
/// The lock of those who change the schema.
const SCHEMA_LOCK: i64 = 0x4d55_5354;
/// Where commits are told, as a hint.
const CHANNEL: &str = "muster_feed";

/// One connection.
pub(crate) struct Postgres {
    server: Server,
    busy_timeout: Duration,
    statement_timeout: Duration,
    listens: bool,
    runtime: Arc<Runtime>,
    link: Option<Link>,
    open: Option<Begin>,
    interrupted: Option<Error>,
    /// By what this writer is known among all that ever were.
    writer: String,
    /// Of its last batch.
    batch: i64,
}

impl Postgres {
    /// A connection that is made when it is first used.
    pub(crate) fn new(options: &Options, server: &Server) -> Result<Self, Error> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Error::Open {
            place: Place::Server(Box::new(server.clone())),
            source: Arc::new(error),
        })?;
        Ok(Self {
            server: server.clone(),
            busy_timeout: options.busy_timeout,
            statement_timeout: options.statement_timeout,
            listens: false,
            runtime: Arc::new(runtime),
            link: None,
            open: None,
            interrupted: None,
            writer: OperationId::generate().to_string(),
            batch: 0,
        })
    }

    /// How long an answer may take.
    fn limit(&self) -> Duration {
        match self.open {
            Some(Begin::Schema) => LONG,
            _ => self.statement_timeout + self.busy_timeout + GRACE,
        }
    }

    /// The connection, if it is still there, or a new one.
    fn link(&mut self) -> Result<&mut Link, Error> {
        if !self.link.as_mut().is_some_and(Link::nudge) {
            self.link = None;
            self.link = Some(self.connect()?);
        }
        Ok(self.link.as_mut().expect("was made above"))
    }

    fn connect(&self) -> Result<Link, Error> {
        let unreachable = |failed| match judged(failed, "connect").into_error() {
            Error::Engine { source, .. } => Error::Unreachable(source),
            error => error,
        };
        let tls = self
            .server
            .tls()
            .map_err(|source| Error::Open { place: Place::Server(Box::new(self.server.clone())), source })?;
        let mut link = Link::connect(&self.runtime, &self.server, tls, self.server.connects_within())
            .map_err(unreachable)?;
        let limit = self.busy_timeout + GRACE;
        link.batch(&self.settings(), limit).map_err(unreachable)?;
        Ok(link)
    }

    /// Of the session. The server lets go of a peer that is gone, and of its locks, as soon as we do of a
    /// server. One that acknowledges before its own disk has it is asked to wait.
    fn settings(&self) -> String {
        let (lock, statement) = (self.busy_timeout.as_millis(), self.statement_timeout.as_millis());
        let idle = (self.statement_timeout * 2).as_millis();
        let listen = if self.listens { format!("LISTEN {CHANNEL};") } else { String::new() };
        format!(
            "SET lock_timeout = {lock}; SET statement_timeout = {statement}; \
             SET idle_in_transaction_session_timeout = {idle}; \
             SET tcp_keepalives_idle = 5; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 2; \
             SET tcp_user_timeout = 15000; \
             SET default_transaction_isolation = 'read committed'; SET client_min_messages = 'warning'; \
             SELECT set_config('synchronous_commit', 'on', false) \
             WHERE current_setting('synchronous_commit') = 'off'; {listen}"
        )
    }

    /// Asks the connection of the open transaction, or any if none is open.
    fn ask<T>(
        &mut self,
        doing: &str,
        work: impl FnOnce(&mut Link, Duration) -> Result<T, Failed>,
    ) -> Result<T, Error> {
        if let Some(error) = &self.interrupted {
            return Err(error.clone());
        }
        let limit = self.limit();
        let link = match (self.open, &mut self.link) {
            (Some(_), Some(link)) => link,
            _ => self.link()?,
        };
        work(link, limit).map_err(|failed| self.blame(judged(failed, doing)))
    }

    fn blame(&mut self, fault: Fault) -> Error {
        match fault {
            Fault::Statement(error) => error,
            Fault::Lost(error) => {
                (self.link, self.open) = (None, None);
                self.interrupted = Some(error.clone());
                error
            }
            Fault::Conflict(error) => {
                self.end();
                self.interrupted = Some(error.clone());
                error
            }
        }
    }

    /// Ends the open transaction without waiting for the server to say so.
    fn end(&mut self) {
        if let (Some(_), Some(link)) = (self.open.take(), &mut self.link) {
            link.forget();
            link.send("ROLLBACK");
            link.nudge();
        }
    }

    /// Nothing of other transactions waits behind one that failed.
    fn ahead(&mut self, sql: &str) -> Result<(), Error> {
        self.ask(sql, |link, _| {
            link.send(sql);
            Ok(())
        })
    }
}

impl Engine for Postgres {
    fn dialect(&self) -> &'static Dialect {
        &dialect::POSTGRES
    }

    fn execute(&mut self, sql: &str, params: &[Param<'_>]) -> Result<u64, Error> {
        let params = types::owned(params);
        self.ask(sql, |link, limit| link.execute(sql, params, limit))
    }

    fn put(&mut self, sql: &str, params: &[Param<'_>]) -> Result<(), Error> {
        let params = types::owned(params);
        self.ask(sql, |link, limit| link.put(sql, params, limit))
    }

    fn settle(&mut self) -> Result<(), Error> {
        if self.link.as_ref().is_some_and(Link::is_settled) {
            return Ok(());
        }
        self.ask("settle", Link::settle)
    }

    fn query(
        &mut self,
        sql: &str,
        params: &[Param<'_>],
        each: &mut dyn FnMut(Row) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let params = types::owned(params);
        let rows = self.ask(sql, |link, limit| link.query(sql, params, limit))?;
        for row in rows {
            let values =
                (0..row.len()).map(|column| row.try_get::<_, Value>(column)).collect::<Result<_, _>>();
            each(Row::new(values.map_err(|said| Error::engine(sql, Arc::new(said)))?))?;
        }
        Ok(())
    }

    fn batch(&mut self, sql: &str) -> Result<(), Error> {
        self.ask(sql, |link, limit| link.batch(sql, limit))
    }

    fn begin(&mut self, what: Begin) -> Result<(), Error> {
        self.interrupted = None;
        self.end();
        self.link()?;
        let sql = match what {
            Begin::Read => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY".to_owned(),
            Begin::Write => "BEGIN".to_owned(),
            Begin::Schema => format!(
                "BEGIN; SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0; \
                 SET LOCAL idle_in_transaction_session_timeout = 0; \
                 SELECT pg_advisory_xact_lock({SCHEMA_LOCK})"
            ),
        };
        self.open = Some(what);
        self.ahead(&sql)
    }

    fn commit(&mut self) -> Result<(), Error> {
        // What was sent ahead must have succeeded: COMMIT of a failed transaction looks like success.
        self.ask("COMMIT", Link::settle)?;
        // From here on it may come about though nobody hears of it.
        let done = self.ask("COMMIT", |link, limit| link.batch("COMMIT", limit));
        done.map_err(|error| match error {
            Error::Unreachable(cause) => Error::OutcomeUnknown(cause),
            error => error,
        })?;
        self.open = None;
        Ok(())
    }

    fn rollback(&mut self) -> Result<(), Error> {
        self.end();
        Ok(())
    }

    fn begin_one(&mut self) -> Result<(), Error> {
        self.ahead("SAVEPOINT one_write")
    }

    fn end_one(&mut self, keep: bool) -> Result<(), Error> {
        if keep {
            return self.ahead("RELEASE SAVEPOINT one_write");
        }
        if let Some(link) = &mut self.link {
            link.forget();
        }
        self.ahead("ROLLBACK TO SAVEPOINT one_write; RELEASE SAVEPOINT one_write")
    }

    fn publish(&mut self, moved: Option<(u64, u64)>) -> Result<(), Error> {
        self.batch += 1;
        let (writer, batch) = (&self.writer, self.batch);
        let feed = moved.map_or_else(String::new, |(revision, audit_place)| {
            format!("UPDATE feed SET revision = {revision}, audit_place = {audit_place}; ")
        });
        // The first statement fails in a transaction that failed, so that no COMMIT follows. Without its
        // own limit: a server that waits for a standby would take it for a wish not to wait.
        let sql = format!(
            "SET LOCAL statement_timeout = 0; {feed}\
             INSERT INTO store_writers (id, batch, at) VALUES ('{writer}', {batch}, now()) \
             ON CONFLICT (id) DO UPDATE SET batch = excluded.batch, at = excluded.at; COMMIT"
        );
        let hint = format!("NOTIFY {CHANNEL}");
        self.ask("COMMIT", |link, limit| match moved {
            Some(_) => link.batch_then(&sql, &hint, limit),
            None => link.batch(&sql, limit),
        })?;
        self.open = None;
        Ok(())
    }

    fn was_published(&mut self) -> Result<bool, Error> {
        let mut found = None;
        let writer = self.writer.clone();
        self.query("SELECT batch FROM store_writers WHERE id = $1", params![&writer], &mut |mut row| {
            found = Some(row.i64("batch")?);
            Ok(())
        })?;
        Ok(found == Some(self.batch))
    }

    /// That row locks were taken is in the log of the server behind that commit: who waits for a
    /// standby to have this has waited for that one, too. Without the limit, as above.
    fn confirm(&mut self) -> Result<(), Error> {
        self.ask("COMMIT", |link, limit| link.batch("SET LOCAL statement_timeout = 0; COMMIT", limit))?;
        self.open = None;
        Ok(())
    }

    fn in_transaction(&self) -> bool {
        self.open.is_some()
    }

    fn interrupted(&self) -> Option<Error> {
        self.interrupted.clone()
    }

    /// The server keeps what it has.
    fn close(&mut self) -> Result<(), Error> {
        Ok(())
    }
}

/// Hears of commits by notifications, which are hints: what is committed, the feed's row says.
pub(crate) struct Listener {
    engine: Postgres,
    seen: Option<u64>,
}

impl Listener {
    pub(crate) fn new(options: &Options, server: &Server) -> Result<Self, Error> {
        let engine = Postgres { listens: true, ..Postgres::new(options, server)? };
        Ok(Self { engine, seen: None })
    }
}

impl Watch for Listener {
    fn wait(&mut self, limit: Duration, stopped: &mut oneshot::Receiver<()>) {
        // One that is not there is tried again by the next look.
        let runtime = Arc::clone(&self.engine.runtime);
        match &mut self.engine.link {
            Some(link) => link.listen(async {
                let _ = tokio::time::timeout(limit, stopped).await;
            }),
            None => {
                let _ = runtime.block_on(async { tokio::time::timeout(limit, stopped).await });
            }
        }
    }

    fn look(&mut self) -> Result<Option<u64>, Error> {
        self.engine.interrupted = None;
        let mut revision = None;
        self.engine.query("SELECT revision FROM feed", &[], &mut |mut row| {
            revision = Some(row.u64("revision")?);
            Ok(())
        })?;
        let is_news = revision != self.seen;
        self.seen = revision;
        Ok(revision.filter(|_| is_news))
    }
}

fn judged(failed: Failed, doing: &str) -> Fault {
    match failed {
        Failed::Said(said) => judge(said, doing),
        Failed::Silent(after) => Fault::Lost(Error::Unreachable(Failed::silent(after))),
    }
}
