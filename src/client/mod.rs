//! The terminal client: joins a room, sends what the user types, and shows what others say.
//!
//! ```text
//!   keys ─── ahead ───► main ───► send ────────────► socket   terminal UI
//!                        │ ▲
//!   stdout ◄─────────────┘ └───── receive ◄───────── socket
//!
//!   stdin ─── input ────────────────────────────────► socket   plain UI, as for a pipe
//!               │ events
//!               ▼
//!   stdout ◄── main ◄── receive ◄──────────────────── socket
//! ```
//!
//! The main thread makes all decisions, and only it writes to the screen. `keys` reads the terminal
//! and hands each event to `ahead`, which waits if the main thread is blocked, so `keys` still
//! notices Ctrl+C. `receive` connects, logs in, and posts what the server sends. A server that
//! reads slowly blocks only `send` or `input`.
//!
//! All events for the main thread, also from signals and from the launcher, wait in one bounded
//! queue. If the terminal accepts no output, the queue fills up, and then the client reads no more
//! from the server.
//!
//! Each file imports only from files in its own row of this table and in the rows below. A `mod.rs`
//! also imports from its own folder.
//!
//! | files | task |
//! |---|---|
//! | `mod.rs` | start, exit, the loop over connections |
//! | `session/` | login, chat, draining, reconnecting |
//! | `event_loop.rs` | waiting for events, asking questions |
//! | `ui/` | `format.rs` turns events into lines, `plain.rs` and `tui.rs` show them |
//! | `net/stdin.rs`, `net/send_queue.rs`, `net/receive.rs` | the threads that read and write |
//! | `event.rs`, `config.rs` | events for the main thread; the options |
//! | `identity.rs` | this client's member ID and name |
//! | `net/in_flight.rs` | messages in flight |
//! | `net/connection.rs`, `net/address.rs`, `ui/terminal.rs` | the socket, addresses, keys |

mod config;
mod event;
mod event_loop;
mod identity;
mod net;
mod session;
pub mod ui;

use std::process::{self, ExitCode};
use std::sync::mpsc;
use std::time::Instant;

use anyhow::{Context, Error};

pub use crate::client::config::Config;
use crate::client::event::{ClientEvent, LeaveRequest, Lost, Stop};
use crate::client::event_loop::EventLoop;
pub use crate::client::net::address::Address;
use crate::client::session::chat::ChatSession;
use crate::client::session::drain;
use crate::client::session::login::{Joined, LoginDialog};
use crate::client::session::reconnect;
use crate::client::session::room::RoomState;
use crate::client::ui::Ui;
use crate::client::ui::plain::Plain;
use crate::control_socket::{ControlConnection, Membership};
use crate::os;
use crate::tty::{self, raw_mode};

/// Limit on the events that are queued for the main thread. The limit is low because an event may
/// contain a line of maximum length.
const MAX_WAITING: usize = 16;

/// Runs a client until its user leaves or its room is gone. Reports failures to the user.
///
/// Call this once per process, from the main thread and before other threads start, because it sets
/// the process's signal handlers.
pub fn run(config: Config) -> ExitCode {
    let color = config.color;
    match Client::start(config) {
        Ok(client) => client.run(),
        Err(error) => {
            Plain::new(color).show_failure(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

struct Client {
    config: Config,
    events: EventLoop,
    room: RoomState,
}

impl Client {
    fn start(config: Config) -> Result<Self, Error> {
        // Exit when any thread panics. Otherwise, the other threads would wait for the panicked
        // thread forever.
        raw_mode::restore_on_panic(|| process::exit(101));
        let (post, events) = mpsc::sync_channel(MAX_WAITING);
        let leave_request = LeaveRequest::new(post.clone());
        // Open the control connection first, because the launcher waits until this client connects.
        let launcher = match &config.control_socket {
            None => None,
            Some(name) => {
                // Unblock SIGHUP even if the launcher runs under `nohup`, so that closing a window
                // ends its client. No other thread exists yet, so every later thread inherits the
                // setting.
                os::allow_hangup();
                let (request, turn) = (leave_request.clone(), post.clone());
                // If the event queue is full, the permission to log in is lost, and the client logs
                // in after a timeout instead.
                let on_turn = move || drop(turn.try_send(ClientEvent::Turn));
                let control = ControlConnection::open(name, on_turn, move || request.make());
                Some(control.context("the session that this client belongs to is over")?)
            }
        };
        let request = leave_request.clone();
        ctrlc::set_handler(move || request.make()).context("cannot handle signals")?;
        let request = leave_request.clone();
        tty::watch_owner(move || request.make()).context(os::NO_THREAD)?;
        let ui = Ui::open(&config, post.clone()).context(os::NO_THREAD)?;
        Ok(Self {
            events: EventLoop::new(ui, leave_request, launcher, post, events),
            room: RoomState::default(),
            config,
        })
    }

    fn run(mut self) -> ExitCode {
        let mut result = self.join_and_chat();
        self.events.report_tally(self.room.end_tally());
        let waiting = self.events.ui.waiting();
        if let Ok(()) | Err(Stop::Leave) = result {
            result = drain::check_sent(waiting, self.room.unacked.len()).and(result);
        } else if waiting > 0 {
            self.events.ui.show_error(&drain::not_sent(waiting));
        }
        match result {
            Ok(()) | Err(Stop::Leave | Stop::ShutDown) if self.room.has_unsent => ExitCode::FAILURE,
            Ok(()) | Err(Stop::Leave | Stop::ShutDown) => ExitCode::SUCCESS,
            // Show only the reason, without the advice to start the client again: the pane itself
            // shows how to do so.
            Err(Stop::Lost(lost)) if self.config.in_pane => self.fail(&lost.reason),
            // Show nothing more: the server's message that it kicked the user is already on the
            // screen.
            Err(Stop::Kicked(_)) if self.config.in_pane => ExitCode::FAILURE,
            Err(Stop::Lost(lost) | Stop::Kicked(lost)) => {
                self.fail(&format!("{}: {}", lost.reason, lost.advice))
            }
            Err(Stop::Failed(error)) => self.fail(&format!("{error:#}")),
        }
    }

    fn fail(&mut self, error: &str) -> ExitCode {
        self.events.ui.show_failure(&error);
        if self.events.launcher.is_some() && !self.config.in_pane {
            self.events.keep_window_open();
        }
        ExitCode::FAILURE
    }

    fn join_and_chat(&mut self) -> Result<(), Stop> {
        let has_turn = self.events.launcher.is_some() && self.config.name.is_some();
        let mut login = LoginDialog::start(&mut self.config, &mut self.events)?;
        if has_turn {
            // Clients whose names the launcher sets join in the order of their windows: the
            // launcher tells each of them when to log in.
            self.events.wait_for_turn()?;
        }
        let joined = login.log_in(&mut self.events, None)?;
        let joined = joined.map_err(Stop::Failed)?;
        login.remember_name(&self.events, self.config.window);
        self.chat(joined, &mut login)
    }

    /// Chats until the user leaves or the room is gone. Reconnects whenever the connection is lost.
    fn chat(&mut self, mut joined: Joined, login: &mut LoginDialog) -> Result<(), Stop> {
        let reconnects = self.events.is_interactive && self.config.reconnects;
        let mut pause = reconnect::MIN_PAUSE;
        loop {
            let joined_at = Instant::now();
            let lost = match self.chat_once(joined) {
                Err(Stop::Lost(Lost { reason, .. })) if reconnects => reason,
                Err(Stop::ShutDown) if reconnects => "the server has shut down".into(),
                result => return result,
            };
            // Make the next pause the shortest one again only if the connection brought an event or
            // lasted at least [`reconnect::MIN_PAUSE`]. Otherwise, the client would reconnect every
            // second to a server that accepts each login and then closes the connection.
            if self.room.has_news() || joined_at.elapsed() >= reconnect::MIN_PAUSE {
                pause = reconnect::MIN_PAUSE;
            }
            self.events.report(Membership::Out);
            let hint = match self.events.ui {
                Ui::Tui(_) => "Enter tries now",
                Ui::Plain(..) => "what you enter is sent once connected",
            };
            let notice = format!("{lost}: trying again, Ctrl+C gives up, {hint}");
            self.events.ui.show_error(&notice);
            login.request.resume = self.room.resume_point();
            joined = reconnect::reconnect(&mut self.events, login, &mut pause)?;
        }
    }

    /// Chats over one connection.
    fn chat_once(&mut self, joined: Joined) -> Result<(), Stop> {
        let answer_time = self.config.answer_time;
        let mut session =
            ChatSession::enter(joined, &mut self.events, &mut self.room, answer_time)?;
        let result = session.chat();
        if let Err(Stop::Leave) = result {
            // Report now: if the window was closed, a second signal may end the process soon.
            session.report_tally();
        }
        session.finish_sending();
        let leaves = matches!(result, Ok(()) | Err(Stop::Leave));
        if !leaves || drain::drain(&mut session).is_continue() {
            session.wait_for_disconnect();
        }
        session.close();
        result
    }
}
