//! What sockets can do beyond std: send and receive without waiting, wait without reading, also for many, wake an accept.

use std::io::{self, IoSlice};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};

use crate::sync;

/// Most slices of one vectored send (`IOV_MAX`, writev(2)).
pub const MAX_SLICES: usize = 1024;

/// A peer that has vanished without a word is found after 60 s of silence, and three questions 10 s apart
/// (tcp(7), `TCP_KEEPIDLE`).
const KEEPALIVE: Duration = Duration::from_secs(60);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_RETRIES: u32 = 3;

/// Time after which such a peer is given up: after this much silence, or where what it was sent is not acknowledged for so long.
pub const GIVEN_UP_AFTER: Duration = Duration::from_secs(
    KEEPALIVE.as_secs() + KEEPALIVE_RETRIES as u64 * KEEPALIVE_INTERVAL.as_secs(),
);

/// Lets a connection whose peer has vanished without a word break, instead of standing for ever. What a listener accepts has
/// the option of the listener.
pub fn keep_alive<'s>(socket: impl Into<SockRef<'s>>) {
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE)
        .with_interval(KEEPALIVE_INTERVAL);
    #[cfg(not(any(target_os = "openbsd", target_os = "redox", target_os = "solaris")))]
    let keepalive = keepalive.with_retries(KEEPALIVE_RETRIES);
    // Where it cannot be set, the connection works without it.
    let _ = socket.into().set_tcp_keepalive(&keepalive);
}

/// Sends what the kernel takes at once, at most [`MAX_SLICES`] slices of `parts`.
///
/// # Errors
/// `WouldBlock` where it takes nothing now.
pub fn send_now(socket: &TcpStream, parts: &[IoSlice<'_>]) -> io::Result<usize> {
    let parts = &parts[..parts.len().min(MAX_SLICES)];
    let flags = rustix::net::SendFlags::DONTWAIT;
    // There std sets as much for each socket (SO_NOSIGPIPE).
    #[cfg(not(target_vendor = "apple"))]
    let flags = flags | rustix::net::SendFlags::NOSIGNAL;
    // A flag of the call: not everywhere is the socket one that does not wait.
    let flags = flags.bits() as _;
    match parts {
        // The common case, for which the kernel has a shorter way.
        [part] => SockRef::from(socket).send_with_flags(part, flags),
        parts => SockRef::from(socket).send_vectored_with_flags(parts, flags),
    }
}

/// Receives what the kernel has at once; 0 at the end of input.
///
/// # Errors
/// `WouldBlock` where it has nothing now.
pub fn receive_now(socket: &TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
    let (received, _) = rustix::net::recv(socket, buffer, rustix::net::RecvFlags::DONTWAIT)?;
    Ok(received)
}

/// Receives what the kernel has, and waits until it has something; 0 at the end of input.
///
/// # Errors
/// Those of recv(2) and poll(2).
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

/// Accepts a connection; `listener` is one that does not wait.
///
/// # Errors
/// `WouldBlock` where nobody has connected.
pub fn accept_now(listener: &TcpListener) -> io::Result<(TcpStream, SocketAddr)> {
    let (socket, peer) = listener.accept()?;
    // What is sent from a `SharedPayload` waits or not as the whole socket does. Elsewhere this would be as its listener is.
    socket.set_nonblocking(cfg!(target_os = "linux"))?;
    Ok((socket, peer))
}

/// Waits until the kernel takes bytes for `socket` or the connection is broken, for `patience` at most.
///
/// # Errors
/// Those of poll(2).
pub fn wait_writable(socket: &TcpStream, patience: Duration) -> io::Result<()> {
    poll(socket, rustix::event::PollFlags::OUT, patience).map(drop)
}

/// Waits until `socket` can be read, for `patience` at most; true where it can.
///
/// # Errors
/// Those of poll(2).
pub fn wait_readable(socket: &TcpStream, patience: Duration) -> io::Result<bool> {
    poll(socket, rustix::event::PollFlags::IN, patience)
}

/// Waits for `patience`, or until both directions of the connection are over; true where they are.
///
/// The end of input alone is no such thing: a client that has sent all may still be reading.
///
/// # Errors
/// Those of poll(2).
pub fn wait_hangup(socket: &TcpStream, patience: Duration) -> io::Result<bool> {
    // POLLHUP and POLLERR are told unasked.
    poll(socket, rustix::event::PollFlags::empty(), patience)
}

/// Waits until one of `streams` can be read, or one of `listeners` has a connection where it `accepts`, for `patience` at most. Tells of each
/// whether that is so, the listeners first. A connection or listener that is over can always be read.
///
/// # Errors
/// Those of poll(2).
pub fn wait_any<'s>(
    listeners: &[TcpListener],
    accepts: bool,
    streams: impl Iterator<Item = &'s TcpStream>,
    patience: Duration,
) -> io::Result<Vec<bool>> {
    use rustix::event::{PollFd, PollFlags};

    let wanted = match accepts {
        true => PollFlags::IN,
        false => PollFlags::empty(),
    };
    let listening = listeners.iter().map(|socket| PollFd::new(socket, wanted));
    let reading = streams.map(|socket| PollFd::new(socket, PollFlags::IN));
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

/// Makes a wait for `listener` end, and every later `accept` on it fail.
#[cfg(target_os = "linux")]
pub fn stop_accepting(listener: &TcpListener) {
    // Linux alone lets a listening socket be shut down. An error says that it is not listening.
    let _ = SockRef::from(listener).shutdown(std::net::Shutdown::Both);
}

/// Makes a wait for `listener` end, with a connection from this machine.
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
