//! Ways in for the fuzz targets.

use muster_common::clock::UnixMillis;

use super::jwt::Keys;

/// Reads a JWK set and a token as a program may bring them; a token that holds names a
/// program of the trust domain.
pub fn token(jwks: &str, token: &str) {
    let Ok(domain) = "fleet.example".parse() else { return };
    let known = r#"{"keys":[{"kty":"EC","crv":"P-256","kid":"k",
        "x":"axfR8uEsQkf4vOblY6RA8ncDfYEt6zOg9KE5RdiYwpY","y":"T-NC4v4af5uO5-tKfA-eFivOM1drMV7Oy7ZAaDe_UfU"}]}"#;
    for keys in [Keys::read(jwks), Keys::read(known)].into_iter().flatten() {
        if let Ok(valid) = keys.check(token, "db", &domain, UnixMillis(1_700_000_000_000)) {
            assert_eq!(valid.id.trust_domain, domain);
        }
    }
}

/// Reads what the kernel says of a process.
pub fn cgroup(text: &str) {
    if let Some(unit) = crate::platform::peer::unit_of(text) {
        assert!(!unit.contains('/') && !unit.ends_with(".slice"));
    }
}
