//! Elsewhere than on Linux: what can be had without its system calls and `/proc`.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;

use rustix::process::{Pid, Signal};

use crate::os::memfd::PREFIX;

/// A thread keeps the name that it was started with.
pub fn set_thread_name(_prefix: &str, _name: &str) {}

/// Who listens on a TCP port: not known here.
pub fn port_holder(_port: u16) -> Option<String> {
    None
}

/// A process that need not be our child. Its number may come to mean another one once it has ended.
#[derive(Debug)]
pub struct Process {
    pid: Pid,
}

impl Process {
    /// The process at the other end of `_socket`, which says that its number is `said`. It is this user's, as nobody else can enter
    /// the socket's folder.
    ///
    /// # Errors
    /// `InvalidInput` where that is no number of a process.
    pub fn peer(_socket: &UnixStream, said: i32) -> io::Result<Self> {
        let pid = Pid::from_raw(said).ok_or(io::ErrorKind::InvalidInput)?;
        Ok(Self { pid })
    }

    /// Its number, to show.
    pub fn pid(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// What the kernel says; `ESRCH` where it has ended.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        Ok(rustix::process::kill_process(self.pid, signal)?)
    }

    /// What becomes readable when it has ended: nothing here, the end of its socket has to do.
    pub fn end(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

/// Listens on a Unix socket in a folder called `name` that only this user can enter.
///
/// # Errors
/// `AlreadyExists` where there is one of this name; the temporary folder cannot be written to.
pub fn listen_locally(name: &OsStr) -> io::Result<UnixListener> {
    sweep();
    let folder = folder(name);
    fs::DirBuilder::new().mode(0o700).create(&folder)?;
    UnixListener::bind(folder.join("socket")).inspect_err(|_| forget_locally(name))
}

/// Removes what processes have left in the temporary folder that are there no more. What cannot be removed is somebody else's.
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
/// `ConnectionRefused` or `NotFound` where nobody listens any more.
pub fn connect_locally(name: &OsStr) -> io::Result<UnixStream> {
    UnixStream::connect(folder(name).join("socket"))
}

/// Takes away what [`listen_locally`] left behind.
pub fn forget_locally(name: &OsStr) {
    let _ = fs::remove_dir_all(folder(name));
}

fn folder(name: &OsStr) -> PathBuf {
    std::env::temp_dir().join(name)
}

/// Whether SIGHUP is ignored: not to be known without `unsafe`, so `nohup` does not help here.
pub(crate) fn hangup_is_ignored() -> bool {
    false
}
