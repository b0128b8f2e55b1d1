//! What a history file says, and reading it at start.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail};
use serde::{Deserialize, Serialize};

use crate::protocol::event::{Event, Record};
use crate::protocol::json::Received;
use crate::protocol::limits::MAX_EVENT_LINE;
use crate::protocol::text::clean;
use crate::server::replay::ReplayBuffer;

/// Highest number of an event, and of a member, in a file. No room comes to it, and there are as many behind it.
const MAX_NUMBER: u64 = u64::MAX / 2;

/// Bytes of the first line, its ending included: what is not needed is blank, so that the line can be changed in place.
pub const FIRST_LINE: usize = 80;

/// What a history file says that is neither an event of the room nor its past.
#[derive(Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum ControlLine {
    /// The first line: which room this is, and the number of its last event, where the end of the file may lack some.
    Room {
        room: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        seq: Option<u64>,
    },
    /// So many events could not be written here.
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

/// What a history file holds at start.
#[derive(Default)]
pub struct Loaded {
    /// The room's id.
    pub room: String,
    /// The number of its last event.
    pub last_seq: u64,
    /// The highest id of a member.
    pub last_id: u64,
    /// How many events before that were never written.
    pub lost: u64,
    /// How many bytes of a torn last line were cut off.
    pub torn: u64,
}

impl Loaded {
    fn go_on(&mut self, last_seq: u64, last_id: u64) -> Result<()> {
        if last_seq.max(last_id) > MAX_NUMBER {
            bail!("a number that no room comes to");
        }
        (self.last_seq, self.last_id) = (last_seq, last_id);
        Ok(())
    }

    /// Members have seen the numbers of events that are missing, and each may have been a new member's joining.
    fn skip(&mut self, count: u64) -> Result<()> {
        let last_seq = self.last_seq.saturating_add(count);
        self.go_on(last_seq, self.last_id.saturating_add(count))
    }
}

/// Reads the file; an empty room id says that it names none yet. The length is that of its whole lines.
pub fn load(file: &File, path: &Path, past: &mut ReplayBuffer) -> Result<(Loaded, u64)> {
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
            (_, 1) if is_too_long => Err(no_history()),
            // Somebody's note of one line is not to be taken for a torn one.
            (false, 1) if !line.is_empty() && !may_become_header(&line) => Err(no_history()),
            (false, _) => {
                // Where it fails, it is for what the first line says.
                number = 1;
                loaded.lost = last_seq.saturating_sub(loaded.last_seq);
                loaded.skip(loaded.lost)
            }
            (true, _) if is_too_long => Err(anyhow!("longer than any event")),
            (true, 1) => header(&line).map(|(room, seq)| (loaded.room, last_seq) = (room, seq)),
            (true, _) => record(&line, &mut loaded, past),
        };
        read.map_err(|error| {
            // It may quote the line.
            let error = format!("{error:#}");
            anyhow!(
                "{}:{number}: {}: mend that line, or start with another history file",
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

/// Reads a line, with its ending, where it has one, and whether it is too long; of such a line, only its end: a file that is damaged
/// may be one line, of any size.
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

/// The room's id, and the number of an event that it has had; 0 for none.
pub fn header(line: &[u8]) -> Result<(String, u64)> {
    match serde_json::from_slice(line) {
        Ok(ControlLine::Room { room, seq }) if !room.is_empty() => Ok((room, seq.unwrap_or(0))),
        Ok(ControlLine::Room { .. } | ControlLine::Missing { .. }) | Err(_) => Err(no_history()),
    }
}

fn no_history() -> anyhow::Error {
    anyhow!("this is no history file: its first line names no room")
}

/// Whether a first line that was torn is the beginning of one that names a room.
fn may_become_header(torn: &[u8]) -> bool {
    let header = ControlLine::Room {
        room: String::new(),
        seq: None,
    }
    .line();
    // Up to where the room's id begins.
    let known = header.trim_ascii_end().len() - "\"}".len();
    let compared = known.min(torn.len());
    torn[..compared] == header[..compared]
}

fn record(line: &[u8], loaded: &mut Loaded, past: &mut ReplayBuffer) -> Result<()> {
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
    loaded.go_on(record.seq, loaded.last_id.max(highest_id(&record)))?;
    past.push(Arc::new(record));
    Ok(())
}

fn highest_id(record: &Record) -> u64 {
    match &record.event {
        Event::Message { id, .. } | Event::Left { id, .. } | Event::Renamed { id, .. } => id.0,
        Event::Joined(member) => member.id.0,
        Event::Server { .. } | Event::Shutdown => 0,
    }
}
