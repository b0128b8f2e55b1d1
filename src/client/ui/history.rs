//! The history of typed lines and the last name used, kept in the user's state directory.
//!
//! Several clients may use these files at the same time, and a user may have replaced a file with a
//! link. So a file is only changed in place: a new file in its place would break the link, and
//! clients that have the old file open would lose their lines. Each client appends its lines to the
//! history, and holds a shared lock on the file until it exits. A client that starts while no other
//! client holds this lock shortens the file if it is too long. No client waits for a lock.

use std::env;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use rustix::fs::OFlags;

use crate::os;
use crate::protocol::commands;
use crate::protocol::request::Identity;
use crate::protocol::text::clean;
use crate::tty::editor::{History, MAX_LINES};

/// Limit on the bytes that are read from the end of the history file: [`MAX_LINES`] lines of
/// maximum length.
const MAX_FILE: u64 = 1024 * 1024;

/// Number of windows whose saved names [`save_name`] compares with a new name: the maximum of
/// `chat-run -c`.
const MAX_WINDOWS: usize = 64;

/// The directory for state, as opposed to configuration (XDG Base Directory Specification,
/// `XDG_STATE_HOME`).
fn directory() -> Option<PathBuf> {
    // Ignore relative paths, as the specification requires.
    let absolute = |path: &PathBuf| path.is_absolute();
    let state = env::var_os("XDG_STATE_HOME").map(PathBuf::from);
    let home = || env::home_dir().map(|home| home.join(".local/state"));
    let state = state.filter(absolute).or_else(home).filter(absolute)?;
    Some(state.join("chat-run"))
}

/// Opens a file in [`directory`] that only its owner can read. Returns `None` on any error, and if
/// the file is not a regular file.
fn open(name: &str, options: &mut OpenOptions) -> Option<File> {
    let directory = directory()?;
    os::create_private_folder(&directory).ok()?;
    os::open_regular(os::private(options), &directory.join(name)).ok()
}

/// The name of the file that stores the last name used in this window of a session or, if `window`
/// is `None`, outside of sessions. Each window has a file of its own, because two members cannot
/// have the same name.
fn name_file(window: Option<usize>) -> String {
    window.map_or_else(|| "name".into(), |number| format!("name-{number}"))
}

/// Loads the name, with its group, of the last login in this window.
pub(crate) fn saved_name(window: Option<usize>) -> Option<String> {
    let mut words = String::new();
    let file = open(&name_file(window), OpenOptions::new().read(true))?;
    file.take(1024).read_to_string(&mut words).ok()?;
    // Read only the first line. While another client replaces a longer name with a shorter one, the
    // end of the longer one may still follow.
    let words = clean(words.lines().next()?.trim()).into_owned();
    (!words.is_empty()).then_some(words)
}

/// Saves the name and group for this window. If the file of another window has the same name,
/// empties that file, so that only one window offers the name. Ignores errors, because a full disk
/// must not disturb the chat.
pub(crate) fn save_name(window: Option<usize>, identity: &Identity) {
    let others = (1..=MAX_WINDOWS).filter(|number| window.is_some_and(|own| own != *number));
    for other in others.map(Some) {
        let saved = saved_name(other).and_then(|words| Identity::parse(&words).ok());
        if saved.is_some_and(|saved| saved.name.is_same(&identity.name)) {
            let mut options = OpenOptions::new();
            open(&name_file(other), options.write(true).truncate(true));
        }
    }
    let mut options = OpenOptions::new();
    let file = open(&name_file(window), options.write(true).create(true));
    // Do not write to a locked file, because another client is saving its name there at this
    // moment.
    if let Some(file) = file
        && !is_locked(file.try_lock())
    {
        let _ = os::overwrite(&file, format!("{identity}\n").as_bytes());
    }
}

/// Loads the lines typed in earlier sessions. The returned history appends new lines to the file,
/// except private messages and multi-line pastes.
pub(crate) fn load() -> History {
    let mut options = OpenOptions::new();
    let writable = open("history", options.read(true).write(true).create(true));
    let Some(file) = writable.or_else(|| open("history", OpenOptions::new().read(true))) else {
        return History::default();
    };
    let is_alone = file.try_lock().is_ok();
    let (lines, is_long) = read(&file).unwrap_or_default();
    if is_alone && is_long {
        // Ignore a failed write. It loses none of the newest lines, because they are also at the
        // end of the old contents, which is cut off only after the new contents are written.
        let _ = os::overwrite(&file, &lines.concat());
    }
    // Make each write append, because other clients append to the file too. This can't fail for an
    // open file (fcntl(2)).
    let _ = rustix::fs::fcntl_setfl(&file, OFlags::APPEND);
    let may_append = !is_locked(file.try_lock_shared());
    let shown = lines
        .iter()
        .map(|line| String::from_utf8_lossy(line))
        .map(|line| clean(line.trim_end_matches(['\r', '\n'])).into_owned())
        .collect();
    let mut file = LinesFile {
        file,
        may_append,
        unsaved: String::new(),
    };
    History::new(shown, move |line| {
        if !line.contains('\n') && commands::may_be_saved(line) {
            file.append(line);
        }
    })
}

/// Reads the last [`MAX_LINES`] lines that aren't blank, each with its ending. Also returns whether
/// the file is so long that it should be shortened.
fn read(mut file: &File) -> io::Result<(Vec<Vec<u8>>, bool)> {
    let length = file.metadata()?.len();
    let start = length.saturating_sub(MAX_FILE);
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    file.take(MAX_FILE).read_to_end(&mut bytes)?;
    // Skip the first line unless the whole file was read, because the line may begin before
    // `start`.
    let partial = usize::from(start > 0);
    let lines: Vec<&[u8]> = bytes
        .split_inclusive(|byte| *byte == b'\n')
        .skip(partial)
        .filter(|line| !line.trim_ascii().is_empty())
        .collect();
    let is_long = lines.len() > 2 * MAX_LINES || length > 2 * MAX_FILE;
    let last = &lines[lines.len().saturating_sub(MAX_LINES)..];
    Ok((last.iter().map(|line| line.to_vec()).collect(), is_long))
}

/// Whether a lock was refused because another process holds one. False if the file system has no
/// locks.
fn is_locked(result: Result<(), TryLockError>) -> bool {
    matches!(result, Err(TryLockError::WouldBlock))
}

/// The history file, to which other clients append at the same time.
struct LinesFile {
    file: File,
    /// Whether this client may append now. True if it holds the shared lock, which keeps other
    /// clients from shortening the file, or if the file system has no locks.
    may_append: bool,
    /// Lines that were typed while another client was shortening the file.
    unsaved: String,
}

impl LinesFile {
    /// Appends a line, or keeps it for the next call if another client is shortening the file.
    fn append(&mut self, line: &str) {
        self.unsaved.push_str(line);
        self.unsaved.push('\n');
        self.may_append = self.may_append || !is_locked(self.file.try_lock_shared());
        if self.may_append {
            self.save();
        }
    }

    /// Appends the unsaved lines in a single write, so that they don't mix with lines of other
    /// clients. Ignores errors, because a full disk must not disturb the chat.
    fn save(&mut self) {
        if self.has_torn_line().unwrap_or(false) {
            self.unsaved.insert(0, '\n');
        }
        let _ = self.file.write_all(self.unsaved.as_bytes());
        self.unsaved.clear();
    }

    /// Whether the last line has no ending, because a disk was full, for example.
    fn has_torn_line(&self) -> io::Result<bool> {
        let Some(last) = self.file.metadata()?.len().checked_sub(1) else {
            return Ok(false);
        };
        let mut byte = [0];
        self.file.read_exact_at(&mut byte, last)?;
        Ok(byte != *b"\n")
    }
}

impl Drop for LinesFile {
    fn drop(&mut self) {
        if !self.unsaved.is_empty() {
            self.save();
        }
    }
}
