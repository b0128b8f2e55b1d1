//! The validated options of a session.

use std::time::Duration;

use crate::cli::{RoomArgs, RunArgs, Terminal};
use crate::protocol::request::Identity;
use crate::tty::style;

/// How long a window may take from its start to the hello, which is the first message of its client
/// on the control socket. After this time, the session gives up on the window. The longest time
/// measured so far, on a busy machine, is 3 s.
const WINDOW_TIME: Duration = Duration::from_secs(10);

/// How long processes may take to exit after the session asks them to, before they are sent
/// SIGTERM.
const END_TIME: Duration = Duration::from_millis(500);

/// The options of a session.
#[derive(Debug)]
pub struct Config {
    /// The number of windows to open.
    pub(crate) clients: usize,
    pub(crate) terminal: Terminal,
    /// The names of the first clients, each with a group if it has one. The other clients ask the
    /// user for a name.
    pub(crate) members: Vec<Identity>,
    /// Whether windows have large text, for a projector.
    pub(crate) big: bool,
    /// Whether the server's pane shows the live view at the start.
    pub(crate) live: bool,
    /// Whether the sockets of the server and of its clients have small buffers.
    pub(crate) small_buffers: bool,
    pub(crate) window_time: Duration,
    pub(crate) end_time: Duration,
    pub(crate) room: RoomArgs,
}

/// The default number of windows to open.
const CLIENTS: usize = 3;

/// Parses the identity with which a client logs in: `NAME` or `NAME GROUP`.
pub(crate) fn parse_member(text: &str) -> Result<Identity, String> {
    Identity::parse(text).map_err(|error| format!("cannot log in as `{text}`: {error}"))
}

impl TryFrom<RunArgs> for Config {
    /// The text of a usage error.
    type Error = String;

    fn try_from(args: RunArgs) -> Result<Self, Self::Error> {
        let clients = match args.clients {
            Some(clients) => clients.into(),
            // Without windows, no client starts unless `/open` asks for it.
            None if matches!(args.terminal(), Ok(Terminal::None)) => args.names.len(),
            None => CLIENTS,
        };
        let mut members: Vec<Identity> = Vec::new();
        let last = args.names.len().saturating_sub(1);
        for (index, text) in args.names.iter().enumerate() {
            if text.trim().is_empty() {
                let place = match index {
                    0 if last == 0 => "",
                    0 => " before the first comma",
                    _ if index == last => " after the last comma",
                    _ => " between two commas",
                };
                return Err(format!("--names has an empty name{place}"));
            }
            let member = parse_member(text)?;
            let same = members
                .iter()
                .find(|other| other.name.is_same(&member.name));
            if let Some(other) = same {
                return Err(format!(
                    "--names has `{}` and `{}`, which are the same name; give each client its own",
                    other.name, member.name
                ));
            }
            members.push(member);
        }
        if members.len() > clients {
            return Err(format!(
                "--names has {} for {}; give fewer, or `-c {}`",
                style::counted(members.len() as u64, "name"),
                style::counted(clients as u64, "client"),
                members.len()
            ));
        }
        let terminal = match args.terminal() {
            // Without clients, ignore an invalid choice of the terminal: only a later `/open` needs
            // a terminal, and `auto` will do for that.
            Err(_) if clients == 0 => Terminal::Auto,
            terminal => terminal?,
        };
        Ok(Self {
            clients,
            terminal,
            members,
            big: args.big,
            live: args.live,
            small_buffers: args.small_buffers,
            window_time: args.window_time.map_or(WINDOW_TIME, Duration::from_millis),
            end_time: args.end_time.map_or(END_TIME, Duration::from_millis),
            room: args.room,
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::protocol::name::{Group, Name};

    fn config(arguments: &[&str]) -> Result<Config, String> {
        let arguments = ["chat-run"].iter().chain(arguments);
        RunArgs::try_parse_from(arguments).unwrap().try_into()
    }

    #[test]
    fn a_name_may_have_a_group() {
        let config = config(&["--names", "ala,ola 3ID12"]).unwrap();
        let member = |name: &str, group: Option<&str>| Identity {
            name: Name::new(name).unwrap(),
            group: group.map(|group| Group::new(group).unwrap()),
        };
        assert_eq!(
            config.members,
            [member("ala", None), member("ola", Some("3ID12"))]
        );
    }

    #[test]
    fn invalid_names_are_usage_errors() {
        for (arguments, reason) in [
            (&["--names", "ala,Ala"][..], "the same name"),
            (
                &["--names", "ala,*ola"],
                "as `*ola`: a name begins with a letter",
            ),
            (
                &["--names", "ala g!"],
                "as `ala g!`: \"!\" cannot be in a group",
            ),
            (&["-c", "1", "--names", "ala,ola"], "2 names for 1 client;"),
            (&["--names", "ala,,ola"], "an empty name between two commas"),
            (
                &["--names", "ala,ola,"],
                "an empty name after the last comma",
            ),
            (
                &["--names", " ,ala"],
                "an empty name before the first comma",
            ),
            (&["--names", ""], "--names has an empty name"),
            (
                &["--names", "a b c"],
                "as `a b c`: a name is one word, and so is a group: try a_b_c",
            ),
        ] {
            let error = config(arguments).unwrap_err();
            assert!(error.contains(reason), "{error}");
        }
    }
}
