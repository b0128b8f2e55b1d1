//! What a terminal can do: tell its width, not show what is typed, be written to past std, be gone.

use std::io;
use std::os::fd::AsFd;
use std::sync::{Mutex, PoisonError};

use rustix::event::{PollFd, PollFlags};
use rustix::process::{Signal, getpgrp, getpid, kill_process};
use rustix::termios::{
    LocalModes, OptionalActions, Termios, tcgetattr, tcgetpgrp, tcgetwinsize, tcsetattr,
};

/// How the terminal was before typing was hidden. One for the process, so that any thread that ends it can put it right.
static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);

/// Typing is hidden until this is dropped, or until [`show_typing`].
#[derive(Debug)]
pub struct Hidden(());

impl Drop for Hidden {
    fn drop(&mut self) {
        show_typing();
    }
}

/// How many columns the terminal behind `stream` has now; `None` where it is none, or does not say.
pub fn columns(stream: &impl AsFd) -> Option<usize> {
    let columns = tcgetwinsize(stream).ok()?.ws_col;
    (columns > 0).then(|| columns.into())
}

/// Stops the terminal on stdin from showing what is typed, but for the end of the line.
///
/// # Errors
/// Stdin is no terminal.
pub fn hide_typing() -> io::Result<Hidden> {
    let stdin = io::stdin();
    let before = tcgetattr(&stdin)?;
    let mut hidden = before.clone();
    hidden.local_modes.remove(LocalModes::ECHO);
    hidden.local_modes.insert(LocalModes::ECHONL);
    *BEFORE.lock().unwrap_or_else(PoisonError::into_inner) = Some(before);
    let guard = Hidden(());
    tcsetattr(&stdin, OptionalActions::Now, &hidden)?;
    Ok(guard)
}

/// Gives the terminal back as it was before [`hide_typing`]; nothing where that was not called.
pub fn show_typing() {
    let mut before = BEFORE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(before) = before.take() {
        // It fails where the terminal is gone.
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &before);
    }
}

/// Stops this process, as Ctrl+Z does in a shell, until it is continued.
///
/// To be called from the main thread, which the kernel prefers for a signal (signal(7)), so that it has stopped when this goes on.
///
/// # Errors
/// None that is known.
pub fn suspend() -> io::Result<()> {
    // Where nobody could continue it, as in a window of its own, the kernel does not stop it (setpgid(2), orphaned groups).
    Ok(kill_process(getpid(), Signal::TSTP)?)
}

/// Makes the terminal on stdin raw again where somebody has changed that, as a shell does when its job is stopped; true where that was so.
///
/// In the background the terminal is somebody else's. There this process stops, as any that sets its terminal (SIGTTOU), until its shell brings
/// it back.
///
/// # Errors
/// The terminal is gone, or nobody could bring it back (setpgid(2), orphaned groups).
pub fn make_raw_again() -> io::Result<bool> {
    let stdin = io::stdin();
    let mut modes = tcgetattr(&stdin)?;
    // A terminal that controls nobody has no background.
    let is_ours = tcgetpgrp(&stdin).map_or(true, |group| group == getpgrp());
    if is_ours && !modes.local_modes.contains(LocalModes::ICANON) {
        return Ok(false);
    }
    modes.make_raw();
    rustix::io::retry_on_intr(|| tcsetattr(&stdin, OptionalActions::Now, &modes))?;
    Ok(true)
}

/// Writes all of `bytes` to stdout, past std's lock, which a thread may hold that waits for the terminal.
///
/// # Errors
/// The terminal is gone.
pub fn write_past_std(mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match rustix::io::write(rustix::stdio::stdout(), bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Waits until the terminal on stdin is gone, which a read would not tell; true when it is, false where that cannot be known.
pub fn wait_until_gone() -> bool {
    // Of nothing that is asked for, only the end is told (poll(2), `POLLHUP`).
    let stdin = io::stdin();
    let mut waits = [PollFd::new(&stdin, PollFlags::empty())];
    while let Err(rustix::io::Errno::INTR) = rustix::event::poll(&mut waits, None) {}
    true
}

/// Whether this process may read from the terminal behind `input`: one in the background would be stopped (`SIGTTIN`, credentials(7)).
pub fn is_foreground(input: &impl std::os::fd::AsFd) -> bool {
    rustix::termios::tcgetpgrp(input).is_ok_and(|group| group == rustix::process::getpgrp())
}
