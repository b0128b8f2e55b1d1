//! What is typed in the launcher's terminal, line by line.

use std::io::{self, BufRead, IsTerminal};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::thread::{self, JoinHandle};

use rustix::event::{PollFd, PollFlags, Timespec};

use super::server::MAX_TYPED;

/// How often a launcher in the background looks whether it has come to the foreground.
const BACKGROUND_PAUSE: Timespec = Timespec {
    tv_sec: 1,
    tv_nsec: 0,
};

/// A thread called `console` that reads stdin. Dropping it stops the thread.
pub(super) struct Console {
    stop: UnixStream,
    reader: Option<JoinHandle<()>>,
}

impl Console {
    /// Calls `on_line` with each line, its ending included, until the end of input.
    ///
    /// # Errors
    /// No socket or no thread is to be had.
    pub(super) fn start(on_line: impl Fn(Vec<u8>) + Send + 'static) -> io::Result<Self> {
        let (stop, stopped) = UnixStream::pair()?;
        let reader = thread::Builder::new()
            .name("console".into())
            // What was typed is for the server; an input that fails is like one that ends.
            .spawn(move || drop(read_lines(&stopped, on_line)))?;
        Ok(Self {
            stop,
            reader: Some(reader),
        })
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        let _ = self.stop.shutdown(Shutdown::Both);
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

fn read_lines(stopped: &UnixStream, on_line: impl Fn(Vec<u8>)) -> io::Result<()> {
    let mut input = io::stdin().lock();
    let mut line = Vec::new();
    loop {
        let foreground = is_in_foreground(&io::stdin());
        let stdin = io::stdin();
        let mut waits = vec![PollFd::new(stopped, PollFlags::IN)];
        if foreground {
            waits.push(PollFd::new(&stdin, PollFlags::IN));
        }
        let timeout = (!foreground).then_some(&BACKGROUND_PAUSE);
        match rustix::event::poll(&mut waits, timeout) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        }
        if !waits[0].revents().is_empty() {
            return Ok(());
        }
        if waits.get(1).is_none_or(|wait| wait.revents().is_empty()) {
            continue;
        }
        let bytes = input.fill_buf()?;
        if bytes.is_empty() {
            if !line.is_empty() {
                line.push(b'\n');
                on_line(line);
            }
            return Ok(());
        }
        for &byte in bytes {
            // What is beyond the limit is cut off, and what is left is longer than the server takes.
            if byte == b'\n' || line.len() < MAX_TYPED {
                line.push(byte);
            }
            if byte == b'\n' {
                on_line(std::mem::take(&mut line));
            }
        }
        let count = bytes.len();
        input.consume(count);
    }
}

/// Whether reading is allowed: a job in the background that reads from its terminal is stopped (SIGTTIN), and the session would hang.
fn is_in_foreground(stdin: &io::Stdin) -> bool {
    !stdin.is_terminal()
        || rustix::termios::tcgetpgrp(stdin).is_ok_and(|group| group == rustix::process::getpgrp())
}
