//! Linux: pidfds, peers of a socket, abstract sockets, `/proc`.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};

use procfs::net::{TcpNetEntry, TcpState};
use procfs::process::FDTarget;
use rustix::process::{Pid, PidfdFlags, Signal};

/// A process that need not be our child, held so that its number cannot come to mean another one: a pidfd (pidfd_open(2)).
#[derive(Debug)]
pub struct Process {
    pid: Pid,
    fd: OwnedFd,
}

impl Process {
    /// The process at the other end of `socket`, which says that its number is `_said`: the kernel knows it better (SO_PEERCRED, unix(7)).
    ///
    /// # Errors
    /// `PermissionDenied` where it is another user's; what the kernel says where it has ended already.
    pub fn peer(socket: &UnixStream, _said: i32) -> io::Result<Self> {
        let peer = rustix::net::sockopt::socket_peercred(socket)?;
        if peer.uid != rustix::process::geteuid() {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let fd = rustix::process::pidfd_open(peer.pid, PidfdFlags::empty())?;
        Ok(Self { pid: peer.pid, fd })
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
        Ok(rustix::process::pidfd_send_signal(&self.fd, signal)?)
    }

    /// What becomes readable when it has ended, and not before. `None` where there is no such thing: then the end of its socket has to do.
    pub fn end(&self) -> Option<BorrowedFd<'_>> {
        Some(self.fd.as_fd())
    }
}

/// Listens on a Unix socket that leaves no file behind: `name` in the abstract namespace (unix(7)). Anyone on this machine may connect; see [`Process::peer`].
///
/// # Errors
/// `AddrInUse` where there is one of this name.
pub fn listen_locally(name: &OsStr) -> io::Result<UnixListener> {
    UnixListener::bind_addr(&SocketAddr::from_abstract_name(name.as_bytes())?)
}

/// Connects to the socket of [`listen_locally`].
///
/// # Errors
/// `ConnectionRefused` where nobody listens any more.
pub fn connect_locally(name: &OsStr) -> io::Result<UnixStream> {
    UnixStream::connect_addr(&SocketAddr::from_abstract_name(name.as_bytes())?)
}

/// Takes away what [`listen_locally`] left behind: nothing here.
pub fn forget_locally(_name: &OsStr) {}

/// Names the calling thread, as `ps -L` and `top -H` show it; [`super::thread_name`] tells what fits.
pub fn set_thread_name(prefix: &str, name: &str) {
    if let Ok(name) = std::ffi::CString::new(super::thread_name(prefix, name)) {
        // A thread without its name works as well.
        let _ = rustix::thread::set_name(&name);
    }
}

/// Whether SIGHUP is ignored, from `SigIgn` in `/proc/self/status` (proc_pid_status(5)).
pub(crate) fn hangup_is_ignored() -> bool {
    // SIGHUP is number 1, the lowest bit.
    procfs::process::Process::myself()
        .and_then(|me| me.status())
        .is_ok_and(|status| status.sigign & 1 != 0)
}

/// Who listens on a TCP port, like `python3 (pid 123)`; `None` where nobody does, or where `/proc` does not tell, as for
/// another user's process.
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
            // A process may call itself anything.
            let name = crate::protocol::text::clean(&name);
            Some(format!("{name} (pid {})", process.pid()))
        })
}
