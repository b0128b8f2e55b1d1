//! A frozen client: stopped by SIGSTOP, and continued even if the launcher is killed.
//!
//! If the launcher is killed, a stopped client in a terminal emulator or in tmux would stay behind,
//! because it cannot notice that its control connection has ended. So each frozen client has a
//! watchdog, which is `chat-run` itself with a hidden option. The watchdog's stdin is a socket from
//! the launcher, and its stdout is the client's pidfd. When the socket closes, the watchdog sends
//! the client SIGCONT and exits.

use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::time::Instant;

use rustix::process::Signal;

use crate::control_socket::ClientHandle;
use crate::launcher::process::ChildProcess;
use crate::launcher::programs;
use crate::os;

/// A client that stays stopped until this value is passed to [`FrozenClient::thaw`] or dropped.
pub(crate) struct FrozenClient {
    /// The time at which the client was stopped.
    pub(crate) since: Instant,
    /// The watchdog. `None` on systems without pidfds.
    watchdog: Option<Watchdog>,
}

struct Watchdog {
    process: ChildProcess,
    /// When this socket closes, as it does when the launcher ends, the watchdog continues the
    /// client.
    _socket: UnixStream,
}

impl FrozenClient {
    /// Stops the process of `client`.
    ///
    /// # Errors
    /// The watchdog cannot be started. In this case, the client is not stopped.
    pub(crate) fn freeze(client: &ClientHandle) -> io::Result<Self> {
        let watchdog = match client.pidfd() {
            None => None,
            Some(pidfd) => {
                let (socket, other) = UnixStream::pair()?;
                let program = programs::chat_run().ok_or(io::ErrorKind::NotFound)?;
                let mut command = Command::new(program);
                command
                    .arg("--thaw-watchdog")
                    .stdin(OwnedFd::from(other))
                    .stdout(pidfd.try_clone_to_owned()?)
                    .stderr(Stdio::null());
                let (process, ()) = ChildProcess::start(command, "watchdog", |_| (), || {})?;
                Some(Watchdog {
                    process,
                    _socket: socket,
                })
            }
        };
        client.signal(Signal::STOP);
        Ok(Self {
            since: Instant::now(),
            watchdog,
        })
    }

    /// Continues the process of `client`, which must be the client that was frozen.
    pub(crate) fn thaw(self, client: &ClientHandle) {
        if let Some(watchdog) = &self.watchdog {
            // Kill the watchdog before the drop closes the socket. Otherwise, its SIGCONT could
            // arrive after the client has been frozen again, and continue the client.
            watchdog.process.signal(Signal::KILL);
        }
        client.signal(Signal::CONT);
    }
}

/// Runs the watchdog: waits until the launcher has closed the socket on stdin, and continues the
/// client whose pidfd is stdout.
///
/// # Errors
/// Stdin is not such a socket, or stdout is not a pidfd.
pub(crate) fn run_watchdog() -> io::Result<()> {
    // The launcher writes nothing, so this returns at the end of the input.
    let _ = io::stdin().read(&mut [0])?;
    os::continue_process(rustix::stdio::stdout())
}
