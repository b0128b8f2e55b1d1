//! The lines by which a launcher and the server that it starts communicate, over the server's stdin
//! and stdout.

use std::fmt::{self, Display};
use std::net::SocketAddr;

/// Limit on the length of a line on the server's stdin, in bytes, including the line ending. A
/// write of at most this length to a pipe is atomic (`PIPE_BUF`, pipe(7)).
pub const MAX_CONSOLE_LINE: usize = 4096;

const LISTENING: &str = "listening on ";
const CLOSED: &str = "the room is closed: ";
/// Prefix of the line with the number of members: OSC 2, the sequence that sets a terminal's title.
const ONLINE: &str = "\x1b]2;online ";
/// Prefixes of the lines with a member's name, which are OSC 2 sequences too.
const JOINED: &str = "\x1b]2;online +";
const LEFT: &str = "\x1b]2;online -";

/// A line of the server's log that the launcher acts on.
///
/// No member can forge such a line: log lines about members begin with the time of day, and text
/// from members holds no escape sequences.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerLine<'a> {
    /// The first line: the server accepts connections at this address.
    Listening(SocketAddr),
    /// The number of members. The server sends this line whenever the number changes, and the
    /// launcher does not show it.
    Online(usize),
    /// A member with this name is now in the room. The launcher shows neither this line nor
    /// [`ServerLine::Left`].
    Joined(&'a str),
    /// No member has this name any longer.
    Left(&'a str),
    /// The last line: the room is closed. Contains a summary, such as `5 s, 3 joined, 1 message`.
    Closed(&'a str),
}

impl<'a> ServerLine<'a> {
    /// Parses a line, with or without its ending. Returns `None` for an ordinary log line, which
    /// the launcher only shows.
    pub fn parse(line: &'a [u8]) -> Option<Self> {
        // Compare bytes, and check only the bytes after a prefix for valid UTF-8. Most lines have
        // none of the prefixes, so they need no check.
        let rest = |start: &str| std::str::from_utf8(line.strip_prefix(start.as_bytes())?).ok();
        if let Some(address) = rest(LISTENING) {
            return address.trim_end().parse().ok().map(Self::Listening);
        }
        // Look for names first: `+3` is also a number.
        let name = |start| Some(rest(start)?.trim_end_matches(['\n', '\x07']));
        if let Some(name) = name(JOINED) {
            return Some(Self::Joined(name));
        }
        if let Some(name) = name(LEFT) {
            return Some(Self::Left(name));
        }
        if let Some(count) = rest(ONLINE) {
            let count = count.trim_end_matches(['\n', '\x07']);
            return count.parse().ok().map(Self::Online);
        }
        rest(CLOSED).map(|summary| Self::Closed(summary.trim_end()))
    }
}

/// Formats the line without its ending.
impl Display for ServerLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listening(address) => write!(f, "{LISTENING}{address}"),
            Self::Online(count) => write!(f, "{ONLINE}{count}\x07"),
            Self::Joined(name) => write!(f, "{JOINED}{name}\x07"),
            Self::Left(name) => write!(f, "{LEFT}{name}\x07"),
            Self::Closed(summary) => write!(f, "{CLOSED}{summary}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_launcher_parses_the_reports_that_the_server_formats() {
        let address = "[fe80::1]:9999".parse().unwrap();
        for line in [
            ServerLine::Listening(address),
            ServerLine::Online(3),
            ServerLine::Joined("Łukasz"),
            ServerLine::Joined("3"),
            ServerLine::Left("o'neil"),
            ServerLine::Closed("5 s, 3 joined, 1 message"),
        ] {
            let written = format!("{line}\n");
            assert_eq!(ServerLine::parse(written.as_bytes()), Some(line));
        }
    }

    #[test]
    fn the_launcher_takes_no_ordinary_log_line_for_a_report_of_the_server() {
        for line in [
            "10:00:05 ala: listening on [::1]:9999",
            "and on [::1]:9999",
            "listening on a pipe",
            "\x1b]2;online\x07",
            "",
        ] {
            assert_eq!(ServerLine::parse(line.as_bytes()), None, "{line:?}");
        }
    }
}
