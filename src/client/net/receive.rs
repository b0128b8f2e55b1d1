//! The thread that connects, logs in, and then posts everything that the server sends.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};

use crate::client::event::{ClientEvent, Disconnect, LoginReply, Rejection};
use crate::client::net::address::Address;
use crate::client::net::connection::{self, Connection};
use crate::net;
use crate::protocol::event::{Answer, Welcome};
use crate::protocol::json::Received;
use crate::protocol::limits::MAX_SERVER_LINE;
use crate::protocol::line::{LineError, Lines};
use crate::protocol::password::{Password, WAIT_NOTICE};
use crate::protocol::request::Identity;
use crate::protocol::text::Text;

/// Time limit for the welcome, counted from the start of the login. While the server delays the
/// check of the password, it sends a notice every few seconds, and each notice restarts the time
/// limit.
const LOGIN_TIMEOUT: Duration = Duration::from_secs(15);

/// How long to wait, after a rejected login, for one of two signs: the answer to `/help`, which
/// means that another attempt may succeed, or the end of the connection, which means that none can.
/// If neither arrives in time, the user may try again.
const REJECTION_TIMEOUT: Duration = Duration::from_secs(1);

/// Maximum number of characters to show of the error for a line that cannot be decoded. The error
/// may quote the whole line.
const MAX_REASON_CHARS: usize = 200;

/// Buffer size for one read, in bytes.
const READ_BYTES: usize = 16 * 1024;

/// The data that a login sends.
#[derive(Clone)]
pub(crate) struct LoginRequest {
    pub(crate) server: Address,
    /// Size of the socket's receive buffer, in bytes. `None` if the kernel chooses the size.
    pub(crate) receive_buffer: Option<usize>,
    pub(crate) identity: Identity,
    pub(crate) password: Option<Password>,
    /// Point at which to resume an earlier session. If it is set, name and password are not sent.
    pub(crate) resume: Option<ResumePoint>,
}

impl LoginRequest {
    fn encode(&self) -> String {
        if let Some(ResumePoint { token, seq }) = &self.resume {
            return format!("/resume {token} {seq}\n");
        }
        let mut lines = String::new();
        if let Some(password) = &self.password {
            lines += &format!("/pass {}\n", password.as_str());
        }
        lines += &format!("/json {}", self.identity.name);
        if let Some(group) = &self.identity.group {
            lines += &format!(" {group}");
        }
        lines + "\n"
    }
}

/// The point at which a client resumes an earlier session after its connection broke.
#[derive(Clone)]
pub(crate) struct ResumePoint {
    /// The token from the welcome.
    pub(crate) token: Text,
    /// The number of the last event that the client has received.
    pub(crate) seq: u64,
}

/// Starts the thread `receive`. The first event that the thread posts is [`ClientEvent::Login`]. If
/// the login succeeds, the last one is [`ClientEvent::Disconnected`].
///
/// The thread ends after [`Connection::close`], or when the receiver of its events is dropped.
/// While the thread is still connecting, only the end of the process can stop it.
///
/// # Errors
/// The thread cannot be started.
pub(crate) fn start(
    request: LoginRequest,
    post: SyncSender<ClientEvent>,
) -> io::Result<JoinHandle<()>> {
    thread::Builder::new()
        .name("receive".into())
        .spawn(move || run(&request, &post))
}

fn run(request: &LoginRequest, post: &SyncSender<ClientEvent>) {
    let result = connection::connect(&request.server, request.receive_buffer).and_then(
        |(socket, address)| {
            let mut reader = ServerReader::new(socket, address);
            let welcome = reader.log_in(request)?;
            Ok((welcome, reader))
        },
    );
    let (reply, reader) = match result {
        Ok((Ok(welcome), reader)) => {
            let connection = Connection::new(Arc::clone(&reader.socket));
            let reply = LoginReply::Joined(Box::new(welcome), connection);
            (reply, Some(reader))
        }
        Ok((Err(rejection), _)) => (LoginReply::Rejected(rejection), None),
        Err(error) => (LoginReply::Failed(error), None),
    };
    if post.send(ClientEvent::Login(reply)).is_err() {
        return;
    }
    if let Some(mut reader) = reader
        && let Some(disconnect) = reader.receive(post)
    {
        let _ = post.send(ClientEvent::Disconnected(disconnect));
    }
}

/// The receiving side of a connection.
struct ServerReader {
    socket: Arc<TcpStream>,
    address: SocketAddr,
    lines: Lines,
    buffer: Vec<u8>,
}

/// A line from the server, classified by its first characters.
enum ReceivedLine {
    /// A line that looks like JSON. It is probably an event or answer, but was not decoded yet.
    Json(String),
    /// A plain error. The server sends plain errors before the client has asked for JSON.
    PlainError(Text),
    /// A plain line that is not an error.
    Plain(String),
    NotUtf8,
}

impl ServerReader {
    fn new(socket: TcpStream, address: SocketAddr) -> Self {
        // Unlike the server, set no TCP_USER_TIMEOUT: a server that throttles this client may read
        // nothing for minutes although it is alive. The client recognizes a dead server by a
        // missing echo instead.
        net::keep_alive(&socket);
        // Send each typed line at once (TCP_NODELAY). Ignore an error, which only delays lines a
        // little.
        let _ = socket.set_nodelay(true);
        Self {
            socket: Arc::new(socket),
            address,
            lines: Lines::new(MAX_SERVER_LINE),
            buffer: vec![0; READ_BYTES],
        }
    }

    /// Sends the login, and waits for the answer.
    fn log_in(&mut self, request: &LoginRequest) -> Result<Result<Welcome, Rejection>> {
        let mut deadline = Instant::now() + LOGIN_TIMEOUT;
        // Ignore a failed send: the loop below reads the server's last lines, which may say why the
        // server closed the connection.
        let _ = (&*self.socket).write_all(request.encode().as_bytes());

        let address = self.address;
        let mut wants_password = false;
        let mut plain_error = None;
        loop {
            let line = match self.next(Some(deadline)) {
                Ok(line) => line,
                Err(disconnect) => {
                    return match (plain_error, disconnect) {
                        (Some(reason), _) => Err(anyhow!("{reason}")),
                        (None, Disconnect::Closed) => Err(anyhow!(
                            "{address} closed the connection before the login was complete: is it a `chat-server`?"
                        )),
                        (None, Disconnect::LineTooLong) => Err(anyhow!(
                            "{address} sends a line that does not end: is it a `chat-server`?"
                        )),
                        (None, Disconnect::Lost(error)) => Err(anyhow!(
                            "{address} did not complete the login ({}): is it a `chat-server`?",
                            connection::reason(&error)
                        )),
                    };
                }
            };
            match line {
                ReceivedLine::Plain(line) if asks_to_wait(&line) => {
                    deadline = Instant::now() + LOGIN_TIMEOUT;
                }
                ReceivedLine::Plain(line) => wants_password |= asks_for_password(&line),
                // The server does not know the command `/resume`, so the client must join as a
                // newcomer.
                ReceivedLine::PlainError(_) if request.resume.is_some() => {
                    return Ok(Err(Rejection::Resume));
                }
                ReceivedLine::PlainError(reason) => plain_error = Some(reason),
                ReceivedLine::NotUtf8 => {}
                ReceivedLine::Json(line) => match Received::decode(&line) {
                    Ok(Received::Answer(Answer::Welcome(welcome))) => {
                        // Remove the read timeout. Otherwise, a quiet room would look like a lost
                        // connection.
                        self.socket.set_read_timeout(None)?;
                        return Ok(Ok(welcome));
                    }
                    Ok(Received::Answer(Answer::Error(text))) => {
                        if !self.may_try_again() {
                            return Err(anyhow!("{text}"));
                        }
                        if request.resume.is_some() {
                            return Ok(Err(Rejection::Resume));
                        }
                        return Ok(Err(match (&request.password, plain_error) {
                            // A plain error must be about the password, because only the password
                            // was sent before the request for JSON.
                            (Some(_), Some(_)) => Rejection::PasswordWrong,
                            (None, _) if wants_password => Rejection::PasswordMissing,
                            (_, _) => Rejection::Name(text),
                        }));
                    }
                    // Ignore all other lines, which neither accept nor reject the login.
                    Ok(Received::Answer(_) | Received::Record(..) | Received::Unknown) | Err(_) => {
                    }
                },
            }
        }
    }

    /// Whether another login may succeed after this one was rejected. If no login can succeed, as
    /// in a full room, the server closes the connection; otherwise it waits for another attempt.
    /// The error does not tell the two cases apart. So this function sends `/help`, which the
    /// server answers only if it waits for another attempt. The answer arrives sooner than a
    /// timeout would.
    fn may_try_again(&mut self) -> bool {
        // Ignore an error: the read below then finds that the connection is closed.
        let _ = (&*self.socket).write_all(b"/help\n");
        let deadline = Instant::now() + REJECTION_TIMEOUT;
        loop {
            match self.next(Some(deadline)) {
                Ok(ReceivedLine::Json(line)) => {
                    if matches!(
                        Received::decode(&line),
                        Ok(Received::Answer(Answer::Help(_)))
                    ) {
                        return true;
                    }
                }
                Ok(
                    ReceivedLine::PlainError(_) | ReceivedLine::Plain(_) | ReceivedLine::NotUtf8,
                ) => {}
                // EAGAIN means that the read timed out (SO_RCVTIMEO, socket(7)). The server has not
                // closed the connection, so another attempt may succeed.
                Err(Disconnect::Lost(error)) => {
                    return error.kind() == io::ErrorKind::WouldBlock;
                }
                Err(Disconnect::Closed | Disconnect::LineTooLong) => return false,
            }
        }
    }

    /// Posts what the server sends, until the connection ends. Returns how it ended, or `None` if
    /// the receiver of the events was dropped.
    fn receive(&mut self, post: &SyncSender<ClientEvent>) -> Option<Disconnect> {
        loop {
            let received = match self.next(None) {
                Err(disconnect) => return Some(disconnect),
                Ok(ReceivedLine::Plain(_)) => continue,
                Ok(ReceivedLine::PlainError(text)) => Received::Answer(Answer::Error(text)),
                Ok(ReceivedLine::NotUtf8) => not_an_event(&"it is not UTF-8"),
                Ok(ReceivedLine::Json(line)) => {
                    Received::decode(&line).unwrap_or_else(|error| not_an_event(&error))
                }
            };
            post.send(ClientEvent::Received(received)).ok()?;
        }
    }

    fn next(&mut self, deadline: Option<Instant>) -> Result<ReceivedLine, Disconnect> {
        loop {
            match self.lines.next_line() {
                Some(Ok(line)) => return Ok(sort(line)),
                Some(Err(LineError::NotUtf8)) => return Ok(ReceivedLine::NotUtf8),
                Some(Err(LineError::TooLong)) => return Err(Disconnect::LineTooLong),
                None => {}
            }
            if self.lines.unended() > MAX_SERVER_LINE {
                return Err(Disconnect::LineTooLong);
            }
            if let Some(deadline) = deadline {
                let left = deadline.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return Err(Disconnect::Lost(io::ErrorKind::TimedOut.into()));
                }
                self.socket
                    .set_read_timeout(Some(left))
                    .map_err(Disconnect::Lost)?;
            }
            match (&*self.socket).read(&mut self.buffer) {
                Ok(0) => return Err(Disconnect::Closed),
                Ok(read) => self.lines.push(&self.buffer[..read]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Disconnect::Lost(error)),
            }
        }
    }
}

fn sort(line: &str) -> ReceivedLine {
    if line.starts_with('{') {
        ReceivedLine::Json(line.to_owned())
    } else if let Some(reason) = line.strip_prefix("! ") {
        ReceivedLine::PlainError(Text::new(reason))
    } else {
        ReceivedLine::Plain(line.to_owned())
    }
}

/// Whether this line says that the server has received the password but will check it later, so
/// that the client must wait longer.
fn asks_to_wait(line: &str) -> bool {
    let notice = line.strip_prefix("* ");
    notice.is_some_and(|notice| notice.starts_with(WAIT_NOTICE))
}

/// Whether the server's greeting asks for a password.
fn asks_for_password(greeting: &str) -> bool {
    greeting.starts_with("* ") && greeting.contains("/pass ")
}

/// Returns the error to show for a line that is not an event.
fn not_an_event(error: &impl std::fmt::Display) -> Received {
    let reason: String = error.to_string().chars().take(MAX_REASON_CHARS).collect();
    let text = format!("the server sent a line that is not an event: {reason}");
    Received::Answer(Answer::Error(Text::new(&text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_in_the_error_for_an_invalid_event_is_cut_to_200_characters() {
        let long = format!(r#"{{"type":"online","count":"{}"}}"#, "ż".repeat(100_000));
        let error = Received::decode(&long).unwrap_err();
        assert!(error.to_string().len() > 200_000, "the reason quotes it");
        let Received::Answer(Answer::Error(shown)) = not_an_event(&error) else {
            panic!("expected an error")
        };
        let reason = "the server sent a line that is not an event: ";
        let quoted = shown.as_str().strip_prefix(reason).unwrap();
        assert_eq!(quoted.chars().count(), 200);
    }

    #[test]
    fn the_notice_that_a_password_check_is_delayed_is_recognized() {
        let notice = format!("* {WAIT_NOTICE}: yours is checked in 3 s");
        assert!(asks_to_wait(&notice));
        for line in ["", "*", "ż", "* welcome, ala", &notice[2..]] {
            assert!(!asks_to_wait(line), "{line:?}");
        }
    }

    #[test]
    fn a_greeting_tells_whether_a_password_is_needed() {
        assert!(asks_for_password(
            "* chat-server 1.0: type /pass PASSWORD, then your name"
        ));
        assert!(!asks_for_password("* chat-server 1.0: type your name"));
    }
}
