//! The history of typed lines and the last name used, kept in the user's state directory.

use std::env;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::PathBuf;

use crate::os;
use crate::protocol::commands;
use crate::protocol::text::clean;
use crate::tty::editor::{History, MAX_LINES};

/// Limit on the bytes that are read from the end of the history file: [`MAX_LINES`] lines of
/// maximum length.
const MAX_FILE: u64 = 1024 * 1024;

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

/// Loads the name and group of the last login.
pub(crate) fn saved_name() -> Option<String> {
    let mut words = String::new();
    let file = open("name", OpenOptions::new().read(true))?;
    file.take(1024).read_to_string(&mut words).ok()?;
    let words = clean(words.trim()).into_owned();
    (!words.is_empty()).then_some(words)
}

/// Saves the name and group. Ignores errors, because a full disk must not disturb the chat.
pub(crate) fn save_name(words: &str) {
    let mut options = OpenOptions::new();
    if let Some(mut file) = open("name", options.write(true).create(true).truncate(true)) {
        let _ = writeln!(file, "{words}");
    }
}

/// Loads the lines typed in earlier sessions. New lines are appended to the file, except private
/// messages and multi-line pastes.
pub(crate) fn load() -> History {
    let mut lines = read().unwrap_or_default();
    let is_long = lines.len() > 2 * MAX_LINES;
    lines.drain(..lines.len().saturating_sub(MAX_LINES));
    if is_long {
        shorten(&lines);
    }
    // Append each line with a single write, because other clients append to the file too.
    let mut file = open("history", OpenOptions::new().append(true).create(true));
    History::new(lines, move |line| {
        if let Some(file) = &mut file
            && !line.contains('\n')
            && commands::may_be_saved(line)
        {
            // Ignore errors, as in `save_name`.
            let _ = file.write_all(format!("{line}\n").as_bytes());
        }
    })
}

fn read() -> Option<Vec<String>> {
    let mut file = open("history", OpenOptions::new().read(true))?;
    let length = file.metadata().ok()?.len();
    let start = length.saturating_sub(MAX_FILE);
    file.seek(SeekFrom::Start(start)).ok()?;
    let mut bytes = Vec::new();
    file.take(MAX_FILE).read_to_end(&mut bytes).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    Some(text.lines().map(|line| clean(line).into_owned()).collect())
}

/// Replaces the contents of the history file with `lines`.
fn shorten(lines: &[String]) {
    let Some(directory) = directory() else {
        return;
    };
    let mut options = OpenOptions::new();
    let new = format!("history.{}", std::process::id());
    let Some(mut file) = open(&new, options.write(true).create(true).truncate(true)) else {
        return;
    };
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    // Replace the old file only if the write succeeded.
    if file.write_all(text.as_bytes()).is_ok() {
        let _ = fs::rename(directory.join(&new), directory.join("history"));
    }
}
