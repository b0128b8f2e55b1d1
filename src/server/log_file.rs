//! The log file (`--log`): a copy of the operator's log. If the file exists, lines are appended to
//! it.

use std::fmt::{self, Display, Formatter};
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::os;

/// An open log file. Only the thread `log-file` writes it.
pub(crate) struct LogFile {
    path: PathBuf,
    file: File,
    /// Whether the file ends with a partial line.
    is_torn: bool,
    /// Number of lines that could not be written since the last successful write.
    missing: u64,
    is_failing: bool,
}

/// A change in the state of the file. Announced once to the operator.
#[derive(Debug)]
pub(crate) enum Change {
    /// The file cannot be written.
    Failed(PathBuf, io::Error),
    /// The file can be written again.
    Recovered(PathBuf),
}

impl Display for Change {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(path, error) => write!(
                f,
                "the log file {} cannot be written: {error}; the chat goes on without it",
                path.display()
            ),
            Self::Recovered(path) => {
                write!(f, "the log file {} can be written again", path.display())
            }
        }
    }
}

impl LogFile {
    /// Opens or creates the file at `path`.
    ///
    /// # Errors
    /// Same as [`os::open_log`]: the file cannot be opened or created.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self {
            path: path.to_owned(),
            file: os::open_log(path)?,
            is_torn: false,
            missing: 0,
            is_failing: false,
        })
    }

    /// Whether `path` leads to this file.
    pub(crate) fn is_at(&self, path: &Path) -> bool {
        path.exists() && os::leads_to(path, &self.file)
    }

    /// Appends `lines`, which must be whole lines. If the file was moved or deleted, as by
    /// logrotate(8), creates a new one at its path. If earlier lines could not be written, or the
    /// caller has dropped lines (`dropped` is their number), first appends a note with the number
    /// of missing lines. Returns a change to tell the operator, if there is one.
    pub(crate) fn append(&mut self, lines: &[u8], dropped: u64) -> Option<Change> {
        self.missing += dropped;
        let result = self.follow_path().and_then(|()| self.write_missing());
        let result = match result {
            Ok(()) => self.write(lines),
            Err(error) => {
                self.missing += count(lines);
                Err(error)
            }
        };
        let was_failing = std::mem::replace(&mut self.is_failing, result.is_err());
        match result {
            Err(error) if !was_failing => Some(Change::Failed(self.path.clone(), error)),
            Ok(()) if was_failing => Some(Change::Recovered(self.path.clone())),
            Ok(()) | Err(_) => None,
        }
    }

    fn follow_path(&mut self) -> io::Result<()> {
        if !os::leads_to(&self.path, &self.file) {
            self.file = os::open_log(&self.path)?;
            self.is_torn = false;
        }
        Ok(())
    }

    fn write_missing(&mut self) -> io::Result<()> {
        let missing = self.missing;
        if missing == 0 {
            return Ok(());
        }
        let note = match missing {
            1 => "1 line is missing here\n".to_owned(),
            _ => format!("{missing} lines are missing here\n"),
        };
        let result = self.write(note.as_bytes());
        // A note that could not be written does not count as a missing line.
        self.missing = if result.is_ok() { 0 } else { missing };
        result
    }

    /// Writes whole lines, and counts those that could not be written.
    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        let mut rest = lines;
        let mut write = || {
            if std::mem::take(&mut self.is_torn) {
                self.is_torn = self.file.write_all(b"\n").is_err();
            }
            while !rest.is_empty() {
                match self.file.write(rest) {
                    Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                    Ok(count) => {
                        self.is_torn = rest[count - 1] != b'\n';
                        rest = &rest[count..];
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
            Ok(())
        };
        let result = write();
        self.missing += count(rest);
        result
    }
}

/// The number of lines in `lines`.
fn count(lines: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', lines).count() as u64
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_log_file_that_was_moved_or_deleted_is_replaced_by_a_new_one() {
        let dir = tempfile::tempdir().unwrap();
        let (path, old) = (dir.path().join("log"), dir.path().join("log.1"));
        let mut log = LogFile::open(&path).unwrap();
        assert!(log.append(b"one\n", 0).is_none());
        fs::rename(&path, &old).unwrap();
        assert!(log.append(b"two\n", 0).is_none());
        assert_eq!(fs::read_to_string(&old).unwrap(), "one\n");
        assert_eq!(fs::read_to_string(&path).unwrap(), "two\n");
        fs::remove_file(&path).unwrap();
        assert!(log.append(b"three\n", 0).is_none());
        assert_eq!(fs::read_to_string(&path).unwrap(), "three\n");
        // Truncate the file, as logrotate(8) does with the option `copytruncate`.
        File::create(&path).unwrap();
        assert!(log.append(b"four\n", 0).is_none());
        assert_eq!(fs::read_to_string(&path).unwrap(), "four\n");
    }

    #[test]
    fn a_failed_log_write_is_announced_once_and_the_file_counts_the_missing_lines() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("folder");
        fs::create_dir(&folder).unwrap();
        let path = folder.join("log");
        let mut log = LogFile::open(&path).unwrap();
        fs::remove_dir_all(&folder).unwrap();
        let failed = log.append(b"one\ntwo\n", 0);
        assert!(matches!(failed, Some(Change::Failed(..))), "{failed:?}");
        assert!(log.append(b"three\n", 4).is_none());
        fs::create_dir(&folder).unwrap();
        let recovered = log.append(b"four\n", 0);
        assert!(matches!(recovered, Some(Change::Recovered(_))));
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text, "7 lines are missing here\nfour\n");
    }
}
