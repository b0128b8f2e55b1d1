//! The terminal as a device: its size, its foreground process group, writing to it, and waiting for
//! it to close.

use std::io::{self, IsTerminal};
use std::os::fd::AsFd;

use rustix::event::{PollFd, PollFlags};
use rustix::fs::{Stat, fstat};
use rustix::process::getpgrp;
use rustix::termios::{tcgetpgrp, tcgetwinsize};

/// The size of the terminal on stdout, in columns and rows. 80 × 24 if the size is unknown.
pub(crate) fn size() -> (usize, usize) {
    match tcgetwinsize(io::stdout()) {
        Ok(size) if size.ws_col > 0 && size.ws_row > 0 => (size.ws_col.into(), size.ws_row.into()),
        Ok(_) | Err(_) => (80, 24),
    }
}

/// The current width of the terminal on `stream`, in columns; `None` if `stream` isn't a terminal
/// or the width is unknown.
pub(crate) fn columns(stream: &impl AsFd) -> Option<usize> {
    let columns = tcgetwinsize(stream).ok()?.ws_col;
    (columns > 0).then(|| columns.into())
}

/// Whether stdin and stdout are the same terminal, and the terminal can move its cursor.
pub(crate) fn is_capable() -> bool {
    let term = std::env::var_os("TERM").unwrap_or_default();
    let is_dumb = ["", "dumb", "unknown"].iter().any(|dumb| term == *dumb);
    let device = |stat: rustix::io::Result<Stat>| stat.ok().map(|stat| stat.st_rdev);
    let is_same = || device(fstat(io::stdin())) == device(fstat(io::stdout()));
    !is_dumb && io::stdin().is_terminal() && io::stdout().is_terminal() && is_same()
}

/// Writes all of `bytes` to stdout. Does not take the lock of std's stdout, because a thread that
/// waits for the terminal may hold that lock.
///
/// # Errors
/// The terminal is gone.
pub(crate) fn write_past_std(mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match rustix::io::write(rustix::stdio::stdout(), bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Waits until the terminal on stdin is gone.
pub(crate) fn wait_until_gone() {
    // Request no events, so that poll(2) only reports `POLLHUP`.
    let stdin = io::stdin();
    let mut waits = [PollFd::new(&stdin, PollFlags::empty())];
    while let Err(rustix::io::Errno::INTR) = rustix::event::poll(&mut waits, None) {}
}

/// Whether this process is in the foreground of the terminal on `input`. `None` if `input` isn't
/// the process's controlling terminal. In the background, reading the terminal stops the process
/// (`SIGTTIN`, credentials(7)).
pub(crate) fn is_foreground(input: &impl AsFd) -> Option<bool> {
    let group = tcgetpgrp(input).ok()?;
    Some(group == getpgrp())
}
