//! What is typed, or comes through a pipe: a thread that reads stdin, and sends what it reads in a chat.

use std::io::{self, Read};
use std::sync::mpsc::{self, Receiver, Sender, SyncSender};
use std::thread;

use crate::client::Happening;
use crate::client::net::connection::Connection;
use crate::client::net::in_flight::InFlight;
use crate::protocol::limits::MAX_LINE;
use crate::protocol::line::{LineError, Lines};
use crate::protocol::request::{Format, Request};

/// What the input thread is asked for.
pub(crate) enum Ask {
    /// One line, as the answer to a question. Until it is asked, what is typed stays with the terminal.
    Line,
    /// To send all lines to the room, until one of them leaves it, or there are no more; and to count them.
    Chat(Connection, InFlight),
}

/// What came from stdin.
pub(crate) enum Typed {
    /// The line that was asked for.
    Line(String),
    /// A line, with its number, that cannot be sent.
    Unsendable(u64, LineError),
    /// There is no more; in a chat: all has been sent, and the end comes next.
    Over,
    /// Stdin cannot be read.
    Broken(io::Error),
}

/// Starts the thread called `input`.
///
/// It is not joined: nothing ends a read of a terminal but the end of the process.
///
/// # Errors
/// No thread is to be had.
pub(crate) fn start(post: SyncSender<Happening>) -> io::Result<Sender<Ask>> {
    let (asks, asked) = mpsc::channel();
    thread::Builder::new()
        .name("input".into())
        .spawn(move || run(&asked, &post))?;
    Ok(asks)
}

/// Whether a line, typed alone, leaves the room: `exit`, which is text in a JSON client's line, or a command.
pub(crate) fn leaves(line: &str) -> bool {
    matches!(Request::parse(line, Format::Plain), Ok(Request::Quit))
}

fn run(asked: &Receiver<Ask>, post: &SyncSender<Happening>) {
    let mut input = Input {
        lines: Lines::new(MAX_LINE),
        number: 0,
        unsent: None,
        over: false,
    };
    for ask in asked {
        match ask {
            Ask::Line => {
                let typed = input.next();
                if post.send(Happening::Typed(typed)).is_err() {
                    return;
                }
            }
            Ask::Chat(connection, in_flight) => input.send_all(&connection, &in_flight, post),
        }
    }
}

struct Input {
    lines: Lines,
    /// How many lines there have been.
    number: u64,
    /// A line that the connection did not take: the next answer, or the first line of the next connection.
    unsent: Option<String>,
    over: bool,
}

impl Input {
    fn next(&mut self) -> Typed {
        if let Some(line) = self.unsent.take() {
            return Typed::Line(line);
        }
        let mut bytes = [0; 8192];
        loop {
            let line = match self.lines.next_line() {
                None if self.over => match self.lines.last_line() {
                    None => return Typed::Over,
                    line => line,
                },
                line => line,
            };
            if let Some(line) = line {
                self.number += 1;
                return match line {
                    Ok(line) => Typed::Line(line.to_owned()),
                    Err(error) => Typed::Unsendable(self.number, error),
                };
            }
            match io::stdin().read(&mut bytes) {
                Ok(0) => self.over = true,
                Ok(read) => self.lines.push(&bytes[..read]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Typed::Broken(error),
            }
        }
    }

    /// Sends as fast as the server takes it and the room has it: one that slows this client down blocks this thread, and no other.
    fn send_all(
        &mut self,
        connection: &Connection,
        in_flight: &InFlight,
        post: &SyncSender<Happening>,
    ) {
        loop {
            match self.next() {
                Typed::Line(line) if !leaves(&line) => {
                    if !in_flight.add(&line) || connection.say(&line).is_err() {
                        // Why, the thread that receives tells.
                        self.unsent = Some(line);
                        return;
                    }
                }
                // The end is told before the server can know of it, and so before it closes.
                typed @ (Typed::Line(_) | Typed::Over) => {
                    let _ = post.send(Happening::Typed(Typed::Over));
                    if matches!(typed, Typed::Line(_)) {
                        let _ = connection.say("/quit");
                    }
                    connection.end();
                    return;
                }
                typed @ Typed::Unsendable(..) => {
                    if post.send(Happening::Typed(typed)).is_err() {
                        return;
                    }
                }
                typed @ Typed::Broken(_) => {
                    let _ = post.send(Happening::Typed(typed));
                    return;
                }
            }
        }
    }
}
