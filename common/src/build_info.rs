//! What this binary is.

/// Release of this build.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Newest version of the session protocol that this build speaks.
pub const PROTOCOL_MAX: u32 = 1;

/// Oldest version of the session protocol that this build speaks.
pub const PROTOCOL_MIN: u32 = 1;

/// One line for `version` commands.
#[must_use]
pub fn line(program: &str) -> String {
    format!("{program} {VERSION} (protocol {PROTOCOL_MIN} to {PROTOCOL_MAX})")
}
