//! Schedules: operations that start by themselves, with the rights of their owners.

mod fire;
mod places;
mod times;

use std::time::Duration;

use bytes::Bytes;
use muster_common::{clock::UnixMillis, reason::Reason};
use muster_domain::{
    access::Scope,
    audit::Note,
    item::is_resource_name,
    page::{Listed, Page},
    schedule::{CATCH_UP, CATCH_UP_LIMITS, Cron, Fire, HOST, Outcome, Schedule, zone},
};
use muster_store::{ReadSchedules as _, WriteSchedules as _, WriteTx};
use serde_json::json;

pub use fire::Planned;
pub use times::Time;

use super::{Actor, App, Error, check_etag, operations, selectors};

/// Fires shown of one schedule.
const FIRES: u32 = 10;
/// Schedules read for one page: each may carry a script.
const READ: u32 = 50;

/// How a stored request becomes a wish.
pub type WishOf = fn(&[u8]) -> Result<operations::Wish, Error>;

/// What someone wants to start by itself.
#[derive(Debug, Clone)]
pub struct Wish {
    /// Name.
    pub name: String,
    /// The five fields of cron.
    pub cron: String,
    /// IANA name, or `host`.
    pub time_zone: String,
    /// The request that starts the operation.
    pub operation: Bytes,
    /// Nothing is started.
    pub paused: bool,
    /// `None`: the default.
    pub catch_up: Option<Duration>,
    /// Start also while the last one goes on.
    pub overlap: bool,
    /// Of the reading it was made from.
    pub etag: String,
}

/// A schedule as a caller sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// As stored.
    pub schedule: Schedule,
    /// When it starts next.
    pub next: Vec<Time>,
    /// What became of its last times, newest first.
    pub fires: Vec<Fire>,
}

impl View {
    /// Why nothing could be started the last time, if so.
    #[must_use]
    pub fn last_error(&self) -> &str {
        let refused = self.fires.first().filter(|fire| fire.outcome == Outcome::Refused);
        refused.map_or("", |fire| &fire.message)
    }
}

impl App {
    /// Makes a schedule, or answers the equal one that is there.
    ///
    /// # Errors
    /// If it cannot be, or its name is taken.
    pub async fn create_schedule(
        &self,
        actor: &Actor,
        wish: Wish,
        validate_only: bool,
    ) -> Result<View, Error> {
        let wished = self.check_schedule(actor, &wish).await?;
        let made = self.commit(actor.stamp("schedules.create", wished.created_at), move |tx| {
            match tx.schedule_get(&wished.name)? {
                Some(same) if is_equal(&same, &wished) => return Ok(same),
                Some(_) => {
                    let message = format!("schedule {:?} exists with other content", wished.name);
                    return Err(Error::refused(Reason::AlreadyExists, message));
                }
                None if validate_only => return Ok(wished.clone()),
                None => {}
            }
            put(tx, None, wished.clone())
        });
        Ok(self.planned(made.await?))
    }

    /// Replaces a schedule; its times of before are not made up for if they are others now.
    ///
    /// # Errors
    /// If it does not exist, is another's, was changed since it was read, or cannot be.
    pub async fn update_schedule(
        &self,
        actor: &Actor,
        wish: Wish,
        validate_only: bool,
    ) -> Result<View, Error> {
        let (wished, scope) = (self.check_schedule(actor, &wish).await?, actor.scope.clone());
        let app = self.clone();
        let after = self.commit(actor.stamp("schedules.update", wished.created_at), move |tx| {
            let before = app.own_schedule(tx, &scope, &wished.name)?;
            check_etag(&wish.etag, before.revision)?;
            if is_equal(&before, &wished) && before.owner == wished.owner {
                return Ok(before);
            }
            let same_times = before.cron == wished.cron
                && before.time_zone == wished.time_zone
                && !before.paused
                && !wished.paused;
            let after = Schedule {
                created_at: before.created_at,
                since: if same_times { before.since } else { wished.since },
                ..wished.clone()
            };
            if validate_only {
                return Ok(Schedule { revision: before.revision, ..after });
            }
            put(tx, Some(&before), after)
        });
        Ok(self.planned(after.await?))
    }

    /// One schedule.
    ///
    /// # Errors
    /// If it does not exist, for this scope.
    pub async fn schedule(&self, scope: &Scope, name: String) -> Result<View, Error> {
        let missing = Error::not_found("schedule", &name);
        let found = self
            .store
            .read(move |tx| Ok::<_, Error>((tx.schedule_get(&name)?, tx.schedule_fires(&name, FIRES)?)));
        let (schedule, fires) = found.await?;
        let schedule = schedule.filter(|schedule| self.shows(scope, schedule)).ok_or(missing)?;
        Ok(View { fires, ..self.planned(schedule) })
    }

    /// A page of schedules, without their times.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn schedules(&self, scope: &Scope, page: Page) -> Result<Listed<View>, Error> {
        let size = page.size.min(READ);
        let page = Page { size, ..page };
        let listed = self.store.read(move |tx| tx.schedule_list(&page).map_err(Error::from)).await?;
        let shown = listed.rows.into_iter().filter(|schedule| self.shows(scope, schedule));
        let bare = |schedule| View { schedule, next: Vec::new(), fires: Vec::new() };
        Ok(Listed { rows: shown.map(bare).collect(), next: listed.next })
    }

    /// Takes a schedule away; what it has started goes on.
    ///
    /// # Errors
    /// If it does not exist, is another's, or was changed since it was read.
    pub async fn delete_schedule(&self, actor: &Actor, name: String, etag: String) -> Result<(), Error> {
        let (app, scope) = (self.clone(), actor.scope.clone());
        self.commit(actor.stamp("schedules.delete", self.clock.now()), move |tx| {
            let before = app.own_schedule(tx, &scope, &name)?;
            check_etag(&etag, before.revision)?;
            tx.schedule_delete(&name)?;
            let subject = format!("schedule/{name}");
            tx.audit(Note { subject, before: shown(&before), ..Note::default() })?;
            Ok(())
        })
        .await
    }

    /// What would be stored, if it can be: also as an operation, by its owner, now.
    async fn check_schedule(&self, actor: &Actor, wish: &Wish) -> Result<Schedule, Error> {
        if !is_resource_name(&wish.name) {
            let message = format!("{:?} does not match [a-z0-9]([-a-z0-9]{{0,61}}[a-z0-9])?", wish.name);
            return Err(Error::invalid("schedule.name", message));
        }
        let cron: Cron =
            wish.cron.parse().map_err(|error| Error::invalid("schedule.cron", format!("{error}")))?;
        if wish.time_zone != HOST && zone(&wish.time_zone).is_none() {
            let message = format!("{:?} is neither \"host\" nor an IANA time zone", wish.time_zone);
            return Err(Error::invalid("schedule.time_zone", message));
        }
        let catch_up = wish.catch_up.unwrap_or(CATCH_UP);
        if !CATCH_UP_LIMITS.contains(&catch_up) {
            return Err(Error::invalid("schedule.catch_up", "it must be from 1 minute to 24 hours"));
        }
        let operation = operations::Wish { validate_only: true, ..(self.fixed.wish_of)(&wish.operation)? };
        self.start_operation(actor, operation).await.map_err(within)?;
        let now = self.clock.now();
        Ok(Schedule {
            name: wish.name.clone(),
            cron: cron.to_string(),
            time_zone: wish.time_zone.clone(),
            operation: wish.operation.to_vec(),
            paused: wish.paused,
            catch_up,
            overlap: wish.overlap,
            owner: actor.principal.clone(),
            created_at: now,
            updated_at: now,
            since: now,
            traceparent: actor.traceparent(),
            revision: 0,
        })
    }

    fn planned(&self, schedule: Schedule) -> View {
        View { next: self.next_times(&schedule, self.clock.now()), schedule, fires: Vec::new() }
    }

    /// A schedule that its caller may change: its own, or any with every node in scope. What
    /// it is not shown does not exist for it.
    fn own_schedule(&self, tx: &mut WriteTx<'_>, scope: &Scope, name: &str) -> Result<Schedule, Error> {
        let found = tx.schedule_get(name)?.filter(|schedule| self.shows(scope, schedule));
        let found = found.ok_or_else(|| Error::not_found("schedule", name))?;
        if found.owner == scope.principal || scope.is_whole() {
            return Ok(found);
        }
        let message = format!("schedule {name:?} belongs to {}", found.owner);
        Err(Error::refused(Reason::PermissionDenied, message))
    }

    /// Whether a caller is shown a schedule.
    fn shows(&self, scope: &Scope, schedule: &Schedule) -> bool {
        if scope.is_whole() || schedule.owner == scope.principal {
            return true;
        }
        let written = (self.fixed.wish_of)(&schedule.operation)
            .and_then(|wish| selectors::written("selector", &wish.selector));
        let selector =
            written.and_then(|it| selectors::resolved("selector", &it, &self.catalog.now().groups));
        selector.is_ok_and(|selector| self.fleet.count_matching(scope, &selector) > 0)
    }
}

fn put(tx: &mut WriteTx<'_>, before: Option<&Schedule>, after: Schedule) -> Result<Schedule, Error> {
    let after = Schedule { revision: tx.revision(), ..after };
    tx.schedule_put(&after)?;
    tx.audit(Note {
        subject: format!("schedule/{}", after.name),
        before: before.map_or_else(String::new, shown),
        after: shown(&after),
        denied: false,
    })?;
    Ok(after)
}

/// Whether both do the same, whoever wrote them when.
fn is_equal(one: &Schedule, other: &Schedule) -> bool {
    let timeless = |it: &Schedule| Schedule {
        owner: String::new(),
        created_at: UnixMillis(0),
        updated_at: UnixMillis(0),
        since: UnixMillis(0),
        traceparent: String::new(),
        revision: 0,
        ..it.clone()
    };
    timeless(one) == timeless(other)
}

fn shown(schedule: &Schedule) -> String {
    json!({
        "cron": schedule.cron,
        "time_zone": schedule.time_zone,
        "operation_sha256": muster_common::digest::Sha256::of(&schedule.operation),
        "paused": schedule.paused,
        "overlap": schedule.overlap,
        "owner": schedule.owner,
    })
    .to_string()
}

/// Names the field as it stands in the request.
fn within(error: Error) -> Error {
    match error {
        Error::Invalid { reason, field, message } => {
            Error::Invalid { reason, field: format!("schedule.operation.{field}"), message }
        }
        other => other,
    }
}
