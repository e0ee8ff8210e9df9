//! Where output is cut that is longer than what is kept of it.

/// A line that is longer is no line: what it belongs to is cut anywhere.
pub const LINE: usize = 64 * 1024;

/// How many bytes of a piece are kept where only `room` of them fit: whole lines, as
/// far as there are any. `open`: bytes of the line on which the piece goes on; `line`: the
/// longest line that is not cut in its middle. What is binary is cut anywhere.
#[must_use]
pub fn kept(piece: &[u8], room: usize, open: usize, line: usize) -> usize {
    let Some(fits) = piece.get(..room) else { return piece.len() };
    if fits.contains(&0) {
        return room;
    }
    let (end, begun) = match fits.iter().rposition(|byte| *byte == b'\n') {
        Some(at) => (at + 1, 0),
        None => (0, open),
    };
    if begun + (room - end) > line { room } else { end }
}

/// What says that output is cut, on a line of its own. `open`: it comes after a line
/// that is not over.
#[must_use]
pub fn marker(open: bool, what: &str) -> Vec<u8> {
    format!("{}[muster: output cut here, {what}]\n", if open { "\n" } else { "" }).into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_kept_whole() {
        assert_eq!(kept(b"one\ntwo\nthree\n", 100, 0, LINE), 14);
        assert_eq!(kept(b"one\ntwo\nthree\n", 14, 0, LINE), 14);
        assert_eq!(kept(b"one\ntwo\nthree\n", 13, 0, LINE), 8);
        assert_eq!(kept(b"one\ntwo\nthree\n", 3, 0, LINE), 0);
        assert_eq!(kept(b"one\ntwo\nthree\n", 0, 0, LINE), 0);
    }

    #[test]
    fn what_has_no_lines_is_cut_anywhere() {
        assert_eq!(kept(b"one\ntwo\0three\n", 10, 0, LINE), 10);
        assert_eq!(kept(&[b'x'; 200], 150, 0, 100), 150);
        assert_eq!(kept(&[b'x'; 200], 60, 50, 100), 60, "its line began before");
        assert_eq!(kept(&[b'x'; 200], 60, 40, 100), 0);
    }

    #[test]
    fn a_marker_stands_on_a_line_of_its_own() {
        assert_eq!(marker(false, "3 bytes not kept"), b"[muster: output cut here, 3 bytes not kept]\n");
        assert!(marker(true, "x").starts_with(b"\n["));
    }
}
