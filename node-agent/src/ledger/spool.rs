//! Output that is not yet acknowledged: one file for each command that wrote any.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use muster_common::ids::CommandId;

use super::lines;
use crate::{platform::files, state::Report};

#[derive(Debug)]
pub(super) struct Spool {
    folder: PathBuf,
}

impl Spool {
    pub(super) fn open(folder: &Path) -> io::Result<Self> {
        files::private_folder(folder)?;
        Ok(Self { folder: folder.to_owned() })
    }

    /// Adds a report, durably.
    pub(super) fn append(&self, id: CommandId, report: &Report) -> io::Result<()> {
        let path = self.path(id);
        let new = !path.exists();
        let mut bytes = Vec::new();
        lines::encode(report, &mut bytes)?;
        let mut file = OpenOptions::new().append(true).create(true).mode(0o600).open(&path)?;
        let before = file.metadata()?.len();
        if let Err(error) = file.write_all(&bytes).and_then(|()| file.sync_data()) {
            // A part of a line would make the next one unreadable.
            let _ = file.set_len(before);
            return Err(error);
        }
        if new { files::sync_folder(&self.folder) } else { Ok(()) }
    }

    /// Reports after `after`, at most about `bytes` of output.
    pub(super) fn read(&self, id: CommandId, after: u64, bytes: usize) -> io::Result<Vec<Report>> {
        let mut room = bytes;
        let mut found = Vec::new();
        for report in self.all(id)?.into_iter().filter(|report| report.seq > after) {
            if report.output_bytes() > room {
                break;
            }
            room -= report.output_bytes();
            found.push(report);
        }
        Ok(found)
    }

    /// Commands with output, and the number of their newest report.
    pub(super) fn recover(&self) -> io::Result<Vec<(CommandId, u64)>> {
        let mut found = Vec::new();
        for file in fs::read_dir(&self.folder)? {
            let name = file?.file_name();
            let Some(id) = name.to_str().and_then(|name| name.parse().ok()) else { continue };
            self.cut(id)?;
            let last = self.all(id)?.last().map_or(0, |report| report.seq);
            found.push((id, last));
        }
        Ok(found)
    }

    pub(super) fn remove(&self, id: CommandId) {
        if let Err(error) = fs::remove_file(self.path(id))
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(%error, "could not remove the output of command {id}");
        }
    }

    fn all(&self, id: CommandId) -> io::Result<Vec<Report>> {
        match fs::read(self.path(id)) {
            Ok(content) => lines::decode(&content).map(|(reports, _)| reports),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// Takes off a last line that was cut.
    fn cut(&self, id: CommandId) -> io::Result<()> {
        let path = self.path(id);
        let content = fs::read(&path)?;
        let (_, good) = lines::decode::<Report>(&content)?;
        if good < content.len() {
            let file = OpenOptions::new().write(true).open(&path)?;
            file.set_len(good as u64)?;
            file.sync_all()?;
        }
        Ok(())
    }

    fn path(&self, id: CommandId) -> PathBuf {
        self.folder.join(id.to_string())
    }
}
