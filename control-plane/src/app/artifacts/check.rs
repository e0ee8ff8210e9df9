//! Checks metadata as every agent does: by the same code, from the same root.

use std::collections::BTreeMap;

use muster_common::{clock::UnixMillis, reason::Reason, tuf};
use muster_domain::artifact::{self, Kind, Repository, Role};

use super::Files;
use crate::app::Error;

/// What was found right.
pub(super) struct Checked {
    /// The state; who published it is not said yet.
    pub(super) repository: Repository,
    /// The files that it names.
    pub(super) targets: Vec<artifact::Target>,
    /// Metadata files that were read, with their paths.
    pub(super) read: BTreeMap<String, Vec<u8>>,
}

/// Follows the metadata from the pinned root, and from what was believed before. `have` gives a
/// file by its path.
pub(super) fn check(
    pinned: &[u8],
    before: Option<&Repository>,
    now: UnixMillis,
    have: impl Fn(&str) -> Option<Vec<u8>>,
) -> Result<Checked, Error> {
    let kept: Option<tuf::Kept> = match before {
        Some(before) => Some(serde_json::from_str(&before.kept).map_err(|error| {
            let message = format!("what was published before cannot be read: {error}");
            Error::refused(Reason::Internal, message)
        })?),
        None => None,
    };
    let mut update = tuf::Update::begin(pinned, kept.as_ref(), now).map_err(|error| refused(&error))?;
    let mut read = BTreeMap::new();
    while let Some(want) = update.wants() {
        let bytes = have(&want.path);
        if bytes.as_ref().is_some_and(|bytes| bytes.len() as u64 > want.most) {
            let message = format!("{} has more than {} bytes", want.path, want.most);
            return Err(Error::Invalid { reason: Reason::TooLarge, field: "metadata".to_owned(), message });
        }
        update.take(bytes.as_deref()).map_err(|error| refused(&error))?;
        read.extend(bytes.map(|bytes| (want.path, bytes)));
    }
    let kept = serde_json::to_string(&update.kept()).expect("texts and digests always have a JSON form");
    let found = update.finish().map_err(|error| refused(&error))?;
    let targets = found.targets().map_err(|error| refused(&error))?;
    if targets.len() > artifact::MAX_TARGETS {
        let message = format!("it names {} files; at most {}", targets.len(), artifact::MAX_TARGETS);
        return Err(Error::Invalid { reason: Reason::TooLarge, field: "metadata".to_owned(), message });
    }
    let targets = targets.into_iter().map(|it| target(it, now)).collect::<Result<_, _>>()?;
    let files = read.keys().filter(|path| !is_root(path)).cloned().collect();
    Ok(Checked { repository: repository(&found, files, kept, now), targets, read })
}

/// Roots up to the pinned one, for hosts that pin an older one than we do. Each must be signed as the
/// one after the one before, and the last must be the pinned one itself.
pub(super) fn earlier_roots(pinned: &[u8], now: UnixMillis, offered: &Files) -> Result<Files, Error> {
    let next = tuf::Update::begin(pinned, None, now).map_err(|error| refused(&error))?.wants();
    let ours = next.and_then(|want| number(&want.path)).unwrap_or(1).saturating_sub(1);
    let numbers = offered.keys().filter_map(|path| number(path)).filter(|number| *number <= ours);
    let Some(first) = numbers.min() else { return Ok(Files::new()) };
    let path = |number: u64| format!("metadata/{number}.root.json");
    let have = |number: u64| {
        offered.get(&path(number)).ok_or_else(|| invalid(format!("there is no {}", path(number))))
    };
    let mut chain = tuf::Update::begin(have(first)?, None, now).map_err(|error| refused(&error))?;
    for number in first + 1..=ours {
        chain.take(Some(have(number)?)).map_err(|error| refused(&error))?;
    }
    if have(ours)? != pinned {
        return Err(invalid(format!("{} is another root than the pinned one", path(ours))));
    }
    (first..=ours).map(|number| Ok((path(number), have(number)?.clone()))).collect()
}

/// Of a root, by its path.
fn number(path: &str) -> Option<u64> {
    path.strip_prefix("metadata/")?.strip_suffix(".root.json")?.parse().ok()
}

/// Whether a path is that of a root: those are all kept, for who follows them one by one.
pub(super) fn is_root(path: &str) -> bool {
    path.ends_with("root.json")
}

fn repository(found: &tuf::Repository, files: Vec<String>, kept: String, now: UnixMillis) -> Repository {
    let [root, timestamp, snapshot, targets] = found.versions();
    let role = |role: tuf::Role, version| {
        let end = found.expires().into_iter().find(|(of, _)| *of == role);
        Role { version, expires_at: end.map_or(now, |(_, at)| at), since: now }
    };
    Repository {
        root: role(tuf::Role::Root, root),
        targets: role(tuf::Role::Targets, targets),
        snapshot: role(tuf::Role::Snapshot, snapshot),
        timestamp: role(tuf::Role::Timestamp, timestamp),
        published_at: now,
        published_by: String::new(),
        files,
        kept,
    }
}

/// A file whose metadata says what it is, under the name that such a file has.
fn target(found: tuf::Target, now: UnixMillis) -> Result<artifact::Target, Error> {
    let wrong = |why: &str| invalid(format!("file {:?}: {why}", found.name));
    let Some(about) = &found.about else { return Err(wrong("its custom metadata has no \"muster\"")) };
    if about.target_name() != found.name {
        return Err(wrong(&format!("by its custom metadata it is {:?}", about.target_name())));
    }
    if !muster_domain::release::is_version(&about.version) {
        return Err(wrong(&format!("{:?} is not a semantic version", about.version)));
    }
    Ok(artifact::Target {
        sha256: found.sha256,
        size_bytes: found.size,
        kind: match about.kind {
            tuf::Kind::Extension => Kind::Extension,
            tuf::Kind::Release => Kind::Release,
        },
        publisher: about.publisher.clone(),
        of_type: about.type_name.clone(),
        version: about.version.clone(),
        os: about.os.clone(),
        arch: about.arch.clone(),
        since: now,
        name: found.name,
    })
}

fn refused(error: &tuf::Error) -> Error {
    match error {
        tuf::Error::Missing { .. } | tuf::Error::Name { .. } => invalid(error.to_string()),
        _ => Error::refused(error.reason(), error.to_string()),
    }
}

fn invalid(message: String) -> Error {
    Error::Invalid { reason: Reason::RepositoryInvalid, field: "metadata".to_owned(), message }
}
