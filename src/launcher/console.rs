//! What is typed in the launcher's terminal, line by line.

use std::io::{self, BufRead, IsTerminal, Read, Write};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::thread::{self, JoinHandle};

use rustix::event::{PollFd, PollFlags, Timespec};

use crate::protocol::console::MAX_CONSOLE_LINE;

/// How often a launcher in the background looks whether it has come to the foreground.
const BACKGROUND_PAUSE: Timespec = Timespec {
    tv_sec: 1,
    tv_nsec: 0,
};

/// A thread called `console` that reads stdin. Dropping it stops the thread.
pub(crate) struct Console {
    stop: UnixStream,
    reader: Option<JoinHandle<()>>,
}

impl Console {
    /// Calls `on_line` with each line, its ending included, until the end of input; with the next one after [`Console::taken`]. Where stdin is no
    /// terminal, it also waits until there is room in `pipe`, which the lines go into: nobody is there to type one again.
    ///
    /// # Errors
    /// No socket or no thread is to be had.
    pub(crate) fn start(
        pipe: Option<OwnedFd>,
        on_line: impl Fn(Vec<u8>) + Send + 'static,
    ) -> io::Result<Self> {
        let pipe = pipe.filter(|_| !io::stdin().is_terminal());
        let (stop, stopped) = UnixStream::pair()?;
        let reader = thread::Builder::new()
            .name("console".into())
            // What was typed is for the server; an input that fails is like one that ends.
            .spawn(move || drop(read_lines(&stopped, pipe.as_ref(), on_line)))?;
        Ok(Self {
            stop,
            reader: Some(reader),
        })
    }

    /// The last line was handled.
    pub(crate) fn taken(&self) {
        // It fails where the thread has ended, which reads no more lines.
        let _ = (&self.stop).write_all(b"x");
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

fn read_lines(
    stopped: &UnixStream,
    pipe: Option<&OwnedFd>,
    on_line: impl Fn(Vec<u8>),
) -> io::Result<()> {
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
                hand_over(line, stopped, pipe, &on_line)?;
            }
            return Ok(());
        }
        for &byte in bytes {
            // What is beyond the limit is cut off, and what is left is longer than the server takes.
            if byte == b'\n' || line.len() < MAX_CONSOLE_LINE {
                line.push(byte);
            }
            if byte == b'\n' && !hand_over(std::mem::take(&mut line), stopped, pipe, &on_line)? {
                return Ok(());
            }
        }
        let count = bytes.len();
        input.consume(count);
    }
}

/// Gives a line away, and waits until it was taken; `false` where the thread is to end.
fn hand_over(
    line: Vec<u8>,
    mut stopped: &UnixStream,
    pipe: Option<&OwnedFd>,
    on_line: impl Fn(Vec<u8>),
) -> io::Result<bool> {
    if let Some(pipe) = pipe {
        let mut waits = [
            PollFd::new(stopped, PollFlags::IN),
            PollFd::new(pipe, PollFlags::OUT),
        ];
        while let Err(error) = rustix::event::poll(&mut waits, None) {
            if error != rustix::io::Errno::INTR {
                return Err(error.into());
            }
        }
        if !waits[0].revents().is_empty() {
            return Ok(false);
        }
    }
    on_line(line);
    Ok(stopped.read(&mut [0])? > 0)
}

/// Whether reading is allowed: a job in the background that reads from its terminal is stopped (SIGTTIN), and the session would hang.
fn is_in_foreground(stdin: &io::Stdin) -> bool {
    !stdin.is_terminal()
        || rustix::termios::tcgetpgrp(stdin).is_ok_and(|group| group == rustix::process::getpgrp())
}
