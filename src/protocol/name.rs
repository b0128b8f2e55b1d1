//! Who is who: names that can be typed and told apart, and the groups beside them.
//!
//! An alphabet of our own comes first, because PRECIS (RFC 8265) lets `*` and `:` into a username. PRECIS gives the
//! form that is shown, and the skeleton of UTS 39 finds the letters that look alike.

use std::fmt;
use std::sync::{Arc, LazyLock};

use precis_profiles::precis_core::profile::Rules;
use precis_profiles::precis_core::{DerivedPropertyValue, IdentifierClass, StringClass};
use precis_profiles::{Nickname, UsernameCasePreserved};
use unicode_properties::{GeneralCategory, UnicodeGeneralCategory};
use unicode_security::confusable_detection::skeleton;

use super::limits::{MAX_GROUP_CHARS, MAX_NAME_BYTES, MAX_NAME_CHARS};
use super::text::{Kind, Text, clean, kind};

/// The signs that a name may have after its first character.
const NAME_SIGNS: &[char] = &['_', '-', '\''];

/// The signs that a group may have.
const GROUP_SIGNS: &[char] = &['_', '-', '\'', '/', '.'];

/// What begins the lines that no member writes. A letter that looks so (`ǃ`, U+01C3) cannot begin a name.
const LINE_SIGNS: &[char] = &['*', '!', '['];

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
        if let Some(c) = foreign(&spelling, NAME_SIGNS) {
            return Err(NameError::Character(c));
        }
        if !keeps_its_order(&spelling) {
            return Err(NameError::Order);
        }
        if clean(&spelling) != spelling {
            return Err(NameError::Marks);
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
        if spelling.len() > MAX_NAME_BYTES {
            return Err(GroupError::TooManyBytes);
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

/// Why something cannot be a name. What it says is clean, and one short line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NameError {
    /// There is nothing.
    Empty,
    /// More than [`MAX_NAME_CHARS`] characters.
    TooLong,
    /// More than [`MAX_NAME_BYTES`] bytes.
    TooManyBytes,
    /// It does not begin with a letter or digit.
    Start {
        /// What is left without its beginning, where that is a name.
        instead: Option<Name>,
    },
    /// This cannot be in a name.
    Character(char),
    /// Letters that are written from right to left stand where a screen would show them in another order than they
    /// were typed.
    Order,
    /// More marks on a letter than are shown.
    Marks,
    /// It speaks for the room, or looks so.
    Reserved(Text),
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("a name has at least one character"),
            Self::TooLong => write!(f, "a name has {MAX_NAME_CHARS} characters at most"),
            Self::TooManyBytes => write!(f, "a name has {MAX_NAME_BYTES} bytes at most: try a shorter one"),
            Self::Start { instead: Some(name) } => write!(f, "a name begins with a letter or digit: try {name}"),
            Self::Start { instead: None } => f.write_str("a name begins with a letter or digit"),
            Self::Character(c) => write!(f, "{} cannot be in a name: letters, digits, _ - ' can", Quoted(*c)),
            Self::Order => f.write_str(
                "a right-to-left name begins with its letters, and has no others and one sort of digits",
            ),
            Self::Marks => f.write_str("a name has four marks on a letter at most"),
            Self::Reserved(name) => write!(f, "\"{name}\" is reserved: try another name"),
        }
    }
}

impl std::error::Error for NameError {}

/// Why something cannot be a group. What it says is clean, and one short line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupError {
    /// There is nothing.
    Empty,
    /// More than [`MAX_GROUP_CHARS`] characters.
    TooLong,
    /// More than [`MAX_NAME_BYTES`] bytes.
    TooManyBytes,
    /// It begins with a mark, which would stand on what is before it.
    Start,
    /// This cannot be in a group.
    Character(char),
    /// More marks on a letter than are shown.
    Marks,
}

impl fmt::Display for GroupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("a group has at least one character"),
            Self::TooLong => write!(f, "a group has {MAX_GROUP_CHARS} characters at most"),
            Self::TooManyBytes => write!(
                f,
                "a group has {MAX_NAME_BYTES} bytes at most: try a shorter one"
            ),
            Self::Start => {
                f.write_str("a group begins with a letter, a digit or a sign, not with a mark")
            }
            Self::Character(c) => write!(
                f,
                "{} cannot be in a group: letters, digits, _ - ' / . can",
                Quoted(*c)
            ),
            Self::Marks => f.write_str("a group has four marks on a letter at most"),
        }
    }
}

impl std::error::Error for GroupError {}

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
    let of_a_word = is_letter_or_digit(c) || is_mark(c);
    let seen = matches!(
        kind(c),
        Kind::Visible | Kind::StackedMark | Kind::SpacingMark
    );
    of_a_word && seen && is_valid_in_precis(c)
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
    is_letter_or_digit(c)
        && !skeleton(c.encode_utf8(&mut [0; 4])).any(|part| LINE_SIGNS.contains(&part))
}

/// The bidi rule of RFC 5893, so that two names that differ do not look the same. It also asks for a letter or digit
/// at the end; signs may stand there too, as in the Hebrew `ג'ורג'`, since none can stand at the beginning.
fn keeps_its_order(name: &str) -> bool {
    UsernameCasePreserved::new()
        .directionality_rule(name.trim_end_matches(NAME_SIGNS))
        .is_ok()
}

/// Both ways, since neither finds all: `ALICE` is `alice` only when it is folded first, as its `I` looks like an `l`, and
/// looks like `ALlCE` only before. What is seen is folded in the end, as some of it is capital (`0` looks like `O`).
fn keys(name: &str) -> [String; 2] {
    [fold(&look(&fold(name))), fold(&look(name))]
}

fn same(one: &[String; 2], other: &[String; 2]) -> bool {
    one.iter().zip(other).any(|(one, other)| one == other)
}

static RESERVED_KEYS: LazyLock<Vec<[String; 2]>> =
    LazyLock::new(|| RESERVED.iter().map(|name| keys(name)).collect());

/// Without case, as in "Caseless Matching" of the Unicode Standard (section 3.13): up and down, so that `ß` meets
/// `SS` and `ς` meets `Σ`, which the lower-casing of RFC 8265 keeps apart; first down, for the capital `ẞ`.
fn fold(text: &str) -> String {
    text.chars()
        .flat_map(char::to_lowercase)
        .flat_map(char::to_uppercase)
        .flat_map(char::to_lowercase)
        .collect()
}

/// The skeleton of UTS 39, section 4, with one change: there `m` looks like `rn`, so that `modem` and `modern` could
/// not meet. No other letter of ours has a skeleton of several letters.
fn look(text: &str) -> String {
    // A private-use character, which no name contains, takes the place of each m, with or without marks.
    const M: char = '\u{e000}';
    let mut without_m = String::with_capacity(text.len());
    for c in text.chars() {
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
