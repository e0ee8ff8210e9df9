//! Other versions of a program, as tests of upgrades make them.

use std::process::Command;

use muster_tests::{binaries, versions::make};

#[test]
fn a_made_version_is_what_the_program_says_of_itself() {
    let folder = tempfile::tempdir().unwrap();
    for program in ["muster-node-agent", "muster-control-plane"] {
        let made = folder.path().join(program);
        make(&binaries::path(program), "9.8.7-rc.1", &made);
        for word in ["version", "--version"] {
            let said = Command::new(&made).arg(word).output().unwrap();
            let said = String::from_utf8_lossy(&said.stdout).into_owned();
            assert!(said.starts_with(&format!("{program} 9.8.7-rc.1")), "{said}");
        }
    }
}
