//! Assertions about text that is shown on a screen, independent of the implementation.

use chat_run::protocol::limits::{MAX_GROUP_CHARS, MAX_NAME_BYTES, MAX_NAME_CHARS};
use chat_run::protocol::name::{Group, Name};
use chat_run::protocol::text::clean;

/// Asserts that `line` is one line of text in which no character controls the terminal, is
/// invisible, or reorders other text.
#[track_caller]
pub fn assert_shown(line: &str) {
    let is_hostile = |c: char| {
        c.is_control()
            || matches!(
                c,
                '\u{61c}'
                    | '\u{ad}'
                    | '\u{200b}'
                    | '\u{200e}'..='\u{200f}'
                    | '\u{2028}'..='\u{202e}'
                    | '\u{2066}'..='\u{2069}'
                    | '\u{feff}'
                    | '\u{fff9}'..='\u{fffb}'
                    | '\u{e0000}'..='\u{e007f}'
            )
    };
    assert!(!line.contains(is_hostile), "{line:?}");
    assert_eq!(clean(line), line, "cleaning it again changes it");
}

/// Maximum length of an error, in bytes. An error may quote 96 bytes of the input twice, and each
/// byte may be replaced by a character of three bytes.
const MAX_REFUSAL: usize = 700;

/// Asserts that an error is short and printable.
#[track_caller]
pub fn assert_refusal(error: &impl std::fmt::Display) {
    let shown = error.to_string();
    assert_shown(&shown);
    assert!(!shown.is_empty() && shown.len() < MAX_REFUSAL, "{shown:?}");
}

/// Asserts that `shown` is a word of at most `most` characters, none of which has a `meaning` in
/// the protocol.
#[track_caller]
fn assert_word(shown: &str, most: usize, meaning: &str) {
    assert_shown(shown);
    assert!(
        (1..=most).contains(&shown.chars().count()) && shown.len() <= MAX_NAME_BYTES,
        "{shown:?}"
    );
    assert!(
        !shown.contains(|c: char| c.is_whitespace() || meaning.contains(c)),
        "{shown:?}"
    );
}

/// Asserts that a name can precede a message: no line of another kind starts like it, and parsing
/// the name yields the same name.
#[track_caller]
pub fn assert_name(name: &Name) {
    let shown = name.as_str();
    assert_word(shown, MAX_NAME_CHARS, ":*![]()/{\"");
    assert!(
        !shown.starts_with(|c: char| c.is_ascii_punctuation()),
        "{shown:?}"
    );
    let again = Name::new(shown).expect("a valid name parses again");
    assert_eq!(again, *name);
    assert!(again.is_same(name));
}

/// Asserts that a group can be shown in parentheses, and that parsing it yields the same group.
#[track_caller]
pub fn assert_group(group: &Group) {
    let shown = group.as_str();
    assert_word(shown, MAX_GROUP_CHARS, ":*![](){\"");
    assert_eq!(Group::new(shown).as_ref(), Ok(group));
}
