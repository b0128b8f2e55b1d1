//! Input is split into lines as specified, whatever pieces it arrives in. The lines of a telnet
//! client do not depend on the pieces either.
//!
//! Format of the fuzzer's input: the maximum line length (one byte), the length of the pieces (one
//! byte), then the bytes to split.

#![no_main]

use chat_run::protocol::line::{LineError, Lines};
use chat_run::protocol::telnet::Telnet;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let [max_line, piece, bytes @ ..] = input else {
        return;
    };
    let (max_line, piece) = (usize::from(*max_line), usize::from(*piece).max(1));
    let expected = specified(bytes, max_line);
    let typed = decode(bytes.chunks(bytes.len().max(1)), max_line);
    for piece in [piece, 1, bytes.len().max(1)] {
        assert_eq!(cut(bytes.chunks(piece), max_line), expected);
        assert_eq!(decode(bytes.chunks(piece), max_line), typed);
    }
});

fn decode<'a>(
    pieces: impl Iterator<Item = &'a [u8]>,
    max_line: usize,
) -> Vec<Result<String, LineError>> {
    let (mut telnet, mut lines) = (Telnet::default(), Lines::typed(max_line));
    let mut found = Vec::new();
    for piece in pieces {
        let answers = telnet.decode(piece, &mut lines);
        assert!(answers.len() <= 3 * piece.len().min(512) + 64);
        while let Some(line) = lines.next_line() {
            found.push(line.map(str::to_owned));
        }
    }
    found.extend(lines.last_line().map(|line| line.map(str::to_owned)));
    found
}

fn cut<'a>(
    pieces: impl Iterator<Item = &'a [u8]>,
    max_line: usize,
) -> Vec<Result<String, LineError>> {
    let mut lines = Lines::new(max_line);
    let (mut found, mut unended) = (Vec::new(), 0);
    for piece in pieces {
        lines.push(piece);
        while let Some(line) = lines.next_line() {
            found.push(line.map(str::to_owned));
        }
        unended = match piece.iter().rposition(|byte| *byte == b'\n') {
            Some(at) => piece.len() - at - 1,
            None => unended + piece.len(),
        };
        assert_eq!(lines.unended(), unended);
    }
    found.extend(lines.last_line().map(|line| line.map(str::to_owned)));
    assert_eq!(lines.last_line(), None);
    found
}

fn specified(bytes: &[u8], max_line: usize) -> Vec<Result<String, LineError>> {
    let line = |line: &[u8]| {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.len() > max_line {
            return Err(LineError::TooLong);
        }
        String::from_utf8(line.into()).map_err(|_| LineError::NotUtf8)
    };
    bytes
        .split_inclusive(|byte| *byte == b'\n')
        .map(line)
        .collect()
}
