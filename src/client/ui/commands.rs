//! The commands that the client carries out itself.

use crate::protocol::commands::{self, ClientCommand, CommandLine};
use crate::protocol::request::RequestError;

/// A command that the client carries out itself.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum LocalCommand<'a> {
    Clear,
    Time(bool),
    Bell(bool),
    /// Ignores a member, or lists the ignored members if no name is given.
    Ignore(Option<&'a str>),
}

impl<'a> LocalCommand<'a> {
    /// Parses a line. Returns `None` if the line is for the server.
    pub(crate) fn parse(line: &'a str) -> Option<Result<Self, RequestError>> {
        let typed = CommandLine::parse(line)?;
        let (command, row) = commands::find(&commands::CLIENT, &typed.word)?;
        let rest = typed.rest;
        let local = match command {
            ClientCommand::Clear => Some(Self::Clear),
            ClientCommand::Time => parse_switch(rest).map(Self::Time),
            ClientCommand::Bell => parse_switch(rest).map(Self::Bell),
            ClientCommand::Ignore if rest.contains(char::is_whitespace) => None,
            ClientCommand::Ignore => Some(Self::Ignore((!rest.is_empty()).then_some(rest))),
        };
        Some(local.ok_or(RequestError::Usage(row.usage)))
    }
}

fn parse_switch(word: &str) -> Option<bool> {
    match word.to_lowercase().as_str() {
        "on" => Some(true),
        "off" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_client_parses_its_own_commands_and_no_other_lines() {
        let usage = |usage| Some(Err(RequestError::Usage(usage)));
        for (line, command) in [
            ("/clear", Some(Ok(LocalCommand::Clear))),
            ("/TIME Off", Some(Ok(LocalCommand::Time(false)))),
            ("/time", usage("/time on|off")),
            ("/bell on", Some(Ok(LocalCommand::Bell(true)))),
            ("/ignore  ola ", Some(Ok(LocalCommand::Ignore(Some("ola"))))),
            ("/ignore", Some(Ok(LocalCommand::Ignore(None)))),
            ("/ignore ola ela", usage("/ignore NAME")),
            ("/msg ola hi", None),
            ("//clear", None),
            (" /clear", None),
            ("clear", None),
        ] {
            assert_eq!(LocalCommand::parse(line), command, "{line:?}");
        }
    }
}
