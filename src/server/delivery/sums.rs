//! Running checksums of the room's events, from which the launcher proves that its clients have
//! received the same events.

use std::collections::VecDeque;

use crate::protocol::checksum::Sum;
use crate::protocol::event::Record;

/// Limit on the sums that are kept. A client that joined before the first kept sum cannot be
/// checked.
const KEPT: usize = 100_000;

/// The running sums after each of the latest events. An event is added once, however many members
/// receive it.
#[derive(Default)]
pub(crate) struct Sums {
    first: u64,
    sums: VecDeque<u64>,
}

impl Sums {
    /// Adds the next event. It takes some 20 ns for a short line.
    pub(crate) fn add(&mut self, record: &Record) {
        let mut sum = Sum(self.sums.back().copied().unwrap_or_default());
        if self.sums.is_empty() {
            // The sum of no events, from which the sums of ranges are subtracted.
            self.first = record.seq - 1;
            self.sums.push_back(0);
        }
        sum.add(record);
        self.sums.push_back(sum.0);
        if self.sums.len() > KEPT {
            self.sums.pop_front();
            self.first += 1;
        }
    }

    /// Sequence number of the last event that the first sum includes.
    pub(crate) fn first(&self) -> u64 {
        self.first
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = u64> {
        self.sums.iter().copied()
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::probe::sample::Proof;
    use crate::protocol::event::Event;

    #[test]
    fn only_the_last_sums_are_kept() {
        let record = |seq| Record {
            seq,
            time: Timestamp::UNIX_EPOCH,
            event: Event::Shutdown,
        };
        let mut sums = Sums::default();
        let last = 10 + KEPT as u64;
        (5..=last).for_each(|seq| sums.add(&record(seq)));
        let proof = Proof {
            first: sums.first(),
            sums: sums.iter().collect(),
            ..Proof::default()
        };
        assert_eq!((proof.first, proof.sums.len()), (11, KEPT));
        let mut sum = Sum::default();
        (12..=last).for_each(|seq| sum.add(&record(seq)));
        assert_eq!(proof.sum(12, last), Some(sum.0));
        for (first, last) in [(11, last), (12, last + 1), (0, last)] {
            assert_eq!(proof.sum(first, last), None);
        }
    }
}
