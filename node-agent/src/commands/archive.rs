//! An archive of texts and journals without credentials, made by hand on the host: with
//! the same parts as the archive of `collect-logs`.

use std::{io, path::Path};

use muster_common::{clock::UnixMillis, digest::Sha256};

use super::kinds::collect_logs::{Archive, Tail, read_journal};

/// What is to be in it.
#[derive(Debug)]
pub struct Wish<'a> {
    /// Where it is written; what is there is written over.
    pub path: &'a Path,
    /// Texts by their names.
    pub texts: Vec<(String, Vec<u8>)>,
    /// Units, or patterns of units, whose journals are read.
    pub units: Vec<String>,
    /// Of the journals, from then on.
    pub since: UnixMillis,
    /// The time of its members.
    pub now: UnixMillis,
    /// At most so much of each member, before it is packed; the newest of it.
    pub most: u64,
}

/// An archive that is whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packed {
    /// Of its bytes.
    pub sha256: Sha256,
    /// How large it is.
    pub size_bytes: u64,
    /// Some member is not whole.
    pub cut: bool,
    /// Their names.
    pub members: Vec<String>,
}

/// Packs an archive.
///
/// # Errors
/// From the file system.
pub async fn pack(wish: Wish<'_>) -> io::Result<Packed> {
    let mut archive = Archive::create(wish.path)?;
    let (mut cut, mut members) = (false, Vec::new());
    let most = usize::try_from(wish.most).unwrap_or(usize::MAX);
    let mut tails = Vec::new();
    for (name, text) in wish.texts {
        let mut tail = Tail::new(most);
        tail.push(&text);
        tails.push((name, tail));
    }
    for unit in wish.units {
        let mut tail = Tail::new(most);
        read_journal(&unit, wish.since, &mut tail).await?;
        tails.push((format!("journal/{}.log", unit.replace('*', "all")), tail));
    }
    for (name, tail) in tails {
        let text = tail.finish();
        cut |= text.is_cut();
        members.push(name.clone());
        archive.add(name, text, wish.now.0 / 1000).await?;
    }
    let made = archive.finish().await?;
    Ok(Packed { sha256: made.sha256, size_bytes: made.size_bytes, cut, members })
}
