//! Splits a byte stream into lines. The lines do not depend on how the network split the stream
//! into packets.

use thiserror::Error;
use unicode_segmentation::UnicodeSegmentation;

use crate::protocol::limits::MAX_LINE;

/// Codes of the Backspace key. Windows' telnet sends BS, and most terminals send DEL.
pub(crate) const BACKSPACE: u8 = 0x08;
pub(crate) const DELETE: u8 = 0x7f;

/// Limit on the number of bytes that one backspace erases. No emoji sequence is longer.
const MAX_ERASED: usize = 64;

/// Reason why a line is rejected. An error does not affect later lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum LineError {
    #[error("that line is too long: the limit is {MAX_LINE} bytes, so send it in parts")]
    TooLong,
    #[error("that line is not UTF-8: set your terminal to UTF-8")]
    NotUtf8,
}

/// Buffer that collects bytes and returns whole lines.
///
/// A line ends in LF; a CR before the LF is dropped. The buffer holds only bytes that have not been
/// returned yet. If a line is too long, the buffer keeps only the line's length.
#[derive(Debug)]
pub struct Lines {
    buffer: Vec<u8>,
    /// Start of the next line in `buffer`.
    start: usize,
    /// Number of bytes from `start` in which no line ending was found. They are not searched again
    /// when more bytes of the line arrive.
    scanned: usize,
    /// Number of bytes dropped from the current line because the line is too long.
    dropped: usize,
    /// Number of bytes received since the last line ending that are not in `buffer`, because they
    /// were erased or belong to telnet commands.
    removed: usize,
    max_line: usize,
    /// Whether the lines may come from a person who types without a line editor. If so, backspaces
    /// are carried out, and CR NUL ends a line, as [`Lines::typed`] describes.
    typed: bool,
}

impl Lines {
    /// Creates an empty buffer for lines of at most `max_line` bytes, without the ending.
    pub fn new(max_line: usize) -> Self {
        Self {
            buffer: Vec::new(),
            start: 0,
            scanned: 0,
            dropped: 0,
            removed: 0,
            max_line,
            typed: false,
        }
    }

    /// Creates an empty buffer for lines that a person types, perhaps without a line editor, as
    /// with telnet in character mode.
    ///
    /// CR NUL ends a line too (RFC 854, page 11). BS and DEL erase the character before them. A
    /// character is a grapheme cluster (UAX 29), as in the client's line editor. A line that
    /// exceeded the limit stays too long even if backspaces shorten it.
    pub fn typed(max_line: usize) -> Self {
        Self {
            typed: true,
            ..Self::new(max_line)
        }
    }

    /// From now on, treats backspaces as text and ends lines at LF only. This also applies to lines
    /// that were received but not returned yet.
    pub fn stop_editing(&mut self) {
        self.typed = false;
    }

    /// Appends bytes that were read from the stream.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.start);
        self.start = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// Adds `count` bytes of telnet commands to the number of bytes without a line ending, which
    /// [`Lines::unended`] returns.
    pub(crate) fn skip(&mut self, count: usize) {
        self.removed += count;
    }

    /// Erases the last line if it has no ending yet.
    pub(crate) fn erase_line(&mut self) {
        let searched = self.start + self.scanned;
        let unsearched = searched..self.buffer.len();
        let ending = unsearched.rev().find(|at| self.is_ending(*at));
        let begin = ending.map_or(self.start, |at| at + 1);
        self.removed += self.buffer.len() - begin;
        self.buffer.truncate(begin);
        if ending.is_none() {
            self.scanned = 0;
            self.removed += std::mem::take(&mut self.dropped);
        }
    }

    /// Returns the next whole line, or `None` if the buffer contains no line ending.
    pub fn next_line(&mut self) -> Option<Result<&str, LineError>> {
        let Some(end) = self.find_ending() else {
            self.shorten();
            return None;
        };
        let start = std::mem::replace(&mut self.start, end + 1);
        self.scanned = 0;
        self.removed = 0;
        let mut line = &mut self.buffer[start..end];
        let mut longest = line.len();
        if self.typed && memchr::memchr2(BACKSPACE, DELETE, line).is_some() {
            let length;
            (length, longest) = edit(line);
            line = &mut line[..length];
        }
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        // `longest` includes the CR of the line ending, but the limit does not. So allow one byte
        // more than the limit.
        let was_too_long = std::mem::take(&mut self.dropped) > 0 || longest > self.max_line + 1;
        if was_too_long || line.len() > self.max_line {
            return Some(Err(LineError::TooLong));
        }
        Some(std::str::from_utf8(line).map_err(|_| LineError::NotUtf8))
    }

    /// Returns the last line if it has no ending. Must be called only at the end of the input.
    pub fn last_line(&mut self) -> Option<Result<&str, LineError>> {
        if !self.is_partial() {
            return None;
        }
        self.push(b"\n");
        self.next_line()
    }

    /// Number of bytes received since the last line ending, including erased bytes and telnet
    /// commands.
    pub fn unended(&self) -> usize {
        self.dropped + self.removed + self.buffer.len() - self.start
    }

    /// Returns the received bytes that follow the last returned line. They may contain backspaces
    /// that have not been carried out. Leaves out the bytes of a line that is too long.
    pub fn rest(&self) -> &[u8] {
        &self.buffer[self.start..]
    }

    /// Whether the beginning of a line has arrived. Must be called only after [`Lines::next_line`]
    /// has returned `None`.
    pub fn is_partial(&self) -> bool {
        self.dropped > 0 || !self.rest().is_empty()
    }

    /// Whether the byte at `at` in `buffer` ends a line.
    fn is_ending(&self, at: usize) -> bool {
        match self.buffer[at] {
            b'\n' => true,
            0 => self.typed && at > self.start && self.buffer[at - 1] == b'\r',
            _ => false,
        }
    }

    /// Returns the position in `buffer` of the last byte of the next line ending.
    fn find_ending(&mut self) -> Option<usize> {
        loop {
            let from = self.start + self.scanned;
            let rest = &self.buffer[from..];
            let found = if self.typed {
                memchr::memchr2(b'\n', 0, rest)
            } else {
                memchr::memchr(b'\n', rest)
            };
            let Some(at) = found else {
                self.scanned += rest.len();
                return None;
            };
            if self.is_ending(from + at) {
                return Some(from + at);
            }
            self.scanned += at + 1;
        }
    }

    /// Carries out the backspaces of a long line that has no ending yet. If the line is too long
    /// nevertheless, drops its bytes.
    fn shorten(&mut self) {
        // Allow one more byte than the limit, because the last byte may be the CR of the line
        // ending.
        let limit = self.max_line + 1;
        let line = &mut self.buffer[self.start..];
        let length = line.len();
        if length <= limit {
            return;
        }
        if self.typed && self.dropped == 0 {
            // If the last byte is a backspace, do not carry it out yet. Otherwise, CR CR DEL would
            // become CR, and a NUL that arrives next would end the line as CR NUL, although a DEL
            // was received in between.
            let last = line[length - 1];
            let (edited, longest) = edit(&mut line[..length - 1]);
            line[edited] = last;
            if longest <= limit && (edited < limit || is_backspace(last)) {
                self.scanned = edited + 1;
                self.buffer.truncate(self.start + self.scanned);
                self.removed += length - self.scanned;
                return;
            }
        }
        // If the last byte is a CR, keep it, because it may be part of the line ending.
        let kept = usize::from(self.buffer.last() == Some(&b'\r'));
        self.dropped += length - kept;
        self.buffer.drain(..self.start + length - kept);
        self.start = 0;
        self.scanned = kept;
    }
}

fn is_backspace(byte: u8) -> bool {
    matches!(byte, BACKSPACE | DELETE)
}

/// Carries out the backspaces in `line`, in place. Returns the new length, and the greatest length
/// that the line had at any time, which tells whether the line ever exceeded a limit.
fn edit(line: &mut [u8]) -> (usize, usize) {
    let (mut length, mut longest) = (0, 0);
    for at in 0..line.len() {
        if is_backspace(line[at]) {
            length = last_character(&line[..length]);
        } else {
            line[length] = line[at];
            length += 1;
            longest = longest.max(length);
        }
    }
    (length, longest)
}

/// Returns the start of the last character of `line`. If the end of `line` is not UTF-8, the last
/// byte that is not a continuation byte counts as the start.
fn last_character(line: &[u8]) -> usize {
    let is_start = |at: &usize| line[*at] & 0xc0 != 0x80;
    let from = line.len().saturating_sub(MAX_ERASED);
    let from = (from..line.len()).find(is_start).unwrap_or(from);
    match std::str::from_utf8(&line[from..]) {
        Ok(text) => {
            let last = text.grapheme_indices(true).next_back();
            last.map_or(from, |(at, _)| from + at)
        }
        Err(_) => (from..line.len()).rev().find(is_start).unwrap_or(from),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(lines: &mut Lines) -> Vec<Result<String, LineError>> {
        std::iter::from_fn(|| lines.next_line().map(|line| line.map(str::to_owned))).collect()
    }

    #[test]
    fn a_cr_is_dropped_only_directly_before_the_lf() {
        let mut lines = Lines::new(10);
        lines.push(b"a\r\n\rb\r\r\nc");
        assert_eq!(all(&mut lines), [Ok("a".into()), Ok("\rb\r".into())]);
        assert_eq!(lines.last_line(), Some(Ok("c")));
        assert_eq!(lines.last_line(), None);
    }

    #[test]
    fn a_line_one_byte_over_the_limit_is_too_long() {
        for ending in ["\n", "\r\n"] {
            let mut lines = Lines::new(4);
            lines.push(format!("1234{ending}12345{ending}ok{ending}").as_bytes());
            assert_eq!(
                all(&mut lines),
                [Ok("1234".into()), Err(LineError::TooLong), Ok("ok".into())]
            );
        }
    }

    #[test]
    fn the_bytes_of_an_endless_line_are_counted_but_not_stored() {
        let mut lines = Lines::new(4);
        for _ in 0..1000 {
            lines.push(&[b'x'; 1000]);
            assert_eq!(lines.next_line(), None);
            assert!(lines.buffer.capacity() < 4000);
        }
        assert_eq!(lines.unended(), 1_000_000);
        lines.push(b"\nok\n");
        assert_eq!(all(&mut lines), [Err(LineError::TooLong), Ok("ok".into())]);
    }

    #[test]
    fn the_bytes_of_an_endless_line_of_erased_characters_are_counted_but_not_stored() {
        let mut lines = Lines::typed(4);
        for _ in 0..1000 {
            lines.push(&b"x\x08".repeat(500));
            assert_eq!(lines.next_line(), None);
            assert!(lines.buffer.capacity() < 4000);
        }
        assert_eq!(lines.unended(), 1_000_000);
        lines.push(b"ok\n");
        assert_eq!(all(&mut lines), [Ok("ok".into())]);
    }

    #[test]
    fn a_typed_line_stays_too_long_if_backspaces_shorten_it() {
        let mut lines = Lines::typed(4);
        lines.push(b"1234\x08x\x7f4\r\n12345\x08\x08\x08\x08\n123456\x08\x08\n\x08ok\n");
        assert_eq!(
            all(&mut lines),
            [
                Ok("1234".into()),
                Ok("1".into()),
                Err(LineError::TooLong),
                Ok("ok".into())
            ]
        );
    }

    #[test]
    fn the_line_after_a_line_that_is_not_utf8_is_read() {
        let mut lines = Lines::new(10);
        lines.push(b"\xff\n\xc4\x85\n");
        assert_eq!(all(&mut lines), [Err(LineError::NotUtf8), Ok("ą".into())]);
    }
}
