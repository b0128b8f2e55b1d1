//! The table of all commands: their names, their help, what Tab completes after them, and which
//! may be written to a history file.
//!
//! The programs look up a typed word here and match on the command's ID exhaustively, so a new
//! command doesn't compile until its program handles it.

use crate::protocol::text::{Text, clean, trim_hidden};

/// A language of the help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    English,
    Polish,
}

/// The kind of word that Tab completes after a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Argument {
    /// Any text. Once the user has typed the first letter of a word, Tab completes members' names.
    Other,
    /// A member's name.
    Member,
    /// The word `on` or `off`.
    Switch,
}

/// The properties of a command: a row of a command table, without the command's ID.
#[derive(Debug)]
pub struct Command {
    /// The names, with the slash and in lower case. Tab and suggestions offer the first one.
    pub names: &'static [&'static str],
    /// How to type the command, such as `/msg NAME TEXT`.
    pub usage: &'static str,
    /// The command's effect, for the help. Empty for a command that neither the help nor Tab
    /// mentions.
    pub english: &'static str,
    /// The complete help line in Polish. Empty if the command has no help in Polish.
    pub polish: &'static str,
    pub argument: Argument,
    /// Whether a line with the command must not be written to a file.
    pub is_private: bool,
}

/// Default values for the fields of a table row.
const ROW: Command = Command {
    names: &[],
    usage: "",
    english: "",
    polish: "",
    argument: Argument::Other,
    is_private: false,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoginCommand {
    Pass,
    Json,
    Resume,
    Help(Language),
    Quit,
}

/// Commands for a connection that hasn't joined.
pub static LOGIN: [(LoginCommand, Command); 6] = [
    (
        LoginCommand::Pass,
        Command {
            names: &["/pass"],
            usage: "/pass PASSWORD",
            english: "give the room's password, if it has one",
            polish: "/pass HASŁO: najpierw, jeśli pokój ma hasło",
            is_private: true,
            ..ROW
        },
    ),
    (
        LoginCommand::Json,
        Command {
            names: &["/json"],
            usage: "/json NAME GROUP",
            english: "join and get JSON lines",
            polish: "/json NAZWA GRUPA: wejście, odpowiedzi jako JSON",
            ..ROW
        },
    ),
    // A line with `/resume` is private, because its token grants the same access as a password.
    (
        LoginCommand::Resume,
        Command {
            names: &["/resume"],
            usage: "/resume TOKEN SEQ",
            is_private: true,
            ..ROW
        },
    ),
    (
        LoginCommand::Help(Language::English),
        Command {
            names: &["/help", "/?"],
            usage: "/help",
            ..ROW
        },
    ),
    (
        LoginCommand::Help(Language::Polish),
        Command {
            names: &["/pomoc"],
            usage: "/pomoc",
            ..ROW
        },
    ),
    (
        LoginCommand::Quit,
        Command {
            names: &["/quit", "/exit", "/wyjdz", "/wyjdź"],
            usage: "/quit",
            english: "leave",
            polish: "/quit: wyjście",
            ..ROW
        },
    ),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberCommand {
    Msg,
    Reply,
    ChangeName,
    Online,
    Help(Language),
    Quit,
}

/// Commands for members, which the server carries out.
pub static MEMBER: [(MemberCommand, Command); 7] = [
    (
        MemberCommand::Msg,
        Command {
            names: &["/msg"],
            usage: "/msg NAME TEXT",
            english: "send a private message to NAME",
            polish: "/msg NAZWA TEKST: tylko do tej osoby",
            argument: Argument::Member,
            is_private: true,
        },
    ),
    (
        MemberCommand::Reply,
        Command {
            names: &["/reply"],
            usage: "/reply TEXT",
            english: "answer the last private message",
            polish: "/reply TEKST: odpowiedź na ostatnią wiadomość prywatną",
            is_private: true,
            ..ROW
        },
    ),
    (
        MemberCommand::ChangeName,
        Command {
            names: &["/changename", "/nick"],
            usage: "/changename NAME",
            english: "change your name (one word)",
            polish: "/changename NAZWA: zmiana nazwy",
            ..ROW
        },
    ),
    (
        MemberCommand::Online,
        Command {
            names: &["/online", "/who"],
            usage: "/online",
            english: "list the members",
            polish: "/online: kto tu jest",
            ..ROW
        },
    ),
    (
        MemberCommand::Help(Language::English),
        Command {
            names: &["/help", "/?"],
            usage: "/help",
            english: "show this list (/pomoc: in Polish)",
            polish: "/pomoc: ta lista (/help: po angielsku)",
            ..ROW
        },
    ),
    (
        MemberCommand::Help(Language::Polish),
        Command {
            names: &["/pomoc"],
            usage: "/pomoc",
            ..ROW
        },
    ),
    (
        MemberCommand::Quit,
        Command {
            names: &["/quit", "/exit", "/wyjdz", "/wyjdź"],
            usage: "/quit",
            english: "leave",
            polish: "/wyjdź: wyjście",
            ..ROW
        },
    ),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientCommand {
    Clear,
    Time,
    Ignore,
    Bell,
}

/// Commands that the client itself carries out in the terminal UI. The server doesn't know them.
pub static CLIENT: [(ClientCommand, Command); 4] = [
    (
        ClientCommand::Clear,
        Command {
            names: &["/clear"],
            usage: "/clear",
            english: "clear the screen (Ctrl+L)",
            ..ROW
        },
    ),
    (
        ClientCommand::Time,
        Command {
            names: &["/time"],
            usage: "/time on|off",
            english: "show or hide the time of each line",
            argument: Argument::Switch,
            ..ROW
        },
    ),
    (
        ClientCommand::Ignore,
        Command {
            names: &["/ignore"],
            usage: "/ignore NAME",
            english: "hide what NAME says; repeat to show it",
            argument: Argument::Member,
            ..ROW
        },
    ),
    (
        ClientCommand::Bell,
        Command {
            names: &["/bell"],
            usage: "/bell on|off",
            english: "ring for your name and private messages",
            argument: Argument::Switch,
            ..ROW
        },
    ),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OperatorCommand {
    Say,
    Kick,
    Online,
    Help,
    Quit,
}

/// Commands on the server's console. Each of their help lines fits in a pane of 40 columns.
pub static OPERATOR: [(OperatorCommand, Command); 5] = [
    (
        OperatorCommand::Say,
        Command {
            names: &["/say"],
            usage: "/say TEXT",
            english: "send TEXT to everyone",
            ..ROW
        },
    ),
    (
        OperatorCommand::Kick,
        Command {
            names: &["/kick"],
            usage: "/kick NAME [REASON]",
            english: "disconnect NAME",
            argument: Argument::Member,
            ..ROW
        },
    ),
    (
        OperatorCommand::Online,
        Command {
            names: &["/online", "/who"],
            usage: "/online",
            english: "list the members",
            ..ROW
        },
    ),
    (
        OperatorCommand::Help,
        Command {
            names: &["/help", "/?"],
            usage: "/help",
            english: "show this list",
            ..ROW
        },
    ),
    (
        OperatorCommand::Quit,
        Command {
            names: &["/quit", "/exit"],
            usage: "/quit",
            english: "end the server, like Ctrl+C",
            ..ROW
        },
    ),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LauncherCommand {
    Open,
    Freeze,
    Thaw,
    Live,
}

/// Commands that the launcher carries out, typed on the console of its session's server.
pub static LAUNCHER: [(LauncherCommand, Command); 4] = [
    (
        LauncherCommand::Open,
        Command {
            names: &["/open"],
            usage: "/open [NAME]",
            english: "open one more client",
            ..ROW
        },
    ),
    (
        LauncherCommand::Freeze,
        Command {
            names: &["/freeze"],
            usage: "/freeze NAME",
            english: "stop NAME; /thaw: undo",
            argument: Argument::Member,
            ..ROW
        },
    ),
    // The help text of `/freeze` also covers `/thaw`, so that the list fits on a small terminal.
    (
        LauncherCommand::Thaw,
        Command {
            names: &["/thaw"],
            usage: "/thaw NAME",
            argument: Argument::Member,
            ..ROW
        },
    ),
    (
        LauncherCommand::Live,
        Command {
            names: &["/live"],
            usage: "/live",
            english: "show threads, locks, queues",
            ..ROW
        },
    ),
];

/// Limit on the edits (letters changed, added, dropped or swapped) between a mistyped word and the
/// command that is suggested for it.
const MAX_TYPOS: usize = 2;

/// A typed command: a line that begins with exactly one slash.
#[derive(Debug)]
pub struct CommandLine<'a> {
    /// The command with its slash, in lower case.
    pub word: String,
    /// The arguments, without surrounding white space.
    pub rest: &'a str,
}

impl<'a> CommandLine<'a> {
    /// Splits a line into a command and its arguments. Returns `None` if the line is text. A line
    /// that begins with two slashes is also text: the first slash is an escape. Invisible
    /// characters before and in the command are ignored.
    pub fn parse(line: &'a str) -> Option<Self> {
        let line = trim_hidden(line);
        if !line.starts_with('/') || line.starts_with("//") {
            return None;
        }
        let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        Some(Self {
            word: clean(word).to_lowercase(),
            rest: rest.trim(),
        })
    }
}

/// Returns the ID and the row of the command `word`, given with its slash and in lower case.
pub fn find<Id: Copy>(
    table: &'static [(Id, Command)],
    word: &str,
) -> Option<(Id, &'static Command)> {
    let (id, command) = table
        .iter()
        .find(|(_, command)| command.names.contains(&word))?;
    Some((*id, command))
}

/// The commands that a member can type in a client on a terminal.
pub fn of_client() -> impl Iterator<Item = &'static Command> {
    rows(&MEMBER).chain(rows(&CLIENT))
}

/// The commands that can be typed on the console of any server.
pub fn of_operator() -> impl Iterator<Item = &'static Command> {
    rows(&OPERATOR)
}

/// The commands that can be typed on the console of a server that the launcher started.
pub fn of_console() -> impl Iterator<Item = &'static Command> {
    of_operator().chain(rows(&LAUNCHER))
}

fn rows<Id>(table: &'static [(Id, Command)]) -> impl Iterator<Item = &'static Command> {
    table.iter().map(|(_, command)| command)
}

/// The names of `commands` that Tab offers, in alphabetical order.
pub fn offered(commands: impl Iterator<Item = &'static Command>) -> Vec<&'static str> {
    let listed = commands.filter(|command| !command.english.is_empty());
    let mut names: Vec<&str> = listed.map(|command| command.names[0]).collect();
    names.sort_unstable();
    names
}

/// Whether a client may save a typed line to a file. Private messages, passwords and tokens are
/// never saved, nor are unknown commands, which may be a mistyped `/msg` or `/pass`.
pub fn may_be_saved(line: &str) -> bool {
    let Some(typed) = CommandLine::parse(line) else {
        return true;
    };
    of_client()
        .find(|command| command.names.contains(&typed.word.as_str()))
        .is_some_and(|command| !command.is_private)
}

/// Suggests a command of the client for the unknown command `word`, given without its slash.
pub fn suggest(word: &str) -> Option<&'static str> {
    let typed = format!("/{}", word.to_lowercase());
    let offered = offered(of_client());
    let all_names = of_client().flat_map(|command| command.names.iter().copied());
    let mut all = offered.iter().copied().chain(all_names);
    let begun = all.find(|name| name.starts_with(&typed));
    if !word.is_empty() && begun.is_some() {
        return begun;
    }
    let most = MAX_TYPOS.min(word.chars().count() / 2);
    offered
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(&typed, name), name))
        .filter(|(typos, _)| *typos <= most)
        .min()
        .map(|(_, name)| name)
}

impl Command {
    /// Returns the command's help line, or `None` if it has no help in `language`.
    pub fn help(&self, language: Language) -> Option<String> {
        let line = match language {
            Language::English if self.english.is_empty() => String::new(),
            Language::English => format!("{}: {}", self.usage, self.english),
            Language::Polish => self.polish.into(),
        };
        (!line.is_empty()).then_some(line)
    }
}

/// The answer to a member's `/help`.
pub fn member_help(language: Language) -> Vec<Text> {
    let (first, last) = match language {
        Language::English => (
            "type a line and press Enter to send it to everyone",
            "//TEXT: send a line that begins with a slash",
        ),
        Language::Polish => (
            "wpisz wiersz i naciśnij Enter, aby powiedzieć go wszystkim",
            "//TEKST: wiersz, który zaczyna się ukośnikiem",
        ),
    };
    std::iter::once(Text::new(first))
        .chain(lines(&MEMBER, language))
        .chain([Text::new(last)])
        .collect()
}

/// The answer to `/help` on a connection that hasn't joined.
pub fn login_help(language: Language) -> Vec<Text> {
    let first = match language {
        Language::English => "NAME or NAME GROUP: join with this name",
        Language::Polish => "NAZWA albo NAZWA GRUPA: wejście pod tą nazwą",
    };
    std::iter::once(Text::new(first))
        .chain(lines(&LOGIN, language))
        .collect()
}

/// The answer to `/help` on the server's console.
pub fn operator_help() -> Vec<Text> {
    lines(&OPERATOR, Language::English).collect()
}

/// The lines that the launcher adds to [`operator_help`].
pub fn launcher_help() -> Vec<Text> {
    lines(&LAUNCHER, Language::English).collect()
}

/// The lines that the terminal UI adds to [`member_help`].
pub fn client_help() -> Vec<Text> {
    lines(&CLIENT, Language::English).collect()
}

fn lines<Id>(table: &'static [(Id, Command)], language: Language) -> impl Iterator<Item = Text> {
    let lines = rows(table).filter_map(move |command| command.help(language));
    lines.map(|line| Text::new(&line))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn all() -> impl Iterator<Item = &'static Command> {
        rows(&LOGIN).chain(of_client()).chain(of_console())
    }

    #[test]
    fn help_lines_begin_with_a_command() {
        for command in all() {
            for language in [Language::English, Language::Polish] {
                let Some(line) = command.help(language) else {
                    continue;
                };
                let word = line.split([' ', ':']).next().unwrap();
                // Accept a name from any row of the tables: the Polish help line of `/help` begins
                // with `/pomoc`, which has a row of its own.
                let mut commands = all();
                assert!(
                    commands.any(|command| command.names.contains(&word)),
                    "{line}"
                );
                assert_eq!(Text::new(&line).as_str(), line);
            }
        }
    }

    #[test]
    fn no_two_commands_of_a_program_share_a_name() {
        for commands in [
            rows(&LOGIN).collect::<Vec<_>>(),
            of_client().collect(),
            of_console().collect(),
        ] {
            let mut seen = HashSet::new();
            for name in commands.iter().flat_map(|command| command.names) {
                assert!(seen.insert(*name), "{name}");
                assert!(name.starts_with('/') && name.to_lowercase() == *name);
            }
        }
    }

    #[test]
    fn unfinished_and_mistyped_commands_get_a_suggestion() {
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
            assert_eq!(suggest(word), command, "{word}");
        }
    }

    #[test]
    fn private_messages_and_passwords_may_not_be_saved_even_if_mistyped() {
        for line in [
            "/msg ola psst",
            "/reply psst",
            "/mgs ola psst",
            "/MSG ola psst",
            "/m ola x",
            "/pass secret",
            "/resume 00ff 7",
        ] {
            assert!(!may_be_saved(line), "{line}");
        }
        for line in [
            "hi",
            "/online",
            "/nick ela",
            "/bell off",
            "//msg is a command",
            " /msg",
        ] {
            assert!(may_be_saved(line), "{line}");
        }
    }
}
