//! `upgrade`: another version of the agent, by hand, with the machinery that upgrades by the
//! control plane's word have.

use std::{path::PathBuf, time::Duration};

use muster_common::clock::Clock;
use serde_json::{Value, json};

use super::{
    Context,
    exit::{self, Code, Failure},
    output::Output,
    runtime,
};
use crate::{
    identity::Store,
    upgrader::{
        self,
        begin::{self, Error, Wish},
        machine::{End, Failure as Why, Limits, Stage},
        record::{Folder, Record},
    },
    wiring,
};

/// Between looks how far it is.
const LOOK: Duration = Duration::from_millis(500);

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Which version, as `0.2.0`; one that is older than the running one, too.
    #[arg(long, value_name = "VERSION", required_unless_present = "status")]
    version: Option<String>,
    /// The release's archive (`.tar.zst`), for an agent in slots.
    #[arg(long, value_name = "FILE")]
    archive: Option<PathBuf>,
    /// What the package manager calls the version. VERSION-1 by default.
    #[arg(long, value_name = "VERSION", conflicts_with = "archive")]
    package_version: Option<String>,
    /// Tell how far the upgrade is that is under way, or how the last one ended.
    #[arg(long, conflicts_with_all = ["version", "archive", "package_version"])]
    status: bool,
    /// The new version is kept if it is well for so long. By default as `[upgrade]` of the
    /// configuration says, or 1m.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    probation: Option<Duration>,
    /// It may be unwell for so long while nothing keeps it from being well. By default as
    /// `[upgrade]` of the configuration says, or 5m.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    patience: Option<Duration>,
    /// Keep the new version also without a session with the control plane.
    #[arg(long)]
    without_session: bool,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<(), Failure> {
    if !rustix::process::geteuid().is_root() {
        return Err(Failure::told(exit::ROOT, "upgrading the agent takes root".to_owned()));
    }
    let (folder, out) = (Folder::at(upgrader::FOLDER.as_ref()), context.out);
    if args.status {
        return status(&folder, out);
    }
    let version = args.version.clone().unwrap_or_default();
    let is_enrolled = Store::new(context.state.path()).load()?.is_some();
    let wish = Wish {
        version,
        archive: args.archive.clone().map(std::path::absolute).transpose().map_err(|error| {
            Failure::told(exit::COMMAND_LINE, format!("the archive cannot be named: {error}"))
        })?,
        package_version: args.package_version.clone().unwrap_or_default(),
        limits: limits(args, context),
        needs_session: is_enrolled && !args.without_session,
        by: "administrator".to_owned(),
        state_dir: context.state.path().to_owned(),
        config: context.config.path.clone(),
    };
    let runtime = runtime()?;
    let record =
        runtime.block_on(begin::begin(&folder, &wish, &Clock::System)).map_err(|error| refused(&error))?;
    let over = follow(&folder, record, out)?;
    tell(&over, out)
}

/// What the command line does not say, the configuration does.
fn limits(args: &Args, context: &Context) -> Limits {
    let limits = wiring::release::limits(&context.config);
    Limits {
        probation: args.probation.unwrap_or(limits.probation),
        patience: args.patience.unwrap_or(limits.patience),
        ..limits
    }
}

/// Until it is over. Who stops listening stops nothing.
fn follow(folder: &Folder, begun: Record, out: Output) -> Result<Record, Failure> {
    let mut told = "";
    let (began, to) = (begun.plan.begun, begun.plan.to.clone());
    let mut now = begun;
    loop {
        let name = now.stage.name();
        if name != told {
            out.note(&format!("  {name}"));
            told = name;
        }
        if let Stage::Ended(_) = now.stage
            && folder.pending().map_err(|error| unreadable(&error))?.is_none()
        {
            return Ok(now);
        }
        std::thread::sleep(LOOK);
        let pending = folder.pending().map_err(|error| unreadable(&error))?;
        let last = || folder.last().map_err(|error| unreadable(&error));
        now =
            match pending {
                Some(pending) => pending,
                None => last()?.filter(|last| last.plan.begun == began && last.plan.to == to).ok_or_else(
                    || Failure::told(exit::INTERNAL, "the upgrade is gone without an end".to_owned()),
                )?,
            };
    }
}

fn status(folder: &Folder, out: Output) -> Result<(), Failure> {
    let pending = folder.pending().map_err(|error| unreadable(&error))?;
    let record = match pending {
        Some(pending) => Some(pending),
        None => folder.last().map_err(|error| unreadable(&error))?,
    };
    if out.is_json() {
        out.document("upgrade/1", &record.as_ref().map_or_else(|| json!({ "state": null }), document));
        return Ok(());
    }
    match record {
        None => out.line("the agent of this host was never upgraded"),
        Some(record) => out.line(&sentence(&record)),
    }
    Ok(())
}

fn tell(record: &Record, out: Output) -> Result<(), Failure> {
    let failed = |code: Code, why: &Why| {
        if !why.output.is_empty() && !out.is_json() {
            out.note(&format!("what it said last:\n{}", why.output.trim_end()));
        }
        Err(Failure::told(code, sentence(record)).beside("upgrade/1", document(record)))
    };
    match &record.stage {
        Stage::Ended(End::Refused(why)) => failed(exit::UPGRADE_REFUSED, why),
        Stage::Ended(End::RolledBack(why)) => failed(exit::UPGRADE_ROLLED_BACK, why),
        Stage::Ended(End::Failed(why)) => failed(exit::UPGRADE_FAILED, why),
        _ if out.is_json() => {
            out.document("upgrade/1", &document(record));
            Ok(())
        }
        _ => {
            out.line(&sentence(record));
            Ok(())
        }
    }
}

fn document(record: &Record) -> Value {
    let Record { plan, stage, since } = record;
    let why = why(stage);
    json!({
        "state": stage.name(),
        "percent": stage.percent(plan.limits),
        "since": since,
        "from": plan.from,
        "to": plan.to,
        "by": plan.by,
        "begun": plan.begun,
        "cause": why.map(|why| &why.message),
        "kind": why.map(|why| why.kind),
        "blames-version": why.map(|why| why.kind.blames_version()),
        "output": why.map(|why| &why.output),
    })
}

const fn why(stage: &Stage) -> Option<&Why> {
    match stage {
        Stage::RollingBack { why, .. } | Stage::Returned { why, .. } => Some(why),
        Stage::Ended(End::Refused(why) | End::RolledBack(why) | End::Failed(why)) => Some(why),
        Stage::Verified
        | Stage::Staged
        | Stage::Switching
        | Stage::Probation(_)
        | Stage::Ended(End::Committed) => None,
    }
}

fn sentence(record: &Record) -> String {
    let (from, to) = (&record.plan.from, &record.plan.to);
    let because = why(&record.stage).map_or_else(String::new, |why| format!(": {}", why.message));
    match &record.stage {
        Stage::Ended(End::Committed) => format!("the agent runs version {to}; it ran {from} before"),
        Stage::Ended(End::Refused(_)) => {
            format!("version {to} was not installed and {from} runs on{because}")
        }
        Stage::Ended(End::RolledBack(_)) => format!("version {to} was tried, and {from} runs again{because}"),
        Stage::Ended(End::Failed(_)) => format!("neither version {to} nor {from} runs{because}"),
        stage => {
            let percent = stage.percent(record.plan.limits);
            format!("the agent is on its way from {from} to {to}: {} ({percent} %){because}", stage.name())
        }
    }
}

fn refused(error: &Error) -> Failure {
    let code = match error {
        Error::Busy(_) => exit::UPGRADE_BUSY,
        Error::Unavailable(_) => exit::UPGRADE_UNAVAILABLE,
        Error::Missing(_) => exit::COMMAND_LINE,
        Error::Running(_) | Error::Io(_) => exit::UPGRADE_REFUSED,
    };
    Failure::new(code, error)
}

fn unreadable(error: &std::io::Error) -> Failure {
    Failure::told(exit::STATE, format!("cannot read how far the upgrade is: {error}"))
}
