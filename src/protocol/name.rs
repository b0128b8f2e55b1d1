//! Who is who: names that can be typed and told apart, and the groups beside them.
//!
//! An alphabet of our own comes first, because PRECIS (RFC 8265) lets `*` and `:` into a username. PRECIS gives the
//! form that is shown, and the skeleton of UTS 39 finds the letters that look alike.

use std::fmt;
use std::ops::RangeInclusive;
use std::sync::{Arc, LazyLock};

use precis_profiles::precis_core::profile::Rules;
use precis_profiles::precis_core::{DerivedPropertyValue, IdentifierClass, StringClass};
use precis_profiles::{Nickname, UsernameCasePreserved};
use thiserror::Error;
use unicode_properties::{GeneralCategory, UnicodeGeneralCategory};
use unicode_script::UnicodeScript;
use unicode_security::confusable_detection::skeleton;

use crate::protocol::limits::{MAX_GROUP_CHARS, MAX_NAME_BYTES, MAX_NAME_CHARS};
use crate::protocol::text::{Kind, Text, clean, kind};

/// The signs that a name may have after its first character.
const NAME_SIGNS: &[char] = &['_', '-', '\''];

/// The signs that a group may have.
const GROUP_SIGNS: &[char] = &['_', '-', '\'', '/', '.'];

/// A group within its limit of characters, of four bytes at most, is within that of bytes.
const _: () = assert!(MAX_GROUP_CHARS * 4 <= MAX_NAME_BYTES);

/// Letters that PRECIS takes for others in disguise, as they have a compatibility decomposition, and that ordinary
/// names are written with: Armenian `և` (`Սևակ`), Thai and Lao `ำ` and `ຳ` (`น้ำ`), Lao `ໜ` and `ໝ`.
const NO_DISGUISE: &[char] = &['\u{587}', '\u{e33}', '\u{eb3}', '\u{edc}', '\u{edd}'];

/// What stands at the beginning of lines that no member writes, or behind a name. A letter that looks so (`ǃ`, U+01C3; `ː`, U+02D0) cannot be in
/// a name.
const LINE_SIGNS: &[char] = &['*', '!', '[', ']', ':'];

/// The block "Combining Diacritical Marks".
const ACCENTS: RangeInclusive<char> = '\u{300}'..='\u{36f}';

/// Names that would speak for the room, or that a plain client could mistake for a command. In capitals as well where
/// a capital has a look-alike of its own: `EXlT` with an `l` looks like `EXIT`, not like `exit`.
const RESERVED: &[&str] = &["server", "system", "admin", "ADMIN", "exit", "EXIT"];

/// What a member is called: 1 to 24 letters, marks and digits of any script, `_`, `-` and `'`, at most 64 bytes,
/// beginning with a letter or digit. Nothing in it hides, reorders or ends what stands around it. A clone shares it.
///
/// Equality (`==`) is that of the spelling; whether two members may have two names is told by [`Name::is_same`].
#[derive(Clone, PartialEq, Eq)]
pub struct Name(Arc<Spelled>);

#[derive(PartialEq, Eq)]
struct Spelled {
    text: Text,
    keys: [String; 2],
}

impl Name {
    /// Checks `raw` and gives it the form in which it is shown: NFC, without full-width and half-width letters, the
    /// case as it was typed (RFC 8265, section 3.4).
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
        // ASCII has neither marks nor another order, and a class that comes at once is not to wait for its names.
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

    /// The name as it is shown.
    pub fn as_str(&self) -> &str {
        self.0.text.as_str()
    }

    /// The name as it is shown.
    pub fn text(&self) -> &Text {
        &self.0.text
    }

    /// Whether nobody could tell the two apart: they fold to the same name, or look the same. Of three names, the
    /// first and second can be the same, and the second and third, but not the first and third (`alice`, `ALICE`,
    /// `ALlCE`).
    pub fn is_same(&self, other: &Self) -> bool {
        same(&self.0.keys, &other.0.keys)
    }

    /// Two names are the same when their first keys are equal or their second keys are: a map for each finds a name
    /// without a look at all members.
    pub fn keys(&self) -> [&str; 2] {
        let [folded, seen] = &self.0.keys;
        [folded, seen]
    }

    /// Another name to try: this one, cut where it must be, with `n` behind it. None where that would not be a name,
    /// as after Arabic digits, which do not go with others (RFC 5893).
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

/// Where a member belongs: 1 to 16 of the characters of a name, `/` and `.`, at most 64 bytes. Nobody is known by it,
/// so it may look like another.
#[derive(Clone, PartialEq, Eq)]
pub struct Group(Text);

impl Group {
    /// Checks `raw` and gives it the form in which it is shown, as [`Name::new`] does.
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

    /// The group as it is shown.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The group as it is shown.
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

/// A character as a message may show it: by its number where it would not be seen, or would change what is around it.
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

/// The form that is shown: width mapping and NFC (RFC 8265, section 3.4.2).
fn normal(raw: &str) -> String {
    if raw.is_ascii() {
        return raw.into();
    }
    let profile = UsernameCasePreserved::new();
    // Neither rule can fail: every character has a narrow form and an NFC, if only itself. Empty is refused by all.
    profile
        .width_mapping_rule(raw)
        .and_then(|narrow| profile.normalization_rule(narrow))
        .map_or_else(|_| String::new(), Into::into)
}

/// The first character of `text` that is neither of the alphabet nor one of `signs`.
fn foreign(text: &str, signs: &[char]) -> Option<char> {
    let stranger = text
        .chars()
        .find(|c| !signs.contains(c) && !is_of_the_alphabet(*c));
    // Arabic and extended Arabic digits look the same in part, and may not be mixed (RFC 5892, appendix A.8).
    let arabic = || text.contains(|c| matches!(c, '\u{660}'..='\u{669}'));
    stranger.or_else(|| {
        text.chars()
            .find(|c| matches!(c, '\u{6f0}'..='\u{6f9}') && arabic())
    })
}

/// Letters, marks and decimal digits that RFC 8264 lets into identifiers.
fn is_of_the_alphabet(c: char) -> bool {
    if c.is_ascii() {
        return c.is_ascii_alphanumeric();
    }
    let of_a_word = is_letter_or_digit(c) || is_mark(c);
    let seen = matches!(
        kind(c),
        Kind::Visible | Kind::StackedMark | Kind::SpacingMark
    );
    of_a_word && seen && (is_valid_in_precis(c) || NO_DISGUISE.contains(&c))
}

fn is_valid_in_precis(c: char) -> bool {
    match IdentifierClass::default().get_value_from_char(c) {
        DerivedPropertyValue::PValid | DerivedPropertyValue::SpecClassPval => true,
        // What is left of these in the alphabet are the Arabic digits, which `foreign` looks after.
        DerivedPropertyValue::ContextO => true,
        DerivedPropertyValue::ContextJ
        | DerivedPropertyValue::Disallowed
        | DerivedPropertyValue::SpecClassDis => false,
        // The registry has stood still since Unicode 6.3. For a letter that came later (Adlam, Georgian capitals,
        // rare Chinese ones), what is left of its algorithm is whether the letter is another one in disguise.
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

fn is_mark(c: char) -> bool {
    matches!(
        c.general_category(),
        GeneralCategory::NonspacingMark
            | GeneralCategory::SpacingMark
            | GeneralCategory::EnclosingMark
    )
}

fn may_begin(c: char) -> bool {
    is_letter_or_digit(c) && !looks_like_line_sign(c)
}

fn looks_like_line_sign(c: char) -> bool {
    // The common case first.
    !c.is_ascii_alphanumeric()
        && skeleton(c.encode_utf8(&mut [0; 4])).any(|part| LINE_SIGNS.contains(&part))
}

/// The first letter that looks like one of [`LINE_SIGNS`]. Marks do in scripts of their own: names in Sanskrit end with one (`रामः`).
fn line_sign(name: &str) -> Option<char> {
    name.chars()
        .find(|c| is_letter_or_digit(*c) && looks_like_line_sign(*c))
}

/// The first mark behind a letter that no script writes it on (script extensions, UAX 24). Many a font draws nothing for it, and the name looks like
/// one without it. Of those that belong to no script, the [`ACCENTS`] stand anywhere; the others are for phonetics, symbols and music.
fn mark_of_another_script(name: &str) -> Option<char> {
    let mut base = None;
    name.chars().find(|c| {
        let scripts = c.script_extension();
        if !is_mark(*c) {
            base = Some(scripts).filter(|scripts| !scripts.is_common());
            return false;
        }
        let is_general = scripts.is_common() || scripts.is_inherited();
        match is_general {
            true => !ACCENTS.contains(c),
            false => base.is_none_or(|base| base.intersection(scripts).is_empty()),
        }
    })
}

/// The bidi rule of RFC 5893, so that two names that differ do not look the same. It also asks for a letter or digit
/// at the end; signs may stand there too, as in the Hebrew `ג'ורג'`, since none can stand at the beginning. Vowel points and other marks
/// go with their letter everywhere (section 2, rules 2 and 3), which the crate knows of the end alone.
fn keeps_its_order(name: &str) -> bool {
    let is_mark = |c: &char| c.general_category() == GeneralCategory::NonspacingMark;
    let unmarked: String = name.chars().filter(|c| !is_mark(c)).collect();
    UsernameCasePreserved::new()
        .directionality_rule(unmarked.trim_end_matches(NAME_SIGNS))
        .is_ok()
}

/// Both ways, since neither finds all: `ALICE` is `alice` only when it is folded first, as its `I` looks like an `l`, and
/// looks like `ALlCE` only before. What is seen is folded in the end, as a skeleton may have capitals (`0` has `O`).
fn keys(name: &str) -> [String; 2] {
    [fold(&look(&fold(name))), fold(&look(name))]
}

fn same(one: &[String; 2], other: &[String; 2]) -> bool {
    one.iter().zip(other).any(|(one, other)| one == other)
}

static RESERVED_KEYS: LazyLock<Vec<[String; 2]>> =
    LazyLock::new(|| RESERVED.iter().map(|name| keys(name)).collect());

/// Without case, much as in "Default Caseless Matching" of the Unicode Standard (section 3.13): up and down again, so
/// that `ß` meets `SS` and `ς` meets `Σ`, which the lower-casing of RFC 8265 keeps apart.
fn fold(text: &str) -> String {
    text.chars()
        .flat_map(char::to_uppercase)
        .flat_map(char::to_lowercase)
        .collect()
}

/// `text` in one case and without the marks on its letters, as somebody types it whose keyboard has none: `Łukasz` becomes
/// `lukasz`.
pub fn without_marks(text: &str) -> String {
    let is_mark = |c: char| c.general_category() == GeneralCategory::NonspacingMark;
    let bare = |c: char| {
        let mut buffer = [0; 4];
        let mut parts = skeleton(c.encode_utf8(&mut buffer)).peekable();
        let first = parts.next().unwrap_or(c);
        match parts.peek().is_some() && parts.all(is_mark) {
            true => first,
            false => c,
        }
    };
    fold(text).chars().map(bare).collect()
}

/// The skeleton of UTS 39, section 4, with one change: there `m` looks like `rn`, so that `modem` and `modern` could
/// not meet. No other letter of ours has a skeleton of several letters.
fn look(text: &str) -> String {
    // A private-use character, which no name contains, takes the place of each m, with or without marks.
    const M: char = '\u{e000}';
    let mut without_m = String::with_capacity(text.len());
    for c in text.chars() {
        // The common case first.
        if c.is_ascii() && c != 'm' {
            without_m.push(c);
            continue;
        }
        let mut buffer = [0; 4];
        let mut parts = skeleton(c.encode_utf8(&mut buffer)).peekable();
        if parts.next() == Some('r') && parts.next_if_eq(&'n').is_some() {
            without_m.push(M);
            without_m.extend(parts);
        } else {
            without_m.push(c);
        }
    }
    skeleton(&without_m)
        .map(|c| if c == M { 'm' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[track_caller]
    fn name(raw: &str) -> Name {
        Name::new(raw).unwrap_or_else(|error| panic!("{raw:?}: {error}"))
    }

    #[track_caller]
    fn refusal(raw: &str) -> String {
        match Name::new(raw) {
            Ok(name) => panic!("{raw:?} became the name {name:?}"),
            Err(error) => error.to_string(),
        }
    }

    #[track_caller]
    fn cannot_meet(one: &str, other: &str) {
        assert!(name(one).is_same(&name(other)), "{one} and {other} differ");
    }

    #[track_caller]
    fn can_meet(one: &str, other: &str) {
        assert!(
            !name(one).is_same(&name(other)),
            "{one} and {other} are the same"
        );
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
    fn names_that_differ_in_case_only_cannot_meet() {
        cannot_meet("Ala", "aLA");
        cannot_meet("Łukasz", "ŁUKASZ");
        cannot_meet("Νίκος", "ΝΊΚΟΣ");
        cannot_meet("Weiß", "WEISS");
        cannot_meet("Inge-Weiß", "inge-weiẞ");
        cannot_meet("ინა", "ᲘᲜᲐ");
        cannot_meet("İlknur", "i\u{307}lknur");
    }

    #[test]
    fn names_that_look_alike_cannot_meet() {
        cannot_meet("ala", "\u{430}la");
        cannot_meet("ala", "Ａｌａ");
        cannot_meet("ala", "AIa");
        cannot_meet("ALICE", "ALlCE");
        cannot_meet("alice", "ALICE");
        cannot_meet("bob", "B0B");
        cannot_meet("АННА", "AHHA");
        cannot_meet("José", "Jose\u{301}");
        cannot_meet("O'Brien", "O\u{2bc}Brien");
        cannot_meet("Emma", "Eｍma");
    }

    #[test]
    fn an_m_does_not_look_like_rn() {
        can_meet("modem", "modern");
        can_meet("MODEM", "modern");
        can_meet("Emie", "Ernie");
        can_meet("ḿa", "rńa");
        cannot_meet("ḿa", "ḾA");
    }

    #[test]
    fn m_is_the_only_ascii_letter_that_looks_like_several() {
        let several: String = ('!'..='~')
            .filter(|c| {
                (c.is_ascii_alphanumeric() || NAME_SIGNS.contains(c))
                    && skeleton(&c.to_string()).count() > 1
            })
            .collect();
        assert_eq!(several, "m");
    }

    #[test]
    fn names_with_other_letters_can_meet() {
        can_meet("Jose", "José");
        can_meet("Lukasz", "Łukasz");
        can_meet("Ola", "Ala");
        can_meet("Ола", "Ola");
        can_meet("ala", "ala2");
        can_meet("jan-k", "jan_k");
    }

    #[test]
    fn the_server_s_names_and_their_look_alikes_are_reserved() {
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
    fn what_is_no_letter_digit_or_sign_is_refused_by_what_it_is() {
        for (raw, what) in [
            ("a@b", "\"@\""),
            ("a:b", "\":\""),
            ("a b", "a blank"),
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
    fn a_mark_stands_behind_a_letter_of_its_own_script() {
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
    fn no_letter_of_a_name_looks_like_what_stands_around_names() {
        for raw in ["serverː", "olaꓽ", "aǃa", "aⵑ"] {
            let said = refusal(raw);
            assert!(
                said.ends_with("cannot be in a name: letters, digits, _ - ' can"),
                "{raw:?}: {said}"
            );
        }
    }

    #[test]
    fn a_right_to_left_name_is_shown_in_one_order_only() {
        name("אב1");
        for raw in ["1אב", "abאב", "אבab", "א1٣"] {
            assert!(
                matches!(Name::new(raw), Err(NameError::Order)),
                "{raw:?}: {:?}",
                Name::new(raw)
            );
        }
    }

    #[test]
    fn a_number_behind_a_name_makes_another_name() {
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

    /// First names as they are given today, by language. No two are the same, and some are near.
    const COMMON: &[&str] = &[
        // Polish.
        "Ada Adam Adrian Agata Agnieszka Ala Alan Aleksander Aleksandra Alicja Aneta Ania Anna Antoni Artur Asia \
         Bartek Bartosz Basia Beata Błażej Bogdan Celina Cezary Czesław Damian Daniel Daria Dariusz Dawid Dominik \
         Dominika Dorota Edyta Ela Elżbieta Emil Emilia Ewa Ewelina Fabian Filip Franciszek Gabriela Grażyna Grzegorz \
         Hania Hanna Henryk Hubert Iga Ignacy Igor Ilona Irena Iwona Iza Izabela Jacek Jadwiga Jakub Jan Janek Janusz \
         Jarosław Jerzy Joanna Jola Julia Julian Justyna Kacper Kaja Kamil Kamila Karol Karolina Kasia Katarzyna Kinga \
         Klara Konrad Krystyna Krzysztof Kuba Lech Lena Leon Leszek Lidia Liliana Łucja Łukasz Maciej Magda Magdalena \
         Maja Małgorzata Marcel Marcin Marek Maria Mariusz Marta Martyna Mateusz Michał Mikołaj Milena Miłosz Mirosław \
         Monika Natalia Nikodem Nikola Nina Norbert Oktawia Ola Olaf Olek Olga Oliwia Oliwier Oskar Patrycja Patryk \
         Paula Paulina Paweł Piotr Piotrek Przemysław Radosław Rafał Renata Robert Róża Ryszard Sandra Sebastian Stanisław \
         Staś Stefan Sylwia Szymon Tadeusz Tomasz Tomek Tymon Urszula Wacław Wanda Weronika Wiktor Wiktoria Witold \
         Władysław Wojciech Wojtek Zbigniew Zofia Zosia Zuzanna Żaneta",
        // English and Irish.
        "Aaron Abigail Aidan Alice Alison Amelia Amy Andrew Angela Ann Anne Ben Bella Beth Bill Brian Caitlin Carl Caroline \
         Charles Charlie Chloe Chris Clara Clare Colin Connor Dan Dave David Dean Dora Dylan Eileen Ellen Ella Ellie Emily \
         Emma Eoin Eric Erin Ernie Ethan Eva Eve Fiona Frank Gail Gary George Grace Hannah Harry Helen Holly Ian Ivy Jack \
         Jacob James Jane Jean Jill Jim Joan Joe John Josh Joyce Karen Kate Kelly Kevin Kim Laura Leah Lee Liam Lily Linda \
         Lisa Lola Louis Lucy Luke Lynn Mark Mary Max Megan Mia Mike Molly Neil Nell Niamh Noah Nora Oisín Oliver Olivia \
         Oscar Owen Paddy Pam Paul Peter Phil Rachel Rhys Rita Rob Ron Rory Rose Ruth Ryan Sally Sam Sarah Sean Seán Sharon \
         Sinéad Siobhán Sophie Stella Steve Sue Tara Ted Tim Tina Tom Tony Vera Will Zoe",
        // German, Dutch and the north.
        "Anke Annika Anton Antje Björn Britta Bärbel Claus Detlef Dieter Dirk Elke Erik Ernst Franz Frauke Fritz Gerd Götz \
         Günter Günther Hans Heidi Heike Heinz Helga Ingrid Jens Jonas Jörg Jürgen Kai Karl Karin Katja Klaus Kurt Lars \
         Lasse Lotte Lutz Manfred Matthias Maren Moritz Niels Nils Otto Petra Ralf Rolf Rüdiger Sabine Silke Sören Sven \
         Thomas Till Timo Torsten Udo Ulf Ulla Ulrich Ursula Uwe Volker Walter Werner Wilhelm Bram Daan Femke Fleur Joost \
         Joris Maarten Pieter Sanne Thijs Willem Åsa Øystein Øyvind Håkon Magnus Freyja Þór Guðrún Sigríður Ásta Aino Eero \
         Eino Iida Iiris Jaakko Kalle Pekka Päivi Väinö",
        // French, Spanish, Portuguese, Italian, Romanian.
        "Adèle Amélie Anaïs André Andrée Benoît Camille Cécile Céline Chloé Élise Émile Éric Estelle Étienne Fabien Florian \
         François Françoise Gaël Gaëlle Geneviève Gérard Hélène Hugo Inès Jérôme Joël Joëlle Léa Léo Léon Loïc Lucie Manon \
         Mathieu Maël Mélanie Michèle Noé Noël Océane Pascal Pauline Pierre Quentin Raphaël Rémi Rémy René Renée Sébastien \
         Thibault Théo Valérie Yann Yves Zoé Ana Andrés Ángel Antonio Beatriz Begoña Carlos Carmen Concepción Cristóbal \
         Diego Elena Enrique Felipe Fernando Íñigo Isabel Iván Javier Jesús Joaquín Jorge José Josefa Juan Juana Luis Luisa \
         Lucía Manuel Manuela María Martín Mateo Miguel Mónica Nicolás Nuria Óscar Pablo Paco Pedro Pilar Rafael Ramón Raúl \
         Rocío Rosa Rubén Santiago Sofía Teresa Tomás Ximena Yolanda Afonso Bruna Caetano Conceição Inês João Joana Lourenço \
         Luís Luísa Tomé Vasco Alessia Alessandro Bianca Chiara Elisa Enzo Federica Francesca Giacomo Gianni Gino Giorgia \
         Giovanni Giulia Giuseppe Ilaria Lorenzo Luca Luigi Matteo Nicola Niccolò Paolo Pina Pino Salvatore Silvia Simona \
         Simone Ștefan Ionuț Ioana Ion Mihai Mihaela Răzvan",
        // Czech, Slovak, Hungarian, Croatian, Lithuanian, Turkish, Vietnamese.
        "Aleš Anežka Bohumil Božena Eliška Jaromír Jiří Jiřina Kateřina Květa Libor Libuše Luboš Miloš Miloslav Ondřej Pavel \
         Radek Růžena Šárka Tereza Václav Věra Vít Vojtěch Zdeněk Zdeňka Ľuboš Ľudmila Ágnes Attila Balázs Bence Béla \
         Csaba Erzsébet Ferenc Gábor Gergő György Györgyi Ildikó Ilka István János József Katalin Kálmán László Márton Máté \
         Miklós Réka Sándor Szabolcs Tamás Zoltán Zsófia Zsolt Ante Branko Đorđe Dražen Goran Ivana Jelena Jovan Ljiljana \
         Marija Mirko Nikolina Petar Siniša Tihana Vedran Vesna Zoran Željko Živko Ąžuolas Jūratė Rasa Vytautas Ayşe \
         Burak Can Cem Çağla Deniz Elif Emre Esra Eylül Fatma Gökhan Gül Gülay Hakan Hüseyin İbrahim İlknur Kemal Mehmet \
         Murat Nilüfer Oğuz Ömer Özge Serkan Şule Ümit Yıldız Yusuf Zeynep An Ánh Bảo Bình Dũng Dương Đức Hà Hải Hạnh Hoa \
         Hòa Hùng Hương Hưng Lan Lân Linh Long Mai Minh Nam Ngọc Nhung Phúc Phương Quân Sơn Thảo Thu Thủy Trang Trung Tú \
         Tuấn Việt Vinh Xuân Yến",
        // Russian, Ukrainian, Bulgarian, Serbian.
        "Александр Алексей Алёна Алина Алиса Алла Анастасия Анатолий Андрей Анна Антон Антонина Арина Артём Артур Борис Вадим \
         Валентин Валентина Валерий Валерия Варвара Василий Вера Вероника Виктор Виктория Виталий Влад Владимир Галина \
         Геннадий Георгий Глеб Григорий Даниил Дарья Денис Дмитрий Ева Евгений Евгения Егор Екатерина Елена Елизавета Жанна \
         Зоя Иван Игорь Илья Инна Ирина Кирилл Константин Ксения Лариса Лев Леонид Лидия Любовь Людмила Маргарита Марина Мария \
         Марк Матвей Михаил Надежда Наталья Никита Николай Нина Оксана Олег Олеся Ольга Павел Пётр Полина Роман Руслан Светлана \
         Семён Сергей София Софья Станислав Степан Тамара Татьяна Тимофей Ульяна Фёдор Эдуард Элла Юлия Юрий Яна Ярослав Богдан \
         Василь Дмитро Євген Ївга Іван Ігор Катерина Кирило Любов Микола Михайло Наталія Олександр Олексій Олена \
         Орест Петро Сергій Соломія Тарас Юлія Юрій Ярина Ангел Бисер Боян Десислава Димитър Живка Йордан Калин Росица Цветан \
         Ђорђе Јован Јелена Љиљана Његош Стефан Ђурђа",
        // Greek, Georgian, Armenian.
        "Αθηνά Αλέξανδρος Αναστασία Ανδρέας Άννα Βασίλης Γεωργία Γιάννης Γιώργος Δέσποινα Δημήτρης Ειρήνη Ελένη Εύα Ζωή Ηλίας \
         Θανάσης Θεοδώρα Ιωάννα Κατερίνα Κώστας Λευτέρης Λουκάς Μαρία Μιχάλης Νίκη Νίκος Ξένια Όλγα Παναγιώτης Πέτρος Ρένα Σοφία \
         Σπύρος Στέλιος Τάσος Φωτεινή Χρήστος Χριστίνα ანა გიორგი დავით ელენე ეკა ვახტანგ თამარ ია ირაკლი ლევან ლია მარიამ ნათია ნიკა \
         ნინო სალომე სანდრო ქეთევან შოთა Անի Արամ Արմեն Գոհար Դավիթ Լիլիթ Հայկ Մարիամ Նարեկ Տիգրան",
        // Hebrew, Arabic, Persian, Urdu.
        "אבי אברהם אדם אורי אורלי אילן אילנה איתן אלון אלי אסתר בן ג'ורג' גיא גיל גילה דוד דן דנה דניאל דפנה הדס זאב חיה חיים חנה \
         טל יאיר יוסי יוסף יעל יעקב יצחק ירדן לאה ליאור ליה לינוי מאיה מיכל מירי משה נועה נועם נטע ניר עדי עומר עידו עמית ענת רבקה רון \
         רוני רות רחל רינה שחר שי שיר שירה שלמה שמואל שרה שרון תמר \
         أحمد إبراهيم أسماء أمل أمينة إيمان بلال جمال حسن حسين حمد حمزة خالد خديجة دينا رانيا رنا ريم زينب سارة سامي سعاد سعيد سلمى \
         سليم سمير سناء عائشة عادل عباس عثمان عزيز علاء علي عماد عمر فاطمة فريد فؤاد كريم كمال ليلى ماجد محمد محمود مريم مصطفى منى مها \
         نادية ناصر نبيل نجوى نور هالة هبة هدى هند وليد ياسر ياسمين يحيى يوسف آرش آزاده امیر بهرام پریسا پویا جمشید رضا زهرا ژاله سیما شیرین \
         علیرضا فرهاد کاوه کیان گلنار لیلا مهدی مینا نسرین نیما",
        // Hindi, Bengali, Tamil, Thai, Burmese, Khmer.
        "अजय अनिता अमित अर्जुन आकाश आरती ईशा कविता किरण कृष्ण गीता जया दीपक दीपा देव नेहा नीता पूजा प्रिया मीरा मोहन रवि राज राजा राजेश राधा राम रमा \
         रीता रेखा लक्ष्मी विजय विनोद शिव श्याम सीता सुनीता सुनील हरि ঋতু অমিত কবিতা জয় নীলা প্রিয়া রবি রিনা সুমন অনিতা அருண் கமலா கவிதா குமார் செல்வி தமிழ் \
         மீனா முருகன் ராஜா லதா กมล กานต์ จันทร์ ชัย ณัฐ ดาว นก นภา น้ำ ปลา ปิติ พร มานะ มานี มาลี วิชัย สมชาย สมหญิง สมศรี สุดา อรุณ အောင် ကျော် ခင် စု ဆု ညို \
         နု မြ မြင့် လှ သန္တာ សុខ សុភា ដារា វណ្ណា",
        // Chinese, Japanese, Korean.
        "伟 芳 娜 敏 静 丽 强 磊 军 洋 勇 艳 杰 娟 涛 明 超 兰 霞 平 刚 桂英 建国 志强 秀英 子轩 浩然 宇航 梓涵 欣怡 張偉 张伟 王芳 王力 王刀 李娜 李明 李朋 太郎 大郎 犬郎 一郎 \
         二郎 三郎 花子 陽菜 結衣 葵 蓮 翔太 健 誠 愛 さくら ひなた あおい はな ほのか ゆい ゆうき りん れん いちろう はるか はるき アキラ エミ エリ カオリ ケン ケンジ サラ \
         ノア ハナ ハル パル バル ヒロ マリ マリア ミカ ユキ ユリ リカ リク リサ リン ルカ ルリ レイ ロン 김민수 김민준 김민서 김서연 김지우 이준 이서준 박지민 박지훈 최수빈 \
         정예은 강하늘 윤아 윤서 은지 은서 지은 지원 지현 하나 하은 민지 민수 수민 수진 영희 철수 현우",
    ];

    /// Real names that the letters themselves bring together: a capital I looks like an l.
    const TOO_NEAR: &[[&str; 2]] = &[
        ["Ian", "Lan"],
        ["Iola", "Lola"],
        ["Iida", "Lida"],
        ["Ieva", "Leva"],
    ];

    #[test]
    fn common_names_that_differ_can_meet() {
        let mut taken: HashMap<(usize, String), &str> = HashMap::new();
        let mut collisions = Vec::new();
        for raw in COMMON.iter().flat_map(|list| list.split_whitespace()) {
            let name = name(raw);
            for (which, key) in name.keys().into_iter().enumerate() {
                if let Some(other) = taken.insert((which, key.to_owned()), raw) {
                    collisions.push([other, raw]);
                }
            }
        }
        assert_eq!(collisions, [["Ian", "Lan"]]);
    }

    #[test]
    fn a_capital_i_brings_a_few_names_together() {
        for [one, other] in TOO_NEAR {
            cannot_meet(one, other);
        }
    }
}
