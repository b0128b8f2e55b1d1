//! Freezing and thawing the clients of a session, to show how the server treats a client that does
//! not read.

use crate::launcher::display::Display;
use crate::launcher::frozen_client::FrozenClient;
use crate::launcher::session::Session;
use crate::launcher::session::window::Window;
use crate::protocol::name::Name;

/// Whether a command freezes or thaws a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Freeze,
    Thaw,
}

impl Session<'_> {
    /// Executes the console command `/freeze NAME` or `/thaw NAME`.
    pub(crate) fn change_by_name(&mut self, change: Change, name: &str) {
        let result = self.find_client(change, name).and_then(|window| {
            let window = &mut self.windows[window];
            match change {
                Change::Freeze if window.frozen.is_some() => {
                    Err(format!("{name} is already frozen"))
                }
                Change::Thaw if window.frozen.is_none() => Err(format!("{name} is not frozen")),
                Change::Freeze | Change::Thaw => toggle(window),
            }
        });
        self.show_freeze(result);
    }

    /// Freezes the client of the window with this ID, or thaws it if it is frozen.
    pub(crate) fn toggle_freeze(&mut self, id: usize) {
        if let Some(window) = self.window(id) {
            let result = toggle(window);
            self.show_freeze(result);
        }
    }

    /// Thaws all clients.
    pub(crate) fn thaw_all(&mut self) {
        for window in &mut self.windows {
            window.thaw();
        }
        self.mark_frozen_panes();
    }

    /// Shows which panes have frozen clients.
    pub(crate) fn mark_frozen_panes(&self) {
        if let Some(Display::Panes(panes)) = &self.display {
            let frozen = self.windows.iter().filter(|each| each.frozen.is_some());
            panes.set_frozen(frozen.map(|window| window.spec.id).collect());
        }
    }

    fn show_freeze(&mut self, result: Result<String, String>) {
        match result {
            Ok(note) => self.output.say(&format!("* {note}")),
            Err(error) => self.show_error(&error),
        }
        self.mark_frozen_panes();
        self.tell_clients();
    }

    /// Returns the index of the window whose client has this name in the room.
    fn find_client(&self, change: Change, name: &str) -> Result<usize, String> {
        let (command, done) = match change {
            Change::Freeze => ("/freeze", "frozen"),
            Change::Thaw => ("/thaw", "thawed"),
        };
        if name.is_empty() {
            return Err(format!("type a name: {command} NAME"));
        }
        // A text that cannot be a name is not the name of a client either.
        let wanted = Name::new(name).ok();
        let is_wanted = |window: &Window| {
            let named = window.member_name.as_ref().zip(wanted.as_ref());
            window.client.is_some() && named.is_some_and(|(name, wanted)| name.is_same(wanted))
        };
        let found = self.windows.iter().position(is_wanted);
        found.ok_or_else(|| {
            format!("{name} is not a client of this session, so it cannot be {done}")
        })
    }
}

/// Freezes or thaws the client of a window. Returns a note for the user, or an error.
fn toggle(window: &mut Window) -> Result<String, String> {
    let name = match &window.member_name {
        Some(name) => name.to_string(),
        None => window.spec.title(),
    };
    if window.thaw() {
        return Ok(format!("{name} runs again"));
    }
    let client = window.client.as_ref();
    let client = client.ok_or_else(|| format!("{name} has no running client"))?;
    match FrozenClient::freeze(client) {
        Ok(frozen) => {
            window.frozen = Some(frozen);
            let end = match &window.member_name {
                Some(name) => format!("/thaw {name}"),
                // A client without a name was frozen by F8.
                None => "F8 in its pane".into(),
            };
            Ok(format!(
                "{name} is frozen: its process is stopped until {end}"
            ))
        }
        Err(error) => Err(format!("cannot freeze {name}: {error}")),
    }
}
