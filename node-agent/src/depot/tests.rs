use std::{fs, io::Cursor};

use ruzstd::encoding::{CompressionLevel, compress_to_vec};

use super::*;

/// A `tar.zst` of plain files.
pub(crate) fn pack(files: &[(&str, u32, &[u8])]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, mode, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Regular);
        header.set_mode(*mode);
        header.set_size(bytes.len() as u64);
        archive.append_data(&mut header, name, *bytes).unwrap();
    }
    compress_to_vec(Cursor::new(archive.into_inner().unwrap()), CompressionLevel::Fastest)
}

const MANIFEST: &[u8] = b"publisher = \"acme\"\ntype = \"log\"\nversion = \"1.0.0\"\nproxy = \"agent\"\n\
    [limits]\nmemory-bytes = 33554432\n[verbs.enable]\nargv = [\"bin/enable\", \"x\"]\n[run]\nargv = [\"bin/run\"]\n";

fn about(type_name: &str) -> About {
    About {
        kind: Kind::Extension,
        publisher: "acme".to_owned(),
        type_name: type_name.to_owned(),
        version: "1.0.0".to_owned(),
        os: "linux".to_owned(),
        arch: "any".to_owned(),
    }
}

fn depot(folder: &Path, bytes: &[u8]) -> (Depot, Package) {
    let admitted = folder.join("admitted");
    fs::create_dir_all(&admitted).unwrap();
    let sha256 = Sha256::of(bytes);
    fs::write(admitted.join(sha256.to_string()), bytes).unwrap();
    let package = Package {
        name: "log".to_owned(),
        publisher: "acme".to_owned(),
        kind: "log".to_owned(),
        version: "1.0.0".to_owned(),
        sha256,
    };
    let open = move |sha256: Sha256| {
        Ok((File::open(admitted.join(sha256.to_string()))?, vec![about("trace"), about("log")]))
    };
    (Depot::new(&folder.join("extensions"), Arc::new(open)), package)
}

fn launch(package: &Package, verb: Verb) -> Launch {
    Launch {
        id: muster_common::ids::CommandId::generate(),
        package: package.clone(),
        verb,
        from_version: "0.9".to_owned(),
        proxy: [("HTTPS_PROXY".to_owned(), "http://proxy:1".to_owned())].into(),
        limits: Limits { tasks: Some(7), ..Limits::default() },
        place: None,
    }
}

#[test]
fn a_package_becomes_orders_that_nobody_else_words() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = pack(&[("manifest.toml", 0o644, MANIFEST), ("bin/enable", 0o755, b"#!/bin/sh\n")]);
    let (depot, package) = depot(folder.path(), &bytes);
    depot.unpack(&package).unwrap();
    depot.unpack(&package).unwrap(); // again is harmless
    depot.configure(&package, b"{\"a\":1}", b"").unwrap();
    let order = depot.order(&launch(&package, Verb::Enable)).unwrap();
    let home = folder.path().join("extensions/log");
    assert!(order.program[0].ends_with("/bin/enable") && order.program[1] == "x");
    assert!(Path::new(&order.program[0]).starts_with(&home));
    assert_eq!(order.environment["MUSTER_EXT_FROM_VERSION"], "0.9");
    assert_eq!(order.environment["HTTPS_PROXY"], "http://proxy:1");
    assert_eq!((order.limits.memory, order.limits.tasks), (Some(32 << 20), Some(7)));
    assert!(order.limits.time.is_some());
    assert_eq!(depot.order(&launch(&package, Verb::Run)).unwrap().limits.time, None);
    let none = depot.order(&launch(&package, Verb::Install)).unwrap_err();
    assert_eq!(none.kind(), io::ErrorKind::NotFound);
    assert_eq!(fs::read(home.join("config/settings.json")).unwrap(), b"{\"a\":1}");
    assert_eq!(fs::read(home.join("config/protected.json")).unwrap(), b"{}");
    depot.keep("log", std::slice::from_ref(&package)).unwrap();
    assert!(depot.manifest(&package).is_ok());
    depot.keep("log", &[]).unwrap();
    assert!(depot.manifest(&package).is_err() && home.join("config").exists());
    depot.clear("log").unwrap();
    depot.clear("log").unwrap();
    assert!(!home.exists());
}

#[test]
fn a_package_that_is_another_one_and_names_that_lead_elsewhere_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (depot, package) = depot(folder.path(), &pack(&[("manifest.toml", 0o644, MANIFEST)]));
    let other = Package { kind: "trace".to_owned(), ..package.clone() };
    assert_eq!(depot.unpack(&other).unwrap_err().kind(), io::ErrorKind::InvalidData);
    for name in ["..", "", "a/b", ".a", "A"] {
        let other = Package { name: name.to_owned(), ..package.clone() };
        assert_eq!(depot.unpack(&other).unwrap_err().kind(), io::ErrorKind::InvalidInput, "{name}");
        assert!(depot.clear(name).is_err() && depot.keep(name, &[]).is_err(), "{name}");
    }
    let other = Package { version: "../1".to_owned(), ..package.clone() };
    assert!(depot.unpack(&other).is_err());
    let missing = Package { sha256: Sha256::of(b"never admitted"), ..package };
    assert_eq!(depot.unpack(&missing).unwrap_err().kind(), io::ErrorKind::NotFound);
}

#[test]
fn a_handler_finds_its_environment_and_its_settings() {
    let folder = tempfile::tempdir().unwrap();
    let handler = br#"[{"version": 1.0, "handlerManifest": {"installCommand": "bin/h install",
        "uninstallCommand": "bin/h uninstall", "enableCommand": "bin/h enable",
        "disableCommand": "bin/h disable", "updateCommand": "", "rebootAfterInstall": false}}]"#;
    let bytes = pack(&[("HandlerManifest.json", 0o644, handler), ("bin/h", 0o755, b"#!/bin/sh\n")]);
    let (depot, package) = depot(folder.path(), &bytes);
    let manifest = depot.unpack(&package).unwrap();
    assert!(manifest.is_handler && manifest.has(Verb::Install) && !manifest.has(Verb::Update));
    depot.configure(&package, b"{\"a\":1}", b"{\"key\":\"s\"}").unwrap();
    let home = folder.path().join("extensions/log");
    let settings: serde_json::Value =
        serde_json::from_slice(&fs::read(home.join("config/0.settings")).unwrap()).unwrap();
    let one = &settings["runtimeSettings"][0]["handlerSettings"];
    assert_eq!((&one["publicSettings"]["a"], &one["protectedSettings"]["key"]), (&1.into(), &"s".into()));
    let order = depot.order(&launch(&package, Verb::Install)).unwrap();
    assert_eq!(order.program[1], "install");
    let environment = order.folder.join("HandlerEnvironment.json");
    let environment: serde_json::Value = serde_json::from_slice(&fs::read(environment).unwrap()).unwrap();
    let places = &environment[0]["handlerEnvironment"];
    assert_eq!(places["statusFolder"], home.join("status").to_str().unwrap());
    fs::write(home.join("status/0.status"), b"[]").unwrap();
    assert_eq!(depot.status(&package).unwrap().as_deref(), Some(&b"[]"[..]));
}

#[test]
fn a_package_is_what_was_signed_and_not_what_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let handler = br#"{"handlerManifest": {"installCommand": "bin/h", "uninstallCommand": "bin/h",
        "enableCommand": "bin/h", "disableCommand": "bin/h"}}"#;
    let own = br#"[{"kind":"extension","publisher":"good","type":"log","version":"1.0.0","os":"linux","arch":"any"}]"#;
    let bytes = pack(&[("HandlerManifest.json", 0o644, handler), (SIGNED, 0o644, own)]);
    let (depot, package) = depot(folder.path(), &bytes);
    let others = [
        Package { publisher: "good".to_owned(), ..package.clone() },
        Package { kind: "metrics".to_owned(), ..package.clone() },
        Package { version: "1.0.1".to_owned(), ..package.clone() },
    ];
    let refused = |at: &str| {
        for other in &others {
            assert_eq!(depot.unpack(other).unwrap_err().kind(), io::ErrorKind::InvalidData, "{at} {other:?}");
        }
    };
    refused("before");
    assert!(!folder.path().join("extensions/log").join(package.folder()).exists());
    depot.unpack(&package).unwrap();
    refused("after");
    let other = Launch { package: others[0].clone(), ..launch(&package, Verb::Install) };
    assert_eq!(depot.order(&other).unwrap_err().kind(), io::ErrorKind::InvalidData);
    // By its other name in the repository it is another package, and may be that one, too.
    depot.unpack(&Package { kind: "trace".to_owned(), ..package }).unwrap();
}
