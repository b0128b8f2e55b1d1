//! Where the client shows and asks: plain lines on the standard streams, or a window that has the terminal.

pub(crate) mod commands;
pub(crate) mod completion;
pub mod context;
pub mod format;
pub(crate) mod history;
pub(crate) mod plain;
pub mod presence;
pub(crate) mod roster;
pub(crate) mod terminal;
pub(crate) mod tui;

use std::fmt::Display;
use std::io;
use std::sync::mpsc::{Sender, SyncSender};
use std::time::Duration;

use crate::client::net::stdin::{self, Ask};
use crate::client::ui::plain::Plain;
use crate::client::ui::tui::Tui;
use crate::client::{Config, Happening};
use crate::protocol::event::Welcome;
use crate::protocol::json::Received;
use crate::tty::{self, style};

/// The one or the other.
pub(crate) enum Ui {
    /// For pipes, files, and terminals that cannot do more; the other end of the sender is the thread that reads stdin.
    Lines(Box<Plain>, Sender<Ask>),
    /// For a terminal that can move its cursor.
    Tui(Box<Tui>),
}

impl Ui {
    /// Starts the thread that reads what is typed. A terminal that cannot be taken gets plain lines.
    ///
    /// # Errors
    /// No thread is to be had.
    pub(crate) fn open(config: &Config, post: SyncSender<Happening>) -> io::Result<Self> {
        let is_coloured = style::is_coloured(config.color);
        // A window of the session is opened for its client; a pane may have had another one before.
        let is_fresh = config.window.is_some() && !config.in_pane;
        if tty::is_capable()
            && let Ok(window) = Tui::open(is_coloured, config.window, is_fresh)
        {
            terminal::start_keys(post)?;
            return Ok(Self::Tui(Box::new(window)));
        }
        let asks = stdin::start(post)?;
        Ok(Self::Lines(Box::new(Plain::new(config.color)), asks))
    }

    /// Shows that the client is a member now, or is one again.
    ///
    /// # Errors
    /// As [`Ui::rest`].
    pub(crate) fn welcome(&mut self, welcome: &Welcome, is_back: bool) -> io::Result<()> {
        match self {
            Self::Lines(view, _) => view.welcome(welcome.clone()),
            Self::Tui(window) => {
                window.welcome(welcome, is_back);
                Ok(())
            }
        }
    }

    /// Shows what the server sent.
    ///
    /// # Errors
    /// As [`Ui::rest`].
    pub(crate) fn received(&mut self, received: &Received) -> io::Result<()> {
        match self {
            Self::Lines(view, _) => view.received(received),
            Self::Tui(window) => {
                window.received(received);
                Ok(())
            }
        }
    }

    /// Says something about the connection.
    pub(crate) fn notice(&mut self, text: &str) {
        match self {
            Self::Lines(view, _) => view.remark(text),
            Self::Tui(window) => window.notice(text),
        }
    }

    /// Says why something is not done.
    pub(crate) fn refuse(&mut self, reason: &impl Display) {
        match self {
            Self::Lines(view, _) => view.refuse(reason),
            Self::Tui(window) => window.refuse(reason),
        }
    }

    /// Says why the client ends.
    pub(crate) fn fail(&mut self, error: &impl Display) {
        match self {
            Self::Lines(view, _) => view.fail(error),
            Self::Tui(window) => window.fail(error),
        }
    }

    /// What is the case as long as nothing else is said: no connection.
    pub(crate) fn status(&mut self, status: Option<String>) {
        match self {
            // It would be a line each time.
            Self::Lines(..) => {}
            Self::Tui(window) => window.status(status),
        }
    }

    /// Shows what has waited long enough to be shown.
    ///
    /// # Errors
    /// As [`Ui::rest`].
    pub(crate) fn keep_up(&mut self) -> io::Result<()> {
        match self {
            Self::Lines(..) => Ok(()),
            Self::Tui(window) if window.wait().is_some_and(|wait| wait.is_zero()) => window.draw(),
            Self::Tui(_) => Ok(()),
        }
    }

    /// Shows what is to be shown before a rest, which may last as long as is said here.
    ///
    /// # Errors
    /// Stdout takes nothing more: a pipe is closed, a disk is full, the terminal is gone.
    pub(crate) fn rest(&mut self) -> io::Result<Option<Duration>> {
        match self {
            Self::Lines(view, _) => view.flush().map(|()| None),
            Self::Tui(window) => {
                if window.wait().is_some_and(|wait| wait.is_zero()) {
                    window.draw()?;
                }
                Ok(window.wait())
            }
        }
    }
}
