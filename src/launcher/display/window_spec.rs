//! The session's description of a client's window, which a display opens.

use std::ffi::OsString;

use crate::launcher::display::emulator::geometry::Place;
use crate::protocol::name::Name;

/// The description of a client's window.
#[derive(Debug)]
pub(crate) struct WindowSpec {
    /// The window's ID, which the session never reuses: if a window fails to open, the window that
    /// replaces it has the same number but another ID.
    pub(crate) id: usize,
    /// The number in the title, from 1.
    pub(crate) number: usize,
    /// The name that the client logs in with; none if the client asks the user.
    pub(crate) name: Option<Name>,
    /// The place on the screen, if it is known.
    pub(crate) place: Option<Place>,
    /// Whether the text is large, for a projector.
    pub(crate) big: bool,
    /// The client's program and arguments.
    pub(crate) client_command: Vec<OsString>,
    /// Variables that the client needs in its environment.
    pub(crate) environment: Vec<(&'static str, OsString)>,
}

impl WindowSpec {
    /// The title, such as `chat 1 - ala`. A name that is not ASCII is left out, since not every
    /// emulator can show it.
    pub(crate) fn title(&self) -> String {
        match &self.name {
            Some(name) if name.as_str().is_ascii() => format!("chat {} - {name}", self.number),
            Some(_) | None => format!("chat {}", self.number),
        }
    }

    /// The title of a built-in pane, such as `chat 1 · ala`. A pane can show any name.
    pub(crate) fn pane_title(&self) -> String {
        match &self.name {
            Some(name) => format!("chat {} · {name}", self.number),
            None => format!("chat {}", self.number),
        }
    }
}
