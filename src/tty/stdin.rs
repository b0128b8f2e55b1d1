//! Lines from stdin when there is no line editor: from a pipe, or from a terminal that can't move
//! its cursor or whose output goes elsewhere.

use std::io;
use std::os::unix::net::UnixStream;

use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;

use crate::os;
use crate::tty;

/// Reason why no more input is read from stdin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InputEnd {
    /// The program has asked the reader to stop.
    Stopped,
    /// A pipe or file has ended, or the terminal is gone but SIGHUP is ignored.
    EndOfInput,
    /// The terminal is gone, and the program must end, as it would after SIGHUP. The kernel doesn't
    /// send SIGHUP to every process that reads the terminal: background jobs and processes in other
    /// sessions get none.
    HangUp,
}

impl InputEnd {
    /// Returns the reason to report when the terminal is gone: [`InputEnd::EndOfInput`] if SIGHUP
    /// is ignored, and [`InputEnd::HangUp`] otherwise.
    pub(crate) fn of_terminal() -> Self {
        if os::ignores_hangup() {
            Self::EndOfInput
        } else {
            Self::HangUp
        }
    }
}

/// Calls `on_line` with each line of stdin, including its ending, until `on_line` returns false,
/// the input ends, or the other end of `stopped` is closed. Does not read while the process is in
/// the background of its terminal.
///
/// If a line has more than `limit` bytes before its ending, the bytes beyond are dropped.
pub(crate) fn read_lines(
    stopped: Option<&UnixStream>,
    limit: usize,
    mut on_line: impl FnMut(Vec<u8>) -> bool,
) -> InputEnd {
    os::fail_background_reads();
    let stdin = io::stdin();
    let is_terminal = tty::is_stdin_terminal();
    let mut line = Vec::new();
    let mut bytes = [0; 8192];
    loop {
        let is_background = tty::is_background(&stdin);
        let (events, timeout) = if is_background {
            (PollFlags::empty(), Some(&tty::BACKGROUND_TIME))
        } else {
            (PollFlags::IN, None)
        };
        let mut waits = vec![PollFd::new(&stdin, events)];
        waits.extend(stopped.map(|stopped| PollFd::new(stopped, PollFlags::IN)));
        let is_ready = rustix::event::poll(&mut waits, timeout);
        if waits[1..].iter().any(|wait| !wait.revents().is_empty()) {
            return InputEnd::Stopped;
        }
        let read = match is_ready {
            Ok(0) => continue,
            // Check again, because the process may have moved to the background during the wait.
            Ok(_) if tty::is_background(&stdin) && !tty::is_gone() => continue,
            Ok(_) => rustix::io::read(&stdin, &mut bytes),
            Err(error) => Err(error),
        };
        let count = match read {
            Ok(count @ 1..) => count,
            // Ctrl+D was pressed on a terminal. Continue, because the user may type more lines.
            Ok(0) if is_terminal && !tty::is_gone() => continue,
            Err(Errno::INTR | Errno::AGAIN) => continue,
            // The process was moved to the background just now (see `fail_background_reads`).
            Err(Errno::IO) if tty::is_background(&stdin) => continue,
            Ok(_) | Err(_) => break,
        };
        for &byte in &bytes[..count] {
            if byte == b'\n' || line.len() < limit {
                line.push(byte);
            }
            if byte == b'\n' && !on_line(std::mem::take(&mut line)) {
                return InputEnd::Stopped;
            }
        }
    }
    if is_terminal {
        return InputEnd::of_terminal();
    }
    if !line.is_empty() {
        line.push(b'\n');
        on_line(line);
    }
    InputEnd::EndOfInput
}
