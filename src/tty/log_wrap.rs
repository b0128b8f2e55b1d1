//! Wraps log lines between words to fit the terminal. All rows of a line except the first are
//! indented, so that no part of a message can pass for a separate log line.

use std::borrow::Cow;
use std::iter;

use crate::tty::wrap;

/// Width of the time at the start of a line, including the space after the time, in columns.
const TIME: usize = "00:00:00 ".len();

/// Wraps whole lines for a terminal of `columns` columns. If `columns` is `None`, because the width
/// is unknown or the output isn't a terminal, returns the lines unchanged.
pub(crate) fn fitting(lines: &[u8], columns: Option<usize>) -> Cow<'_, [u8]> {
    let Some(columns) = columns else {
        return Cow::Borrowed(lines);
    };
    let mut shown = String::with_capacity(lines.len() + 64);
    for line in String::from_utf8_lossy(lines).lines() {
        push(line, columns, "\n", &mut shown);
    }
    Cow::Owned(shown.into_bytes())
}

/// Wraps a line, and appends its rows to `shown`, each followed by `end`. Colors continue in the
/// next row. No-break spaces are shown as ordinary spaces. `columns` must not be 0.
pub(crate) fn push(line: &str, columns: usize, end: &str, shown: &mut String) {
    let (text, sequences) = split(line);
    let mut sequences = sequences.into_iter().peekable();
    let indent = indent(&text).min(columns / 3);
    for (index, row) in wrap::at_words(&text, columns, indent).iter().enumerate() {
        if index > 0 {
            shown.push_str(end);
            shown.extend(iter::repeat_n(' ', indent));
        }
        let until = row.start + text[row.clone()].trim_end().len();
        let mut at = row.start;
        while let Some((place, sequence)) = sequences.next_if(|(place, _)| *place <= row.end) {
            let place = place.min(until);
            shown.push_str(&text[at..place].replace(wrap::NO_BREAK, " "));
            shown.push_str(sequence);
            at = place;
        }
        shown.push_str(&text[at..until].replace(wrap::NO_BREAK, " "));
    }
    shown.push_str(end);
}

/// Splits a line into its text and its escape sequences (CSI, ECMA-48 5.4), each with its byte
/// offset in the text.
pub(crate) fn split(line: &str) -> (String, Vec<(usize, &str)>) {
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

/// The indent of all rows except the first, in columns. If the line begins with the time, the rows
/// are aligned with the text after the time. Otherwise, they are indented by two columns more than
/// the line itself.
pub(crate) fn indent(text: &str) -> usize {
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

    fn shown(lines: &str, columns: usize) -> String {
        let shown = fitting(lines.as_bytes(), Some(columns));
        String::from_utf8(shown.into_owned()).unwrap()
    }

    #[test]
    fn continuation_rows_are_indented_to_the_text_of_their_line() {
        for (line, rows) in [
            ("one two three four five\n", "one two three four\n  five\n"),
            ("  nc 127.0.0.1 9999\n", "  nc 127.0.0.1\n    9999\n"),
            (
                "10:00:00 one two three four five six\n",
                "10:00:00 one two\n      three four\n      five six\n",
            ),
            ("a\n\nb", "a\n\nb\n"),
        ] {
            assert_eq!(shown(line, 18), rows);
        }
    }

    #[test]
    fn color_sequences_take_no_columns_and_keep_their_position() {
        assert_eq!(
            shown("\x1b[32m* ala joined\x1b[m\n", 12),
            "\x1b[32m* ala joined\x1b[m\n"
        );
        assert_eq!(
            shown("one \x1b[1;38;5;33mtwo three\x1b[m four\n", 9),
            "one \x1b[1;38;5;33mtwo\n  three\x1b[m\n  four\n"
        );
    }

    #[test]
    fn lines_stay_as_they_are_if_the_output_is_not_a_terminal() {
        let line = b"one two three four \xff \n";
        assert_eq!(*fitting(line, None), *line);
    }
}
