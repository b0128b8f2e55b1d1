//! Invariants of everything that may reach a screen, stated independently of the implementation.

use chat_run::protocol::limits::{MAX_GROUP_CHARS, MAX_NAME_BYTES, MAX_NAME_CHARS};
use chat_run::protocol::name::{Group, Name};
use chat_run::protocol::text::clean;

/// One line of text: nothing in it controls a terminal, or hides or reorders its surroundings.
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
    assert_eq!(clean(line), line, "cleaned again it is another");
}

/// Maximum length of an error, in bytes: it quotes the input twice, 96 bytes each, and each byte
/// may become a stand-in of three.
const MAX_REFUSAL: usize = 700;

/// An error: short and printable.
#[track_caller]
pub fn assert_refusal(error: &impl std::fmt::Display) {
    let shown = error.to_string();
    assert_shown(&shown);
    assert!(!shown.is_empty() && shown.len() < MAX_REFUSAL, "{shown:?}");
}

/// A word of at most this many characters, none of which has a meaning in its context.
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

/// A name as it may precede a message: no line of another kind begins so, and it parses as itself.
#[track_caller]
pub fn assert_name(name: &Name) {
    let shown = name.as_str();
    assert_word(shown, MAX_NAME_CHARS, ":*![]()/{\"");
    assert!(
        !shown.starts_with(|c: char| c.is_ascii_punctuation()),
        "{shown:?}"
    );
    let again = Name::new(shown).expect("a name is a name");
    assert_eq!(again, *name);
    assert!(again.is_same(name));
}

/// A group as it may be shown in parentheses.
#[track_caller]
pub fn assert_group(group: &Group) {
    let shown = group.as_str();
    assert_word(shown, MAX_GROUP_CHARS, ":*![](){\"");
    assert_eq!(Group::new(shown).as_ref(), Ok(group));
}
