//! The line protocols of the servers: login, messages, notices.

/// A byte that occurs once in each message and nowhere else, so that deliveries can be counted
/// without parsing lines. `~` would not do, because it occurs in IRC prefixes.
pub(super) const MARK: u8 = b'|';

/// Length of a message's text, in bytes.
pub(super) const TEXT: usize = 64;

/// The welcome of the limit, tokio and Python servers.
pub(super) const WELCOME: &str = "* welcome";

/// Number of hexadecimal digits after the mark.
const DIGITS: usize = 16;

/// The line with which an IRC client enters the room.
pub(super) const IRC_JOIN: &[u8] = b"JOIN #room\r\n";

/// A line protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    /// A name, then messages, as with netcat.
    Plain,
    /// The same input, but the server answers with JSON lines.
    Json,
    /// RFC 1459, one channel.
    Irc,
    /// No login. The server sends every line to every client unchanged.
    Bare,
}

/// Meaning of a received line during login.
pub(super) enum Meaning {
    Other,
    /// The client has to answer with these bytes.
    Answer(Vec<u8>),
    /// The name is accepted; the client has to join the room.
    Named,
    /// The client is in the room.
    Welcome,
    /// Another client joined.
    Joined,
    /// The client is rejected.
    Refused,
}

impl Dialect {
    pub(super) fn login(self, name: &str) -> String {
        match self {
            Self::Plain => format!("{name}\n"),
            Self::Json => format!("/json {name}\n"),
            Self::Irc => format!("NICK {name}\r\nUSER {name} 0 * :{name}\r\n"),
            Self::Bare => String::new(),
        }
    }

    pub(super) fn read(self, line: &[u8]) -> Meaning {
        match self {
            Self::Plain | Self::Bare => {
                if line.starts_with(WELCOME.as_bytes()) {
                    Meaning::Welcome
                } else if line.starts_with(b"* ") && line.ends_with(b" joined") {
                    Meaning::Joined
                } else if line.starts_with(b"! ") {
                    Meaning::Refused
                } else {
                    Meaning::Other
                }
            }
            Self::Json => {
                if line.starts_with(br#"{"type":"welcome""#) {
                    Meaning::Welcome
                } else if line.starts_with(br#"{"type":"joined""#) {
                    Meaning::Joined
                } else if line.starts_with(br#"{"type":"error""#) {
                    Meaning::Refused
                } else {
                    Meaning::Other
                }
            }
            Self::Irc => {
                let mut words = line.split(|byte| *byte == b' ');
                match (words.next(), words.next()) {
                    (_, Some(b"001")) => Meaning::Named,
                    (_, Some(b"366")) => Meaning::Welcome,
                    (_, Some(b"JOIN")) => Meaning::Joined,
                    (Some(b"PING"), Some(token)) => {
                        Meaning::Answer([b"PONG ", token, b"\r\n"].concat())
                    }
                    (Some(b"ERROR"), _) | (_, Some(b"433" | b"465")) => Meaning::Refused,
                    _ => Meaning::Other,
                }
            }
        }
    }

    /// Appends the line with which member `name` sends a text.
    pub(super) fn write_message(self, name: &str, text: &[u8], out: &mut Vec<u8>) {
        let (before, between, after): (&str, &str, &str) = match self {
            Self::Plain | Self::Json => ("", "", "\n"),
            Self::Irc => ("PRIVMSG #room :", "", "\r\n"),
            // The server adds no name, so the client sends it.
            Self::Bare => (name, ": ", "\n"),
        };
        for part in [
            before.as_bytes(),
            between.as_bytes(),
            text,
            after.as_bytes(),
        ] {
            out.extend_from_slice(part);
        }
    }

    /// Whether a sender gets its own messages.
    pub(super) fn echoes(self) -> bool {
        match self {
            Self::Plain | Self::Irc => false,
            Self::Json | Self::Bare => true,
        }
    }

    /// Whether a member has to answer the server, such as a PING, while others join.
    pub(super) fn asks(self) -> bool {
        match self {
            Self::Plain | Self::Json | Self::Bare => false,
            Self::Irc => true,
        }
    }

    /// Number of join notices that `members` members receive in total.
    pub(super) fn notices(self, members: usize) -> usize {
        match self {
            Self::Plain | Self::Bare => members * (members - 1) / 2,
            // Includes each member's own notice.
            Self::Json | Self::Irc => members * (members + 1) / 2,
        }
    }
}

/// Returns the text of a message that contains `number`. [`number`] extracts it.
pub(super) fn text(number: u64) -> [u8; TEXT] {
    let mut text = [b'.'; TEXT];
    text[0] = MARK;
    for (digit, shift) in text[1..=DIGITS]
        .iter_mut()
        .zip((0..u64::BITS).step_by(4).rev())
    {
        *digit = b"0123456789abcdef"[(number >> shift & 0xf) as usize];
    }
    text
}

/// Returns the number in a line, or `None` if the line is not a message.
pub(super) fn number(line: &[u8]) -> Option<u64> {
    let mark = memchr::memchr(MARK, line)?;
    let digits = line.get(mark + 1..)?.get(..DIGITS)?;
    u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

/// Splits the input of each client into lines.
pub(super) struct Lines {
    /// The incomplete line of each client.
    rests: Vec<Vec<u8>>,
}

impl Lines {
    pub(super) fn new(clients: usize) -> Self {
        Self {
            rests: vec![Vec::new(); clients],
        }
    }

    /// Calls `each` with every line that `bytes` completes, without its ending.
    pub(super) fn feed(&mut self, client: usize, bytes: &[u8], mut each: impl FnMut(&[u8])) {
        let rest = &mut self.rests[client];
        let mut start = 0;
        for end in memchr::memchr_iter(b'\n', bytes) {
            let line = &bytes[start..end];
            start = end + 1;
            if rest.is_empty() {
                each(line.trim_ascii_end());
            } else {
                rest.extend_from_slice(line);
                each(rest.trim_ascii_end());
                rest.clear();
            }
        }
        rest.extend_from_slice(&bytes[start..]);
    }
}
