//! Pending logins: greeting, password, name, `/resume`, and rejections.

use std::fmt::Display;
use std::io::{ErrorKind, IoSlice};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use crate::net::{self, Interest};
use crate::protocol::commands;
use crate::protocol::event::Answer;
use crate::protocol::http::{self, Start};
use crate::protocol::limits::{LOGIN_LINES, LOGIN_TRIES, MAX_LINE, MAX_UNTERMINATED};
use crate::protocol::line::{LineError, Lines};
use crate::protocol::password::{Password, WAIT_NOTICE};
use crate::protocol::request::{Format, Identity, Login};
use crate::protocol::telnet::Telnet;
use crate::protocol::text::Text;
use crate::server::Shared;
use crate::server::guess_limit::{GuessLimit, Released};
use crate::server::log::{Entry, LoginOutcome};
use crate::server::members::{ConnectionId, JoinError};
use crate::server::network_debts::network;
use crate::server::room::{Endpoint, Room};
use crate::sync::Instant;

/// How long the client must be silent before it is greeted. An HTTP client sends its request within
/// this time, so it gets no greeting, which would not be valid HTTP.
const GREETING_DELAY: Duration = Duration::from_millis(20);

/// How long the client must be silent within a line before it is told how to end the line. Some
/// telnet programs send each key as it is pressed, so the delay is longer than most pauses in
/// typing.
const HINT_DELAY: Duration = Duration::from_secs(2);

/// Notice to a client that has sent a line without an ending. It names LF for authors of programs.
const HINT: &str = "a line ends with Enter: press it, or in a program, send a newline \
                    (LF, \"\\n\") after each line";

/// Interval between two notices to a client whose password has to wait to be checked, because too
/// many wrong passwords came from its network. The notices show that the server is alive. If the
/// client is gone, sending them fails, and the login ends.
const TURN_NOTICE: Duration = Duration::from_secs(5);

/// Interval at which a login checks whether there is space for the replay that it waits for. The
/// delivery thread sends a replay of the maximum size in a few milliseconds.
const REPLAY_RETRY: Duration = Duration::from_millis(2);

/// Limit on the lines of a pending login that are handled in one step, so that a client with many
/// lines does not delay the others.
const MAX_PER_STEP: usize = 16;

/// Body of the answer to an HTTP request.
const HTTP: &str =
    "This is a chat, not a web page. Join it with chat-client, or with nc and your name.\n";

/// A connection that has not logged in. Its methods never block on its socket, because they run in
/// the thread `accept`, which serves all pending logins.
pub(crate) struct PendingLogin<'a> {
    shared: &'a Shared,
    socket: Arc<TcpStream>,
    peer: SocketAddr,
    lines: Lines,
    telnet: Telnet,
    connected: Instant,
    /// Time of the last input, or of the start of the connection if there was no input.
    last_input: Instant,
    greeted: bool,
    /// Whether the client was told how to end a line.
    hinted: bool,
    /// Whether `lines` contains complete lines that have not been handled.
    has_more: bool,
    /// Whether an answer did not fit into the socket's buffer.
    unwritable: bool,
    /// Whether the input has ended. Earlier lines may not have been handled yet.
    input_over: bool,
    format: Format,
    /// Whether the client gave the password. Also true if the room has no password.
    authenticated: bool,
    /// A received password that waits for its turn to be checked (see [`GuessLimit`]).
    waiting: Option<WaitingPassword>,
    /// A `/resume` that waits for space for its replay.
    resuming: Option<Resuming>,
    /// Time that passwords have waited to be checked. It does not count towards the time limit for
    /// logging in.
    waited: Duration,
    tries: u32,
    lines_left: u32,
    /// The last error sent to the client.
    last_error: Option<LoginError>,
}

/// A password that waits to be checked (see [`GuessLimit`]).
struct WaitingPassword {
    is_right: bool,
    since: Instant,
    until: Instant,
    /// Time of the next notice to the client.
    notice_at: Instant,
    /// Whether the client has closed its sending side. It may still be reading.
    input_over: bool,
}

/// A `/resume` that waits until the room has space for its replay. If it blocked the thread
/// `accept` instead, a client that resumes again and again would delay all other logins.
struct Resuming {
    token: String,
    after: u64,
    /// Time of the next attempt.
    retry_at: Instant,
}

/// A member right after its login.
pub(crate) struct Admitted {
    pub(crate) connection: ConnectionId,
    pub(crate) peer: IpAddr,
    pub(crate) name: Text,
    pub(crate) format: Format,
    pub(crate) socket: Arc<TcpStream>,
    /// Input that the client sent after its name.
    pub(crate) lines: Lines,
    pub(crate) telnet: Telnet,
    pub(crate) input_over: bool,
}

impl Admitted {
    /// Whether the client sent more input after its name, or its input has ended.
    pub(crate) fn has_input(&self) -> bool {
        self.input_over || self.lines.unended() > 0
    }
}

/// State of a login after a step.
pub(crate) enum LoginStep {
    Pending,
    LoggedIn(Admitted),
    /// The login was rejected, and the reason was sent. The connection lingers so that the peer can
    /// read the reason.
    Rejected,
}

/// An error sent to the client.
enum LoginError {
    NoPassword,
    WrongPassword,
    /// The session to resume is unknown, because the server was restarted or the session is too
    /// old.
    UnknownSession,
    Other(Text),
}

/// Reason why a login failed.
enum LoginEnd {
    /// The client left, or the connection broke. No error is sent.
    Silent,
    /// The server rejects the login with this error.
    Rejected(String),
    /// The client sent an HTTP request.
    Http,
    /// The client speaks TLS.
    Tls,
}

/// The result of handling input: the new member, or `None` if the login is still pending.
type LoginResult = Result<Option<Admitted>, LoginEnd>;

impl LoginError {
    fn new(error: &impl Display) -> Self {
        Self::Other(Text::new(&error.to_string()))
    }

    fn text(&self) -> Text {
        match self {
            Self::NoPassword => Text::new("this room has a password: type /pass PASSWORD first"),
            Self::WrongPassword => Text::new("wrong password: type /pass PASSWORD"),
            Self::UnknownSession => Text::new(&JoinError::UnknownToken.to_string()),
            Self::Other(text) => text.clone(),
        }
    }
}

impl<'a> PendingLogin<'a> {
    pub(crate) fn new(shared: &'a Shared, socket: TcpStream, peer: SocketAddr) -> Self {
        shared.log.note(Entry::Connected(peer));
        let connected = Instant::now();
        Self {
            shared,
            socket: Arc::new(socket),
            peer,
            lines: Lines::typed(MAX_LINE),
            telnet: Telnet::default(),
            connected,
            last_input: connected,
            greeted: false,
            hinted: false,
            has_more: false,
            unwritable: false,
            input_over: false,
            format: Format::Plain,
            authenticated: shared.password.is_none(),
            waiting: None,
            resuming: None,
            waited: Duration::ZERO,
            tries: 0,
            lines_left: LOGIN_LINES,
            last_error: None,
        }
    }

    pub(crate) fn socket(&self) -> &Arc<TcpStream> {
        &self.socket
    }

    /// The network that the client connects from.
    pub(crate) fn network(&self) -> IpAddr {
        network(self.peer.ip())
    }

    /// The time at which [`PendingLogin::step`] must be called even if no input arrives.
    pub(crate) fn due(&self) -> Instant {
        if let Some(waiting) = &self.waiting {
            return waiting.until.min(waiting.notice_at);
        }
        if let Some(resuming) = &self.resuming {
            return resuming.retry_at;
        }
        if self.has_more {
            return self.connected;
        }
        let end = self.connected + self.waited + self.shared.login_time;
        let earlier = self.greeting_due().into_iter().chain(self.hint_due());
        earlier.fold(end, Instant::min)
    }

    /// Makes the check of a waiting password earlier, because the check at the turn `released` will
    /// not take place. Has no effect if that turn is later, or belongs to another network.
    pub(crate) fn move_turn(&mut self, released: &Released) {
        if let Some(waiting) = &mut self.waiting {
            released.move_forward(self.peer.ip(), &mut waiting.until);
        }
    }

    /// Returns what to wait for on the socket until [`PendingLogin::due`].
    pub(crate) fn interest(&self) -> Interest {
        match &self.waiting {
            None if self.resuming.is_some() => Interest::Hangup,
            None => Interest::Input,
            Some(waiting) if waiting.input_over => Interest::Hangup,
            Some(_) => Interest::EndOfInput,
        }
    }

    /// The time at which the client must be greeted. `None` if the client has been greeted.
    fn greeting_due(&self) -> Option<Instant> {
        let delay = || match http::recognize(self.lines.rest()) {
            Start::Other => GREETING_DELAY,
            // Do not greet yet, because the rest of an HTTP request may arrive later.
            Start::Method | Start::Request => HINT_DELAY,
        };
        (!self.greeted).then(|| self.last_input + delay())
    }

    /// The time at which the client must be told how to end a line. `None` if the client has been
    /// told, has not started a line, or receives JSON.
    fn hint_due(&self) -> Option<Instant> {
        let is_due = !self.hinted && self.format == Format::Plain && self.lines.is_partial();
        is_due.then(|| self.last_input + HINT_DELAY)
    }

    /// Reads once into `buffer`, and handles up to [`MAX_PER_STEP`] complete lines, until the
    /// client joins the room. The input after that stays in `lines`. May block until the delivery
    /// thread catches up.
    pub(crate) fn step(&mut self, buffer: &mut [u8], limit: &mut GuessLimit) -> LoginStep {
        match self.talk(buffer, limit) {
            Ok(None) => LoginStep::Pending,
            Ok(Some(admitted)) => LoginStep::LoggedIn(admitted),
            Err(end) => {
                self.end(end, limit);
                LoginStep::Rejected
            }
        }
    }

    /// Rejects the login to make space for other pending logins.
    pub(crate) fn evict(&mut self, limit: &mut GuessLimit) {
        let reason = "too many clients are logging in: connect again";
        self.end(LoginEnd::Rejected(reason.into()), limit);
    }

    /// Rejects the login because the server is shutting down.
    pub(crate) fn close(&mut self, limit: &mut GuessLimit) {
        let reason = JoinError::Closed.to_string();
        self.end(LoginEnd::Rejected(reason), limit);
    }

    fn talk(&mut self, buffer: &mut [u8], limit: &mut GuessLimit) -> LoginResult {
        self.wait_for_turn()?;
        if self.waiting.is_some() {
            return Ok(None);
        }
        if let Some(Resuming { token, after, .. }) = self.resuming.take() {
            let admitted = self.resume(token, after)?;
            if admitted.is_some() || self.resuming.is_some() {
                return Ok(admitted);
            }
            self.has_more = true;
        }
        let received = if std::mem::take(&mut self.has_more) {
            Err(ErrorKind::WouldBlock.into())
        } else {
            net::receive_now(&self.socket, buffer)
        };
        match received {
            Ok(0) => self.input_over = true,
            Ok(read) => {
                self.last_input = Instant::now();
                let answers = self.telnet.decode(&buffer[..read], &mut self.lines);
                // Look for TLS before handling lines, because its arbitrary bytes may look like
                // lines.
                if self.lines_left == LOGIN_LINES && http::is_tls(self.lines.rest()) {
                    return Err(LoginEnd::Tls);
                }
                if !answers.is_empty() {
                    self.write(&answers);
                }
            }
            Err(error)
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(_) => return Err(LoginEnd::Silent),
        }
        for _ in 0..MAX_PER_STEP {
            // Look for an HTTP request before its line is complete, because the complete line may
            // be rejected as too long or not UTF-8.
            if http::recognize(self.lines.rest()) == Start::Request {
                return Err(LoginEnd::Http);
            }
            let Some(line) = self.next_line() else {
                return self.check_limits();
            };
            let login = line.as_deref().map(Login::parse);
            // Do not greet after an empty line, because an HTTP request may follow (RFC 9112,
            // section 2.2).
            let is_empty = login == Ok(Login::Nothing);
            let admitted = self.handle(login, limit)?;
            if admitted.is_some() {
                return Ok(admitted);
            }
            if !is_empty {
                self.greet();
            }
            if self.unwritable {
                return Err(LoginEnd::Silent);
            }
            self.lines_left -= 1;
            if self.lines_left == 0 {
                return Err(LoginEnd::Rejected(format!(
                    "{LOGIN_LINES} lines without a name: connect again"
                )));
            }
            if self.waiting.is_some() || self.resuming.is_some() {
                return Ok(None);
            }
        }
        self.has_more = true;
        Ok(None)
    }

    /// Checks limits and deadlines. Called after all complete lines were handled.
    fn check_limits(&mut self) -> LoginResult {
        if self.input_over || self.unwritable {
            return Err(LoginEnd::Silent);
        }
        if self.lines.unended() >= MAX_UNTERMINATED {
            return Err(LoginEnd::Rejected(
                "no line ending in 64 KiB: end each line with LF".into(),
            ));
        }
        let elapsed = self.connected.elapsed().saturating_sub(self.waited);
        if elapsed >= self.shared.login_time {
            let time = self.shared.login_time.as_secs_f32();
            return Err(LoginEnd::Rejected(format!(
                "no name within {time} s: connect again when you have one"
            )));
        }
        let now = Instant::now();
        if self.greeting_due().is_some_and(|due| due <= now) {
            self.greet();
        }
        if self.hint_due().is_some_and(|due| due <= now) {
            self.hinted = true;
            self.write_answer(Format::Plain, &Answer::Notice(Text::new(HINT)));
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
        let how = if self.shared.password.is_none() {
            "type your name"
        } else {
            "type /pass PASSWORD, then your name"
        };
        let greeting = format!("chat-server {}: {how}", env!("CARGO_PKG_VERSION"));
        Text::new(&greeting)
    }

    fn greet(&mut self) {
        if !std::mem::replace(&mut self.greeted, true) {
            // The greeting is plain text, because the client has not chosen a format yet.
            self.write_answer(Format::Plain, &Answer::Notice(self.greeting()));
        }
    }

    fn answer(&mut self, answer: &Answer) {
        self.greet();
        self.write_answer(self.format, answer);
    }

    fn write_answer(&mut self, format: Format, answer: &Answer) {
        let mut out = Vec::new();
        answer.write(format, &mut out);
        self.write(&out);
    }

    fn send_error(&mut self, error: LoginError) {
        self.answer(&Answer::Error(error.text()));
        self.last_error = Some(error);
    }

    /// Sends without blocking. Answers are much smaller than a socket's buffer, so if an answer
    /// does not fit, the client is not reading, and is disconnected.
    fn write(&mut self, bytes: &[u8]) {
        let sent = net::send_now(&self.socket, &[IoSlice::new(bytes)]);
        self.unwritable |= !sent.is_ok_and(|sent| sent == bytes.len());
    }

    fn handle(
        &mut self,
        login: Result<Login<'_>, &LineError>,
        limit: &mut GuessLimit,
    ) -> LoginResult {
        let peer = self.peer.ip();
        let login = match login {
            Ok(login) => login,
            Err(error) => return self.refuse(LoginError::new(error)).map(|()| None),
        };
        match login {
            Login::Nothing => {}
            Login::Quit => return Err(LoginEnd::Silent),
            Login::Http => return Err(LoginEnd::Http),
            Login::Help(language) => {
                self.answer(&Answer::Help(commands::login_help(language)));
            }
            Login::Unknown(word) => {
                self.send_error(LoginError::new(&format!(
                    "{word} is for members: type your name first, or /help"
                )));
            }
            Login::Pass(password) => self.password(password, limit)?,
            Login::Enter(format, words) => {
                self.set_format(format.unwrap_or(self.format));
                if !self.authenticated {
                    // If the client's last password was wrong, repeat that error instead of asking
                    // for a password. If the client then leaves, the operator's log gives the wrong
                    // password as the reason.
                    let was_wrong = matches!(self.last_error, Some(LoginError::WrongPassword));
                    self.refuse(if was_wrong {
                        LoginError::WrongPassword
                    } else {
                        LoginError::NoPassword
                    })?;
                    return Ok(None);
                }
                match Identity::parse(words) {
                    Ok(identity) => {
                        return self.enter(|room, endpoint| {
                            let connection = room.join(&identity, peer, endpoint)?;
                            Ok((connection, identity.name.text().clone()))
                        });
                    }
                    Err(error) if words.eq_ignore_ascii_case("exit") => {
                        let error = format!("{error}, or type /quit to leave");
                        self.refuse(LoginError::new(&error))?;
                    }
                    Err(error) => self.refuse(LoginError::new(&error))?,
                }
            }
            Login::Resume(resume) => {
                self.set_format(Format::Json);
                match resume {
                    Some((token, after)) => return self.resume(token.to_owned(), after),
                    None => self.refuse(LoginError::new(&"usage: /resume TOKEN SEQ"))?,
                }
            }
        }
        Ok(None)
    }

    fn set_format(&mut self, format: Format) {
        self.format = format;
        match format {
            Format::Plain => {}
            // A BS or DEL from a JSON client erases nothing, because the client is a program: no
            // person has pressed a key to erase a character.
            Format::Json => self.lines.stop_editing(),
        }
    }

    fn password(&mut self, given: &str, limit: &mut GuessLimit) -> Result<(), LoginEnd> {
        let Some(password) = &self.shared.password else {
            let notice = Text::new("no password is needed: type your name");
            self.answer(&Answer::Notice(notice));
            return Ok(());
        };
        if given.is_empty() {
            return self.refuse(LoginError::new(&"usage: /pass PASSWORD"));
        }
        let is_right = Password::new(given).is_ok_and(|given| given == *password);
        let (peer, now) = (self.peer.ip(), Instant::now());
        match limit.reserve(peer, now) {
            None if is_right => self.authenticated = true,
            None => {
                limit.count(peer, now);
                self.refuse(LoginError::WrongPassword)?;
            }
            Some(until) => {
                self.waiting = Some(WaitingPassword {
                    is_right,
                    since: now,
                    until,
                    notice_at: now,
                    input_over: false,
                });
                self.wait_for_turn()?;
            }
        }
        Ok(())
    }

    /// If a password is waiting to be checked, answers it if the time for this has come. Otherwise
    /// tells the client in how many seconds the password is checked.
    fn wait_for_turn(&mut self) -> Result<(), LoginEnd> {
        let Some(waiting) = &mut self.waiting else {
            return Ok(());
        };
        let now = Instant::now();
        if waiting.until <= now {
            let is_right = waiting.is_right;
            self.waited += now.saturating_duration_since(waiting.since);
            self.waiting = None;
            self.has_more = true;
            self.authenticated |= is_right;
            return if is_right {
                Ok(())
            } else {
                self.refuse(LoginError::WrongPassword)
            };
        }
        // If no notice is due yet, poll(2) has reported that the input has ended or that the
        // connection is closed. Send a notice to find out which: if the connection is closed, the
        // peer answers with a reset.
        waiting.input_over |= now < waiting.notice_at;
        waiting.notice_at = now + TURN_NOTICE;
        let left = waiting.until.saturating_duration_since(now);
        let seconds = left.as_millis().div_ceil(1000);
        let notice = format!("{WAIT_NOTICE}: yours is checked in {seconds} s");
        self.answer(&Answer::Notice(Text::new(&notice)));
        let is_broken = !matches!(self.socket.take_error(), Ok(None));
        if is_broken || self.unwritable {
            return Err(LoginEnd::Silent);
        }
        Ok(())
    }

    /// Resumes, or waits until the room has space for the replay.
    fn resume(&mut self, token: String, after: u64) -> LoginResult {
        if self.shared.room.has_space_for_replay(after) {
            let peer = self.peer.ip();
            return self.enter(|room, endpoint| room.resume(&token, after, peer, endpoint));
        }
        self.resuming = Some(Resuming {
            token,
            after,
            retry_at: Instant::now() + REPLAY_RETRY,
        });
        Ok(None)
    }

    /// Calls `enter`, which joins or resumes, and handles its result. May block until the delivery
    /// thread catches up.
    fn enter(
        &mut self,
        enter: impl FnOnce(&Room, Endpoint) -> Result<(ConnectionId, Text), JoinError>,
    ) -> LoginResult {
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
                    peer: self.peer.ip(),
                    name,
                    format: self.format,
                    socket: Arc::clone(&self.socket),
                    lines: std::mem::replace(&mut self.lines, Lines::new(MAX_LINE)),
                    telnet: std::mem::take(&mut self.telnet),
                    input_over: self.input_over,
                }))
            }
            Err(error @ (JoinError::Full(_) | JoinError::Closed)) => {
                Err(LoginEnd::Rejected(error.to_string()))
            }
            Err(error @ JoinError::Taken { .. }) => {
                self.refuse(LoginError::new(&error)).map(|()| None)
            }
            Err(JoinError::UnknownToken) => self.refuse(LoginError::UnknownSession).map(|()| None),
        }
    }

    /// Sends an error after a wrong name, password or token. Rejects the client after too many such
    /// errors.
    fn refuse(&mut self, error: LoginError) -> Result<(), LoginEnd> {
        self.send_error(error);
        self.tries += 1;
        if self.tries < LOGIN_TRIES {
            return Ok(());
        }
        Err(LoginEnd::Rejected(format!(
            "that was wrong {LOGIN_TRIES} times: connect again"
        )))
    }

    fn end(&mut self, end: LoginEnd, limit: &mut GuessLimit) {
        if let Some(waiting) = self.waiting.take() {
            limit.release(self.peer.ip(), waiting.until);
        }
        match end {
            LoginEnd::Silent => {}
            LoginEnd::Rejected(reason) => self.send_error(LoginError::new(&reason)),
            LoginEnd::Http => {
                self.last_error = Some(LoginError::new(&"it sent an HTTP request"));
                self.write(
                    format!(
                        "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n\
                         Content-Length: {}\r\nConnection: close\r\n\r\n{HTTP}",
                        HTTP.len()
                    )
                    .as_bytes(),
                );
            }
            LoginEnd::Tls => {
                self.last_error = Some(LoginError::new(
                    &"it uses TLS, which this server does not speak",
                ));
            }
        }
        // Shut down only the sending side, because the thread `accept` keeps the connection open
        // until the peer has read the last line. An error means that the peer has closed the
        // connection.
        let _ = self.socket.shutdown(Shutdown::Write);
        let outcome = match self.last_error.take() {
            // Do not log a missing password or an unknown session as a failure, because the client
            // connects again: with the password that its user has typed, or as a newcomer.
            Some(LoginError::NoPassword) => LoginOutcome::PasswordNeeded,
            Some(LoginError::UnknownSession) => LoginOutcome::UnknownSession,
            Some(error @ (LoginError::WrongPassword | LoginError::Other(_))) => {
                LoginOutcome::Left(Some(error.text()))
            }
            None => LoginOutcome::Left(None),
        };
        self.shared
            .log
            .post(Entry::Disconnected(self.peer, outcome));
    }
}
