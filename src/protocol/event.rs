//! Everything the server sends: the room's events, the answers to one client, and their plain form.

use std::fmt::{self, Display};
use std::io::Write;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::protocol::color::{self, ColorSlot};
use crate::protocol::limits::{MAX_EVENT_LINE, MAX_LISTED};
use crate::protocol::request::Format;
use crate::protocol::text::Text;

/// Identifies a member, whatever its name. A room never reuses an ID; a member that reconnects with
/// `/resume` keeps its ID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MemberId(pub u64);

/// A member as shown in lists.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    pub id: MemberId,
    pub name: Text,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<Text>,
    /// `None` only if the member comes from an older server or an older history file.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "color::deserialize"
    )]
    pub color: Option<ColorSlot>,
}

/// Something that happened in the room. All members get it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A member said something. `from` is its name at that time.
    Message {
        id: MemberId,
        from: Text,
        text: Text,
    },
    Joined(Listed),
    Left {
        id: MemberId,
        name: Text,
        /// `None` if the member left voluntarily.
        reason: Option<Text>,
    },
    /// A member has changed its name.
    Renamed {
        id: MemberId,
        from: Text,
        to: Text,
    },
    /// The operator said something in the server's name.
    Server {
        text: Text,
    },
    /// The server is shutting down. No event follows.
    Shutdown,
}

impl Event {
    /// The member that the event is about: the one that spoke, joined, left or was renamed.
    pub fn member(&self) -> Option<MemberId> {
        match self {
            Self::Message { id, .. } | Self::Left { id, .. } | Self::Renamed { id, .. } => {
                Some(*id)
            }
            Self::Joined(member) => Some(member.id),
            Self::Server { .. } | Self::Shutdown => None,
        }
    }

    /// The author of a message, and its name at that time. Lines from the server have no author.
    pub fn author(&self) -> Option<(MemberId, &Text)> {
        match self {
            Self::Message { id, from, .. } => Some((*id, from)),
            Self::Joined(_)
            | Self::Left { .. }
            | Self::Renamed { .. }
            | Self::Server { .. }
            | Self::Shutdown => None,
        }
    }

    /// The text that a member or the server said.
    pub fn text(&self) -> Option<&Text> {
        match self {
            Self::Message { text, .. } | Self::Server { text } => Some(text),
            Self::Joined(_) | Self::Left { .. } | Self::Renamed { .. } | Self::Shutdown => None,
        }
    }

    /// Whether a member or the server said something. Only such events are replayed to newcomers.
    pub fn is_said(&self) -> bool {
        self.text().is_some()
    }
}

/// An event with its number and time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The event's sequence number: one more than the previous event's.
    pub seq: u64,
    /// Sent with millisecond precision.
    pub time: Timestamp,
    pub event: Event,
}

/// A line that the server sends to one client only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The client has joined. Sent once per connection.
    Welcome(Welcome),
    /// The start of the past messages, with their number. In JSON, each past message has `replay`
    /// instead.
    PastBegins(usize),
    /// The end of the past messages. In JSON, the first event without `replay` marks it.
    PastEnds,
    /// A private message to this client. `id` is the sender.
    PrivateFrom {
        time: Timestamp,
        id: MemberId,
        from: Text,
        text: Text,
    },
    /// The echo of a private message from this client. `id` is the recipient.
    PrivateTo {
        time: Timestamp,
        id: MemberId,
        to: Text,
        text: Text,
    },
    Online {
        /// All members, listed or not.
        count: usize,
        /// The first [`MAX_LISTED`] members, in order of joining.
        members: Vec<Listed>,
    },
    Help(Vec<Text>),
    /// A request of this client failed.
    Error(Text),
    Notice(Text),
}

/// The first line that a new member gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Welcome {
    /// The room's random ID, which is stored in its history.
    pub room: Text,
    /// The token for `/resume` after the connection breaks. JSON clients only.
    pub token: Option<Text>,
    pub id: MemberId,
    pub name: Text,
    pub group: Option<Text>,
    /// As in [`Listed`]. Sent separately, because `online` may be too short to include the new
    /// member.
    pub color: Option<ColorSlot>,
    /// All members, listed or not, the new one included.
    pub count: usize,
    /// The first [`MAX_LISTED`] members, in order of joining.
    pub online: Vec<Listed>,
    /// The number of the last event before the member joined or came back.
    pub seq: u64,
    /// After `/resume`: how many of the requested events the server no longer has.
    pub missing: u64,
}

/// Returns the first of `members`, as many as fit in one line: at most [`MAX_LISTED`] members and
/// [`MAX_EVENT_LINE`] bytes.
pub fn listed(members: impl Iterator<Item = Listed>) -> Vec<Listed> {
    /// The length of `{"id":18446744073709551615,"name":"","group":"","color":11},`, rounded up.
    const FRAME: usize = 64;
    /// Space for everything but the list in the longest line with a list.
    const REST: usize = 1024;
    let mut left = MAX_EVENT_LINE - REST;
    members
        .take(MAX_LISTED)
        .take_while(|member| {
            let group = member
                .group
                .as_ref()
                .map_or(0, |group| group.as_str().len());
            let cost = FRAME + member.name.as_str().len() + group;
            let fits = cost <= left;
            left = left.saturating_sub(cost);
            fits
        })
        .collect()
}

/// Shows a name with its group, like `ala (3ID12)`.
struct WithGroup<'a>(&'a Listed);

impl Display for WithGroup<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.name.fmt(f)?;
        match &self.0.group {
            Some(group) => write!(f, " ({group})"),
            None => Ok(()),
        }
    }
}

/// Formats the line for plain clients, without its ending. Its first character tells its kind; no
/// name begins with `*`, `!` or `[`, so no member can forge another kind.
impl Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Message { from, text, .. } => write!(f, "{from}: {text}"),
            Self::Joined(member) => write!(f, "* {} joined", WithGroup(member)),
            Self::Left {
                name, reason: None, ..
            } => write!(f, "* {name} left"),
            Self::Left {
                name,
                reason: Some(reason),
                ..
            } => {
                write!(f, "* {name} left ({reason})")
            }
            Self::Renamed { from, to, .. } => write!(f, "* {from} is now {to}"),
            Self::Server { text } => write!(f, "* the server: {text}"),
            Self::Shutdown => f.write_str("* the server is shutting down"),
        }
    }
}

/// Formats the lines for plain clients, without the last ending.
impl Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Welcome(welcome) => write!(
                f,
                "* welcome, {}: {} online; /help lists the commands",
                welcome.name, welcome.count
            ),
            Self::PastBegins(count) => write!(f, "* the last {count} messages"),
            Self::PastEnds => f.write_str("* end of the past messages"),
            Self::PrivateFrom { from, text, .. } => write!(f, "[{from}] {text}"),
            Self::PrivateTo { to, text, .. } => write!(f, "[to {to}] {text}"),
            Self::Online { count, members } => {
                write!(f, "* {count} online")?;
                for (before, member) in std::iter::once(": ")
                    .chain(std::iter::repeat(", "))
                    .zip(members)
                {
                    write!(f, "{before}{}", WithGroup(member))?;
                }
                // The client also formats this answer, and a server may send any count.
                match count.saturating_sub(members.len()) {
                    0 => Ok(()),
                    more => write!(f, ", and {more} more"),
                }
            }
            Self::Help(lines) => {
                for (before, line) in std::iter::once("* ")
                    .chain(std::iter::repeat("\n* "))
                    .zip(lines)
                {
                    write!(f, "{before}{line}")?;
                }
                Ok(())
            }
            Self::Error(text) => write!(f, "! {text}"),
            Self::Notice(text) => write!(f, "* {text}"),
        }
    }
}

/// Appends the plain form of `line` and a line ending to `out`.
pub fn write_plain(line: &impl Display, out: &mut Vec<u8>) {
    // Writing into memory does not fail.
    let _ = writeln!(out, "{line}");
}

impl Answer {
    /// The time of a private message. Other answers have none.
    pub fn time(&self) -> Option<Timestamp> {
        match self {
            Self::PrivateFrom { time, .. } | Self::PrivateTo { time, .. } => Some(*time),
            Self::Welcome(_)
            | Self::PastBegins(_)
            | Self::PastEnds
            | Self::Online { .. }
            | Self::Help(_)
            | Self::Error(_)
            | Self::Notice(_) => None,
        }
    }

    /// Appends the line in `format`, with its ending. Some answers have no JSON form.
    pub fn write(&self, format: Format, out: &mut Vec<u8>) {
        match format {
            Format::Plain => write_plain(self, out),
            Format::Json => self.write_json(out),
        }
    }
}
