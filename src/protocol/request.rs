//! Parses the lines that clients send, before they join and as members.

use std::fmt;

use thiserror::Error;

use crate::protocol::commands::{self, CommandLine, Language, LoginCommand, MemberCommand};
use crate::protocol::http;
use crate::protocol::limits::MAX_NAME_CHARS;
use crate::protocol::line::LineError;
use crate::protocol::name::{Group, GroupError, Name, NameError};
use crate::protocol::text::{Text, trim_hidden};

/// The format of all lines that the server sends to a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Lines of text, for people who use netcat.
    Plain,
    /// One JSON object per line.
    Json,
}

/// A line from a client that hasn't joined.
#[derive(Debug, PartialEq, Eq)]
pub enum Login<'a> {
    /// A line without visible characters. Has no effect.
    Nothing,
    /// A request to join, with the words that name the member and perhaps a group (an
    /// [`Identity`]). The format is `Some` if the line begins with `/json`.
    Enter(Option<Format>, &'a str),
    /// `/resume TOKEN SEQ`: the token, and the sequence number of the last event that the client
    /// has. `None` if the arguments are invalid.
    Resume(Option<(&'a str, u64)>),
    Pass(&'a str),
    Help(Language),
    Quit,
    /// An unknown command.
    Unknown(Text),
    /// The first line of an HTTP request, recognized by [`http::is_request`].
    Http,
}

impl<'a> Login<'a> {
    pub fn parse(line: &'a str) -> Self {
        let line = trim_hidden(line.trim()).trim_start();
        if visible(line).is_none() {
            return Self::Nothing;
        }
        let Some(typed) = CommandLine::parse(line) else {
            return if http::is_request(line) {
                Self::Http
            } else {
                Self::Enter(None, line)
            };
        };
        let Some((command, _)) = commands::find(&commands::LOGIN, &typed.word) else {
            return Self::Unknown(excerpt(&typed.word));
        };
        match command {
            LoginCommand::Pass => Self::Pass(typed.rest),
            LoginCommand::Json => Self::Enter(Some(Format::Json), typed.rest),
            LoginCommand::Resume => Self::Resume(resume(typed.rest)),
            LoginCommand::Help(language) => Self::Help(language),
            LoginCommand::Quit => Self::Quit,
        }
    }
}

fn resume(words: &str) -> Option<(&str, u64)> {
    let (token, seq) = words.split_once(char::is_whitespace)?;
    Some((token, seq.trim_start().parse().ok()?))
}

/// A client's name and group: `NAME [GROUP]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub name: Name,
    pub group: Option<Group>,
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.group {
            Some(group) => write!(f, "{} {group}", self.name),
            None => self.name.fmt(f),
        }
    }
}

/// Reason why an [`Identity`] is rejected.
#[derive(Debug, Error)]
pub enum IdentityError {
    #[error("a name is missing: type your name")]
    NoName,
    /// The identity has more than two words. Contains a suggestion for a name.
    #[error("a name is one word, and so is a group: try {0}")]
    TooManyWords(Text),
    #[error(transparent)]
    Name(#[from] NameError),
    #[error(transparent)]
    Group(#[from] GroupError),
}

impl Identity {
    /// Parses `NAME [GROUP]`. Ignores invisible characters before the name.
    pub fn parse(words: &str) -> Result<Self, IdentityError> {
        let words = trim_hidden(words.trim_start());
        let mut each = words.split_whitespace();
        let name = each.next().ok_or(IdentityError::NoName)?;
        let group = each.next();
        if each.next().is_some() {
            return Err(IdentityError::TooManyWords(joined(words)));
        }
        Ok(Self {
            name: Name::new(name)?,
            group: group.map(Group::new).transpose()?,
        })
    }
}

/// Suggests a name: as many of the words as fit, with underscores between them, as in
/// `Jan_Kowalski_z_3ID12`.
fn joined(words: &str) -> Text {
    let mut joined = String::new();
    for word in words.split_whitespace() {
        let with = joined.chars().count() + 1 + word.chars().count();
        if !joined.is_empty() && with > MAX_NAME_CHARS {
            break;
        }
        if !joined.is_empty() {
            joined.push('_');
        }
        joined.push_str(word);
    }
    joined.truncate(joined.floor_char_boundary(MAX_NAME_CHARS * 4));
    Text::new(&joined)
}

/// A line from a member.
#[derive(Clone, Debug)]
pub enum Request {
    /// A line without visible characters. Has no effect.
    Nothing,
    /// A message to all members.
    Say(Text),
    Msg(Name, Text),
    Reply(Text),
    Rename(Name),
    Online,
    Help(Language),
    Quit,
}

/// Reason why a member's line is rejected.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RequestError {
    #[error(transparent)]
    Line(#[from] LineError),
    #[error("unknown command {0}: /help lists the commands; to say it as text, type /{0}")]
    Unknown(Text),
    /// The command needs arguments. Contains the command's usage.
    #[error("usage: {0}")]
    Usage(&'static str),
    /// The name has several words. Contains the command's usage.
    #[error("usage: {0} (one word)")]
    OneWord(&'static str),
    /// The new name isn't valid.
    #[error(transparent)]
    Name(#[from] NameError),
    /// No member has this name.
    #[error("there is no member called \"{0}\"")]
    NotHere(Text),
    /// A reply by a member who was never sent a private message.
    #[error("no one has sent you a private message yet: use /msg NAME TEXT")]
    NoCorrespondent,
    /// A reply to a private message whose sender has left.
    #[error("the person who last wrote to you privately has left: use /msg NAME TEXT")]
    CorrespondentLeft,
}

impl Request {
    /// Parses a line of a member whose client uses `format`.
    pub fn parse(line: &str, format: Format) -> Result<Self, RequestError> {
        let line = trim_hidden(line);
        if format == Format::Plain && line.trim_end().eq_ignore_ascii_case("exit") {
            return Ok(Self::Quit);
        }
        let Some(typed) = CommandLine::parse(line) else {
            let said = line.strip_prefix('/').unwrap_or(line);
            return Ok(visible(said).map_or(Self::Nothing, Self::Say));
        };
        let Some((command, row)) = commands::find(&commands::MEMBER, &typed.word) else {
            return Err(RequestError::Unknown(excerpt(&typed.word)));
        };
        let rest = typed.rest;
        let usage = || RequestError::Usage(row.usage);
        match command {
            MemberCommand::Msg => {
                let (name, text) = rest.split_once(char::is_whitespace).ok_or_else(usage)?;
                let text = visible(text.trim_start()).ok_or_else(usage)?;
                Ok(Self::Msg(parse_recipient(name, usage())?, text))
            }
            MemberCommand::Reply => visible(rest).map(Self::Reply).ok_or_else(usage),
            MemberCommand::ChangeName if rest.is_empty() => Err(usage()),
            MemberCommand::ChangeName if rest.contains(char::is_whitespace) => {
                Err(RequestError::OneWord(row.usage))
            }
            MemberCommand::ChangeName => Ok(Self::Rename(Name::new(rest)?)),
            MemberCommand::Online => Ok(Self::Online),
            MemberCommand::Help(language) => Ok(Self::Help(language)),
            MemberCommand::Quit => Ok(Self::Quit),
        }
    }

    /// Returns the text that the server echoes to the author of a message once the message is
    /// delivered, and whether the message is private. Returns `None` for all other requests.
    pub fn echo(self) -> Option<(Text, bool)> {
        match self {
            Self::Say(text) => Some((text, false)),
            Self::Msg(_, text) | Self::Reply(text) => Some((text, true)),
            Self::Nothing | Self::Rename(_) | Self::Online | Self::Help(_) | Self::Quit => None,
        }
    }
}

fn visible(raw: &str) -> Option<Text> {
    let text = Text::new(raw);
    text.is_visible().then_some(text)
}

/// Parses the name of another member. Ignores invisible characters, which may have been copied
/// along with the name. If nothing is left, returns the error `usage`.
pub(crate) fn parse_recipient(raw: &str, usage: RequestError) -> Result<Name, RequestError> {
    let seen = visible(raw).ok_or(usage)?;
    Name::new(seen.as_str()).map_err(|_| RequestError::NotHere(excerpt(seen.as_str())))
}

/// Returns the start of a typed text, short enough for an error message.
pub(crate) fn excerpt(raw: &str) -> Text {
    let end = raw.floor_char_boundary(MAX_NAME_CHARS * 4);
    Text::new(&raw[..end])
}
