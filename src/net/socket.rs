//! Non-blocking sends and receives, waiting with poll(2), keepalive, and waking a thread that waits
//! for connections.

use std::io::{self, IoSlice};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};

use crate::sync;

/// Maximum number of slices in one vectored send (`IOV_MAX`, writev(2)).
pub const MAX_SLICES: usize = 1024;

/// How long a connection must be silent before the kernel sends keepalive probes (tcp(7),
/// `TCP_KEEPIDLE`). If three probes, sent 10 s apart, get no answer, the peer counts as dead.
const KEEPALIVE: Duration = Duration::from_secs(60);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_RETRIES: u32 = 3;

/// How long a connection lasts after its peer is gone. Keepalive applies this limit to a connection
/// with no data in flight, and `TCP_USER_TIMEOUT` applies it to one with unacknowledged data.
pub const GIVEN_UP_AFTER: Duration = Duration::from_secs(
    KEEPALIVE.as_secs() + KEEPALIVE_RETRIES as u64 * KEEPALIVE_INTERVAL.as_secs(),
);

/// Enables keepalive, so that the connection breaks after [`GIVEN_UP_AFTER`] if its peer is gone.
/// Accepted sockets inherit the setting from their listener.
pub fn keep_alive<'s>(socket: impl Into<SockRef<'s>>) {
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE)
        .with_interval(KEEPALIVE_INTERVAL);
    #[cfg(not(any(target_os = "openbsd", target_os = "redox", target_os = "solaris")))]
    let keepalive = keepalive.with_retries(KEEPALIVE_RETRIES);
    // Ignore errors, because the connection also works without keepalive.
    let _ = socket.into().set_tcp_keepalive(&keepalive);
}

/// Sends as much as the kernel accepts at once, at most [`MAX_SLICES`] slices of `parts`. Returns
/// the number of bytes sent.
///
/// # Errors
/// `WouldBlock` if the socket's send buffer is full.
pub fn send_now(socket: &TcpStream, parts: &[IoSlice<'_>]) -> io::Result<usize> {
    let parts = &parts[..parts.len().min(MAX_SLICES)];
    let flags = rustix::net::SendFlags::DONTWAIT;
    // Apple systems have no NOSIGNAL flag: std sets SO_NOSIGPIPE on each socket instead.
    #[cfg(not(target_vendor = "apple"))]
    let flags = flags | rustix::net::SendFlags::NOSIGNAL;
    // On Linux, the sockets are non-blocking anyway. On other systems, [`accept_now`] makes them
    // blocking, so DONTWAIT is needed.
    let flags = flags.bits() as _;
    match parts {
        // Most sends have a single slice, for which the kernel has a shorter path.
        [part] => SockRef::from(socket).send_with_flags(part, flags),
        parts => SockRef::from(socket).send_vectored_with_flags(parts, flags),
    }
}

/// Receives the bytes that are available. Returns their number, which is 0 at the end of input.
///
/// # Errors
/// `WouldBlock` if no bytes are available.
pub fn receive_now(socket: &TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
    let (received, _) = rustix::net::recv(socket, buffer, rustix::net::RecvFlags::DONTWAIT)?;
    Ok(received)
}

/// Receives the bytes that are available, and waits for some if there are none. Returns their
/// number, which is 0 at the end of input.
///
/// # Errors
/// As recv(2) and poll(2).
pub fn receive(socket: &TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match receive_now(socket, buffer) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                wait_readable(socket, Duration::MAX)?;
            }
            received => return received,
        }
    }
}

/// Accepts a connection from a non-blocking listener.
///
/// # Errors
/// `WouldBlock` if no connection is waiting.
pub fn accept_now(listener: &TcpListener) -> io::Result<(TcpStream, SocketAddr)> {
    let (socket, peer) = listener.accept()?;
    // Set the mode explicitly, because systems differ in whether an accepted socket inherits it
    // from the listener. Linux needs a non-blocking socket, because sendfile(2) has no flag that
    // makes a single call non-blocking. On other systems, the socket is blocking, and each call
    // passes DONTWAIT.
    socket.set_nonblocking(cfg!(target_os = "linux"))?;
    Ok((socket, peer))
}

/// Waits up to `patience` until the socket is writable or the connection has broken.
///
/// # Errors
/// As poll(2).
pub fn wait_writable(socket: &TcpStream, patience: Duration) -> io::Result<()> {
    poll(socket, rustix::event::PollFlags::OUT, patience).map(drop)
}

/// Whether the send buffer holds bytes that the kernel could not send yet, because the peer does
/// not read. Call this between the last send and the shutdown of the sending side: on Linux, the
/// call makes the buffer accept few further bytes, and after the shutdown, the result is always
/// false. On other systems, a buffer that is not full counts as empty.
pub fn has_unsent(socket: &TcpStream) -> bool {
    // With this limit, poll(2) reports the socket as writable only if all its bytes were sent.
    // Ignore errors here and below: a connection that has broken has nothing to send.
    #[cfg(target_os = "linux")]
    let _ = SockRef::from(socket).set_tcp_notsent_lowat(1);
    !poll(socket, rustix::event::PollFlags::OUT, Duration::ZERO).unwrap_or(true)
}

/// Ends a connection for a peer that does not read. Wakes the threads that wait for the socket. The
/// kernel discards the bytes that it has not sent, and sends RST, when the socket is closed.
pub fn abort(socket: &TcpStream) {
    // Ignore errors, which mean that the connection has broken.
    let _ = SockRef::from(socket).set_linger(Some(Duration::ZERO));
    let _ = socket.shutdown(Shutdown::Both);
}

/// Waits up to `patience` until the socket is readable. Returns whether it is.
///
/// # Errors
/// As poll(2).
pub fn wait_readable(socket: &TcpStream, patience: Duration) -> io::Result<bool> {
    poll(socket, rustix::event::PollFlags::IN, patience)
}

/// Waits up to `patience` until both directions of the connection are closed. Returns whether both
/// are closed.
///
/// The end of input alone does not count, because a client that has sent everything may still be
/// reading.
///
/// # Errors
/// As poll(2).
pub fn wait_hangup(socket: &TcpStream, patience: Duration) -> io::Result<bool> {
    // Request no events, because poll(2) reports the end of both directions (POLLHUP) and errors
    // (POLLERR) in any case.
    poll(socket, rustix::event::PollFlags::empty(), patience)
}

/// The condition that [`wait_any`] waits for on a connection.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Interest {
    /// Input, or the end of the connection.
    Input,
    /// The end of the input, or of the connection. The end of the input is reported on Linux only.
    EndOfInput,
    /// The end of both directions of the connection.
    Hangup,
}

/// Waits up to `patience` until one of `streams` meets its condition or, if `accepts` is true, one
/// of `listeners` has a connection to accept. Returns for each socket whether it is ready, first
/// for the listeners, then for the streams. A broken connection and a listener that was shut down
/// are always ready.
///
/// # Errors
/// Same as poll(2).
pub fn wait_any<'s>(
    listeners: &[TcpListener],
    accepts: bool,
    streams: impl Iterator<Item = (&'s TcpStream, Interest)>,
    patience: Duration,
) -> io::Result<Vec<bool>> {
    use rustix::event::{PollFd, PollFlags};

    let wanted = if accepts {
        PollFlags::IN
    } else {
        PollFlags::empty()
    };
    let listening = listeners.iter().map(|socket| PollFd::new(socket, wanted));
    let reading = streams.map(|(socket, interest)| {
        // poll(2) reports POLLHUP and POLLERR without being asked.
        let events = match interest {
            Interest::Input => PollFlags::IN,
            #[cfg(target_os = "linux")]
            Interest::EndOfInput => PollFlags::RDHUP,
            #[cfg(not(target_os = "linux"))]
            Interest::EndOfInput => PollFlags::empty(),
            Interest::Hangup => PollFlags::empty(),
        };
        PollFd::new(socket, events)
    });
    let mut fds: Vec<_> = listening.chain(reading).collect();
    wait(&mut fds, patience)?;
    Ok(fds.iter().map(|fd| !fd.revents().is_empty()).collect())
}

fn poll(
    socket: &TcpStream,
    events: rustix::event::PollFlags,
    patience: Duration,
) -> io::Result<bool> {
    wait(&mut [rustix::event::PollFd::new(socket, events)], patience)
}

fn wait(fds: &mut [rustix::event::PollFd<'_>], patience: Duration) -> io::Result<bool> {
    let timeout = rustix::event::Timespec::try_from(patience).ok();
    match sync::poll(fds, timeout.as_ref()) {
        Ok(ready) => Ok(ready > 0),
        Err(rustix::io::Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Wakes a thread that waits for connections on `listener`, and makes every later accept fail.
#[cfg(target_os = "linux")]
pub fn stop_accepting(listener: &TcpListener) {
    // Only Linux allows shutdown(2) on a listening socket. Ignore an error, which means that the
    // socket is no longer listening.
    let _ = SockRef::from(listener).shutdown(Shutdown::Both);
}

/// Wakes a thread that waits for connections on `listener`, by connecting to the listener.
#[cfg(not(target_os = "linux"))]
pub fn stop_accepting(listener: &TcpListener) {
    if let Ok(mut address) = listener.local_addr() {
        if address.ip().is_unspecified() {
            address.set_ip(match address {
                std::net::SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
                std::net::SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
            });
        }
        let _ = TcpStream::connect_timeout(&address, Duration::from_secs(1));
    }
}
