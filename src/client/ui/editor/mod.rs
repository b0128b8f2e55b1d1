//! The line that is being typed: what each key does to it, and how it looks in rows.
//!
//! Keys are those of a shell (readline's, in its Emacs mode).

mod buffer;
mod undo;

use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use crate::client::ui::completion;
use crate::client::ui::editor::buffer::{Buffer, To};
use crate::client::ui::editor::undo::Undo;
use crate::client::ui::history::History;
use crate::protocol::text::clean;
use crate::tty::wrap;

/// Longest text, in bytes: a paste of 64 of the longest lines. All of it is looked at with each key.
const MAX_TEXT: usize = 64 * 1024;

/// What a key asks of the window, besides changing the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// The line is whole.
    Enter,
    /// To leave.
    Leave,
    /// To empty the screen.
    Clear,
    /// To stop, as a shell's job.
    Suspend,
    /// To hear that there is no room for more.
    Full,
}

/// What a line is typed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// To be said.
    Chat,
    /// To answer a question.
    Answer,
    /// To answer with a password, which does not show.
    Password,
}

/// A line that is being typed.
pub(crate) struct Editor {
    /// What stands before it.
    label: String,
    purpose: Purpose,
    buffer: Buffer,
    /// It was entered where nothing could take it: what is typed next is another line.
    is_kept: bool,
    undo: Undo,
    /// What was cut last, for Ctrl+Y.
    cut: String,
    history: History,
    /// Which line of the history shows; its length for the one that is being typed.
    place: usize,
    /// What was typed before the history was looked into.
    draft: Buffer,
    search: Option<Search>,
    choice: Option<Choice>,
    /// What came last was not taken, and that was told.
    is_full: bool,
}

/// A search through the history, by Ctrl+R.
struct Search {
    part: String,
    /// What was typed before.
    before: Buffer,
    failed: bool,
}

/// Completions to choose from, by Tab.
struct Choice {
    start: usize,
    words: Vec<String>,
    index: usize,
}

/// The line in rows.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Rows {
    pub(crate) rows: Vec<String>,
    /// The row with the cursor.
    pub(crate) row: usize,
    /// What stands before the cursor in it.
    pub(crate) before: String,
    /// What stands below them all: what there is to choose from.
    pub(crate) choice: Option<String>,
}

impl Editor {
    /// An empty line with `label` before it.
    pub(crate) fn new(label: &str, purpose: Purpose, history: History) -> Self {
        Self {
            label: label.into(),
            purpose,
            buffer: Buffer::default(),
            is_kept: false,
            undo: Undo::default(),
            cut: String::new(),
            place: history.len(),
            history,
            draft: Buffer::default(),
            search: None,
            choice: None,
            is_full: false,
        }
    }

    /// What has been typed: several lines where a paste brought them.
    pub(crate) fn text(&self) -> &str {
        self.buffer.text()
    }

    /// Whether a slash at its beginning makes it a command.
    pub(crate) fn is_command(&self) -> bool {
        !self.buffer.is_text && self.text().starts_with('/')
    }

    /// Takes the line, which is in the history from now on.
    pub(crate) fn take(&mut self) -> String {
        let text = std::mem::take(&mut self.buffer).text().to_owned();
        self.history.push(&text);
        self.is_kept = false;
        self.undo = Undo::default();
        self.place = self.history.len();
        text
    }

    /// Empties the line, which the history does not get.
    pub(crate) fn empty(&mut self) {
        self.buffer = Buffer::default();
    }

    /// Keeps a line that was entered where nothing could take it, to be edited, or entered again. What is typed instead does not become a part of
    /// it.
    pub(crate) fn keep(&mut self) {
        self.is_kept = true;
    }

    /// Takes what was pasted, all of it or nothing.
    pub(crate) fn paste(&mut self, text: &str) -> Option<Wish> {
        self.end_modes();
        self.begin_another();
        if !self.has_room(text) {
            return Some(Wish::Full);
        }
        let before = self.buffer.clone();
        let text = text.replace("\r\n", "\n").replace('\r', "\n");
        // The line's own end is what Enter is for.
        let lines = text.trim_end_matches('\n').split('\n').map(clean);
        let ending = match self.purpose {
            Purpose::Chat => "\n",
            Purpose::Answer | Purpose::Password => " ",
        };
        let text = lines.collect::<Vec<_>>().join(ending);
        self.buffer.is_text |= self.buffer.before().is_empty() && text.contains('\n');
        self.buffer.insert(&text);
        self.undo.learn(before, &self.buffer, false);
        None
    }

    fn has_room(&self, text: &str) -> bool {
        self.text().len() + text.len() <= MAX_TEXT
    }

    /// Does what a key is for. `names` are those whom Tab completes, the likeliest first.
    pub(crate) fn key(&mut self, key: KeyEvent, names: &[&str]) -> Option<Wish> {
        if key.kind == KeyEventKind::Release {
            return None;
        }
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        let alt = key.modifiers.contains(KeyModifiers::ALT);
        // As a terminal sends Ctrl+_, it may have been Ctrl+7.
        if control && matches!(key.code, KeyCode::Char('_' | '7')) {
            self.end_modes();
            if let Some(before) = self.undo.take_back() {
                self.buffer = before;
            }
            return None;
        }
        let before = self.buffer.clone();
        let wish = self.any_key(key.code, control, alt, names);
        let types = matches!(key.code, KeyCode::Char(_)) && !control && !alt;
        self.undo.learn(before, &self.buffer, types);
        wish
    }

    fn any_key(&mut self, code: KeyCode, control: bool, alt: bool, names: &[&str]) -> Option<Wish> {
        match code {
            KeyCode::Tab => self.complete(true, names),
            KeyCode::BackTab => self.complete(false, names),
            code => {
                self.choice = None;
                if self.search.is_some() && self.search_key(code, control) {
                    return None;
                }
                return self.edit_key(code, control, alt);
            }
        }
        None
    }

    fn edit_key(&mut self, code: KeyCode, control: bool, alt: bool) -> Option<Wish> {
        let is_empty = self.text().is_empty();
        // Any other key than one that is typed, or Enter, is for the line that stands there.
        self.is_kept &= matches!((code, control, alt), (KeyCode::Char(_), false, false))
            || matches!(code, KeyCode::Enter);
        match (code, control, alt) {
            (KeyCode::Enter, _, _) | (KeyCode::Char('j' | 'm'), true, false) => {
                return Some(Wish::Enter);
            }
            (KeyCode::Char('c'), true, false) => return Some(Wish::Leave),
            (KeyCode::Char('d'), true, false) if is_empty => return Some(Wish::Leave),
            (KeyCode::Char('l'), true, false) => return Some(Wish::Clear),
            (KeyCode::Char('z'), true, false) => return Some(Wish::Suspend),

            (KeyCode::Left, true, _) | (KeyCode::Left, _, true) | (KeyCode::Char('b'), _, true) => {
                self.buffer.go(To::WordLeft);
            }
            (KeyCode::Right, true, _)
            | (KeyCode::Right, _, true)
            | (KeyCode::Char('f'), _, true) => self.buffer.go(To::WordRight),
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
            (KeyCode::Char('w'), true, _) => self.cut(To::BlankLeft),
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
                let before = self.buffer.clone();
                self.search = Some(Search {
                    part: String::new(),
                    before,
                    failed: false,
                });
            }
            (KeyCode::Char(c), false, false) => {
                // A mark is seen with what it stands on; what cannot be seen is not sent either.
                let seen = format!("{}{c}", self.buffer.before());
                if clean(&seen).ends_with(c) {
                    return self.insert(c.encode_utf8(&mut [0; 4]));
                }
            }
            // Keys that do nothing here.
            (_, _, _) => {}
        }
        None
    }

    /// Begins another line where one is kept, which the history has then.
    fn begin_another(&mut self) {
        if self.is_kept {
            self.take();
        }
    }

    fn insert(&mut self, text: &str) -> Option<Wish> {
        self.begin_another();
        if !self.has_room(text) {
            // Once, however much is typed on.
            return (!std::mem::replace(&mut self.is_full, true)).then_some(Wish::Full);
        }
        self.is_full = false;
        self.buffer.is_text &= !self.buffer.before().is_empty();
        self.buffer.insert(text);
        None
    }

    /// Cuts, so that Ctrl+Y brings it back.
    fn cut(&mut self, to: To) {
        let cut = self.erased(to);
        if !cut.is_empty() && self.purpose != Purpose::Password {
            self.cut = cut;
        }
    }

    fn erase(&mut self, to: To) {
        self.erased(to);
    }

    fn erased(&mut self, to: To) -> String {
        let erased = self.buffer.cut(to);
        self.buffer.is_text &= !self.buffer.text().is_empty();
        erased
    }

    /// Shows an older line, or a newer one.
    fn recall(&mut self, step: isize) {
        let Some(place) = self.place.checked_add_signed(step) else {
            return;
        };
        if place > self.history.len() {
            return;
        }
        if self.place == self.history.len() {
            self.draft = self.buffer.clone();
        }
        self.show(place);
    }

    fn show(&mut self, place: usize) {
        self.place = place;
        self.buffer = if place == self.history.len() {
            self.draft.clone()
        } else {
            Buffer::new(self.history.line(place))
        };
    }

    /// Does what a key is for in a search; `false` where the key ends the search, and is to do what it does elsewhere.
    fn search_key(&mut self, code: KeyCode, control: bool) -> bool {
        let Some(search) = &mut self.search else {
            return false;
        };
        match (code, control) {
            (KeyCode::Char('r'), true) => {
                let before = self.place;
                self.find(before);
            }
            (KeyCode::Esc, _) => self.search = None,
            (KeyCode::Char('c' | 'g'), true) => {
                self.buffer = std::mem::take(&mut search.before);
                self.place = self.history.len();
                self.search = None;
            }
            (KeyCode::Backspace, _) => {
                search.part.pop();
                self.find(self.history.len());
            }
            (KeyCode::Char(c), false) => {
                search.part.push(c);
                let from = (self.place + 1).min(self.history.len());
                self.find(from);
            }
            (_, _) => {
                self.search = None;
                return false;
            }
        }
        true
    }

    /// Shows the last line before number `before` that has what is searched in it.
    fn find(&mut self, before: usize) {
        let Some(search) = &mut self.search else {
            return;
        };
        let found = self.history.find(&search.part, before);
        search.failed = found.is_none();
        if self.place == self.history.len() {
            self.draft = search.before.clone();
        }
        if let Some(place) = found {
            self.show(place);
        }
    }

    /// Completes the word before the cursor, or takes another completion of it.
    fn complete(&mut self, forward: bool, names: &[&str]) {
        if self.purpose != Purpose::Chat || self.search.is_some() {
            return;
        }
        if let Some(choice) = &mut self.choice {
            let count = choice.words.len();
            choice.index = (choice.index + if forward { 1 } else { count - 1 }) % count;
            self.buffer
                .replace_from(choice.start, &choice.words[choice.index]);
            return;
        }
        let Some(found) = completion::complete(self.buffer.before(), names) else {
            return;
        };
        let index = if forward { 0 } else { found.words.len() - 1 };
        self.buffer.replace_from(found.start, &found.words[index]);
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

    /// The line in rows of a screen of so many columns, at most `most` of them: those around the cursor.
    ///
    /// The last column stays empty: what a terminal does after it differs, and the cursor needs a place after the last character.
    pub(crate) fn rows(&self, columns: usize, most: usize) -> Rows {
        let label = match &self.search {
            Some(search) if search.failed => format!("(not found: `{}') ", search.part),
            Some(search) => format!("(search: `{}') ", search.part),
            None => self.label.clone(),
        };
        let (text, before) = match self.purpose {
            Purpose::Password => ("", ""),
            Purpose::Chat | Purpose::Answer => (self.text(), self.buffer.before()),
        };
        let whole = format!("{label}{text}");
        let cursor = label.len() + before.len();
        let mut rows = Vec::new();
        let (mut row, mut start_of_row) = (0, 0);
        let mut start_of_line = 0;
        for line in whole.split('\n') {
            for part in wrap::at_characters(line, columns.saturating_sub(1).max(1)) {
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
    /// All that there is to choose from, the chosen one in brackets and first, so that it is there in a narrow window, too.
    fn shown(&self) -> String {
        let (before, from) = self.words.split_at(self.index);
        let mut shown = String::new();
        for (index, word) in from.iter().chain(before).enumerate() {
            let word = word.trim_end().trim_end_matches(':');
            if index == 0 {
                shown = format!("[{word}]");
            } else {
                shown.push(' ');
                shown.push_str(word);
            }
        }
        shown
    }
}
