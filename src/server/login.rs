//! A connection before it has a name: greeting, password, name, and all the ways of not getting in.

use std::io::{ErrorKind, IoSlice, Read};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Shared;
use super::linger::LINGER;
use super::members::{Link, Refusal};
use super::room::Room;
use super::strangers::Seat;
use crate::os;
use crate::protocol::event::Answer;
use crate::protocol::limits::{LOGIN_LINES, LOGIN_TRIES, MAX_UNENDED};
use crate::protocol::line::{LineError, Lines};
use crate::protocol::request::{self, Format, Identity, Login};
use crate::protocol::text::Text;

/// How long a connection is given to speak first. An HTTP client does, and must not be greeted.
const SPEAKS_FIRST: Duration = Duration::from_millis(20);

/// Bytes of one read. Not on the stack: what a client's thread has once used of that, it keeps.
const READ: usize = 512;

/// What is told of a password that is not the room's.
const WRONG_PASSWORD: &str = "wrong password: type /pass PASSWORD";

/// What an HTTP client is told.
const HTTP: &str =
    "This is a chat, not a web page. Join it with chat-client, or with nc and your name.\n";

/// A stranger. Until it is a member, its own thread sends to it.
pub(super) struct Stranger<'a> {
    shared: &'a Shared,
    socket: &'a Arc<TcpStream>,
    lines: &'a mut Lines,
    seat: Seat<'a>,
    deadline: Instant,
    greeted: bool,
    /// It does not take what it is told.
    deaf: bool,
    /// Its input has ended; what it sent before is still to be handled.
    input_over: bool,
    format: Format,
    /// It gave the password, or there is none.
    trusted: bool,
    tries: u32,
    lines_left: u32,
    /// What it was told last that was wrong.
    refused: Option<Text>,
}

/// A stranger that has become a member.
pub(super) struct Admitted {
    pub(super) link: Link,
    pub(super) name: Text,
    pub(super) format: Format,
    pub(super) input_over: bool,
}

/// What a line of a stranger leads to.
enum Step {
    Stay,
    In(Link, Text),
    Out(End),
}

/// How a stranger's connection ends.
enum End {
    /// It left, or the connection broke.
    Silent,
    /// It is told why.
    Told(String),
    /// It speaks HTTP.
    Http,
}

impl<'a> Stranger<'a> {
    pub(super) fn new(
        shared: &'a Shared,
        socket: &'a Arc<TcpStream>,
        lines: &'a mut Lines,
    ) -> Self {
        Self {
            shared,
            socket,
            lines,
            seat: shared.strangers.seat(socket),
            deadline: Instant::now() + shared.login_time,
            greeted: false,
            deaf: false,
            input_over: false,
            format: Format::Plain,
            trusted: shared.password.is_none(),
            tries: 0,
            lines_left: LOGIN_LINES,
            refused: None,
        }
    }

    /// Talks to the stranger until it is a member, or gone. What it sent after its name stays in its lines.
    ///
    /// # Errors
    /// It is gone; what was wrong, if it was told that something was.
    pub(super) fn log_in(mut self) -> Result<Admitted, Option<Text>> {
        if !os::wait_readable(self.socket, SPEAKS_FIRST).unwrap_or_default() {
            self.greet();
        }
        loop {
            let Some(lines_left) = self.lines_left.checked_sub(1) else {
                let error = format!("{LOGIN_LINES} lines without a name: connect again");
                self.end(End::Told(error));
                return Err(self.refused);
            };
            self.lines_left = lines_left;
            let step = match self.next_line() {
                Ok(line) => {
                    let login = line.as_deref().map(Login::parse);
                    if !matches!(login, Ok(Login::Http)) {
                        self.greet();
                    }
                    self.handle(login)
                }
                Err(end) => Step::Out(end),
            };
            match step {
                Step::Stay => {}
                Step::In(link, name) => {
                    let (format, input_over) = (self.format, self.input_over);
                    return Ok(Admitted {
                        link,
                        name,
                        format,
                        input_over,
                    });
                }
                Step::Out(end) => {
                    self.end(end);
                    return Err(self.refused);
                }
            }
        }
    }

    fn greet(&mut self) {
        if !std::mem::replace(&mut self.greeted, true) {
            let how = match self.trusted {
                true => "type your name",
                false => "type /pass PASSWORD, then your name",
            };
            let greeting = format!("chat-server {}: {how}", env!("CARGO_PKG_VERSION"));
            // Plain for everybody: nobody has said yet what it wants.
            self.say(&Answer::Notice(Text::new(&greeting)));
        }
    }

    fn say(&mut self, answer: &Answer) {
        let mut out = Vec::new();
        answer.write(self.format, &mut out);
        self.write(&out);
    }

    fn say_error(&mut self, error: &impl std::fmt::Display) {
        let text = Text::new(&error.to_string());
        self.refused = Some(text.clone());
        self.say(&Answer::Error(text));
    }

    /// Sends what a socket's buffer takes many times over; who does not read that is not served.
    fn write(&mut self, bytes: &[u8]) {
        let sent = os::send_now(self.socket, &[IoSlice::new(bytes)]);
        self.deaf |= !sent.is_ok_and(|sent| sent == bytes.len());
    }

    fn next_line(&mut self) -> Result<Result<String, LineError>, End> {
        let mut input = vec![0; READ];
        loop {
            if self.deaf {
                return Err(End::Silent);
            }
            // Also one that sends without end may have lost its seat.
            if !self.seat.is_held() {
                return Err(self.unseated());
            }
            if let Some(line) = self.lines.next_line() {
                return Ok(line.map(str::to_owned));
            }
            if self.input_over {
                let last = self.lines.last_line().ok_or(End::Silent)?;
                return Ok(last.map(str::to_owned));
            }
            if self.lines.unended() >= MAX_UNENDED {
                return Err(End::Told(
                    "64 KiB without a line ending: end each line with LF".into(),
                ));
            }
            let left = self.deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let time = self.shared.login_time.as_secs_f32();
                let error = format!("no name within {time} s: connect again when you have one");
                return Err(End::Told(error));
            }
            if !os::wait_readable(self.socket, left).unwrap_or(true) {
                continue;
            }
            match (&**self.socket).read(&mut input) {
                Ok(0) => self.input_over = true,
                Ok(read) => self.lines.push(&input[..read]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Err(End::Silent),
            }
        }
    }

    fn unseated(&self) -> End {
        End::Told(match self.shared.strangers.are_closed() {
            true => Refusal::Closed.to_string(),
            false => "too many are waiting without a name: connect again".into(),
        })
    }

    fn handle(&mut self, login: Result<Login<'_>, &LineError>) -> Step {
        let login = match login {
            Ok(login) => login,
            Err(error) => return self.refuse(error),
        };
        match login {
            Login::Nothing => Step::Stay,
            Login::Quit => Step::Out(End::Silent),
            Login::Http => Step::Out(End::Http),
            Login::Help(language) => {
                let lines = request::login_help(language)
                    .iter()
                    .map(|line| Text::new(line));
                self.say(&Answer::Help(lines.collect()));
                Step::Stay
            }
            Login::Unknown(word) => {
                self.say_error(&format!(
                    "{word} is for members: type your name first, or /help"
                ));
                Step::Stay
            }
            Login::Pass(password) => self.password(password),
            Login::Enter(format, words) => {
                self.format = format.unwrap_or(self.format);
                if !self.trusted {
                    // Who gave a wrong one is told that again, and so is the operator.
                    let is_wrong = self
                        .refused
                        .take()
                        .filter(|text| text.as_str() == WRONG_PASSWORD);
                    return match is_wrong {
                        Some(wrong) => self.refuse(&wrong),
                        None => self.refuse(&"this room has a password: type /pass PASSWORD first"),
                    };
                }
                match Identity::parse(words) {
                    Ok(identity) => self.enter(|room, format, socket| {
                        let link = room.join(&identity, format, socket)?;
                        Ok((link, identity.name.text().clone()))
                    }),
                    Err(error) if words.eq_ignore_ascii_case("exit") => {
                        self.refuse(&format!("{error}, or type /quit to leave"))
                    }
                    Err(error) => self.refuse(&error),
                }
            }
            Login::Resume(resume) => {
                self.format = Format::Json;
                match resume {
                    Some((token, after)) => {
                        self.enter(|room, _, socket| room.resume(token, after, socket))
                    }
                    None => self.refuse(&"type /resume TOKEN SEQ"),
                }
            }
        }
    }

    fn password(&mut self, given: &str) -> Step {
        match &self.shared.password {
            None => self.say(&Answer::Notice(Text::new(
                "no password is needed: type your name",
            ))),
            Some(password) if password.trim() == given => self.trusted = true,
            Some(_) => return self.refuse(&WRONG_PASSWORD),
        }
        Step::Stay
    }

    /// Takes a place in the room in the way of `enter`.
    fn enter(
        &mut self,
        enter: impl FnOnce(&Room, Format, &Arc<TcpStream>) -> Result<(Link, Text), Refusal>,
    ) -> Step {
        if !self.seat.leave() {
            return Step::Out(self.unseated());
        }
        match enter(&self.shared.room, self.format, self.socket) {
            Ok((link, name)) => Step::In(link, name),
            Err(refusal @ (Refusal::Full(_) | Refusal::Closed)) => {
                Step::Out(End::Told(refusal.to_string()))
            }
            Err(refusal @ (Refusal::Taken(..) | Refusal::Unknown)) => {
                self.seat.take_again(self.socket);
                self.refuse(&refusal)
            }
        }
    }

    /// A wrong name or password: it may try again, but not for ever.
    fn refuse(&mut self, error: &impl std::fmt::Display) -> Step {
        self.say_error(error);
        self.tries += 1;
        if self.tries < LOGIN_TRIES {
            return Step::Stay;
        }
        Step::Out(End::Told(format!(
            "that was wrong {LOGIN_TRIES} times: connect again"
        )))
    }

    fn end(&mut self, end: End) {
        match end {
            End::Silent => {}
            End::Told(reason) => self.say_error(&reason),
            End::Http => self.write(
                format!(
                    "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n\
                     Content-Length: {}\r\nConnection: close\r\n\r\n{HTTP}",
                    HTTP.len()
                )
                .as_bytes(),
            ),
        }
        self.seat.leave();
        // As for members, but here the thread that sends is the one that reads.
        let _ = self.socket.shutdown(Shutdown::Write);
        // Where threads are scarce, it has less time.
        self.shared.linger.add(Arc::clone(self.socket));
        let deadline = Instant::now() + LINGER;
        let mut input = vec![0; READ];
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if !os::wait_readable(self.socket, left).unwrap_or_default() {
                return;
            }
            match (&**self.socket).read(&mut input) {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
        }
    }
}
