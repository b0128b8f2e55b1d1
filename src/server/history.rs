//! The history file: the room's events as JSON lines, written before anyone is sent them.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail};
use serde::{Deserialize, Serialize};

use super::past::Past;
use super::sync::Sync;
use crate::os;
use crate::protocol::event::{Event, Received, Record};
use crate::protocol::limits::MAX_EVENT_LINE;
use crate::protocol::text::clean;

/// Bytes that wait while the file cannot be written. Of what comes after them only the number is kept.
const MAX_WAITING: usize = 1024 * 1024;

/// Highest number of an event, and of a member, in a file. No room comes to it, and there are as many behind it.
const MAX_NUMBER: u64 = u64::MAX / 2;

/// What a history file says that is neither an event of the room nor its past.
#[derive(Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum Mark {
    /// The first line: which room this is.
    Room { room: String },
    /// So many events could not be written here.
    Missing { count: u64 },
}

impl Mark {
    fn line(&self) -> Vec<u8> {
        let mut line = Vec::new();
        // Writing text and numbers into memory does not fail.
        let _ = serde_json::to_writer(&mut line, self);
        line.push(b'\n');
        line
    }
}

/// What a history file holds at start.
pub(super) struct Loaded {
    /// The room's id.
    pub(super) room: String,
    /// The number of its last event.
    pub(super) last_seq: u64,
    /// The highest id of a member.
    pub(super) last_id: u64,
    /// How many bytes of a torn last line were cut off.
    pub(super) torn: u64,
}

impl Loaded {
    fn go_on(&mut self, last_seq: u64, last_id: u64) -> Result<()> {
        if last_seq.max(last_id) > MAX_NUMBER {
            bail!("a number that no room comes to");
        }
        (self.last_seq, self.last_id) = (last_seq, last_id);
        Ok(())
    }
}

/// A change in whether the file can be written, to be told to members and operator once.
#[derive(Debug)]
pub(super) enum Change {
    /// It cannot, since then.
    Failed(io::Error),
    /// It can again.
    Recovered,
}

/// An open history file. Only the delivery thread writes it.
pub(super) struct History {
    file: File,
    /// Length of the file up to the last whole line.
    length: u64,
    /// There may be half a line behind that.
    half_written: bool,
    /// Lines to be written when that is possible again.
    waiting: Vec<u8>,
    /// Events that came when too much was waiting.
    missing: u64,
    failed: bool,
    sync: Sync,
}

impl History {
    /// Opens `path`, or makes it with the name `room`, and reads what it holds into `past`.
    ///
    /// Fails, and leaves the file as it is, where it is damaged before its last line, or where another server
    /// has it.
    pub(super) fn open(path: &Path, room: String, past: &mut Past) -> Result<(Self, Loaded)> {
        let shown = path.display();
        let mut options = OpenOptions::new();
        options.read(true).append(true).create(true);
        os::private(&mut options);
        let mut file = options.open(path).with_context(|| {
            format!("cannot open the history file {shown}: name a file that can be written, or leave --history out")
        })?;
        if !file.metadata()?.is_file() {
            // A device or a pipe might be read without end.
            bail!("{shown} is not a file that can hold a history: name another one");
        }
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                bail!(
                    "the history file {shown} is in use by another server: end that one, or name another file"
                )
            }
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("cannot lock the history file {shown}"));
            }
        }
        let (mut loaded, length) = load(&file, path, past)?;
        loaded.torn = file.metadata()?.len() - length;
        if loaded.torn > 0 {
            file.set_len(length)
                .with_context(|| format!("cannot cut the torn last line off {shown}"))?;
        }
        let mut length = length;
        if loaded.room.is_empty() {
            // A file that was there before, and empty, may be open to everybody.
            #[cfg(unix)]
            file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o600))
                .with_context(|| format!("cannot keep others from reading {shown}"))?;
            let line = Mark::Room { room: room.clone() }.line();
            file.write_all(&line)
                .with_context(|| format!("cannot write the history file {shown}"))?;
            length = line.len() as u64;
            loaded.room = room;
        }
        let sync = Sync::start(file.try_clone()?)?;
        let history = Self {
            file,
            length,
            half_written: false,
            waiting: Vec::new(),
            missing: 0,
            failed: false,
            sync,
        };
        Ok((history, loaded))
    }

    /// Writes `events` whole lines, together with those that wait. When this returns they are with the kernel,
    /// where a `kill -9` cannot reach them, or they wait.
    pub(super) fn append(&mut self, lines: &[u8], events: u64) -> Option<Change> {
        if self.failed || !self.waiting.is_empty() {
            self.wait(lines, events);
            return self.retry();
        }
        match self.write(lines) {
            Ok(()) => self.sync.error().map(Change::Failed),
            Err(error) => {
                self.failed = true;
                self.wait(lines, events);
                Some(Change::Failed(error))
            }
        }
    }

    /// Whether something waits for [`History::retry`].
    pub(super) fn is_waiting(&self) -> bool {
        self.failed
    }

    /// Tries to write what waits. A recovery is told, another failure is not news.
    pub(super) fn retry(&mut self) -> Option<Change> {
        let mut lines = std::mem::take(&mut self.waiting);
        if self.missing > 0 {
            lines.extend(
                Mark::Missing {
                    count: self.missing,
                }
                .line(),
            );
        }
        if self.write(&lines).is_ok() {
            self.missing = 0;
            return std::mem::take(&mut self.failed).then_some(Change::Recovered);
        }
        if self.missing > 0 {
            lines.truncate(
                lines.len()
                    - Mark::Missing {
                        count: self.missing,
                    }
                    .line()
                    .len(),
            );
        }
        self.waiting = lines;
        None
    }

    fn wait(&mut self, lines: &[u8], events: u64) {
        if self.missing == 0 && self.waiting.len() + lines.len() <= MAX_WAITING {
            self.waiting.extend_from_slice(lines);
        } else {
            self.missing += events;
        }
    }

    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        // Half a line would read as damage once another follows it. It may not have been possible to cut it.
        if self.half_written {
            self.file.set_len(self.length)?;
            self.half_written = false;
        }
        if let Err(error) = self.file.write_all(lines) {
            self.half_written = self.file.set_len(self.length).is_err();
            return Err(error);
        }
        self.length += lines.len() as u64;
        self.sync.request();
        Ok(())
    }

    /// Puts all on the disk and ends the thread `sync`.
    pub(super) fn close(mut self) -> io::Result<()> {
        let _ = self.retry();
        self.sync.stop();
        self.file.sync_data()
    }
}

/// Reads the file; an empty room id says that it names none yet. The length is that of its whole lines.
fn load(file: &File, path: &Path, past: &mut Past) -> Result<(Loaded, u64)> {
    let mut loaded = Loaded {
        room: String::new(),
        last_seq: 0,
        last_id: 0,
        torn: 0,
    };
    let mut reader = BufReader::with_capacity(256 * 1024, file);
    let (mut line, mut number, mut length) = (Vec::new(), 0_u64, 0_u64);
    loop {
        let is_too_long = read_line(&mut reader, &mut line)
            .with_context(|| format!("cannot read the history file {}", path.display()))?;
        number += 1;
        let is_whole = line.pop_if(|byte| *byte == b'\n').is_some();
        let read = match (is_whole, number) {
            (_, 1) if is_too_long => Err(no_history()),
            // Somebody's note of one line is not to be taken for a torn one.
            (false, 1) if !line.is_empty() && !may_become_header(&line) => Err(no_history()),
            (false, _) => return Ok((loaded, length)),
            (true, _) if is_too_long => Err(anyhow!("longer than any event")),
            (true, 1) => header(&line).map(|room| loaded.room = room),
            (true, _) => record(&line, &mut loaded, past),
        };
        length += line.len() as u64 + 1;
        read.map_err(|error| {
            // It may quote the line.
            let error = format!("{error:#}");
            anyhow!(
                "{}:{number}: {}: mend that line, or start with another history file",
                path.display(),
                clean(&error)
            )
        })?;
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

fn header(line: &[u8]) -> Result<String> {
    match serde_json::from_slice(line) {
        Ok(Mark::Room { room }) if !room.is_empty() => Ok(room),
        Ok(Mark::Room { .. } | Mark::Missing { .. }) | Err(_) => Err(no_history()),
    }
}

fn no_history() -> anyhow::Error {
    anyhow!("this is no history file: its first line names no room")
}

/// Whether a first line that was torn is the beginning of one that names a room.
fn may_become_header(torn: &[u8]) -> bool {
    let header = Mark::Room {
        room: String::new(),
    }
    .line();
    // Up to where the room's id begins.
    let known = header.len() - "\"}\n".len();
    let compared = known.min(torn.len());
    torn[..compared] == header[..compared]
}

fn record(line: &[u8], loaded: &mut Loaded, past: &mut Past) -> Result<()> {
    let line = std::str::from_utf8(line).context("not UTF-8")?;
    let record = match Received::decode(line)? {
        Received::Record(record, _) => record,
        Received::Unknown => {
            return match serde_json::from_str(line)? {
                Mark::Missing { count } => {
                    // Members have seen the numbers, and each event may have been a new member's joining.
                    let last_seq = loaded.last_seq.saturating_add(count);
                    loaded.go_on(last_seq, loaded.last_id.saturating_add(count))
                }
                Mark::Room { .. } => Err(anyhow!("a second room begins")),
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
