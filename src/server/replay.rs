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
/// kind. Its queues are in order of sequence number. Messages have queues of their own, so that
/// clients that join and leave in a loop do not displace them.
pub struct ReplayBuffer {
    /// The last `limit` messages, which newcomers get.
    messages: VecDeque<Arc<Record>>,
    limit: usize,
    /// The messages before those in `messages`, up to [`MAX_RECENT`] messages in both queues
    /// together. Only members that resume get them.
    older: VecDeque<Arc<Record>>,
    /// The last [`MAX_RECENT`] events of any kind.
    recent: VecDeque<Arc<Record>>,
    size: ReplaySize,
}

/// Approximate size of the largest replay that a member can get, in bytes.
#[derive(Clone, Copy, Default)]
pub struct ReplaySize {
    /// Size of the replay for a newcomer, which contains only messages.
    pub messages: usize,
    /// Additional size for a member that resumes, whose replay also contains older messages and
    /// recent events.
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
    /// Creates a buffer. Newcomers get the last `limit` messages. Members that resume also get the
    /// last [`MAX_RECENT`] messages and the last [`MAX_RECENT`] events of any kind.
    pub fn new(limit: usize) -> Self {
        Self {
            messages: VecDeque::new(),
            limit,
            older: VecDeque::new(),
            recent: VecDeque::with_capacity(MAX_RECENT),
            size: ReplaySize::default(),
        }
    }

    /// Appends an event.
    pub fn push(&mut self, record: Arc<Record>) {
        let ReplaySize { messages, events } = &mut self.size;
        if record.event.is_said() {
            let displaced = push(
                &mut self.messages,
                self.limit,
                messages,
                Arc::clone(&record),
            );
            if let Some(displaced) = displaced {
                let older = MAX_RECENT.saturating_sub(self.limit);
                push(&mut self.older, older, events, displaced);
            }
        }
        push(&mut self.recent, MAX_RECENT, events, record);
    }

    pub fn size(&self) -> ReplaySize {
        self.size
    }

    /// Returns the events of `range` that are still buffered, in order, as three parts:
    ///
    /// - from `older`, messages sent after the member first joined;
    /// - from `messages`, all messages;
    /// - from `recent`, all events after the member first joined.
    ///
    /// The first two parts end where the third begins.
    fn known(&self, range: ReplayRange) -> [Iter<'_, Arc<Record>>; 3] {
        let forgotten = self.recent.front().map_or(0, |first| first.seq - 1);
        let joined = range.after.max(range.since);
        let only_messages = joined.max(forgotten);
        [
            between(&self.older, joined, only_messages),
            between(&self.messages, range.after, only_messages),
            between(&self.recent, only_messages, u64::MAX),
        ]
    }

    /// Number of events in `range` that the member does not get, because they are no longer
    /// buffered. Events from before the member first joined do not count.
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

/// Appends a record to a queue, and keeps the queue's size in `bytes` up to date. If the queue then
/// has more than `limit` records, removes and returns the first, which is the new one if the limit
/// is zero.
fn push(
    records: &mut VecDeque<Arc<Record>>,
    limit: usize,
    bytes: &mut usize,
    record: Arc<Record>,
) -> Option<Arc<Record>> {
    *bytes += size(&record.event);
    records.push_back(record);
    let displaced = if records.len() > limit {
        records.pop_front()
    } else {
        None
    };
    if let Some(displaced) = &displaced {
        *bytes -= size(&displaced.event);
    }
    displaced
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
    fn joins_and_leaves_do_not_displace_the_last_thousand_messages() {
        let recent = MAX_RECENT as u64;
        for (limit, first) in [
            (0, 3 * recent + 3),
            (100, 3 * recent + 3),
            (MAX_RECENT, 3 * recent + 3),
            (usize::MAX, 9),
        ] {
            let past = past(limit, 6 * recent);
            let (known, missing) = shown(&past, 6, 3);
            let messages = (first..=5 * recent).filter(|seq| seq % 3 == 0);
            let expected: Vec<u64> = messages.chain(5 * recent + 1..=6 * recent).collect();
            assert_eq!(known, expected, "{limit}");
            assert_eq!(missing, 6 * recent - 6 - expected.len() as u64);
            let buffered = past.messages.iter().chain(&past.older).chain(&past.recent);
            let bytes: usize = buffered.map(|record| size(&record.event)).sum();
            assert_eq!(past.size.messages + past.size.events, bytes);
        }
    }
}
