//! Tab completion in the launcher's console: commands, and names after `/kick`.

use crate::tty::editor::Completion;

/// The console's commands: the server's, and `/open`.
const COMMANDS: [&str; 6] = ["/help", "/kick", "/online", "/open", "/quit", "/say"];

/// Completes the word at the end of `before`. `names` are the members that are known here.
pub(crate) fn complete(before: &str, names: &[String]) -> Option<Completion> {
    if before.is_empty() {
        return None;
    }
    Completion::of_last_word(before, |before| {
        if before.is_empty() {
            COMMANDS.map(String::from).to_vec()
        } else if before.trim_end().eq_ignore_ascii_case("/kick") {
            names.to_vec()
        } else {
            Vec::new()
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tab_completes_commands_and_names_to_kick() {
        let names = ["ola", "Olek", "jan", "Łukasz"].map(String::from);
        for (before, expected) in [
            ("/k", &["/kick "][..]),
            ("/O", &["/online ", "/open "]),
            ("/kick ol", &["ola ", "Olek "]),
            ("/kick lu", &["Łukasz "]),
            ("/KICK ", &["ola ", "Olek ", "jan ", "Łukasz "]),
            ("", &[]),
            ("/kick ola ", &[]),
            ("/say o", &[]),
            ("/x", &[]),
        ] {
            let words = complete(before, &names).map(|completion| completion.words);
            assert_eq!(words.unwrap_or_default(), expected, "{before:?}");
        }
    }
}
