//! The functions for Linux, which has pidfds, abstract sockets and `/proc`.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::io;
use std::iter;
use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::sync::OnceLock;

use procfs::net::{TcpNetEntry, TcpState};
use procfs::process::{FDTarget, Stat};
use rustix::process::{Pid, PidfdFlags, Signal};

/// Maximum number of processes returned by [`ancestors`].
const MAX_ANCESTORS: usize = 64;

/// A process, not necessarily a child. The pidfd (pidfd_open(2)) ensures that a signal never
/// reaches another process that reuses the PID.
#[derive(Debug)]
pub struct Process {
    pid: Pid,
    fd: OwnedFd,
}

impl Process {
    /// The process at the other end of `socket`, as reported by the kernel (SO_PEERCRED, unix(7)).
    /// The process may belong to another user; see [`check_peer_user`]. `_said` is the PID that the
    /// peer has sent, which only other systems need.
    ///
    /// # Errors
    /// `ESRCH` if the process has exited.
    pub fn peer(socket: &UnixStream, _said: i32) -> io::Result<Self> {
        let peer = rustix::net::sockopt::socket_peercred(socket)?;
        let fd = rustix::process::pidfd_open(peer.pid, PidfdFlags::empty())?;
        Ok(Self { pid: peer.pid, fd })
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
        Ok(rustix::process::pidfd_send_signal(&self.fd, signal)?)
    }

    /// A descriptor that becomes readable when the process exits. The result is an `Option` only
    /// because other systems have no such descriptor; here, it is always `Some`.
    pub fn end(&self) -> Option<BorrowedFd<'_>> {
        Some(self.fd.as_fd())
    }
}

/// Continues the stopped process to which `pidfd` refers.
///
/// # Errors
/// `EBADF` if `pidfd` is not a pidfd, `ESRCH` if the process has exited.
pub(crate) fn continue_process(pidfd: BorrowedFd<'_>) -> io::Result<()> {
    Ok(rustix::process::pidfd_send_signal(pidfd, Signal::CONT)?)
}

/// Listens on a Unix socket called `name` in the abstract namespace, which leaves no file behind
/// (unix(7)). Any user of this machine can connect; see [`check_peer_user`].
///
/// # Errors
/// `AddrInUse` if the name is taken.
pub fn listen_locally(name: &OsStr) -> io::Result<UnixListener> {
    UnixListener::bind_addr(&SocketAddr::from_abstract_name(name.as_bytes())?)
}

/// Checks that the process at the other end of `socket` belongs to this process's user, as reported
/// by the kernel (SO_PEERCRED, unix(7)).
///
/// # Errors
/// `PermissionDenied` if the process belongs to another user.
pub fn check_peer_user(socket: &UnixStream) -> io::Result<()> {
    let peer = rustix::net::sockopt::socket_peercred(socket)?;
    if peer.uid == rustix::process::geteuid() {
        Ok(())
    } else {
        Err(io::ErrorKind::PermissionDenied.into())
    }
}

/// Connects to the socket of [`listen_locally`].
///
/// # Errors
/// `ConnectionRefused` if no process listens.
pub fn connect_locally(name: &OsStr) -> io::Result<UnixStream> {
    UnixStream::connect_addr(&SocketAddr::from_abstract_name(name.as_bytes())?)
}

/// Does nothing: on Linux, [`listen_locally`] creates no files.
pub fn forget_locally(_name: &OsStr) {}

/// The calling thread's ID, as in `/proc/PID/task`. It is not 0.
pub fn thread_id() -> u32 {
    rustix::thread::gettid()
        .as_raw_nonzero()
        .get()
        .unsigned_abs()
}

/// Names the calling thread, for `ps -L` and `top -H`. The name is `prefix` followed by `name`,
/// truncated to the kernel's limit of 15 bytes.
pub fn set_thread_name(prefix: &str, name: &str) {
    if let Ok(name) = std::ffi::CString::new(super::thread_name(prefix, name)) {
        // Ignore errors, because nothing depends on the thread's name.
        let _ = rustix::thread::set_name(&name);
    }
}

/// Whether SIGHUP is ignored, from `SigIgn` in `/proc/self/status` (proc_pid_status(5)).
pub(crate) fn hangup_is_ignored() -> bool {
    // SIGHUP is signal 1, so its bit is the lowest.
    procfs::process::Process::myself()
        .and_then(|me| me.status())
        .is_ok_and(|status| status.sigign & 1 != 0)
}

/// The process IDs of the ancestors of the process `pid`: its parent, the parent's parent, and so
/// on, without process 1. Empty if the process has exited.
pub fn ancestors(pid: i32) -> Vec<i32> {
    let parent = |child: &i32| {
        let stat = procfs::process::Process::new(*child).ok()?.stat().ok()?;
        Some(stat.ppid).filter(|parent| *parent > 1)
    };
    // Limit the number of steps: if a process ID is reused between two of them, the ancestors may
    // form a cycle.
    std::iter::successors(parent(&pid), parent)
        .take(MAX_ANCESTORS)
        .collect()
}

/// Whether the process `pid` was started with the variable `name` in its environment. False if
/// `/proc` does not show the environment, because the process belongs to another user or has
/// exited.
pub fn has_variable(pid: i32, name: &str) -> bool {
    procfs::process::Process::new(pid)
        .and_then(|process| process.environ())
        .is_ok_and(|variables| variables.contains_key(OsStr::new(name)))
}

/// Whether another job is in the foreground of the terminal with the device number `device`. This
/// terminal must not be the controlling terminal of this process.
///
/// tcgetpgrp(3) reports the foreground job only to processes in the terminal's session, so this
/// function reads `/proc` instead:
///
/// - If an ancestor of this process is in the terminal's session, such as `su` of `su -c`, the
///   result is whether a job other than the ancestor's is in the foreground.
/// - Otherwise, this process was detached from the terminal, as by `setsid`. The result is whether
///   the terminal has a session at all, because every job in that session is another job.
pub(crate) fn is_used_by_another_job(device: rustix::fs::Dev) -> bool {
    static HAS_SESSION: OnceLock<bool> = OnceLock::new();
    match ancestor_with_terminal(device) {
        Some(ancestor) => ancestor.pgrp != ancestor.tpgid,
        // Look through all processes only on the first call, and keep the result, because the
        // search takes milliseconds.
        None => *HAS_SESSION.get_or_init(|| {
            let processes = procfs::process::all_processes().into_iter();
            let mut stats = processes.flatten().flatten().flat_map(|each| each.stat());
            stats.any(|stat| controls(device, &stat))
        }),
    }
}

/// Returns the nearest ancestor of this process whose controlling terminal has the device number
/// `device`. Returns `None` if there is no such ancestor, or if it has exited.
pub(crate) fn terminal_owner(device: rustix::fs::Dev) -> Option<Process> {
    let pid = Pid::from_raw(ancestor_with_terminal(device)?.pid)?;
    let fd = rustix::process::pidfd_open(pid, PidfdFlags::empty()).ok()?;
    Some(Process { pid, fd })
}

fn ancestor_with_terminal(device: rustix::fs::Dev) -> Option<Stat> {
    let stat = |pid| procfs::process::Process::new(pid).ok()?.stat().ok();
    let this = stat(rustix::process::getpid().as_raw_nonzero().get());
    iter::successors(this, |child| stat(child.ppid)).find(|stat| controls(device, stat))
}

/// Whether the terminal with the device number `device` is the controlling terminal of the process
/// described by `stat`, from `/proc/PID/stat`.
fn controls(device: rustix::fs::Dev, stat: &Stat) -> bool {
    let (major, minor) = stat.tty_nr();
    let controlling = (major.cast_unsigned(), minor.cast_unsigned());
    controlling == (rustix::fs::major(device), rustix::fs::minor(device))
}

/// All TCP sockets in this network namespace.
fn tcp_sockets() -> impl Iterator<Item = TcpNetEntry> {
    let tables = [procfs::net::tcp(), procfs::net::tcp6()];
    tables.into_iter().flatten().flatten()
}

/// Reads the state of all TCP sockets of the system, which takes some microseconds per socket.
/// Returns a function that tells, from that state, whether a socket can be closed without loss: it
/// was shut down for writing, the peer has acknowledged all bytes, and no input is unread. Closing
/// a socket with unread input resets the connection, which discards what the peer has not read.
pub fn acknowledged() -> impl Fn(&TcpStream) -> bool {
    // After a shutdown, the end of the output counts as one unacknowledged byte. Do not wait for
    // its acknowledgment, which the peer may delay (RFC 9293, section 3.8.6.3). Linux delays it by
    // 40 ms.
    let is_done = |entry: &TcpNetEntry| {
        let is_closing = [TcpState::FinWait1, TcpState::FinWait2].contains(&entry.state);
        is_closing && entry.tx_queue <= 1 && entry.rx_queue == 0
    };
    let done = tcp_sockets().filter(is_done).map(|entry| entry.inode);
    let done: HashSet<u64> = done.collect();
    move |socket| rustix::fs::fstat(socket).is_ok_and(|file| done.contains(&file.st_ino))
}

/// Describes the process that listens on a TCP port, such as `python3 (pid 123)`. `None` if there
/// is no such process, or if `/proc` does not show it because it belongs to another user.
pub fn port_holder(port: u16) -> Option<String> {
    let listens =
        |entry: &TcpNetEntry| entry.state == TcpState::Listen && entry.local_address.port() == port;
    let sockets: Vec<u64> = tcp_sockets()
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
            // Remove control characters from the name, because a process can choose any name for
            // itself.
            let name = crate::protocol::text::clean(&name);
            Some(format!("{name} (pid {})", process.pid()))
        })
}
