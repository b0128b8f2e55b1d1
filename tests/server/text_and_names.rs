//! Properties of cleaned texts, names and groups, checked with random input.

use std::borrow::Cow;

use chat_run::protocol::limits::{MAX_GROUP_CHARS, MAX_NAME_BYTES, MAX_NAME_CHARS};
use chat_run::protocol::name::{Group, Name};
use chat_run::protocol::text::{Text, clean, is_visible};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use unicode_properties::{GeneralCategory, GeneralCategoryGroup, UnicodeGeneralCategory};

/// Characters to which a cleaning rule applies.
const TRICKY: &str = "\0\t\n\r\x1b\x7f\u{80}\u{85}\u{9b}\u{9f} \u{a0}\u{2028}\u{2029}\u{2800}\u{3000}\u{202e}\u{2066}\
                      \u{2069}\u{61c}\u{200e}\u{e0041}\u{e007f}\u{fff9}\u{fffb}\u{fffe}\u{fdd0}\u{1ffff}\u{115f}\u{3164}\
                      \u{ffa0}\u{17b4}\u{180e}\u{2060}\u{2065}\u{180b}\u{600}\u{6dd}\u{13441}aZ0-'_:/.*![ąßςİıǅ字كا٣۳א🔥\
                      🇵👩🏽\u{10ffff}\u{e000}";

/// Combining characters, whose runs are limited, and invisible ones, which must not affect the
/// count. The list is short so that long runs are likely.
const COUNTED: &str = "\u{301}\u{345}\u{20dd}\u{903}\u{93e}\u{200c}\u{200d}\u{34f}\u{fe0f}\u{e0100}\u{200b}\u{ad}\u{feff}";

/// Format characters that are visible.
const NUMBER_SIGNS: &str = "\u{600}\u{601}\u{602}\u{603}\u{604}\u{605}\u{6dd}\u{70f}\u{890}\u{891}\u{8e2}\u{110bd}\u{110cd}";

/// Letters with another case, width or spelling, each with its NFD form.
const LETTERS: &[[&str; 2]] = &[
    ["a", "a"],
    ["B", "B"],
    ["m", "m"],
    ["I", "I"],
    ["l", "l"],
    ["0", "0"],
    ["1", "1"],
    ["_", "_"],
    ["-", "-"],
    ["é", "e\u{301}"],
    ["Ż", "Z\u{307}"],
    ["ḿ", "m\u{301}"],
    ["ệ", "e\u{323}\u{302}"],
    ["ǖ", "u\u{308}\u{304}"],
    ["İ", "I\u{307}"],
    ["ı", "ı"],
    ["ß", "ß"],
    ["ł", "ł"],
    ["ё", "е\u{308}"],
    ["Й", "И\u{306}"],
    ["м", "м"],
    ["ΐ", "ι\u{308}\u{301}"],
    ["ᾳ", "α\u{345}"],
    ["σ", "σ"],
    ["ς", "ς"],
    ["Բ", "Բ"],
    ["ნ", "ნ"],
    ["が", "か\u{3099}"],
    ["한", "\u{1112}\u{1161}\u{11ab}"],
    ["字", "字"],
    ["ब", "ब"],
];

fn any_text() -> impl Strategy<Value = String> {
    let [tricky, counted] = [TRICKY, COUNTED].map(|sort| select(sort.chars().collect::<Vec<_>>()));
    vec(
        prop_oneof![2 => tricky, 4 => counted, 1 => any::<char>()],
        0..60,
    )
    .prop_map(String::from_iter)
}

/// Mostly plausible names, sometimes arbitrary text.
fn any_name() -> impl Strategy<Value = String> {
    let scripts = [
        "abcdeIlm01_-'éŁß’·l·lL·L",
        "абвгёйМ",
        "αβγσςΐ",
        "אבגדהו׳״",
        "محمدنور٢\u{200c}\u{200d}",
        "नेहारी\u{94d}\u{94d}\u{200c}\u{200d}",
        "張偉明字",
        "김민수하",
    ];
    let script = select(scripts.to_vec())
        .prop_flat_map(|script| vec(select(script.chars().collect::<Vec<_>>()), 1..26))
        .prop_map(String::from_iter);
    let mixed = vec(select(LETTERS.to_vec()), 1..16)
        .prop_map(|letters| letters.iter().map(|[letter, _]| *letter).collect());
    prop_oneof![4 => script, 4 => mixed, 1 => any_text()]
}

/// Whether cleaned text must not contain `c`. Written independently of the implementation.
fn is_forbidden(c: char) -> bool {
    let code = u32::from(c);
    c.is_control()
        || "\u{2028}\u{2029}\u{115f}\u{1160}\u{3164}\u{ffa0}\u{17b4}\u{17b5}\u{2065}".contains(c)
        || (c.general_category() == GeneralCategory::Format
            && !is_joiner(c)
            && !NUMBER_SIGNS.contains(c))
        || (code & 0xffff) >= 0xfffe
        || (0xfdd0..=0xfdef).contains(&code)
        || (0xfff0..=0xfff8).contains(&code)
        || ((0xe0000..=0xe0fff).contains(&code) && !is_joiner(c))
}

fn is_joiner(c: char) -> bool {
    matches!(
        u32::from(c),
        0x34f | 0x200c | 0x200d | 0x180b..=0x180d | 0x180f | 0xfe00..=0xfe0f | 0xe0100..=0xe01ef
    )
}

fn is_stacked_mark(c: char) -> bool {
    let category = c.general_category();
    !is_joiner(c)
        && matches!(
            category,
            GeneralCategory::NonspacingMark | GeneralCategory::EnclosingMark
        )
}

fn is_spacing_mark(c: char) -> bool {
    c.general_category() == GeneralCategory::SpacingMark
}

fn stands_alone(c: char) -> bool {
    !is_joiner(c) && !is_stacked_mark(c) && !is_spacing_mark(c)
}

/// The text in letters of the block "Halfwidth and Fullwidth Forms".
fn full_width(text: &str) -> String {
    let wide = |c: char| {
        if c.is_ascii_graphic() {
            char::from_u32(u32::from(c) + 0xfee0).unwrap_or(c)
        } else {
            c
        }
    };
    text.chars().map(wide).collect()
}

/// The text with upper and lower case swapped.
fn swap_case(text: &str) -> String {
    let swap = |c: char| {
        if c.is_lowercase() {
            c.to_uppercase().to_string()
        } else {
            c.to_lowercase().to_string()
        }
    };
    text.chars().map(swap).collect()
}

/// Checks that the text of a refusal, which may quote the input, is safe to show and in house
/// style.
fn check_refusal(refusal: &str) -> Result<(), TestCaseError> {
    prop_assert_eq!(clean(refusal), refusal);
    prop_assert!(refusal.len() <= 200, "{} bytes: {}", refusal.len(), refusal);
    prop_assert!(
        !refusal.starts_with(char::is_uppercase) || refusal.starts_with("U+"),
        "{}",
        refusal
    );
    prop_assert!(!refusal.ends_with('.'), "{}", refusal);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn cleaning_twice_changes_nothing_more(raw in any_text()) {
        let once = clean(&raw).into_owned();
        prop_assert!(matches!(clean(&once), Cow::Borrowed(same) if same == once), "{:?}, {:?}", once, clean(&once));
        prop_assert_eq!(Text::new(&raw).to_string(), once);
    }

    #[test]
    fn cleaning_removes_control_invisible_and_bidi_characters(raw in any_text()) {
        let cleaned = clean(&raw);
        let found = cleaned.chars().find(|c| is_forbidden(*c));
        prop_assert_eq!(found, None, "in {:?}", cleaned);
    }

    #[test]
    fn at_most_four_combining_marks_stack_on_a_character(raw in any_text()) {
        for on_one in clean(&raw).split(stands_alone) {
            prop_assert!(on_one.chars().filter(|c| is_stacked_mark(*c)).count() <= 4, "{:?}", on_one);
            prop_assert!(on_one.chars().filter(|c| is_spacing_mark(*c)).count() <= 4, "{:?}", on_one);
        }
    }

    #[test]
    fn joiners_follow_a_visible_character_and_at_most_two_in_a_row(raw in any_text()) {
        let cleaned: Vec<char> = clean(&raw).chars().collect();
        for (at, _) in cleaned.iter().enumerate().filter(|(_, c)| is_joiner(**c)) {
            let stands_on = cleaned[..at].iter().rev().find(|c| stands_alone(**c));
            prop_assert!(stands_on.is_some_and(|c| is_visible(&c.to_string())), "{:?}", cleaned);
            prop_assert!(at < 2 || !cleaned[at - 2..at].iter().all(|c| is_joiner(*c)), "{:?}", cleaned);
        }
    }

    #[test]
    fn text_before_a_visible_character_does_not_affect_how_the_rest_is_cleaned(before in any_text(), after in any_text()) {
        let apart = format!("{}{}", clean(&before), clean(&format!("x{after}")));
        let together = format!("{before}x{after}");
        prop_assert_eq!(clean(&together), apart);
    }

    #[test]
    fn printable_ascii_is_unchanged(raw in "[ -~]{0,100}") {
        prop_assert!(matches!(clean(&raw), Cow::Borrowed(same) if same == raw));
        prop_assert_eq!(is_visible(&raw), raw.contains(|c| c != ' '));
    }

    #[test]
    fn cleaning_at_most_triples_the_length_of_a_text(raw in any_text()) {
        prop_assert!(clean(&raw).len() <= 3 * raw.len());
    }

    #[test]
    fn cleaning_does_not_change_whether_a_text_is_visible(raw in any_text()) {
        prop_assert_eq!(is_visible(&raw), is_visible(&clean(&raw)));
    }

    #[test]
    fn an_accepted_name_is_clean_text_without_spaces_or_reserved_punctuation(raw in any_name()) {
        match Name::new(&raw) {
            Ok(name) => {
                let shown = name.as_str();
                prop_assert_eq!(clean(shown), shown);
                prop_assert!(name.text().is_visible());
                prop_assert!(shown.chars().count() <= MAX_NAME_CHARS && shown.len() <= MAX_NAME_BYTES);
                // The standard library may have an older Unicode version with fewer letters.
                prop_assert!(shown.starts_with(|c: char| matches!(c.general_category_group(), GeneralCategoryGroup::Letter | GeneralCategoryGroup::Number)));
                let signs = "*!/:;,.@#$%&()[]<>{}\"`|\\?";
                prop_assert!(!shown.contains(|c: char| c.is_whitespace() || signs.contains(c)));
                prop_assert_eq!(name.to_string(), shown);
            }
            Err(error) => check_refusal(&error.to_string())?,
        }
    }

    #[test]
    fn the_displayed_form_of_a_name_parses_to_the_same_name(raw in any_name()) {
        if let Ok(name) = Name::new(&raw) {
            let again = Name::new(name.as_str());
            prop_assert_eq!(again.as_ref(), Ok(&name));
            prop_assert!(again.is_ok_and(|again| again.keys() == name.keys() && again.is_same(&name)));
        }
    }

    #[test]
    fn names_are_the_same_exactly_if_they_share_a_comparison_key(one in any_name(), other in any_name()) {
        if let (Ok(one), Ok(other)) = (Name::new(&one), Name::new(&other)) {
            let [[a, b], [c, d]] = [one.keys(), other.keys()];
            prop_assert_eq!(one.is_same(&other), a == c || b == d);
            prop_assert_eq!(other.is_same(&one), one.is_same(&other));
        }
    }

    #[test]
    fn names_that_differ_only_in_case_or_width_or_composition_are_the_same(letters in vec(select(LETTERS.to_vec()), 1..9)) {
        let [composed, decomposed] = [0, 1].map(|form| letters.iter().map(|l| l[form]).collect::<String>());
        let Ok(name) = Name::new(&composed) else { return Ok(()) };
        prop_assert_eq!(Name::new(&decomposed), Ok(name.clone()));
        prop_assert_eq!(Name::new(&full_width(&composed)), Ok(name.clone()));
        for raw in [swap_case(&composed), swap_case(&decomposed), full_width(&swap_case(&composed))] {
            let other = Name::new(&raw).map_err(|error| TestCaseError::fail(format!("{raw}: {error}")))?;
            prop_assert!(name.is_same(&other), "{} {:?}, {} {:?}", name, name.keys(), other, other.keys());
        }
    }

    #[test]
    fn a_numbered_name_ends_with_its_number(raw in any_name(), n in any::<u32>()) {
        if let Some(numbered) = Name::new(&raw).ok().and_then(|name| name.with_number(n)) {
            let shown = numbered.as_str();
            prop_assert!(shown.ends_with(&n.to_string()));
            prop_assert!(shown.chars().count() <= MAX_NAME_CHARS && shown.len() <= MAX_NAME_BYTES);
        }
    }

    #[test]
    fn an_accepted_group_is_safe_to_show_in_parentheses(raw in any_name()) {
        match Group::new(&raw) {
            Ok(group) => {
                let shown = group.as_str();
                prop_assert_eq!(clean(shown), shown);
                prop_assert!(shown.chars().count() <= MAX_GROUP_CHARS && shown.len() <= MAX_NAME_BYTES);
                prop_assert!(!shown.contains(|c: char| c.is_whitespace() || "()[]:*!".contains(c)));
                prop_assert_eq!(Group::new(shown), Ok(group.clone()));
            }
            Err(error) => check_refusal(&error.to_string())?,
        }
    }
}

#[test]
fn no_forbidden_character_survives_cleaning() {
    for c in '\0'..=char::MAX {
        let raw = format!("x{c}{c}");
        let cleaned = clean(&raw);
        assert!(
            !cleaned.contains(is_forbidden),
            "{raw:?} became {cleaned:?}"
        );
        assert_eq!(clean(&cleaned), cleaned);
    }
}

#[test]
fn names_that_differ_only_in_case_are_the_same_for_every_letter() {
    for c in ('\0'..=char::MAX)
        .filter(|c| c.is_uppercase() || c.is_lowercase() || !c.to_uppercase().eq([*c]))
    {
        let Ok(name) = Name::new(&format!("x{c}")) else {
            continue;
        };
        for case in [c.to_uppercase().to_string(), c.to_lowercase().to_string()] {
            let other = Name::new(&format!("x{case}"))
                .unwrap_or_else(|error| panic!("{name} but {case}: {error}"));
            assert!(
                name.is_same(&other),
                "{name} {:?}, {other} {:?}",
                name.keys(),
                other.keys()
            );
        }
    }
}
