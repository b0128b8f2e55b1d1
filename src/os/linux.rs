//! Linux: pidfds, socket peers, abstract sockets, `/proc`.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};

use procfs::net::{TcpNetEntry, TcpState};
use procfs::process::FDTarget;
use rustix::process::{Pid, PidfdFlags, Signal};

/// A process that need not be a child, held by a pidfd so that its PID cannot be reused
/// (pidfd_open(2)).
#[derive(Debug)]
pub struct Process {
    pid: Pid,
    fd: OwnedFd,
}

impl Process {
    /// The process at the other end of `socket`, as the kernel knows it (SO_PEERCRED, unix(7)); the
    /// PID that it claims is not needed.
    ///
    /// # Errors
    /// `PermissionDenied` if it belongs to another user; see pidfd_open(2) if it has ended.
    pub fn peer(socket: &UnixStream, _said: i32) -> io::Result<Self> {
        let peer = rustix::net::sockopt::socket_peercred(socket)?;
        if peer.uid != rustix::process::geteuid() {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let fd = rustix::process::pidfd_open(peer.pid, PidfdFlags::empty())?;
        Ok(Self { pid: peer.pid, fd })
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
        Ok(rustix::process::pidfd_send_signal(&self.fd, signal)?)
    }

    /// A descriptor that becomes readable when the process ends. `None` where pidfds do not exist:
    /// the end of the process's socket has to do.
    pub fn end(&self) -> Option<BorrowedFd<'_>> {
        Some(self.fd.as_fd())
    }
}

/// Listens on a Unix socket called `name` in the abstract namespace, which leaves no file behind
/// (unix(7)). Any user of this machine can connect; see [`Process::peer`].
///
/// # Errors
/// `AddrInUse` if the name is taken.
pub fn listen_locally(name: &OsStr) -> io::Result<UnixListener> {
    UnixListener::bind_addr(&SocketAddr::from_abstract_name(name.as_bytes())?)
}

/// Connects to the socket of [`listen_locally`].
///
/// # Errors
/// `ConnectionRefused` if no process listens any more.
pub fn connect_locally(name: &OsStr) -> io::Result<UnixStream> {
    UnixStream::connect_addr(&SocketAddr::from_abstract_name(name.as_bytes())?)
}

/// Removes what [`listen_locally`] left behind: nothing on Linux.
pub fn forget_locally(_name: &OsStr) {}

/// Names the calling thread for `ps -L` and `top -H`; [`super::thread_name`] truncates the name.
pub fn set_thread_name(prefix: &str, name: &str) {
    if let Ok(name) = std::ffi::CString::new(super::thread_name(prefix, name)) {
        // A thread without its name works as well.
        let _ = rustix::thread::set_name(&name);
    }
}

/// Whether SIGHUP is ignored, from `SigIgn` in `/proc/self/status` (proc_pid_status(5)).
pub(crate) fn hangup_is_ignored() -> bool {
    // SIGHUP is signal 1, the lowest bit.
    procfs::process::Process::myself()
        .and_then(|me| me.status())
        .is_ok_and(|status| status.sigign & 1 != 0)
}

/// The process that listens on a TCP port, such as `python3 (pid 123)`. `None` if there is none, or
/// if `/proc` does not tell, as for another user's process.
pub fn port_holder(port: u16) -> Option<String> {
    let listens =
        |entry: &TcpNetEntry| entry.state == TcpState::Listen && entry.local_address.port() == port;
    let sockets: Vec<u64> = [procfs::net::tcp(), procfs::net::tcp6()]
        .into_iter()
        .flatten()
        .flatten()
        .filter(listens)
        .map(|entry| entry.inode)
        .collect();
    if sockets.is_empty() {
        return None;
    }
    procfs::process::all_processes()
        .ok()?
        .flatten()
        .find_map(|process| {
            let holds =
                process.fd().ok()?.flatten().any(
                    |fd| matches!(fd.target, FDTarget::Socket(inode) if sockets.contains(&inode)),
                );
            holds.then_some(())?;
            let name = process.stat().ok()?.comm;
            // A process can give itself any name.
            let name = crate::protocol::text::clean(&name);
            Some(format!("{name} (pid {})", process.pid()))
        })
}
