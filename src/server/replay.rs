//! What was said before: the messages that a newcomer is shown, and what happened while somebody was away.

use std::collections::VecDeque;
use std::collections::vec_deque::Iter;
use std::sync::Arc;

use crate::protocol::event::{Answer, Event, Record, write_plain};
use crate::protocol::limits::MAX_RECENT;
use crate::protocol::request::Format;

/// What an entry costs beside its text: about what its name, number and time take when it is encoded.
pub const ENTRY: usize = 128;

/// About how many bytes an event takes when it is encoded.
pub fn size(event: &Event) -> usize {
    let text = match event {
        Event::Message { text, .. } | Event::Server { text } => text.as_str().len(),
        Event::Joined(_) | Event::Left { .. } | Event::Renamed { .. } | Event::Shutdown => 0,
    };
    ENTRY + text
}

/// The last messages of the room and what the server said, and the last events of any kind, each in order.
pub struct ReplayBuffer {
    messages: VecDeque<Arc<Record>>,
    limit: usize,
    recent: VecDeque<Arc<Record>>,
    bytes: ReplaySize,
}

/// About how many bytes of the past one is sent who comes, at most.
#[derive(Clone, Copy, Default)]
pub struct ReplaySize {
    /// Who was never here: messages alone.
    pub messages: usize,
    /// Who comes back, beside those: the last events.
    pub events: usize,
}

/// Which part of the past somebody is to be shown.
#[derive(Clone, Copy)]
pub struct ReplayRange {
    /// What came after this event; 0 for a newcomer.
    pub after: u64,
    /// Up to this event, messages alone: the last one before its first joining. No token shows more of that time than a
    /// newcomer sees.
    pub since: u64,
}

impl ReplayBuffer {
    /// Keeps the last `limit` messages, and the last [`MAX_RECENT`] events.
    pub fn new(limit: usize) -> Self {
        Self {
            messages: VecDeque::new(),
            limit,
            recent: VecDeque::with_capacity(MAX_RECENT),
            bytes: ReplaySize::default(),
        }
    }

    /// Takes an event.
    pub fn push(&mut self, record: Arc<Record>) {
        match record.event {
            Event::Message { .. } | Event::Server { .. } => {
                let record = Arc::clone(&record);
                push(
                    &mut self.messages,
                    self.limit,
                    &mut self.bytes.messages,
                    record,
                );
            }
            Event::Joined(_) | Event::Left { .. } | Event::Renamed { .. } | Event::Shutdown => {}
        }
        push(&mut self.recent, MAX_RECENT, &mut self.bytes.events, record);
    }

    /// About how many bytes of it one is sent who comes.
    pub fn size(&self) -> ReplaySize {
        self.bytes
    }

    /// What is known of `span`: messages, as long as there is no more, and then all events.
    fn known(&self, span: ReplayRange) -> [Iter<'_, Arc<Record>>; 2] {
        let forgotten = self.recent.front().map_or(0, |first| first.seq - 1);
        let only_messages = span.after.max(span.since).max(forgotten);
        [
            between(&self.messages, span.after, only_messages),
            between(&self.recent, only_messages, u64::MAX),
        ]
    }

    /// How many events of `span`, of the time since the joining, are not known.
    pub fn missing(&self, span: ReplayRange) -> u64 {
        let after = span.after.max(span.since);
        let last = self.recent.back().map_or(0, |last| last.seq);
        let known = self.known(ReplayRange { after, ..span });
        let known: usize = known.iter().map(Iter::len).sum();
        last.saturating_sub(after).saturating_sub(known as u64)
    }

    /// Appends what is known of `span`: nothing where nothing was said.
    pub fn write(&self, span: ReplayRange, format: Format, out: &mut Vec<u8>) {
        let known = self.known(span);
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

/// Keeps the last `limit`, and counts their bytes.
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

/// Those after event `after`, up to event `last`.
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

    /// A room in which every third event is a message.
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
        let span = ReplayRange { after, since };
        let known = past.known(span).into_iter().flatten();
        (known.map(|record| record.seq).collect(), past.missing(span))
    }

    #[test]
    fn who_comes_back_gets_every_event_of_its_time_and_a_newcomer_only_messages() {
        let past = past(3, 20);
        assert_eq!(shown(&past, 0, 20), (vec![12, 15, 18], 0));
        assert_eq!(shown(&past, 16, 5), (vec![17, 18, 19, 20], 0));
        // It broke in the middle of the past that it was shown when it joined.
        assert_eq!(shown(&past, 14, 17), (vec![15, 18, 19, 20], 0));
        assert_eq!(shown(&past, 20, 5), (vec![], 0));
        assert_eq!(shown(&past, 999, 5), (vec![], 0));
    }

    #[test]
    fn what_is_forgotten_is_counted_and_messages_are_known_longer_where_more_of_them_are_kept() {
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
