//! The terminal client: joins a room, sends what is typed, and shows what is said there.
//!
//! ```text
//!   keys ─── ahead ───► main ───► send ────────────► socket       on a terminal
//!                        │ ▲
//!   stdout ◄─────────────┘ └───── receive ◄───────── socket
//!
//!   stdin ─── input ────────────────────────────────► socket       in a pipe, or on a terminal that can do no more
//!               │ what is to be told of it
//!               ▼
//!   stdout ◄── main ◄── receive ◄──────────────────── socket
//! ```
//!
//! The main thread decides and shows; nobody else writes to the screen. `receive` connects, logs in, and brings what the server
//! sends. A server that slows this client down holds up one thread alone: `send`, or `input`, which reads stdin where it is asked to, and
//! in a chat sends what it reads itself. What is posted to the main thread, by these, by signals and by the launcher's lifeline, waits in a
//! queue with a limit, so that a terminal that takes nothing holds back the server.
//!
//! What there is to see: `formatter.rs` says which lines there are, `line.rs` how one becomes rows, `screen.rs` where they go, `recent.rs` which
//! of them are there, `editor.rs` what a key does to the line that is being typed; `window.rs` has them all. Where there is no such terminal, `view.rs` writes lines.

mod net;
mod session;
pub mod ui;

use std::ffi::OsString;
use std::io::{self, IsTerminal};
use std::process::{self, ExitCode};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread::{self, Builder};
use std::time::{Duration, Instant};

use anyhow::{Context, Error};

use crate::cli::{ClientArgs, Color};
pub use crate::client::net::address::Address;
use crate::client::net::connection::{Attempt, End, Login};
use crate::client::net::stdin::Typed;
use crate::client::session::drain;
use crate::client::session::login::Joined;
use crate::client::session::reconnect::Room;
use crate::client::ui::Ui;
use crate::client::ui::plain::Plain;
use crate::client::ui::terminal;
use crate::client::ui::tui::Wanted;
use crate::control_socket::{self, Lifeline};
use crate::net::GIVEN_UP_AFTER;
use crate::os;
use crate::protocol::json::Received;
use crate::protocol::name::Group;
use crate::tty::raw_mode;

/// Happenings that may wait for the main thread. Few, since a hostile server makes each as large as a line may be.
const MAX_WAITING: usize = 16;

/// Time after which a client that was told to leave, by a signal or by Ctrl+C, ends without more ado: its terminal takes nothing.
const PATIENCE: Duration = Duration::from_millis(1500);

/// What a client is to be like.
#[derive(Debug)]
pub struct Config {
    /// The server.
    pub target: Address,
    /// `NAME` or `NAME GROUP`, instead of asking.
    pub name: Option<String>,
    /// The group of a name that comes without one.
    pub group: Option<Group>,
    /// The room's password. Without control characters, which would end its line.
    pub password: Option<String>,
    /// When to use colours.
    pub color: Color,
    /// Whether a lost server is looked for again.
    pub reconnects: bool,
    /// Name of the launcher's socket.
    pub lifeline: Option<OsString>,
    /// The number of the launcher's window, for the title.
    pub window: Option<usize>,
    /// It is shown in a launcher's pane, which stays when the client has ended.
    pub in_pane: bool,
    /// Time that the server has to answer what was said.
    pub answer_time: Duration,
}

impl TryFrom<ClientArgs> for Config {
    type Error = String;

    fn try_from(args: ClientArgs) -> Result<Self, String> {
        let target = Address::parse(args.host.as_deref(), args.lone_port, args.port)?;
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
            reconnects: !args.no_reconnect,
            lifeline: args.lifeline.filter(|name| !name.is_empty()),
            window: args.window,
            in_pane: args.in_pane,
            answer_time: args
                .answer_time
                .map_or(GIVEN_UP_AFTER, Duration::from_millis),
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
            Plain::new(color).fail(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// What the main thread waits for.
pub(crate) enum Happening {
    /// Something came from stdin.
    Typed(Typed),
    /// Something came from the terminal of a window.
    Terminal(terminal::Input),
    /// The user of a window has entered a line.
    Entered,
    /// Nothing more comes from the terminal.
    NoKeys,
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
    /// The connection is over, and another one may be had.
    Lost(Lost),
    /// The operator has put the user out, who alone is to decide whether to come back.
    Kicked(Lost),
    /// The server has said that it ends, and has.
    ShutDown,
    /// It cannot.
    Failed(Error),
}

/// How a connection was lost.
struct Lost {
    what: String,
    /// What to try.
    advice: &'static str,
}

impl Stop {
    fn unreadable(error: io::Error) -> Self {
        Self::Failed(Error::new(error).context("cannot read stdin"))
    }

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
    raw_mode::exit(0)
}

/// The main thread's.
struct Client {
    config: Config,
    is_interactive: bool,
    ui: Ui,
    happenings: Receiver<Happening>,
    leaving: Leaving,
    lifeline: Option<Lifeline>,
    /// Nothing that came through a pipe was left out.
    is_all_sent: bool,
    has_asked_name: bool,
    /// The receiving thread has said that the connection is over.
    has_ended: bool,
}

impl Client {
    fn start(config: Config) -> Result<Self, Error> {
        // A thread that panics would leave the others waiting.
        raw_mode::restore_on_panic(|| process::exit(101));
        let (post, happenings) = mpsc::sync_channel(MAX_WAITING);
        let leaving = Leaving {
            asked: Arc::default(),
            post: post.clone(),
        };
        // Before anything that takes time, and before there is another thread.
        let lifeline = match &config.lifeline {
            None => None,
            Some(name) => {
                // The window is not what `nohup` was meant for: its end must reach the client.
                os::allow_hangup();
                let leaving = leaving.clone();
                let lifeline = control_socket::hold(name, move || leaving.ask());
                Some(lifeline.context("the session that this client belongs to is over")?)
            }
        };
        let signalled = leaving.clone();
        ctrlc::set_handler(move || signalled.ask()).context("cannot handle signals")?;
        Ok(Self {
            is_interactive: io::stdin().is_terminal(),
            ui: Ui::open(&config, post).context(os::NO_THREAD)?,
            config,
            happenings,
            leaving,
            lifeline,
            is_all_sent: true,
            has_asked_name: false,
            has_ended: false,
        })
    }

    fn run(mut self) -> ExitCode {
        match self.join_and_chat() {
            Ok(()) | Err(Stop::Leave | Stop::ShutDown) if self.is_all_sent => ExitCode::SUCCESS,
            Ok(()) | Err(Stop::Leave | Stop::ShutDown) => ExitCode::FAILURE,
            // A pane says itself how to start it again.
            Err(Stop::Lost(lost) | Stop::Kicked(lost)) if self.config.in_pane => {
                self.fail(&lost.what)
            }
            Err(Stop::Lost(lost) | Stop::Kicked(lost)) => {
                self.fail(&format!("{}: {}", lost.what, lost.advice))
            }
            Err(Stop::Failed(error)) => self.fail(&format!("{error:#}")),
        }
    }

    fn fail(&mut self, error: &str) -> ExitCode {
        self.ui.fail(&error);
        if self.lifeline.is_some() && !self.config.in_pane {
            self.keep_window();
        }
        ExitCode::FAILURE
    }

    /// From the name to the end.
    fn join_and_chat(&mut self) -> Result<(), Stop> {
        let name = self.config.name.take();
        let mut login = self.first_login(name)?;
        let joined = self.join(&mut login)?;
        self.keep_name(&login);
        let mut room = Room::default();
        let over = self.chat(joined, &mut login, &mut room);
        match over {
            Ok(()) | Err(Stop::Leave) => drain::check_arrived(&room.unacked).and(over),
            Err(Stop::Lost(_) | Stop::Kicked(_) | Stop::ShutDown | Stop::Failed(_)) => over,
        }
    }

    /// From the welcome to the end, over all connections.
    fn chat(&mut self, mut joined: Joined, login: &mut Login, room: &mut Room) -> Result<(), Stop> {
        let reconnects = self.is_interactive && self.config.reconnects;
        loop {
            let lost = match self.stay(joined, room) {
                Err(Stop::Lost(Lost { what, .. })) if reconnects => what,
                Err(Stop::ShutDown) if reconnects => "the server has shut down".into(),
                over => return over,
            };
            joined = self.come_back(&lost, login, room)?;
        }
    }

    /// The next happening. What is to be shown is on the screen before this waits.
    fn next(&mut self) -> Result<Happening, Stop> {
        loop {
            if let Some(happening) = self.next_until(None)? {
                return Ok(happening);
            }
        }
    }

    /// The next happening; `None` where there is none until `deadline`.
    fn next_until(&mut self, deadline: Option<Instant>) -> Result<Option<Happening>, Stop> {
        loop {
            self.ui.keep_up().map_err(Stop::unshown)?;
            let happening = match self.happenings.try_recv() {
                Ok(happening) => happening,
                Err(_) => {
                    let rest = self.ui.rest().map_err(Stop::unshown)?;
                    let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
                    if left.is_some_and(|left| left.is_zero()) {
                        return Ok(None);
                    }
                    let wait = rest.into_iter().chain(left).min();
                    // There is always one who can post, `self.leaving`, so an error is a timeout.
                    let next = match wait {
                        Some(wait) => self.happenings.recv_timeout(wait).ok(),
                        None => self.happenings.recv().ok(),
                    };
                    let Some(happening) = next else {
                        continue;
                    };
                    happening
                }
            };
            terminal::count_handled();
            // It comes once, also to one who leaves and looks no further.
            self.has_ended |= matches!(happening, Happening::Ended(_));
            if self.leaving.is_asked() {
                if let (Ui::Lines(view, _), true) = (&mut self.ui, self.is_interactive) {
                    view.end_line();
                }
                return Err(Stop::Leave);
            }
            match (happening, &mut self.ui) {
                (Happening::Terminal(input), Ui::Tui(window)) => {
                    match window.input(input.event).map_err(Stop::unshown)? {
                        Wanted::Nothing => {}
                        Wanted::Entered => return Ok(Some(Happening::Entered)),
                        Wanted::Leave => return Err(Stop::Leave),
                    }
                }
                // The terminal is gone, and nobody is there any more.
                (Happening::NoKeys, _) => return Err(Stop::Leave),
                (happening, _) => return Ok(Some(happening)),
            }
        }
    }
}
