//! What of an item people compare, out of its bytes.

use muster_common::digest::Sha256;
use muster_domain::item::ItemName;
use muster_proto::types::v1 as types;
use prost::Message as _;

use crate::app::preview::{FileOutline, Outline};

/// Of bytes that do not decode: nothing, their host says so.
#[must_use]
pub fn outline(item: &ItemName, payload: &[u8]) -> Outline {
    match item {
        ItemName::Settings => Outline::default(), // whoever merges them reads them
        ItemName::Bundle(_) => bundle(payload),
        ItemName::Extension(_) => extension(payload),
        ItemName::Release => release(payload),
    }
}

fn extension(payload: &[u8]) -> Outline {
    let Ok(content) = types::ExtensionContent::decode(payload) else { return Outline::default() };
    let limits = content.limits.unwrap_or_default();
    let number = |number: u64| if number == 0 { String::new() } else { number.to_string() };
    // Another id is other protected settings; more of them is for nobody.
    let values = [
        ("package", format!("{}/{} {}", content.publisher, content.r#type, content.package_version)),
        ("settings", String::from_utf8_lossy(&content.settings).into_owned()),
        ("protected_settings", content.protected_id.clone()),
        ("limits.memory_bytes", number(limits.memory_bytes)),
        ("limits.cpu_percent", number(limits.cpu_percent.into())),
        ("limits.tasks", number(limits.tasks.into())),
    ];
    named(
        values.into_iter().map(|(name, value)| (name.to_owned(), value)).chain(artifacts(&content.artifacts)),
    )
}

fn release(payload: &[u8]) -> Outline {
    let Ok(content) = types::ReleaseContent::decode(payload) else { return Outline::default() };
    let values = [("version", content.version.clone()), ("package_version", content.package_version.clone())];
    named(
        values.into_iter().map(|(name, value)| (name.to_owned(), value)).chain(artifacts(&content.artifacts)),
    )
}

fn artifacts(all: &[types::PlatformArtifact]) -> impl Iterator<Item = (String, String)> {
    all.iter().map(|it| {
        let sha256 =
            it.artifact.as_ref().and_then(|it| Sha256::from_slice(&it.sha256)).unwrap_or(Sha256::ZERO);
        (format!("{}-{}", it.os, it.arch), sha256.to_string())
    })
}

fn named(values: impl Iterator<Item = (String, String)>) -> Outline {
    Outline { values: values.filter(|(_, value)| !value.is_empty()).collect(), ..Outline::default() }
}

fn bundle(payload: &[u8]) -> Outline {
    let Ok(content) = types::BundleContent::decode(payload) else { return Outline::default() };
    let hooks =
        [("validate", &content.validate), ("on_change", &content.on_change), ("probe", &content.probe)];
    let hooks = hooks.into_iter().filter_map(|(name, it)| Some((name.to_owned(), hook(it.as_ref()?))));
    let words = [
        ("mode", word(content.mode().as_str_name(), "BUNDLE_MODE_")),
        ("on_remove", word(content.on_remove().as_str_name(), "BUNDLE_ON_REMOVE_")),
    ];
    let confirm = match content.confirm_after_s {
        0 => String::new(),
        seconds => format!("{seconds} s"),
    };
    let words = words.into_iter().chain([("confirm_after", confirm)]);
    let words = words.map(|(name, word)| (name.to_owned(), word));
    let files = content.files.iter().map(|it| (it.path.clone(), file(it)));
    Outline {
        files: files.collect(),
        values: hooks.chain(words.filter(|(_, word)| !word.is_empty())).collect(),
    }
}

fn file(file: &types::BundleFile) -> FileOutline {
    let kind = match (file.absent, file.directory) {
        (true, _) => "absent",
        (false, true) => "folder",
        (false, false) => "file",
    };
    let mode = match (file.mode, file.absent, file.directory) {
        (_, true, _) => String::new(),
        (0, _, true) => "0755".to_owned(),
        (0, _, false) if file.protected => "0600".to_owned(),
        (0, _, false) => "0644".to_owned(),
        (mode, ..) => format!("{mode:04o}"),
    };
    let is_protected = if file.protected { "yes" } else { "" };
    let properties = [
        ("protected", is_protected.to_owned()),
        ("kind", kind.to_owned()),
        ("mode", mode),
        ("owner", file.owner.clone()),
        ("group", file.group.clone()),
    ];
    let (sha256, content) = match &file.blob {
        Some(blob) => (Sha256::from_slice(&blob.sha256).unwrap_or(Sha256::ZERO), None),
        // Another id is another content; more of it is for nobody.
        None if file.protected => (Sha256::of(file.protected_id.as_bytes()), None),
        None => (Sha256::of(&file.content), Some(file.content.clone())),
    };
    FileOutline {
        sha256,
        content,
        properties: properties.into_iter().filter(|(_, value)| !value.is_empty()).collect(),
    }
}

fn hook(hook: &types::Hook) -> String {
    let mut text = format!("{:?}", hook.argv);
    if hook.timeout_s > 0 {
        text += &format!(" within {} s", hook.timeout_s);
    }
    if !hook.working_directory.is_empty() {
        text += &format!(" in {:?}", hook.working_directory);
    }
    for (name, value) in &hook.environment {
        text += &format!(" {name}={value:?}");
    }
    text
}

/// A word of an enum; the first one, which says nothing, is empty.
fn word(name: &str, prefix: &str) -> String {
    let word = name.strip_prefix(prefix).unwrap_or(name);
    if word == "UNSPECIFIED" { String::new() } else { word.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_content_is_seen_file_by_file_and_hook_by_hook() {
        let files = vec![
            types::BundleFile { path: "/a".into(), content: "x".into(), mode: 0o600, ..Default::default() },
            types::BundleFile {
                path: "/b".into(),
                directory: true,
                owner: "web".into(),
                ..Default::default()
            },
            types::BundleFile { path: "/c".into(), absent: true, ..Default::default() },
            types::BundleFile {
                path: "/d".into(),
                protected: true,
                protected_id: "x".into(),
                ..Default::default()
            },
            types::BundleFile {
                path: "/e".into(),
                blob: Some(types::FileBlob { sha256: vec![7; 32].into(), size_bytes: 9 }),
                ..Default::default()
            },
        ];
        let environment = [("A".to_owned(), "b".to_owned())].into();
        let probe =
            types::Hook { argv: vec!["/bin/true".into()], timeout_s: 5, environment, ..Default::default() };
        let mut content = types::BundleContent { files, probe: Some(probe), ..Default::default() };
        content.set_mode(types::BundleMode::Audit);
        let outline = bundle(&content.encode_to_vec());
        let properties = |path: &str| outline.files[path].properties.clone().into_iter().collect::<Vec<_>>();
        let told = |pairs: &[(&'static str, &str)]| {
            pairs.iter().map(|(k, v)| (*k, (*v).to_owned())).collect::<Vec<_>>()
        };
        assert_eq!(properties("/a"), told(&[("kind", "file"), ("mode", "0600")]));
        assert_eq!(properties("/b"), told(&[("kind", "folder"), ("mode", "0755"), ("owner", "web")]));
        assert_eq!(properties("/c"), told(&[("kind", "absent")]));
        assert_eq!(properties("/d"), told(&[("kind", "file"), ("mode", "0600"), ("protected", "yes")]));
        assert_eq!(outline.files["/d"].content, None, "nobody sees it");
        assert_eq!(
            (outline.files["/e"].content.clone(), outline.files["/e"].sha256),
            (None, Sha256::from_slice(&[7; 32]).unwrap())
        );
        assert_eq!(outline.files["/a"].content.as_deref(), Some(b"x".as_slice()));
        let values: Vec<_> = outline.values.into_iter().collect();
        let probe = "[\"/bin/true\"] within 5 s A=\"b\"".to_owned();
        assert_eq!(values, [("mode".to_owned(), "AUDIT".to_owned()), ("probe".to_owned(), probe)]);
    }
}
