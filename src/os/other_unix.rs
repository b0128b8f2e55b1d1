//! Unix systems other than Linux: what is possible without Linux's system calls and `/proc`.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::net::TcpStream;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::process::{Pid, Signal};

use crate::os::memfd::PREFIX;

/// A number that identifies the calling thread. It is not 0, and not the system's ID of the thread,
/// for which std has no function.
pub fn thread_id() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    thread_local!(static ID: u32 = NEXT.fetch_add(1, Ordering::Relaxed));
    ID.try_with(|id| *id).unwrap_or(u32::MAX)
}

/// Does nothing: on these systems, a running thread cannot be renamed.
pub fn set_thread_name(_prefix: &str, _name: &str) {}

/// Always empty: the parents of another process cannot be determined here.
pub fn ancestors(_pid: i32) -> Vec<i32> {
    Vec::new()
}

/// Always false: on these systems, the environment of another process cannot be read.
pub fn has_variable(_pid: i32, _name: &str) -> bool {
    false
}

/// Always `None`: on these systems, the process that listens on a port cannot be determined.
pub fn port_holder(_port: u16) -> Option<String> {
    None
}

/// Always false: the foreground job of a terminal that is not the controlling one cannot be
/// determined here.
pub(crate) fn is_used_by_another_job(_device: rustix::fs::Dev) -> bool {
    false
}

/// Always `None`: the owner of a terminal cannot be determined here.
pub(crate) fn terminal_owner(_device: rustix::fs::Dev) -> Option<Process> {
    None
}

/// Returns a function that always returns false, because a program cannot find out on these systems
/// which bytes a peer has received.
pub fn acknowledged() -> impl Fn(&TcpStream) -> bool {
    |_| false
}

/// A process, not necessarily a child. Its PID may be reused after it has exited.
#[derive(Debug)]
pub struct Process {
    pid: Pid,
}

impl Process {
    /// The process with the PID `said`, which the peer has sent through the socket. The process
    /// belongs to this user, because no other user can enter the socket's directory.
    ///
    /// # Errors
    /// `InvalidInput` if `said` is not a PID.
    pub fn peer(_socket: &UnixStream, said: i32) -> io::Result<Self> {
        let pid = Pid::from_raw(said).ok_or(io::ErrorKind::InvalidInput)?;
        Ok(Self { pid })
    }

    /// The process ID, for display.
    pub fn pid(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// `ESRCH` if the process has exited.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        Ok(rustix::process::kill_process(self.pid, signal)?)
    }

    /// Always `None`, because these systems have no pidfds. The caller learns of the exit from the
    /// end of the input on the socket to the process.
    pub fn end(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

/// Always fails: these systems have no pidfds.
///
/// # Errors
/// `Unsupported`.
pub(crate) fn continue_process(_pidfd: BorrowedFd<'_>) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Listens on a Unix socket in a directory called `name` that only this user can enter.
///
/// # Errors
/// `AlreadyExists` if the name is taken. Otherwise same as mkdir(2) and bind(2), for example if the
/// temporary directory cannot be written.
pub fn listen_locally(name: &OsStr) -> io::Result<UnixListener> {
    sweep();
    let folder = folder(name);
    fs::DirBuilder::new().mode(0o700).create(&folder)?;
    UnixListener::bind(folder.join("socket")).inspect_err(|_| forget_locally(name))
}

/// Always succeeds, because no other user can enter the directory of the socket (see
/// [`listen_locally`]) and connect.
///
/// # Errors
/// None here.
pub fn check_peer_user(_socket: &UnixStream) -> io::Result<()> {
    Ok(())
}

/// Removes the files and directories that exited processes of this user left in the temporary
/// directory. Those of other users stay, because removing them fails.
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
/// `ConnectionRefused` or `NotFound` if no process listens.
pub fn connect_locally(name: &OsStr) -> io::Result<UnixStream> {
    UnixStream::connect(folder(name).join("socket"))
}

/// Removes the socket and the directory that [`listen_locally`] created.
pub fn forget_locally(name: &OsStr) {
    let _ = fs::remove_dir_all(folder(name));
}

fn folder(name: &OsStr) -> PathBuf {
    std::env::temp_dir().join(name)
}

/// Whether SIGHUP is ignored, as under `nohup`. Always false here, because finding out would
/// require `unsafe`. As a result, SIGHUP ends the program even under `nohup`.
pub(crate) fn hangup_is_ignored() -> bool {
    false
}
