//! What was typed before, and the name that was taken last: kept over sessions in the user's state folder.

use std::env;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::PathBuf;

use crate::os;
use crate::protocol::commands;
use crate::protocol::text::clean;

/// Lines that are remembered.
const MAX_LINES: usize = 1000;

/// Bytes of the file that are read at most: [`MAX_LINES`] of the longest that can be sent.
const MAX_FILE: u64 = 1024 * 1024;

/// Where programs keep what they need not lose (XDG Base Directory Specification, `XDG_STATE_HOME`).
fn folder() -> Option<PathBuf> {
    // One that is not absolute is to be ignored, says the specification.
    let absolute = |path: &PathBuf| path.is_absolute();
    let state = env::var_os("XDG_STATE_HOME").map(PathBuf::from);
    let home = || env::home_dir().map(|home| home.join(".local/state"));
    let state = state.filter(absolute).or_else(home).filter(absolute)?;
    Some(state.join("chat-run"))
}

/// A file in it, for its owner alone. What is no file there is left alone.
fn open(name: &str, options: &mut OpenOptions) -> Option<File> {
    let folder = folder()?;
    os::create_private_folder(&folder).ok()?;
    os::open_regular(os::private(options), &folder.join(name)).ok()
}

/// The name, with its group, that was taken last.
pub(crate) fn last_name() -> Option<String> {
    let mut words = String::new();
    let file = open("name", OpenOptions::new().read(true))?;
    file.take(1024).read_to_string(&mut words).ok()?;
    let words = clean(words.trim()).into_owned();
    (!words.is_empty()).then_some(words)
}

/// Remembers it. A disk that does not take it is no reason to disturb anybody.
pub(crate) fn keep_name(words: &str) {
    let mut options = OpenOptions::new();
    if let Some(mut file) = open("name", options.write(true).create(true).truncate(true)) {
        let _ = writeln!(file, "{words}");
    }
}

/// The lines that were typed, the oldest first.
pub(crate) struct History {
    lines: Vec<String>,
    /// Only ever appended to, each line by one write: other clients write there too.
    file: Option<File>,
}

impl History {
    /// Without what was typed before, and kept nowhere.
    pub(crate) fn empty() -> Self {
        Self {
            lines: Vec::new(),
            file: None,
        }
    }

    /// With what was typed before, as far as that can be had.
    pub(crate) fn load() -> Self {
        let read = || -> Option<Vec<String>> {
            let mut file = open("history", OpenOptions::new().read(true))?;
            let length = file.metadata().ok()?.len();
            io::Seek::seek(
                &mut file,
                io::SeekFrom::Start(length.saturating_sub(MAX_FILE)),
            )
            .ok()?;
            let mut bytes = Vec::new();
            file.take(MAX_FILE).read_to_end(&mut bytes).ok()?;
            let text = String::from_utf8_lossy(&bytes);
            let lines: Vec<String> = text.lines().map(|line| clean(line).into_owned()).collect();
            Some(lines)
        };
        let mut lines = read().unwrap_or_default();
        let is_long = lines.len() > 2 * MAX_LINES;
        lines.drain(..lines.len().saturating_sub(MAX_LINES));
        if is_long {
            shorten(&lines);
        }
        Self {
            lines,
            file: open("history", OpenOptions::new().append(true).create(true)),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.lines.len()
    }

    pub(crate) fn line(&self, index: usize) -> &str {
        self.lines.get(index).map_or("", String::as_str)
    }

    /// The last line before number `before` that has `part` in it.
    pub(crate) fn find(&self, part: &str, before: usize) -> Option<usize> {
        let lines = self.lines.iter().take(before);
        lines.into_iter().rposition(|line| line.contains(part))
    }

    /// Remembers a line; on the disk, what is not private and is one line.
    pub(crate) fn push(&mut self, line: &str) {
        if line.trim().is_empty() || self.lines.last().is_some_and(|last| last == line) {
            return;
        }
        self.lines.push(line.to_owned());
        if let Some(file) = &mut self.file
            && !line.contains('\n')
            && commands::may_be_kept(line)
        {
            // A full disk is no reason to disturb anybody.
            let _ = file.write_all(format!("{line}\n").as_bytes());
        }
    }
}

/// Writes a file of these lines in place of the one that there is.
fn shorten(lines: &[String]) {
    let Some(folder) = folder() else {
        return;
    };
    let mut options = OpenOptions::new();
    let new = format!("history.{}", std::process::id());
    let Some(mut file) = open(&new, options.write(true).create(true).truncate(true)) else {
        return;
    };
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    // Where that fails, the old one stays.
    if file.write_all(text.as_bytes()).is_ok() {
        let _ = fs::rename(folder.join(&new), folder.join("history"));
    }
}
