//! The files of a caller.

use std::{
    fs,
    io::Write as _,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use muster_common::tls::{pem, spiffe::Principal};
use rustls::pki_types::CertificateDer;

/// Writes certificate, key and roots into a folder. Answers where the certificate is.
pub(super) fn write(
    out: &Path,
    principal: &Principal,
    chain_der: &[Vec<u8>],
    key: &str,
    roots: &[CertificateDer<'_>],
) -> anyhow::Result<PathBuf> {
    let name = principal.to_string().rsplit('/').next().unwrap_or_default().to_owned();
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(out);
    made.with_context(|| format!("cannot make {}", out.display()))?;
    let chain: Vec<CertificateDer<'_>> = chain_der.iter().map(|der| der.as_slice().into()).collect();
    let certificate = out.join(format!("{name}.crt"));
    replace(&out.join(format!("{name}.key")), key, 0o600)?;
    replace(&certificate, &pem::encode_certificates(&chain), 0o644)?;
    replace(&out.join("ca.crt"), &pem::encode_certificates(roots), 0o644)?;
    Ok(certificate)
}

fn replace(path: &Path, text: &str, mode: u32) -> anyhow::Result<()> {
    let staged = path.with_extension("new");
    let _ = fs::remove_file(&staged);
    let write = || -> std::io::Result<()> {
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&staged)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&staged, path)
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}
