//! Names that can be typed and told apart, and groups.
//!
//! Names have an alphabet of their own, because PRECIS (RFC 8265) allows `*` and `:` in usernames.
//! PRECIS gives the form that is shown; the skeletons of UTS 39 find names that look alike.

pub(crate) mod keys;
mod script_rules;

use std::fmt;
use std::sync::{Arc, LazyLock};

use precis_profiles::UsernameCasePreserved;
use precis_profiles::precis_core::profile::Rules;
use thiserror::Error;

use crate::protocol::limits::{MAX_GROUP_CHARS, MAX_NAME_BYTES, MAX_NAME_CHARS};
use crate::protocol::name::keys::{keys, same};
use crate::protocol::name::script_rules::{
    GROUP_SIGNS, NAME_SIGNS, foreign, is_mark, keeps_its_order, line_sign, mark_of_another_script,
    may_begin,
};
use crate::protocol::text::{Kind, Text, clean, kind};

// A character has four bytes at most, so a group within its limit of characters is within that of
// bytes.
const _: () = assert!(MAX_GROUP_CHARS * 4 <= MAX_NAME_BYTES);

/// Names that would seem to speak for the room, or that a plain client could mistake for a command.
/// Capitals are listed if one of them has a look-alike of its own: `EXlT` with an `l` looks like
/// `EXIT`, but not like `exit`.
const RESERVED: &[&str] = &["server", "system", "admin", "ADMIN", "exit", "EXIT"];

/// A member's name: 1 to 24 letters, marks and digits of any script, `_`, `-` and `'`, at most 64
/// bytes, beginning with a letter or digit. Nothing in it hides, reorders or ends the text around
/// it. Clones share one allocation.
///
/// `==` compares the spelling. [`Name::is_same`] tells whether a room accepts two names at once.
#[derive(Clone, PartialEq, Eq)]
pub struct Name(Arc<Spelled>);

#[derive(PartialEq, Eq)]
struct Spelled {
    text: Text,
    keys: [String; 2],
}

impl Name {
    /// Checks `raw` and converts it to the form that is shown: NFC, without full-width and
    /// half-width letters, in the case that was typed (RFC 8265, section 3.4).
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
        if let Some(c) = foreign(&spelling, NAME_SIGNS).or_else(|| line_sign(&spelling)) {
            return Err(NameError::Character(c));
        }
        // ASCII has neither marks nor a writing direction, and these checks are slow: a whole class
        // may join at once.
        if !spelling.is_ascii() {
            if let Some(mark) = mark_of_another_script(&spelling) {
                return Err(NameError::Mark(mark));
            }
            if !keeps_its_order(&spelling) {
                return Err(NameError::Order);
            }
            if clean(&spelling) != spelling {
                return Err(NameError::Marks);
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

    /// Whether the two are easily confused: they differ in case only, or look the same. This is not
    /// transitive: `alice` is the same as `ALICE`, and `ALICE` as `ALlCE`, but not `alice` as
    /// `ALlCE`.
    pub fn is_same(&self, other: &Self) -> bool {
        same(&self.0.keys, &other.0.keys)
    }

    /// Two names are the same if their first keys are equal or their second keys are. With a map
    /// for each, a lookup needs no loop over all members.
    pub fn keys(&self) -> [&str; 2] {
        let [folded, seen] = &self.0.keys;
        [folded, seen]
    }

    /// Another name to try: this one with `n` appended, shortened if necessary. `None` if that
    /// isn't a name, as after Arabic digits, which can't be mixed with others (RFC 5893).
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

/// A member's group, such as a class: 1 to 16 of the characters of a name, `/` and `.`, at most
/// 64 bytes. It identifies no one, so it may look like another.
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
        if let Some(c) = foreign(&spelling, GROUP_SIGNS) {
            return Err(GroupError::Character(c));
        }
        if is_mark(first) {
            return Err(GroupError::Start);
        }
        if clean(&spelling) != spelling {
            return Err(GroupError::Marks);
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

/// Why a name is rejected. The message is clean text, in one short line.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NameError {
    #[error("a name has at least one character")]
    Empty,
    #[error("a name has {MAX_NAME_CHARS} characters at most")]
    TooLong,
    #[error("a name has {MAX_NAME_BYTES} bytes at most: try a shorter one")]
    TooManyBytes,
    /// It doesn't begin with a letter or digit. Has the rest, if that is a name.
    #[error("a name begins with a letter or digit{}", suggestion(.instead))]
    Start { instead: Option<Name> },
    /// The alphabet doesn't have this character.
    #[error("{} cannot be in a name: letters, digits, _ - ' can", Quoted(*.0))]
    Character(char),
    /// A screen would show right-to-left letters in another order than they were typed.
    #[error(
        "a right-to-left name begins with its letters, and has no others and one sort of digits"
    )]
    Order,
    /// A mark that no script writes on the letter before it.
    #[error(
        "the mark {} cannot be in this name: it does not belong to the letter before it",
        Quoted(*.0)
    )]
    Mark(char),
    /// More marks on a letter than are shown.
    #[error("a name has four marks on a letter at most")]
    Marks,
    /// It would speak for the room, or looks like a name that does.
    #[error("\"{0}\" is reserved: try another name")]
    Reserved(Text),
}

fn suggestion(name: &Option<Name>) -> String {
    name.as_ref()
        .map_or_else(String::new, |name| format!(": try {name}"))
}

/// Why a group is rejected. The message is clean text, in one short line.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum GroupError {
    #[error("a group has at least one character")]
    Empty,
    #[error("a group has {MAX_GROUP_CHARS} characters at most")]
    TooLong,
    /// It begins with a mark, which would be drawn on the character before the group.
    #[error("a group begins with a letter, a digit or a sign, not with a mark")]
    Start,
    /// The alphabet doesn't have this character.
    #[error("{} cannot be in a group: letters, digits, _ - ' / . can", Quoted(*.0))]
    Character(char),
    /// More marks on a letter than are shown.
    #[error("a group has four marks on a letter at most")]
    Marks,
}

/// Shows a character in a message: as its code point if it's invisible or would change the text
/// around it.
struct Quoted(char);

impl fmt::Display for Quoted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match kind(self.0) {
            Kind::Visible => write!(f, "\"{}\"", self.0),
            Kind::Blank if self.0 == ' ' => f.write_str("a blank"),
            Kind::Blank
            | Kind::StackedMark
            | Kind::SpacingMark
            | Kind::Joiner
            | Kind::Hidden
            | Kind::Replaced(_) => write!(f, "U+{:04X}", u32::from(self.0)),
        }
    }
}

/// Converts to the form that is shown: width mapping and NFC (RFC 8265, section 3.4.2).
fn normal(raw: &str) -> String {
    if raw.is_ascii() {
        return raw.into();
    }
    let profile = UsernameCasePreserved::new();
    // Neither rule can fail: every character has a narrow form and an NFC, if only itself. The
    // callers reject an empty string.
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
            // With vowel points.
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
    fn the_shown_form_is_composed_and_narrow() {
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
    fn a_name_has_limits_in_characters_and_bytes() {
        name(&"a".repeat(24));
        assert_eq!(refusal(&"a".repeat(25)), "a name has 24 characters at most");
        name(&"e\u{301}".repeat(24));
        name(&"張".repeat(21));
        assert_eq!(
            refusal(&"張".repeat(22)),
            "a name has 64 bytes at most: try a shorter one"
        );
        assert_eq!(refusal(""), "a name has at least one character");
    }

    #[test]
    fn a_name_has_no_more_marks_on_a_letter_than_are_shown() {
        name("x\u{301}\u{302}\u{303}\u{304}");
        assert_eq!(
            refusal("x\u{301}\u{302}\u{303}\u{304}\u{305}"),
            "a name has four marks on a letter at most"
        );
    }

    #[test]
    fn appending_a_number_makes_another_name() {
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
    fn a_group_may_be_a_path_and_begin_with_a_sign() {
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
            ("", "a group has at least one character"),
            ("aaaaaaaaaaaaaaaaa", "a group has 16 characters at most"),
            (
                "\u{301}a",
                "a group begins with a letter, a digit or a sign, not with a mark",
            ),
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
                "a group has four marks on a letter at most",
            ),
        ] {
            let answer = Group::new(raw).map_or_else(|error| error.to_string(), |_| String::new());
            assert_eq!(answer, said, "{raw:?}");
        }
    }
}
