//! The way to a server: connecting, logging in, and a thread that receives.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Error, Result, anyhow};

use crate::client::Happening;
use crate::client::net::address::Address;
use crate::net;
use crate::protocol::event::{Answer, Welcome};
use crate::protocol::json::Received;
use crate::protocol::limits::MAX_SERVER_LINE;
use crate::protocol::line::{LineError, Lines};
use crate::protocol::request::Identity;
use crate::protocol::text::Text;

/// Time that each address has to answer.
const CONNECT_TIME: Duration = Duration::from_secs(5);

/// Time from the first byte sent to the welcome.
const WELCOME_TIME: Duration = Duration::from_secs(15);

/// Time that a server has, after it refused, to answer or to close. One that does neither lets the user try again.
const REFUSED_TIME: Duration = Duration::from_secs(1);

/// Longest reason why a line is no event, in characters.
const MAX_REASON: usize = 200;

/// Bytes of one read.
const READ: usize = 16 * 1024;

/// A connection to a room that has let this client in: its sending side. A clone is the same connection.
#[derive(Clone)]
pub(crate) struct Connection(Arc<TcpStream>);

impl Connection {
    /// Sends a line. Waits where the server takes nothing, until [`Connection::close`].
    ///
    /// # Errors
    /// The connection is over.
    pub(crate) fn say(&self, line: &str) -> io::Result<()> {
        (&*self.0).write_all(format!("{line}\n").as_bytes())
    }

    /// Leaves: nothing more will be sent. The server handles all that it was sent before, and closes.
    pub(crate) fn end(&self) {
        // It fails where the connection is over.
        let _ = self.0.shutdown(Shutdown::Write);
    }

    /// Ends the connection both ways, and whoever waits for it.
    pub(crate) fn close(&self) {
        let _ = self.0.shutdown(Shutdown::Both);
    }
}

/// Who wants to join which room.
#[derive(Clone)]
pub(crate) struct Login {
    pub(crate) target: Address,
    pub(crate) identity: Identity,
    pub(crate) password: Option<String>,
    /// The place in the room that is to be taken back, instead of all that.
    pub(crate) resume: Option<Resume>,
}

impl Login {
    /// What the server is told.
    fn hello(&self) -> String {
        if let Some(Resume { token, seq }) = &self.resume {
            return format!("/resume {token} {seq}\n");
        }
        let mut hello = String::new();
        if let Some(password) = &self.password {
            hello += &format!("/pass {password}\n");
        }
        hello += &format!("/json {}", self.identity.name);
        if let Some(group) = &self.identity.group {
            hello += &format!(" {group}");
        }
        hello + "\n"
    }
}

/// A place in the room that was lost with its connection.
#[derive(Clone)]
pub(crate) struct Resume {
    /// What the welcome gave for it.
    pub(crate) token: Text,
    /// The last event that the client has.
    pub(crate) seq: u64,
}

/// How an attempt to join ends.
pub(crate) enum Attempt {
    /// The client is a member.
    In(Box<Welcome>, Connection),
    /// The server says no, and would let the client try again.
    Refused(Refusal),
    /// There is no talking to a server, or it lets nobody in, whatever the name.
    Failed(Error),
}

/// What has to change before the server says yes.
pub(crate) enum Refusal {
    /// The name: what the server says.
    Name(Text),
    /// A password is needed.
    NoPassword,
    /// The password is another one.
    WrongPassword,
    /// The place is not there any more.
    Resume,
}

/// How a connection ends.
pub(crate) enum End {
    /// The server closed it.
    Closed,
    /// It broke.
    Lost(io::Error),
    /// The server sent a line without end.
    Endless,
}

/// Starts the thread called `receive`, which joins a room and then brings what comes from there. The first that it posts is a
/// [`Happening::Attempt`], and, where that was one that got in, the last is a [`Happening::Ended`].
///
/// It ends after [`Connection::close`], when the receiver of what it posts is gone. While it is still connecting, nothing ends
/// it but the end of the process.
///
/// # Errors
/// No thread is to be had.
pub(crate) fn start(login: Login, post: SyncSender<Happening>) -> io::Result<JoinHandle<()>> {
    thread::Builder::new()
        .name("receive".into())
        .spawn(move || run(&login, &post))
}

fn run(login: &Login, post: &SyncSender<Happening>) {
    let joined = connect(&login.target).and_then(|(socket, address)| {
        let mut receiving = Receiving::new(socket, address);
        let welcome = receiving.log_in(login)?;
        Ok((welcome, receiving))
    });
    let (attempt, receiving) = match joined {
        Ok((Ok(welcome), receiving)) => {
            let connection = Connection(Arc::clone(&receiving.socket));
            (Attempt::In(Box::new(welcome), connection), Some(receiving))
        }
        Ok((Err(refusal), _)) => (Attempt::Refused(refusal), None),
        Err(error) => (Attempt::Failed(error), None),
    };
    if post.send(Happening::Attempt(attempt)).is_err() {
        return;
    }
    if let Some(mut receiving) = receiving
        && let Some(end) = receiving.receive(post)
    {
        let _ = post.send(Happening::Ended(end));
    }
}

fn connect(target: &Address) -> Result<(TcpStream, SocketAddr)> {
    let Address { host, port } = target;
    let addresses: Vec<SocketAddr> = match (host.as_str(), *port).to_socket_addrs() {
        Ok(addresses) => addresses.collect(),
        // It is this machine, also where no table says so (RFC 6761, 6.3).
        Err(_) if host == "localhost" => vec![
            (Ipv6Addr::LOCALHOST, *port).into(),
            (Ipv4Addr::LOCALHOST, *port).into(),
        ],
        Err(error) => {
            let reason = format!("cannot find the address of `{host}`: check the name");
            return Err(Error::new(error).context(reason));
        }
    };
    connect_to_any(addresses.into_iter())
}

/// A connection to the first address that takes one.
fn connect_to_any(addresses: impl Iterator<Item = SocketAddr>) -> Result<(TcpStream, SocketAddr)> {
    let mut tried: Vec<(SocketAddr, String)> = Vec::new();
    for address in addresses {
        // A resolver may give one twice.
        if tried.iter().any(|(before, _)| *before == address) {
            continue;
        }
        match TcpStream::connect_timeout(&address, CONNECT_TIME) {
            Ok(socket) => return Ok((socket, address)),
            Err(error) => tried.push((address, reason(&error))),
        }
    }
    let tried: Vec<String> = tried
        .iter()
        .map(|(address, reason)| format!("{address} ({reason})"))
        .collect();
    Err(anyhow!(
        "cannot connect to {}: is `chat-server` running there?",
        tried.join(" or ")
    ))
}

/// What an error of a socket means, in few words.
pub(crate) fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "nobody listens there".into(),
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => "no answer in time".into(),
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => "it was cut".into(),
        _ => error.to_string(),
    }
}

/// The receiving side of a connection.
struct Receiving {
    socket: Arc<TcpStream>,
    address: SocketAddr,
    lines: Lines,
    bytes: Vec<u8>,
}

/// What comes from a server, as far as one can tell before it is decoded.
enum Incoming {
    /// A line that should be an event.
    Json(String),
    /// What is refused to a client that the server does not know to speak JSON.
    Refused(Text),
    /// Another plain line.
    Plain(String),
    /// A line that no chat server sends.
    Garbled,
}

impl Receiving {
    fn new(socket: TcpStream, address: SocketAddr) -> Self {
        // No TCP_USER_TIMEOUT, as the server has: a server that slows this client down takes nothing for minutes, and is
        // there all the same. Where something was said, this client waits for the answer.
        net::keep_alive(&socket);
        // A line that is typed is sent at once. Where it cannot be set, it is sent a little later.
        let _ = socket.set_nodelay(true);
        Self {
            socket: Arc::new(socket),
            address,
            lines: Lines::new(MAX_SERVER_LINE),
            bytes: vec![0; READ],
        }
    }

    /// Says who is here, and waits for the answer.
    fn log_in(&mut self, login: &Login) -> Result<Result<Welcome, Refusal>> {
        let deadline = Instant::now() + WELCOME_TIME;
        let hello = login.hello();
        // Where this fails, what the server has said before it closed tells why.
        let _ = (&*self.socket).write_all(hello.as_bytes());

        let address = self.address;
        let mut wants_password = false;
        let mut refused = None;
        loop {
            let incoming = match self.next(Some(deadline)) {
                Ok(incoming) => incoming,
                Err(end) => {
                    return match (refused, end) {
                        (Some(reason), _) => Err(anyhow!("{reason}")),
                        (None, End::Closed) => Err(anyhow!(
                            "{address} closed the connection before it let anybody in: is it a `chat-server`?"
                        )),
                        (None, End::Endless) => Err(anyhow!(
                            "{address} sends a line without end: is it a `chat-server`?"
                        )),
                        (None, End::Lost(error)) => Err(anyhow!(
                            "{address} did not let anybody in ({}): is it a `chat-server`?",
                            reason(&error)
                        )),
                    };
                }
            };
            match incoming {
                Incoming::Plain(line) => wants_password |= asks_for_password(&line),
                // One that does not know of coming back.
                Incoming::Refused(_) if login.resume.is_some() => return Ok(Err(Refusal::Resume)),
                Incoming::Refused(reason) => refused = Some(reason),
                Incoming::Garbled => {}
                Incoming::Json(line) => match Received::decode(&line) {
                    Ok(Received::Answer(Answer::Welcome(welcome))) => {
                        // Where it cannot be taken back, a silent room looks like a lost one.
                        self.socket.set_read_timeout(None)?;
                        return Ok(Ok(welcome));
                    }
                    Ok(Received::Answer(Answer::Error(text))) => {
                        if !self.may_try_again() {
                            return Err(anyhow!("{text}"));
                        }
                        if login.resume.is_some() {
                            return Ok(Err(Refusal::Resume));
                        }
                        return Ok(Err(match (&login.password, refused) {
                            // Before it knew that this client speaks JSON, it had nothing else to refuse.
                            (Some(_), Some(_)) => Refusal::WrongPassword,
                            (None, _) if wants_password => Refusal::NoPassword,
                            (_, _) => Refusal::Name(text),
                        }));
                    }
                    // Nothing else lets anybody in.
                    Ok(Received::Answer(_) | Received::Record(..) | Received::Unknown) | Err(_) => {
                    }
                },
            }
        }
    }

    /// Whether another name may help, after the server has refused: it closes where none does, as in a full room, and else it
    /// waits for one. What it says does not tell, and silence only after a time; so it is asked for help, which it
    /// gives to strangers as long as it listens to them.
    fn may_try_again(&mut self) -> bool {
        // Where this fails, the connection is over, which is about to be read.
        let _ = (&*self.socket).write_all(b"/help\n");
        let deadline = Instant::now() + REFUSED_TIME;
        loop {
            match self.next(Some(deadline)) {
                Ok(Incoming::Json(line)) => {
                    if matches!(
                        Received::decode(&line),
                        Ok(Received::Answer(Answer::Help(_)))
                    ) {
                        return true;
                    }
                }
                Ok(Incoming::Refused(_) | Incoming::Plain(_) | Incoming::Garbled) => {}
                // A read that times out (SO_RCVTIMEO, socket(7)).
                Err(End::Lost(error)) => {
                    return error.kind() == io::ErrorKind::WouldBlock;
                }
                Err(End::Closed | End::Endless) => return false,
            }
        }
    }

    /// Posts what comes, to the end of the connection; `None` where nobody takes it any more.
    fn receive(&mut self, post: &SyncSender<Happening>) -> Option<End> {
        loop {
            let received = match self.next(None) {
                Err(end) => return Some(end),
                Ok(Incoming::Plain(_)) => continue,
                Ok(Incoming::Refused(text)) => Received::Answer(Answer::Error(text)),
                Ok(Incoming::Garbled) => nonsense(&"it is not UTF-8"),
                Ok(Incoming::Json(line)) => {
                    Received::decode(&line).unwrap_or_else(|error| nonsense(&error))
                }
            };
            post.send(Happening::Received(received)).ok()?;
        }
    }

    fn next(&mut self, deadline: Option<Instant>) -> Result<Incoming, End> {
        loop {
            match self.lines.next_line() {
                Some(Ok(line)) => return Ok(sort(line)),
                Some(Err(LineError::NotUtf8)) => return Ok(Incoming::Garbled),
                Some(Err(LineError::TooLong)) => return Err(End::Endless),
                None => {}
            }
            if self.lines.unended() > MAX_SERVER_LINE {
                return Err(End::Endless);
            }
            if let Some(deadline) = deadline {
                let left = deadline.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return Err(End::Lost(io::ErrorKind::TimedOut.into()));
                }
                self.socket
                    .set_read_timeout(Some(left))
                    .map_err(End::Lost)?;
            }
            match (&*self.socket).read(&mut self.bytes) {
                Ok(0) => return Err(End::Closed),
                Ok(read) => self.lines.push(&self.bytes[..read]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(End::Lost(error)),
            }
        }
    }
}

fn sort(line: &str) -> Incoming {
    if line.starts_with('{') {
        Incoming::Json(line.to_owned())
    } else if let Some(reason) = line.strip_prefix("! ") {
        Incoming::Refused(Text::new(reason))
    } else {
        Incoming::Plain(line.to_owned())
    }
}

/// Whether the greeting is that of a room with a password.
fn asks_for_password(greeting: &str) -> bool {
    greeting.starts_with("* ") && greeting.contains("/pass ")
}

/// What to show for a line that is no event.
fn nonsense(error: &impl std::fmt::Display) -> Received {
    // The reason quotes what was sent.
    let reason: String = error.to_string().chars().take(MAX_REASON).collect();
    let text = format!("the server sent something that is no event: {reason}");
    Received::Answer(Answer::Error(Text::new(&text)))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// An address at which nobody listens.
    fn nobody() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    }

    #[test]
    fn every_address_is_tried_until_one_takes_the_connection() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let good = listener.local_addr().unwrap();
        let (_, address) = connect_to_any([nobody(), good].into_iter()).unwrap();
        assert_eq!(address, good);
    }

    #[test]
    fn where_no_address_takes_it_each_is_told_once() {
        let (one, other) = (nobody(), nobody());
        let error = connect_to_any([one, other, one].into_iter()).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "cannot connect to {one} (nobody listens there) or {other} (nobody listens there): \
                 is `chat-server` running there?"
            )
        );
    }

    #[test]
    fn of_what_is_no_event_two_hundred_characters_of_the_reason_are_shown() {
        let long = format!(r#"{{"type":"online","count":"{}"}}"#, "ż".repeat(100_000));
        let error = Received::decode(&long).unwrap_err();
        assert!(error.to_string().len() > 200_000, "the reason quotes it");
        let Received::Answer(Answer::Error(told)) = nonsense(&error) else {
            panic!("it is an error")
        };
        let reason = "the server sent something that is no event: ";
        let quoted = told.as_str().strip_prefix(reason).unwrap();
        assert_eq!(quoted.chars().count(), 200);
    }

    #[test]
    fn a_greeting_tells_whether_a_password_is_wanted() {
        assert!(asks_for_password(
            "* chat-server 1.0: type /pass PASSWORD, then your name"
        ));
        assert!(!asks_for_password("* chat-server 1.0: type your name"));
    }
}
