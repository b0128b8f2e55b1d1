//! The line editor: applies keys to the line being typed, and wraps the line into rows.
//!
//! The keys are those of readline in Emacs mode. The client, the server pane, and the consoles of
//! `chat-server` and `chat-run` share this editor, and pass in history and completion.
//!
//! The editor is hand-written because both editor crates that were tried failed in a pseudoterminal
//! of 12 × 40 cells with 1,000 lines a second arriving above the typed line. With rustyline 19 and
//! its external printer, the typed line was missing in 29 of 210 samples of the screen. reedline
//! 0.52 shows nothing until the terminal answers a cursor query, and lost 1 of 3,000 lines. With
//! this editor, drawn by [`super::screen`], the typed line was intact in all 210 samples.

mod buffer;
mod history;
mod undo;

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};

use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers, MouseEventKind};
use unicode_segmentation::UnicodeSegmentation;

use crate::protocol::name::without_marks;
use crate::protocol::text::clean;
use crate::tty::editor::buffer::{Buffer, To};
pub(crate) use crate::tty::editor::history::{History, MAX_LINES};
use crate::tty::editor::undo::Undo;
use crate::tty::wrap;

/// Limit on the length of the text in the editor, in bytes: enough for a paste of 64 lines of
/// maximum length. Without a limit, keys could become slow, because each key scans the whole text.
const MAX_TEXT: usize = 64 * 1024;

/// Limit on the length of a command, in bytes. With its line ending, the longest command has 4096
/// bytes. Longer lines don't work everywhere: a terminal in canonical mode cuts them off
/// (termios(3)), and a write to a pipe, such as the server's stdin, may split them (PIPE_BUF,
/// pipe(7)).
const MAX_COMMAND: usize = 4095;

/// Action that the caller must take after a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EditorAction {
    /// Submit the line, because Enter was pressed.
    Submit,
    /// Ctrl+C was pressed.
    Interrupt,
    /// Ctrl+D was pressed on an empty line.
    EndOfInput,
    /// Clear the screen, because Ctrl+L was pressed.
    Clear,
    /// Stop the job, because Ctrl+Z was pressed.
    Suspend,
    /// Tell the user that input was refused.
    Refuse(Refusal),
}

/// Reason why input was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The line is full: with the input, it would be longer than this many bytes.
    TooLong(usize),
    /// A paste into a command line has this many lines, each of which could be a command.
    Lines(usize),
}

impl Display for Refusal {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong(limit) => write!(
                f,
                "the last input was not taken: a line here has at most {limit} bytes"
            ),
            Self::Lines(lines) => write!(
                f,
                "a paste of {lines} lines was not taken; paste one line at a time here"
            ),
        }
    }
}

/// The kind of line that is edited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Chat messages. A paste may add lines.
    Chat,
    /// An answer to a question of the program.
    Answer,
    /// A password, which isn't shown.
    Password,
    /// A single command of the operator.
    Command,
}

impl Purpose {
    /// Limit on the length of the text, in bytes.
    fn max_len(self) -> usize {
        match self {
            Self::Chat | Self::Answer | Self::Password => MAX_TEXT,
            Self::Command => MAX_COMMAND,
        }
    }
}

/// The completion candidates for the word before the cursor.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Completion {
    /// Byte offset at which the word starts.
    pub(crate) start: usize,
    /// The candidates, each including the space or colon that follows the word. Never empty.
    pub(crate) words: Vec<String>,
}

impl Completion {
    /// Completes the last word of `before`, ignoring case and diacritics. `known` gets the text
    /// before that word, and returns the words that can follow.
    pub(crate) fn of_last_word(
        before: &str,
        known: impl FnOnce(&str) -> Vec<String>,
    ) -> Option<Self> {
        let start = before.rfind(' ').map_or(0, |at| at + 1);
        let (before, word) = before.split_at(start);
        let typed = without_marks(word);
        let words: Vec<String> = known(before)
            .iter()
            .filter(|known| without_marks(known).starts_with(&typed))
            .map(|known| format!("{known} "))
            .collect();
        (!words.is_empty()).then_some(Self { start, words })
    }
}

/// A line being edited.
pub(crate) struct Editor {
    /// The prompt.
    label: String,
    purpose: Purpose,
    buffer: Buffer,
    undo: Undo,
    /// The text that was cut last, which Ctrl+Y inserts.
    cut: String,
    history: History,
    /// Index of the history line that is in the editor. If the editor contains a new line instead,
    /// this is the length of the history.
    position: usize,
    /// Lines that were changed, but not submitted before another line was shown or a search began.
    /// The key is the line's index in the history, or the history's length for the new line.
    drafts: BTreeMap<usize, Buffer>,
    search: Option<Search>,
    choice: Option<Choice>,
    /// Whether input was refused because the line is full. The user has been told, and is not told
    /// again for each further key.
    is_full: bool,
}

/// State of a reverse search, which Ctrl+R starts.
struct Search {
    part: String,
    /// The line that was in the editor when the search began, and its position in the history.
    /// Ctrl+C and Ctrl+G bring this line back.
    before: Buffer,
    position: usize,
    failed: bool,
}

/// The completions through which Tab cycles.
struct Choice {
    start: usize,
    words: Vec<String>,
    /// Index of the candidate that was inserted into the line. `None` if the candidates are only
    /// listed so far.
    index: Option<usize>,
}

/// The line wrapped into rows.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Rows {
    pub(crate) rows: Vec<String>,
    /// Index of the row with the cursor.
    pub(crate) row: usize,
    /// In the row with the cursor, the text before the cursor.
    pub(crate) before: String,
    /// The completion candidates, shown below the line.
    pub(crate) choice: Option<String>,
}

/// The line as a single row, scrolled horizontally.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Row<'a> {
    /// The prompt of the line or of a search.
    pub(crate) label: String,
    /// The text from the first visible character on.
    pub(crate) text: &'a str,
    /// The cursor's column in the text.
    pub(crate) column: usize,
    /// The completion candidates, shown after the text.
    pub(crate) choice: Option<String>,
}

impl Editor {
    /// Creates an editor for an empty line with the prompt `label`.
    pub(crate) fn new(label: &str, purpose: Purpose, history: History) -> Self {
        Self {
            label: label.into(),
            purpose,
            buffer: Buffer::default(),
            undo: Undo::default(),
            cut: String::new(),
            position: history.len(),
            history,
            drafts: BTreeMap::new(),
            search: None,
            choice: None,
            is_full: false,
        }
    }

    /// The text typed so far. It has several lines after a multi-line paste.
    pub(crate) fn text(&self) -> &str {
        self.buffer.text()
    }

    /// Whether the line is a command, which starts with `/`.
    pub(crate) fn is_command(&self) -> bool {
        !self.buffer.is_text && self.text().starts_with('/')
    }

    /// Removes and returns the line, and adds it to the history.
    pub(crate) fn take(&mut self) -> String {
        let text = std::mem::take(&mut self.buffer).text().to_owned();
        self.history.push(&text);
        self.is_full = false;
        self.undo = Undo::default();
        self.drafts.clear();
        self.position = self.history.len();
        text
    }

    /// Clears the line without adding it to the history.
    pub(crate) fn empty(&mut self) {
        self.buffer = Buffer::default();
    }

    /// Replaces the line's first word and the spaces after it with `command`. Does nothing if a
    /// search or a completion is in progress.
    pub(crate) fn replace_command(&mut self, command: &str) {
        let text = self.text();
        let word = text.find(char::is_whitespace).unwrap_or(text.len());
        let end = text.len() - text[word..].trim_start().len();
        if self.search.is_none() && self.choice.is_none() {
            self.buffer.replace_start(end, command);
        }
    }

    /// Inserts pasted text, either all of it or none.
    ///
    /// # Errors
    /// The text has too many lines or is too long.
    pub(crate) fn paste(&mut self, text: &str) -> Result<(), Refusal> {
        self.end_modes();
        let text = text.replace("\r\n", "\n").replace('\r', "\n");
        // Drop line endings at the end of the paste, because only the Enter key submits a line.
        let text = text.trim_end_matches('\n');
        let separator = match self.purpose {
            Purpose::Command if text.contains('\n') => {
                return Err(Refusal::Lines(text.lines().count()));
            }
            Purpose::Chat | Purpose::Command => "\n",
            Purpose::Answer | Purpose::Password => " ",
        };
        let lines: Vec<_> = text.split('\n').map(clean).collect();
        let text = lines.join(separator);
        self.check_room(&text)?;
        let before = self.buffer.clone();
        self.buffer.is_text |= self.buffer.before().is_empty() && text.contains('\n');
        self.buffer.insert(&text);
        self.undo.record(before, &self.buffer, false);
        Ok(())
    }

    fn check_room(&self, text: &str) -> Result<(), Refusal> {
        let limit = self.purpose.max_len();
        if self.text().len() + text.len() > limit {
            return Err(Refusal::TooLong(limit));
        }
        Ok(())
    }

    /// Applies a key to the line. If the key is Tab, calls `complete` with the text before the
    /// cursor.
    pub(crate) fn key(
        &mut self,
        key: KeyEvent,
        complete: impl FnOnce(&str) -> Option<Completion>,
    ) -> Option<EditorAction> {
        if key.kind == KeyEventKind::Release {
            return None;
        }
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        let alt = key.modifiers.contains(KeyModifiers::ALT);
        // Accept Ctrl+7 for Ctrl+_ too, because terminals send the same byte for both.
        if control && matches!(key.code, KeyCode::Char('_' | '7')) {
            self.end_modes();
            if let Some(before) = self.undo.undo() {
                self.buffer = before;
            }
            return None;
        }
        let before = self.buffer.clone();
        let action = match key.code {
            KeyCode::Tab => {
                self.complete(true, complete);
                None
            }
            KeyCode::BackTab => {
                self.complete(false, complete);
                None
            }
            code => {
                self.choice = None;
                if self.search.is_some() && self.search_key(code, control) {
                    None
                } else {
                    self.edit_key(code, control, alt)
                }
            }
        };
        let types = matches!(key.code, KeyCode::Char(_)) && !control && !alt;
        self.undo.record(before, &self.buffer, types);
        action
    }

    fn edit_key(&mut self, code: KeyCode, control: bool, alt: bool) -> Option<EditorAction> {
        let is_empty = self.text().is_empty();
        match (code, control, alt) {
            (KeyCode::Enter, _, _) | (KeyCode::Char('j' | 'm'), true, false) => {
                // Don't submit a command whose end was refused because the line was full: it could
                // have a different meaning.
                let is_cut = self.purpose == Purpose::Command && self.is_full;
                self.is_full = false;
                return (!is_cut).then_some(EditorAction::Submit);
            }
            (KeyCode::Char('c'), true, false) => return Some(EditorAction::Interrupt),
            (KeyCode::Char('d'), true, false) if is_empty => {
                return Some(EditorAction::EndOfInput);
            }
            (KeyCode::Char('l'), true, false) => return Some(EditorAction::Clear),
            (KeyCode::Char('z'), true, false) => return Some(EditorAction::Suspend),

            (KeyCode::Left, true, _) | (KeyCode::Left | KeyCode::Char('b'), _, true) => {
                self.buffer.go(To::WordLeft);
            }
            (KeyCode::Right, true, _) | (KeyCode::Right | KeyCode::Char('f'), _, true) => {
                self.buffer.go(To::WordRight);
            }
            (KeyCode::Left, _, _) | (KeyCode::Char('b'), true, _) => self.buffer.go(To::Left),
            (KeyCode::Right, _, _) | (KeyCode::Char('f'), true, _) => self.buffer.go(To::Right),
            (KeyCode::Home, _, _) | (KeyCode::Char('a'), true, _) => self.buffer.go(To::Start),
            (KeyCode::End, _, _) | (KeyCode::Char('e'), true, _) => self.buffer.go(To::End),

            (KeyCode::Backspace, _, true) => self.cut(To::WordLeft),
            (KeyCode::Backspace, _, _) | (KeyCode::Char('h'), true, _) => {
                self.erase(To::Left);
            }
            (KeyCode::Delete, _, _) | (KeyCode::Char('d'), true, _) => self.erase(To::Right),
            (KeyCode::Char('d'), _, true) => self.cut(To::WordRight),
            (KeyCode::Char('w'), true, _) => self.cut(To::SpaceLeft),
            (KeyCode::Char('u'), true, _) => self.cut(To::Start),
            (KeyCode::Char('k'), true, _) => self.cut(To::End),
            (KeyCode::Char('y'), true, _) => {
                let text = self.cut.clone();
                return self.insert(&text);
            }
            (KeyCode::Char('t'), true, _) => self.buffer.swap(),

            (KeyCode::Up, _, _) | (KeyCode::Char('p'), true, _) => self.recall(-1),
            (KeyCode::Down, _, _) | (KeyCode::Char('n'), true, _) => self.recall(1),
            (KeyCode::Char('r'), true, _) => {
                self.keep_draft();
                self.search = Some(Search {
                    part: String::new(),
                    before: self.buffer.clone(),
                    position: self.position,
                    failed: false,
                });
            }
            (KeyCode::Char(c), false, false) => {
                // Check the character together with the text before it, because `clean` keeps a
                // combining mark only after a base character.
                let seen = format!("{}{c}", self.buffer.before());
                if clean(&seen).ends_with(c) {
                    return self.insert(c.encode_utf8(&mut [0; 4]));
                }
            }
            (_, _, _) => {}
        }
        None
    }

    fn insert(&mut self, text: &str) -> Option<EditorAction> {
        if let Err(refusal) = self.check_room(text) {
            let was_full = std::mem::replace(&mut self.is_full, true);
            return (!was_full).then_some(EditorAction::Refuse(refusal));
        }
        self.is_full = false;
        self.buffer.is_text &= !self.buffer.before().is_empty();
        self.buffer.insert(text);
        None
    }

    /// Cuts text, which Ctrl+Y can insert again.
    fn cut(&mut self, to: To) {
        let cut = self.remove(to);
        if !cut.is_empty() && self.purpose != Purpose::Password {
            self.cut = cut;
        }
    }

    fn erase(&mut self, to: To) {
        self.remove(to);
    }

    fn remove(&mut self, to: To) -> String {
        let removed = self.buffer.cut(to);
        self.buffer.is_text &= !self.buffer.text().is_empty();
        self.is_full &= removed.is_empty();
        removed
    }

    /// Shows the history line that is `step` lines after the current one. A negative `step` shows
    /// an older line.
    fn recall(&mut self, step: isize) {
        let Some(position) = self.position.checked_add_signed(step) else {
            return;
        };
        if position > self.history.len() {
            return;
        }
        self.keep_draft();
        self.show(position);
    }

    /// If the line was changed, stores it in the drafts. Must be called before another line is
    /// shown.
    fn keep_draft(&mut self) {
        if self.is_changed() {
            self.drafts.insert(self.position, self.buffer.clone());
        } else {
            self.drafts.remove(&self.position);
        }
    }

    /// Whether the line was changed since it was taken from the history. A new line counts as
    /// changed if it isn't empty.
    fn is_changed(&self) -> bool {
        self.text() != self.history.line(self.position)
    }

    fn show(&mut self, position: usize) {
        self.position = position;
        self.is_full = false;
        let draft = self.drafts.get(&position).cloned();
        self.buffer = draft.unwrap_or_else(|| Buffer::new(self.history.line(position)));
    }

    /// Applies a turn of the mouse wheel like an arrow key: shows an older or newer line. Does
    /// nothing if the current line was changed, so that an accidental turn doesn't hide it.
    pub(crate) fn scroll(&mut self, direction: MouseEventKind) {
        let code = match direction {
            MouseEventKind::ScrollUp => KeyCode::Up,
            MouseEventKind::ScrollDown => KeyCode::Down,
            _ => return,
        };
        if !self.is_changed() {
            self.key(KeyEvent::from(code), |_| None);
        }
    }

    /// Applies a key to the search. Returns false if there is no search, or if the key ends the
    /// search and must also be applied to the line.
    fn search_key(&mut self, code: KeyCode, control: bool) -> bool {
        let Some(search) = &mut self.search else {
            return false;
        };
        match (code, control) {
            (KeyCode::Char('r'), true) => {
                let end = self.position;
                self.find(end);
            }
            (KeyCode::Esc, _) => self.search = None,
            (KeyCode::Char('c' | 'g'), true) => {
                self.buffer = std::mem::take(&mut search.before);
                self.position = search.position;
                self.search = None;
            }
            (KeyCode::Backspace, _) => {
                search.part.pop();
                self.find(self.history.len());
            }
            (KeyCode::Char(c), false) => {
                search.part.push(c);
                let end = (self.position + 1).min(self.history.len());
                self.find(end);
            }
            (_, _) => {
                self.search = None;
                return false;
            }
        }
        true
    }

    /// Searches the first `end` lines of the history, and shows the newest match.
    fn find(&mut self, end: usize) {
        let Some(search) = &mut self.search else {
            return;
        };
        let found = self.history.find(&search.part, end);
        search.failed = found.is_none();
        if let Some(position) = found {
            self.show(position);
        }
    }

    /// Completes the word before the cursor. If a completion is already in progress, inserts the
    /// next candidate instead. If the line is only a `/`, lists the candidates without choosing
    /// one.
    fn complete(&mut self, forward: bool, complete: impl FnOnce(&str) -> Option<Completion>) {
        let completes = matches!(self.purpose, Purpose::Chat | Purpose::Command);
        if !completes || self.search.is_some() {
            return;
        }
        if let Some(choice) = &mut self.choice {
            let last = choice.words.len() - 1;
            let index = match choice.index {
                Some(index) if forward && index < last => index + 1,
                None | Some(_) if forward => 0,
                None | Some(0) => last,
                Some(index) => index - 1,
            };
            choice.index = Some(index);
            self.buffer.replace_from(choice.start, &choice.words[index]);
            return;
        }
        let Some(found) = complete(self.buffer.before()) else {
            return;
        };
        let lists_only = found.words.len() > 1 && self.buffer.before() == "/";
        let index = if forward { 0 } else { found.words.len() - 1 };
        let index = (!lists_only).then_some(index);
        if let Some(index) = index {
            self.buffer.replace_from(found.start, &found.words[index]);
        }
        if found.words.len() > 1 {
            self.choice = Some(Choice {
                start: found.start,
                words: found.words,
                index,
            });
        }
    }

    fn end_modes(&mut self) {
        self.search = None;
        self.choice = None;
    }

    fn label(&self) -> String {
        match &self.search {
            Some(search) if search.failed => format!("(not found: `{}') ", search.part),
            Some(search) => format!("(search: `{}') ", search.part),
            None => self.label.clone(),
        }
    }

    /// The prompt and the visible text, not wrapped.
    pub(crate) fn line(&self) -> String {
        self.label() + self.shown().0
    }

    /// The text to show, and its part before the cursor.
    fn shown(&self) -> (&str, &str) {
        match self.purpose {
            Purpose::Password => ("", ""),
            Purpose::Chat | Purpose::Answer | Purpose::Command => {
                (self.text(), self.buffer.before())
            }
        }
    }

    /// The line in one row of `columns` columns, scrolled horizontally so that the cursor is
    /// visible.
    pub(crate) fn row(&self, columns: usize) -> Row<'_> {
        let label = self.label();
        let (text, before) = self.shown();
        // Leave a column for the cursor after the last character.
        let space = columns.saturating_sub(wrap::width(&label) + 1);
        let to_cursor = wrap::width(before);
        let (mut start, mut hidden) = (0, 0);
        for (at, grapheme) in before.grapheme_indices(true) {
            if to_cursor - hidden <= space {
                break;
            }
            start = at + grapheme.len();
            hidden += wrap::width(grapheme);
        }
        Row {
            label,
            text: &text[start..],
            column: to_cursor - hidden,
            choice: self.choice.as_ref().map(Choice::shown),
        }
    }

    /// The line wrapped into rows of `columns` columns. If there are more than `most` rows, returns
    /// only `most` of them, among them the row with the cursor.
    ///
    /// The last column stays empty for two reasons: terminals disagree about where the cursor is
    /// after a write to that column, and the cursor needs a cell after the last character.
    pub(crate) fn rows(&self, columns: usize, most: usize) -> Rows {
        let columns = columns.saturating_sub(1).max(1);
        let label = self.label();
        let (text, before) = self.shown();
        let mut rows = wrap::at_words(&label, columns, 0);
        let start = rows.pop().map_or(0, |last| last.start);
        let show = |part: &str| part.replace(wrap::NO_BREAK, " ");
        let mut rows: Vec<String> = rows
            .into_iter()
            .map(|row| show(label[row].trim_end()))
            .collect();
        let label = show(&label[start..]);
        let whole = format!("{label}{text}");
        let cursor = label.len() + before.len();
        let (mut row, mut start_of_row) = (rows.len(), 0);
        let mut start_of_line = 0;
        for line in whole.split('\n') {
            for part in wrap::at_characters(line, columns) {
                if start_of_line + part.start <= cursor {
                    (row, start_of_row) = (rows.len(), start_of_line + part.start);
                }
                rows.push(line[part].to_owned());
            }
            start_of_line += line.len() + 1;
        }
        let first = row.min(rows.len().saturating_sub(most));
        rows.truncate(first + most);
        rows.drain(..first);
        Rows {
            rows,
            row: row - first,
            before: whole[start_of_row..cursor].to_owned(),
            choice: self.choice.as_ref().map(Choice::shown),
        }
    }
}

impl Choice {
    /// The list of all candidates. The current candidate, if any, is in brackets and comes first,
    /// so that it's visible even in a narrow window.
    fn shown(&self) -> String {
        let (before, from) = self.words.split_at(self.index.unwrap_or(0));
        let words = from.iter().chain(before);
        let mut words: Vec<String> = words
            .map(|word| word.trim_end().trim_end_matches(':').to_owned())
            .collect();
        if let (Some(_), Some(current)) = (self.index, words.first_mut()) {
            *current = format!("[{current}]");
        }
        words.join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command_line() -> Editor {
        Editor::new("> ", Purpose::Command, History::default())
    }

    fn press(editor: &mut Editor, code: KeyCode) -> Option<EditorAction> {
        editor.key(KeyEvent::from(code), |_| None)
    }

    fn type_text(editor: &mut Editor, text: &str) {
        for c in text.chars() {
            press(editor, KeyCode::Char(c));
        }
    }

    #[test]
    fn up_and_down_show_earlier_lines_and_then_the_draft() {
        let mut editor = command_line();
        for line in ["one", "two"] {
            type_text(&mut editor, line);
            let action = press(&mut editor, KeyCode::Enter);
            assert_eq!(action, Some(EditorAction::Submit));
            assert_eq!(editor.take(), line);
        }
        type_text(&mut editor, "thr");
        for (key, shown) in [
            (KeyCode::Up, "two"),
            (KeyCode::Up, "one"),
            (KeyCode::Up, "one"),
            (KeyCode::Down, "two"),
            (KeyCode::Down, "thr"),
            (KeyCode::Down, "thr"),
        ] {
            press(&mut editor, key);
            assert_eq!(editor.text(), shown);
        }
    }

    /// Returns a command line with these lines in its history.
    fn with_history(lines: &[&str]) -> Editor {
        let mut editor = command_line();
        for line in lines {
            type_text(&mut editor, line);
            editor.take();
        }
        editor
    }

    #[test]
    fn changed_lines_of_the_history_stay_changed_until_a_line_is_submitted() {
        let mut editor = with_history(&["one", "two"]);
        type_text(&mut editor, "draft");
        for (keys, shown) in [
            (&[KeyCode::Up, KeyCode::Char('!')][..], "two!"),
            (&[KeyCode::Up, KeyCode::Char('?')], "one?"),
            (&[KeyCode::Down], "two!"),
            (&[KeyCode::Down], "draft"),
            (&[KeyCode::Up, KeyCode::Backspace, KeyCode::Down], "draft"),
            (&[KeyCode::Up, KeyCode::Up], "one?"),
        ] {
            for key in keys {
                press(&mut editor, *key);
            }
            assert_eq!(editor.text(), shown, "{keys:?}");
        }
        assert_eq!(editor.take(), "one?");
        for shown in ["one?", "two", "one"] {
            press(&mut editor, KeyCode::Up);
            assert_eq!(editor.text(), shown);
        }
    }

    #[test]
    fn a_canceled_search_keeps_the_draft_and_a_changed_line() {
        let mut editor = with_history(&["one", "two"]);
        type_text(&mut editor, "draft");
        press(&mut editor, KeyCode::Up);
        type_text(&mut editor, "!");
        for key in ['r', 'o', 'g'] {
            let modifiers = match key {
                'o' => KeyModifiers::NONE,
                _ => KeyModifiers::CONTROL,
            };
            editor.key(KeyEvent::new(KeyCode::Char(key), modifiers), |_| None);
        }
        assert_eq!(editor.text(), "two!");
        press(&mut editor, KeyCode::Down);
        assert_eq!(editor.text(), "draft");
    }

    #[test]
    fn the_mouse_wheel_never_replaces_a_changed_line() {
        const UP: MouseEventKind = MouseEventKind::ScrollUp;
        const DOWN: MouseEventKind = MouseEventKind::ScrollDown;
        let mut editor = with_history(&["one", "two"]);
        for (scrolled, shown) in [(UP, "two"), (UP, "one"), (UP, "one"), (DOWN, "two")] {
            editor.scroll(scrolled);
            assert_eq!(editor.text(), shown);
        }
        type_text(&mut editor, "!");
        for scrolled in [UP, DOWN] {
            editor.scroll(scrolled);
            assert_eq!(editor.text(), "two!");
        }
        press(&mut editor, KeyCode::Down);
        type_text(&mut editor, "draft");
        editor.scroll(UP);
        assert_eq!(editor.text(), "draft");
    }

    #[test]
    fn a_paste_of_several_lines_is_refused_in_a_command() {
        let mut editor = command_line();
        assert_eq!(editor.paste("/say one\r\n"), Ok(()));
        for text in ["x\n/quit", "x\r/quit\r", "x\r\n/quit"] {
            assert_eq!(editor.paste(text), Err(Refusal::Lines(2)), "{text:?}");
        }
        assert_eq!(editor.text(), "/say one");
    }

    #[test]
    fn a_paste_is_inserted_at_the_cursor_or_refused_as_a_whole() {
        let mut editor = command_line();
        assert_eq!(editor.paste("żć"), Ok(()));
        press(&mut editor, KeyCode::Left);
        assert_eq!(editor.paste("日本"), Ok(()));
        assert_eq!(editor.text(), "ż日本ć");
        let too_long = "x".repeat(MAX_COMMAND);
        assert_eq!(editor.paste(&too_long), Err(Refusal::TooLong(MAX_COMMAND)));
        assert_eq!(editor.text(), "ż日本ć");
    }

    #[test]
    fn enter_does_not_submit_a_command_after_text_over_the_limit_was_refused() {
        let mut editor = command_line();
        assert_eq!(editor.paste(&"x".repeat(MAX_COMMAND)), Ok(()));
        let refusal = EditorAction::Refuse(Refusal::TooLong(MAX_COMMAND));
        for (code, action) in [
            (KeyCode::Char('y'), Some(refusal)),
            (KeyCode::Char('y'), None),
            (KeyCode::Enter, None),
            (KeyCode::Backspace, None),
            (KeyCode::Char('y'), None),
            (KeyCode::Enter, Some(EditorAction::Submit)),
        ] {
            assert_eq!(press(&mut editor, code), action, "{code:?}");
        }
        assert_eq!(editor.take(), format!("{}y", "x".repeat(MAX_COMMAND - 1)));
    }

    #[test]
    fn tab_after_a_slash_first_lists_the_commands_and_then_completes_the_first() {
        let mut editor = command_line();
        let complete = |_: &str| {
            let words = ["/help ", "/kick ", "/say "].map(String::from).into();
            Some(Completion { start: 0, words })
        };
        type_text(&mut editor, "/");
        for (key, text, choice) in [
            (KeyCode::Tab, "/", "/help /kick /say"),
            (KeyCode::Tab, "/help ", "[/help] /kick /say"),
            (KeyCode::Tab, "/kick ", "[/kick] /say /help"),
            (KeyCode::BackTab, "/help ", "[/help] /kick /say"),
            (KeyCode::BackTab, "/say ", "[/say] /help /kick"),
            (KeyCode::Tab, "/help ", "[/help] /kick /say"),
        ] {
            editor.key(KeyEvent::from(key), complete);
            assert_eq!(editor.text(), text);
            assert_eq!(editor.rows(80, 1).choice.as_deref(), Some(choice));
            assert_eq!(editor.row(80).choice.as_deref(), Some(choice));
        }
        press(&mut editor, KeyCode::Char('x'));
        assert_eq!(editor.row(80).choice, None);
    }

    #[test]
    fn a_prompt_wraps_between_words_and_its_answer_between_characters() {
        let mut editor = Editor::new(
            "name [Ala\u{a0}Makota]: ",
            Purpose::Answer,
            History::default(),
        );
        type_text(&mut editor, "Jan Kowalski");
        let shown = |columns| editor.rows(columns, 10).rows;
        assert_eq!(shown(40), ["name [Ala Makota]: Jan Kowalski"]);
        assert_eq!(shown(25), ["name [Ala Makota]: Jan K", "owalski"]);
        assert_eq!(shown(18), ["name", "[Ala Makota]: Jan", " Kowalski"]);
        let rows = editor.rows(18, 10);
        assert_eq!((rows.row, rows.before.as_str()), (2, " Kowalski"));
    }

    #[test]
    fn a_line_longer_than_its_single_row_scrolls_to_show_the_cursor() {
        let mut editor = command_line();
        editor.paste("0123456789日本語").unwrap();
        let row = |editor: &Editor| {
            let row = editor.row(11);
            (row.text.to_owned(), row.column)
        };
        assert_eq!(row(&editor), ("89日本語".to_owned(), 8));
        press(&mut editor, KeyCode::Home);
        assert_eq!(row(&editor), ("0123456789日本語".to_owned(), 0));
    }
}
