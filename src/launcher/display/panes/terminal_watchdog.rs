//! The terminal watchdog: a process that restores the terminal if the launcher cannot, after
//! SIGKILL or a crash.
//!
//! The watchdog is `chat-run` itself with a hidden option, started before the panes or the console
//! take over the terminal. It saves the terminal's modes, reports on a socket that it is ready, and
//! waits. If the launcher sends a byte, it has restored the terminal itself. If the socket closes
//! without one, the launcher is gone.

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

/// Time limit for a blocked terminal to accept output again.
const WRITE_TIMEOUT: Timespec = Timespec {
    tv_sec: 2,
    tv_nsec: 0,
};

/// The launcher's handle to the watchdog. Dropping the handle makes the watchdog restore the
/// terminal.
pub(crate) struct TerminalWatchdog {
    /// Held so that the watchdog is reaped.
    _process: ChildProcess,
    /// Disconnected when the watchdog has exited.
    ended: Receiver<()>,
    socket: UnixStream,
}

impl TerminalWatchdog {
    /// Starts the watchdog, and waits until it is ready. To restore the terminal, it will reset the
    /// modes and write the escape sequences `leave`.
    ///
    /// # Errors
    /// The watchdog cannot be started, or exits before it is ready.
    pub(crate) fn start(leave: &str) -> io::Result<Self> {
        let (mut socket, other) = UnixStream::pair()?;
        let program = programs::chat_run().ok_or(io::ErrorKind::NotFound)?;
        let process = Command::new(program)
            .arg(format!("--terminal-watchdog={leave}"))
            .stdin(OwnedFd::from(other))
            .stdout(Stdio::inherit())
            .stderr(Stdio::null())
            // The watchdog must survive Ctrl+C and other signals sent to the launcher's process
            // group.
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

    /// Tells the watchdog that the terminal has been restored, and waits until it has exited.
    pub(crate) fn dismiss(mut self) {
        // Fails if the watchdog has already exited.
        let _ = self.socket.write_all(b"x");
        let _ = self.ended.recv();
    }
}

/// Runs the watchdog: waits until the launcher has ended, and restores the terminal on stdout if
/// the launcher has not.
///
/// # Errors
/// Stdin is not a socket from the launcher, or stdout is not a terminal.
pub(crate) fn run(leave: &str) -> io::Result<()> {
    // Setting the modes from a background job would otherwise stop this process with SIGTTOU.
    os::allow_terminal_output();
    let stdout = io::stdout();
    let before = tcgetattr(&stdout)?;
    rustix::io::write(rustix::stdio::stdin(), b"x")?;
    if io::stdin().read(&mut [0])? > 0 {
        return Ok(());
    }
    // Raw mode disables output processing. If output processing is enabled now, the shell has
    // already restored its own terminal modes. It knows nothing of the escape sequences, though.
    let now = tcgetattr(&stdout)?;
    if !now.output_modes.contains(OutputModes::OPOST) {
        tcsetattr(&stdout, OptionalActions::Now, &before)?;
    }
    // The terminal is opened again, in non-blocking mode: a blocked terminal must not block this
    // process, and the shell must not inherit O_NONBLOCK on stdout. Without /proc, the terminal has
    // no name to open.
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
