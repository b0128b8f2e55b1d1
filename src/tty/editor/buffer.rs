//! Text with a cursor, and the edits that keys make to it.

use unicode_segmentation::UnicodeSegmentation;

/// Text with a cursor. The cursor is always between two grapheme clusters (UAX 29), which users see
/// as characters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Buffer {
    text: String,
    /// The cursor's byte offset.
    cursor: usize,
    /// Whether the text starts with a multi-line paste, so that it's never a command, even if it
    /// starts with `/`.
    pub(crate) is_text: bool,
}

/// The target of a cursor movement or a cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum To {
    Left,
    Right,
    WordLeft,
    WordRight,
    /// The start of the space-delimited word to the left, for Ctrl+W.
    SpaceLeft,
    Start,
    End,
}

impl Buffer {
    /// Creates a buffer for a line from the history, with the cursor at the end.
    pub(crate) fn new(text: &str) -> Self {
        Self {
            text: text.into(),
            cursor: text.len(),
            is_text: text.contains('\n'),
        }
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// The text before the cursor.
    pub(crate) fn before(&self) -> &str {
        &self.text[..self.cursor]
    }

    fn after(&self) -> &str {
        &self.text[self.cursor..]
    }

    pub(crate) fn insert(&mut self, text: &str) {
        self.text.insert_str(self.cursor, text);
        self.cursor += text.len();
    }

    /// Replaces the text from byte `start` to the cursor with `text`.
    pub(crate) fn replace_from(&mut self, start: usize, text: &str) {
        self.text.replace_range(start..self.cursor, text);
        self.cursor = start + text.len();
    }

    /// Replaces the text before byte `end` with `text`. If the cursor is before `end`, moves it to
    /// the end of `text`.
    pub(crate) fn replace_start(&mut self, end: usize, text: &str) {
        self.text.replace_range(..end, text);
        self.cursor = text.len() + self.cursor.saturating_sub(end);
    }

    pub(crate) fn go(&mut self, to: To) {
        self.cursor = self.offset(to);
    }

    /// Removes and returns the text between the cursor and the target `to`.
    pub(crate) fn cut(&mut self, to: To) -> String {
        let target = self.offset(to);
        let (start, end) = (target.min(self.cursor), target.max(self.cursor));
        self.cursor = start;
        self.text.drain(start..end).collect()
    }

    /// Swaps the two characters around the cursor, as Ctrl+T does in readline.
    pub(crate) fn swap(&mut self) {
        let cursor = self.cursor;
        if self.after().is_empty() {
            self.go(To::Left);
        }
        let before = self.cut(To::Left);
        if before.is_empty() {
            self.cursor = cursor;
            return;
        }
        self.go(To::Right);
        self.insert(&before);
    }

    /// The byte offset of the target `to`.
    fn offset(&self, to: To) -> usize {
        let (before, after) = (self.before(), self.after());
        match to {
            To::Left => self.cursor - before.graphemes(true).next_back().map_or(0, str::len),
            To::Right => self.cursor + after.graphemes(true).next().map_or(0, str::len),
            To::WordLeft => before
                .unicode_word_indices()
                .next_back()
                .map_or(0, |(at, _)| at),
            To::WordRight => after
                .unicode_word_indices()
                .next()
                .map_or(self.text.len(), |(at, word)| self.cursor + at + word.len()),
            To::SpaceLeft => {
                let word = before.trim_end();
                word.rfind(char::is_whitespace).map_or(0, |at| {
                    at + word[at..].chars().next().map_or(0, char::len_utf8)
                })
            }
            // Find the start of the current line, because a paste may have added several lines.
            To::Start => before.rfind('\n').map_or(0, |at| at + 1),
            To::End => self.cursor + after.find('\n').unwrap_or(after.len()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Creates a buffer from `text`, in which `|` stands for the cursor.
    fn at(text: &str) -> Buffer {
        let (before, after) = text.split_once('|').unwrap();
        Buffer {
            text: format!("{before}{after}"),
            cursor: before.len(),
            is_text: false,
        }
    }

    fn shown(buffer: &Buffer) -> String {
        format!("{}|{}", buffer.before(), buffer.after())
    }

    #[test]
    fn the_cursor_moves_by_characters_words_and_lines() {
        for (before, to, after) in [
            ("ab|", To::Left, "a|b"),
            ("|ab", To::Left, "|ab"),
            ("e\u{301}|x", To::Left, "|e\u{301}x"),
            (
                "|👨\u{200d}👩\u{200d}👧x",
                To::Right,
                "👨\u{200d}👩\u{200d}👧|x",
            ),
            ("one two |", To::WordLeft, "one |two "),
            ("|one, two", To::WordRight, "one|, two"),
            ("|, ", To::WordRight, ", |"),
            ("one two|", To::Start, "|one two"),
            ("one\ntw|o\nthree", To::Start, "one\n|two\nthree"),
            ("one\ntw|o\nthree", To::End, "one\ntwo|\nthree"),
        ] {
            let mut buffer = at(before);
            buffer.go(to);
            assert_eq!(shown(&buffer), after, "{before:?} {to:?}");
        }
    }

    #[test]
    fn cutting_text_returns_the_removed_text() {
        for (before, to, after, cut) in [
            ("abc|d", To::Left, "ab|d", "c"),
            ("ab|cd", To::Right, "ab|d", "c"),
            (
                "say http://a.b/c |x",
                To::SpaceLeft,
                "say |x",
                "http://a.b/c ",
            ),
            ("one two|x", To::Start, "|x", "one two"),
            ("one| two", To::End, "one|", " two"),
            ("|", To::Left, "|", ""),
        ] {
            let mut buffer = at(before);
            assert_eq!(buffer.cut(to), cut, "{before:?} {to:?}");
            assert_eq!(shown(&buffer), after, "{before:?} {to:?}");
        }
    }

    #[test]
    fn ctrl_t_swaps_the_characters_around_the_cursor() {
        for (before, after) in [
            ("a|b", "ba|"),
            ("ab|", "ba|"),
            ("|ab", "|ab"),
            ("|", "|"),
            ("a|", "a|"),
        ] {
            let mut buffer = at(before);
            buffer.swap();
            assert_eq!(shown(&buffer), after, "{before:?}");
        }
    }
}
