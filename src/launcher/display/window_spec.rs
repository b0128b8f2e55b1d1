//! A client's window, as the session asks for it.

use std::ffi::OsString;

use crate::launcher::display::emulator::geometry::Place;
use crate::protocol::name::Name;

/// A client's window.
#[derive(Debug)]
pub(crate) struct WindowSpec {
    /// The window's ID. A session never uses one twice, so a window that replaces one that failed
    /// to open has another ID with the same number.
    pub(crate) id: usize,
    /// The number in the title, from 1.
    pub(crate) number: usize,
    /// The name that the client logs in with, unless it asks.
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
    /// `chat 1 - ala`. Not every emulator can show more than ASCII in a title, so any other name is
    /// left out.
    pub(crate) fn title(&self) -> String {
        match &self.name {
            Some(name) if name.as_str().is_ascii() => format!("chat {} - {name}", self.number),
            Some(_) | None => format!("chat {}", self.number),
        }
    }

    /// `chat 1 · ala`: the title of a built-in pane, which can show any name.
    pub(crate) fn pane_title(&self) -> String {
        match &self.name {
            Some(name) => format!("chat {} · {name}", self.number),
            None => format!("chat {}", self.number),
        }
    }
}
