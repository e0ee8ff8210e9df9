//! How a text differs from another, for people.

use std::time::Duration;

use similar::TextDiff;

/// Larger texts are not compared.
pub const LARGEST: usize = 16 * 1024;
/// Of a diff, so many bytes are told.
const TOLD: usize = 4 * 1024;
/// A comparison that takes longer says less exactly what differs.
const LONGEST: Duration = Duration::from_millis(200);
const CUT: &str = "…\n";

/// A unified diff of at most 4 KiB. `None`: one of them is no text, or too large.
/// `names`: what the two are called in it.
#[must_use]
pub fn unified(before: &[u8], after: &[u8], names: (&str, &str)) -> Option<String> {
    let (before, after) = (readable(before)?, readable(after)?);
    let diff = TextDiff::configure().timeout(LONGEST).diff_lines(before, after);
    let text = diff.unified_diff().context_radius(3).header(names.0, names.1).to_string();
    Some(cut(text))
}

fn readable(bytes: &[u8]) -> Option<&str> {
    if bytes.len() > LARGEST {
        return None;
    }
    let control = |c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t');
    std::str::from_utf8(bytes).ok().filter(|text| !text.contains(control))
}

/// Whole lines, if there are any.
fn cut(mut text: String) -> String {
    if text.len() <= TOLD {
        return text;
    }
    let most = text.floor_char_boundary(TOLD - CUT.len());
    text.truncate(text[..most].rfind('\n').map_or(most, |end| end + 1));
    text + CUT
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(before: &[u8], after: &[u8]) -> Option<String> {
        unified(before, after, ("bundle", "host"))
    }

    #[test]
    fn lines_that_differ_are_told_with_those_around() {
        let diff = text(b"a\nb\nc\nd\ne\nf\n", b"a\nb\nc\nD\ne\nf\n").unwrap();
        assert_eq!(diff, "--- bundle\n+++ host\n@@ -1,6 +1,6 @@\n a\n b\n c\n-d\n+D\n e\n f\n");
    }

    #[test]
    fn only_texts_of_some_size_are_compared() {
        assert!(
            text(b"a\0", b"b").is_none() && text(b"a", b"\xff").is_none() && text(b"\x1b[2J", b"").is_none()
        );
        let large = "x\n".repeat(8 * 1024);
        assert!(text(large.as_bytes(), b"x").is_some());
        assert!(text(large.as_bytes(), format!("{large}x").as_bytes()).is_none());
    }

    #[test]
    fn a_long_diff_is_cut_at_a_line() {
        let (before, after) = ("old line\n".repeat(1500), "new line, é\n".repeat(1200));
        let diff = text(before.as_bytes(), after.as_bytes()).unwrap();
        assert!(diff.len() <= TOLD && diff.ends_with("line\n…\n"), "{}", diff.len());
        let one_line = text("x".repeat(9000).as_bytes(), "é".repeat(8000).as_bytes()).unwrap();
        assert!(one_line.len() <= TOLD && one_line.starts_with("--- bundle\n"));
    }
}
