//! Rules for the characters of a name: which are allowed, and in which position.

use std::ops::RangeInclusive;

use precis_profiles::precis_core::profile::Rules;
use precis_profiles::precis_core::{DerivedPropertyValue, IdentifierClass, StringClass};
use precis_profiles::{Nickname, UsernameCasePreserved};
use unicode_properties::{GeneralCategory, UnicodeGeneralCategory};
use unicode_script::{Script, UnicodeScript};
use unicode_security::confusable_detection::skeleton;

use crate::protocol::text::{Kind, kind};

/// The apostrophe that phones and word processors type. It looks like `'`, so names that differ
/// only in their apostrophes are the same.
const CURLY_APOSTROPHE: char = '\u{2019}';

/// ZERO WIDTH NON-JOINER, which keeps letters apart that would be joined, as in Persian names.
const ZWNJ: char = '\u{200c}';

/// ZERO WIDTH JOINER, which makes conjuncts in Indic scripts, as in Sinhala names.
const ZWJ: char = '\u{200d}';

/// Punctuation that a name may have after its first character.
pub(crate) const NAME_SIGNS: &[char] = &['_', '-', '\'', CURLY_APOSTROPHE];

/// Punctuation that a group may have.
pub(crate) const GROUP_SIGNS: &[char] = &['_', '-', '\'', CURLY_APOSTROPHE, '/', '.'];

/// Letters of ordinary names that PRECIS does not allow, because they have a compatibility
/// decomposition: Armenian `և` (as in `Սևակ`), Thai `ำ` (as in `น้ำ`), and Lao `ຳ`, `ໜ` and `ໝ`.
const EXTRA_LETTERS: &[char] = &['\u{587}', '\u{e33}', '\u{eb3}', '\u{edc}', '\u{edd}'];

/// Punctuation with a meaning in the server's plain lines: it begins a line, or follows a name. A
/// letter that looks like such a sign (`ǃ`, U+01C3; `ː`, U+02D0) can't be in a name.
const LINE_SIGNS: &[char] = &['*', '!', '[', ']', ':'];

/// The block "Combining Diacritical Marks" of Unicode.
const ACCENTS: RangeInclusive<char> = '\u{300}'..='\u{36f}';

/// Removes joiners from `text`, and replaces all kinds of apostrophes by `'`.
pub(crate) fn with_plain_signs(text: &str) -> String {
    let text = text.chars().filter(|c| !matches!(*c, ZWNJ | ZWJ));
    text.map(|c| match c {
        CURLY_APOSTROPHE | '\u{2bc}' | '\u{5f3}' => '\'',
        c => c,
    })
    .collect()
}

/// Returns the first character of `text` that is not allowed. A character is allowed if it is in
/// `signs`, if it is a suitable letter, mark or digit ([`is_allowed`]), or if the letters around it
/// allow it ([`is_allowed_here`]). If all characters are allowed, but `text` mixes Arabic and
/// extended Arabic digits, returns the first extended Arabic digit.
pub(crate) fn first_disallowed(text: &str, signs: &[char]) -> Option<char> {
    let is_ok =
        |(at, c): &(usize, char)| signs.contains(c) || is_allowed(*c) || is_allowed_here(text, *at);
    let disallowed = text.char_indices().find(|each| !is_ok(each));
    let disallowed = disallowed.map(|(_, c)| c);
    // Arabic and extended Arabic digits can't be mixed, because some of them look the same (RFC
    // 5892, appendix A.8).
    let arabic = || text.contains(|c| matches!(c, '\u{660}'..='\u{669}'));
    disallowed.or_else(|| {
        text.chars()
            .find(|c| matches!(c, '\u{6f0}'..='\u{6f9}') && arabic())
    })
}

/// Whether `c` is a letter, mark or decimal digit that RFC 8264 allows in identifiers, or one of
/// [`EXTRA_LETTERS`].
fn is_allowed(c: char) -> bool {
    if c.is_ascii() {
        return c.is_ascii_alphanumeric();
    }
    let is_of_a_word = is_letter_or_digit(c) || is_mark(c);
    let is_drawn = matches!(
        kind(c),
        Kind::Visible | Kind::StackedMark | Kind::SpacingMark
    );
    is_of_a_word && is_drawn && (is_valid_in_precis(c) || EXTRA_LETTERS.contains(&c))
}

/// Whether the letters around the character at byte `at` of `text` allow this character. The rules
/// are from RFC 5892, appendix A, and concern joiners, the Catalan and Japanese middle dots and
/// Hebrew punctuation. Returns false for any other character.
fn is_allowed_here(text: &str, at: usize) -> bool {
    let (before, rest) = text.split_at(at);
    let mut rest = rest.chars();
    let (c, after) = (rest.next(), rest.next());
    let before = before.chars().next_back();
    match c {
        // RFC 5892, appendices A.1 and A.2: joiners. The PRECIS crate can check a joiner only
        // together with the whole text. So replace every other character that the crate would
        // reject by an `x`, which never joins: then the result depends only on this joiner.
        Some(ZWNJ | ZWJ) => {
            let is_known = |c: char| (is_letter_or_digit(c) || is_mark(c)) && is_valid_in_precis(c);
            let label = text.char_indices().map(|(other_at, other)| {
                let is_kept = other_at == at || is_known(other);
                if is_kept { other } else { 'x' }
            });
            let label: String = label.collect();
            IdentifierClass::default().allows(&label).is_ok()
        }
        // RFC 5892, appendix A.3: the middle dot of Catalan, also between capitals.
        Some('\u{b7}') => [before, after].iter().all(|c| matches!(c, Some('l' | 'L'))),
        // RFC 5892, appendices A.5 and A.6: Hebrew geresh and gershayim.
        Some('\u{5f3}' | '\u{5f4}') => before.is_some_and(|c| c.script() == Script::Hebrew),
        // RFC 5892, appendix A.7: the middle dot between the parts of a foreign name in Japanese.
        Some('\u{30fb}') => {
            let is_japanese = |c: char| {
                let script = c.script();
                matches!(script, Script::Hiragana | Script::Katakana | Script::Han)
            };
            after.is_some_and(is_letter_or_digit) && text.contains(is_japanese)
        }
        Some(_) | None => false,
    }
}

fn is_valid_in_precis(c: char) -> bool {
    match IdentifierClass::default().get_value_from_char(c) {
        DerivedPropertyValue::PValid | DerivedPropertyValue::SpecClassPval => true,
        // RFC 5892 allows characters of the class CONTEXTO only in some places. The only letters,
        // marks or digits of this class are Arabic digits, whose rule `first_disallowed` checks.
        // This function is never called for other characters of the class.
        DerivedPropertyValue::ContextO => true,
        DerivedPropertyValue::ContextJ
        | DerivedPropertyValue::Disallowed
        | DerivedPropertyValue::SpecClassDis => false,
        // The registry of PRECIS ends with Unicode 6.3. For letters that Unicode added later
        // (Adlam, Georgian capitals, rare Chinese characters), apply the only part of the PRECIS
        // algorithm that matters here: a letter with a compatibility decomposition is not allowed.
        DerivedPropertyValue::Unassigned => {
            let letter = c.to_string();
            Nickname::new()
                .normalization_rule(letter.as_str())
                .is_ok_and(|nfkc| nfkc == letter)
        }
    }
}

fn is_letter_or_digit(c: char) -> bool {
    matches!(
        c.general_category(),
        GeneralCategory::UppercaseLetter
            | GeneralCategory::LowercaseLetter
            | GeneralCategory::TitlecaseLetter
            | GeneralCategory::ModifierLetter
            | GeneralCategory::OtherLetter
            | GeneralCategory::DecimalNumber
    )
}

pub(crate) fn is_mark(c: char) -> bool {
    matches!(
        c.general_category(),
        GeneralCategory::NonspacingMark
            | GeneralCategory::SpacingMark
            | GeneralCategory::EnclosingMark
    )
}

pub(crate) fn may_begin(c: char) -> bool {
    is_letter_or_digit(c) && !looks_like_line_sign(c)
}

fn looks_like_line_sign(c: char) -> bool {
    // Skip the skeleton for ASCII letters and digits, the most common characters: they look like
    // none of the signs.
    !c.is_ascii_alphanumeric()
        && skeleton(c.encode_utf8(&mut [0; 4])).any(|part| LINE_SIGNS.contains(&part))
}

/// Returns the first letter that looks like one of [`LINE_SIGNS`]. Marks that look like a sign are
/// allowed, because some scripts need them: many Sanskrit names end with such a mark (`रामः`).
pub(crate) fn first_line_sign_look_alike(name: &str) -> Option<char> {
    name.chars()
        .find(|c| is_letter_or_digit(*c) && looks_like_line_sign(*c))
}

/// Returns the first mark that does not belong to the letter before it, because their scripts
/// differ (script extensions, UAX 24). Many fonts draw nothing for such a mark, so the name would
/// look the same without the mark. Some marks have no script. Those in [`ACCENTS`] are allowed
/// after any letter; the rest, for phonetics, symbols and music, are never allowed.
pub(crate) fn mark_of_another_script(name: &str) -> Option<char> {
    let mut base = None;
    name.chars().find(|c| {
        let scripts = c.script_extension();
        if matches!(*c, ZWNJ | ZWJ) {
            return false;
        }
        if !is_mark(*c) {
            base = Some(scripts).filter(|scripts| !scripts.is_common());
            return false;
        }
        let is_general = scripts.is_common() || scripts.is_inherited();
        if is_general {
            !ACCENTS.contains(c)
        } else {
            base.is_none_or(|base| base.intersection(scripts).is_empty())
        }
    })
}

/// Checks the bidi rule of RFC 5893, without which different names could look the same.
///
/// This check differs from the rule in two points. A name may end with punctuation, as in Hebrew
/// `ג'ורג'`; the rule requires a letter or digit at the end. Vowel points and other marks are
/// removed before the check: the RFC allows them after any letter (section 2, rules 2 and 3), but
/// the `precis_profiles` crate only at the end.
pub(crate) fn obeys_bidi_rule(name: &str) -> bool {
    let is_mark = |c: &char| c.general_category() == GeneralCategory::NonspacingMark;
    let unmarked: String = name.chars().filter(|c| !is_mark(c)).collect();
    UsernameCasePreserved::new()
        .directionality_rule(unmarked.trim_end_matches(NAME_SIGNS))
        .is_ok()
}

#[cfg(test)]
mod tests {
    use crate::protocol::name::tests::{name, refusal};
    use crate::protocol::name::{Name, NameError};

    #[test]
    fn a_name_begins_with_a_letter_or_digit() {
        for raw in [
            "-ala",
            "_ala",
            "'ala",
            "*ala",
            "!ala",
            "[ala",
            "/ala",
            "\u{301}ala",
            "\u{200d}ala",
            "--*ala",
            "ǃala",
        ] {
            assert_eq!(
                refusal(raw),
                "a name begins with a letter or digit: try ala",
                "{raw:?}"
            );
        }
        for raw in ["-", "@@", "*server", "ǃ", "\u{301}"] {
            assert_eq!(
                refusal(raw),
                "a name begins with a letter or digit",
                "{raw:?}"
            );
        }
    }

    #[test]
    fn a_character_that_is_not_allowed_is_named_in_the_error() {
        for (raw, what) in [
            ("a@b", "\"@\""),
            ("a:b", "\":\""),
            ("a b", "a space"),
            ("a/b", "\"/\""),
            ("a.b", "\".\""),
            ("a\u{202e}b", "U+202E"),
            ("a\u{200d}b", "U+200D"),
            ("a\u{fe0f}", "U+FE0F"),
            ("a\x1b[31m", "U+001B"),
            ("a\u{a0}b", "U+00A0"),
            ("a\u{3164}", "U+3164"),
            ("a\u{17b4}", "U+17B4"),
            ("a\u{20dd}", "U+20DD"),
            ("a\u{180f}", "U+180F"),
            ("a\u{e000}", "\"\u{e000}\""),
            ("a\u{13441}", "U+13441"),
            ("a🔥", "\"🔥\""),
            ("aﬁ", "\"ﬁ\""),
            ("a²", "\"²\""),
            ("𝐀la", "\"𝐀\""),
            ("a\u{1ccf0}", "\"\u{1ccf0}\""),
            ("aⅣ", "\"Ⅳ\""),
            ("٣۳", "\"۳\""),
        ] {
            assert_eq!(
                refusal(raw),
                format!("{what} cannot be in a name: letters, digits, _ - ' can"),
                "{raw:?}"
            );
        }
    }

    #[test]
    fn a_sign_is_refused_in_a_place_where_its_script_does_not_use_it() {
        for (raw, what) in [
            // Joiners that do not affect how the letters around them are drawn.
            ("a\u{200c}b", "U+200C"),
            ("علی\u{200d}رضا", "U+200D"),
            ("دار\u{200c}ا", "U+200C"),
            ("علی\u{200c}", "U+200C"),
            ("علی\u{200c}\u{200c}رضا", "U+200C"),
            ("علی\u{200c}-رضا", "U+200C"),
            ("علی\u{200c}a", "U+200C"),
            ("a·b", "\"·\""),
            ("gal·", "\"·\""),
            ("gal··la", "\"·\""),
            ("gа·lа", "\"·\""),
            ("a׳", "\"׳\""),
            ("a״b", "\"״\""),
            ("a・b", "\"・\""),
            ("ジョン・", "\"・\""),
            ("ジョン・・スミス", "\"・\""),
            ("O‘Brien", "\"‘\""),
            ("O”Brien", "\"”\""),
        ] {
            let said = refusal(raw);
            assert!(
                said.starts_with(&format!("{what} cannot be in a name")),
                "{raw:?}: {said}"
            );
        }
        for raw in ["\u{200c}علی", "·l", "׳א", "’ala"] {
            let said = refusal(raw);
            assert!(
                said.starts_with("a name begins with a letter"),
                "{raw:?}: {said}"
            );
        }
    }

    #[test]
    fn a_mark_must_follow_a_letter_of_its_own_script() {
        for raw in [
            "x\u{301}",
            "X\u{32d}",
            "И\u{301}ван",
            "रामः",
            "क\u{94d}ष",
            "မြ\u{1039}မ",
            "か\u{3099}ー",
            "محمد\u{64c}",
            "שר\u{5b7}",
            "ⵣ\u{2d7f}ⵣ",
        ] {
            name(raw);
        }
        for c in "\u{2d7f}\u{1107f}\u{1bc9d}\u{16fe4}\u{1039}\u{1a60}\u{903}\u{93e}\u{5b0}\u{1cf00}\u{1d167}"
            .chars()
        {
            for before in ["ala", "ala2", "ala_", "ала", "ala\u{301}"] {
                let raw = format!("{before}{c}");
                let said = format!(
                    "the mark U+{:04X} cannot be in this name: it does not belong to the letter before it",
                    u32::from(c)
                );
                assert_eq!(refusal(&raw), said, "{raw:?}");
            }
        }
    }

    #[test]
    fn no_letter_of_a_name_looks_like_the_punctuation_around_names() {
        for raw in ["serverː", "olaꓽ", "aǃa", "aⵑ"] {
            let said = refusal(raw);
            assert!(
                said.ends_with("cannot be in a name: letters, digits, _ - ' can"),
                "{raw:?}: {said}"
            );
        }
    }

    #[test]
    fn names_whose_characters_could_display_in_another_order_are_refused() {
        name("אב1");
        for raw in ["1אב", "abאב", "אבab", "א1٣"] {
            assert!(
                matches!(Name::new(raw), Err(NameError::Order)),
                "{raw:?}: {:?}",
                Name::new(raw)
            );
        }
    }
}
