//! A client's count of the events that it has received, which the launcher compares with the
//! server's checksums.

use serde::{Deserialize, Serialize};

use crate::protocol::checksum::Sum;
use crate::protocol::event::Record;

/// A count of the events from one sequence number on, in the order in which they arrived.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Tally {
    /// Sequence number that the first event must have.
    pub first: u64,
    /// Sequence number that the next event must have.
    pub next: u64,
    /// Number of events that have arrived.
    pub received: u64,
    /// Sum of the checksums of these events.
    pub sum: u64,
    /// Number of events before `first` that the server no longer had when the client resumed its
    /// session after a break. 0 if `first` is the client's own join.
    pub missing: u64,
    /// The first event that was not the next one.
    pub fault: Option<Fault>,
}

/// An event with the wrong sequence number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    pub expected: u64,
    pub received: u64,
}

impl Tally {
    /// Returns a count of the events after the one with the sequence number `last`.
    pub fn after(last: u64, missing: u64) -> Self {
        let first = last.saturating_add(1);
        Self {
            first,
            next: first,
            missing,
            ..Self::default()
        }
    }

    /// Counts an event.
    pub fn add(&mut self, record: &Record) {
        if record.seq != self.next {
            self.fault.get_or_insert(Fault {
                expected: self.next,
                received: record.seq,
            });
        }
        let mut sum = Sum(self.sum);
        sum.add(record);
        self.sum = sum.0;
        self.received += 1;
        // A hostile server may send the largest number.
        self.next = record.seq.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::protocol::event::Event;

    fn tally(seqs: &[u64]) -> Tally {
        let mut tally = Tally::after(4, 0);
        for &seq in seqs {
            tally.add(&Record {
                seq,
                time: Timestamp::UNIX_EPOCH,
                event: Event::Shutdown,
            });
        }
        tally
    }

    #[test]
    fn a_lost_repeated_or_late_event_is_a_fault_of_the_tally() {
        assert_eq!(tally(&[5, 6, 7]).fault, None);
        for (seqs, expected, received) in [
            (&[6, 7][..], 5, 6),
            (&[5, 7, 8], 6, 7),
            (&[5, 5, 6], 6, 5),
            (&[5, 7, 6, 8], 6, 7),
        ] {
            let fault = tally(seqs).fault;
            assert_eq!(fault, Some(Fault { expected, received }), "{seqs:?}");
        }
    }
}
