//! The thread that reads stdin. While the client chats, it also sends what it reads.

use std::io::{self, Read};
use std::sync::mpsc::{self, Receiver, Sender, SyncSender};
use std::thread;

use crate::client::event::{ClientEvent, StdinEvent};
use crate::client::net::connection::Connection;
use crate::client::net::in_flight::InFlight;
use crate::protocol::limits::MAX_LINE;
use crate::protocol::line::Lines;
use crate::protocol::request::{Format, Request};
use crate::tty;

/// A request to the thread that reads stdin.
pub(crate) enum StdinRequest {
    /// Read one line, the answer to a question. The thread does not read ahead: whatever the user
    /// types after that line stays in the terminal's buffer until the next request.
    ReadLine,
    /// Send all lines to the room, until a line asks to leave or stdin ends.
    SendAll(Connection, InFlight),
}

/// Starts the thread `input`.
///
/// The thread is not joined: only the end of the process ends a read from a terminal.
///
/// # Errors
/// The thread cannot be started.
pub(crate) fn start(post: SyncSender<ClientEvent>) -> io::Result<Sender<StdinRequest>> {
    let (sender, requests) = mpsc::channel();
    thread::Builder::new()
        .name("input".into())
        .spawn(move || run(&requests, &post))?;
    Ok(sender)
}

/// Whether a line asks to leave: it is a command such as `/quit`, or `exit` alone. The client has
/// to recognize `exit` itself: to the server, an `exit` from a JSON client, such as this one, is an
/// ordinary message.
pub(crate) fn is_quit(line: &str) -> bool {
    matches!(Request::parse(line, Format::Plain), Ok(Request::Quit))
}

fn run(requests: &Receiver<StdinRequest>, post: &SyncSender<ClientEvent>) {
    let mut reader = LineReader {
        lines: Lines::new(MAX_LINE),
        number: 0,
        unsent: None,
        at_end: false,
    };
    for request in requests {
        match request {
            StdinRequest::ReadLine => {
                let line = reader.next();
                if post.send(ClientEvent::Stdin(line)).is_err() {
                    return;
                }
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
    /// A line that could not be sent because its connection was lost. The next call returns it
    /// before reading another line, whether that call wants the answer to a question or a line for
    /// the next connection.
    unsent: Option<String>,
    at_end: bool,
}

impl LineReader {
    fn next(&mut self) -> StdinEvent {
        if let Some(line) = self.unsent.take() {
            return StdinEvent::Line(line);
        }
        let mut bytes = [0; 8192];
        loop {
            let line = match self.lines.next_line() {
                None if self.at_end => match self.lines.last_line() {
                    None => return StdinEvent::Over,
                    line => line,
                },
                line => line,
            };
            if let Some(line) = line {
                self.number += 1;
                return match line {
                    Ok(line) => StdinEvent::Line(line.to_owned()),
                    Err(error) => StdinEvent::Unsendable(self.number, error),
                };
            }
            match io::stdin().read(&mut bytes) {
                Ok(0) => self.at_end = true,
                Ok(read) => self.lines.push(&bytes[..read]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // If the terminal is gone, treat this as the end of the input, so that the client
                // leaves as it does after SIGHUP. The client gets no SIGHUP if the terminal is not
                // its controlling terminal.
                Err(_) if tty::is_gone() => return StdinEvent::Over,
                Err(error) => return StdinEvent::Failed(error),
            }
        }
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
                        self.unsent = Some(line);
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
