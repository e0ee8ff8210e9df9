//! What is kept of the output of one command: without what looks like a credential,
//! up to a limit, cut at the end of a line. Pure.

use muster_common::cut;

use crate::redaction::Redactor;

/// What a report costs besides its output. A command that says little at a time
/// could otherwise fill the host's disk with reports.
const REPORT_BYTES: u64 = 200;
/// Bytes of output in one report: no more than may be on their way at once.
pub(super) const PIECE: usize = 16 * 1024;
/// Of the limit, for what says that something was cut: of each stream.
const MARKER_BYTES: u64 = 64;

/// The two streams of one command, and how much more is kept of them.
#[derive(Debug)]
pub(super) struct Output {
    left: u64,
    reports: u64,
    longest_line: usize,
    streams: [Stream; 2],
}

#[derive(Debug, Default)]
struct Stream {
    redactor: Redactor,
    /// Bytes of its last line that were kept, if that is not over.
    open: usize,
    /// Bytes that were kept before, of what comes first.
    known: usize,
    /// Nothing more of it is kept.
    cut: bool,
    dropped: u64,
}

impl Output {
    /// Keeps about `limit` bytes.
    pub(super) fn new(limit: u64) -> Self {
        let half = usize::try_from(limit / 2).unwrap_or(usize::MAX);
        Self {
            left: limit.saturating_sub(2 * MARKER_BYTES),
            reports: (limit / REPORT_BYTES).max(1),
            longest_line: cut::LINE.min(half),
            streams: Default::default(),
        }
    }

    /// Goes on where an earlier one ended, which kept so many bytes of each stream, in so many
    /// reports. Both come from their beginning once more, one after the other: what was kept
    /// is kept again, whatever else has come by then.
    pub(super) fn go_on_after(&mut self, bytes: [u64; 2], reports: u64) {
        self.left = self.left.saturating_sub(bytes[0] + bytes[1]);
        self.reports = self.reports.saturating_sub(reports);
        for (stream, bytes) in self.streams.iter_mut().zip(bytes) {
            stream.known = usize::try_from(bytes).unwrap_or(usize::MAX);
        }
    }

    /// Takes a piece of a stream; gives what is to be kept now. A line that is not over
    /// waits for its end.
    pub(super) fn push(&mut self, stderr: bool, piece: &[u8]) -> Vec<u8> {
        let said = self.streams[usize::from(stderr)].redactor.push(piece);
        self.keep(stderr, said)
    }

    /// Gives what there is of a line that is not over: somebody may wait for it.
    pub(super) fn flush(&mut self, stderr: bool) -> Vec<u8> {
        let said = self.streams[usize::from(stderr)].redactor.flush();
        self.keep(stderr, said)
    }

    /// What could not be kept is counted.
    pub(super) fn lost(&mut self, stderr: bool, bytes: u64) {
        self.streams[usize::from(stderr)].dropped += bytes;
    }

    /// After the last piece: what says that something of a stream was cut, and how many bytes.
    pub(super) fn close(&self, stderr: bool) -> Option<(Vec<u8>, u64)> {
        let stream = &self.streams[usize::from(stderr)];
        let what = format!("{} bytes not kept", stream.dropped);
        (stream.dropped > 0).then(|| (cut::marker(stream.open > 0, &what), stream.dropped))
    }

    fn keep(&mut self, stderr: bool, mut said: Vec<u8>) -> Vec<u8> {
        let stream = &mut self.streams[usize::from(stderr)];
        let known = stream.known.min(said.len());
        stream.known -= known;
        stream.pass(&said[..known]);
        let room = if stream.cut || self.reports == 0 { 0 } else { self.left };
        let room = usize::try_from(room).unwrap_or(usize::MAX);
        let news = &said[known..];
        let kept = if room == 0 { 0 } else { cut::kept(news, room, stream.open, self.longest_line) };
        if kept < news.len() {
            stream.cut = true;
            stream.dropped += (news.len() - kept) as u64;
        }
        stream.pass(&news[..kept]);
        self.left -= kept as u64;
        self.reports = self.reports.saturating_sub(kept.div_ceil(PIECE) as u64);
        said.truncate(known + kept);
        said
    }
}

impl Stream {
    /// This much more of it is kept.
    fn pass(&mut self, said: &[u8]) {
        let end = said.iter().rposition(|byte| *byte == b'\n');
        self.open = end.map_or(self.open + said.len(), |at| said.len() - at - 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: Vec<u8>) -> String {
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn output_is_cut_at_the_end_of_a_line_and_the_cut_is_exact() {
        let mut output = Output::new(1128);
        let line = [&[b'x'; 299][..], b"\n"].concat();
        assert_eq!(output.push(false, &line.repeat(5)).len(), 900);
        assert_eq!(output.push(false, b"short\n"), b"", "nothing comes after a cut");
        assert_eq!(text(output.push(true, b"beside\n")), "beside\n");
        let (marker, dropped) = output.close(false).unwrap();
        assert_eq!(
            (text(marker).as_str(), dropped),
            ("[muster: output cut here, 606 bytes not kept]\n", 606)
        );
        assert_eq!(output.close(true), None);
    }

    #[test]
    fn streams_that_were_over_the_limit_together_are_cut_where_they_were_when_heard_again() {
        let line = [&[b'x'; 499][..], b"\n"].concat();
        let (mut first, mut again) = (Output::new(2128), Output::new(2128));
        let mut kept = [Vec::new(), Vec::new()];
        for _ in 0..7 {
            for stderr in [false, true] {
                kept[usize::from(stderr)].extend(first.push(stderr, &line));
            }
        }
        assert_eq!(kept.each_ref().map(Vec::len), [1000, 1000]);
        again.go_on_after([1000, 1000], 4);
        for stderr in [false, true] {
            assert_eq!(again.push(stderr, &line.repeat(7)), kept[usize::from(stderr)]);
            assert_eq!((first.close(stderr), again.close(stderr).unwrap().1), (again.close(stderr), 2500));
        }
    }

    #[test]
    fn bytes_without_lines_are_cut_anywhere() {
        let mut output = Output::new(1128);
        let kept = [output.push(false, &[0; 2000]), output.flush(false)].concat();
        assert_eq!(kept.len(), 1000);
        let (marker, dropped) = output.close(false).unwrap();
        assert_eq!((marker[0], dropped), (b'\n', 1000));
        let mut output = Output::new(1128);
        assert_eq!([output.push(true, &[b'x'; 2000]), output.flush(true)].concat().len(), 1000);
    }

    #[test]
    fn a_line_waits_for_its_end_and_a_credential_in_pieces_is_seen() {
        let mut output = Output::new(4096);
        assert_eq!(output.push(false, b"one\nuser password=hun"), b"one\n");
        assert_eq!(text(output.push(false, b"ter2\nnext\n")), "user password=[redacted]\nnext\n");
        assert_eq!(output.push(false, b"yes or no? "), b"");
        assert_eq!(output.push(true, b"\xff\0\n"), b"\xff\0\n", "what is no text stays as it is");
        assert_eq!(output.flush(false), b"yes or no? ");
        assert_eq!(output.push(false, b"yes\n"), b"yes\n");
    }

    #[test]
    fn who_says_little_at_a_time_has_only_so_many_reports() {
        let mut output = Output::new(1000);
        let kept = (0..12).map(|_| output.push(false, b"x\n")).filter(|kept| !kept.is_empty()).count();
        assert_eq!((kept, output.close(false).unwrap().1), (5, 14));
    }
}
