//! The built-in panes of a session: takes over the terminal for them, and restarts their clients.

use anyhow::{Context, Result};

use crate::launcher::console::ConsoleEvent;
use crate::launcher::display::Display;
use crate::launcher::display::panes::{Panes, PanesEvent, TerminalFeatures};
use crate::launcher::locale;
use crate::launcher::session::{Session, SessionEvent};
use crate::tty::style;

impl Session<'_> {
    /// Takes over the terminal for panes, and moves the output into the server's pane.
    pub(crate) fn take_terminal(&mut self) -> Result<Panes> {
        // Stop the console, which would read keys that are meant for the panes.
        let had_console = self.console.take().is_some();
        let features = TerminalFeatures {
            has_color: style::is_colored(self.config.room.color),
            has_unicode: locale::asks_for_utf8(),
        };
        let sender = self.sender.clone();
        let (clients, names) = (self.config.clients, self.names.clone());
        let panes = Panes::start(features, clients, names, move |event| {
            // Ignore an error: the receiver is gone once the session is over.
            let _ = sender.send(match event {
                PanesEvent::Interrupt => SessionEvent::Interrupt,
                PanesEvent::ConsoleLine(line) => SessionEvent::Console(ConsoleEvent::Line(line)),
                PanesEvent::Restart(window) => SessionEvent::Restart(window),
                PanesEvent::ToggleFreeze(window) => SessionEvent::ToggleFreeze(window),
                PanesEvent::WatchLive(is_watched) => SessionEvent::WatchLive(is_watched),
                PanesEvent::Failed => SessionEvent::PanesFailed,
            });
        })
        .context("cannot show panes on this terminal")?;
        self.output.move_to_pane(panes.log());
        if had_console {
            // Show again how to join, because the panes cover the hint that was shown earlier.
            self.say_how_to_join();
        }
        if let Some(address) = self.address {
            panes.set_server(address, self.online, self.others());
        }
        if self.config.live {
            panes.show_live_view();
            self.watch_live(true);
        }
        Ok(panes)
    }

    /// Tells the panes the number of members online, and how many of them are not clients of this
    /// session.
    pub(crate) fn update_panes(&self) {
        if let (Some(Display::Panes(panes)), Some(address)) = (&self.display, self.address) {
            panes.set_server(address, self.online, self.others());
        }
    }

    /// The number of members who are not clients of this session. If there are any, the panes ask
    /// the user before Ctrl+C ends the session. Returns 0 once the session is ending, so that a
    /// further Ctrl+C takes effect without a question.
    fn others(&self) -> usize {
        if self.is_stopping() {
            return 0;
        }
        let own = self.windows.iter().filter(|window| window.may_be_member());
        self.online.saturating_sub(own.count())
    }

    /// Restores the terminal if panes are drawn on it.
    pub(crate) fn leave_panes(&mut self) {
        if let Some(Display::Panes(_)) = self.display {
            self.display = None;
            self.output.move_to_terminal();
        }
    }

    /// Restarts the client in the pane of the window with this ID. The previous client must have
    /// ended.
    pub(crate) fn restart_client(&mut self, id: usize) {
        let window = self.windows.iter().position(|window| window.spec.id == id);
        if let Some(index) = window
            && !self.is_stopping()
            && self.windows[index].process.is_none()
        {
            // Forget the previous client here. Its event `ControlEvent::Exited` may arrive only
            // after the new client has connected, and a client is refused while the window has
            // another one.
            self.windows[index].client = None;
            self.windows[index].frozen = None;
            self.windows[index].is_member = false;
            self.start_window(index);
            self.mark_frozen_panes();
        }
    }
}
