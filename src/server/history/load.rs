//! Reading a history file at start, and its control lines.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail};
use serde::{Deserialize, Serialize};

use crate::protocol::json::Received;
use crate::protocol::limits::MAX_EVENT_LINE;
use crate::protocol::text::clean;
use crate::server::replay::ReplayBuffer;

/// Highest sequence number and member ID accepted from a file. No room reaches it, and it leaves as
/// many numbers again.
const MAX_NUMBER: u64 = u64::MAX / 2;

/// Bytes of the first line, including its ending. It is padded with spaces, so that it can be
/// rewritten in place.
pub const FIRST_LINE: usize = 80;

/// A line that is not an event.
#[derive(Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum ControlLine {
    /// The first line: the room's ID, and its last sequence number if events may be missing at the
    /// end.
    Room {
        room: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        seq: Option<u64>,
    },
    /// This many events could not be written here.
    Missing { count: u64 },
}

impl ControlLine {
    pub fn line(&self) -> Vec<u8> {
        let mut line = Vec::new();
        // Writing text and numbers into memory does not fail.
        let _ = serde_json::to_writer(&mut line, self);
        if let Self::Room { .. } = self {
            line.resize(line.len().max(FIRST_LINE - 1), b' ');
        }
        line.push(b'\n');
        line
    }
}

/// Summary of a history file at start.
#[derive(Default)]
pub struct Loaded {
    /// The room's ID.
    pub room: String,
    /// The room's last sequence number.
    pub last_seq: u64,
    /// The highest member ID.
    pub last_id: u64,
    /// Number of events at the end that were never written.
    pub lost: u64,
    /// Bytes of a torn last line that were cut off.
    pub torn: u64,
}

impl Loaded {
    fn advance(&mut self, last_seq: u64, last_id: u64) -> Result<()> {
        if last_seq.max(last_id) > MAX_NUMBER {
            bail!("a number that no room comes to");
        }
        (self.last_seq, self.last_id) = (last_seq, last_id);
        Ok(())
    }

    /// Skips the numbers of missing events: members have seen them, and each may have been a join,
    /// so IDs are skipped as well.
    fn skip(&mut self, count: u64) -> Result<()> {
        let last_seq = self.last_seq.saturating_add(count);
        self.advance(last_seq, self.last_id.saturating_add(count))
    }
}

/// Reads the file and returns the length of its complete lines, in bytes. An empty file yields an
/// empty room ID.
pub fn load(file: &File, path: &Path, replay: &mut ReplayBuffer) -> Result<(Loaded, u64)> {
    let mut loaded = Loaded::default();
    let mut reader = BufReader::with_capacity(256 * 1024, file);
    let (mut line, mut number, mut length) = (Vec::new(), 0_u64, 0_u64);
    let mut last_seq = 0_u64;
    loop {
        let is_too_long = read_line(&mut reader, &mut line)
            .with_context(|| format!("cannot read the history file {}", path.display()))?;
        number += 1;
        let is_whole = line.pop_if(|byte| *byte == b'\n').is_some();
        let read = match (is_whole, number) {
            (_, 1) if is_too_long => Err(not_a_history()),
            // Another program's file without a line ending must not be taken for a torn first line.
            (false, 1) if !line.is_empty() && !may_become_header(&line) => Err(not_a_history()),
            (false, _) => {
                // An error here is due to the number in the first line.
                number = 1;
                loaded.lost = last_seq.saturating_sub(loaded.last_seq);
                loaded.skip(loaded.lost)
            }
            (true, _) if is_too_long => Err(anyhow!("longer than any event")),
            (true, 1) => header(&line).map(|(room, seq)| (loaded.room, last_seq) = (room, seq)),
            (true, _) => record(&line, &mut loaded, replay),
        };
        read.map_err(|error| {
            // The error may quote the line, which may contain control characters.
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
        length += line.len() as u64 + 1;
    }
}

/// Reads a line including its ending, and returns whether it is too long. Of such a line, only the
/// end is kept: a damaged file may be one line of any size.
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

/// Parses the first line: the room's ID, and its saved sequence number or 0.
pub fn header(line: &[u8]) -> Result<(String, u64)> {
    match serde_json::from_slice(line) {
        Ok(ControlLine::Room { room, seq }) if !room.is_empty() => Ok((room, seq.unwrap_or(0))),
        Ok(ControlLine::Room { .. } | ControlLine::Missing { .. }) | Err(_) => Err(not_a_history()),
    }
}

fn not_a_history() -> anyhow::Error {
    anyhow!("this is not a history file: its first line names no room")
}

/// Whether a torn first line is the beginning of a valid one.
fn may_become_header(torn: &[u8]) -> bool {
    let header = ControlLine::Room {
        room: String::new(),
        seq: None,
    }
    .line();
    // Everything before the room's ID is known.
    let known = header.trim_ascii_end().len() - "\"}".len();
    let compared = known.min(torn.len());
    torn[..compared] == header[..compared]
}

fn record(line: &[u8], loaded: &mut Loaded, replay: &mut ReplayBuffer) -> Result<()> {
    let line = std::str::from_utf8(line).context("not UTF-8")?;
    let record = match Received::decode(line)? {
        Received::Record(record, _) => record,
        Received::Unknown => {
            return match serde_json::from_str(line)? {
                ControlLine::Missing { count } => loaded.skip(count),
                ControlLine::Room { .. } => Err(anyhow!("a second room begins")),
            };
        }
        Received::Answer(_) => bail!("not an event of a room"),
    };
    if record.seq <= loaded.last_seq {
        bail!("event {} after event {}", record.seq, loaded.last_seq);
    }
    let id = record.event.member().map_or(0, |id| id.0);
    loaded.advance(record.seq, loaded.last_id.max(id))?;
    replay.push(Arc::new(record));
    Ok(())
}
