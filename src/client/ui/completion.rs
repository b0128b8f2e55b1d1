//! Tab completion of commands and of members' names.

use crate::protocol::commands::{self, Argument};
use crate::protocol::name::without_marks;
use crate::tty::editor::Completion;

/// Completes the word at the end of `before`, the text up to the cursor. `names` are the names of
/// the members online, the most likely name first.
pub(crate) fn complete(before: &str, names: &[&str]) -> Option<Completion> {
    let start = before.rfind(char::is_whitespace).map_or(0, |at| {
        at + before[at..].chars().next().map_or(0, char::len_utf8)
    });
    let word = &before[start..];
    let is_command = start == 0 && word.starts_with('/');
    let command = before[..start].trim_end().to_lowercase();
    let command = commands::of_client().find(|row| row.names.contains(&command.as_str()));
    let argument = command.map_or(Argument::Other, |row| row.argument);
    if word.is_empty() && argument == Argument::Other {
        return None;
    }
    let ending = if start == 0 && !is_command { ": " } else { " " };
    let typed = without_marks(word);
    let matches = |known: &&str| without_marks(known).starts_with(&typed);
    let known = match argument {
        Argument::Switch => vec!["on", "off"],
        Argument::Member | Argument::Other if is_command => {
            commands::offered(commands::of_client())
        }
        Argument::Member | Argument::Other => names.to_vec(),
    };
    let words: Vec<String> = known
        .into_iter()
        .filter(matches)
        .map(|known| format!("{known}{ending}"))
        .collect();
    (!words.is_empty()).then_some(Completion { start, words })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn completed(before: &str) -> Vec<String> {
        complete(before, &["ola", "Olek", "jan", "Łukasz", "Żółć"]).map_or_else(
            Vec::new,
            |completion| {
                let start = &before[..completion.start];
                let words = completion.words.iter();
                words.map(|word| format!("{start}{word}")).collect()
            },
        )
    }

    #[test]
    fn matching_names_are_offered_in_the_order_in_which_the_caller_lists_them() {
        assert_eq!(completed("ol"), ["ola: ", "Olek: "]);
        assert_eq!(completed("OLE"), ["Olek: "]);
        assert_eq!(completed("hi j"), ["hi jan "]);
        assert_eq!(completed("/msg o"), ["/msg ola ", "/msg Olek "]);
        assert_eq!(
            completed("/msg "),
            [
                "/msg ola ",
                "/msg Olek ",
                "/msg jan ",
                "/msg Łukasz ",
                "/msg Żółć "
            ]
        );
    }

    #[test]
    fn a_name_typed_without_its_accents_in_any_case_or_width_is_completed() {
        assert_eq!(completed("lu"), ["Łukasz: "]);
        assert_eq!(completed("hi zol"), ["hi Żółć "]);
        assert_eq!(completed("żół"), ["Żółć: "]);
        assert_eq!(completed("z\u{307}o\u{301}"), ["Żółć: "]);
        assert_eq!(completed("ＯＬＥ"), ["Olek: "]);
    }

    #[test]
    fn the_argument_of_a_command_is_completed() {
        assert_eq!(completed("/time "), ["/time on ", "/time off "]);
        assert_eq!(completed("/Bell of"), ["/Bell off "]);
        assert_eq!(completed("/ignore o"), ["/ignore ola ", "/ignore Olek "]);
    }

    #[test]
    fn commands_are_completed_only_at_the_beginning_of_a_line() {
        assert_eq!(completed("/ms"), ["/msg "]);
        assert_eq!(completed("/C"), ["/changename ", "/clear "]);
        assert_eq!(completed("say /m"), [""; 0]);
    }

    #[test]
    fn a_word_without_a_match_is_not_completed() {
        for before in ["", "hi ", "x", "//m"] {
            assert_eq!(completed(before), [""; 0], "{before:?}");
        }
    }
}
