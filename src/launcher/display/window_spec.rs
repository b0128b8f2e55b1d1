//! The session's description of a client's window, from which a display opens the window.

use std::ffi::OsString;

use crate::launcher::display::emulator::geometry::Place;
use crate::protocol::name::Name;

/// Description of a client's window.
#[derive(Debug)]
pub(crate) struct WindowSpec {
    /// The window's ID. The session never reuses an ID: if a window fails to open, the window that
    /// replaces it gets the same number, but a new ID.
    pub(crate) id: usize,
    /// The window's number in the title, counted from 1.
    pub(crate) number: usize,
    /// The name with which the client logs in. `None` if the client asks the user for a name.
    pub(crate) name: Option<Name>,
    /// The window's place on the screen, if it is known.
    pub(crate) place: Option<Place>,
    /// Whether the text is large, for a projector.
    pub(crate) big: bool,
    /// The client's program and arguments.
    pub(crate) client_command: Vec<OsString>,
    /// Environment variables that the client needs.
    pub(crate) environment: Vec<(&'static str, OsString)>,
}

/// Whether a window with this title is the first client's. The title has the form that
/// [`WindowSpec::title`] returns.
pub(crate) fn is_first(title: &str) -> bool {
    title == "chat 1" || title.starts_with("chat 1 ")
}

impl WindowSpec {
    /// The window's title, such as `chat 1 - ala`. Leaves out a name that is not ASCII, because not
    /// every emulator can show it.
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
