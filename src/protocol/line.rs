//! Splits a byte stream into lines. The lines do not depend on how the network split the stream
//! into packets.

use thiserror::Error;

use crate::protocol::limits::MAX_LINE;

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
    /// Number of bytes from `start` that are known to hold no LF, so that a line that arrives in
    /// pieces is searched only once.
    scanned: usize,
    /// Number of bytes dropped from the current line because the line is too long.
    dropped: usize,
    max_line: usize,
}

impl Lines {
    /// Creates an empty buffer for lines of at most `max_line` bytes, without the ending.
    pub fn new(max_line: usize) -> Self {
        Self {
            buffer: Vec::new(),
            start: 0,
            scanned: 0,
            dropped: 0,
            max_line,
        }
    }

    /// Appends bytes that were read from the stream.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.start);
        self.start = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// Returns the next whole line, or `None` if the buffer contains no line ending.
    pub fn next_line(&mut self) -> Option<Result<&str, LineError>> {
        let rest = self.buffer.len() - self.start;
        let Some(at) = memchr::memchr(b'\n', &self.buffer[self.start + self.scanned..]) else {
            self.scanned = rest;
            // Allow one more byte than the limit, because the last byte may be the CR of the line
            // ending.
            if rest > self.max_line + 1 {
                self.dropped += rest;
                self.buffer.clear();
                self.start = 0;
                self.scanned = 0;
            }
            return None;
        };
        let start = self.start;
        let end = start + self.scanned + at;
        self.start = end + 1;
        self.scanned = 0;
        let line = &self.buffer[start..end];
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if std::mem::take(&mut self.dropped) > 0 || line.len() > self.max_line {
            return Some(Err(LineError::TooLong));
        }
        Some(std::str::from_utf8(line).map_err(|_| LineError::NotUtf8))
    }

    /// Returns the last line if it has no ending. Must be called only at the end of the input.
    pub fn last_line(&mut self) -> Option<Result<&str, LineError>> {
        if self.unended() == 0 {
            return None;
        }
        self.push(b"\n");
        self.next_line()
    }

    /// Number of bytes since the last line ending.
    pub fn unended(&self) -> usize {
        self.dropped + self.buffer.len() - self.start
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(lines: &mut Lines) -> Vec<Result<String, LineError>> {
        std::iter::from_fn(|| lines.next_line().map(|line| line.map(str::to_owned))).collect()
    }

    #[test]
    fn only_a_cr_before_the_lf_is_dropped() {
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
    fn an_endless_line_is_counted_but_not_stored() {
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
    fn a_line_after_one_that_is_not_utf8_is_read() {
        let mut lines = Lines::new(10);
        lines.push(b"\xff\n\xc4\x85\n");
        assert_eq!(all(&mut lines), [Err(LineError::NotUtf8), Ok("ą".into())]);
    }
}
