//! What was said before: the messages that a newcomer is shown.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::protocol::event::{Answer, Event, Record, write_plain};
use crate::protocol::request::Format;

/// The last messages of the room, and what the server said, in order.
pub(super) struct Past {
    records: VecDeque<Arc<Record>>,
    limit: usize,
}

impl Past {
    /// Keeps the last `limit`.
    pub(super) fn new(limit: usize) -> Self {
        Self {
            records: VecDeque::new(),
            limit,
        }
    }

    /// Takes an event; what is no message is let go.
    pub(super) fn push(&mut self, record: Arc<Record>) {
        match record.event {
            Event::Message { .. } | Event::Server { .. } => {
                if self.records.len() >= self.limit {
                    self.records.pop_front();
                }
                if self.limit > 0 {
                    self.records.push_back(record);
                }
            }
            Event::Joined(_) | Event::Left { .. } | Event::Renamed { .. } | Event::Shutdown => {}
        }
    }

    /// Appends what a newcomer is shown: nothing where nothing was said.
    pub(super) fn write(&self, format: Format, out: &mut Vec<u8>) {
        if self.records.is_empty() {
            return;
        }
        match format {
            Format::Plain => {
                write_plain(&Answer::PastBegins(self.records.len()), out);
                for record in &self.records {
                    write_plain(&record.event, out);
                }
                write_plain(&Answer::PastEnds, out);
            }
            Format::Json => {
                for record in &self.records {
                    record.write_json(true, out);
                }
            }
        }
    }
}
