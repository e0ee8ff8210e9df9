//! Where the binaries lie: beside the test that asks.

use std::path::PathBuf;

/// The path of a binary of this build.
///
/// # Panics
/// If it was not built.
#[must_use]
pub fn path(name: &str) -> PathBuf {
    let me = std::env::current_exe().expect("every process has a program");
    let found = me.ancestors().skip(1).take(2).map(|folder| folder.join(name)).find(|path| path.exists());
    found.unwrap_or_else(|| {
        panic!(
            "{name} is not beside {}; build it: cargo build --bins --features \
             muster-control-plane/crash-points,muster-node-agent/crash-points",
            me.display()
        )
    })
}

/// The root of the repository.
#[must_use]
pub fn repository() -> PathBuf {
    let here = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_owned()
}
