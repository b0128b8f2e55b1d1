//! The thread that reads stdin. While the client chats, it also sends what it reads.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender, SyncSender};
use std::thread;

use rustix::event::{PollFd, PollFlags};

use crate::client::event::{ClientEvent, StdinEvent};
use crate::client::net::connection::Connection;
use crate::client::net::in_flight::InFlight;
use crate::protocol::limits::MAX_LINE;
use crate::protocol::line::Lines;
use crate::protocol::request::{Format, Request};
use crate::tty;

/// Limit on the lines that wait for a connection. Further lines stay in the terminal's buffer.
const MAX_WAITING: usize = 1000;

/// A request to the thread that reads stdin.
pub(crate) enum StdinRequest {
    /// Read one line, the answer to a question. The thread does not read ahead: whatever the user
    /// types after that line stays in the terminal's buffer until the next request.
    ReadLine,
    /// Read lines from a terminal until the next request, while there is no connection. Otherwise
    /// the thread would not notice a line that asks to leave. Other lines wait until they are
    /// needed as answers, or until they can be sent over a new connection.
    ReadAhead,
    /// Drop the lines that wait for a connection.
    DropWaiting,
    /// Send all lines to the room, until a line asks to leave or stdin ends.
    SendAll(Connection, InFlight),
}

/// Handle of the thread `input`.
///
/// The thread is not joined: only the end of the process ends a read from a terminal.
pub(crate) struct StdinThread {
    requests: Sender<StdinRequest>,
    /// A socket with one unread byte for each request that the thread has not received. Wakes the
    /// thread while it reads ahead.
    wake: UnixStream,
    waiting: Arc<AtomicUsize>,
}

impl StdinThread {
    /// Starts the thread.
    ///
    /// # Errors
    /// The thread or a socket cannot be created.
    pub(crate) fn start(post: SyncSender<ClientEvent>) -> io::Result<Self> {
        let (requests, received) = mpsc::channel();
        let (wake, woken) = UnixStream::pair()?;
        let waiting = Arc::default();
        let reader = LineReader {
            lines: Lines::new(MAX_LINE),
            number: 0,
            unsent: VecDeque::new(),
            waiting: Arc::clone(&waiting),
            at_end: false,
        };
        thread::Builder::new()
            .name("input".into())
            .spawn(move || run(reader, &received, &woken, &post))?;
        Ok(Self {
            requests,
            wake,
            waiting,
        })
    }

    /// Sends a request, which ends a [`StdinRequest::ReadAhead`].
    pub(crate) fn request(&self, request: StdinRequest) {
        // Ignore errors, because the thread outlives this handle.
        let _ = self.requests.send(request);
        let _ = (&self.wake).write_all(&[0]);
    }

    /// The number of lines that wait for a connection.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::SeqCst)
    }
}

/// Whether a line asks to leave: it is a command such as `/quit`, or `exit` alone. The client has
/// to recognize `exit` itself: to the server, an `exit` from a JSON client, such as this one, is an
/// ordinary message.
pub(crate) fn is_quit(line: &str) -> bool {
    matches!(Request::parse(line, Format::Plain), Ok(Request::Quit))
}

fn run(
    mut reader: LineReader,
    requests: &Receiver<StdinRequest>,
    mut woken: &UnixStream,
    post: &SyncSender<ClientEvent>,
) {
    for request in requests {
        // Take the byte of this request. Ignore an error, which means that the client is exiting.
        let _ = woken.read_exact(&mut [0]);
        match request {
            StdinRequest::ReadLine => {
                let line = reader.next();
                if post.send(ClientEvent::Stdin(line)).is_err() {
                    return;
                }
            }
            StdinRequest::ReadAhead => reader.read_ahead(woken, post),
            StdinRequest::DropWaiting => {
                reader.unsent.clear();
                reader.update_waiting();
            }
            StdinRequest::SendAll(connection, in_flight) => {
                reader.send_all(&connection, &in_flight, post);
            }
        }
    }
}

struct LineReader {
    lines: Lines,
    /// Number of lines read so far.
    number: u64,
    /// Lines that could not be sent because there was no connection. They are used before any other
    /// line, as answers to questions or as the first lines sent over the next connection.
    unsent: VecDeque<String>,
    /// The length of `unsent`, for the main thread.
    waiting: Arc<AtomicUsize>,
    at_end: bool,
}

impl LineReader {
    fn next(&mut self) -> StdinEvent {
        if let Some(line) = self.unsent.pop_front() {
            self.update_waiting();
            return StdinEvent::Line(line);
        }
        loop {
            if let Some(event) = self.buffered() {
                return event;
            }
            if let Err(error) = self.read() {
                return StdinEvent::Failed(error);
            }
        }
    }

    fn update_waiting(&self) {
        self.waiting.store(self.unsent.len(), Ordering::SeqCst);
    }

    /// The next line that has been read from stdin, or the end of the input.
    fn buffered(&mut self) -> Option<StdinEvent> {
        let line = match self.lines.next_line() {
            None if self.at_end => match self.lines.last_line() {
                None => return Some(StdinEvent::Over),
                line => line,
            },
            line => line,
        }?;
        self.number += 1;
        Some(match line {
            Ok(line) => StdinEvent::Line(line.to_owned()),
            Err(error) => StdinEvent::Unsendable(self.number, error),
        })
    }

    /// Reads once from stdin.
    fn read(&mut self) -> io::Result<()> {
        let mut bytes = [0; 8192];
        match io::stdin().read(&mut bytes) {
            Ok(0) => self.at_end = true,
            Ok(read) => self.lines.push(&bytes[..read]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // If the terminal is gone, treat this as the end of the input, so that the client
            // leaves as it does after SIGHUP. The client gets no SIGHUP if the terminal is not its
            // controlling terminal.
            Err(_) if tty::is_gone() => self.at_end = true,
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Reads lines until the next request, which makes `woken` readable. Reports a line that asks
    /// to leave as the end of the input.
    fn read_ahead(&mut self, woken: &UnixStream, post: &SyncSender<ClientEvent>) {
        loop {
            let event = match self.buffered() {
                Some(StdinEvent::Line(line)) if is_quit(&line) => StdinEvent::Over,
                Some(StdinEvent::Line(line)) => {
                    self.unsent.push_back(line);
                    self.update_waiting();
                    continue;
                }
                Some(event) => event,
                None => match self.wait_and_read(woken) {
                    Ok(true) => continue,
                    Ok(false) => return,
                    Err(error) => StdinEvent::Failed(error),
                },
            };
            let is_unsendable = matches!(event, StdinEvent::Unsendable(..));
            if post.send(ClientEvent::Stdin(event)).is_err() || !is_unsendable {
                return;
            }
        }
    }

    /// Waits for input and reads it. Returns false, and reads nothing, if there is a request.
    fn wait_and_read(&mut self, woken: &UnixStream) -> io::Result<bool> {
        let stdin = io::stdin();
        let is_full = self.unsent.len() >= MAX_WAITING;
        let interest = if is_full {
            PollFlags::empty()
        } else {
            PollFlags::IN
        };
        let mut waits = [
            PollFd::new(woken, PollFlags::IN),
            PollFd::new(&stdin, interest),
        ];
        match rustix::event::poll(&mut waits, None) {
            Err(rustix::io::Errno::INTR) => return Ok(true),
            result => result?,
        };
        if !waits[0].revents().is_empty() {
            return Ok(false);
        }
        self.read().map(|()| true)
    }

    /// Sends lines as fast as the server reads and echoes them. A slow server blocks only this
    /// thread.
    fn send_all(
        &mut self,
        connection: &Connection,
        in_flight: &InFlight,
        post: &SyncSender<ClientEvent>,
    ) {
        loop {
            match self.next() {
                StdinEvent::Line(line) if !is_quit(&line) => {
                    if !in_flight.push_and_wait(&line) || connection.send(&line).is_err() {
                        // The thread `receive` reports why the connection ended, so report no error
                        // here.
                        self.unsent.push_front(line);
                        self.update_waiting();
                        return;
                    }
                }
                // Tell the main thread about the end of the input first, and then the server.
                // Otherwise, the main thread might learn first that the server closed the
                // connection, and take the connection for lost.
                end @ (StdinEvent::Line(_) | StdinEvent::Over) => {
                    let _ = post.send(ClientEvent::Stdin(StdinEvent::Over));
                    if matches!(end, StdinEvent::Line(_)) {
                        let _ = connection.send("/quit");
                    }
                    connection.finish();
                    return;
                }
                unsendable @ StdinEvent::Unsendable(..) => {
                    if post.send(ClientEvent::Stdin(unsendable)).is_err() {
                        return;
                    }
                }
                failed @ StdinEvent::Failed(_) => {
                    let _ = post.send(ClientEvent::Stdin(failed));
                    return;
                }
            }
        }
    }
}
