//! The thread by which the launcher holds its clients: when it breaks, they leave.
//!
//! The launcher listens on a local socket. A client that it starts is told the socket's name, connects, and says hello with the
//! number of its window. From then on each side knows when the other one ends, however that happens: the client reads end of file when the
//! launcher is gone, even by SIGKILL, and the launcher holds the client's process itself, because a client can close its socket
//! and stay. To end a client, the launcher says `quit`.
//!
//! What goes over it: `WINDOW PID\n` from the client, `quit\n` from the launcher.

use std::ffi::{OsStr, OsString};
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags};
use rustix::process::Signal;

use crate::os::{self, Process};

/// Environment variable by which a client is told the lifeline's name; the option `--lifeline` is the other way, for
/// emulators that do not hand on the environment.
pub const VARIABLE: &str = "CHAT_LIFELINE";

/// Longest hello, in bytes: two numbers, a blank and the line's end.
const MAX_HELLO: usize = 24;

/// Pause after a connection that could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A client's end of the lifeline. Dropping it lets go, without a call of `on_end`.
#[derive(Debug)]
pub struct Lifeline {
    socket: UnixStream,
    let_go: Arc<AtomicBool>,
    reader: Option<JoinHandle<()>>,
}

/// Takes hold of the lifeline called `name`: what `--lifeline` or [`VARIABLE`] says.
///
/// To be called before any thread is started, in the main thread. `on_end` is called at most once, in a thread of its own called `lifeline`, when the client has to leave. It must not wait for the
/// [`Lifeline`] to be dropped, since dropping waits for it.
///
/// # Errors
/// The launcher is gone already, or `name` is none of its names. The client was started for a session that is over, and should end
/// at once, without waiting for anybody.
pub fn hold(name: &OsStr, on_end: impl FnOnce() + Send + 'static) -> io::Result<Lifeline> {
    let (socket_name, window) = split_name(name).ok_or(io::ErrorKind::InvalidInput)?;
    let mut socket = os::connect_locally(OsStr::new(socket_name))?;
    let let_go = Arc::new(AtomicBool::new(false));
    let reader = {
        let mut socket = socket.try_clone()?;
        let let_go = Arc::clone(&let_go);
        thread::Builder::new()
            .name("lifeline".into())
            .spawn(move || {
                // `quit`, or the end of the launcher: the client leaves in either case.
                let _ = socket.read_exact(&mut [0]);
                if !let_go.load(Ordering::SeqCst) {
                    on_end();
                }
            })?
    };
    // Not before there is nothing left that could fail.
    let hello = format!("{window} {}\n", std::process::id());
    socket.write_all(hello.as_bytes())?;
    Ok(Lifeline {
        socket,
        let_go,
        reader: Some(reader),
    })
}

impl Drop for Lifeline {
    fn drop(&mut self) {
        self.let_go.store(true, Ordering::SeqCst);
        // Wakes the reader; it fails where the launcher has closed already, which has woken it too.
        let _ = self.socket.shutdown(Shutdown::Both);
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

/// What a client's name for its lifeline says: the socket's name and the window's number.
fn split_name(name: &OsStr) -> Option<(&str, usize)> {
    let (socket, window) = name.to_str()?.rsplit_once(',')?;
    Some((socket, window.parse().ok()?))
}

/// What the launcher learns.
#[derive(Debug)]
pub enum Event {
    /// The client of a window runs.
    Hello {
        /// The window's number, as in its [`Listener::name_for`].
        window: usize,
        /// The client.
        client: Held,
    },
    /// A client that had said hello has ended.
    Ended {
        /// The window's number.
        window: usize,
        /// The number that its process had.
        pid: i32,
    },
}

/// A client, as the launcher holds it.
#[derive(Debug)]
pub struct Held {
    process: Arc<Process>,
    socket: UnixStream,
}

impl Held {
    /// Asks the client to leave.
    pub fn quit(&self) {
        // It fails where the client has closed its end. Whether it has ended is what the process tells.
        let _ = (&self.socket).write_all(b"quit\n");
    }

    /// Sends the client a signal; nothing where it has ended.
    pub fn signal(&self, signal: Signal) {
        let _ = self.process.signal(signal);
    }

    /// The number of its process, to show.
    pub fn pid(&self) -> i32 {
        self.process.pid()
    }
}

/// The launcher's end of all its lifelines: a socket, and a thread called `lifeline` that waits for all clients at once. Dropping it, and every
/// [`Held`], makes the clients leave.
#[derive(Debug)]
pub struct Listener {
    name: String,
    stop: UnixStream,
    waiter: Option<JoinHandle<()>>,
}

impl Listener {
    /// Listens under a new name. `on_event` is called in the waiting thread, and should be quick.
    ///
    /// # Errors
    /// No random number, no socket or no thread is to be had.
    pub fn start(on_event: impl Fn(Event) + Send + 'static) -> io::Result<Self> {
        let random = getrandom::u64().map_err(io::Error::other)?;
        let name = format!("chat-run-{}-{random:016x}", std::process::id());
        let listener = os::listen_locally(OsStr::new(&name))?;
        listener.set_nonblocking(true)?;
        let (stop, stopped) = UnixStream::pair()?;
        let waiter = thread::Builder::new()
            .name("lifeline".into())
            .spawn(move || wait(&listener, &stopped, on_event))?;
        Ok(Self {
            name,
            stop,
            waiter: Some(waiter),
        })
    }

    /// What the client of window number `window` is told, by argument or [`VARIABLE`].
    pub fn name_for(&self, window: usize) -> OsString {
        format!("{},{window}", self.name).into()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let _ = self.stop.shutdown(Shutdown::Both);
        if let Some(waiter) = self.waiter.take() {
            let _ = waiter.join();
        }
        os::forget_locally(OsStr::new(&self.name));
    }
}

/// A connection: what it has said of its hello, until that is whole; then its process.
struct Connection {
    socket: UnixStream,
    hello: Vec<u8>,
    held: Option<(usize, Arc<Process>)>,
}

impl Connection {
    fn new(socket: UnixStream) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        Ok(Self {
            socket,
            hello: Vec::new(),
            held: None,
        })
    }

    /// What becomes readable when there is something to do.
    fn waits_for(&self) -> PollFd<'_> {
        let process_end = self.held.as_ref().and_then(|(_, process)| process.end());
        PollFd::from_borrowed_fd(
            process_end.unwrap_or_else(|| self.socket.as_fd()),
            PollFlags::IN,
        )
    }

    /// Takes what is there of the hello.
    fn read_hello(&mut self) -> io::Result<Option<Event>> {
        let mut bytes = [0; MAX_HELLO];
        let count = match self.socket.read(&mut bytes) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => count,
            Err(error) if is_not_yet(&error) => return Ok(None),
            Err(error) => return Err(error),
        };
        self.hello.extend_from_slice(&bytes[..count]);
        if !self.hello.ends_with(b"\n") {
            let fits = self.hello.len() < MAX_HELLO;
            return if fits {
                Ok(None)
            } else {
                Err(io::ErrorKind::InvalidData.into())
            };
        }
        let (window, pid) = parse_hello(&self.hello).ok_or(io::ErrorKind::InvalidData)?;
        let process = Arc::new(Process::peer(&self.socket, pid)?);
        self.held = Some((window, Arc::clone(&process)));
        let socket = self.socket.try_clone()?;
        let client = Held { process, socket };
        Ok(Some(Event::Hello { window, client }))
    }

    /// Whether the held client has ended, now that there was something to read.
    fn has_ended(&mut self, process: &Process) -> bool {
        // Where the process itself cannot be waited for, its socket's end has to do.
        process.end().is_some()
            || match self.socket.read(&mut [0; MAX_HELLO]) {
                Ok(count) => count == 0,
                Err(error) => !is_not_yet(&error),
            }
    }
}

fn is_not_yet(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    )
}

fn parse_hello(line: &[u8]) -> Option<(usize, i32)> {
    let line = std::str::from_utf8(line).ok()?.strip_suffix('\n')?;
    let (window, pid) = line.split_once(' ')?;
    Some((window.parse().ok()?, pid.parse().ok()?))
}

/// Waits for connections, hellos and ends, until the other end of `stopped` is closed.
fn wait(listener: &UnixListener, stopped: &UnixStream, on_event: impl Fn(Event)) {
    let mut connections: Vec<Connection> = Vec::new();
    loop {
        let ready = {
            let mut waits = vec![
                PollFd::new(stopped, PollFlags::IN),
                PollFd::new(listener, PollFlags::IN),
            ];
            waits.extend(connections.iter().map(Connection::waits_for));
            match rustix::event::poll(&mut waits, None) {
                Ok(_) => {}
                Err(rustix::io::Errno::INTR) => continue,
                // No memory for so many at once: nothing that waiting in another way would mend.
                Err(_) => return,
            }
            waits
                .iter()
                .map(|wait| !wait.revents().is_empty())
                .collect::<Vec<bool>>()
        };
        if ready[0] {
            return;
        }
        let mut index = 0;
        connections.retain_mut(|connection| {
            index += 1;
            !ready[index + 1] || goes_on(connection, &on_event)
        });
        if ready[1] {
            match listener.accept() {
                Ok((socket, _)) => connections.extend(Connection::new(socket)),
                Err(error) if is_not_yet(&error) => {}
                // No file descriptor for it: it waits where it is, and so must this, or it would spin.
                Err(_) => thread::sleep(ACCEPT_PAUSE),
            }
        }
    }
}

/// Handles what has become readable. `false` where the connection is of no more use.
fn goes_on(connection: &mut Connection, on_event: &impl Fn(Event)) -> bool {
    if let Some((window, process)) = connection.held.clone() {
        let ended = connection.has_ended(&process);
        if ended {
            on_event(Event::Ended {
                window,
                pid: process.pid(),
            });
        }
        return !ended;
    }
    match connection.read_hello() {
        Ok(event) => {
            event.into_iter().for_each(on_event);
            true
        }
        // Another user's process, one that has ended already, or none of ours.
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    const DEADLINE: Duration = Duration::from_secs(10);

    fn listener() -> (Listener, mpsc::Receiver<Event>) {
        let (sender, events) = mpsc::channel();
        let listener = Listener::start(move |event| sender.send(event).unwrap()).unwrap();
        (listener, events)
    }

    fn hello(events: &mpsc::Receiver<Event>) -> (usize, Held) {
        match events.recv_timeout(DEADLINE).unwrap() {
            Event::Hello { window, client } => (window, client),
            event @ Event::Ended { .. } => panic!("{event:?}"),
        }
    }

    #[test]
    fn a_client_says_which_window_it_is_in_and_who_it_is() {
        let (listener, events) = listener();
        let _lifeline = hold(&listener.name_for(3), || {}).unwrap();
        let (window, client) = hello(&events);
        assert_eq!(window, 3);
        assert_eq!(client.pid(), std::process::id() as i32);
    }

    #[test]
    fn a_client_that_is_told_to_quit_learns_it() {
        let (listener, events) = listener();
        let (sender, ends) = mpsc::channel();
        let _lifeline = hold(&listener.name_for(1), move || sender.send(()).unwrap()).unwrap();
        hello(&events).1.quit();
        ends.recv_timeout(DEADLINE).unwrap();
    }

    #[test]
    fn a_client_whose_launcher_is_gone_learns_it() {
        let (listener, events) = listener();
        let (sender, ends) = mpsc::channel();
        let _lifeline = hold(&listener.name_for(1), move || sender.send(()).unwrap()).unwrap();
        drop(hello(&events));
        drop(listener);
        ends.recv_timeout(DEADLINE).unwrap();
    }

    #[test]
    fn a_client_that_lets_go_is_not_told_of_an_end() {
        let (listener, _events) = listener();
        let (sender, ends) = mpsc::channel();
        let lifeline = hold(&listener.name_for(1), move || sender.send(()).unwrap()).unwrap();
        drop(lifeline);
        drop(listener);
        ends.recv_timeout(DEADLINE)
            .expect_err("it was told of an end");
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_client_that_closes_its_socket_has_not_ended() {
        let (listener, events) = listener();
        let lifeline = hold(&listener.name_for(1), || {}).unwrap();
        let (_, client) = hello(&events);
        drop(lifeline);
        // A second hello, after which the first one's end would have been told.
        let _second = hold(&listener.name_for(2), || {}).unwrap();
        assert_eq!(hello(&events).0, 2);
        client.signal(Signal::CONT);
    }

    #[test]
    fn a_launcher_that_is_gone_cannot_be_held() {
        let (listener, _events) = listener();
        let name = listener.name_for(1);
        drop(listener);
        hold(&name, || {}).unwrap_err();
        hold(OsStr::new("nonsense"), || {}).unwrap_err();
    }

    #[test]
    fn a_peer_that_talks_nonsense_is_dropped_and_others_are_not() {
        let (listener, events) = listener();
        let name = listener.name_for(1);
        let (socket, _) = split_name(&name).unwrap();
        let mut rude = os::connect_locally(OsStr::new(socket)).unwrap();
        rude.write_all(&[b'x'; 2 * MAX_HELLO]).unwrap();
        let mut silent = os::connect_locally(OsStr::new(socket)).unwrap();
        let _lifeline = hold(&name, || {}).unwrap();
        assert_eq!(hello(&events).0, 1);
        rude.set_read_timeout(Some(DEADLINE)).unwrap();
        // Closed with bytes unread: a reset, or an end.
        assert!(matches!(rude.read(&mut [0]), Ok(0) | Err(_)));
        silent.write_all(b"7 1\n").unwrap();
        assert_eq!(hello(&events).0, 7);
    }
}
