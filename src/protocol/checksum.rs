//! A checksum of events, with which the launcher checks that all its clients have received the same
//! events in the same order.

use crate::protocol::event::{Event, Record};

/// An odd number without a pattern: 2^64 divided by the golden ratio.
const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

/// The sum of the checksums of events. If two programs have equal sums over the same range of
/// sequence numbers, they have seen the same events. Each checksum covers the event's sequence
/// number. So if each program has seen increasing numbers, the order was the same too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum(pub u64);

impl Sum {
    /// Adds an event.
    pub fn add(&mut self, record: &Record) {
        self.0 = self.0.wrapping_add(checksum(record));
    }
}

/// Returns a checksum of the event's sequence number, kind, member ID and text. The checksum is not
/// cryptographic: a sender can construct two events with the same checksum.
fn checksum(record: &Record) -> u64 {
    let (kind, texts) = match &record.event {
        Event::Message { from, text, .. } => (1, [Some(from), Some(text)]),
        Event::Joined(member) => (2, [Some(&member.name), member.group.as_ref()]),
        Event::Left { name, reason, .. } => (3, [Some(name), reason.as_ref()]),
        Event::Renamed { from, to, .. } => (4, [Some(from), Some(to)]),
        Event::Server { text } => (5, [Some(text), None]),
        Event::Shutdown => (6, [None, None]),
    };
    let member = record.event.member().map_or(0, |id| id.0);
    let mut sum = [record.seq, kind, member].into_iter().fold(0, mix);
    for text in texts {
        let bytes = text.map_or(&[][..], |text| text.as_str().as_bytes());
        sum = mix(sum, bytes.len() as u64);
        sum = bytes.chunks(8).fold(sum, |sum, chunk| {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            mix(sum, u64::from_le_bytes(word))
        });
    }
    sum
}

/// Mixes a word into a sum. Different words mixed into the same sum give different results.
fn mix(sum: u64, word: u64) -> u64 {
    let mixed = (sum ^ word).wrapping_mul(FACTOR);
    mixed ^ (mixed >> 32)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::protocol::event::MemberId;
    use crate::protocol::text::Text;

    fn message(seq: u64, id: u64, from: &str, text: &str) -> u64 {
        checksum(&Record {
            seq,
            time: Timestamp::UNIX_EPOCH,
            event: Event::Message {
                id: MemberId(id),
                from: Text::new(from),
                text: Text::new(text),
            },
        })
    }

    #[test]
    fn a_change_of_any_field_changes_the_checksum() {
        let sums = [
            message(1, 2, "ala", "hello"),
            message(2, 2, "ala", "hello"),
            message(1, 3, "ala", "hello"),
            message(1, 2, "ola", "hello"),
            message(1, 2, "ala", "hellp"),
            message(1, 2, "alah", "ello"),
            message(1, 2, "ala", "hello, all of you"),
            message(1, 2, "ala", "hello, all of yov"),
        ];
        for (n, sum) in sums.iter().enumerate() {
            assert!(!sums[..n].contains(sum), "{n} is equal to an earlier one");
        }
    }

    #[test]
    fn swapping_the_texts_of_two_events_changes_the_sum() {
        let sum =
            |first, second| message(1, 1, "a", first).wrapping_add(message(2, 1, "a", second));
        assert_ne!(sum("x", "y"), sum("y", "x"));
    }
}
