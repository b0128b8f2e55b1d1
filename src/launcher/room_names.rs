//! The names of the members in the room, for completion on the console.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::protocol::console::ServerLine;
use crate::sync::Mutex;

/// The names, shared by the thread that copies the server's log and the threads that read keys.
#[derive(Clone, Default)]
pub(crate) struct RoomNames(Arc<Mutex<BTreeSet<String>>>);

impl RoomNames {
    /// Adds or removes a name, as a line of the server's log says. Ignores all other lines.
    pub(crate) fn follow(&self, line: ServerLine<'_>) {
        match line {
            ServerLine::Joined(name) => {
                self.0.lock().insert(name.to_owned());
            }
            ServerLine::Left(name) => {
                self.0.lock().remove(name);
            }
            ServerLine::Listening(_) | ServerLine::Online(_) | ServerLine::Closed(_) => {}
        }
    }

    /// The names, in order.
    pub(crate) fn list(&self) -> Vec<String> {
        self.0.lock().iter().cloned().collect()
    }
}
