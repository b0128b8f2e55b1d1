//! Unix systems other than Linux: what is possible without its system calls and `/proc`.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;

use rustix::process::{Pid, Signal};

use crate::os::memfd::PREFIX;

/// Does nothing: a thread keeps the name that it was started with.
pub fn set_thread_name(_prefix: &str, _name: &str) {}

/// The process that listens on a TCP port: unknown here.
pub fn port_holder(_port: u16) -> Option<String> {
    None
}

/// A process that need not be a child. Its PID may be reused once it has ended.
#[derive(Debug)]
pub struct Process {
    pid: Pid,
}

impl Process {
    /// The process at the other end of `_socket`, which claims the PID `said`. It belongs to this
    /// user, as no other user can enter the socket's directory.
    ///
    /// # Errors
    /// `InvalidInput` if `said` is not a PID.
    pub fn peer(_socket: &UnixStream, said: i32) -> io::Result<Self> {
        let pid = Pid::from_raw(said).ok_or(io::ErrorKind::InvalidInput)?;
        Ok(Self { pid })
    }

    /// The PID, for display.
    pub fn pid(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// `ESRCH` if the process has ended.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        Ok(rustix::process::kill_process(self.pid, signal)?)
    }

    /// Always `None`: there are no pidfds, so the end of the process's socket has to do.
    pub fn end(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

/// Listens on a Unix socket in a directory called `name` that only this user can enter.
///
/// # Errors
/// `AlreadyExists` if the name is taken, or the temporary directory cannot be written.
pub fn listen_locally(name: &OsStr) -> io::Result<UnixListener> {
    sweep();
    let folder = folder(name);
    fs::DirBuilder::new().mode(0o700).create(&folder)?;
    UnixListener::bind(folder.join("socket")).inspect_err(|_| forget_locally(name))
}

/// Removes files of ended processes from the temporary directory. Files of other users cannot be
/// removed and stay.
fn sweep() {
    for entry in fs::read_dir(std::env::temp_dir())
        .into_iter()
        .flatten()
        .flatten()
    {
        let name = entry.file_name();
        let pid = name
            .to_str()
            .and_then(|name| name.strip_prefix(PREFIX)?.split('-').next()?.parse().ok())
            .and_then(Pid::from_raw);
        if pid.is_some_and(|pid| {
            rustix::process::test_kill_process(pid) == Err(rustix::io::Errno::SRCH)
        }) {
            let _ = fs::remove_file(entry.path());
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Connects to the socket of [`listen_locally`].
///
/// # Errors
/// `ConnectionRefused` or `NotFound` if no process listens any more.
pub fn connect_locally(name: &OsStr) -> io::Result<UnixStream> {
    UnixStream::connect(folder(name).join("socket"))
}

/// Removes what [`listen_locally`] left behind.
pub fn forget_locally(name: &OsStr) {
    let _ = fs::remove_dir_all(folder(name));
}

fn folder(name: &OsStr) -> PathBuf {
    std::env::temp_dir().join(name)
}

/// Whether SIGHUP is ignored. This cannot be determined without `unsafe`, so `nohup` has no effect.
pub(crate) fn hangup_is_ignored() -> bool {
    false
}
