//! The terminal as a device: its size, its foreground job, writing to it, and waiting for it to
//! close.

use std::io::{self, IsTerminal};
use std::os::fd::AsFd;
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{FileType, Stat, fstat};
use rustix::io::Errno;
use rustix::process::getpgrp;
use rustix::termios::{LocalModes, isatty, tcgetattr, tcgetpgrp, tcgetwinsize};

use crate::os;

/// How often a background process checks whether it is in the foreground again. The check is needed
/// because a running process gets no signal when the shell's `fg` moves it to the foreground.
pub(crate) const BACKGROUND_TIME: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 250_000_000,
};

/// How long an exit of the terminal's owner (see [`watch_owner`]) is ignored, counted from the
/// start of the watch. A program that only detaches this process from the shell, such as `setsid`,
/// exits within this time.
const DETACH_TIME: Duration = Duration::from_secs(1);

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
    while let Err(Errno::INTR) = poll_for_hang_up(None) {}
}

/// Whether stdin is a terminal, even one that is gone. For a terminal that is gone, isatty(3)
/// returns false, but poll(2) reports a hang-up, as it does for no other character device.
pub(crate) fn is_stdin_terminal() -> bool {
    let stdin = io::stdin();
    let is_device = fstat(&stdin)
        .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice);
    isatty(&stdin) || (is_device && is_gone())
}

/// Whether the terminal on stdin is gone.
pub(crate) fn is_gone() -> bool {
    poll_for_hang_up(Some(&Timespec::default())).is_ok_and(|count| count > 0)
}

fn poll_for_hang_up(timeout: Option<&Timespec>) -> rustix::io::Result<usize> {
    // Request no events, so that poll(2) only reports `POLLHUP`.
    let stdin = io::stdin();
    let mut waits = [PollFd::new(&stdin, PollFlags::empty())];
    rustix::event::poll(&mut waits, timeout)
}

/// Whether another job, such as the shell, is in the foreground of `terminal`. While this is true,
/// reading from the controlling terminal stops this process (`SIGTTIN`, credentials(7)). Reading
/// from another terminal doesn't. False if `terminal` isn't a terminal, or is gone.
pub(crate) fn is_background(terminal: &impl AsFd) -> bool {
    match tcgetpgrp(terminal) {
        Ok(group) => group != getpgrp(),
        Err(Errno::NOTTY) if isatty(terminal) => {
            fstat(terminal).is_ok_and(|stat| os::is_used_by_another_job(stat.st_rdev))
        }
        Err(_) => false,
    }
}

/// Calls `on_exit` when the owner of the terminal on stdin exits. The owner is the nearest ancestor
/// of this process that has the terminal as its controlling terminal, such as `su` of `su -c`.
/// There is no owner if the terminal is the controlling terminal of this process itself. Ctrl+C on
/// a terminal with an owner ends the owner but not this process, which then has no terminal.
///
/// If there is an owner and SIGHUP isn't ignored, this starts the thread `owner`, which is never
/// joined.
///
/// # Errors
/// The thread can't be started.
pub(crate) fn watch_owner(on_exit: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let stdin = io::stdin();
    let is_lent = isatty(&stdin) && tcgetpgrp(&stdin) == Err(Errno::NOTTY);
    let device = fstat(&stdin).map(|stat| stat.st_rdev);
    let Some(owner) = device.ok().filter(|_| is_lent).and_then(os::terminal_owner) else {
        return Ok(());
    };
    if os::ignores_hangup() {
        return Ok(());
    }
    let started = Instant::now();
    let watch = move || {
        let mut waits = owner
            .end()
            .map(|end| PollFd::from_borrowed_fd(end, PollFlags::IN));
        while let Err(Errno::INTR) = rustix::event::poll(waits.as_mut_slice(), None) {}
        if started.elapsed() >= DETACH_TIME {
            on_exit();
        }
    };
    let thread = thread::Builder::new().name("owner".into());
    thread.spawn(watch).map(drop)
}

/// Waits while this process is in the background of the terminal on stdout, if the user wants no
/// output from there (`stty tostop`).
pub(crate) fn wait_while_output_is_held() {
    let stdout = io::stdout();
    let has_tostop =
        || tcgetattr(&stdout).is_ok_and(|modes| modes.local_modes.contains(LocalModes::TOSTOP));
    while has_tostop() && is_background(&stdout) {
        // With no descriptors, poll(2) just sleeps.
        let _ = rustix::event::poll(&mut [], Some(&BACKGROUND_TIME));
    }
}
