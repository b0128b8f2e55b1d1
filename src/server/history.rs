//! The history file: the room's events as JSON lines, written before anyone is sent them.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::Path;

use anyhow::{Context, Result, bail};

use super::kept::{Loaded, Mark, load};
use super::past::Past;
use super::sync::Sync;
use crate::os;

/// Bytes that wait while the file cannot be written. Of what comes after them only the number is kept.
const MAX_WAITING: usize = 1024 * 1024;

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
