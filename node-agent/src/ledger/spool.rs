//! Output that is not yet acknowledged: one file for each command that wrote any.
//! Where each report lies is kept in memory, so that nothing is read twice.

use std::{
    cmp::Ordering,
    collections::HashMap,
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Seek as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use muster_common::{clock::UnixMillis, ids::CommandId};

use super::lines;
use crate::{
    platform::files,
    state::{CommandState, Report},
};

/// Reports read at once, however small: somebody waits for the answer.
const AT_ONCE: usize = 256;

/// Reports that are replaced when they are lost. Where more are missing, it is
/// their number that is damaged.
const MAX_MISSING: u64 = 1 << 16;

#[derive(Debug)]
pub(super) struct Spool {
    folder: PathBuf,
    files: HashMap<CommandId, Places>,
}

/// Where the reports of one command lie.
#[derive(Debug, Default)]
struct Places {
    reports: Vec<Place>,
    bytes: u64,
}

#[derive(Debug, Clone, Copy)]
struct Place {
    seq: u64,
    offset: u64,
    output: usize,
}

impl Spool {
    pub(super) fn open(folder: &Path) -> io::Result<Self> {
        files::private_folder(folder)?;
        Ok(Self { folder: folder.to_owned(), files: HashMap::new() })
    }

    /// Adds a report, durably.
    pub(super) fn append(&mut self, id: CommandId, report: &Report) -> io::Result<()> {
        let path = self.path(id);
        let mut line = Vec::new();
        lines::encode(report, &mut line)?;
        let mut file = OpenOptions::new().append(true).create(true).mode(0o600).open(&path)?;
        let places = self.files.entry(id).or_default();
        match file.metadata()?.len().cmp(&places.bytes) {
            Ordering::Equal => {}
            // A part of a line, left by an append that failed, would make the next one unreadable.
            Ordering::Greater => file.set_len(places.bytes)?,
            Ordering::Less => return Err(io::Error::new(io::ErrorKind::InvalidData, "the file was cut")),
        }
        file.write_all(&line)?;
        file.sync_data()?;
        if places.reports.is_empty() {
            files::sync_folder(&self.folder)?;
        }
        places.add(report, line.len());
        Ok(())
    }

    /// Reports after `after`, at most `bytes` of output, and not too many at once.
    pub(super) fn read(&self, id: CommandId, after: u64, bytes: usize) -> io::Result<Vec<Report>> {
        let Some(places) = self.files.get(&id) else { return Ok(Vec::new()) };
        let (from, to) = places.fitting(after, bytes);
        let Some(first) = places.reports[from..to].first() else { return Ok(Vec::new()) };
        let end = places.reports.get(to).map_or(places.bytes, |place| place.offset);
        let mut file = File::open(self.path(id))?;
        file.seek(io::SeekFrom::Start(first.offset))?;
        let mut content = Vec::new();
        file.take(end - first.offset).read_to_end(&mut content)?;
        lines::decode(&content).map(|(reports, _)| reports)
    }

    /// Looks at what an earlier process left: commands with output, and the number
    /// of their newest report. A damaged file is set aside; what is whole of it stays.
    pub(super) fn recover(&mut self, now: UnixMillis) -> io::Result<Vec<(CommandId, u64)>> {
        let mut found = Vec::new();
        for file in fs::read_dir(&self.folder)? {
            let name = file?.file_name();
            let Some(id) = name.to_str().and_then(|name| name.parse().ok()) else { continue };
            let reports = match self.whole(id) {
                Ok(reports) => reports,
                Err(error) => self.set_aside(id, now, &error)?,
            };
            found.push((id, reports.last().map_or(0, |report| report.seq)));
        }
        Ok(found)
    }

    /// Makes the reports those after the start and before `until`: empty ones where
    /// numbers are missing, and none that has no place there.
    pub(super) fn fit(&mut self, id: CommandId, started: bool, until: u64, at: UnixMillis) -> io::Result<()> {
        let first = if started { 2 } else { 1 };
        let places = self.files.get(&id).map_or(&[][..], |places| &places.reports);
        if places.iter().map(|place| place.seq).eq(first..until) {
            return Ok(());
        }
        let known = places.iter().filter(|place| (first..until).contains(&place.seq)).count();
        let missing = until.saturating_sub(first + known as u64);
        if missing > MAX_MISSING {
            let message = format!("{missing} reports of command {id} are missing");
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        let kept = self.whole(id)?;
        let all: Vec<Report> = (first..until)
            .map(|seq| {
                kept.iter().find(|report| report.seq == seq).cloned().unwrap_or_else(|| Report {
                    message: "what was said here is lost: its file on the host was damaged".to_owned(),
                    ..Report::new(seq, CommandState::Running, at)
                })
            })
            .collect();
        self.write(id, &all)
    }

    pub(super) fn remove(&mut self, id: CommandId) {
        if self.files.remove(&id).is_none() {
            return; // it wrote nothing
        }
        if let Err(error) = fs::remove_file(self.path(id))
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(%error, "could not remove the output of command {id}");
        }
    }

    /// All reports of a file; a last line that was cut is taken off.
    fn whole(&mut self, id: CommandId) -> io::Result<Vec<Report>> {
        let path = self.path(id);
        let mut content = match fs::read(&path) {
            Ok(content) => content,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let (reports, good) = lines::decode(&content)?;
        if good < content.len() {
            let file = OpenOptions::new().write(true).open(&path)?;
            file.set_len(good as u64)?;
            file.sync_all()?;
            content.truncate(good);
        }
        self.note(id, &reports, &content);
        Ok(reports)
    }

    fn set_aside(&mut self, id: CommandId, now: UnixMillis, error: &io::Error) -> io::Result<Vec<Report>> {
        let aside = self.folder.join(format!("{id}.damaged-{}", now.0));
        tracing::error!(command = %id, %error, "output of command {id} was damaged and set aside as {}", aside.display());
        let content = fs::read(self.path(id)).unwrap_or_default();
        fs::rename(self.path(id), aside)?;
        let mut whole: Vec<Report> = lines::salvage(&content);
        whole.sort_by_key(|report| report.seq);
        whole.dedup_by_key(|report| report.seq);
        self.write(id, &whole)?;
        Ok(whole)
    }

    fn write(&mut self, id: CommandId, reports: &[Report]) -> io::Result<()> {
        let mut bytes = Vec::new();
        for report in reports {
            lines::encode(report, &mut bytes)?;
        }
        files::write_atomically(&self.path(id), &bytes, 0o600)?;
        self.note(id, reports, &bytes);
        Ok(())
    }

    fn note(&mut self, id: CommandId, reports: &[Report], content: &[u8]) {
        let mut places = Places::default();
        for (report, line) in reports.iter().zip(content.split_inclusive(|byte| *byte == b'\n')) {
            places.add(report, line.len());
        }
        self.files.insert(id, places);
    }

    fn path(&self, id: CommandId) -> PathBuf {
        self.folder.join(id.to_string())
    }
}

impl Places {
    fn add(&mut self, report: &Report, length: usize) {
        self.reports.push(Place { seq: report.seq, offset: self.bytes, output: report.output_bytes() });
        self.bytes += length as u64;
    }

    /// From which to before which place reports after `after` fit into `bytes`.
    fn fitting(&self, after: u64, bytes: usize) -> (usize, usize) {
        let from = self.reports.partition_point(|place| place.seq <= after);
        let mut room = bytes;
        let fits = self.reports[from..].iter().take(AT_ONCE).take_while(|place| {
            let left = room.checked_sub(place.output);
            room = left.unwrap_or(room);
            left.is_some()
        });
        (from, from + fits.count())
    }
}
