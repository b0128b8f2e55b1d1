//! Control socket between the launcher and its clients, through which each side notices when the
//! other exits.
//!
//! The launcher listens on a local socket, and passes the socket's name to each client that it
//! starts. The client connects and sends its hello, the line `WINDOW PID\n`: the ID of its window
//! and its process ID. From then on:
//!
//! - A client that reads end of file exits, because its launcher has exited. This works even after
//!   SIGKILL.
//! - The launcher waits for the client's process itself, because a client can close its socket and
//!   keep running.
//!
//! The client sends `joining\n` before it logs in to the room, `in\n` after the login, and `out\n`
//! when it is no longer in the room. So the launcher can tell the session's own members from
//! all others. The line `name NAME\n` reports the client's name in the room, after each login and
//! whenever the name changes. The line `saw TALLY\n` reports, as JSON, which events of the room the
//! client has received: at its end, and before it joins anew instead of resuming. A client that was
//! started with a name does not log in before the launcher has sent it `turn\n`. The launcher sends
//! this line to one such client after the other, so that they join in the order of their windows.
//!
//! To end a client, the launcher sends `quit\n`.
//!
//! On Linux, any user of the machine can connect. The launcher closes the connections of other
//! users at once. It also limits how many connections have not sent a hello, and how long a
//! connection may take to send it. Otherwise, such connections could use up the launcher's
//! descriptors.

use std::ffi::{OsStr, OsString};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::Signal;

use crate::os::{self, Process};
use crate::protocol::limits::MAX_NAME_BYTES;
use crate::protocol::name::Name;
use crate::protocol::tally::Tally;
use crate::protocol::text::Text;

/// Environment variable that passes the name of the control socket to a client. The option
/// `--control-socket` passes the name too, because some terminal emulators do not pass on the
/// environment.
pub const NAME_VARIABLE: &str = "CHAT_CONTROL_SOCKET";

/// Maximum length of a line from a client, in bytes. The longest has a tally, whose numbers have up
/// to 20 digits each.
const MAX_LINE: usize = 512;

const _: () = assert!(NAME.len() + MAX_NAME_BYTES < MAX_LINE);

const JOINING: &str = "joining\n";
const IN: &str = "in\n";
const OUT: &str = "out\n";

/// The start of the line with the client's name in the room.
const NAME: &str = "name ";

/// The start of the line with the tally of received events.
const SAW: &str = "saw ";

/// The line, without its LF, with which the launcher lets a client log in.
const TURN: &str = "turn";

/// Limit on the open connections that have not sent their hello, the first line. If there is one
/// more, the oldest of them is closed. A client sends its hello when it connects, so even the
/// clients of a whole session stay below this limit.
const MAX_SILENT: usize = 64;

/// Time limit for the hello, the first line, after which the launcher closes the connection.
const HELLO_TIME: Duration = Duration::from_secs(10);

/// Pause after a failed accept, which would otherwise be tried again at once and fail again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A client's connection to the launcher. Dropping this closes the connection without calling the
/// `on_close` that was passed to [`ControlConnection::open`].
#[derive(Debug)]
pub struct ControlConnection {
    socket: UnixStream,
    is_dropped: Arc<AtomicBool>,
    reader: Option<JoinHandle<()>>,
}

impl ControlConnection {
    /// Connects to the control socket called `name`, which comes from `--control-socket` or
    /// [`NAME_VARIABLE`]. Called by the main thread before it starts any other thread.
    ///
    /// Both functions are called in a thread called `control`: `on_turn` when it is this client's
    /// turn to log in, and `on_close` at most once, when the client has to exit. Neither may wait
    /// for the connection to be dropped, because dropping the connection waits for them to return.
    ///
    /// # Errors
    /// The launcher has exited, or `name` is not the name of a control socket. The session that the
    /// client was started for is over, so the client should exit.
    pub fn open(
        name: &OsStr,
        on_turn: impl Fn() + Send + 'static,
        on_close: impl FnOnce() + Send + 'static,
    ) -> io::Result<Self> {
        let (socket_name, window) = split_name(name).ok_or(io::ErrorKind::InvalidInput)?;
        let mut socket = os::connect_locally(OsStr::new(socket_name))?;
        let is_dropped = Arc::new(AtomicBool::new(false));
        let reader = {
            let socket = socket.try_clone()?;
            let is_dropped = Arc::clone(&is_dropped);
            thread::Builder::new()
                .name("control".into())
                .spawn(move || {
                    // End this loop, and then the client, when the launcher sends `quit` or has
                    // exited.
                    for line in BufReader::new(socket).lines().map_while(Result::ok) {
                        if line != TURN {
                            break;
                        }
                        on_turn();
                    }
                    if !is_dropped.load(Ordering::SeqCst) {
                        on_close();
                    }
                })?
        };
        // Send the hello last: the launcher then counts this client as started, so nothing may fail
        // after it.
        let hello = format!("{window} {}\n", std::process::id());
        socket.write_all(hello.as_bytes())?;
        Ok(Self {
            socket,
            is_dropped,
            reader: Some(reader),
        })
    }

    /// Tells the launcher whether this client is in the room. Report [`Membership::Joining`] before
    /// sending a login: otherwise, the launcher might count the new member as one from outside of
    /// the session.
    pub fn report(&self, membership: Membership) {
        let line = match membership {
            Membership::Joining => JOINING,
            Membership::In => IN,
            Membership::Out => OUT,
        };
        // Ignore an error, which means that the launcher has exited: the client is about to exit
        // too.
        let _ = (&self.socket).write_all(line.as_bytes());
    }

    /// Tells the launcher this client's name in the room, as the server spells it.
    pub fn report_name(&self, name: &Text) {
        // A hostile server may send a name that the launcher would not accept.
        if let Ok(name) = Name::new(name.as_str()) {
            let _ = (&self.socket).write_all(format!("{NAME}{name}\n").as_bytes());
        }
    }

    /// Tells the launcher which events this client has received as a member with the name that it
    /// has reported last.
    pub fn report_tally(&self, tally: &Tally) {
        // A tally has only numbers, so encoding it does not fail.
        if let Ok(tally) = serde_json::to_string(tally) {
            let _ = (&self.socket).write_all(format!("{SAW}{tally}\n").as_bytes());
        }
    }
}

/// Whether a client is in the room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Membership {
    /// The client is logging in, so the server may already count it as a member.
    Joining,
    In,
    Out,
}

impl Drop for ControlConnection {
    fn drop(&mut self) {
        self.is_dropped.store(true, Ordering::SeqCst);
        // Shut down the socket, which ends the read in the thread `control`. If the launcher has
        // closed the socket, this call fails, but then the read has ended already.
        let _ = self.socket.shutdown(Shutdown::Both);
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

/// Splits the name passed to a client into the socket's name and the window's ID.
fn split_name(name: &OsStr) -> Option<(&str, usize)> {
    let (socket, window) = name.to_str()?.rsplit_once(',')?;
    Some((socket, window.parse().ok()?))
}

/// An event that a client causes, reported to the launcher.
#[derive(Debug)]
pub enum ControlEvent {
    /// The client of a window has started.
    Hello {
        /// The window's ID, as passed to [`ControlListener::name_for`].
        window: usize,
        /// The launcher's handle to the client.
        client: ClientHandle,
    },
    /// A client logs in, or has entered or left the room.
    Membership {
        /// The window's ID.
        window: usize,
        /// The process ID of the client.
        pid: i32,
        membership: Membership,
    },
    /// A client has logged in under this name, or was renamed.
    Named {
        /// The window's ID.
        window: usize,
        /// The process ID of the client.
        pid: i32,
        name: Name,
    },
    /// A client has received these events as a member with its last name.
    Saw {
        /// The process ID of the client.
        pid: i32,
        tally: Tally,
    },
    /// A client that had sent its hello has exited.
    Exited {
        /// The window's ID.
        window: usize,
        /// The process ID of the client.
        pid: i32,
    },
}

/// The launcher's handle to a client.
#[derive(Debug)]
pub struct ClientHandle {
    process: Arc<Process>,
    socket: UnixStream,
}

impl ClientHandle {
    /// Asks the client to exit.
    pub fn quit(&self) {
        // Ignore errors, which mean that the client has closed its socket. The thread `control`
        // notices when the client exits.
        let _ = (&self.socket).write_all(b"quit\n");
    }

    /// Lets the client log in.
    pub fn give_turn(&self) {
        // Ignore errors, which mean that the client has closed its socket.
        let _ = (&self.socket).write_all(format!("{TURN}\n").as_bytes());
    }

    /// Sends the client a signal, unless it has exited.
    pub fn signal(&self, signal: Signal) {
        let _ = self.process.signal(signal);
    }

    /// The client's process ID, to show in messages.
    pub fn pid(&self) -> i32 {
        self.process.pid()
    }

    /// The client's pidfd. `None` on systems without pidfds.
    pub fn pidfd(&self) -> Option<BorrowedFd<'_>> {
        self.process.end()
    }
}

/// The launcher's control socket, and a thread called `control` that waits for all clients. When
/// the listener and every [`ClientHandle`] are dropped, the clients exit.
#[derive(Debug)]
pub struct ControlListener {
    name: String,
    stop: UnixStream,
    thread: Option<JoinHandle<()>>,
}

impl ControlListener {
    /// Starts listening under a new random name. `on_event` is called in the thread `control`, and
    /// should return quickly, because the thread serves all clients.
    ///
    /// # Errors
    /// No random number, socket or thread is available.
    pub fn start(on_event: impl Fn(ControlEvent) + Send + 'static) -> io::Result<Self> {
        Self::start_with(HELLO_TIME, on_event)
    }

    fn start_with(
        hello_time: Duration,
        on_event: impl Fn(ControlEvent) + Send + 'static,
    ) -> io::Result<Self> {
        let random = getrandom::u64().map_err(io::Error::other)?;
        let name = format!("chat-run-{}-{random:016x}", std::process::id());
        let listener = os::listen_locally(OsStr::new(&name))?;
        listener.set_nonblocking(true)?;
        let (stop, stopped) = UnixStream::pair()?;
        let thread = thread::Builder::new()
            .name("control".into())
            .spawn(move || serve(&listener, &stopped, hello_time, on_event))?;
        Ok(Self {
            name,
            stop,
            thread: Some(thread),
        })
    }

    /// The name to pass to the client of this window, made of the socket's name and the window's
    /// ID.
    pub fn name_for(&self, window: usize) -> OsString {
        format!("{},{window}", self.name).into()
    }
}

impl Drop for ControlListener {
    fn drop(&mut self) {
        let _ = self.stop.shutdown(Shutdown::Both);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        os::forget_locally(OsStr::new(&self.name));
    }
}

/// A connection that the launcher has accepted.
struct Peer {
    socket: UnixStream,
    accepted: Instant,
    /// The received beginning of a line whose end has not arrived.
    received: Vec<u8>,
    /// The client's window and process, once the hello is complete.
    client: Option<(usize, Arc<Process>)>,
    /// Whether the client has closed the socket.
    is_closed: bool,
}

impl Peer {
    /// # Errors
    /// The peer belongs to another user.
    fn new(socket: UnixStream) -> io::Result<Self> {
        os::check_peer_user(&socket)?;
        socket.set_nonblocking(true)?;
        Ok(Self {
            socket,
            accepted: Instant::now(),
            received: Vec::new(),
            client: None,
            is_closed: false,
        })
    }

    /// Whether the peer has not sent its hello yet.
    fn is_silent(&self) -> bool {
        self.client.is_none()
    }

    /// A descriptor that becomes readable when the client's process exits. `None` before the hello,
    /// or if the system has no such descriptors.
    fn process_end(&self) -> Option<BorrowedFd<'_>> {
        let (_, process) = self.client.as_ref()?;
        process.end()
    }

    /// Returns the two descriptors to poll: the socket, until it is closed, and the process. If one
    /// of them is not available, returns the other twice, so that every peer has two.
    fn poll_fds(&self) -> [PollFd<'_>; 2] {
        let process = self.process_end();
        let socket = process.filter(|_| self.is_closed);
        let socket = socket.unwrap_or_else(|| self.socket.as_fd());
        [socket, process.unwrap_or(socket)].map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN))
    }

    /// Reads what has arrived on the socket, and returns the events that the lines report.
    ///
    /// # Errors
    /// The socket is closed, or the peer is not a client.
    fn read(&mut self) -> io::Result<Vec<ControlEvent>> {
        let mut bytes = [0; MAX_LINE];
        match self.socket.read(&mut bytes) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => self.received.extend_from_slice(&bytes[..count]),
            Err(error) if is_temporary(&error) => {}
            Err(error) => return Err(error),
        }
        let mut events = Vec::new();
        while let Some(end) = memchr::memchr(b'\n', &self.received) {
            let line: Vec<u8> = self.received.drain(..=end).collect();
            events.push(self.event(&line)?);
        }
        if self.received.len() >= MAX_LINE {
            return Err(io::ErrorKind::InvalidData.into());
        }
        Ok(events)
    }

    /// The event that a line reports.
    fn event(&mut self, line: &[u8]) -> io::Result<ControlEvent> {
        let line = std::str::from_utf8(line).map_err(io::Error::other)?;
        if let Some((window, process)) = &self.client {
            if let Some(name) = line.strip_prefix(NAME) {
                let name = Name::new(name.trim_end_matches('\n')).map_err(io::Error::other)?;
                return Ok(ControlEvent::Named {
                    window: *window,
                    pid: process.pid(),
                    name,
                });
            }
            if let Some(tally) = line.strip_prefix(SAW) {
                let pid = process.pid();
                let tally = serde_json::from_str(tally)?;
                return Ok(ControlEvent::Saw { pid, tally });
            }
            let membership = match line {
                JOINING => Membership::Joining,
                IN => Membership::In,
                OUT => Membership::Out,
                _ => return Err(io::ErrorKind::InvalidData.into()),
            };
            return Ok(ControlEvent::Membership {
                window: *window,
                pid: process.pid(),
                membership,
            });
        }
        let (window, pid) = parse_hello(line).ok_or(io::ErrorKind::InvalidData)?;
        let process = Arc::new(Process::peer(&self.socket, pid)?);
        self.client = Some((window, Arc::clone(&process)));
        let socket = self.socket.try_clone()?;
        let client = ClientHandle { process, socket };
        Ok(ControlEvent::Hello { window, client })
    }
}

fn is_temporary(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    )
}

fn parse_hello(line: &str) -> Option<(usize, i32)> {
    let (window, pid) = line.strip_suffix('\n')?.split_once(' ')?;
    Some((window.parse().ok()?, pid.parse().ok()?))
}

/// Accepts connections, reads their lines, and notices when clients exit. Closes connections that
/// send no hello within `hello_time`. Returns when the other end of `stopped` is closed.
fn serve(
    listener: &UnixListener,
    stopped: &UnixStream,
    hello_time: Duration,
    on_event: impl Fn(ControlEvent),
) {
    // The peers are in the order in which they were accepted, so the first peer without a hello is
    // the oldest such peer.
    let mut peers: Vec<Peer> = Vec::new();
    loop {
        // Read the clock before the poll, so that a connection is closed only if its time was over
        // before the poll, and the poll found no hello. Otherwise, if the launcher were suspended
        // during the poll, it would close connections whose hello has arrived.
        let now = Instant::now();
        let oldest = peers.iter().find(|peer| peer.is_silent());
        let timeout = oldest.and_then(|peer| {
            let left = (peer.accepted + hello_time).saturating_duration_since(now);
            Timespec::try_from(left).ok()
        });
        let ready = {
            let mut fds = vec![
                PollFd::new(stopped, PollFlags::IN),
                PollFd::new(listener, PollFlags::IN),
            ];
            fds.extend(peers.iter().flat_map(Peer::poll_fds));
            match rustix::event::poll(&mut fds, timeout.as_ref()) {
                Ok(_) => {}
                Err(rustix::io::Errno::INTR) => continue,
                // The kernel has too little memory to poll all descriptors. Give up, because trying
                // again would not help.
                Err(_) => return,
            }
            fds.iter()
                .map(|fd| !fd.revents().is_empty())
                .collect::<Vec<bool>>()
        };
        if ready[0] {
            return;
        }
        let mut ready_peers = ready[2..].chunks_exact(2);
        peers.retain_mut(|peer| match ready_peers.next() {
            Some(&[socket, process]) => handle_readable(peer, socket, process, &on_event),
            Some(_) | None => true,
        });
        peers.retain(|peer| !peer.is_silent() || now < peer.accepted + hello_time);
        if ready[1] {
            match listener.accept() {
                Ok((socket, _)) => {
                    peers.extend(Peer::new(socket));
                    let silent = peers.iter().filter(|peer| peer.is_silent());
                    if silent.count() > MAX_SILENT
                        && let Some(oldest) = peers.iter().position(Peer::is_silent)
                    {
                        peers.remove(oldest);
                    }
                }
                Err(error) if is_temporary(&error) => {}
                // No file descriptor is left. The connection stays pending and the listener stays
                // readable, so without a pause, this loop would take a whole processor.
                Err(_) => thread::sleep(ACCEPT_PAUSE),
            }
        }
    }
}

/// Handles what a poll has found for a peer: `socket` and `process` tell which of its two
/// descriptors are readable. Returns false if the client has exited or the peer is not a client, so
/// that the peer must be dropped.
fn handle_readable(
    peer: &mut Peer,
    socket: bool,
    process: bool,
    on_event: &impl Fn(ControlEvent),
) -> bool {
    if socket && !peer.is_closed {
        match peer.read() {
            Ok(events) => events.into_iter().for_each(on_event),
            Err(_) => peer.is_closed = true,
        }
    }
    let Some((window, client)) = &peer.client else {
        // There was no hello yet, so the process is not known. If the peer has closed its socket,
        // drop it: it has exited already, or is not a client.
        return !peer.is_closed;
    };
    // If the process cannot be polled, the client counts as exited when its socket is closed.
    let has_exited = match peer.process_end() {
        Some(_) => process && (peer.is_closed || !socket),
        None => peer.is_closed,
    };
    if has_exited {
        on_event(ControlEvent::Exited {
            window: *window,
            pid: client.pid(),
        });
    }
    !has_exited
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::protocol::tally::Fault;

    const DEADLINE: Duration = Duration::from_secs(10);

    /// A time limit for the hello that is longer than any test.
    const NEVER: Duration = Duration::from_secs(3600);

    fn listener() -> (ControlListener, mpsc::Receiver<ControlEvent>) {
        listener_with(NEVER)
    }

    fn listener_with(hello_time: Duration) -> (ControlListener, mpsc::Receiver<ControlEvent>) {
        let (sender, events) = mpsc::channel();
        let on_event = move |event| sender.send(event).unwrap();
        let listener = ControlListener::start_with(hello_time, on_event).unwrap();
        (listener, events)
    }

    /// Opens a connection that sends no hello.
    fn silent_connection(listener: &ControlListener) -> UnixStream {
        let socket = os::connect_locally(OsStr::new(&listener.name)).unwrap();
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        socket
    }

    /// Waits until the launcher closes the connection.
    fn expect_end(mut socket: UnixStream) {
        assert_eq!(socket.read(&mut [0]).unwrap(), 0);
    }

    fn hello(events: &mpsc::Receiver<ControlEvent>) -> (usize, ClientHandle) {
        match events.recv_timeout(DEADLINE).unwrap() {
            ControlEvent::Hello { window, client } => (window, client),
            event @ (ControlEvent::Membership { .. }
            | ControlEvent::Named { .. }
            | ControlEvent::Saw { .. }
            | ControlEvent::Exited { .. }) => panic!("{event:?}"),
        }
    }

    #[test]
    fn a_clients_hello_contains_its_window_number_and_process_id() {
        let (listener, events) = listener();
        let _connection = ControlConnection::open(&listener.name_for(3), || {}, || {}).unwrap();
        let (window, client) = hello(&events);
        assert_eq!(window, 3);
        assert_eq!(client.pid(), std::process::id() as i32);
    }

    #[test]
    fn a_client_reports_that_it_enters_and_leaves_the_room() {
        let (listener, events) = listener();
        let connection = ControlConnection::open(&listener.name_for(3), || {}, || {}).unwrap();
        connection.report(Membership::Joining);
        let (_, client) = hello(&events);
        connection.report(Membership::In);
        connection.report(Membership::Out);
        for expected in [Membership::Joining, Membership::In, Membership::Out] {
            match events.recv_timeout(DEADLINE).unwrap() {
                ControlEvent::Membership {
                    window,
                    pid,
                    membership,
                } => assert_eq!((window, pid, membership), (3, client.pid(), expected)),
                event @ (ControlEvent::Hello { .. }
                | ControlEvent::Named { .. }
                | ControlEvent::Saw { .. }
                | ControlEvent::Exited { .. }) => panic!("{event:?}"),
            }
        }
    }

    #[test]
    fn a_client_reports_a_name_of_maximum_length_but_no_invalid_name() {
        let (listener, events) = listener();
        let connection = ControlConnection::open(&listener.name_for(3), || {}, || {}).unwrap();
        let longest = "ż".repeat(crate::protocol::limits::MAX_NAME_CHARS);
        for name in ["*ala", &longest] {
            connection.report_name(&Text::new(name));
        }
        let (_, client) = hello(&events);
        match events.recv_timeout(DEADLINE).unwrap() {
            ControlEvent::Named { window, pid, name } => {
                assert_eq!((window, pid, name.as_str()), (3, client.pid(), &*longest));
            }
            event @ (ControlEvent::Hello { .. }
            | ControlEvent::Membership { .. }
            | ControlEvent::Saw { .. }
            | ControlEvent::Exited { .. }) => panic!("{event:?}"),
        }
    }

    #[test]
    fn a_client_reports_the_longest_tally() {
        let (listener, events) = listener();
        let connection = ControlConnection::open(&listener.name_for(3), || {}, || {}).unwrap();
        let longest = Tally {
            first: u64::MAX,
            next: u64::MAX,
            received: u64::MAX,
            sum: u64::MAX,
            missing: u64::MAX,
            fault: Some(Fault {
                expected: u64::MAX,
                received: u64::MAX,
            }),
        };
        connection.report_tally(&longest);
        let (_, client) = hello(&events);
        match events.recv_timeout(DEADLINE).unwrap() {
            ControlEvent::Saw { pid, tally } => {
                assert_eq!((pid, tally), (client.pid(), longest));
            }
            event @ (ControlEvent::Hello { .. }
            | ControlEvent::Membership { .. }
            | ControlEvent::Named { .. }
            | ControlEvent::Exited { .. }) => panic!("{event:?}"),
        }
    }

    #[test]
    fn the_launcher_tells_a_client_when_to_log_in() {
        let (listener, events) = listener();
        let (sender, turns) = mpsc::channel();
        let on_turn = move || sender.send(()).unwrap();
        let _connection = ControlConnection::open(&listener.name_for(5), on_turn, || {}).unwrap();
        let (_, client) = hello(&events);
        client.give_turn();
        turns.recv_timeout(DEADLINE).unwrap();
    }

    #[test]
    fn a_client_is_told_to_quit() {
        let (listener, events) = listener();
        let (sender, closed) = mpsc::channel();
        let _connection = ControlConnection::open(
            &listener.name_for(1),
            || {},
            move || sender.send(()).unwrap(),
        )
        .unwrap();
        hello(&events).1.quit();
        closed.recv_timeout(DEADLINE).unwrap();
    }

    #[test]
    fn a_client_is_told_when_its_launcher_has_exited() {
        let (listener, events) = listener();
        let (sender, closed) = mpsc::channel();
        let _connection = ControlConnection::open(
            &listener.name_for(1),
            || {},
            move || sender.send(()).unwrap(),
        )
        .unwrap();
        drop(hello(&events));
        drop(listener);
        closed.recv_timeout(DEADLINE).unwrap();
    }

    #[test]
    fn a_client_that_closes_its_control_connection_is_not_told_to_exit() {
        let (listener, _events) = listener();
        let (sender, closed) = mpsc::channel();
        let connection = ControlConnection::open(
            &listener.name_for(1),
            || {},
            move || sender.send(()).unwrap(),
        )
        .unwrap();
        drop(connection);
        drop(listener);
        closed
            .recv_timeout(DEADLINE)
            .expect_err("the client was told to exit");
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn the_launcher_does_not_take_a_closed_control_socket_for_an_exited_client() {
        let (listener, events) = listener();
        let connection = ControlConnection::open(&listener.name_for(1), || {}, || {}).unwrap();
        let (_, client) = hello(&events);
        drop(connection);
        // The first client has closed its control connection, but its process is still running.
        // Check that the next event is the hello of a second client. If the launcher wrongly
        // concluded that the first client had exited, it would report the exit before the hello.
        let _second = ControlConnection::open(&listener.name_for(2), || {}, || {}).unwrap();
        assert_eq!(hello(&events).0, 2);
        client.signal(Signal::CONT);
    }

    #[test]
    fn connecting_to_a_launcher_that_has_exited_fails() {
        let (listener, _events) = listener();
        let name = listener.name_for(1);
        drop(listener);
        ControlConnection::open(&name, || {}, || {}).unwrap_err();
        ControlConnection::open(OsStr::new("nonsense"), || {}, || {}).unwrap_err();
    }

    #[test]
    fn a_peer_that_sends_an_invalid_hello_is_dropped_and_others_are_not() {
        let (listener, events) = listener();
        let name = listener.name_for(1);
        let (socket, _) = split_name(&name).unwrap();
        let mut rude = os::connect_locally(OsStr::new(socket)).unwrap();
        rude.write_all(&[b'x'; 2 * MAX_LINE]).unwrap();
        let mut silent = os::connect_locally(OsStr::new(socket)).unwrap();
        let _connection = ControlConnection::open(&name, || {}, || {}).unwrap();
        assert_eq!(hello(&events).0, 1);
        rude.set_read_timeout(Some(DEADLINE)).unwrap();
        // The launcher has closed the socket although it had not read everything, so this read
        // fails with a reset or returns end of file.
        assert!(matches!(rude.read(&mut [0]), Ok(0) | Err(_)));
        silent.write_all(b"7 1\n").unwrap();
        assert_eq!(hello(&events).0, 7);
    }

    #[test]
    fn a_connection_without_a_hello_is_closed_after_a_time_limit() {
        let (listener, _events) = listener_with(Duration::from_millis(50));
        expect_end(silent_connection(&listener));
    }

    #[test]
    fn the_oldest_connection_without_a_hello_is_closed_if_there_are_too_many() {
        let (listener, events) = listener();
        let (sender, turns) = mpsc::channel();
        let on_turn = move || sender.send(()).unwrap();
        let _connection = ControlConnection::open(&listener.name_for(1), on_turn, || {}).unwrap();
        let (_, client) = hello(&events);
        let mut silent: Vec<_> = (0..3 * MAX_SILENT)
            .map(|_| silent_connection(&listener))
            .collect();
        let rest = silent.split_off(2 * MAX_SILENT);
        silent.into_iter().for_each(expect_end);
        client.give_turn();
        turns.recv_timeout(DEADLINE).unwrap();
        (&rest[0]).write_all(b"7 1\n").unwrap();
        assert_eq!(hello(&events).0, 7);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_connection_of_another_user_is_closed_at_once() {
        let (listener, _events) = listener();
        if !rustix::process::geteuid().is_root() {
            return; // Only root can become another user.
        }
        thread::scope(|scope| {
            scope.spawn(|| {
                // This changes the user of this thread, but not of the threads that run other
                // tests.
                let nobody = rustix::process::Uid::from_raw(65534);
                rustix::thread::set_thread_uid(nobody).unwrap();
                expect_end(silent_connection(&listener));
            });
        });
    }
}
