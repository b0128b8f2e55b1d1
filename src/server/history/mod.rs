//! The history file: the room's events as JSON lines, written before they are sent to members.

pub mod load;
mod sync;

use std::fmt::{self, Display, Formatter};
use std::fs::{File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::os;
use crate::server::history::load::{ControlLine, FIRST_LINE, Loaded, header, load};
use crate::server::history::sync::Sync;
use crate::server::replay::ReplayBuffer;

/// Interval between checks whether the file was moved, and between retries after a failed write.
pub const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// Limit on the bytes that are buffered while the file cannot be written. Beyond the limit, events
/// are dropped and counted as missing.
const MAX_BUFFERED: usize = 1024 * 1024;

/// A change in the state of the history file, announced once to the members and the operator.
#[derive(Debug)]
pub enum Change {
    /// The file cannot be written or synced.
    Failed(io::Error),
    /// The file can be written again.
    Recovered,
    /// Another program has changed the file's length.
    Altered,
    /// The path no longer leads to the file, which was moved or removed.
    Moved,
    /// The server is ending, and this many events are not in the file.
    Lost(u64, io::Error),
    /// The server is ending, and the last sync to disk failed.
    Unsafe(io::Error),
}

impl Display for Change {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(error) => write!(
                f,
                "the history cannot be written: {error}; the chat goes on without it"
            ),
            Self::Recovered => f.write_str("the history can be written again"),
            Self::Altered => f.write_str(
                "another program has changed the history file: new events are appended at its end",
            ),
            Self::Moved => f.write_str(
                "the history file was moved, replaced or deleted: new events still go to the old file; \
                 move it back, or start the server again",
            ),
            Self::Lost(count, error) => {
                let lost = last_events_are(*count);
                write!(f, "{lost} not in the history: {error}")
            }
            Self::Unsafe(error) => write!(f, "the history may not have reached the disk: {error}"),
        }
    }
}

/// Returns the beginning of a sentence, such as "the last 2 events are".
pub fn last_events_are(count: u64) -> String {
    match count {
        1 => "the last event is".into(),
        count => format!("the last {count} events are"),
    }
}

/// An open history file. Only the thread that delivers writes it.
pub struct History {
    file: File,
    /// A second descriptor of the file, with which the file's first line is rewritten in place,
    /// because `file` can only append. `None` if the file could not be opened a second time.
    first_line: Option<File>,
    path: PathBuf,
    room: String,
    /// Length of the file up to the last complete line, in bytes.
    length: u64,
    /// Whether a partial line may follow the complete lines, because a write failed and the partial
    /// line could not be cut off.
    is_torn: bool,
    /// Sequence number of the room's last event.
    last_seq: u64,
    /// Sequence number up to which all events are in the file, or counted there as missing.
    written_seq: u64,
    /// Lines to write once the file can be written again.
    buffered: Vec<u8>,
    /// Number of events that were dropped because the buffer was full.
    missing: u64,
    failed: bool,
    altered: bool,
    moved: bool,
    last_check: Instant,
    /// Changes of the file's state, such as a failed write, that are not in the log yet.
    changes: Vec<Change>,
    sync: Sync,
}

impl History {
    /// Opens the history file at `path`, or creates a file for `room`, and reads its events into
    /// `replay`. Makes the file accessible by its owner only (mode 0600), if possible.
    ///
    /// # Errors
    /// The file is damaged before its last line, another server has it open, or it cannot be read
    /// or written. An error leaves the file unchanged.
    pub fn open(path: &Path, room: String, replay: &mut ReplayBuffer) -> Result<(Self, Loaded)> {
        let shown = path.display();
        let mut options = OpenOptions::new();
        options.read(true).append(true).create(true);
        os::private(&mut options);
        let file = options.open(path).with_context(|| {
            format!("cannot open the history file {shown}: name a file that can be written, or leave --history out")
        })?;
        if !file.metadata()?.is_file() {
            // Accept only a regular file, because reading a device or a pipe might never end.
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
                return Err(error).with_context(|| {
                    format!(
                        "cannot lock the history file {shown}: name a file on a local disk, or leave --history out"
                    )
                });
            }
        }
        let (mut loaded, length) = load(&file, path, replay)?;
        let surplus = file.metadata()?.len() - length;
        loaded.torn = surplus - loaded.blank;
        if surplus > 0 {
            file.set_len(length)
                .with_context(|| format!("cannot cut the torn last line off {shown}"))?;
        }
        let mode = file.metadata()?.permissions().mode() & 0o7777;
        if mode & 0o077 != 0 {
            loaded.exposed = Some((mode, file.set_permissions(Permissions::from_mode(0o600))));
        }
        if loaded.room.is_empty() {
            loaded.room = room;
        }
        let mut history = Self {
            sync: Sync::start(file.try_clone()?)?,
            file,
            first_line: OpenOptions::new().read(true).write(true).open(path).ok(),
            path: path.to_owned(),
            room: loaded.room.clone(),
            length,
            is_torn: false,
            last_seq: loaded.last_seq,
            written_seq: loaded.last_seq,
            buffered: Vec::new(),
            missing: 0,
            failed: false,
            altered: false,
            moved: false,
            last_check: Instant::now(),
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

    /// Appends `lines`, the complete lines of the room's next events. `events` is their number.
    /// When this function returns, the kernel has the lines, so they survive `kill -9`. If the file
    /// cannot be written, the lines are buffered instead.
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
        if self.missing == 0 && self.buffered.len() + lines.len() <= MAX_BUFFERED {
            self.buffered.extend_from_slice(lines);
        } else {
            self.missing += events;
        }
        // Ignore an error: its only consequence is that, after `kill -9`, new events may get the
        // sequence numbers of events that are not in the file.
        let _ = self.save_last_seq();
    }

    /// Saves the last sequence number in the file's first line, so that the number is not reused
    /// after `kill -9`. Rewriting the line in place needs no disk space, so it works on a full
    /// disk, except on a few file systems.
    fn save_last_seq(&self) -> io::Result<()> {
        let Some(mut file) = self.first_line.as_ref() else {
            return Ok(());
        };
        let mut old = [0; FIRST_LINE];
        file.rewind()?;
        file.read_exact(&mut old)?;
        let (room, seq) = (self.room.clone(), Some(self.last_seq));
        let new = ControlLine::Room { room, seq }.line();
        // Rewrite only a line of the same room and length: an old file may have a shorter first
        // line, and another program may have changed the line.
        if header(&old).is_ok_and(|(room, _)| room == self.room) && new.len() == old.len() {
            file.rewind()?;
            file.write_all(&new)?;
            self.sync.request();
        }
        Ok(())
    }

    /// Returns the changes to announce. Once per [`CHECK_INTERVAL`], first tries again to write the
    /// buffered lines, and checks whether the file was moved.
    pub fn check(&mut self) -> Vec<Change> {
        if self.last_check.elapsed() >= CHECK_INTERVAL {
            self.last_check = Instant::now();
            // Ignore the error: it was announced already, or will be when the next event is
            // written.
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
        let mut lines = std::mem::take(&mut self.buffered);
        let buffered = lines.len();
        if self.missing > 0 {
            let count = self.missing;
            lines.extend(ControlLine::Missing { count }.line());
        }
        let written = self.write(&lines);
        if written.is_err() {
            lines.truncate(buffered);
            self.buffered = lines;
        } else {
            self.missing = 0;
            if std::mem::take(&mut self.failed) {
                self.changes.push(Change::Recovered);
            }
        }
        written
    }

    /// Writes `lines`, the lines of all events that are not in the file yet.
    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        self.repair()?;
        if self.length == 0 {
            let room = self.room.clone();
            let mut begin = ControlLine::Room { room, seq: None }.line();
            // Another program has emptied the file: count the earlier events as missing.
            if self.written_seq > 0 {
                begin.extend(
                    ControlLine::Missing {
                        count: self.written_seq,
                    }
                    .line(),
                );
            }
            self.put(&begin)?;
        }
        self.put(lines)?;
        self.written_seq = self.last_seq;
        Ok(())
    }

    /// Cuts off a partial line, and detects changes that another program made to the file.
    fn repair(&mut self) -> io::Result<()> {
        let mut found = self.file.metadata()?.len();
        // A partial line remains if an earlier attempt to cut it off failed. Cut it off before
        // writing, because a partial line that is followed by another line counts as damage.
        if self.is_torn && found > self.length {
            self.file.set_len(self.length)?;
            found = self.length;
        }
        self.is_torn = false;
        if found != self.length && !std::mem::replace(&mut self.altered, true) {
            self.changes.push(Change::Altered);
        }
        // Continue at the actual end of the file. This keeps bytes that another program has
        // appended, and leaves no gap after a truncation.
        self.length = found;
        Ok(())
    }

    fn put(&mut self, lines: &[u8]) -> io::Result<()> {
        if lines.is_empty() {
            return Ok(());
        }
        if let Err(error) = self.file.write_all(lines) {
            self.is_torn = self.file.set_len(self.length).is_err();
            return Err(error);
        }
        self.length += lines.len() as u64;
        self.sync.request();
        Ok(())
    }

    /// Writes and syncs everything, and ends the thread `sync`. Returns the changes to announce.
    pub fn close(mut self) -> Vec<Change> {
        if let Err(error) = self.retry()
            && self.written_seq < self.last_seq
        {
            let lost = self.last_seq - self.written_seq;
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
    fn each_move_of_the_history_file_is_announced_once() {
        let folder = tempfile::tempdir().unwrap();
        let (here, there) = (folder.path().join("here"), folder.path().join("there"));
        let (mut history, _) =
            History::open(&here, "room".into(), &mut ReplayBuffer::new(0)).unwrap();
        let mut check = || {
            history.last_check -= CHECK_INTERVAL;
            history.check().len()
        };
        assert_eq!(check(), 0);
        for _ in 0..2 {
            fs::rename(&here, &there).unwrap();
            assert_eq!((check(), check()), (1, 0));
            fs::rename(&there, &here).unwrap();
            assert_eq!(check(), 0);
        }
        assert!(history.close().is_empty());
    }
}
