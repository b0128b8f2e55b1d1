//! Everything the server sends: the room's events, the answers to one client, and their plain form.

use std::fmt::{self, Display};
use std::io::Write;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::protocol::color::{self, ColorSlot};
use crate::protocol::limits::{MAX_EVENT_LINE, MAX_LISTED};
use crate::protocol::request::Format;
use crate::protocol::text::Text;

/// ID of a member, which stays the same when the member changes its name or reconnects with
/// `/resume`. A room never reuses an ID.
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
    /// The member's color slot. `None` if the member comes from an older server or an older history
    /// file.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "color::deserialize"
    )]
    pub color: Option<ColorSlot>,
}

/// Something that happened in the room and is sent to all members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A member said something. `from` is the member's name at that time.
    Message {
        id: MemberId,
        from: Text,
        text: Text,
    },
    Joined(Listed),
    Left {
        id: MemberId,
        name: Text,
        /// The reason for leaving. `None` if the member left voluntarily.
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
    /// The member that the event is about: the member who spoke, joined, left or was renamed.
    pub fn member(&self) -> Option<MemberId> {
        match self {
            Self::Message { id, .. } | Self::Left { id, .. } | Self::Renamed { id, .. } => {
                Some(*id)
            }
            Self::Joined(member) => Some(member.id),
            Self::Server { .. } | Self::Shutdown => None,
        }
    }

    /// The author of a message: the member's ID, and its name at that time. Messages from the
    /// server have no author.
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

    /// Whether the event is a message from a member or from the server. Only such events are
    /// replayed to newcomers.
    pub fn is_said(&self) -> bool {
        self.text().is_some()
    }
}

/// An event with its number and time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The event's sequence number: one more than the previous event's.
    pub seq: u64,
    /// The time of the event. Sent with millisecond precision.
    pub time: Timestamp,
    pub event: Event,
}

/// A line that the server sends to one client only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The client has joined. Sent once per connection.
    Welcome(Welcome),
    /// Tells a plain client that the replay begins, and how many past messages follow. JSON clients
    /// get no such line: each past message has the field `replay` instead.
    PastBegins(usize),
    /// Tells a plain client that the replay has ended. For JSON clients, the first event without
    /// the field `replay` shows this.
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
        /// Number of members, including those that are not in `members`.
        count: usize,
        /// The first [`MAX_LISTED`] members, in order of joining.
        members: Vec<Listed>,
    },
    Help(Vec<Text>),
    /// A request of this client failed, for this reason.
    Error(Text),
    Notice(Text),
}

/// The welcome: the first line that a new member gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Welcome {
    /// The room's random ID, which is stored in its history.
    pub room: Text,
    /// The token for `/resume`, to use after the connection breaks. Only for JSON clients.
    pub token: Option<Text>,
    pub id: MemberId,
    pub name: Text,
    pub group: Option<Text>,
    /// The new member's color slot, as in [`Listed`]. It is sent separately, because `online` may
    /// be too short to include the new member.
    pub color: Option<ColorSlot>,
    /// Number of members, including the new member and those that are not in `online`.
    pub count: usize,
    /// The first [`MAX_LISTED`] members, in order of joining.
    pub online: Vec<Listed>,
    /// The sequence number of the last event before the member joined or resumed.
    pub seq: u64,
    /// After `/resume`: number of missed events that the server no longer has.
    pub missing: u64,
}

/// Returns the first members: at most [`MAX_LISTED`], and no more than fit into a line of
/// [`MAX_EVENT_LINE`] bytes.
pub fn listed(members: impl Iterator<Item = Listed>) -> Vec<Listed> {
    /// Size of a list entry in JSON without its name and group, in bytes: the length of
    /// `{"id":18446744073709551615,"name":"","group":"","color":11},`, rounded up.
    const FRAME: usize = 64;
    /// Bytes reserved for the rest of a line that contains a list.
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

/// Formats the line for plain clients, without its ending. The first character of the line tells
/// its kind. No name begins with `*`, `!` or `[`, so no member can forge a line of another kind.
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

/// Formats the answer for plain clients. It may have several lines, and the last one has no ending.
impl Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Welcome(welcome) => write!(
                f,
                "* welcome, {}: {} online; /help lists the commands",
                welcome.name, welcome.count
            ),
            Self::PastBegins(1) => f.write_str("* the last message"),
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
                // The subtraction must not overflow: the client formats this answer too, and a
                // hostile server may send a count that is smaller than the list.
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
    // Ignore the result, because writing to memory can't fail.
    let _ = writeln!(out, "{line}");
}

impl Answer {
    /// The time of a private message. `None` for all other answers.
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

    /// Appends the answer in `format`, with its ending. Appends nothing if the answer has no form
    /// in this format.
    pub fn write(&self, format: Format, out: &mut Vec<u8>) {
        match format {
            Format::Plain => write_plain(self, out),
            Format::Json => self.write_json(out),
        }
    }
}
