//! The user interface: plain lines on the standard streams, or the terminal UI, which prints lines
//! above an input line at the bottom.

pub(crate) mod commands;
pub(crate) mod completion;
pub mod format;
pub(crate) mod history;
pub(crate) mod plain;
pub mod presence;
pub(crate) mod roster;
pub(crate) mod terminal;
pub(crate) mod tui;

use std::fmt::Display;
use std::io;
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use crate::client::config::Config;
use crate::client::event::ClientEvent;
use crate::client::net::stdin::{StdinRequest, StdinThread};
use crate::client::ui::plain::Plain;
use crate::client::ui::tui::Tui;
use crate::protocol::event::Welcome;
use crate::protocol::json::Received;
use crate::tty::input::{BACKGROUND_QUERY, Keyboard};
use crate::tty::{self, style};

pub(crate) enum Ui {
    /// The plain UI, for pipes, files, and terminals that cannot move their cursor.
    Plain(Box<Plain>, StdinThread),
    Tui(Box<Tui>),
}

impl Ui {
    /// Opens the terminal UI, or the plain UI if there is no terminal or the terminal cannot be
    /// switched to raw mode. Starts the threads that read the user's input.
    ///
    /// # Errors
    /// A thread cannot be started.
    pub(crate) fn open(config: &Config, post: SyncSender<ClientEvent>) -> io::Result<Self> {
        let is_colored = style::is_colored(config.color);
        // Only a window that the launcher opened for this client is sure to be empty. A pane is
        // not, because it may have shown another client before.
        let is_fresh = config.window.is_some() && !config.in_pane;
        if tty::is_capable()
            && let Ok(mut tui) = Tui::open(is_colored, config.window, is_fresh)
        {
            let mut keyboard = Keyboard::open()?;
            if is_colored {
                let ask = || keyboard.ask_background(BACKGROUND_QUERY).ok().flatten();
                tui.formatter.names.fit_terminal(ask);
            }
            terminal::start_keys(keyboard, post, ClientEvent::Terminal, || {
                ClientEvent::TerminalGone
            })?;
            return Ok(Self::Tui(Box::new(tui)));
        }
        let stdin = StdinThread::start(post)?;
        Ok(Self::Plain(Box::new(Plain::new(config.color)), stdin))
    }

    /// Shows that the client has joined. `last_shown` is `Some` if the client has rejoined: it is
    /// the number of the last event shown.
    ///
    /// # Errors
    /// Stdout cannot be written to.
    pub(crate) fn welcome(&mut self, welcome: &Welcome, last_shown: Option<u64>) -> io::Result<()> {
        match self {
            Self::Plain(plain, _) => plain.welcome(welcome, last_shown),
            Self::Tui(tui) => {
                tui.welcome(welcome, last_shown);
                Ok(())
            }
        }
    }

    /// Whether all events from before the welcome have been shown.
    pub(crate) fn has_caught_up(&self) -> bool {
        match self {
            Self::Plain(plain, _) => plain.formatter.has_caught_up(),
            Self::Tui(tui) => tui.formatter.has_caught_up(),
        }
    }

    /// The number of lines that wait for a connection.
    pub(crate) fn waiting(&self) -> usize {
        match self {
            Self::Plain(_, stdin) => stdin.waiting(),
            Self::Tui(tui) => tui.waiting(),
        }
    }

    /// Drops the lines that wait for a connection, and tells the user. In the terminal UI, they
    /// remain in the history of typed lines.
    pub(crate) fn drop_waiting(&mut self) {
        let count = match self {
            Self::Plain(_, stdin) => {
                let count = stdin.waiting();
                stdin.request(StdinRequest::DropWaiting);
                count
            }
            Self::Tui(tui) => tui.take_waiting().len(),
        };
        let lines = match count {
            0 => return,
            1 => "the line above was".into(),
            lines => format!("the {lines} lines above were"),
        };
        self.show_error(&format!(
            "{lines} not sent: the login needs an answer first"
        ));
    }

    /// Shows an event or answer from the server.
    ///
    /// # Errors
    /// Stdout cannot be written to.
    pub(crate) fn received(&mut self, received: &Received) -> io::Result<()> {
        match self {
            Self::Plain(plain, _) => plain.received(received),
            Self::Tui(tui) => {
                tui.received(received);
                Ok(())
            }
        }
    }

    /// Shows a notice from the client.
    pub(crate) fn show_notice(&mut self, text: &str) {
        match self {
            Self::Plain(plain, _) => plain.show_notice(text),
            Self::Tui(tui) => tui.show_notice(text),
        }
    }

    /// Shows why a request failed.
    pub(crate) fn show_error(&mut self, reason: &impl Display) {
        match self {
            Self::Plain(plain, _) => plain.show_error(reason),
            Self::Tui(tui) => tui.show_error(reason),
        }
    }

    /// Shows an error that ends the client or loses input.
    pub(crate) fn show_failure(&mut self, error: &impl Display) {
        match self {
            Self::Plain(plain, _) => plain.show_failure(error),
            Self::Tui(tui) => tui.show_failure(error),
        }
    }

    /// Sets the status line of the terminal UI. The plain UI has none.
    pub(crate) fn set_status(&mut self, status: Option<String>) {
        match self {
            Self::Plain(..) => {}
            Self::Tui(tui) => tui.set_status(status),
        }
    }

    /// Draws the terminal UI, if a drawing is due.
    ///
    /// # Errors
    /// The terminal is gone.
    pub(crate) fn draw_if_due(&mut self) -> io::Result<()> {
        match self {
            Self::Tui(tui) if tui.draw_in().is_some_and(|delay| delay.is_zero()) => tui.draw(),
            Self::Plain(..) | Self::Tui(_) => Ok(()),
        }
    }

    /// Shows all output that is due. Called before the main thread blocks. Returns how long the
    /// thread may block before the next drawing is due; `None` if no drawing is due.
    ///
    /// # Errors
    /// Stdout cannot be written to: a pipe is closed, a disk is full, the terminal is gone.
    pub(crate) fn flush(&mut self) -> io::Result<Option<Duration>> {
        self.draw_if_due()?;
        match self {
            Self::Plain(plain, _) => plain.flush().map(|()| None),
            Self::Tui(tui) => Ok(tui.draw_in()),
        }
    }
}
