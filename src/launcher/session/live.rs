//! The live view of a session: in the server's pane, or printed once into the log.

use std::time::Instant;

use crate::launcher::display::Display;
use crate::launcher::live::snapshot::LiveClient;
use crate::launcher::live::{LiveEvent, screen};
use crate::launcher::session::Session;

/// Width in columns of the live view in the log, and limit on the number of its rows.
const PRINTED: (usize, usize) = (78, 40);

impl Session<'_> {
    /// Executes the console command `/live`: opens the live view in the server's pane, or prints it
    /// if there are no panes.
    pub(crate) fn open_live(&mut self) {
        if let Some(Display::Panes(panes)) = &self.display {
            panes.show_live_view();
            self.watch_live(true);
        } else {
            self.tell_clients();
            self.live.print();
        }
    }

    /// Starts or stops the samples for the live view in the server's pane.
    pub(crate) fn watch_live(&mut self, is_watched: bool) {
        self.tell_clients();
        self.live.watch(is_watched);
    }

    pub(crate) fn handle_live(&mut self, event: LiveEvent) {
        self.tell_clients();
        match event {
            LiveEvent::Proof(proof) => self.proof = Some(proof),
            LiveEvent::Closed => self.samples_ended = true,
            LiveEvent::Frame(snapshot) => {
                if let Some(Display::Panes(panes)) = &self.display {
                    panes.set_live(snapshot);
                }
            }
            LiveEvent::Print(snapshot) => {
                let (width, height) = PRINTED;
                for row in screen::rows(&snapshot, Instant::now(), width, height) {
                    self.output.say(row.to_string().trim_end());
                }
            }
        }
    }

    /// Tells the live view which clients this session has, and which of them are frozen.
    pub(crate) fn tell_clients(&self) {
        let clients = self.windows.iter().filter_map(|window| {
            Some(LiveClient {
                name: window.member_name.as_ref()?.to_string(),
                pid: window.client.as_ref()?.pid(),
                frozen_at: window.frozen.as_ref().map(|frozen| frozen.since),
            })
        });
        self.live.set_clients(clients.collect());
    }
}
