//! The commands that the window does by itself, and which command somebody meant who mistyped one.

/// What `/help` says of them.
pub(crate) const HELP: &[&str] = &[
    "  /clear: empty the screen (Ctrl+L)",
    "  /time on, /time off: the time before each line",
    "  /ignore NAME: do not show what NAME says; once more: show it again",
    "  /bell on, /bell off: the bell for your name and for private messages",
    "  Tab completes names and commands; Ctrl+R searches what you typed before",
];

/// Commands that Tab offers, the window's and the server's.
pub(crate) const COMMANDS: &[&str] = &[
    "/bell",
    "/changename",
    "/clear",
    "/help",
    "/ignore",
    "/msg",
    "/online",
    "/quit",
    "/reply",
    "/time",
];

/// Other names of the server's commands.
const OTHERS: &[&str] = &["/?", "/exit", "/nick", "/pomoc", "/who", "/wyjdz", "/wyjdź"];

/// Changes of letters after which a word is another one, and not mistyped.
const MAX_TYPOS: usize = 2;

/// What the window does by itself.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Local<'a> {
    Clear,
    Time(bool),
    Bell(bool),
    /// With no name: who is ignored.
    Ignore(Option<&'a str>),
}

impl<'a> Local<'a> {
    /// Reads a line; `None` where it is the server's.
    ///
    /// # Errors
    /// How the command is written.
    pub(crate) fn parse(line: &'a str) -> Option<Result<Self, &'static str>> {
        let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let rest = rest.trim();
        Some(match word.to_lowercase().as_str() {
            "/clear" => Ok(Self::Clear),
            "/time" => switch(rest)
                .map(Self::Time)
                .ok_or("type /time on or /time off"),
            "/bell" => switch(rest)
                .map(Self::Bell)
                .ok_or("type /bell on or /bell off"),
            "/ignore" if rest.contains(char::is_whitespace) => Err("type /ignore NAME"),
            "/ignore" => Ok(Self::Ignore((!rest.is_empty()).then_some(rest))),
            _ => return None,
        })
    }
}

fn switch(word: &str) -> Option<bool> {
    match word.to_lowercase().as_str() {
        "on" => Some(true),
        "off" => Some(false),
        _ => None,
    }
}

/// Whether a line may be kept on the disk: no private message, nor what may be a mistyped one.
pub(crate) fn may_be_kept(line: &str) -> bool {
    if !line.starts_with('/') || line.starts_with("//") {
        return true;
    }
    let word = line.split_whitespace().next().unwrap_or_default();
    let word = word.to_lowercase();
    !["/msg", "/reply"].contains(&word.as_str())
        && (COMMANDS.contains(&word.as_str()) || OTHERS.contains(&word.as_str()))
}

/// The command that somebody meant by `word`, which is none, and stands here without its slash.
pub(crate) fn nearest(word: &str) -> Option<&'static str> {
    let typed = format!("/{}", word.to_lowercase());
    let mut all = COMMANDS.iter().chain(OTHERS).copied();
    if let (false, Some(begun)) = (
        word.is_empty(),
        all.find(|command| command.starts_with(&typed)),
    ) {
        return Some(begun);
    }
    let most = MAX_TYPOS.min(word.chars().count() / 2);
    COMMANDS
        .iter()
        .map(|command| (strsim::damerau_levenshtein(&typed, command), *command))
        .filter(|(typos, _)| *typos <= most)
        .min()
        .map(|(_, command)| command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_windows_own_commands_are_read_and_all_others_are_not() {
        for (line, command) in [
            ("/clear", Some(Ok(Local::Clear))),
            ("/TIME Off", Some(Ok(Local::Time(false)))),
            ("/time", Some(Err("type /time on or /time off"))),
            ("/bell on", Some(Ok(Local::Bell(true)))),
            ("/ignore  ola ", Some(Ok(Local::Ignore(Some("ola"))))),
            ("/ignore", Some(Ok(Local::Ignore(None)))),
            ("/ignore ola ela", Some(Err("type /ignore NAME"))),
            ("/msg ola hi", None),
            ("//clear", None),
            (" /clear", None),
            ("clear", None),
        ] {
            assert_eq!(Local::parse(line), command, "{line:?}");
        }
    }

    #[test]
    fn a_command_that_was_begun_or_mistyped_is_known_and_a_word_of_another_kind_is_not() {
        for (word, command) in [
            ("onlin", Some("/online")),
            ("hlep", Some("/help")),
            ("mgs", Some("/msg")),
            ("QUITT", Some("/quit")),
            ("clera", Some("/clear")),
            ("q", Some("/quit")),
            ("M", Some("/msg")),
            ("on", Some("/online")),
            ("ch", Some("/changename")),
            ("ig", Some("/ignore")),
            ("wh", Some("/who")),
            ("me", None),
            ("dance", None),
            ("x", None),
            ("", None),
        ] {
            assert_eq!(nearest(word), command, "{word}");
        }
    }

    #[test]
    fn private_messages_are_not_kept_however_they_are_mistyped() {
        for line in [
            "/msg ola psst",
            "/reply psst",
            "/mgs ola psst",
            "/MSG ola psst",
            "/m ola x",
        ] {
            assert!(!may_be_kept(line), "{line}");
        }
        for line in ["hi", "/online", "/nick ela", "//msg is a command", " /msg"] {
            assert!(may_be_kept(line), "{line}");
        }
    }
}
