//! The width of text in columns, and wrapping.

use std::ops::Range;

use unicode_segmentation::UnicodeSegmentation;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// A no-break space, which keeps two words in the same row. A row ends at such a space only if the
/// two words together are longer than a row. The screen shows an ordinary space.
pub(crate) const NO_BREAK: &str = "\u{a0}";

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
/// A word that is longer than a row is split, and its first part stays in the row of the preceding
/// word. Spaces at the end of a row may exceed the width, so the caller must trim them.
pub(crate) fn at_words(text: &str, columns: usize, indent: usize) -> Vec<Range<usize>> {
    let mut rows = Vec::new();
    let (mut start, mut used, mut space) = (0, 0, columns);
    let mut at = 0;
    let pieces = text.split_inclusive(' ').flat_map(|piece| {
        let is_long = width(piece.trim_end_matches(' ')) > columns - indent;
        // In a piece that is longer than a row, treat no-break spaces like ordinary spaces, which
        // do not count at the end of a row.
        let is_space = move |c: char| c == ' ' || (is_long && NO_BREAK.contains(c));
        let parts = piece.split_inclusive(is_space);
        parts.map(move |part| (part, part.trim_end_matches(is_space)))
    });
    for (piece, word) in pieces {
        let wide = width(word);
        // Begin a new row only before a word, and only if the word fits in a row. Spaces that
        // exceed the width stay at the end of their row.
        let is_moved = used + wide > space && (1..=columns - indent).contains(&wide);
        if is_moved && used > 0 {
            rows.push(start..at);
            (start, used, space) = (at, 0, columns - indent);
        }
        if used + wide > space {
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
        used += width(&piece[word.len()..]);
        at += piece.len();
    }
    rows.push(start..at);
    rows
}

/// The web addresses in `text`, as byte ranges, at most one in a word. Brackets and punctuation
/// around an address are not part of it.
pub(crate) fn links(text: &str) -> impl Iterator<Item = Range<usize>> {
    text.split_inclusive(char::is_whitespace)
        .scan(0, |at, piece| {
            let word = *at;
            *at += piece.len();
            Some((word, piece))
        })
        .filter_map(|(word, piece)| {
            let schemes = ["http://", "https://"];
            let start = schemes
                .iter()
                .filter_map(|scheme| piece.find(scheme))
                .min()?;
            // End the address at the first character that is not printable ASCII, because a URI
            // contains no others (RFC 3986, section 2).
            let rest = &piece[start..];
            let rest = &rest[..rest
                .find(|c: char| !c.is_ascii_graphic())
                .unwrap_or(rest.len())];
            let link = rest.trim_end_matches(|c| r#".,;:!?'")]}>"#.contains(c));
            Some(word + start..word + start + link.len())
        })
}

/// Wraps one line of text into rows of `columns` columns. Breaks between any two characters, not
/// only at spaces.
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
    fn rows_break_between_words_and_leave_space_for_the_indent() {
        assert_eq!(words("one two three", 20, 4), ["one two three"]);
        assert_eq!(
            words("one two three four", 8, 3),
            ["one two", "three", "four"]
        );
        assert_eq!(words("  two  blanks", 9, 2), ["  two", "blanks"]);
        assert_eq!(words("", 9, 2), [""]);
    }

    #[test]
    fn a_word_longer_than_a_row_starts_after_the_preceding_word_and_is_split() {
        assert_eq!(words("a abcdefghij", 6, 2), ["a abcd", "efgh", "ij"]);
        assert_eq!(words("日本語テキスト", 6, 2), ["日本語", "テキ", "スト"]);
        assert_eq!(
            words("ola: https://example.org/x now", 10, 2),
            ["ola: https", "://examp", "le.org/x", "now"]
        );
    }

    #[test]
    fn a_word_that_fits_in_a_row_of_its_own_moves_there_whole() {
        assert_eq!(words("ola: abcdefgh", 10, 2), ["ola:", "abcdefgh"]);
        assert_eq!(words("ola: abcdefghi", 10, 2), ["ola: abcde", "fghi"]);
    }

    #[test]
    fn words_joined_by_a_no_break_space_are_split_only_if_too_long_for_one_row() {
        assert_eq!(words("as [Ala\u{a0}3A]:", 9, 0), ["as", "[Ala\u{a0}3A]:"]);
        assert_eq!(words("as [Ala\u{a0}3A]:", 8, 0), ["as [Ala", "3A]:"]);
    }

    #[test]
    fn spaces_beyond_the_end_of_a_row_do_not_continue_on_the_next_row() {
        assert_eq!(words("one      two    ", 5, 2), ["one", "two"]);
        assert_eq!(words("one      ", 5, 2), ["one"]);
        assert_eq!(words("          one", 5, 2), ["", "one"]);
    }

    #[test]
    fn a_link_is_a_web_address_without_the_punctuation_around_it() {
        let found = |text: &'static str| -> Vec<&str> { links(text).map(|at| &text[at]).collect() };
        assert_eq!(
            found("see (https://a.org/x?u=http://b), http://c.org/ż and ftp://d"),
            ["https://a.org/x?u=http://b", "http://c.org/"]
        );
        assert_eq!(found("www.x\u{a0}ola: http:/ https"), [""; 0]);
    }

    #[test]
    fn wrapping_at_characters_fills_each_row() {
        let text = "ab日本e\u{301}f";
        assert_eq!(cut(text, at_characters(text, 4)), ["ab日", "本e\u{301}f"]);
        assert_eq!(cut("", at_characters("", 4)), [""]);
    }

    #[test]
    fn the_width_of_a_text_is_the_largest_that_any_terminal_gives_it() {
        assert_eq!(width("ab"), 2);
        assert_eq!(width("日本"), 4);
        assert_eq!(width("e\u{301}"), 1);
        assert_eq!(width("\u{2764}\u{fe0f}"), 2);
        assert_eq!(width("👨\u{200d}👩\u{200d}👧"), 6);
    }
}
