//! The width of text in columns, and wrapping.

use std::ops::Range;

use unicode_segmentation::UnicodeSegmentation;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// The maximum width of `text`, in columns. The actual width may be smaller, because terminals
/// disagree about an emoji of several code points: some draw a single image, others draw each part.
pub(crate) fn width(text: &str) -> usize {
    if text.is_ascii() {
        return text.len();
    }
    text.graphemes(true)
        .map(|grapheme| {
            let parts: usize = grapheme.chars().filter_map(UnicodeWidthChar::width).sum();
            parts.max(grapheme.width())
        })
        .sum()
}

/// Wraps `text` between words into rows of `columns` columns. All rows except the first are shorter
/// by `indent`, which must be less than `columns`.
///
/// A word longer than a row is split, unless it's a link. The terminal itself wraps links, because
/// users can only click a link that the program wrote in one piece.
pub(crate) fn at_words(text: &str, columns: usize, indent: usize) -> Vec<Range<usize>> {
    let mut rows = Vec::new();
    let (mut start, mut used, mut space) = (0, 0, columns);
    let mut at = 0;
    for piece in text.split_inclusive(' ') {
        let word = piece.trim_end_matches(' ');
        let wide = width(word);
        let is_whole = is_link(word) || wide <= columns - indent;
        if used + wide > space && is_whole && used > 0 {
            rows.push(start..at);
            (start, used, space) = (at, 0, columns - indent);
        }
        if used + wide > space && !is_whole {
            for (inside, grapheme) in word.grapheme_indices(true) {
                let wide = width(grapheme);
                if used + wide > space && used > 0 {
                    rows.push(start..at + inside);
                    (start, used, space) = (at + inside, 0, columns - indent);
                }
                used += wide;
            }
        } else {
            used += wide;
        }
        used += piece.len() - word.len();
        at += piece.len();
    }
    rows.push(start..at);
    rows
}

/// Whether a word is a link that the terminal may wrap. All characters must be printable ASCII, as
/// in a URI (RFC 3986, section 2): the terminal continues a link in column 0, where text after a
/// no-break space could pass for a message from another member.
fn is_link(word: &str) -> bool {
    (word.contains("://") || word.starts_with("www.")) && word.bytes().all(|b| b.is_ascii_graphic())
}

/// Wraps one line of text between characters into rows of `columns` columns.
pub(crate) fn at_characters(text: &str, columns: usize) -> Vec<Range<usize>> {
    let mut rows = Vec::new();
    let (mut start, mut used) = (0, 0);
    for (at, grapheme) in text.grapheme_indices(true) {
        let wide = width(grapheme);
        if used + wide > columns && used > 0 {
            rows.push(start..at);
            (start, used) = (at, 0);
        }
        used += wide;
    }
    rows.push(start..text.len());
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(text: &str, rows: Vec<Range<usize>>) -> Vec<&str> {
        rows.into_iter().map(|row| text[row].trim_end()).collect()
    }

    fn words(text: &str, columns: usize, indent: usize) -> Vec<&str> {
        cut(text, at_words(text, columns, indent))
    }

    #[test]
    fn rows_end_at_words_and_leave_space_for_the_indent() {
        assert_eq!(words("one two three", 20, 4), ["one two three"]);
        assert_eq!(
            words("one two three four", 8, 3),
            ["one two", "three", "four"]
        );
        assert_eq!(words("  two  blanks", 9, 2), ["  two", "blanks"]);
        assert_eq!(words("", 9, 2), [""]);
    }

    #[test]
    fn a_word_longer_than_a_row_is_split_unless_it_is_a_link() {
        assert_eq!(words("a abcdefghij", 6, 2), ["a abcd", "efgh", "ij"]);
        assert_eq!(words("日本語テキスト", 6, 2), ["日本語", "テキ", "スト"]);
        assert_eq!(
            words("see https://example.org/x now", 10, 2),
            ["see", "https://example.org/x", "now"]
        );
    }

    #[test]
    fn a_word_with_a_no_break_space_is_not_a_link() {
        assert_eq!(
            words("www.x\u{a0}\u{a0}\u{a0}ola:\u{a0}hi", 8, 2),
            ["www.x", "ola:\u{a0}h", "i"]
        );
    }

    #[test]
    fn wrapping_at_characters_fills_each_row() {
        let text = "ab日本e\u{301}f";
        assert_eq!(cut(text, at_characters(text, 4)), ["ab日", "本e\u{301}f"]);
        assert_eq!(cut("", at_characters("", 4)), [""]);
    }

    #[test]
    fn width_is_the_maximum_over_all_terminals() {
        assert_eq!(width("ab"), 2);
        assert_eq!(width("日本"), 4);
        assert_eq!(width("e\u{301}"), 1);
        assert_eq!(width("\u{2764}\u{fe0f}"), 2);
        assert_eq!(width("👨\u{200d}👩\u{200d}👧"), 6);
    }
}
