//! The terminal watchdog: a process that restores the terminal if the launcher cannot do so, after
//! SIGKILL or a crash.
//!
//! The watchdog is `chat-run` itself with a hidden option, started before the panes or the console
//! take over the terminal. It saves the terminal's modes, reports on a socket that it is ready, and
//! waits. A byte from the launcher means that the launcher has restored the terminal itself. If the
//! socket closes before a byte arrives, the launcher is gone, and the watchdog restores the
//! terminal.

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
use crate::tty::raw_mode::Sequences;

/// How long to wait for a blocked terminal to accept output again.
const WRITE_TIMEOUT: Timespec = Timespec {
    tv_sec: 2,
    tv_nsec: 0,
};

/// The launcher's handle to the watchdog. Dropping the handle makes the watchdog restore the
/// terminal.
pub(crate) struct TerminalWatchdog {
    /// The watchdog's process, kept here so that it is reaped.
    _process: ChildProcess,
    /// Receiver that is disconnected when the watchdog has exited.
    ended: Receiver<()>,
    socket: UnixStream,
}

impl TerminalWatchdog {
    /// Starts the watchdog, and waits until it is ready. The watchdog will restore the terminal by
    /// setting the present modes again and writing `sequences.leave`.
    ///
    /// # Errors
    /// The watchdog cannot be started, or exits before it is ready.
    pub(crate) fn start(sequences: &Sequences) -> io::Result<Self> {
        let (mut socket, other) = UnixStream::pair()?;
        let leave = String::from_utf8_lossy(&sequences.leave);
        let program = programs::chat_run().ok_or(io::ErrorKind::NotFound)?;
        let process = Command::new(program)
            .arg(format!("--terminal-watchdog={leave}"))
            .stdin(OwnedFd::from(other))
            .stdout(Stdio::inherit())
            .stderr(Stdio::null())
            // Put the watchdog into its own process group: it must survive Ctrl+C and other signals
            // to the launcher's group.
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
        // Ignore an error, which means that the watchdog has already exited.
        let _ = self.socket.write_all(b"x");
        let _ = self.ended.recv();
    }
}

/// Runs the watchdog: waits until the launcher has ended. Then restores the terminal on stdout,
/// unless the launcher has done so.
///
/// # Errors
/// Stdin is not a socket from the launcher, or stdout is not a terminal.
pub(crate) fn run(leave: &str) -> io::Result<()> {
    // Allow setting the modes from a background job, where SIGTTOU would otherwise stop this
    // process.
    os::allow_terminal_output();
    let stdout = io::stdout();
    let before = tcgetattr(&stdout)?;
    rustix::io::write(rustix::stdio::stdin(), b"x")?;
    if io::stdin().read(&mut [0])? > 0 {
        return Ok(());
    }
    // Restore the modes only if output processing is disabled, as in raw mode. If it is enabled,
    // the shell has already set its own modes. The sequences below are needed in both cases,
    // because the shell does not write them.
    let now = tcgetattr(&stdout)?;
    if !now.output_modes.contains(OutputModes::OPOST) {
        tcsetattr(&stdout, OptionalActions::Now, &before)?;
    }
    // Open the terminal again, in non-blocking mode. A blocked terminal must not block this
    // process, and O_NONBLOCK must not be set on stdout, which the shell shares. Without /proc, the
    // terminal's name is unknown, so write to stdout after all.
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
