//! A connection as the kernel keeps it, and the peer that reads it.

use std::collections::VecDeque;

use shuttle::sync::{Condvar, Mutex};

use super::delivery::Cut;
use super::{Line, chance, lock, wait};

/// Lines that a socket takes before its peer has read one.
const SOCKET: usize = 2;

/// The kernel's side of a connection: what was sent and not read yet.
#[derive(Default)]
pub(super) struct Socket {
    buffer: Mutex<Buffer>,
    changed: Condvar,
}

#[derive(Default)]
struct Buffer {
    lines: VecDeque<Line>,
    closed: bool,
}

impl Socket {
    /// `net::send_now`: as much as fits.
    pub(super) fn send(&self, lines: &[Line]) -> Result<usize, Cut> {
        let mut buffer = lock(&self.buffer);
        if buffer.closed {
            return Err(Cut::Lost);
        }
        let sent = lines.len().min(SOCKET - buffer.lines.len());
        buffer.lines.extend(&lines[..sent]);
        self.changed.notify_all();
        Ok(sent)
    }

    /// `net::wait_writable`; false where time has run out.
    pub(super) fn wait_writable(&self) -> bool {
        let mut buffer = lock(&self.buffer);
        while buffer.lines.len() == SOCKET && !buffer.closed {
            if chance(8) {
                return false;
            }
            buffer = wait(&self.changed, buffer);
        }
        true
    }

    /// Shuts it down, from either side.
    pub(super) fn close(&self) {
        lock(&self.buffer).closed = true;
        self.changed.notify_all();
    }

    /// A peer: reads to the end, or hangs up before; gives what it read, and whether that was the end.
    pub(super) fn read(&self) -> (Vec<Line>, bool) {
        let patience = if chance(8) { 2 } else { usize::MAX };
        let (read, to_the_end) = self.read_lines(patience);
        if !to_the_end {
            self.close();
        }
        (read, to_the_end)
    }

    /// So many lines at most, and whether the end came before.
    pub(super) fn read_lines(&self, patience: usize) -> (Vec<Line>, bool) {
        let mut read = Vec::new();
        while read.len() < patience {
            let mut buffer = lock(&self.buffer);
            while buffer.lines.is_empty() && !buffer.closed {
                buffer = wait(&self.changed, buffer);
            }
            let Some(line) = buffer.lines.pop_front() else {
                return (read, true);
            };
            read.push(line);
            self.changed.notify_all();
        }
        (read, false)
    }
}
