//! How often a path is corrected. Two who each want their own content in a file
//! must not keep the host busy with it.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use muster_common::clock::Instant;

/// So often a path is corrected at once.
const AT_ONCE: u32 = 3;
/// After that, at most once in this time.
pub(in crate::applier) const WAIT: Duration = Duration::from_secs(60);
/// A path that was left alone for so long begins anew.
const CALM: Duration = Duration::from_secs(600);

/// The corrections of late.
#[derive(Debug, Default)]
pub(in crate::applier) struct Pace(BTreeMap<PathBuf, Corrected>);

#[derive(Debug, Clone, Copy)]
struct Corrected {
    times: u32,
    last: Instant,
}

impl Pace {
    /// Until when none of these may be corrected again. `None`: now.
    pub(in crate::applier) fn held_until<'a>(
        &self,
        paths: impl Iterator<Item = &'a Path>,
        now: Instant,
    ) -> Option<Instant> {
        let often = paths.filter_map(|path| self.0.get(path)).filter(|it| it.times >= AT_ONCE);
        often.map(|it| it.last + WAIT).filter(|until| *until > now).max()
    }

    /// These are corrected now.
    pub(in crate::applier) fn count<'a>(&mut self, paths: impl Iterator<Item = &'a Path>, now: Instant) {
        self.0.retain(|_, it| now - it.last < CALM);
        for path in paths {
            let it = self.0.entry(path.to_owned()).or_insert(Corrected { times: 0, last: now });
            *it = Corrected { times: it.times.saturating_add(1), last: now };
        }
    }
}

#[cfg(test)]
mod tests {
    use muster_common::clock::Clock;

    use super::*;

    #[test]
    fn after_three_times_a_path_waits_and_others_do_not() {
        let mut now = Clock::System.monotonic();
        let mut pace = Pace::default();
        let (a, b) = (Path::new("/a"), Path::new("/b"));
        for _ in 0..AT_ONCE {
            assert_eq!(pace.held_until([a, b].into_iter(), now), None);
            pace.count([a].into_iter(), now);
        }
        assert_eq!(pace.held_until([a, b].into_iter(), now), Some(now + WAIT));
        assert_eq!(pace.held_until([b].into_iter(), now), None);
        for _ in 0..20 {
            now += WAIT;
            assert_eq!(pace.held_until([a].into_iter(), now), None);
            pace.count([a].into_iter(), now);
            assert_eq!(pace.held_until([a].into_iter(), now), Some(now + WAIT), "once in a minute, for ever");
        }
        now += CALM;
        pace.count([a].into_iter(), now);
        assert_eq!(pace.held_until([a].into_iter(), now), None, "it begins anew");
    }
}
