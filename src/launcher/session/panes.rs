//! The panes of a session: on our terminal, and gone from it.

use anyhow::{Context, Result};

use crate::launcher::display::panes::{Happening, Look, Panes};
use crate::launcher::locale;
use crate::launcher::session::{Event, Opener, Session};
use crate::tty::style;

impl Session<'_> {
    /// Puts panes on our terminal, with all that we show in one of them.
    pub(crate) fn take_terminal(&mut self) -> Result<Panes> {
        // It would read what is typed for the panes.
        let said = self.console.take().is_some();
        let look = Look {
            coloured: style::is_coloured(self.config.room.color),
            unicode: locale::asks_for_utf8(),
        };
        let sender = self.sender.clone();
        let panes = Panes::start(look, self.config.clients, move |happening| {
            // Nobody listens any more once the session is over.
            let _ = sender.send(match happening {
                Happening::Interrupt => Event::Interrupt,
                Happening::InputQueue(line) => Event::InputQueue(line),
                Happening::Again(window) => Event::Again(window),
                Happening::Failed => Event::PanesFailed,
            });
        })
        .context("cannot show panes on this terminal")?;
        self.output.move_to_pane(panes.log());
        if said {
            // It was on the terminal, and is covered now.
            self.say_how_to_join();
        }
        if let Some(address) = self.address {
            panes.set_server(address, self.online);
        }
        Ok(panes)
    }

    /// Gives our terminal back, if panes were on it.
    pub(crate) fn leave_panes(&mut self) {
        if let Some(Opener::Panes(_)) = self.opener {
            self.opener = None;
            self.output.move_to_terminal();
        }
    }

    /// Starts a client again that has left its pane.
    pub(crate) fn start_again(&mut self, id: usize) {
        let window = self.windows.iter().position(|window| window.id == id);
        if let Some(index) = window
            && !self.stopping
            && self.windows[index].shower.is_none()
        {
            // The event that the old client exited may come later.
            self.windows[index].client = None;
            self.start_emulator(index);
        }
    }
}
