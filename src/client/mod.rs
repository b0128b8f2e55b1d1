//! The terminal client: joins a room, sends what is typed, and shows what is said there.
//!
//! ```text
//!   stdin ── input ───────────────────────────────► socket
//!              │ what is to be told of it
//!              ▼
//!   stdout ◄─ main ◄── receive ◄──────────────────── socket
//!              ▲
//!              └── signals, the launcher's lifeline
//! ```
//!
//! The main thread decides and shows; nobody else writes to the screen. `receive` connects, logs in, and brings what the server
//! sends. `input` reads stdin where it is asked to, and in a chat sends what it reads itself: a server that slows this
//! client down holds up that thread alone. What is posted to the main thread waits in a queue with a limit, so that a
//! terminal that takes nothing holds back the server.

mod connection;
mod conversation;
mod input;
mod target;
mod view;

use std::ffi::OsString;
use std::io::{self, IsTerminal};
use std::process::{self, ExitCode};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender, SyncSender};
use std::thread::{self, Builder, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Error, anyhow};

use self::connection::{Attempt, Connection, End, Login, Refusal};
use self::input::{Ask, Typed};
pub use self::target::Target;
use self::view::View;
use crate::cli::{ClientArgs, Color};
use crate::lifeline::{self, Lifeline};
use crate::os;
use crate::protocol::event::{Event, Received, Record, Welcome};
use crate::protocol::name::Group;
use crate::protocol::request::Identity;

/// Happenings that may wait for the main thread. Few, since a hostile server makes each as large as a line may be.
const MAX_WAITING: usize = 16;

/// Time that a server has to close the connection of a user who leaves.
const LEAVE_TIME: Duration = Duration::from_secs(1);

/// Time after which a client that was told to leave ends without more ado: its terminal takes nothing.
const PATIENCE: Duration = Duration::from_millis(1500);

const NAME_QUESTION: &str = "name, and group if you like: ";

const NO_THREAD: &str = "cannot start a thread: end other programs, or raise `ulimit -u`";

/// What a client is to be like.
#[derive(Debug)]
pub struct Config {
    /// The server.
    pub target: Target,
    /// `NAME` or `NAME GROUP`, instead of asking.
    pub name: Option<String>,
    /// The group of a name that comes without one.
    pub group: Option<Group>,
    /// The room's password. Without control characters, which would end its line.
    pub password: Option<String>,
    /// When to use colours.
    pub color: Color,
    /// Name of the launcher's socket.
    pub lifeline: Option<OsString>,
}

impl TryFrom<ClientArgs> for Config {
    type Error = String;

    fn try_from(args: ClientArgs) -> Result<Self, String> {
        let target = Target::parse(args.host.as_deref(), args.lone_port, args.port)?;
        let group = args.group.as_deref().map(Group::new).transpose();
        let password = args.password.filter(|password| !password.is_empty());
        if password
            .iter()
            .any(|password| password.contains(char::is_control))
        {
            return Err("a password is one line, without control characters".into());
        }
        Ok(Self {
            target,
            name: args.name,
            group: group.map_err(|error| error.to_string())?,
            password,
            color: args.color,
            lifeline: args.lifeline.filter(|name| !name.is_empty()),
        })
    }
}

/// Runs a client until its user leaves or its room is gone, and tells the user why where that is a failure.
///
/// To be called from the main thread before others are started, and once in a process: it handles the process's signals.
pub fn run(config: Config) -> ExitCode {
    let color = config.color;
    match Client::start(config) {
        Ok(client) => client.run(),
        Err(error) => {
            View::new(color).fail(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// What the main thread waits for.
enum Happening {
    /// Something came from stdin.
    Typed(Typed),
    /// An attempt to join is over.
    Attempt(Attempt),
    /// The server sent something.
    Received(Received),
    /// The connection is over.
    Ended(End),
    /// The client is to leave: [`Leaving`] tells, and this only wakes.
    Leave,
}

/// Why the client does not go on.
enum Stop {
    /// It was asked to leave, or nobody looks any more.
    Leave,
    /// It cannot.
    Failed(Error),
}

impl Stop {
    /// What it means that stdout does not take the conversation.
    fn unshown(error: io::Error) -> Self {
        match error.kind() {
            // As in `chat-client | head`: who reads has seen enough.
            io::ErrorKind::BrokenPipe => Self::Leave,
            _ => Self::Failed(Error::new(error).context("cannot write to stdout")),
        }
    }
}

/// The wish that the client leaves, which signals and the launcher have.
#[derive(Clone)]
struct Leaving {
    asked: Arc<AtomicBool>,
    post: SyncSender<Happening>,
}

impl Leaving {
    /// Never waits. The second time, it ends the process at once.
    fn ask(&self) {
        if self.asked.swap(true, Ordering::SeqCst) {
            end_now();
        }
        // Where too much is waiting, the main thread does not sleep, and sees the flag.
        let _ = self.post.try_send(Happening::Leave);
        // It ends with the process. Without it, a second signal has to do.
        let _ = Builder::new().name("patience".into()).spawn(|| {
            thread::sleep(PATIENCE);
            end_now()
        });
    }

    fn is_asked(&self) -> bool {
        self.asked.load(Ordering::SeqCst)
    }
}

fn end_now() -> ! {
    os::show_typing();
    process::exit(0)
}

/// The main thread's.
struct Client {
    config: Config,
    is_interactive: bool,
    view: View,
    happenings: Receiver<Happening>,
    leaving: Leaving,
    asks: Sender<Ask>,
    lifeline: Option<Lifeline>,
    /// Nothing that came through a pipe was unfit to be sent.
    is_all_sent: bool,
    /// The receiving thread has said that the connection is over.
    has_ended: bool,
}

impl Client {
    fn start(config: Config) -> Result<Self, Error> {
        end_on_panic();
        let (post, happenings) = mpsc::sync_channel(MAX_WAITING);
        let leaving = Leaving {
            asked: Arc::default(),
            post: post.clone(),
        };
        // Before anything that takes time, and before there is another thread.
        let lifeline = match &config.lifeline {
            None => None,
            Some(name) => {
                let leaving = leaving.clone();
                let lifeline = lifeline::hold(name, move |_| leaving.ask());
                Some(lifeline.context("the session that this client belongs to is over")?)
            }
        };
        let signalled = leaving.clone();
        ctrlc::set_handler(move || signalled.ask()).context("cannot handle signals")?;
        Ok(Self {
            is_interactive: io::stdin().is_terminal(),
            view: View::new(config.color),
            asks: input::start(post).context(NO_THREAD)?,
            config,
            happenings,
            leaving,
            lifeline,
            is_all_sent: true,
            has_ended: false,
        })
    }

    fn run(mut self) -> ExitCode {
        match self.join_and_chat() {
            Ok(()) | Err(Stop::Leave) if self.is_all_sent => ExitCode::SUCCESS,
            Ok(()) | Err(Stop::Leave) => ExitCode::FAILURE,
            Err(Stop::Failed(error)) => {
                self.view.fail(&format!("{error:#}"));
                if self.lifeline.is_some() {
                    self.keep_window();
                }
                ExitCode::FAILURE
            }
        }
    }

    /// From the name to the end. Each attempt has a connection of its own, as a prompt may stand for longer than a server waits for a
    /// name.
    fn join_and_chat(&mut self) -> Result<(), Stop> {
        let name = self.config.name.take();
        let mut identity = self.identity(name)?;
        let mut password = self.config.password.take();
        loop {
            let login = Login {
                target: self.config.target.clone(),
                identity: identity.clone(),
                password: password.clone(),
            };
            let receiver = connection::start(login, self.leaving.post.clone())
                .map_err(|error| Stop::Failed(Error::new(error).context(NO_THREAD)))?;
            match self.attempt()? {
                Attempt::In(welcome, connection) => {
                    return self.chat(*welcome, &connection, receiver);
                }
                Attempt::Failed(error) => return Err(Stop::Failed(error)),
                Attempt::Refused(Refusal::Name(reason)) => {
                    self.refused(&reason)?;
                    identity = self.identity(None)?;
                }
                Attempt::Refused(Refusal::NoPassword) => {
                    if !self.is_interactive {
                        return Err(Stop::Failed(anyhow!(
                            "this room has a password: give it with --password, or in CHAT_PASSWORD"
                        )));
                    }
                    password = Some(self.ask_password()?);
                }
                Attempt::Refused(Refusal::WrongPassword) => {
                    self.refused(&"that is not the room's password")?;
                    password = Some(self.ask_password()?);
                }
            }
            // It has ended with its attempt.
            let _ = receiver.join();
        }
    }

    /// Who the user is: what was given, or what they answer, until it can be a name.
    fn identity(&mut self, mut given: Option<String>) -> Result<Identity, Stop> {
        loop {
            let words = match given.take() {
                Some(words) => words,
                None => match self.ask(NAME_QUESTION)? {
                    Some(line) if input::leaves(&line) => return Err(Stop::Leave),
                    Some(line) => line,
                    None if self.is_interactive => return Err(Stop::Leave),
                    None => {
                        return Err(Stop::Failed(anyhow!(
                            "there is no name: give one with -n, or in the first line"
                        )));
                    }
                },
            };
            match Identity::parse(&words) {
                Ok(Identity { name, group }) => {
                    let group = group.or_else(|| self.config.group.clone());
                    return Ok(Identity { name, group });
                }
                Err(error) => self.refused(&error)?,
            }
        }
    }

    fn ask_password(&mut self) -> Result<String, Stop> {
        loop {
            let hidden = os::hide_typing().map_err(|error| {
                Stop::Failed(Error::new(error).context("cannot hide a password that is typed"))
            })?;
            let password = self.ask("password: ")?.ok_or(Stop::Leave)?;
            drop(hidden);
            if !password.trim().is_empty() {
                return Ok(password);
            }
        }
    }

    /// Asks on a terminal, and takes the next line anyway; `None` at the end of input.
    fn ask(&mut self, question: &str) -> Result<Option<String>, Stop> {
        loop {
            if self.is_interactive {
                self.view.ask(question);
            }
            match self.line()? {
                Typed::Line(line) => return Ok(Some(line)),
                Typed::Unsendable(_, error) => self.refused(&error)?,
                Typed::Over => {
                    if self.is_interactive {
                        self.view.end_line();
                    }
                    return Ok(None);
                }
                Typed::Broken(error) => return Err(unreadable(error)),
            }
        }
    }

    fn line(&mut self) -> Result<Typed, Stop> {
        // The input thread ends after this one.
        let _ = self.asks.send(Ask::Line);
        loop {
            match self.next()? {
                Happening::Typed(typed) => return Ok(typed),
                // Nobody is connecting.
                Happening::Attempt(_)
                | Happening::Received(_)
                | Happening::Ended(_)
                | Happening::Leave => {}
            }
        }
    }

    fn attempt(&mut self) -> Result<Attempt, Stop> {
        loop {
            match self.next()? {
                Happening::Attempt(attempt) => return Ok(attempt),
                // Nothing was asked of stdin, and nothing comes before the welcome.
                Happening::Typed(_)
                | Happening::Received(_)
                | Happening::Ended(_)
                | Happening::Leave => {}
            }
        }
    }

    /// On a terminal, one can try again.
    fn refused(&mut self, reason: &impl std::fmt::Display) -> Result<(), Stop> {
        if self.is_interactive {
            self.view.refuse(reason);
            Ok(())
        } else {
            Err(Stop::Failed(anyhow!("{reason}")))
        }
    }

    /// A member's time in the room. When it is over, so are its connection and its receiving thread.
    fn chat(
        &mut self,
        welcome: Welcome,
        connection: &Connection,
        receiver: JoinHandle<()>,
    ) -> Result<(), Stop> {
        self.has_ended = false;
        let result = self
            .converse(welcome, connection)
            .and_then(|()| self.view.flush().map_err(Stop::unshown));
        if !self.has_ended {
            connection.end();
            self.has_ended = self.wait_for_end();
        }
        connection.close();
        if self.has_ended || self.wait_for_end() {
            let _ = receiver.join();
        }
        result
    }

    fn converse(&mut self, welcome: Welcome, connection: &Connection) -> Result<(), Stop> {
        self.view.welcome(welcome).map_err(Stop::unshown)?;
        let _ = self.asks.send(Ask::Chat(connection.clone()));
        let mut input_over = false;
        let mut shut_down = false;
        loop {
            match self.next()? {
                Happening::Received(received) => {
                    shut_down |= is_shutdown(&received);
                    self.view.received(&received).map_err(Stop::unshown)?;
                }
                Happening::Ended(end) => {
                    return match end {
                        End::Closed if input_over => Ok(()),
                        End::Closed | End::Lost(_) if shut_down => Ok(()),
                        End::Closed => Err(Stop::Failed(anyhow!(
                            "the server closed the connection: start chat-client again to come back"
                        ))),
                        End::Lost(error) => Err(Stop::Failed(anyhow!(
                            "the connection is lost ({}): start chat-client again when the server is back",
                            connection::reason(&error)
                        ))),
                        End::Endless => Err(Stop::Failed(anyhow!(
                            "the server sends a line of over 1 MiB: it is no chat-server"
                        ))),
                    };
                }
                Happening::Typed(Typed::Unsendable(_, error)) if self.is_interactive => {
                    self.view.refuse(&error);
                }
                Happening::Typed(Typed::Unsendable(number, error)) => {
                    self.is_all_sent = false;
                    self.view
                        .fail(&format!("line {number} is not sent: {error}"));
                }
                // A pipe waits for all that the server has to say, a user does not.
                Happening::Typed(Typed::Over) if self.is_interactive => return Ok(()),
                Happening::Typed(Typed::Over) => input_over = true,
                Happening::Typed(Typed::Broken(error)) => return Err(unreadable(error)),
                // Nobody asked for a line, or to join.
                Happening::Typed(Typed::Line(_)) | Happening::Attempt(_) | Happening::Leave => {}
            }
        }
    }

    /// The next happening. What is to be shown is on the screen before this waits.
    fn next(&mut self) -> Result<Happening, Stop> {
        let happening = match self.happenings.try_recv() {
            Ok(happening) => happening,
            Err(_) => {
                self.view.flush().map_err(Stop::unshown)?;
                // There is always one who can post: `self.leaving`.
                self.happenings.recv().unwrap_or(Happening::Leave)
            }
        };
        // It comes once, also to one who leaves and looks no further.
        self.has_ended |= matches!(happening, Happening::Ended(_));
        if self.leaving.is_asked() {
            if self.is_interactive {
                self.view.end_line();
            }
            return Err(Stop::Leave);
        }
        Ok(happening)
    }

    /// Waits for the end of the connection, but not for ever; what comes before it is not shown.
    fn wait_for_end(&self) -> bool {
        let deadline = Instant::now() + LEAVE_TIME;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            match self.happenings.recv_timeout(left) {
                Ok(Happening::Ended(_)) => return true,
                Ok(_) => {}
                Err(_) => return false,
            }
        }
    }

    /// Lets the user of a window that closes with its client read why that ends.
    fn keep_window(&mut self) {
        self.view.ask("press Enter to close this window ");
        let _ = self.line();
    }
}

/// A thread that panics would leave the others waiting, and perhaps the terminal hidden.
fn end_on_panic() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        os::show_typing();
        report(panic);
        process::exit(101)
    }));
}

fn unreadable(error: io::Error) -> Stop {
    Stop::Failed(Error::new(error).context("cannot read stdin"))
}

fn is_shutdown(received: &Received) -> bool {
    matches!(
        received,
        Received::Record(
            Record {
                event: Event::Shutdown,
                ..
            },
            false
        )
    )
}
