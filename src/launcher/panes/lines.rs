//! The lines of the server's pane: kept as they came, and cut at words into rows of any width.

use std::collections::VecDeque;

use super::emulation::SCROLLBACK;
use crate::wrap;

/// Columns that a time takes at the beginning of a line, with the blank after it.
const TIME: usize = "00:00:00 ".len();

/// The last lines, as many as can be scrolled to.
#[derive(Default)]
pub(super) struct Lines {
    kept: VecDeque<String>,
}

impl Lines {
    /// Takes whole lines; gives what shows them on a screen of so many columns, of which there must be one at least.
    pub(super) fn add(&mut self, lines: &[u8], columns: usize) -> Vec<u8> {
        let mut shown = String::with_capacity(lines.len() + 64);
        for line in String::from_utf8_lossy(lines).lines() {
            cut(line, columns, &mut shown);
            self.kept.push_back(line.to_owned());
        }
        let too_many = self.kept.len().saturating_sub(SCROLLBACK);
        self.kept.drain(..too_many);
        shown.into_bytes()
    }

    /// What shows all of them on a screen of so many columns.
    pub(super) fn all(&self, columns: usize) -> Vec<u8> {
        let mut shown = String::new();
        for line in &self.kept {
            cut(line, columns, &mut shown);
        }
        shown.into_bytes()
    }
}

/// Appends the rows of a line, whose colours go on from row to row.
fn cut(line: &str, columns: usize, shown: &mut String) {
    let (text, sequences) = apart(line);
    let mut sequences = sequences.into_iter().peekable();
    let indent = indent(&text).min(columns / 3);
    for (index, row) in wrap::at_words(&text, columns, indent).iter().enumerate() {
        if index > 0 {
            shown.push_str("\r\n");
            shown.extend(std::iter::repeat_n(' ', indent));
        }
        let end = row.start + text[row.clone()].trim_end().len();
        let mut at = row.start;
        while let Some((place, sequence)) = sequences.next_if(|(place, _)| *place <= row.end) {
            let until = place.min(end);
            shown.push_str(&text[at..until]);
            shown.push_str(sequence);
            at = until;
        }
        shown.push_str(&text[at..end]);
    }
    shown.push_str("\r\n");
}

/// The text of a line, and the sequences that colour it (CSI, ECMA-48 5.4), each with its place in the text.
fn apart(line: &str) -> (String, Vec<(usize, &str)>) {
    let (mut text, mut sequences) = (String::new(), Vec::new());
    let mut rest = line;
    while let Some(start) = rest.find("\x1b[") {
        text.push_str(&rest[..start]);
        let sequence = &rest[start..];
        let end = sequence[2..]
            .find(|c: char| ('@'..='~').contains(&c))
            .map_or(sequence.len(), |end| 2 + end + 1);
        sequences.push((text.len(), &sequence[..end]));
        rest = &sequence[end..];
    }
    text.push_str(rest);
    (text, sequences)
}

/// Where all rows of a line but its first begin: under what follows its time, or further in than the line itself.
fn indent(text: &str) -> usize {
    let has_time = text.as_bytes().get(..TIME).is_some_and(|time| {
        time.iter()
            .zip(b"00:00:00 ")
            .all(|(byte, like)| match like {
                b'0' => byte.is_ascii_digit(),
                like => byte == like,
            })
    });
    if has_time {
        return TIME;
    }
    text.len() - text.trim_start_matches(' ').len() + 2
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(line: &str, columns: usize) -> String {
        let shown = Lines::default().add(line.as_bytes(), columns);
        String::from_utf8(shown).unwrap()
    }

    #[test]
    fn rows_end_at_words_under_the_text_of_their_line() {
        for (line, rows) in [
            (
                "one two three four five\n",
                "one two three four\r\n  five\r\n",
            ),
            ("  nc 127.0.0.1 9999\n", "  nc 127.0.0.1\r\n    9999\r\n"),
            (
                "10:00:00 one two three four five six\n",
                "10:00:00 one two\r\n      three four\r\n      five six\r\n",
            ),
            ("a\n\nb", "a\r\n\r\nb\r\n"),
        ] {
            assert_eq!(shown(line, 18), rows);
        }
    }

    #[test]
    fn colours_take_no_room_and_stay_where_they_were() {
        assert_eq!(
            shown("\x1b[32m* ala joined\x1b[m\n", 12),
            "\x1b[32m* ala joined\x1b[m\r\n"
        );
        assert_eq!(
            shown("one \x1b[1;38;5;33mtwo three\x1b[m four\n", 9),
            "one \x1b[1;38;5;33mtwo\r\n  three\x1b[m\r\n  four\r\n"
        );
    }

    #[test]
    fn as_many_lines_are_kept_as_can_be_scrolled_to() {
        let mut lines = Lines::default();
        for number in 0..SCROLLBACK + 10 {
            lines.add(format!("{number}\n").as_bytes(), 80);
        }
        assert!(lines.all(80).starts_with(b"10\r\n11\r\n"));
    }
}
