//! What this binary is.

use std::hint::black_box;

/// What stands before the version in a binary.
pub const MARK: &str = "muster-version=";
/// Bytes of mark and version, filled up with zeros.
pub const FIELD_BYTES: usize = 80;

/// The release of this build, where it can be found and overwritten: two versions of one
/// program need not be built twice, and a release candidate becomes the release without
/// another build.
#[used]
static FIELD: [u8; FIELD_BYTES] = field(env!("CARGO_PKG_VERSION"));

/// Newest version of the session protocol that this build speaks.
pub const PROTOCOL_MAX: u32 = 1;

/// Oldest version of the session protocol that this build speaks.
pub const PROTOCOL_MIN: u32 = 1;

/// Release of this build.
#[must_use]
pub fn version() -> &'static str {
    // What the compiler knows of the field is not what stands in the binary later.
    let field: &'static [u8; FIELD_BYTES] = black_box(&FIELD);
    let text = &field[MARK.len()..];
    let end = text.iter().position(|byte| *byte == 0).unwrap_or(text.len());
    std::str::from_utf8(&text[..end]).unwrap_or("unreadable")
}

/// One line for `version` commands.
#[must_use]
pub fn line(program: &str) -> String {
    format!("{program} {} (protocol {PROTOCOL_MIN} to {PROTOCOL_MAX})", version())
}

const fn field(version: &str) -> [u8; FIELD_BYTES] {
    let (mark, version) = (MARK.as_bytes(), version.as_bytes());
    assert!(mark.len() + version.len() < FIELD_BYTES, "the version has no room");
    let mut field = [0; FIELD_BYTES];
    let mut at = 0;
    while at < mark.len() + version.len() {
        field[at] = if at < mark.len() { mark[at] } else { version[at - mark.len()] };
        at += 1;
    }
    field
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_that_of_the_build_and_the_field_has_room_for_longer_ones() {
        assert_eq!(version(), env!("CARGO_PKG_VERSION"));
        assert!(FIELD_BYTES - MARK.len() > "10.20.30-candidate.40+0123456789abcdef".len());
    }
}
