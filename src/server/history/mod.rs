//! The history file: the room's events as JSON lines, written before anyone is sent them.

pub mod load;
mod sync;

use std::fmt::{self, Display, Formatter};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::os;
use crate::server::history::load::{ControlLine, FIRST_LINE, Loaded, header, load};
use crate::server::history::sync::Sync;
use crate::server::replay::ReplayBuffer;

/// How often the file is looked at, and tried again where it cannot be written.
pub const LOOK: Duration = Duration::from_secs(1);

/// Bytes that wait while the file cannot be written. Of what comes after them only the number is kept.
const MAX_WAITING: usize = 1024 * 1024;

/// What members and operator are to be told about the file, when it begins and not as long as it lasts.
#[derive(Debug)]
pub enum Change {
    /// It cannot be written, or put on the disk.
    Failed(io::Error),
    /// It can be written again.
    Recovered,
    /// Another program has made it longer or shorter.
    Altered,
    /// Its path does not lead to it any more.
    Moved,
    /// At the end, so many events are not in it.
    Lost(u64, io::Error),
    /// At the end, what is in it may not be on the disk.
    Unsafe(io::Error),
}

impl Display for Change {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(error) => write!(
                f,
                "the history cannot be written: {error}; the chat goes on without it"
            ),
            Self::Recovered => f.write_str("the history is written again"),
            Self::Altered => f.write_str(
                "another program has changed the history file: what happens now is written at its end",
            ),
            Self::Moved => f.write_str(
                "the history file was moved, replaced or deleted: what happens now is written to the old one; \
                 move it back, or start the server again",
            ),
            Self::Lost(count, error) => {
                write!(f, "the last {count} events are not in the history: {error}")
            }
            Self::Unsafe(error) => write!(f, "the history is not safe on the disk: {error}"),
        }
    }
}

/// An open history file. Only the delivery thread writes it.
pub struct History {
    file: File,
    /// The same, to change its first line in place; none where the system lets that nobody do.
    first_line: Option<File>,
    path: PathBuf,
    room: String,
    /// Length of the file up to the last whole line.
    length: u64,
    /// There may be half a line behind that.
    half_written: bool,
    /// The number of the room's last event.
    last_seq: u64,
    /// Up to this one, events are in the file, or counted there as missing.
    kept: u64,
    /// Lines to be written when that is possible again.
    waiting: Vec<u8>,
    /// Events that came when too much was waiting.
    missing: u64,
    failed: bool,
    altered: bool,
    moved: bool,
    looked: Instant,
    /// What is to be told.
    changes: Vec<Change>,
    sync: Sync,
}

impl History {
    /// Opens `path`, or makes it with the name `room`, and reads what it holds into `past`.
    ///
    /// Fails, and leaves the file as it is, where it is damaged before its last line, or where another server
    /// has it.
    pub fn open(path: &Path, room: String, past: &mut ReplayBuffer) -> Result<(Self, Loaded)> {
        let shown = path.display();
        let mut options = OpenOptions::new();
        options.read(true).append(true).create(true);
        os::private(&mut options);
        let file = options.open(path).with_context(|| {
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
        if loaded.room.is_empty() {
            // A file that was there before, and empty, may be open to everybody.
            file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o600))
                .with_context(|| format!("cannot keep others from reading {shown}"))?;
            loaded.room = room;
        }
        let mut history = Self {
            sync: Sync::start(file.try_clone()?)?,
            file,
            first_line: OpenOptions::new().read(true).write(true).open(path).ok(),
            path: path.to_owned(),
            room: loaded.room.clone(),
            length,
            half_written: false,
            last_seq: loaded.last_seq,
            kept: loaded.last_seq,
            waiting: Vec::new(),
            missing: 0,
            failed: false,
            altered: false,
            moved: false,
            looked: Instant::now(),
            changes: Vec::new(),
        };
        history
            .write(&[])
            .with_context(|| format!("cannot write the history file {shown}"))?;
        if loaded.lost > 0 {
            let count = loaded.lost;
            history.append(&ControlLine::Missing { count }.line(), 0);
        }
        Ok((history, loaded))
    }

    /// Writes the room's next `events`, whole lines. When this returns they are with the kernel, where a `kill -9`
    /// cannot reach them, or they wait.
    pub fn append(&mut self, lines: &[u8], events: u64) {
        self.last_seq += events;
        if !self.failed {
            match self.write(lines) {
                Ok(()) => return,
                Err(error) => {
                    self.failed = true;
                    self.changes.push(Change::Failed(error));
                }
            }
        }
        if self.missing == 0 && self.waiting.len() + lines.len() <= MAX_WAITING {
            self.waiting.extend_from_slice(lines);
        } else {
            self.missing += events;
        }
        // Where that fails as well, there is no way to keep the number.
        let _ = self.keep_number();
    }

    /// Says in the first line which number was given last, so that it is not given again after a `kill -9`. That takes no room on
    /// the disk: only few file systems that are full do not allow it.
    fn keep_number(&self) -> io::Result<()> {
        let Some(mut file) = self.first_line.as_ref() else {
            return Ok(());
        };
        let mut old = [0; FIRST_LINE];
        file.rewind()?;
        file.read_exact(&mut old)?;
        let (room, seq) = (self.room.clone(), Some(self.last_seq));
        let new = ControlLine::Room { room, seq }.line();
        // A file may have begun with a shorter line, or been changed.
        if header(&old).is_ok_and(|(room, _)| room == self.room) && new.len() == old.len() {
            file.rewind()?;
            file.write_all(&new)?;
            self.sync.request();
        }
        Ok(())
    }

    /// Gives what is to be told. Where it is [`LOOK`] since the last time, it tries to write what waits, and looks
    /// whether the file is as it was left.
    pub fn look(&mut self) -> Vec<Change> {
        if self.looked.elapsed() >= LOOK {
            self.looked = Instant::now();
            // It was told, or will be when there is something to be written.
            let _ = self.retry();
            let moved = !os::leads_to(&self.path, &self.file);
            if moved && !self.moved {
                self.changes.push(Change::Moved);
            }
            self.moved = moved;
        }
        self.changes.extend(self.sync.error().map(Change::Failed));
        std::mem::take(&mut self.changes)
    }

    fn retry(&mut self) -> io::Result<()> {
        let mut lines = std::mem::take(&mut self.waiting);
        let waiting = lines.len();
        if self.missing > 0 {
            let count = self.missing;
            lines.extend(ControlLine::Missing { count }.line());
        }
        let written = self.write(&lines);
        if written.is_err() {
            lines.truncate(waiting);
            self.waiting = lines;
        } else {
            self.missing = 0;
            if std::mem::take(&mut self.failed) {
                self.changes.push(Change::Recovered);
            }
        }
        written
    }

    /// Writes whole lines, up to the room's last event.
    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        self.settle()?;
        if self.length == 0 {
            let room = self.room.clone();
            let mut begin = ControlLine::Room { room, seq: None }.line();
            // Where it was emptied, the room goes on without what was there.
            if self.kept > 0 {
                begin.extend(ControlLine::Missing { count: self.kept }.line());
            }
            self.put(&begin)?;
        }
        self.put(lines)?;
        self.kept = self.last_seq;
        Ok(())
    }

    /// Cuts half a line off, and looks whether another program has changed the file.
    fn settle(&mut self) -> io::Result<()> {
        let mut found = self.file.metadata()?.len();
        // Half a line would read as damage once another follows it. It may not have been possible to cut it.
        if self.half_written && found > self.length {
            self.file.set_len(self.length)?;
            found = self.length;
        }
        self.half_written = false;
        if found != self.length && !std::mem::replace(&mut self.altered, true) {
            self.changes.push(Change::Altered);
        }
        // What another program has written is not ours to cut, and what it has cut is not to be filled with zeros.
        self.length = found;
        Ok(())
    }

    fn put(&mut self, lines: &[u8]) -> io::Result<()> {
        if lines.is_empty() {
            return Ok(());
        }
        if let Err(error) = self.file.write_all(lines) {
            self.half_written = self.file.set_len(self.length).is_err();
            return Err(error);
        }
        self.length += lines.len() as u64;
        self.sync.request();
        Ok(())
    }

    /// Puts all on the disk and ends the thread `sync`. Gives what is to be told.
    pub fn close(mut self) -> Vec<Change> {
        if let Err(error) = self.retry()
            && self.kept < self.last_seq
        {
            let lost = self.last_seq - self.kept;
            self.changes.push(Change::Lost(lost, error));
        }
        self.sync.stop();
        let synced = self.file.sync_data();
        self.changes.extend(synced.err().map(Change::Unsafe));
        self.changes
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_move_is_told_each_time_that_it_happens_and_not_as_long_as_it_lasts() {
        let folder = tempfile::tempdir().unwrap();
        let (here, there) = (folder.path().join("here"), folder.path().join("there"));
        let (mut history, _) =
            History::open(&here, "room".into(), &mut ReplayBuffer::new(0)).unwrap();
        let mut look = || {
            history.looked -= LOOK;
            history.look().len()
        };
        assert_eq!(look(), 0);
        for _ in 0..2 {
            fs::rename(&here, &there).unwrap();
            assert_eq!((look(), look()), (1, 0));
            fs::rename(&there, &here).unwrap();
            assert_eq!(look(), 0);
        }
        assert!(history.close().is_empty());
    }
}
