//! One round of delivery: what happened, encoded once for each format, and what single members get of it.

use std::io::IoSlice;
use std::ops::Range;
use std::sync::Arc;

use crate::protocol::event::{Answer, Record, write_plain};
use crate::protocol::request::Format;

/// What happened since the last round, encoded once for each format.
#[derive(Default)]
pub(crate) struct Batch {
    pub(crate) plain: Vec<u8>,
    pub(crate) json: Vec<u8>,
    /// What single members get.
    pub(crate) own: Vec<u8>,
    /// How much of `json` the history has.
    pub(crate) written: usize,
    /// What all get, as it came, for the log.
    pub(crate) records: Vec<Arc<Record>>,
    /// There is something that does not wait for more.
    pub(crate) urgent: bool,
    /// The room was closed: everybody's connection ends with this round.
    pub(crate) closes: bool,
}

/// What one member gets in a round, in order: these pieces, then all that all get from the cursor on.
#[derive(Default)]
pub(crate) struct SendPlan {
    pieces: Vec<Segment>,
    /// Where, in what all get, this member's next piece begins; what is before is sent, in a piece, or not for it.
    pub(crate) cursor: usize,
    /// Bytes that do not count as being behind.
    pub(crate) exempt: usize,
    /// The member has left: nothing follows.
    pub(crate) ends: bool,
}

enum Segment {
    /// Of what all get.
    Common(Range<usize>),
    /// Of what single members get.
    Own(Range<usize>),
}

impl SendPlan {
    /// The welcome and the past, then all that all get from `cursor` on.
    pub(crate) fn of_newcomer(own: Range<usize>, cursor: usize) -> Self {
        Self {
            exempt: own.len(),
            pieces: vec![Segment::Own(own)],
            cursor,
            ends: false,
        }
    }

    /// Whether there is something for this member alone, or it waits for the end.
    pub(crate) fn is_begun(&self) -> bool {
        !self.pieces.is_empty() || self.ends
    }

    /// Whether it gets what all get from the cursor on, and nothing else.
    pub(crate) fn only_listens(&self) -> bool {
        self.pieces.is_empty() && !self.ends
    }

    /// Everything up to `at` of what all get.
    fn advance(&mut self, at: usize) {
        if self.cursor < at && !self.ends {
            self.pieces.push(Segment::Common(self.cursor..at));
        }
        self.cursor = at;
    }

    /// After everything up to `at`, bytes for this member alone.
    pub(crate) fn insert(&mut self, at: usize, own: Range<usize>) {
        self.advance(at);
        if !self.ends {
            self.pieces.push(Segment::Own(own));
        }
    }

    /// Everything up to `range`, and not `range`.
    pub(crate) fn skip(&mut self, range: Range<usize>) {
        self.advance(range.start);
        self.cursor = range.end;
    }

    /// Everything up to `at`, and nothing more.
    pub(crate) fn end(&mut self, at: usize) {
        self.advance(at);
        self.ends = true;
    }
}

impl Batch {
    pub(crate) fn clear(&mut self) {
        for buffer in [&mut self.plain, &mut self.json, &mut self.own] {
            buffer.clear();
            // A long past, or a class that comes at once, may have made it large.
            buffer.shrink_to(256 * 1024);
        }
        self.written = 0;
        self.urgent = false;
    }

    /// What all members of a format get.
    pub(crate) fn common(&self, format: Format) -> &[u8] {
        match format {
            Format::Plain => &self.plain,
            Format::Json => &self.json,
        }
    }

    /// Encodes an event for all, in JSON where that is wanted. The ranges are where it stands, plain and JSON.
    pub(crate) fn write_common(
        &mut self,
        record: &Record,
        with_json: bool,
    ) -> (Range<usize>, Range<usize>) {
        let starts = (self.plain.len(), self.json.len());
        write_plain(&record.event, &mut self.plain);
        if with_json {
            record.write_json(false, &mut self.json);
        }
        (starts.0..self.plain.len(), starts.1..self.json.len())
    }

    /// What a member with this script gets, up to where the round is now.
    pub(crate) fn parts<'a>(
        &'a self,
        plan: &SendPlan,
        format: Format,
        parts: &mut Vec<IoSlice<'a>>,
    ) {
        let common = self.common(format);
        parts.extend(plan.pieces.iter().map(|piece| {
            IoSlice::new(match piece {
                Segment::Common(range) => &common[range.clone()],
                Segment::Own(range) => &self.own[range.clone()],
            })
        }));
        if !plan.ends {
            parts.push(IoSlice::new(&common[plan.cursor..]));
        }
    }

    /// Writes something for one member.
    pub(crate) fn write_own(&mut self, format: Format, answer: &Answer) -> Range<usize> {
        let start = self.own.len();
        answer.write(format, &mut self.own);
        start..self.own.len()
    }
}
