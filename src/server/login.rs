//! A connection before it has a name: greeting, password, name, and all the ways of not getting in.

use std::io::{ErrorKind, IoSlice};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::net;
use crate::protocol::event::Answer;
use crate::protocol::limits::{LOGIN_LINES, LOGIN_TRIES, MAX_LINE, MAX_UNTERMINATED};
use crate::protocol::line::{LineError, Lines};
use crate::protocol::request::{self, Format, Identity, Login};
use crate::protocol::text::Text;
use crate::server::Shared;
use crate::server::log::Entry;
use crate::server::members::{ConnectionId, Refusal};
use crate::server::room::{Endpoint, Room};

/// How long a connection is given to speak first. An HTTP client does, and must not be greeted.
const SPEAKS_FIRST: Duration = Duration::from_millis(20);

/// Lines of one stranger that are answered before the others have their turn.
const AT_ONCE: usize = 16;

/// What is told of a password that is not the room's.
const WRONG_PASSWORD: &str = "wrong password: type /pass PASSWORD";

/// What an HTTP client is told.
const HTTP: &str =
    "This is a chat, not a web page. Join it with chat-client, or with nc and your name.\n";

/// A stranger. It has no thread of its own, so nothing in here waits for it.
pub(crate) struct PendingLogin<'a> {
    shared: &'a Shared,
    socket: Arc<TcpStream>,
    peer: SocketAddr,
    lines: Lines,
    came: Instant,
    greeted: bool,
    /// There are whole lines of it that have not been handled.
    has_more: bool,
    /// It does not take what it is told.
    unwritable: bool,
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
pub(crate) struct Admitted {
    pub(crate) connection: ConnectionId,
    pub(crate) name: Text,
    pub(crate) format: Format,
    pub(crate) socket: Arc<TcpStream>,
    /// What it sent after its name.
    pub(crate) lines: Lines,
    pub(crate) input_over: bool,
}

impl Admitted {
    /// Whether it has said more than its name, or can say no more.
    pub(crate) fn has_input(&self) -> bool {
        self.input_over || self.lines.unended() > 0
    }
}

/// What becomes of a stranger.
pub(crate) enum Step {
    Stay,
    In(Admitted),
    /// It is told why, and is to be given time to read that.
    Out,
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

/// A member, where it has become one, or how it ends.
type Outcome = Result<Option<Admitted>, End>;

impl<'a> PendingLogin<'a> {
    pub(crate) fn new(shared: &'a Shared, socket: TcpStream, peer: SocketAddr) -> Self {
        shared.log.note(Entry::Connected(peer));
        Self {
            shared,
            socket: Arc::new(socket),
            peer,
            lines: Lines::new(MAX_LINE),
            came: Instant::now(),
            greeted: false,
            has_more: false,
            unwritable: false,
            input_over: false,
            format: Format::Plain,
            trusted: shared.password.is_none(),
            tries: 0,
            lines_left: LOGIN_LINES,
            refused: None,
        }
    }

    pub(crate) fn socket(&self) -> &Arc<TcpStream> {
        &self.socket
    }

    /// When it is its turn, also where nothing comes from it.
    pub(crate) fn due(&self) -> Instant {
        let patience = match self.is_mute() {
            true => SPEAKS_FIRST.min(self.shared.login_time),
            false => self.shared.login_time,
        };
        match self.has_more {
            true => self.came,
            false => self.came + patience,
        }
    }

    /// Whether it has neither been greeted nor begun to speak.
    fn is_mute(&self) -> bool {
        !self.greeted && self.lines.unended() == 0
    }

    /// Reads once, into `buffer`, and answers what has come; what it sent after its name stays in its lines. May wait for the delivery thread.
    pub(crate) fn step(&mut self, buffer: &mut [u8]) -> Step {
        match self.talk(buffer) {
            Ok(None) => Step::Stay,
            Ok(Some(admitted)) => Step::In(admitted),
            Err(end) => {
                self.end(end);
                Step::Out
            }
        }
    }

    /// Ends it, for others that come.
    pub(crate) fn send_away(&mut self) {
        self.end(End::Told(
            "too many are waiting without a name: connect again".into(),
        ));
    }

    /// Ends it, at the server's end.
    pub(crate) fn close(&mut self) {
        self.end(End::Told(Refusal::Closed.to_string()));
    }

    fn talk(&mut self, buffer: &mut [u8]) -> Outcome {
        let received = match std::mem::take(&mut self.has_more) {
            true => Err(ErrorKind::WouldBlock.into()),
            false => net::receive_now(&self.socket, buffer),
        };
        match received {
            Ok(0) => self.input_over = true,
            Ok(read) => self.lines.push(&buffer[..read]),
            Err(error)
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(_) => return Err(End::Silent),
        }
        for _ in 0..AT_ONCE {
            let Some(line) = self.next_line() else {
                return self.wait();
            };
            let admitted = self.handle(line.as_deref().map(Login::parse))?;
            if admitted.is_some() {
                return Ok(admitted);
            }
            self.greet();
            if self.unwritable {
                return Err(End::Silent);
            }
            self.lines_left -= 1;
            if self.lines_left == 0 {
                return Err(End::Told(format!(
                    "{LOGIN_LINES} lines without a name: connect again"
                )));
            }
        }
        // The others have their turn.
        self.has_more = true;
        Ok(None)
    }

    /// All that has come is handled.
    fn wait(&mut self) -> Outcome {
        if self.input_over {
            return Err(End::Silent);
        }
        if self.lines.unended() >= MAX_UNTERMINATED {
            return Err(End::Told(
                "64 KiB without a line ending: end each line with LF".into(),
            ));
        }
        let here_for = self.came.elapsed();
        if here_for >= self.shared.login_time {
            let time = self.shared.login_time.as_secs_f32();
            return Err(End::Told(format!(
                "no name within {time} s: connect again when you have one"
            )));
        }
        if here_for >= SPEAKS_FIRST && self.is_mute() {
            self.greet();
        }
        Ok(None)
    }

    fn next_line(&mut self) -> Option<Result<String, LineError>> {
        let line = match self.lines.next_line() {
            None if self.input_over => self.lines.last_line(),
            line => line,
        };
        line.map(|line| line.map(str::to_owned))
    }

    fn greeting(&self) -> Text {
        let how = match self.shared.password.is_none() {
            true => "type your name",
            false => "type /pass PASSWORD, then your name",
        };
        let greeting = format!("chat-server {}: {how}", env!("CARGO_PKG_VERSION"));
        Text::new(&greeting)
    }

    fn greet(&mut self) {
        if !std::mem::replace(&mut self.greeted, true) {
            // Plain for everybody: nobody has said yet what it wants.
            self.write_answer(Format::Plain, &Answer::Notice(self.greeting()));
        }
    }

    fn say(&mut self, answer: &Answer) {
        self.greet();
        self.write_answer(self.format, answer);
    }

    fn write_answer(&mut self, format: Format, answer: &Answer) {
        let mut out = Vec::new();
        answer.write(format, &mut out);
        self.write(&out);
    }

    fn say_error(&mut self, error: &impl std::fmt::Display) {
        let text = Text::new(&error.to_string());
        self.refused = Some(text.clone());
        self.say(&Answer::Error(text));
    }

    /// Sends what a socket's buffer takes many times over; who does not read that is not served.
    fn write(&mut self, bytes: &[u8]) {
        let sent = net::send_now(&self.socket, &[IoSlice::new(bytes)]);
        self.unwritable |= !sent.is_ok_and(|sent| sent == bytes.len());
    }

    fn handle(&mut self, login: Result<Login<'_>, &LineError>) -> Outcome {
        let login = match login {
            Ok(login) => login,
            Err(error) => return self.refuse(error).map(|()| None),
        };
        match login {
            Login::Nothing => {}
            Login::Quit => return Err(End::Silent),
            Login::Http => return Err(End::Http),
            Login::Help(language) => {
                let lines = request::login_help(language)
                    .iter()
                    .map(|line| Text::new(line));
                self.say(&Answer::Help(lines.collect()));
            }
            Login::Unknown(word) => {
                self.say_error(&format!(
                    "{word} is for members: type your name first, or /help"
                ));
            }
            Login::Pass(password) => self.password(password)?,
            Login::Enter(format, words) => {
                self.format = format.unwrap_or(self.format);
                if !self.trusted {
                    // Who gave a wrong one is told that again, and so is the operator.
                    let is_wrong = self
                        .refused
                        .take()
                        .filter(|text| text.as_str() == WRONG_PASSWORD);
                    match is_wrong {
                        Some(wrong) => self.refuse(&wrong)?,
                        None => {
                            self.refuse(&"this room has a password: type /pass PASSWORD first")?
                        }
                    }
                    return Ok(None);
                }
                match Identity::parse(words) {
                    Ok(identity) => {
                        return self.enter(|room, endpoint| {
                            let connection = room.join(&identity, endpoint)?;
                            Ok((connection, identity.name.text().clone()))
                        });
                    }
                    Err(error) if words.eq_ignore_ascii_case("exit") => {
                        self.refuse(&format!("{error}, or type /quit to leave"))?;
                    }
                    Err(error) => self.refuse(&error)?,
                }
            }
            Login::Resume(resume) => {
                self.format = Format::Json;
                match resume {
                    Some((token, after)) => {
                        return self.enter(|room, endpoint| room.resume(token, after, endpoint));
                    }
                    None => self.refuse(&"type /resume TOKEN SEQ")?,
                }
            }
        }
        Ok(None)
    }

    fn password(&mut self, given: &str) -> Result<(), End> {
        match &self.shared.password {
            None => self.say(&Answer::Notice(Text::new(
                "no password is needed: type your name",
            ))),
            Some(password) if password.trim() == given => self.trusted = true,
            Some(_) => self.refuse(&WRONG_PASSWORD)?,
        }
        Ok(())
    }

    /// Takes a place in the room in the way of `enter`. May wait for the delivery thread.
    fn enter(
        &mut self,
        enter: impl FnOnce(&Room, Endpoint) -> Result<(ConnectionId, Text), Refusal>,
    ) -> Outcome {
        let shared = self.shared;
        let endpoint = Endpoint {
            socket: Arc::clone(&self.socket),
            format: self.format,
            greeting: (!self.greeted).then(|| self.greeting()),
        };
        match enter(&shared.room, endpoint) {
            Ok((connection, name)) => {
                if !connection.is_first() {
                    let returned = Entry::Returned(self.peer, name.clone());
                    shared.log.post(returned);
                }
                Ok(Some(Admitted {
                    connection,
                    name,
                    format: self.format,
                    socket: Arc::clone(&self.socket),
                    lines: std::mem::replace(&mut self.lines, Lines::new(MAX_LINE)),
                    input_over: self.input_over,
                }))
            }
            Err(refusal @ (Refusal::Full(_) | Refusal::Closed)) => {
                Err(End::Told(refusal.to_string()))
            }
            Err(refusal @ (Refusal::Taken(..) | Refusal::UnknownToken)) => {
                self.refuse(&refusal)?;
                Ok(None)
            }
        }
    }

    /// A wrong name or password: it may try again, but not for ever.
    fn refuse(&mut self, error: &impl std::fmt::Display) -> Result<(), End> {
        self.say_error(error);
        self.tries += 1;
        if self.tries < LOGIN_TRIES {
            return Ok(());
        }
        Err(End::Told(format!(
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
        // The thread `accept` gives it time to read that. Where it fails, the peer has closed.
        let _ = self.socket.shutdown(Shutdown::Write);
        let refused = self.refused.take();
        self.shared
            .log
            .post(Entry::Disconnected(self.peer, refused));
    }
}
