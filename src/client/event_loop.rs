//! The main thread's event loop: waits for events, keeps the screen up to date, and asks questions.

use std::fmt::Display;
use std::io::{self, IsTerminal};
use std::sync::mpsc::{Receiver, SyncSender};
use std::time::{Duration, Instant};

use anyhow::{Error, anyhow};

use crate::client::event::{ClientEvent, LeaveRequest, LoginReply, StdinEvent, Stop};
use crate::client::net::address::Address;
use crate::client::net::stdin::StdinRequest;
use crate::client::ui::Ui;
use crate::client::ui::terminal;
use crate::client::ui::tui::{InputAction, OfflineSubmission};
use crate::control_socket::{ControlConnection, Membership};
use crate::protocol::json::Received;
use crate::protocol::tally::Tally;
use crate::protocol::text::Text;
use crate::tty::editor::Purpose;
use crate::tty::raw_mode::RawMode;

/// How long to wait for the server to close the connection after the user leaves.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// How long to wait until the launcher lets this client log in. The clients of a session log in one
/// after another, and an earlier client may be slow to start.
const TURN_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a login attempt may take before the user is told about it. Most take a few
/// milliseconds.
const NOTICE_DELAY: Duration = Duration::from_secs(1);

pub(crate) struct EventLoop {
    pub(crate) ui: Ui,
    /// Whether stdin is a terminal, so that the user can answer questions.
    pub(crate) is_interactive: bool,
    pub(crate) leave_request: LeaveRequest,
    /// The launcher, if it started this client.
    pub(crate) launcher: Option<ControlConnection>,
    /// Sender for events. Each thread that posts events has a clone.
    pub(crate) post: SyncSender<ClientEvent>,
    events: Receiver<ClientEvent>,
    /// Whether the current connection has ended. Each connection posts
    /// [`ClientEvent::Disconnected`] only once, so the client must not wait for it again.
    pub(crate) is_disconnected: bool,
}

impl EventLoop {
    pub(crate) fn new(
        ui: Ui,
        leave_request: LeaveRequest,
        launcher: Option<ControlConnection>,
        post: SyncSender<ClientEvent>,
        events: Receiver<ClientEvent>,
    ) -> Self {
        Self {
            ui,
            launcher,
            is_interactive: io::stdin().is_terminal(),
            leave_request,
            post,
            events,
            is_disconnected: false,
        }
    }

    /// Tells the launcher, if there is one, whether this client is in the room or is logging in.
    pub(crate) fn report(&self, membership: Membership) {
        if let Some(launcher) = &self.launcher {
            launcher.report(membership);
        }
    }

    /// Tells the launcher, if there is one, this client's name in the room.
    pub(crate) fn report_name(&self, name: &Text) {
        if let Some(launcher) = &self.launcher {
            launcher.report_name(name);
        }
    }

    /// Tells the launcher, if there is one, which events this client has received. Does nothing
    /// without a tally.
    pub(crate) fn report_tally(&self, tally: Option<Tally>) {
        if let (Some(launcher), Some(tally)) = (&self.launcher, tally) {
            launcher.report_tally(&tally);
        }
    }

    /// Returns the next event. If there is none yet, first shows all pending output, then blocks.
    pub(crate) fn next(&mut self) -> Result<ClientEvent, Stop> {
        loop {
            if let Some(event) = self.next_until(None)? {
                return Ok(event);
            }
        }
    }

    /// Returns the next event, or `None` if there is none by `deadline`.
    pub(crate) fn next_until(
        &mut self,
        deadline: Option<Instant>,
    ) -> Result<Option<ClientEvent>, Stop> {
        loop {
            self.ui.draw_if_due().map_err(Stop::cannot_write_stdout)?;
            let Some(event) = self.poll(deadline)? else {
                if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                    return Ok(None);
                }
                continue;
            };
            terminal::count_handled();
            self.is_disconnected |= matches!(event, ClientEvent::Disconnected(_));
            if self.leave_request.is_made() {
                self.end_prompt();
                return Err(Stop::Leave);
            }
            match (event, &mut self.ui) {
                (ClientEvent::Terminal(input), Ui::Tui(tui)) => {
                    match tui.input(input.event).map_err(Stop::cannot_write_stdout)? {
                        InputAction::None => {}
                        InputAction::Enter => return Ok(Some(ClientEvent::Entered)),
                        InputAction::Leave => return Err(Stop::Leave),
                    }
                }
                (ClientEvent::TerminalGone, _) => return Err(Stop::Leave),
                (event, _) => return Ok(Some(event)),
            }
        }
    }

    /// Returns an event that is already in the queue. If there is none, shows all pending output,
    /// then waits until an event arrives, `deadline` has passed, or it is time to draw.
    fn poll(&mut self, deadline: Option<Instant>) -> Result<Option<ClientEvent>, Stop> {
        if let Ok(event) = self.events.try_recv() {
            return Ok(Some(event));
        }
        let draw_in = self.ui.flush().map_err(Stop::cannot_write_stdout)?;
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        // An error can only be a timeout, because `self.post` keeps the channel open.
        Ok(match draw_in.into_iter().chain(left).min() {
            Some(timeout) => self.events.recv_timeout(timeout).ok(),
            None => self.events.recv().ok(),
        })
    }

    /// Waits up to [`CLOSE_TIMEOUT`] for the connection to end. Events from the server that arrive
    /// during the wait are passed to `on_received`, but not shown.
    pub(crate) fn wait_for_disconnect(&mut self, mut on_received: impl FnMut(&Received)) {
        let deadline = Instant::now() + CLOSE_TIMEOUT;
        while !self.is_disconnected {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            match self.events.recv_timeout(left) {
                Ok(ClientEvent::Disconnected(_)) => self.is_disconnected = true,
                Ok(ClientEvent::Received(received)) => on_received(&received),
                Ok(_) => {}
                Err(_) => return,
            }
        }
    }

    /// Waits until the launcher lets this client log in, but no longer than [`TURN_TIMEOUT`].
    pub(crate) fn wait_for_turn(&mut self) -> Result<(), Stop> {
        let deadline = Instant::now() + TURN_TIMEOUT;
        while let Some(event) = self.next_until(Some(deadline))? {
            if let ClientEvent::Turn = event {
                break;
            }
            self.handle_offline(&event)?;
        }
        Ok(())
    }

    /// Waits for the result of an attempt to log in to `server`. If that takes long, tells the user
    /// what the client is waiting for.
    pub(crate) fn login_reply(&mut self, server: &Address) -> Result<LoginReply, Stop> {
        let mut notice_at = Some(Instant::now() + NOTICE_DELAY);
        loop {
            match self.next_until(notice_at)? {
                Some(ClientEvent::Login(reply)) => return Ok(reply),
                Some(event) => {
                    self.handle_offline(&event)?;
                }
                None => {
                    notice_at = None;
                    let notice = format!("connecting to {server} …");
                    match &mut self.ui {
                        Ui::Plain(plain, stdin) if self.is_interactive => {
                            plain.show_notice(&notice);
                            stdin.request(StdinRequest::ReadAhead);
                        }
                        Ui::Plain(..) => {}
                        Ui::Tui(tui) => tui.set_status(Some(notice)),
                    }
                }
            }
        }
    }

    /// Waits for `time` while there is no connection, and handles the lines that the user enters
    /// meanwhile. If the user enters an empty line, which asks the client to connect now, returns
    /// true at once. Otherwise, returns false after `time`.
    pub(crate) fn pause(&mut self, time: Duration) -> Result<bool, Stop> {
        let deadline = Instant::now() + time;
        if let Ui::Plain(_, stdin) = &self.ui {
            stdin.request(StdinRequest::ReadAhead);
        }
        while let Some(event) = self.next_until(Some(deadline))? {
            if self.handle_offline(&event)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Handles an event while there is no connection. Only the user's input matters: all other
    /// events are left over from the lost connection, and are ignored. Returns true if the user
    /// entered an empty line, which asks the client to connect now.
    fn handle_offline(&mut self, event: &ClientEvent) -> Result<bool, Stop> {
        match (event, &mut self.ui) {
            (ClientEvent::Entered, Ui::Tui(tui)) => match tui.submit_offline() {
                OfflineSubmission::None => Ok(false),
                OfflineSubmission::Empty => Ok(true),
                OfflineSubmission::Leave => Err(Stop::Leave),
            },
            (ClientEvent::Stdin(StdinEvent::Over), Ui::Plain(..)) => Err(Stop::Leave),
            (ClientEvent::Stdin(StdinEvent::Unsendable(_, error)), Ui::Plain(plain, _)) => {
                plain.show_error(error);
                Ok(false)
            }
            (_, _) => Ok(false),
        }
    }

    /// Asks the user a question and returns the answer, or `None` at the end of the input. If stdin
    /// is not a terminal, shows no question and only reads the next line.
    pub(crate) fn ask(&mut self, question: &str, purpose: Purpose) -> Result<Option<String>, Stop> {
        self.ui.set_status(None);
        if let Ui::Tui(tui) = &mut self.ui {
            tui.ask(question, purpose);
            return self.answer().map(Some);
        }
        loop {
            let _hidden = match purpose {
                Purpose::Password => Some(RawMode::hide_typing().map_err(|error| {
                    Stop::Failed(Error::new(error).context("cannot hide the typed password"))
                })?),
                Purpose::Chat | Purpose::Answer | Purpose::Command => None,
            };
            if let (Ui::Plain(plain, _), true) = (&mut self.ui, self.is_interactive) {
                plain.prompt(question);
            }
            match self.read_line()? {
                StdinEvent::Line(line) => return Ok(Some(line)),
                StdinEvent::Unsendable(_, error) => self.reject(&error)?,
                StdinEvent::Over => {
                    self.end_prompt();
                    return Ok(None);
                }
                StdinEvent::Failed(error) => return Err(Stop::cannot_read_stdin(error)),
            }
        }
    }

    fn answer(&mut self) -> Result<String, Stop> {
        loop {
            let event = self.next()?;
            if let (ClientEvent::Entered, Ui::Tui(tui)) = (event, &mut self.ui) {
                return Ok(tui.take_answer());
            }
        }
    }

    fn read_line(&mut self) -> Result<StdinEvent, Stop> {
        if let Ui::Plain(_, stdin) = &self.ui {
            stdin.request(StdinRequest::ReadLine);
        }
        loop {
            if let ClientEvent::Stdin(event) = self.next()? {
                return Ok(event);
            }
        }
    }

    /// Begins a new line after the prompt, because the terminal may have echoed `^C` or the like
    /// without a line ending.
    fn end_prompt(&mut self) {
        if let (Ui::Plain(plain, _), true) = (&mut self.ui, self.is_interactive) {
            plain.end_prompt();
        }
    }

    /// Shows why an answer is rejected. Fails if stdin is not a terminal, because the user cannot
    /// give another answer then.
    pub(crate) fn reject(&mut self, reason: &impl Display) -> Result<(), Stop> {
        if self.is_interactive {
            self.ui.show_error(reason);
            Ok(())
        } else {
            Err(Stop::Failed(anyhow!("{reason}")))
        }
    }

    /// Waits until the user has read why the client is exiting. Without this wait, the reason would
    /// disappear with the window, which closes when the client exits.
    pub(crate) fn keep_window_open(&mut self) {
        let question = "press Enter to close this window ";
        match &mut self.ui {
            Ui::Tui(_) => {
                let _ = self.ask(question, Purpose::Answer);
            }
            Ui::Plain(plain, _) => {
                plain.prompt(question);
                let _ = self.read_line();
            }
        }
    }
}
