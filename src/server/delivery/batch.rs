//! Batches of events, encoded once per format, and send plans, which select a member's part of a
//! batch.

use std::io::IoSlice;
use std::ops::Range;
use std::sync::Arc;

use crate::protocol::event::{Answer, Record, write_plain};
use crate::protocol::request::Format;

/// A batch: the events since the last send, encoded once per format.
#[derive(Default)]
pub(crate) struct Batch {
    pub(crate) plain: Vec<u8>,
    pub(crate) json: Vec<u8>,
    /// Bytes that are for one member each: welcomes, replays and answers.
    pub(crate) addressed: Vec<u8>,
    /// Length of the part of `json` that was already passed to the history, in bytes.
    pub(crate) written: usize,
    /// The events in order, for the log.
    pub(crate) records: Vec<Arc<Record>>,
    /// Number of events in the batch.
    pub(crate) events: usize,
    /// Whether the batch contains an event that must be sent at once: any event except a join or a
    /// leave.
    pub(crate) urgent: bool,
    /// Whether the room was closed, so that every connection ends after this batch.
    pub(crate) closes: bool,
}

/// Selects the bytes of a batch that one member gets: first the bytes of `segments`, then all
/// common bytes (those for every member) from the offset `cursor` on. A member that has left gets
/// only the segments.
#[derive(Default)]
pub(crate) struct SendPlan {
    segments: Vec<Segment>,
    /// Offset into the common bytes (those for every member). The bytes before the cursor were sent
    /// already, belong to `segments`, or are skipped because the member must not get them.
    pub(crate) cursor: usize,
    /// Number of bytes that do not count towards the backlog limit: those of the welcome, the
    /// replay and lists of members.
    pub(crate) exempt: usize,
    /// Whether the member has left, so that it gets nothing after `segments`.
    pub(crate) ends: bool,
}

enum Segment {
    /// A range of the common bytes.
    Common(Range<usize>),
    /// A range of `addressed`, with bytes for this member alone.
    Addressed(Range<usize>),
}

impl SendPlan {
    /// Creates the plan of a newcomer: the `addressed` bytes (its welcome and replay), then the
    /// common bytes from `cursor` on.
    pub(crate) fn messages(addressed: Range<usize>, cursor: usize) -> Self {
        Self {
            exempt: addressed.len(),
            segments: vec![Segment::Addressed(addressed)],
            cursor,
            ends: false,
        }
    }

    /// Whether the plan is sent even before the batch is complete, because it has bytes for this
    /// member alone, or because the member has left.
    pub(crate) fn has_addressed(&self) -> bool {
        !self.segments.is_empty() || self.ends
    }

    /// Whether the member gets nothing but the common bytes from the cursor on. These can then be
    /// sent without copying.
    pub(crate) fn is_common_only(&self) -> bool {
        self.segments.is_empty() && !self.ends
    }

    /// Adds the common bytes from the cursor up to the offset `at`, and moves the cursor there.
    fn advance(&mut self, at: usize) {
        if self.cursor < at && !self.ends {
            self.segments.push(Segment::Common(self.cursor..at));
        }
        self.cursor = at;
    }

    /// Adds the common bytes up to the offset `at`, then a range of `addressed`.
    pub(crate) fn insert(&mut self, at: usize, addressed: Range<usize>) {
        self.advance(at);
        if !self.ends {
            self.segments.push(Segment::Addressed(addressed));
        }
    }

    /// Leaves out `range` of the common bytes, such as the member's own message.
    pub(crate) fn skip(&mut self, range: Range<usize>) {
        self.advance(range.start);
        self.cursor = range.end;
    }

    /// Ends the plan after the common bytes up to the offset `at`, because the member has left.
    pub(crate) fn end(&mut self, at: usize) {
        self.advance(at);
        self.ends = true;
    }
}

impl Batch {
    pub(crate) fn clear(&mut self) {
        for buffer in [&mut self.plain, &mut self.json, &mut self.addressed] {
            buffer.clear();
            // Free memory that is rarely needed: a long replay, or many newcomers at once, make the
            // buffer large.
            buffer.shrink_to(256 * 1024);
        }
        self.written = 0;
        self.events = 0;
        self.urgent = false;
    }

    /// The common bytes: those for all members that use `format`.
    pub(crate) fn common(&self, format: Format) -> &[u8] {
        match format {
            Format::Plain => &self.plain,
            Format::Json => &self.json,
        }
    }

    /// Encodes an event for all members, and returns its ranges in `plain` and `json`.
    pub(crate) fn write_common(
        &mut self,
        record: &Record,
        with_json: bool,
    ) -> (Range<usize>, Range<usize>) {
        self.events += 1;
        let starts = (self.plain.len(), self.json.len());
        write_plain(&record.event, &mut self.plain);
        if with_json {
            record.write_json(false, &mut self.json);
        }
        (starts.0..self.plain.len(), starts.1..self.json.len())
    }

    /// Appends the bytes of `plan` to `parts`: its segments and, unless the member has left, the
    /// common bytes from the cursor to the current end of the batch.
    pub(crate) fn parts<'a>(
        &'a self,
        plan: &SendPlan,
        format: Format,
        parts: &mut Vec<IoSlice<'a>>,
    ) {
        let common = self.common(format);
        parts.extend(plan.segments.iter().map(|segment| {
            IoSlice::new(match segment {
                Segment::Common(range) => &common[range.clone()],
                Segment::Addressed(range) => &self.addressed[range.clone()],
            })
        }));
        if !plan.ends {
            parts.push(IoSlice::new(&common[plan.cursor..]));
        }
    }

    /// Encodes an answer for one member. Returns its range in `addressed`.
    pub(crate) fn write_addressed(&mut self, format: Format, answer: &Answer) -> Range<usize> {
        let start = self.addressed.len();
        answer.write(format, &mut self.addressed);
        start..self.addressed.len()
    }
}
