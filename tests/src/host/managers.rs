//! The package managers of a host, and somebody else at work with them.

use super::Host;
use crate::eventually::{LONG, eventually};

/// Takes the lock of a file as dpkg and rpm do, and says when it has it.
const HOLD: &str = r#"use Fcntl;
open(my $file, "+>>", $ARGV[0]) or die;
my $lock = pack("s s x4 q q i x4", F_WRLCK, 0, 0, 0, 0);
fcntl($file, F_SETLK, $lock) or die;
open(my $held, ">", "/run/held") or die;
sleep 600;
"#;
const OTHER: &str = "other-at-work.service";

impl Host {
    /// Whether a line of shell works, and what it says on both ways. It tells its end itself: of
    /// the unit that it runs in, systemd may say that it failed because dnf and zypper leave
    /// gpg's agent behind in it.
    #[must_use]
    pub fn told(&self, line: &str) -> (bool, String) {
        let done = self.exec(&["sh", "-c", &format!("({line}) 2>&1; echo exit status $?")]);
        let said = String::from_utf8_lossy(&done.stdout).into_owned();
        (said.ends_with("exit status 0\n"), said)
    }

    /// As `told`, of one that works.
    ///
    /// # Panics
    /// If it fails.
    pub fn works(&self, line: &str) -> String {
        let (worked, said) = self.told(line);
        assert!(worked, "{line}: {said}");
        said
    }

    /// Has another process take the lock of a file and keep it.
    ///
    /// # Panics
    /// If somebody has it already.
    pub async fn hold(&self, lock: &str) {
        self.write("/root/hold", HOLD);
        self.run(&format!("rm -f /run/held; systemd-run --quiet --unit {OTHER} perl /root/hold {lock}"));
        eventually("somebody holds the lock", LONG, || {
            std::future::ready(self.read("/run/held").is_some().then_some(()))
        })
        .await;
    }

    /// The process id, in the host, of who holds it.
    #[must_use]
    pub fn holder(&self) -> String {
        self.sh(&format!("systemctl show --property MainPID --value {OTHER}")).trim().to_owned()
    }

    /// Ends what `hold` began.
    pub fn let_go(&self) {
        self.run(&format!("systemctl stop {OTHER}"));
    }
}
