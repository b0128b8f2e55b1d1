//! The replay buffer: past messages for newcomers, and recent events for members that resume.

use std::collections::VecDeque;
use std::collections::vec_deque::Iter;
use std::sync::Arc;

use crate::protocol::event::{Answer, Event, Record, write_plain};
use crate::protocol::limits::MAX_RECENT;
use crate::protocol::request::Format;

/// Approximate size of an encoded event without its text, in bytes: its names, sequence number and
/// time.
pub const ENTRY: usize = 128;

/// Approximate size of an encoded event, in bytes.
pub fn size(event: &Event) -> usize {
    ENTRY + event.text().map_or(0, |text| text.as_str().len())
}

/// The replay buffer: the last messages from members and the server, and the last events of any
/// kind. Both queues are in order of sequence number.
pub struct ReplayBuffer {
    messages: VecDeque<Arc<Record>>,
    limit: usize,
    recent: VecDeque<Arc<Record>>,
    size: ReplaySize,
}

/// Approximate size of the largest replay that a member can get, in bytes.
#[derive(Clone, Copy, Default)]
pub struct ReplaySize {
    /// Size of the replay for a newcomer, which contains only messages.
    pub messages: usize,
    /// Additional size for a member that resumes, whose replay also contains recent events.
    pub events: usize,
}

/// The range of events to replay to a member.
#[derive(Clone, Copy)]
pub struct ReplayRange {
    /// The replay starts after this sequence number; 0 for a newcomer.
    pub after: u64,
    /// Sequence number of the last event before the member first joined. Up to this number, only
    /// messages are replayed, because resuming must not reveal more about that time than joining
    /// does.
    pub since: u64,
}

impl ReplayBuffer {
    /// Creates a buffer for the last `limit` messages and the last [`MAX_RECENT`] events.
    pub fn new(limit: usize) -> Self {
        Self {
            messages: VecDeque::new(),
            limit,
            recent: VecDeque::with_capacity(MAX_RECENT),
            size: ReplaySize::default(),
        }
    }

    /// Appends an event.
    pub fn push(&mut self, record: Arc<Record>) {
        if record.event.is_said() {
            push(
                &mut self.messages,
                self.limit,
                &mut self.size.messages,
                Arc::clone(&record),
            );
        }
        push(&mut self.recent, MAX_RECENT, &mut self.size.events, record);
    }

    pub fn size(&self) -> ReplaySize {
        self.size
    }

    /// Returns the events of `range` that are still buffered, in two parts. The first part contains
    /// only messages: those with numbers up to `range.since`, and those that are older than the
    /// first buffered event of any kind. The second part contains all later events.
    fn known(&self, range: ReplayRange) -> [Iter<'_, Arc<Record>>; 2] {
        let forgotten = self.recent.front().map_or(0, |first| first.seq - 1);
        let only_messages = range.after.max(range.since).max(forgotten);
        [
            between(&self.messages, range.after, only_messages),
            between(&self.recent, only_messages, u64::MAX),
        ]
    }

    /// Number of events in `range` that are no longer buffered. Events from before the member first
    /// joined do not count.
    pub fn missing(&self, range: ReplayRange) -> u64 {
        let after = range.after.max(range.since);
        let last = self.recent.back().map_or(0, |last| last.seq);
        let known = self.known(ReplayRange { after, ..range });
        let known: usize = known.iter().map(Iter::len).sum();
        last.saturating_sub(after).saturating_sub(known as u64)
    }

    /// Encodes the buffered part of `range`. Writes nothing if that part is empty.
    pub fn write(&self, range: ReplayRange, format: Format, out: &mut Vec<u8>) {
        let known = self.known(range);
        let count = known.iter().map(Iter::len).sum();
        if count == 0 {
            return;
        }
        let records = known.into_iter().flatten();
        match format {
            Format::Plain => {
                write_plain(&Answer::PastBegins(count), out);
                for record in records {
                    write_plain(&record.event, out);
                }
                write_plain(&Answer::PastEnds, out);
            }
            Format::Json => {
                for record in records {
                    record.write_json(true, out);
                }
            }
        }
    }
}

/// Appends a record to a queue of at most `limit` records, and updates the size of the queue in
/// `bytes`.
fn push(records: &mut VecDeque<Arc<Record>>, limit: usize, bytes: &mut usize, record: Arc<Record>) {
    if records.len() >= limit
        && let Some(oldest) = records.pop_front()
    {
        *bytes -= size(&oldest.event);
    }
    if limit > 0 {
        *bytes += size(&record.event);
        records.push_back(record);
    }
}

/// The records with sequence numbers from `after` + 1 to `last`.
fn between(records: &VecDeque<Arc<Record>>, after: u64, last: u64) -> Iter<'_, Arc<Record>> {
    let begin = records.partition_point(|record| record.seq <= after);
    let end = records.partition_point(|record| record.seq <= last);
    records.range(begin..end)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::protocol::event::MemberId;
    use crate::protocol::text::Text;

    /// A buffer to which `events` events were added. Every third event is a message.
    fn past(limit: usize, events: u64) -> ReplayBuffer {
        let mut past = ReplayBuffer::new(limit);
        for seq in 1..=events {
            let (id, text) = (MemberId(1), Text::new("x"));
            let event = if seq % 3 == 0 {
                Event::Server { text }
            } else {
                let (name, reason) = (text, None);
                Event::Left { id, name, reason }
            };
            let time = Timestamp::UNIX_EPOCH;
            past.push(Arc::new(Record { seq, time, event }));
        }
        past
    }

    fn shown(past: &ReplayBuffer, after: u64, since: u64) -> (Vec<u64>, u64) {
        let range = ReplayRange { after, since };
        let known = past.known(range).into_iter().flatten();
        (
            known.map(|record| record.seq).collect(),
            past.missing(range),
        )
    }

    #[test]
    fn a_member_that_resumes_gets_all_events_since_it_joined_and_a_newcomer_only_messages() {
        let past = past(3, 20);
        assert_eq!(shown(&past, 0, 20), (vec![12, 15, 18], 0));
        assert_eq!(shown(&past, 16, 5), (vec![17, 18, 19, 20], 0));
        // This member's connection broke in the middle of the replay that it got when it joined.
        assert_eq!(shown(&past, 14, 17), (vec![15, 18, 19, 20], 0));
        assert_eq!(shown(&past, 20, 5), (vec![], 0));
        assert_eq!(shown(&past, 999, 5), (vec![], 0));
    }

    #[test]
    fn events_no_longer_buffered_are_counted_and_messages_are_buffered_for_longer() {
        let recent = MAX_RECENT as u64;
        let (known, missing) = shown(&past(0, recent + 10), 3, 1);
        assert!(known.into_iter().eq(11..=recent + 10));
        assert_eq!(missing, 7);
        let (known, missing) = shown(&past(usize::MAX, recent + 10), 3, 1);
        assert!(
            known
                .into_iter()
                .eq([6, 9].into_iter().chain(11..=recent + 10))
        );
        assert_eq!(missing, 5);
    }
}
