//! Text that is safe to show: without controls, and without characters that hide or reorder text.
//!
//! Characters are checked one by one, and escape sequences aren't parsed: once a sequence's ESC is
//! replaced by a visible `␛`, the rest is harmless text, and an unfinished sequence can't swallow
//! what follows.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use unicode_properties::{GeneralCategory, UnicodeGeneralCategory};

/// Limit on the combining marks of each kind (stacked, spacing) after a character. Further marks
/// are removed, because they would be drawn over other lines. Living scripts need at most four of
/// each kind: Burmese `လျှော့` has three spacing and two stacked marks.
const MAX_MARKS: u8 = 4;

/// Limit on consecutive joiners and variation selectors. An emoji may need a selector and a joiner
/// (`❤️‍🔥`); no text needs a third.
const MAX_JOINERS: u8 = 2;

/// Text that a terminal can show safely. It is cleaned when it is created. Clones share one
/// allocation.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Text(Arc<str>);

impl Text {
    /// Creates a text from `raw`, cleaned by [`clean`].
    pub fn new(raw: &str) -> Self {
        Self(clean(raw).into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the text has a visible character. See the function [`is_visible`].
    pub fn is_visible(&self) -> bool {
        is_visible(&self.0)
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Removes from `raw` what could control a terminal, or hide or reorder text on it.
///
/// - C0 controls and DEL become their pictures (U+2400, "Control Pictures"). C1 controls, which
///   terminals obey even in UTF-8, become U+FFFD. Tabs and line and paragraph separators become
///   spaces.
/// - These characters are removed: bidirectional controls (UAX 9, section 2), other format
///   characters (category Cf) except the prepended concatenation marks, default-ignorable
///   characters (UAX 44) and noncharacters.
/// - Joiners (ZWJ, ZWNJ, CGJ) and variation selectors stay after a visible character, at most two
///   in a row.
/// - Combining marks stay: up to four stacked marks (Mn, Me) and four spacing marks (Mc) per
///   character.
///
/// Allocates only if something changes. The result is at most three times as long as `raw`, and
/// cleaning it again changes nothing.
pub fn clean(raw: &str) -> Cow<'_, str> {
    if is_printable_ascii(raw) {
        return Cow::Borrowed(raw);
    }
    let mut preceding = Preceding::default();
    let mut rest = raw.char_indices();
    while let Some((at, c)) = rest.next() {
        let kept = preceding.admit(c);
        if kept != Some(c) {
            let mut cleaned = String::with_capacity(raw.len());
            cleaned.push_str(&raw[..at]);
            cleaned.extend(kept);
            cleaned.extend(rest.filter_map(|(_, c)| preceding.admit(c)));
            return Cow::Owned(cleaned);
        }
    }
    Cow::Borrowed(raw)
}

/// Whether `text` has at least one visible character. Spaces and the empty Braille cell are not
/// visible, nor are marks, joiners and selectors without a base character.
pub fn is_visible(text: &str) -> bool {
    text.chars().any(|c| match kind(c) {
        Kind::Visible => true,
        Kind::Replaced(by) => by != ' ',
        Kind::Blank | Kind::StackedMark | Kind::SpacingMark | Kind::Joiner | Kind::Hidden => false,
    })
}

/// Removes invisible characters from the start of `line`, such as the byte order mark with which
/// some programs begin their output. Otherwise, a command after such a character would be taken for
/// text, although it looks like a command. Before a slash, removes control characters too, such as
/// the EOT that telnet sends for Ctrl+D in character mode. Keeps blanks.
pub fn trim_hidden(line: &str) -> &str {
    let is_hidden = |c| matches!(kind(c), Kind::Hidden | Kind::Joiner);
    let is_key = |c: char| c.is_control() && !c.is_whitespace();
    let command = line.trim_start_matches(|c| is_hidden(c) || is_key(c));
    if command.starts_with('/') {
        command
    } else {
        line.trim_start_matches(is_hidden)
    }
}

/// Whether `text` is printable ASCII, the common case that needs no cleaning. The loop has no early
/// exit, so that the compiler can vectorize it.
fn is_printable_ascii(text: &str) -> bool {
    text.bytes()
        .fold(true, |all, byte| all & matches!(byte, b' '..=b'~'))
}

/// A character's effect on a screen, as far as it matters for text cleaning and names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Visible,
    /// Takes up space, but draws nothing.
    Blank,
    /// A mark over, under or around the character before it (Mn, Me).
    StackedMark,
    /// A spacing combining mark (general category Mc), displayed next to the preceding character.
    SpacingMark,
    /// Draws nothing, but changes how the characters around it are drawn.
    Joiner,
    /// Draws nothing, or changes the order of other characters. Removed from text.
    Hidden,
    /// Must not be shown. Contains the character to show instead.
    Replaced(char),
}

pub(crate) fn kind(c: char) -> Kind {
    match c {
        ' ' => Kind::Blank,
        '!'..='~' => Kind::Visible,
        '\t' | '\u{2028}' | '\u{2029}' => Kind::Replaced(' '),
        '\0'..='\x1f' => Kind::Replaced(
            char::from_u32(0x2400 + u32::from(c)).unwrap_or(char::REPLACEMENT_CHARACTER),
        ),
        '\x7f' => Kind::Replaced('\u{2421}'),
        '\u{80}'..='\u{9f}' => Kind::Replaced(char::REPLACEMENT_CHARACTER),
        // Latin, Greek, Cyrillic, Chinese and Korean letters, matched here to avoid a search in the
        // Unicode tables.
        '\u{a1}'..='\u{ac}'
        | '\u{ae}'..='\u{2ff}'
        | '\u{370}'..='\u{482}'
        | '\u{4e00}'..='\u{9fff}'
        | '\u{ac00}'..='\u{d7a3}' => Kind::Visible,
        // CGJ, ZWNJ, ZWJ, and the variation selectors of three blocks: Mongolian, general and
        // supplementary.
        '\u{34f}'
        | '\u{200c}'
        | '\u{200d}'
        | '\u{180b}'..='\u{180d}'
        | '\u{180f}'
        | '\u{fe00}'..='\u{fe0f}'
        | '\u{e0100}'..='\u{e01ef}' => Kind::Joiner,
        // Default-ignorable characters that are not format characters: Hangul fillers, two Khmer
        // vowels, and reserved code points, which include the tags.
        '\u{115f}'
        | '\u{1160}'
        | '\u{3164}'
        | '\u{ffa0}'
        | '\u{17b4}'
        | '\u{17b5}'
        | '\u{2065}'
        | '\u{fff0}'..='\u{fff8}'
        | '\u{e0000}'..='\u{e0fff}' => Kind::Hidden,
        // Noncharacters, which Unicode reserves for internal use by programs.
        '\u{fdd0}'..='\u{fdef}' => Kind::Hidden,
        c if u32::from(c) & 0xfffe == 0xfffe => Kind::Hidden,
        // Characters that are empty by design, but do not count as white space: a Braille cell, a
        // notehead and two hieroglyphs.
        '\u{2800}' | '\u{1d159}' | '\u{13441}' | '\u{13442}' => Kind::Blank,
        c if c.is_whitespace() => Kind::Blank,
        // Prepended concatenation marks (UAX 44): format characters that are drawn around the
        // digits that follow.
        '\u{600}'..='\u{605}'
        | '\u{6dd}'
        | '\u{70f}'
        | '\u{890}'
        | '\u{891}'
        | '\u{8e2}'
        | '\u{110bd}'
        | '\u{110cd}' => Kind::Visible,
        c => match c.general_category() {
            GeneralCategory::Format => Kind::Hidden,
            GeneralCategory::NonspacingMark | GeneralCategory::EnclosingMark => Kind::StackedMark,
            GeneralCategory::SpacingMark => Kind::SpacingMark,
            _ => Kind::Visible,
        },
    }
}

/// State of the cleaning: whether a character is kept may depend on the characters before it. Only
/// the characters that were kept count. Otherwise, cleaning a text twice could give a different
/// result from cleaning it once.
#[derive(Default)]
struct Preceding {
    /// Whether the last kept character, apart from marks and joiners, is visible.
    after_visible: bool,
    joiners: u8,
    stacked: u8,
    spacing: u8,
}

impl Preceding {
    /// Returns `c` or its replacement, or `None` if `c` is removed.
    fn admit(&mut self, c: char) -> Option<char> {
        let (kept, after_visible) = match kind(c) {
            Kind::Visible => (c, true),
            Kind::Blank => (c, false),
            Kind::Replaced(by) => (by, by != ' '),
            Kind::Hidden => return None,
            Kind::Joiner => {
                let room = self.after_visible && self.joiners < MAX_JOINERS;
                self.joiners += u8::from(room);
                return room.then_some(c);
            }
            Kind::StackedMark => return self.admit_mark(c, |preceding| &mut preceding.stacked),
            Kind::SpacingMark => return self.admit_mark(c, |preceding| &mut preceding.spacing),
        };
        *self = Self {
            after_visible,
            ..Self::default()
        };
        Some(kept)
    }

    fn admit_mark(&mut self, c: char, count: fn(&mut Self) -> &mut u8) -> Option<char> {
        let count = count(self);
        if *count == MAX_MARKS {
            return None;
        }
        *count += 1;
        self.joiners = 0;
        Some(c)
    }
}

#[cfg(test)]
mod tests {
    use unicode_properties::GeneralCategoryGroup;

    use super::*;

    /// Asserts that cleaning neither changes nor copies `text`.
    #[track_caller]
    fn stays(text: &str) {
        assert!(
            matches!(clean(text), Cow::Borrowed(same) if same == text),
            "{text:?} became {:?}",
            clean(text)
        );
    }

    #[track_caller]
    fn becomes(raw: &str, cleaned: &str) {
        assert_eq!(clean(raw), cleaned, "from {raw:?}");
    }

    #[test]
    fn control_characters_become_visible() {
        becomes("a\x1b[31mb", "a␛[31mb");
        becomes("a\x1b]0;unterminated", "a␛]0;unterminated");
        becomes("\0\x07\r\n\x1f\x7f", "␀␇␍␊␟␡");
        becomes("a\u{9b}31mb\u{85}\u{80}", "a\u{fffd}31mb\u{fffd}\u{fffd}");
    }

    #[test]
    fn tabs_and_separators_become_spaces() {
        becomes("a\tb\u{2028}c\u{2029}d", "a b c d");
    }

    #[test]
    fn leading_and_inner_and_trailing_spaces_are_kept() {
        stays("  a  b ");
        stays("\u{a0}\u{3000}\u{2003}a");
    }

    #[test]
    fn characters_that_hide_or_reorder_text_are_removed() {
        for c in "\u{61c}\u{200e}\u{200f}\u{202a}\u{202b}\u{202c}\u{202d}\u{202e}\u{2066}\u{2067}\u{2068}\u{2069}".chars()
        {
            becomes(&format!("a{c}b"), "ab");
        }
        for c in "\u{ad}\u{180e}\u{200b}\u{2060}\u{2064}\u{2065}\u{206a}\u{feff}\u{fff0}\u{fff9}\u{fffa}\u{fffb}\u{1d173}\
                  \u{1bca0}\u{e0001}\u{e0041}\u{e007f}\u{e0fff}"
            .chars()
        {
            becomes(&format!("a{c}b"), "ab");
        }
    }

    #[test]
    fn noncharacters_are_removed() {
        becomes(
            "a\u{fdd0}\u{fdef}\u{fffe}\u{ffff}\u{1fffe}\u{10ffff}b",
            "ab",
        );
        stays("\u{fdcf}\u{fdf0}\u{fffd}");
    }

    #[test]
    fn invisible_letters_are_removed() {
        becomes("a\u{115f}\u{1160}\u{3164}\u{ffa0}\u{17b4}\u{17b5}b", "ab");
    }

    #[test]
    fn prepended_concatenation_marks_stay() {
        stays("\u{600}١٢ \u{6dd}٣ \u{70f}ܐ \u{8e2} \u{110bd}");
    }

    #[test]
    fn no_mark_or_format_character_except_a_prepended_mark_counts_as_visible() {
        let wrong: String = ('\0'..=char::MAX)
            .filter(|c| kind(*c) == Kind::Visible)
            .filter(|c| {
                c.general_category_group() == GeneralCategoryGroup::Mark
                    || c.general_category() == GeneralCategory::Format
            })
            .collect();
        assert_eq!(
            wrong,
            "\u{600}\u{601}\u{602}\u{603}\u{604}\u{605}\u{6dd}\u{70f}\u{890}\u{891}\u{8e2}\u{110bd}\u{110cd}"
        );
    }

    #[test]
    fn text_in_living_scripts_is_unchanged() {
        stays("Zażółć gęślą jaźń, Straße, naïve, Ægir");
        stays("z\u{307}o\u{301}l\u{301}c\u{301}");
        stays("בְּרֵאשִׁית בָּרָא");
        stays("السَّلَامُ عَلَيْكُمْ می\u{200c}خواهم");
        stays("क्षत्रिय नमस्ते क्\u{200d}ष");
        stays("ที่นี่ น้ำ ผู้");
        stays("བསྒྲུབས་ ཧཱུྃ");
        stays("လျှော့ ရွှေ့ မြွှာ");
        stays("張偉 山田 さくら がぎぐ 한국어 葛\u{e0100}");
        stays("ᠮᠣᠩ\u{180b}ᠭᠣᠯ");
        stays("Việt Nam, tiếng Việt");
    }

    #[test]
    fn emoji_are_unchanged() {
        stays(
            "❤\u{fe0f}\u{200d}🔥 🏳\u{fe0f}\u{200d}🌈 👨\u{200d}👩\u{200d}👧\u{200d}👦 👩🏽\u{200d}🚀 👁\u{fe0f}\u{200d}🗨\u{fe0f}",
        );
        stays("1\u{fe0f}\u{20e3} 🇵🇱 👍🏿");
    }

    #[test]
    fn the_emoji_flag_of_a_region_loses_its_invisible_tag_letters() {
        becomes(
            "🏴\u{e0067}\u{e0062}\u{e0065}\u{e006e}\u{e0067}\u{e007f}!",
            "🏴!",
        );
    }

    #[test]
    fn joiners_and_variation_selectors_are_kept_only_after_a_visible_character() {
        becomes("\u{200d}\u{fe0f}a", "a");
        becomes(" \u{200c}\u{34f}a", " a");
        becomes("a\t\u{200d}b", "a b");
        becomes(" \u{301}\u{200d}a", " \u{301}a");
        becomes("\x1b\u{200d}", "␛\u{200d}");
    }

    #[test]
    fn at_most_two_joiners_in_a_row_are_kept() {
        becomes(
            "a\u{200d}\u{fe0f}\u{e0101}\u{34f}\u{200c}b",
            "a\u{200d}\u{fe0f}b",
        );
        becomes(
            "a\u{200d}\u{200b}\u{200d}\u{200b}\u{200d}b",
            "a\u{200d}\u{200d}b",
        );
    }

    #[test]
    fn at_most_four_marks_per_character_are_kept() {
        becomes(
            &format!("a{}b", "\u{301}".repeat(50)),
            &format!("a{}b", "\u{301}".repeat(4)),
        );
        becomes(
            &format!("a{}", "\u{301}\u{200d}".repeat(9)),
            &format!("a{}\u{200d}", "\u{301}\u{200d}".repeat(4)),
        );
        becomes(
            &format!(" {}", "\u{20dd}\u{200b}".repeat(9)),
            &format!(" {}", "\u{20dd}".repeat(4)),
        );
        becomes(&"\u{903}\u{301}".repeat(9), &"\u{903}\u{301}".repeat(4));
    }

    #[test]
    fn text_without_a_drawn_character_is_not_visible() {
        for text in ["a", " a", "字", "🇵", "\u{1b}", "\u{600}", "a\u{301}"] {
            assert!(is_visible(text) && Text::new(text).is_visible(), "{text:?}");
        }
        for text in [
            "",
            " ",
            "\t",
            "\u{a0}\u{3000}",
            "\u{2800}",
            "\u{3164}\u{115f}",
            "\u{1d159}",
            "\u{301}",
            "\u{200d}\u{fe0f}",
            "\u{e0041}",
        ] {
            assert!(
                !is_visible(text) && !Text::new(text).is_visible(),
                "{text:?}"
            );
        }
    }

    #[test]
    fn a_text_is_cleaned_when_created_and_padded_like_a_string() {
        let text = Text::new("a\u{202e}b\x1b");
        assert_eq!(text.as_str(), "ab␛");
        assert_eq!(format!("[{text:<5}]"), "[ab␛  ]");
        assert_eq!(text, Text::new("ab␛"));
    }
}
