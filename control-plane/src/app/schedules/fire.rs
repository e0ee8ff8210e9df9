//! Starting what is due, once.
//!
//! A time is done with in the same write that starts its operation, and only if it was
//! not before: whoever crashes, and however many look at it, it starts one.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use muster_common::{
    clock::UnixMillis, crash, digest::Sha256, error_chain::Chain, ids::OperationId, reason::Reason,
    tls::spiffe::Principal, trace::Context,
};
use muster_domain::{
    access::{Asked, Permission, Scope},
    audit::Note,
    operation::DELIVER_WITHIN,
    schedule::{Cron, Due, Fire, HOST, Outcome, Schedule, due},
};
use muster_store::{ReadOperations as _, ReadSchedules as _, SchedulePlace, WriteSchedules as _, WriteTx};
use serde_json::json;

use super::times::{Clock, Zones};
use crate::{
    app::{Actor, App, Error, operations, selectors},
    traces::{self, Kind, Value},
};

/// So long before its next time is over what nobody has got of this one.
const BEFORE_NEXT: Duration = Duration::from_secs(60);

/// What one replica knows of all schedules: nothing that decides, only what spares reading.
#[derive(Debug, Default)]
pub struct Planned {
    /// Of what is known; `None`: nothing is.
    mark: Option<(u64, u64)>,
    pub(super) schedules: Vec<(Schedule, Option<Cron>)>,
    pub(super) places: HashMap<(String, String), SchedulePlace>,
    /// Nothing is due before.
    next: HashMap<(String, String), Option<UnixMillis>>,
}

/// One time that has come.
#[derive(Debug, Clone)]
struct Task {
    schedule: Schedule,
    zone: String,
    at: UnixMillis,
    /// The one after it.
    next: Option<UnixMillis>,
    /// What was started last.
    last: Option<OperationId>,
    selector: String,
}

impl Planned {
    /// All is read again.
    pub(super) const fn forget(&mut self) {
        self.mark = None;
    }
}

impl App {
    /// Starts what is due. What fails keeps nothing else from its time.
    ///
    /// # Errors
    /// The first, if the store fails; what was not started is due still.
    pub async fn run_schedules(&self, planned: &mut Planned) -> Result<(), Error> {
        self.read_schedules(planned).await?;
        if planned.schedules.iter().all(|(schedule, _)| schedule.paused) {
            return Ok(());
        }
        let is_host = |(schedule, _): &(Schedule, _)| schedule.time_zone == HOST;
        let zones = if planned.schedules.iter().any(is_host) { self.zones() } else { Zones::default() };
        let mut failed = self.keep_places(planned, &zones).await.err();
        let mut moved = false;
        for (schedule, cron) in &planned.schedules {
            let (false, Some(cron)) = (schedule.paused, cron) else { continue };
            for clock in zones.clocks(schedule) {
                let key = (schedule.name.clone(), clock.name.clone());
                let place = planned.places.get(&key);
                if place.is_none() && schedule.time_zone == HOST {
                    continue; // where it begins could not be written down
                }
                let done = match self.due(schedule, cron, &clock, place, planned.next.get(&key)) {
                    Due::Later(next) => {
                        planned.next.insert(key, next);
                        continue;
                    }
                    Due::Missed { at, until } => {
                        let message = "no control plane was there in time".to_owned();
                        let missed = fire(schedule, &clock.name, at, Outcome::Missed, message);
                        self.skip(&missed, until).await.map(drop)
                    }
                    Due::Now(at) => {
                        let selector = match (self.fixed.wish_of)(&schedule.operation) {
                            Ok(wish) => zones.selector(schedule, &wish.selector, &clock.name),
                            Err(_) => String::new(),
                        };
                        let (last, next) = (place.and_then(|it| it.operation), cron.next(&clock.zone, at));
                        let (schedule, zone) = (schedule.clone(), clock.name);
                        self.fire(Task { schedule, zone, at, next, last, selector }).await
                    }
                };
                moved = true;
                failed = failed.or(done.err());
            }
        }
        if moved {
            planned.forget();
        }
        failed.map_or(Ok(()), Err)
    }

    pub(super) async fn read_schedules(&self, planned: &mut Planned) -> Result<(), Error> {
        let known = planned.mark;
        let read = self.store.read(move |tx| {
            let mark = tx.schedule_mark()?;
            if Some(mark) == known {
                return Ok::<_, Error>(None);
            }
            Ok(Some((mark, tx.schedule_all()?, tx.schedule_place_all()?)))
        });
        let Some((mark, schedules, places)) = read.await? else { return Ok(()) };
        let with_cron = |schedule: Schedule| {
            let cron = schedule.cron.parse().ok();
            (schedule, cron)
        };
        *planned = Planned {
            mark: Some(mark),
            schedules: schedules.into_iter().map(with_cron).collect(),
            places: places.into_iter().map(|it| ((it.schedule.clone(), it.zone.clone()), it)).collect(),
            next: HashMap::new(),
        };
        Ok(())
    }

    fn due(
        &self,
        schedule: &Schedule,
        cron: &Cron,
        clock: &Clock,
        place: Option<&SchedulePlace>,
        next: Option<&Option<UnixMillis>>,
    ) -> Due {
        let now = self.clock.now();
        match next {
            Some(next) if next.is_none_or(|at| at > now) => Due::Later(*next),
            _ => {
                let since = place.map_or(schedule.since, |place| place.until.max(schedule.since));
                due(cron, &clock.zone, since, now, schedule.catch_up)
            }
        }
    }

    /// Starts the operation of a time, or writes down why not.
    async fn fire(&self, task: Task) -> Result<(), Error> {
        let at = task.at;
        let skipped = |outcome, message| fire(&task.schedule, &task.zone, at, outcome, message);
        if !task.schedule.overlap
            && let Some(last) = self.still_running(task.last).await?
        {
            let message = format!("operation {last} has not ended");
            return self.skip(&skipped(Outcome::Overlapped, message), at).await.map(drop);
        }
        let stale = Arc::new(AtomicBool::new(false));
        match self.start_scheduled(task.clone(), Arc::clone(&stale)).await {
            Ok(Some(operation)) => {
                crash::point("app.schedule.started");
                let (name, zone) = (&task.schedule.name, &task.zone);
                tracing::info!(schedule = name, zone, %operation, "schedule {name} started operation {operation}");
                Ok(())
            }
            Ok(None) => {
                self.skip(&skipped(Outcome::NoNodes, "no node matches".to_owned()), at).await.map(drop)
            }
            // Another was faster, or it was changed meanwhile: the next look tells.
            Err(_) if stale.load(Ordering::Relaxed) => Ok(()),
            Err(error) if is_passing(&error) => Err(error),
            Err(error) => {
                let (name, message) = (&task.schedule.name, Chain(&error).to_string());
                if self.skip(&skipped(Outcome::Refused, message.clone()), at).await? {
                    tracing::warn!(
                        schedule = name,
                        error = message,
                        "schedule {name} could not start its operation"
                    );
                }
                Ok(())
            }
        }
    }

    async fn still_running(&self, last: Option<OperationId>) -> Result<Option<OperationId>, Error> {
        let Some(id) = last else { return Ok(None) };
        let found = self.store.read(move |tx| tx.operation_get(id).map_err(Error::from)).await?;
        Ok(found.filter(|operation| operation.ended_at.is_none()).map(|operation| operation.id))
    }

    /// With the rights that its owner has now. `None`: there is no node for it.
    async fn start_scheduled(
        &self,
        task: Task,
        stale: Arc<AtomicBool>,
    ) -> Result<Option<OperationId>, Error> {
        let schedule = &task.schedule;
        let owner = self.owner(schedule)?;
        let template = (self.fixed.wish_of)(&schedule.operation)?;
        let within = template.deliver_within.unwrap_or_else(|| until_next(task.next, self.clock.now()));
        let wish = operations::Wish {
            selector: task.selector.clone(),
            request_id: request_id(&task),
            schedule: schedule.name.clone(),
            deliver_within: Some(within),
            ..template
        };
        let written = selectors::written("selector", &wish.selector)?;
        let selector = selectors::resolved("selector", &written, &self.catalog.now().groups)?;
        if self.fleet.count_matching(&owner.scope, &selector) == 0 {
            return Ok(None);
        }
        let (trace, begun) = self.traces.call(None);
        // Each start is a trace of its own: the call that made the schedule may be years ago.
        let mut about = vec![("muster.schedule", Value::Text(schedule.name.clone()))];
        about.extend(Context::sampled(&schedule.traceparent).map(|made| ("made", Value::Link(made))));
        let actor = Actor { trace_id: trace.to_string(), traced: begun.map(|begun| begun.at), ..owner };
        let also = move |tx: &mut WriteTx<'_>, operation: OperationId| {
            settle_started(tx, &task, operation).inspect_err(|_| stale.store(true, Ordering::Relaxed))
        };
        let start = self.start_operation_and(&actor, wish, also);
        let Some(begun) = begun else { return Ok(Some(start.await?.0.id)) };
        let part = self.traces.part(begun, "schedule run".to_owned(), Kind::Internal, about);
        let started = traces::within(part.at(), start).await.map(|(operation, _)| operation.id);
        let more = started.as_ref().ok().map(|id| ("muster.operation.id", Value::Text(id.to_string())));
        part.end(if started.is_err() { "refused" } else { "" }, Vec::from_iter(more));
        Ok(Some(started?))
    }

    fn owner(&self, schedule: &Schedule) -> Result<Actor, Error> {
        let owner = &schedule.owner;
        let scope = self.scope_of(owner).map_err(|reason| {
            Error::refused(
                reason,
                format!("{owner}, who owns the schedule, may not start operations any more"),
            )
        })?;
        let (principal, remote_address, trace_id) = (owner.clone(), String::new(), String::new());
        Ok(Actor { principal, scope, remote_address, trace_id, traced: None })
    }

    /// On which nodes a principal may start operations now, without a call of its own.
    fn scope_of(&self, principal: &str) -> Result<Scope, Reason> {
        let serial = self.access.serial(principal).ok_or(Reason::PermissionDenied)?;
        let asked = Asked { permission: Permission::Command, fleet: false };
        let scope = self.access.scope(principal, &serial, asked)?;
        let named: Principal = principal.parse().map_err(|_| Reason::PermissionDenied)?;
        self.revocations.check(&named, &serial)?;
        Ok(scope)
    }

    /// Writes down that a time has passed without an operation. Whether it was due still.
    async fn skip(&self, fire: &Fire, until: UnixMillis) -> Result<bool, Error> {
        let fire = fire.clone();
        let write = self.store.write(self.own_stamp("schedules.skip"), move |tx| {
            let is_due = is_due_still(tx, &fire.schedule, &fire.zone, fire.at)?;
            if is_due {
                tx.schedule_settle(&fire, until)?;
            }
            Ok::<_, Error>(is_due)
        });
        Ok(write.await?.value)
    }
}

/// Whether it may go well in a moment: nothing of the request is to blame.
fn is_passing(error: &Error) -> bool {
    match error {
        Error::Store(error) => !error.is_of_the_request(),
        Error::Refused { reason, .. } => *reason == Reason::Overloaded,
        _ => false,
    }
}

/// How long the orders of a time wait for nodes that are away, if nobody says: not into the
/// next time, for which that would be an operation that goes on.
fn until_next(next: Option<UnixMillis>, now: UnixMillis) -> Duration {
    let Some(next) = next else { return DELIVER_WITHIN };
    let left = next.since(now);
    (left - BEFORE_NEXT.min(left / 2)).clamp(Duration::from_secs(1), DELIVER_WITHIN)
}

fn settle_started(tx: &mut WriteTx<'_>, task: &Task, operation: OperationId) -> Result<(), Error> {
    let name = &task.schedule.name;
    let is_same = tx.schedule_get(name)?.is_some_and(|now| now.revision == task.schedule.revision);
    if !is_same || !is_due_still(tx, name, &task.zone, task.at)? {
        return Err(Error::refused(Reason::StateConflict, "another has done it"));
    }
    let started = fire(&task.schedule, &task.zone, task.at, Outcome::Started, String::new());
    tx.schedule_settle(&Fire { operation: Some(operation), ..started }, task.at)?;
    tx.audit(Note {
        subject: format!("schedule/{name}"),
        after: json!({ "operation": operation, "zone": task.zone, "at": task.at }).to_string(),
        ..Note::default()
    })?;
    Ok(())
}

fn is_due_still(tx: &mut WriteTx<'_>, name: &str, zone: &str, at: UnixMillis) -> Result<bool, Error> {
    let Some(schedule) = tx.schedule_get(name)? else { return Ok(false) };
    let place = tx.schedule_place(name, zone)?;
    Ok(place.map_or(schedule.since, |place| place.until.max(schedule.since)) < at && !schedule.paused)
}

fn fire(schedule: &Schedule, zone: &str, at: UnixMillis, outcome: Outcome, message: String) -> Fire {
    Fire { schedule: schedule.name.clone(), zone: zone.to_owned(), at, outcome, operation: None, message }
}

/// The same for the same time of the same schedule, and no other.
fn request_id(task: &Task) -> String {
    let which = format!("{} {} {}", task.schedule.created_at.0, task.zone, task.at.0);
    let digest = Sha256::of(which.as_bytes()).to_string();
    format!("schedule/{}/{}", task.schedule.name, &digest[..32])
}
