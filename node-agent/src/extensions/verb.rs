//! A verb of a package: run to its end, within its time, and not believed without its status.

use std::{collections::BTreeMap, time::Duration};

use muster_common::{crash, ids::CommandId, reason::Reason};
use serde::Deserialize;

use super::{
    content::Version,
    failure,
    machine::{Of, Step},
    program::{self, Ended, Program},
    record::Record,
    worker::Worker,
};
use crate::{
    depot::{Launch, Manifest, Verb},
    locks::Caps,
    platform::{runs::NotStarted, units::Limits},
    state::ItemError,
};

/// To end what is to go.
const GRACE: Duration = Duration::from_secs(10);

/// What a verb writes of how it ended, where the package promises that it does.
#[derive(Deserialize)]
struct Status {
    ok: bool,
    #[serde(default)]
    message: String,
}

/// The same of a handler.
#[derive(Deserialize)]
struct HandlerStatus {
    status: HandlerWords,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct HandlerWords {
    status: String,
    #[serde(default)]
    formatted_message: BTreeMap<String, String>,
}

impl Worker {
    /// Runs the verb of a step. What the package has no program for is done.
    pub(super) async fn run_verb(&mut self, step: Step) -> Result<(), ItemError> {
        let Some((of, verb)) = step.verb() else { return Ok(()) };
        let Some(record) = &self.record else { return Ok(()) };
        let Some(version) = record.version(of).cloned() else { return Ok(()) };
        let other = match of {
            Of::New => record.version(Of::Former),
            Of::Former => record.version(Of::New),
        };
        let from = other.map_or_else(String::new, |other| other.package.version.clone());
        self.configure(&version).await?;
        self.run_one(&version, verb, &from).await
    }

    async fn configure(&self, version: &Version) -> Result<(), ItemError> {
        let (settings, protected) = (version.settings.as_bytes(), version.protected.as_bytes());
        let done = self.shared.options.depots.configure(&version.package, settings, protected).await;
        done.map_err(|error| failure::of_depot(&error))
    }

    /// Runs a verb to its end.
    pub(super) async fn run_one(
        &mut self,
        version: &Version,
        verb: Verb,
        from: &str,
    ) -> Result<(), ItemError> {
        let Some((manifest, verb, time)) = found(version, verb) else { return Ok(()) };
        let launch = self.launch(version, verb, from);
        let mut program = self.start(&launch, true).await?;
        let ended = match tokio::time::timeout(time, program.ended()).await {
            Ok(ended) => {
                program.forget().await;
                self.nothing_left(verb);
                ended
            }
            Err(_) => {
                // What is left the next step ends.
                if let Ok(Ok(())) = tokio::time::timeout(GRACE, program.end()).await {
                    self.nothing_left(verb);
                }
                let message = format!("{} did not end within {} s", verb.as_str(), time.as_secs());
                return Err(failure::content(Reason::ExtensionVerbTimedOut, message));
            }
        };
        crash::point("extensions.verb.ended");
        let status = match verb {
            Verb::Health => None,
            _ => self.status(version).await,
        };
        judge(&manifest, verb, &ended, status.as_deref())
    }

    /// The program of the step has ended, with all that it started.
    fn nothing_left(&mut self, verb: Verb) {
        let journal = self.record.as_mut().and_then(|record| record.journal.as_mut());
        if let Some(journal) = journal.filter(|_| verb != Verb::Health) {
            journal.trace = None;
        }
    }

    async fn status(&self, version: &Version) -> Option<Vec<u8>> {
        match self.shared.options.depots.status(&version.package).await {
            Ok(status) => status,
            Err(error) => {
                tracing::warn!(name = self.name, %error, "a status of {} cannot be read", self.name);
                None
            }
        }
    }

    pub(super) fn launch(&self, version: &Version, verb: Verb, from: &str) -> Launch {
        Launch {
            id: CommandId::generate(),
            package: version.package.clone(),
            verb,
            from_version: from.to_owned(),
            proxy: (self.shared.options.way_out)(),
            limits: self.limits(version),
            // What runs on, or is asked how it is, is no part of what was done.
            place: self.place.filter(|_| !matches!(verb, Verb::Run | Verb::Health)),
        }
    }

    /// The operator's in place of the package's, and never above what the host gives.
    fn limits(&self, version: &Version) -> Limits {
        let of_package = version.manifest.as_ref().map(|manifest| manifest.limits).unwrap_or_default();
        let Limits { memory, cpu, tasks, time } = version.limits;
        let asked = Caps {
            memory: memory.or(of_package.memory),
            cpu: cpu.or(of_package.cpu),
            tasks: tasks.or(of_package.tasks),
        };
        let Caps { memory, cpu, tasks } = self.shared.options.locks.current().caps().with(&asked);
        Limits { memory, cpu, tasks, time }
    }

    /// Starts a program that is written down before it does anything. `verb`: it belongs to
    /// the step, otherwise it is what runs.
    pub(super) async fn start(&mut self, launch: &Launch, verb: bool) -> Result<Program, ItemError> {
        let not_started = |error| not_started(launch.verb, error);
        if launch.verb == Verb::Run {
            self.end_former().await?;
        }
        let mut program = Program::start(&self.shared.options.depots, launch).await.map_err(not_started)?;
        let trace = program.trace();
        if launch.verb != Verb::Health
            && let Some(mut record) = self.record.clone()
        {
            if verb {
                record.journal = record.journal.map(|journal| super::record::Journal { trace, ..journal });
            } else {
                record.program = trace;
            }
            let leads_back = record.journal.as_ref().is_some_and(|journal| journal.step.leads_back());
            match self.save(&record).await {
                // As with the step itself: on a full disk, too, it goes back.
                Err(error) if !leads_back => return Err(failure::of_depot(&error)),
                Err(error) => {
                    tracing::warn!(name = self.name, %error, "what is begun for {} is not written down", self.name);
                }
                Ok(()) => {}
            }
            self.record = Some(record);
        }
        crash::point("extensions.verb.marked");
        program.release(launch).await.map_err(not_started)?;
        Ok(program)
    }

    /// What ran before has ended: two of it never run.
    pub(super) async fn end_former(&mut self) -> Result<(), ItemError> {
        let Some(record) = &mut self.record else { return Ok(()) };
        let Some(trace) = record.program.clone() else { return Ok(()) };
        let ended = program::end_leftover(&self.shared.options.depots, &trace).await;
        ended.map_err(|error| failure::of_depot(&error))?;
        record.program = None;
        Ok(())
    }

    /// How long a verb may take.
    pub(super) fn time_of(&self, of: Of, verb: Verb) -> Duration {
        let version = self.record.as_ref().and_then(|record: &Record| record.version(of));
        version.and_then(|version| found(version, verb)).map_or(Duration::ZERO, |(.., time)| time)
    }
}

/// The program of a verb. What has none to take over from another version installs itself
/// anew.
fn found(version: &Version, verb: Verb) -> Option<(Manifest, Verb, Duration)> {
    let manifest = version.manifest.as_ref()?;
    let verb = if verb == Verb::Update && !manifest.has(verb) { Verb::Install } else { verb };
    let program = manifest.verbs.get(&verb)?;
    Some((manifest.clone(), verb, program.timeout))
}

/// Whether a verb has done what it says.
fn judge(manifest: &Manifest, verb: Verb, ended: &Ended, status: Option<&[u8]>) -> Result<(), ItemError> {
    let failed = |message: String| {
        let error = failure::content(Reason::ExtensionVerbFailed, message);
        Err(failure::with_output(error, ended.output.clone()))
    };
    let said = status.map(|status| read(manifest, status));
    if !ended.is_well {
        let why = match &said {
            Some(Ok((_, message))) if !message.is_empty() => format!(": {message}"),
            _ if ended.out_of_memory => ": it wanted more memory than it may have".to_owned(),
            _ => String::new(),
        };
        return failed(format!("{} ended with {}{why}", verb.as_str(), ended.how));
    }
    let promises = manifest.reports_status && matches!(verb, Verb::Install | Verb::Enable | Verb::Update);
    match said {
        Some(Ok((false, message))) if promises => {
            failed(format!("{} says of itself: {message}", verb.as_str()))
        }
        Some(Err(why)) if promises => {
            failed(format!("the status of {} cannot be read: {why}", verb.as_str()))
        }
        None if promises => {
            let message = format!("{} ended well, and wrote no status", verb.as_str());
            let error = failure::content(Reason::ExtensionStatusMissing, message);
            Err(failure::with_output(error, ended.output.clone()))
        }
        _ => Ok(()),
    }
}

fn read(manifest: &Manifest, bytes: &[u8]) -> Result<(bool, String), serde_json::Error> {
    if !manifest.is_handler {
        return serde_json::from_slice::<Status>(bytes).map(|status| (status.ok, status.message));
    }
    let statuses: Vec<HandlerStatus> = serde_json::from_slice(bytes)?;
    let words = statuses.into_iter().next_back().map(|status| status.status);
    Ok(words.map_or((true, String::new()), |mut words| {
        let message = words.formatted_message.remove("message").unwrap_or_default();
        (words.status != "error", message)
    }))
}

pub(super) fn not_started(verb: Verb, error: NotStarted) -> ItemError {
    use std::io::ErrorKind::{InvalidData, NotFound, PermissionDenied};
    let message = |why: &dyn std::fmt::Display| format!("{} could not be started: {why}", verb.as_str());
    match error {
        NotStarted::Locked(why) => failure::denied(why),
        NotStarted::Host(error) if error.kind() == std::io::ErrorKind::StorageFull => {
            failure::of_depot(&error)
        }
        // The program is not there, or is none.
        NotStarted::Host(error) if matches!(error.kind(), InvalidData | NotFound | PermissionDenied) => {
            failure::content(Reason::ExtensionVerbFailed, message(&error))
        }
        // Whoever starts programs does not do so now: that says nothing of this one.
        NotStarted::Host(error) => failure::host(Reason::ExtensionVerbFailed, message(&error)),
        NotStarted::UserUnknown => {
            failure::content(Reason::ExtensionVerbFailed, format!("{} names no program", verb.as_str()))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::state::Cause;

    #[test]
    fn a_version_is_blamed_only_for_its_own_program() {
        let cause = |kind: io::ErrorKind| not_started(Verb::Enable, NotStarted::Host(kind.into())).cause;
        for own in [io::ErrorKind::NotFound, io::ErrorKind::PermissionDenied, io::ErrorKind::InvalidData] {
            assert_eq!(cause(own), Cause::Content, "{own}");
        }
        for hosts in [
            io::ErrorKind::ConnectionRefused,
            io::ErrorKind::NotConnected,
            io::ErrorKind::UnexpectedEof,
            io::ErrorKind::TimedOut,
            io::ErrorKind::StorageFull,
        ] {
            assert_eq!(cause(hosts), Cause::Host, "{hosts}");
        }
    }
}
