//! Loads a history file when the server starts, and defines the file's control lines.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail};
use serde::{Deserialize, Serialize};

use crate::protocol::json::{DecodeError, Received};
use crate::protocol::limits::MAX_EVENT_LINE;
use crate::protocol::text::clean;
use crate::server::replay::ReplayBuffer;

/// Limit on the sequence numbers and member IDs in a file. No room reaches it by itself, so a
/// higher number is treated as damage, unless it continues the numbers before it (see
/// [`MAX_STEP`]). JSON clients represent integers up to twice this limit exactly (RFC 8259, section
/// 6). So there are enough numbers left for a room that continues from this limit.
const MAX_NUMBER: u64 = 1 << 52;

/// Limit on the increase from one number to the next, if the next is above [`MAX_NUMBER`]. Numbers
/// above [`MAX_NUMBER`] are accepted, because the file of a room may end at that number: the server
/// would otherwise write events that it refuses at its next start. The increase is more than 1 if
/// events are missing, but it cannot reach this limit.
const MAX_STEP: u64 = u32::MAX as u64;

/// Minimum length of the file's first line in bytes, including its ending. Spaces pad the line to
/// this length, so that it can be rewritten in place.
pub const FIRST_LINE: usize = 80;

/// The byte order mark (U+FEFF) in UTF-8.
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// A control line: a line of the history file that is not an event.
#[derive(Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum ControlLine {
    /// The first line of the file. It has the room's ID and, if events may be missing at the end of
    /// the file, the room's last sequence number.
    Room {
        room: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        seq: Option<u64>,
    },
    /// `count` events are missing here, because they could not be written.
    Missing { count: u64 },
}

impl ControlLine {
    pub fn line(&self) -> Vec<u8> {
        let mut line = Vec::new();
        // Ignore the result, because serializing strings and numbers to memory can't fail.
        let _ = serde_json::to_writer(&mut line, self);
        if let Self::Room { .. } = self {
            line.resize(line.len().max(FIRST_LINE - 1), b' ');
        }
        line.push(b'\n');
        line
    }
}

/// Summary of a history file, made when the server starts.
#[derive(Default)]
pub struct Loaded {
    /// The room's ID.
    pub room: String,
    /// The room's last sequence number.
    pub last_seq: u64,
    /// The highest member ID.
    pub last_id: u64,
    /// Number of events that are missing at the end of the file, because they could not be written.
    pub lost: u64,
    /// Length of an incomplete last line that was cut off, in bytes.
    pub torn: u64,
    /// Length of the empty lines that were cut off at the end, in bytes.
    pub blank: u64,
    /// The file's mode, if it allowed others to read or write the file, and the result of making
    /// the file private.
    pub exposed: Option<(u32, io::Result<()>)>,
}

impl Loaded {
    fn advance(&mut self, last_seq: u64, last_id: u64) -> Result<()> {
        let is_too_high = |old: u64, new| new > MAX_NUMBER && new - old > MAX_STEP;
        if is_too_high(self.last_seq, last_seq) || is_too_high(self.last_id, last_id) {
            bail!("a sequence number or member ID is too high");
        }
        (self.last_seq, self.last_id) = (last_seq, last_id);
        Ok(())
    }

    /// Skips the sequence numbers of `count` missing events, because members have already seen
    /// events with these numbers. Skips as many member IDs, because each missing event may have
    /// been a join.
    fn skip(&mut self, count: u64) -> Result<()> {
        let last_seq = self.last_seq.saturating_add(count);
        self.advance(last_seq, self.last_id.saturating_add(count))
    }
}

/// Reads the file's events into `replay`. Returns a summary and the length of the complete lines,
/// in bytes. The room ID in the summary is empty if the file is empty.
pub fn load(file: &File, path: &Path, replay: &mut ReplayBuffer) -> Result<(Loaded, u64)> {
    let mut loaded = Loaded::default();
    let mut reader = BufReader::with_capacity(256 * 1024, file);
    let (mut line, mut number, mut length) = (Vec::new(), 0_u64, 0_u64);
    let mut last_seq = 0_u64;
    let mut first_blank = None;
    loop {
        let is_too_long = read_line(&mut reader, &mut line)
            .with_context(|| format!("cannot read the history file {}", path.display()))?;
        number += 1;
        let is_whole = line.pop_if(|byte| *byte == b'\n').is_some();
        let line_length = line.len() as u64 + u64::from(is_whole);
        // Skip the byte order mark with which some editors begin a file.
        if number == 1 && line.starts_with(BYTE_ORDER_MARK) {
            line.drain(..BYTE_ORDER_MARK.len());
        }
        let is_blank = !is_too_long && line.trim_ascii().is_empty();
        if is_blank {
            // Some editors add an empty line at the end. Cut it off, like an incomplete last line.
            loaded.blank += line_length;
            if is_whole {
                first_blank = first_blank.or(Some(number));
                continue;
            }
        }
        let read = match (is_whole, number) {
            // An empty line that is followed by another line is not cut off: report it as damage.
            _ if !is_blank && first_blank.is_some() => {
                number = first_blank.unwrap_or(number);
                Err(anyhow!("an empty line"))
            }
            (_, 1) if is_too_long => Err(not_a_history()),
            // Refuse a file of another program that has no line ending at all: it must not be
            // mistaken for an incomplete first line, which would be cut off.
            (false, 1) if !is_blank && !may_become_header(&line) => Err(not_a_history()),
            (false, _) => {
                // `skip` advances to the sequence number saved in the first line. If it fails, that
                // number is too high, so the error must name the first line.
                number = 1;
                loaded.lost = last_seq.saturating_sub(loaded.last_seq);
                loaded.skip(loaded.lost)
            }
            (true, _) if is_too_long => Err(anyhow!("longer than any event")),
            (true, 1) => header(&line).map(|(room, seq)| (loaded.room, last_seq) = (room, seq)),
            (true, _) => record(&line, &mut loaded, replay),
        };
        read.map_err(|error| {
            // The error may quote the line, which may contain control characters, so clean the
            // error before it is shown.
            let error = format!("{error:#}");
            anyhow!(
                "{}:{number}: {}: fix that line, or start with another history file",
                path.display(),
                clean(&error)
            )
        })?;
        if !is_whole {
            return Ok((loaded, length));
        }
        length += line_length;
    }
}

/// Reads a line, including its ending, into `line`. Returns whether the line is too long. Keeps
/// only the end of a line that is too long, because a damaged file may be a single line of any
/// size.
fn read_line(reader: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<bool> {
    let mut is_too_long = false;
    loop {
        line.clear();
        let mut piece = reader.by_ref().take(MAX_EVENT_LINE as u64);
        let read = piece.read_until(b'\n', line)?;
        if read < MAX_EVENT_LINE || line.ends_with(b"\n") {
            return Ok(is_too_long);
        }
        is_too_long = true;
    }
}

/// Parses the first line. Returns the room's ID, and the saved last sequence number, or 0 if there
/// is none.
pub fn header(line: &[u8]) -> Result<(String, u64)> {
    match serde_json::from_slice(line) {
        Ok(ControlLine::Room { room, seq }) if !room.is_empty() => Ok((room, seq.unwrap_or(0))),
        Ok(ControlLine::Room { .. } | ControlLine::Missing { .. }) | Err(_) => Err(not_a_history()),
    }
}

fn not_a_history() -> anyhow::Error {
    anyhow!("this is not a history file: its first line has no room ID")
}

/// Whether an incomplete first line could be the beginning of a valid first line.
fn may_become_header(torn: &[u8]) -> bool {
    let header = ControlLine::Room {
        room: String::new(),
        seq: None,
    }
    .line();
    // Compare only the bytes before the room's ID, because the ID in `header` is empty.
    let known = header.trim_ascii_end().len() - "\"}".len();
    let compared = known.min(torn.len());
    torn[..compared] == header[..compared]
}

fn record(line: &[u8], loaded: &mut Loaded, replay: &mut ReplayBuffer) -> Result<()> {
    let line = std::str::from_utf8(line).context("not UTF-8")?;
    let record = match Received::decode(line)? {
        Received::Record(record, _) => record,
        Received::Unknown => {
            return match serde_json::from_str(line).map_err(DecodeError::from)? {
                ControlLine::Missing { count } => loaded.skip(count),
                ControlLine::Room { .. } => Err(anyhow!("a second room ID")),
            };
        }
        Received::Answer(_) => bail!("not an event"),
    };
    if record.seq <= loaded.last_seq {
        bail!("event {} after event {}", record.seq, loaded.last_seq);
    }
    let id = record.event.member().map_or(0, |id| id.0);
    loaded.advance(record.seq, loaded.last_id.max(id))?;
    replay.push(Arc::new(record));
    Ok(())
}
