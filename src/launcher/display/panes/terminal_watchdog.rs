//! A process that restores the terminal if the launcher cannot, after SIGKILL or a crash.
//!
//! The process is `chat-run` itself with a hidden option, started before the terminal is taken
//! over. It saves the terminal's modes, reports that on a socket, and waits: a byte from the
//! launcher means that the terminal is restored, end of file without one that the launcher is gone.

use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, Receiver};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{Mode, OFlags};
use rustix::termios::{OptionalActions, OutputModes, tcgetattr, tcsetattr};

use crate::launcher::process::ChildProcess;
use crate::launcher::programs;
use crate::os;

/// Time for a terminal that does not read to take the bytes that restore it.
const WRITE_TIMEOUT: Timespec = Timespec {
    tv_sec: 2,
    tv_nsec: 0,
};

/// The launcher's handle of the process. When it is dropped, the process restores the terminal.
pub(crate) struct TerminalWatchdog {
    /// Held so that the process is reaped.
    _process: ChildProcess,
    ended: Receiver<()>,
    socket: UnixStream,
}

impl TerminalWatchdog {
    /// Starts the process, and waits until it is ready. It restores the terminal's modes, and
    /// writes `leave`.
    ///
    /// # Errors
    /// The process cannot be started, or ends before it is ready.
    pub(crate) fn start(leave: &str) -> io::Result<Self> {
        let (mut socket, other) = UnixStream::pair()?;
        let program = programs::chat_run().ok_or(io::ErrorKind::NotFound)?;
        let process = Command::new(program)
            .arg(format!("--keep-terminal={leave}"))
            .stdin(OwnedFd::from(other))
            .stdout(Stdio::inherit())
            .stderr(Stdio::null())
            // Ctrl+C and other signals to the launcher's group must not end it.
            .process_group(0)
            .spawn()?;
        let (end, ended) = mpsc::channel();
        let watchdog = Self {
            _process: ChildProcess::watch(process, "watchdog", move || drop(end))?,
            ended,
            socket: socket.try_clone()?,
        };
        socket.read_exact(&mut [0])?;
        Ok(watchdog)
    }

    /// Ends the process after the terminal has been restored.
    pub(crate) fn dismiss(mut self) {
        // Fails if the process has ended already.
        let _ = self.socket.write_all(b"x");
        let _ = self.ended.recv();
    }
}

/// Runs the process: waits for the launcher's end, and restores the terminal on stdout if the
/// launcher did not.
///
/// # Errors
/// Stdin is not the launcher's socket, or stdout is not a terminal.
pub(crate) fn keep_terminal(leave: &str) -> io::Result<()> {
    // A background job that sets modes is stopped by SIGTTOU.
    os::allow_terminal_output();
    let stdout = io::stdout();
    let before = tcgetattr(&stdout)?;
    rustix::io::write(rustix::stdio::stdin(), b"x")?;
    if io::stdin().read(&mut [0])? > 0 {
        return Ok(());
    }
    // The panes turn off output processing. If it is on, the shell has set the modes already.
    let now = tcgetattr(&stdout)?;
    if now.output_modes.contains(OutputModes::OPOST) {
        return Ok(());
    }
    tcsetattr(&stdout, OptionalActions::Now, &before)?;
    // A terminal that does not read must not block this process, and the shell must not inherit
    // O_NONBLOCK, so the terminal is opened again. Without /proc it has no name.
    let Ok(name) = rustix::termios::ttyname(&stdout, Vec::new()) else {
        return stdout.lock().write_all(leave.as_bytes());
    };
    let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let terminal = rustix::fs::open(name, flags, Mode::empty())?;
    rustix::event::poll(
        &mut [PollFd::new(&terminal, PollFlags::OUT)],
        Some(&WRITE_TIMEOUT),
    )?;
    rustix::io::write(terminal, leave.as_bytes())?;
    Ok(())
}
