//! A process that gives the terminal back when the launcher cannot any more: killed by SIGKILL, or crashed.
//!
//! It is `chat-run` itself with a hidden option, started before the terminal is taken. It remembers the terminal's modes, says so, and waits at a
//! socket: a byte from the launcher means that all is in order, an end without one that the launcher is gone.

use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, Receiver};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{Mode, OFlags};
use rustix::termios::{OptionalActions, OutputModes, tcgetattr, tcsetattr};

use crate::launcher::display::panes::host_terminal;
use crate::launcher::process::ChildProcess;
use crate::launcher::programs;
use crate::os;

/// Time that a terminal that takes nothing has to take what gives it back.
const PATIENCE: Timespec = Timespec {
    tv_sec: 2,
    tv_nsec: 0,
};

/// The process, as the launcher holds it. When this is dropped it gives the terminal back.
pub(crate) struct TerminalWatchdog {
    /// Reaped whenever it ends, also if somebody kills it.
    _process: ChildProcess,
    ended: Receiver<()>,
    socket: UnixStream,
}

impl TerminalWatchdog {
    /// Starts it, and waits until it is ready.
    ///
    /// # Errors
    /// It cannot be started, or does not get ready.
    pub(crate) fn start() -> io::Result<Self> {
        let (mut socket, other) = UnixStream::pair()?;
        let own = programs::chat_run().ok_or(io::ErrorKind::NotFound)?;
        let process = Command::new(own)
            .arg("--keep-terminal")
            .stdin(OwnedFd::from(other))
            .stdout(Stdio::inherit())
            .stderr(Stdio::null())
            // Ctrl+C on another terminal of the session, or a signal to the group, is not for it.
            .process_group(0)
            .spawn()?;
        let (end, ended) = mpsc::channel();
        let keeper = Self {
            _process: ChildProcess::watch(process, "keeper", move || drop(end))?,
            ended,
            socket: socket.try_clone()?,
        };
        socket.read_exact(&mut [0])?;
        Ok(keeper)
    }

    /// Ends it: the terminal was given back.
    pub(crate) fn dismiss(mut self) {
        // Where this fails, it has ended already.
        let _ = self.socket.write_all(b"x");
        let _ = self.ended.recv();
    }
}

/// Is the process: waits for the launcher's end, and puts the terminal on stdout right where the launcher did not.
///
/// # Errors
/// Stdin is not the launcher's socket, or stdout no terminal.
pub(crate) fn keep() -> io::Result<()> {
    // A job in the background would be stopped when it sets modes.
    os::allow_terminal_output();
    let stdout = io::stdout();
    let before = tcgetattr(&stdout)?;
    rustix::io::write(rustix::stdio::stdin(), b"x")?;
    if io::stdin().read(&mut [0])? > 0 {
        return Ok(());
    }
    // Where output is processed, somebody else has set the modes by now: a shell that goes on.
    let now = tcgetattr(&stdout)?;
    if now.output_modes.contains(OutputModes::OPOST) {
        return Ok(());
    }
    tcsetattr(&stdout, OptionalActions::Now, &before)?;
    // Opened anew, so that a terminal that takes nothing does not hold this up, and a shell does not inherit that. Without /proc it has
    // no name.
    let Ok(name) = rustix::termios::ttyname(&stdout, Vec::new()) else {
        return stdout.lock().write_all(&host_terminal::leaving());
    };
    let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let terminal = rustix::fs::open(name, flags, Mode::empty())?;
    rustix::event::poll(
        &mut [PollFd::new(&terminal, PollFlags::OUT)],
        Some(&PATIENCE),
    )?;
    rustix::io::write(terminal, &host_terminal::leaving())?;
    Ok(())
}
