use muster_common::generation::Generation;
use muster_domain::item::ItemVersion;

use super::*;

fn wanted(version: &str, payload: &str) -> Wanted {
    let (sha256, generation) = (Sha256::of(payload.as_bytes()), Generation::new(1, 1));
    Wanted {
        item: item(),
        version: ItemVersion { generation, version: version.to_owned(), sha256 },
        payload: Bytes::copy_from_slice(payload.as_bytes()),
        secrets: [].into(),
    }
}

fn item() -> ItemName {
    ItemName::Bundle("web".to_owned())
}

/// A payload of these tests: `PATH MODE TEXT` in each line; a text that begins with `?`
/// is not to be shown.
fn outline(_: &ItemName, payload: &[u8]) -> Outline {
    let text = std::str::from_utf8(payload).unwrap();
    let files = text.lines().map(|line| {
        let [path, mode, text] = line.splitn(3, ' ').collect::<Vec<_>>().try_into().unwrap();
        let content = (!text.starts_with('?')).then(|| Bytes::copy_from_slice(text.as_bytes()));
        let properties = [("mode", mode.to_owned())].into();
        (path.to_owned(), FileOutline { sha256: Sha256::of(text.as_bytes()), content, properties })
    });
    Outline { files: files.collect(), ..Outline::default() }
}

fn between(from: Option<&str>, to: Option<&str>, budget: &mut Budget) -> Difference {
    let (from, to) = (from.map(|it| wanted("1", it)), to.map(|it| wanted("2", it)));
    Difference::between(&item(), from.as_ref(), to.as_ref(), 3, outline, budget)
}

#[test]
fn each_file_is_told_by_what_becomes_of_it() {
    let from = "/a 0644 one\n/b 0644 same\n/c 0644 gone";
    let to = "/a 0600 two\n/b 0644 same\n/d 0644 new";
    let found = between(Some(from), Some(to), &mut Budget::default());
    assert_eq!((found.from.as_str(), found.to.as_str(), found.nodes, found.is_cut), ("1", "2", 3, false));
    let told: Vec<_> = found.files.iter().map(|it| (it.path.as_str(), it.kind, it.what.join(", "))).collect();
    assert_eq!(
        told,
        [
            ("/a", Kind::Changed, "content, mode \"0644\" -> \"0600\"".to_owned()),
            ("/c", Kind::Removed, String::new()),
            ("/d", Kind::Added, String::new()),
        ]
    );
    assert!(found.files[0].diff.contains("-one\n") && found.files[0].diff.contains("+two\n"), "{found:?}");
    assert!(found.files[1].diff.is_empty() && found.files[2].diff.contains("+new"), "{found:?}");
}

#[test]
fn of_a_content_that_is_not_to_be_shown_only_the_change_is_told() {
    for (from, to) in
        [("/a 0600 ?old", "/a 0600 ?new"), ("/a 0600 old", "/a 0600 ?new"), ("/a 0600 ?old", "/a 0600 new")]
    {
        let found = between(Some(from), Some(to), &mut Budget::default());
        assert_eq!(
            (found.files[0].what.as_slice(), found.files[0].diff.as_str()),
            (["content".to_owned()].as_slice(), "")
        );
    }
    let added = between(None, Some("/a 0600 ?new"), &mut Budget::default());
    assert_eq!((added.files[0].kind, added.files[0].diff.as_str()), (Kind::Added, ""));
}

#[test]
fn all_texts_together_are_bounded_and_files_are_still_named() {
    let long =
        |word: &str| (0..60).map(|n| format!("/f{n:02} 0644 {}\n", word.repeat(800))).collect::<String>();
    let mut budget = Budget::default();
    let found = between(Some(&long("old")), Some(&long("new")), &mut budget);
    let bytes: usize = found.files.iter().map(|it| it.diff.len()).sum();
    assert!(found.is_cut && found.files.len() == 60 && bytes <= TEXTS && bytes > TEXTS / 2, "{bytes}");
    assert!(found.files.iter().all(|it| it.diff.len() <= 4096));
    let next = between(Some(&long("old")), Some(&long("new")), &mut budget);
    assert!(next.is_cut, "the bound is of the whole preview");
}

#[test]
fn values_are_told_by_name_and_are_bounded_too() {
    let outline = |_: &ItemName, payload: &[u8]| Outline {
        values: serde_json::from_slice(payload).unwrap(),
        ..Outline::default()
    };
    let between = |from: &str, to: &str| {
        let (from, to) = (wanted("1", from), wanted("2", to));
        Difference::between(&item(), Some(&from), Some(&to), 1, outline, &mut Budget::default())
    };
    let found = between(r#"{"a":"1","b":"2","c":"3"}"#, r#"{"a":"1","b":"9","d":"4"}"#);
    let told: Vec<_> = found.values.iter().map(|it| [&it.name, &it.from, &it.to]).collect();
    assert_eq!(told, [["b", "2", "9"], ["c", "3", ""], ["d", "", "4"]]);
    let large = format!(r#"{{"a":"{}","b":"2"}}"#, "x".repeat(NAMES));
    let found = between("{}", &large);
    assert_eq!((found.values.len(), found.values[0].name.as_str(), found.is_cut), (1, "b", true));
}

#[test]
fn a_changed_mode_alone_has_no_text() {
    let found = between(Some("/a 0644 x"), Some("/a 0755 x"), &mut Budget::default());
    assert_eq!(found.files[0].what, ["mode \"0644\" -> \"0755\""]);
    assert!(found.files[0].diff.is_empty());
}
