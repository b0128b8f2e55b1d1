//! Names of members and of groups. A name can be typed on a keyboard, and no two members have names
//! that look alike.
//!
//! PRECIS (RFC 8265) defines the form in which a name is shown, and the skeletons of UTS 39 find
//! names that look alike. The allowed characters are defined here instead, because PRECIS allows
//! `*` and `:` in usernames.

mod keys;
mod script_rules;

use std::fmt;
use std::sync::{Arc, LazyLock};

use precis_profiles::UsernameCasePreserved;
use precis_profiles::precis_core::profile::Rules;
use thiserror::Error;

use crate::protocol::limits::{MAX_GROUP_CHARS, MAX_NAME_BYTES, MAX_NAME_CHARS};
use crate::protocol::name::keys::{fold, keys, same};
use crate::protocol::name::script_rules::{
    GROUP_SIGNS, NAME_SIGNS, first_disallowed, first_line_sign_look_alike, mark_of_another_script,
    may_begin, obeys_bidi_rule,
};
use crate::protocol::text::{Kind, Text, clean, kind};

pub(crate) use crate::protocol::name::script_rules::is_mark;

// Groups need no check of their length in bytes: the limit in characters is low enough, because a
// character has at most four bytes.
const _: () = assert!(MAX_GROUP_CHARS * 4 <= MAX_NAME_BYTES);

/// Reserved names: names that would seem to speak for the room, and `exit`, which users of plain
/// clients type to leave. Some names are also listed in capitals, because a look-alike may resemble
/// only the capitals: `EXlT` with an `l` looks like `EXIT`, but not like `exit`.
const RESERVED: &[&str] = &["server", "system", "admin", "ADMIN", "exit", "EXIT"];

/// A member's name: 1 to 24 letters, marks and digits of any script, `_`, `-` and `'`, at most 64
/// bytes, beginning with a letter or digit. Other signs are allowed only where the spelling of a
/// language needs them, such as `·` in the Catalan `Gal·la` (RFC 5892, appendix A). No character in
/// a name hides, reorders or ends the text around the name. Clones share one allocation.
///
/// `==` compares the spelling. If [`Name::is_same`] is true for two names, they can't be in a room
/// at once.
#[derive(Clone, PartialEq, Eq)]
pub struct Name(Arc<Spelled>);

#[derive(PartialEq, Eq)]
struct Spelled {
    text: Text,
    keys: [String; 2],
}

impl Name {
    /// Checks `raw` and converts it to the form that is shown: NFC, with full-width and half-width
    /// letters replaced by ordinary ones, in the case that was typed (RFC 8265, section 3.4).
    pub fn new(raw: &str) -> Result<Self, NameError> {
        let spelling = normal(raw);
        let first = spelling.chars().next().ok_or(NameError::Empty)?;
        if spelling.chars().count() > MAX_NAME_CHARS {
            return Err(NameError::TooLong);
        }
        if spelling.len() > MAX_NAME_BYTES {
            return Err(NameError::TooManyBytes);
        }
        if !may_begin(first) {
            let rest = spelling.trim_start_matches(|c| !may_begin(c));
            return Err(NameError::Start {
                instead: Self::new(rest).ok(),
            });
        }
        if let Some(c) = first_disallowed(&spelling, NAME_SIGNS)
            .or_else(|| first_line_sign_look_alike(&spelling))
        {
            return Err(NameError::Character(c));
        }
        // Skip the next checks for ASCII, which has neither marks nor right-to-left letters. The
        // checks are slow, and a whole class may join at once.
        if !spelling.is_ascii() {
            if let Some(mark) = mark_of_another_script(&spelling) {
                return Err(NameError::Mark(mark));
            }
            if !obeys_bidi_rule(&spelling) {
                return Err(NameError::Order);
            }
            if clean(&spelling) != spelling {
                return Err(NameError::TooManyMarks);
            }
        }
        let keys = keys(&spelling);
        if RESERVED_KEYS.iter().any(|reserved| same(reserved, &keys)) {
            return Err(NameError::Reserved(Text::new(&spelling)));
        }
        Ok(Self(Arc::new(Spelled {
            text: Text::new(&spelling),
            keys,
        })))
    }

    pub fn as_str(&self) -> &str {
        self.0.text.as_str()
    }

    pub fn text(&self) -> &Text {
        &self.0.text
    }

    /// Whether two names are easily confused: they differ only in case, or look the same. The
    /// relation is not transitive: `ALICE` is the same as `alice` and the same as `ALlCE` (with a
    /// small L), but `alice` is not the same as `ALlCE`.
    pub fn is_same(&self, other: &Self) -> bool {
        same(&self.0.keys, &other.0.keys)
    }

    /// The comparison keys. Two names are the same if their first keys are equal or their second
    /// keys are equal. With a map for the first keys and a map for the second, a room finds a name
    /// without a loop over all members.
    pub fn keys(&self) -> [&str; 2] {
        let [folded, seen] = &self.0.keys;
        [folded, seen]
    }

    /// Suggests another name: this name with `n` appended, shortened if necessary. Returns `None`
    /// if the result isn't a valid name: for example, ASCII digits can't follow Arabic digits (RFC
    /// 5893).
    pub fn with_number(&self, n: u32) -> Option<Self> {
        let number = n.to_string();
        let name = self.as_str();
        let end = name
            .char_indices()
            .map(|(at, c)| at + c.len_utf8())
            .take(MAX_NAME_CHARS - number.len())
            .take_while(|end| end + number.len() <= MAX_NAME_BYTES)
            .last()?;
        Self::new(&format!("{}{number}", &name[..end])).ok()
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.text.fmt(f)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Name").field(&self.as_str()).finish()
    }
}

/// The comparison keys of a name that a user typed or a server sent, which may not be valid.
#[derive(Clone, Debug)]
pub(crate) struct NameKeys([String; 2]);

impl NameKeys {
    /// Returns the keys of `raw` without its invisible characters, which the server also ignores in
    /// the name of a recipient.
    pub(crate) fn of(raw: &str) -> Self {
        Self(keys(&normal(Text::new(raw).as_str())))
    }

    /// Whether the two names are easily confused, as in [`Name::is_same`].
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        same(&self.0, &other.0)
    }
}

/// Folds case, width, Unicode form, joiners and kinds of apostrophes, to find a name in a text.
/// Letters that look alike stay different: the word `AI` in a text is not the name `Al`, which has
/// a small L.
pub(crate) fn folded(text: &str) -> String {
    script_rules::with_plain_signs(&fold(&normal(text)))
}

/// Folds a text like [`folded`], and also removes the marks on letters, which not every keyboard
/// can type: `Łukasz` becomes `lukasz`.
pub(crate) fn without_marks(text: &str) -> String {
    keys::without_marks(&folded(text))
}

/// A member's group, such as a class: 1 to 16 characters, at most 64 bytes. A group may contain the
/// characters of a name, `/` and `.`. A group identifies no one, so two groups may look alike.
#[derive(Clone, PartialEq, Eq)]
pub struct Group(Text);

impl Group {
    /// Checks `raw` and converts it to the form that is shown, like [`Name::new`].
    pub fn new(raw: &str) -> Result<Self, GroupError> {
        let spelling = normal(raw);
        let first = spelling.chars().next().ok_or(GroupError::Empty)?;
        if spelling.chars().count() > MAX_GROUP_CHARS {
            return Err(GroupError::TooLong);
        }
        if let Some(c) = first_disallowed(&spelling, GROUP_SIGNS) {
            return Err(GroupError::Character(c));
        }
        if is_mark(first) {
            return Err(GroupError::Start);
        }
        if clean(&spelling) != spelling {
            return Err(GroupError::TooManyMarks);
        }
        Ok(Self(Text::new(&spelling)))
    }

    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    pub fn text(&self) -> &Text {
        &self.0
    }
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Group").field(&self.as_str()).finish()
    }
}

/// Reason why a name is rejected. The message is clean text, in one short line.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NameError {
    #[error("a name needs at least one character")]
    Empty,
    #[error("a name can have at most {MAX_NAME_CHARS} characters")]
    TooLong,
    #[error("a name can have at most {MAX_NAME_BYTES} bytes: try a shorter one")]
    TooManyBytes,
    /// The name doesn't begin with a letter or digit. `instead` is the name without the characters
    /// before its first letter or digit, if that is a valid name.
    #[error("a name begins with a letter or digit{}", suggestion(.instead))]
    Start { instead: Option<Name> },
    /// This character isn't allowed in a name.
    #[error("{} cannot be in a name: letters, digits, _ - ' can", Quoted(*.0))]
    Character(char),
    /// The name mixes left-to-right and right-to-left letters, so a screen would not show its
    /// letters in the order in which they were typed.
    #[error(
        "a right-to-left name cannot have left-to-right letters, two kinds of digits, or a digit first"
    )]
    Order,
    /// The name has a mark whose script differs from the script of the letter before the mark.
    #[error(
        "the mark {} cannot be in this name: it does not belong to the letter before it",
        Quoted(*.0)
    )]
    Mark(char),
    /// A letter has more marks than can be shown.
    #[error("a letter in a name can have at most four marks")]
    TooManyMarks,
    /// The name is reserved, or looks like a reserved name.
    #[error("\"{0}\" is reserved: try another name")]
    Reserved(Text),
}

fn suggestion(name: &Option<Name>) -> String {
    name.as_ref()
        .map_or_else(String::new, |name| format!(": try {name}"))
}

/// Reason why a group is rejected. The message is clean text, in one short line.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum GroupError {
    #[error("a group needs at least one character")]
    Empty,
    #[error("a group can have at most {MAX_GROUP_CHARS} characters")]
    TooLong,
    /// The group begins with a mark, which would be drawn on the character before the group.
    #[error("a group cannot begin with a combining mark")]
    Start,
    /// This character isn't allowed in a group.
    #[error("{} cannot be in a group: letters, digits, _ - ' / . can", Quoted(*.0))]
    Character(char),
    /// A letter has more marks than can be shown.
    #[error("a letter in a group can have at most four marks")]
    TooManyMarks,
}

/// Formats a character for a message. A character that is invisible or would change the text around
/// it is shown as its code point.
struct Quoted(char);

impl fmt::Display for Quoted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match kind(self.0) {
            Kind::Visible => write!(f, "\"{}\"", self.0),
            Kind::Blank if self.0 == ' ' => f.write_str("a space"),
            Kind::Blank
            | Kind::StackedMark
            | Kind::SpacingMark
            | Kind::Joiner
            | Kind::Hidden
            | Kind::Replaced(_) => write!(f, "U+{:04X}", u32::from(self.0)),
        }
    }
}

/// Converts text to the form in which a name is shown: width mapping and NFC (RFC 8265, section
/// 3.4.2).
fn normal(raw: &str) -> String {
    if raw.is_ascii() {
        return raw.into();
    }
    let profile = UsernameCasePreserved::new();
    // Neither conversion can fail, because every character has a narrow form and an NFC form. If
    // one failed nevertheless, the result would be empty, and the callers reject an empty name.
    profile
        .width_mapping_rule(raw)
        .and_then(|narrow| profile.normalization_rule(narrow))
        .map_or_else(|_| String::new(), Into::into)
}

static RESERVED_KEYS: LazyLock<Vec<[String; 2]>> =
    LazyLock::new(|| RESERVED.iter().map(|name| keys(name)).collect());

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    #[track_caller]
    pub(crate) fn name(raw: &str) -> Name {
        Name::new(raw).unwrap_or_else(|error| panic!("{raw:?}: {error}"))
    }

    #[track_caller]
    pub(crate) fn refusal(raw: &str) -> String {
        match Name::new(raw) {
            Ok(name) => panic!("{raw:?} became the name {name:?}"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn names_of_any_script_are_shown_as_they_were_typed() {
        for raw in [
            "ala",
            "Ala",
            "José",
            "O'Brien",
            "jan_kowalski-2",
            "Łukasz",
            "Đorđe",
            "Þór",
            "張偉",
            "Иван",
            "Марʼяна",
            "محمد",
            "نور٢",
            "नेहा",
            "สมชาย",
            "김민수",
            "さくら",
            "ノア",
            "თამარ",
            "ᲗᲐᲛᲐᲠ",
            "Ἀθηνᾶ",
            "Սևակ",
            "น้ำ",
            "ຄຳ",
            "ໝີ",
            "ג'ורג'",
            "ג׳ורג׳",
            "צה״ל",
            "O’Brien",
            "Gal·la",
            "ジョン・スミス",
            "メアリー・スー",
            "山田・太郎",
            "MARCEL·LÍ",
            // Names with joiners.
            "علی\u{200c}رضا",
            "می\u{200c}خواهم",
            "ශ\u{dca}\u{200d}රී",
            "रमेश\u{94d}\u{200c}",
            // Names with vowel points.
            "נֹעַם",
            "مُحَمَّد",
            "𞤀𞤣𞤤𞤢𞤥",
            "𬀩",
            "3",
            "3ID12",
        ] {
            assert_eq!(name(raw).as_str(), raw);
        }
    }

    #[test]
    fn a_name_is_shown_in_composed_and_narrow_characters() {
        assert_eq!(name("Jose\u{301}").as_str(), "José");
        assert_eq!(name("Ａｌａ＿２").as_str(), "Ala_2");
        assert_eq!(name("ﾉｱ").as_str(), "ノア");
        assert_eq!(name("\u{1112}\u{1161}\u{11ab}").as_str(), "한");
    }

    #[test]
    fn reserved_names_and_their_look_alikes_are_refused() {
        for raw in [
            "server",
            "Server",
            "SERVER",
            "ѕerver",
            "ＳＥＲＶＥＲ",
            "ЅЕRVЕR",
            "system",
            "Sуstem",
            "admin",
            "аdmin",
            "ADMlN",
            "admi\u{307}n",
            "adm1n",
            "exit",
            "Exit",
            "EXlT",
            "ехit",
        ] {
            let said = refusal(raw);
            assert!(
                said.ends_with("is reserved: try another name"),
                "{raw:?}: {said}"
            );
        }
        assert_eq!(
            refusal("ｓerver"),
            "\"server\" is reserved: try another name"
        );
        name("server2");
        name("exits");
    }

    #[test]
    fn the_length_of_a_name_is_limited_in_characters_and_bytes() {
        name(&"a".repeat(24));
        assert_eq!(
            refusal(&"a".repeat(25)),
            "a name can have at most 24 characters"
        );
        name(&"e\u{301}".repeat(24));
        name(&"張".repeat(21));
        assert_eq!(
            refusal(&"張".repeat(22)),
            "a name can have at most 64 bytes: try a shorter one"
        );
        assert_eq!(refusal(""), "a name needs at least one character");
    }

    #[test]
    fn a_letter_of_a_name_has_at_most_four_marks() {
        name("x\u{301}\u{302}\u{303}\u{304}");
        assert_eq!(
            refusal("x\u{301}\u{302}\u{303}\u{304}\u{305}"),
            "a letter in a name can have at most four marks"
        );
    }

    #[test]
    fn a_name_is_shortened_to_fit_an_appended_number_within_the_limit() {
        let numbered = |raw: &str, n| name(raw).with_number(n).map(|name| name.to_string());
        assert_eq!(numbered("ala", 2).as_deref(), Some("ala2"));
        assert_eq!(numbered(&"a".repeat(24), 10), Some("a".repeat(22) + "10"));
        assert_eq!(numbered(&"張".repeat(21), 2), Some("張".repeat(21) + "2"));
        assert_eq!(
            numbered(&"𬀩".repeat(16), u32::MAX),
            Some("𬀩".repeat(13) + "4294967295")
        );
        assert_eq!(numbered("محمد", 2).as_deref(), Some("محمد2"));
        assert_eq!(numbered("نور٢", 2), None);
    }

    #[test]
    fn a_group_may_be_a_path_and_begin_with_punctuation() {
        for raw in [
            "3ID12",
            "3/ID.12",
            "/dev",
            "_",
            "ח2",
            "3ב",
            "Klasse-4",
            "𬀩𬀩𬀩𬀩𬀩𬀩𬀩𬀩𬀩𬀩𬀩𬀩𬀩𬀩𬀩𬀩",
            &"a".repeat(16),
        ] {
            assert_eq!(
                Group::new(raw).map(|group| group.to_string()).as_deref(),
                Ok(raw)
            );
        }
        assert_eq!(
            Group::new("Ａ１").map(|group| group.to_string()).as_deref(),
            Ok("A1")
        );
    }

    #[test]
    fn a_group_is_refused_with_a_reason() {
        for (raw, said) in [
            ("", "a group needs at least one character"),
            (
                "aaaaaaaaaaaaaaaaa",
                "a group can have at most 16 characters",
            ),
            ("\u{301}a", "a group cannot begin with a combining mark"),
            (
                "a(b",
                "\"(\" cannot be in a group: letters, digits, _ - ' / . can",
            ),
            (
                "a\u{202e}",
                "U+202E cannot be in a group: letters, digits, _ - ' / . can",
            ),
            (
                "x\u{301}\u{302}\u{303}\u{304}\u{305}",
                "a letter in a group can have at most four marks",
            ),
        ] {
            let answer = Group::new(raw).map_or_else(|error| error.to_string(), |_| String::new());
            assert_eq!(answer, said, "{raw:?}");
        }
    }
}
