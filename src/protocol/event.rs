//! What a client gets: everything that happens in a room, the answers to it alone, and their plain form.

use std::fmt::{self, Display};
use std::io::Write;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::protocol::limits::{MAX_EVENT_LINE, MAX_LISTED};
use crate::protocol::request::Format;
use crate::protocol::text::Text;

/// Identifies a member. No two members of a room ever have the same, whatever their names; who comes back by `/resume` has
/// the one that it had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MemberId(pub u64);

/// A member as lists show it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// Who it is.
    pub id: MemberId,
    /// Its name.
    pub name: Text,
    /// Its group, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<Text>,
}

/// Something that happened in the room. Every member is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A member said something.
    Message {
        /// Who.
        id: MemberId,
        /// Its name then.
        from: Text,
        /// What.
        text: Text,
    },
    /// A member came.
    Joined(Listed),
    /// A member is gone.
    Left {
        /// Who.
        id: MemberId,
        /// Its name then.
        name: Text,
        /// Why, where it did not leave by itself.
        reason: Option<Text>,
    },
    /// A member has another name.
    Renamed {
        /// Who.
        id: MemberId,
        /// The name before.
        from: Text,
        /// The name from now on.
        to: Text,
    },
    /// The server said something.
    Server {
        /// What.
        text: Text,
    },
    /// The server is shutting down.
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

    /// The member that said something, and its name at that time. What the server says has none.
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

    /// What a member or the server said.
    pub fn text(&self) -> Option<&Text> {
        match self {
            Self::Message { text, .. } | Self::Server { text } => Some(text),
            Self::Joined(_) | Self::Left { .. } | Self::Renamed { .. } | Self::Shutdown => None,
        }
    }

    /// Whether a member or the server said something. Newcomers are sent such events only.
    pub fn is_said(&self) -> bool {
        self.text().is_some()
    }
}

/// An event with its place in the order of the room, and its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its number: one more than that of the event before.
    pub seq: u64,
    /// When it happened. Milliseconds go over the wire.
    pub time: Timestamp,
    /// What happened.
    pub event: Event,
}

/// Something that one client alone is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The client is a member now.
    Welcome(Welcome),
    /// How many past messages follow. JSON clients see it by each message's `replay`.
    PastBegins(usize),
    /// The past messages end. JSON clients see it by the first event without `replay`.
    PastEnds,
    /// A private message came.
    PrivateFrom {
        /// When.
        time: Timestamp,
        /// From whom.
        id: MemberId,
        /// The sender's name.
        from: Text,
        /// What it says.
        text: Text,
    },
    /// A private message was delivered.
    PrivateTo {
        /// When.
        time: Timestamp,
        /// To whom.
        id: MemberId,
        /// The receiver's name.
        to: Text,
        /// What it says.
        text: Text,
    },
    /// Who is here.
    Online {
        /// How many, listed or not.
        count: usize,
        /// The first of them, in order of joining.
        members: Vec<Listed>,
    },
    /// The commands.
    Help(Vec<Text>),
    /// What the client sent could not be done.
    Error(Text),
    /// Anything else.
    Notice(Text),
}

/// What a new member is told first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Welcome {
    /// The room's random id, which stays with its history.
    pub room: Text,
    /// What takes the member back, by `/resume`, when its connection breaks. JSON clients get one.
    pub token: Option<Text>,
    /// Who the member is.
    pub id: MemberId,
    /// Its name, as others see it.
    pub name: Text,
    /// Its group.
    pub group: Option<Text>,
    /// How many are here, listed or not, the new one included.
    pub count: usize,
    /// The first of them, in order of joining.
    pub online: Vec<Listed>,
    /// The number of the last event before the member's own joining, or its coming back.
    pub seq: u64,
    /// After `/resume`: how many of the events that it asks for are not known any more.
    pub missing: u64,
}

/// As many of `members` as a list names, so that the line they make stays within
/// [`MAX_EVENT_LINE`].
pub fn listed(members: impl Iterator<Item = Listed>) -> Vec<Listed> {
    /// `{"id":18446744073709551615,"name":"","group":""},`, rounded up.
    const FRAME: usize = 64;
    /// All else in the longest line with a list.
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

/// A name with its group, as notices show it.
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

/// The line that a plain client gets, without its ending. Its first character tells what it is, and no name
/// begins with `*`, `!` or `[`, so no member can forge another line.
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

/// The lines that a plain client gets, without the ending of the last.
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
                // A server may send anything.
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

/// Appends the plain form and a line ending.
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

    /// Appends the form of `format`, where it has one, with a line ending.
    pub fn write(&self, format: Format, out: &mut Vec<u8>) {
        match format {
            Format::Plain => write_plain(self, out),
            Format::Json => self.write_json(out),
        }
    }
}
