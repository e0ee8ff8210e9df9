//! Whether the journal of the unit in which the agent runs is the agent's own.

use super::{Options, Stop};
use crate::{
    locks::Locks,
    platform::{
        systemd,
        tool::{self, Broken},
    },
};

/// The unit around this process, if its journal may leave the host. The executor judges
/// that itself.
pub(super) async fn journal(
    options: &Options,
    stop: impl Future<Output = Stop>,
) -> Result<Option<String>, Broken<Stop>> {
    let Some(unit) = systemd::own_unit() else { return Ok(None) };
    if options.hands.asks_for_own_journal() {
        return Ok(Some(unit));
    }
    let main_pid = match tool::run(systemd::show(&unit), stop).await {
        Ok(shown) => systemd::unit(&String::from_utf8_lossy(&shown.stdout)).main_pid,
        Err(Broken::Io(_)) => 0, // nobody says that it is ours
        Err(stopped) => return Err(stopped),
    };
    Ok(may(&unit, main_pid, &options.locks.current()).then_some(unit))
}

/// A service whose main process is the agent speaks of nobody else. Any other, such as the
/// session of who started the agent by hand, is like the units that an order names.
fn may(unit: &str, main_pid: u32, locks: &Locks) -> bool {
    (unit.ends_with(".service") && main_pid == std::process::id()) || locks.refuses_journal(unit).is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_journal_of_the_agents_own_service_needs_no_leave() {
        let (own, nothing) = (std::process::id(), Locks::default());
        assert!(may("muster-node-agent.service", own, &nothing));
        assert!(!may("muster-node-agent.service", 0, &nothing));
        assert!(!may("app.service", own + 1, &nothing));
        for around in ["session-3.scope", "user@1000.service", "app.service"] {
            assert!(!may(around, 0, &nothing), "{around}");
        }
        assert!(!may("session-3.scope", own, &nothing));
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "[commands]\njournals = [\"app.service\"]\n").unwrap();
        assert!(may("app.service", 0, &Locks::load(file.path()).unwrap()));
    }
}
