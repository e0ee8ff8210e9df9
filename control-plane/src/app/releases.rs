//! Releases of the agent, channels that recommend them, and what that means for a node.

use std::sync::Arc;

use arc_swap::ArcSwap;
use muster_common::reason::Reason;
use muster_domain::{
    assignment::Target,
    audit::Note,
    condition::Condition,
    event::{Happened, Kind},
    item::is_resource_name,
    release::{Channel, Recommended, Release, Support, is_version},
};
use muster_store::{ReadReleases as _, WriteReleases as _, WriteTx};
use semver::Version;
use serde_json::json;

use super::{Actor, App, Error, check_etag, events, fleet::Entry};

/// Most channels that there may be.
const MAX_CHANNELS: usize = 32;
/// The condition that says whether an agent is new enough.
const CONDITION: &str = "VersionSupported";

/// What nodes are held against, in memory.
#[derive(Default)]
pub struct Releases(ArcSwap<Recommended>);

/// A channel as someone wants it.
#[derive(Debug, Clone)]
pub struct Wish {
    /// Name.
    pub name: String,
    /// What it is to recommend.
    pub version: String,
    /// Of the reading it was made from.
    pub etag: String,
}

impl Releases {
    /// The present ones.
    #[must_use]
    pub fn now(&self) -> Arc<Recommended> {
        self.0.load_full()
    }
}

impl App {
    pub(super) async fn reload_releases(&self) -> Result<(), Error> {
        let read = self.store.read_own(|tx| Ok::<_, Error>((tx.release_all()?, tx.channel_all()?)));
        let (releases, channels) = read.await?;
        self.releases.0.store(Arc::new(Recommended::of(&releases, &channels)));
        Ok(())
    }

    /// All releases that were ever published, the newest first, with the channels that
    /// recommend each.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn all_releases(&self) -> Result<Vec<(Release, Vec<String>)>, Error> {
        let read = self.store.read(|tx| Ok::<_, Error>((tx.release_all()?, tx.channel_all()?)));
        let (mut releases, channels) = read.await?;
        releases.sort_by_cached_key(|it| std::cmp::Reverse(Version::parse(&it.version).ok()));
        let of = |version: &str| {
            channels.iter().filter(|it| it.version == version).map(|it| it.name.clone()).collect()
        };
        Ok(releases.into_iter().map(|it| (it.clone(), of(&it.version))).collect())
    }

    /// One channel.
    ///
    /// # Errors
    /// If it does not exist.
    pub async fn channel(&self, name: String) -> Result<Channel, Error> {
        let found = self.store.read(move |tx| Ok::<_, Error>((tx.channel_get(&name)?, name)));
        let (channel, name) = found.await?;
        channel.ok_or_else(|| Error::not_found("channel", &name))
    }

    /// All channels, by name.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn channels(&self) -> Result<Vec<Channel>, Error> {
        self.store.read(|tx| tx.channel_all().map_err(Error::from)).await
    }

    /// Makes a channel, or lets it recommend something else. No node is moved by it.
    ///
    /// # Errors
    /// If its name cannot be, the release is not published, or it was changed since it was read.
    pub async fn set_channel(&self, actor: &Actor, wish: Wish) -> Result<Channel, Error> {
        if !is_resource_name(&wish.name) {
            let message = format!("{:?} does not match [a-z0-9]([-a-z0-9]{{0,61}}[a-z0-9])?", wish.name);
            return Err(Error::invalid("channel.name", message));
        }
        if !is_version(&wish.version) {
            let message = format!("{:?} is not a semantic version, such as 0.2.0", wish.version);
            return Err(Error::invalid("channel.version", message));
        }
        let (now, by) = (self.clock.now(), actor.principal.clone());
        self.commit(actor.stamp("releases.set-channel", now), move |tx| {
            let before = tx.channel_get(&wish.name)?;
            check_etag(&wish.etag, before.as_ref().map_or(0, |before| before.revision))?;
            published(tx, &wish.version)?;
            if let Some(same) = before.as_ref().filter(|before| before.version == wish.version) {
                return Ok(same.clone());
            }
            if before.is_none() && tx.channel_all()?.len() >= MAX_CHANNELS {
                let message = format!("there are {MAX_CHANNELS} channels; more are not kept");
                return Err(Error::refused(Reason::QuotaExceeded, message));
            }
            let channel = Channel {
                name: wish.name.clone(),
                version: wish.version.clone(),
                updated_at: now,
                updated_by: by.clone(),
                revision: tx.revision(),
            };
            tx.channel_put(&channel)?;
            let shown = |version: &str| json!({ "version": version }).to_string();
            tx.audit(Note {
                subject: format!("channel/{}", wish.name),
                before: before.map_or_else(String::new, |before| shown(&before.version)),
                after: shown(&wish.version),
                denied: false,
            })?;
            let message = format!("channel {} recommends release {}", wish.name, wish.version);
            let what = Happened::new(Kind::ReleaseRecommended, &message);
            events::tell(tx, what.about(format!("channel/{}", wish.name)).with("version", &wish.version))?;
            Ok(channel)
        })
        .await
    }

    /// What a node could be upgraded to. `None`: nothing.
    pub(super) fn upgrade_available(&self, entry: &Entry) -> Option<String> {
        self.releases.now().upgrade_of(agent_version(entry))
    }

    /// What a node says of itself, and whether its agent is new enough: of that its own word counts
    /// for nothing.
    pub(super) fn conditions(&self, entry: &Entry) -> Vec<Condition> {
        let own = entry.conditions.iter().filter(|it| it.kind != CONDITION).cloned();
        own.chain(self.version_supported(entry)).collect()
    }

    /// `None`: it is not known what it runs, or nothing is published.
    fn version_supported(&self, entry: &Entry) -> Option<Condition> {
        let version = agent_version(entry);
        let (reason, message) = match self.releases.now().support_of(version) {
            Support::Unknown => return None,
            Support::Supported => ("Supported", String::new()),
            Support::TooOld(newest) => {
                ("TooOld", format!("the agent is {version}: too far behind {newest}, the newest release"))
            }
        };
        let since = entry.node.liveness.since; // what it runs, it said in its Hello
        Some(Condition {
            kind: CONDITION.to_owned(),
            holds: Some(reason == "Supported"),
            reason: reason.to_owned(),
            message,
            since,
        })
    }
}

/// What a node's agent is: as its session says, or as its facts said before.
fn agent_version(entry: &Entry) -> &str {
    let live = entry.live.as_ref().map(|live| live.agent_version.as_str());
    live.unwrap_or(entry.node.facts.agent_version())
}

/// The target with what a channel recommends now in the place of its name. It must be published.
pub(super) fn fixed(tx: &mut WriteTx<'_>, version: &str) -> Result<Target, Error> {
    let version = match version.strip_prefix('@') {
        Some(name) => tx.channel_get(name)?.ok_or_else(|| Error::not_found("channel", name))?.version,
        None => version.to_owned(),
    };
    published(tx, &version)?;
    Ok(Target::Release { version })
}

fn published(tx: &mut WriteTx<'_>, version: &str) -> Result<Release, Error> {
    let found = tx.release_get(version)?.ok_or_else(|| Error::not_found("release", version))?;
    match found.withdrawn_at {
        None => Ok(found),
        Some(_) => {
            let message =
                format!("release {version} was withdrawn: the repository does not name it any more");
            Err(Error::refused(Reason::PackageNotPublished, message))
        }
    }
}
