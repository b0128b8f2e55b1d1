//! What a client gets: everything that happens in a room, the answers to it alone, and both encodings.

use std::convert::Infallible;
use std::fmt::{self, Display};
use std::io::Write;
use std::marker::PhantomData;

use jiff::Timestamp;
use serde::de::{Deserializer, IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};

use super::limits::{MAX_EVENT_LINE, MAX_LISTED};
use super::request::Format;
use super::text::Text;

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

impl Record {
    /// Appends the JSON form and a line ending; `replay` marks it as past.
    pub fn write_json(&self, replay: bool, out: &mut Vec<u8>) {
        let mut json = Json {
            seq: Some(self.seq),
            time: Some(Millis(self.time)),
            replay,
            ..Json::default()
        };
        match self.event.clone() {
            Event::Message { id, from, text } => {
                json.kind = Kind::Message;
                (json.id, json.from, json.text) = (Some(id), Some(from), Some(text));
            }
            Event::Joined(Listed { id, name, group }) => {
                json.kind = Kind::Joined;
                (json.id, json.name, json.group) = (Some(id), Some(name), group);
            }
            Event::Left { id, name, reason } => {
                json.kind = Kind::Left;
                (json.id, json.name, json.reason) = (Some(id), Some(name), reason);
            }
            Event::Renamed { id, from, to } => {
                json.kind = Kind::Renamed;
                (json.id, json.from, json.to) = (Some(id), Some(from), Some(to));
            }
            Event::Server { text } => {
                json.kind = Kind::Server;
                json.text = Some(text);
            }
            Event::Shutdown => json.kind = Kind::Shutdown,
        }
        json.write(out);
    }
}

impl Answer {
    /// Appends the form of `format`, where it has one, with a line ending.
    pub fn write(&self, format: Format, out: &mut Vec<u8>) {
        match format {
            Format::Plain => write_plain(self, out),
            Format::Json => self.write_json(out),
        }
    }

    /// Appends the JSON form and a line ending, where it has one.
    pub fn write_json(&self, out: &mut Vec<u8>) {
        let mut json = Json::default();
        match self.clone() {
            Self::Welcome(welcome) => {
                json.kind = Kind::Welcome;
                (json.room, json.token) = (Some(welcome.room), welcome.token);
                (json.id, json.name) = (Some(welcome.id), Some(welcome.name));
                (json.group, json.seq) = (welcome.group, Some(welcome.seq));
                (json.count, json.online) = (Some(welcome.count), Some(welcome.online));
                json.missing = welcome.missing;
            }
            Self::PastBegins(_) | Self::PastEnds => return,
            Self::PrivateFrom {
                time,
                id,
                from,
                text,
            } => {
                json.kind = Kind::Private;
                (json.time, json.id) = (Some(Millis(time)), Some(id));
                (json.from, json.text) = (Some(from), Some(text));
            }
            Self::PrivateTo { time, id, to, text } => {
                json.kind = Kind::Private;
                (json.time, json.id) = (Some(Millis(time)), Some(id));
                (json.to, json.text) = (Some(to), Some(text));
            }
            Self::Online { count, members } => {
                json.kind = Kind::Online;
                (json.count, json.members) = (Some(count), Some(members));
            }
            Self::Help(lines) => {
                json.kind = Kind::Help;
                json.lines = Some(lines);
            }
            Self::Error(text) => {
                json.kind = Kind::Error;
                json.text = Some(text);
            }
            Self::Notice(text) => {
                json.kind = Kind::Notice;
                json.text = Some(text);
            }
        }
        json.write(out);
    }
}

/// What a JSON line says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Received {
    /// Something happened in the room, now or, with `true`, in the past.
    Record(Record, bool),
    /// An answer to this client alone.
    Answer(Answer),
    /// A type that this version does not know.
    Unknown,
}

/// Why a line is no event.
#[derive(Debug)]
pub enum DecodeError {
    /// It is no JSON object with fields of the right kinds.
    Json(serde_json::Error),
    /// The field of this name is missing.
    Missing(&'static str),
}

impl Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Json(error) => error.fmt(f),
            Self::Missing(field) => write!(f, "the field {field:?} is missing"),
        }
    }
}

impl std::error::Error for DecodeError {}

impl Received {
    /// Reads a line. All text in it comes out clean.
    pub fn decode(line: &str) -> Result<Self, DecodeError> {
        let json: Json = serde_json::from_str(line).map_err(DecodeError::Json)?;
        let event = match json.kind {
            Kind::Message => Event::Message {
                id: need(json.id, "id")?,
                from: need(json.from, "from")?,
                text: need(json.text, "text")?,
            },
            Kind::Joined => Event::Joined(Listed {
                id: need(json.id, "id")?,
                name: need(json.name, "name")?,
                group: json.group,
            }),
            Kind::Left => Event::Left {
                id: need(json.id, "id")?,
                name: need(json.name, "name")?,
                reason: json.reason,
            },
            Kind::Renamed => Event::Renamed {
                id: need(json.id, "id")?,
                from: need(json.from, "from")?,
                to: need(json.to, "to")?,
            },
            Kind::Server => Event::Server {
                text: need(json.text, "text")?,
            },
            Kind::Shutdown => Event::Shutdown,
            Kind::Welcome => {
                return Ok(Self::Answer(Answer::Welcome(Welcome {
                    room: need(json.room, "room")?,
                    token: json.token,
                    id: need(json.id, "id")?,
                    name: need(json.name, "name")?,
                    group: json.group,
                    count: need(json.count, "count")?,
                    online: need(json.online, "online")?,
                    seq: need(json.seq, "seq")?,
                    missing: json.missing,
                })));
            }
            Kind::Private => {
                let time = need(json.time, "time")?.0;
                let id = need(json.id, "id")?;
                let text = need(json.text, "text")?;
                return Ok(Self::Answer(match (json.from, json.to) {
                    (Some(from), _) => Answer::PrivateFrom {
                        time,
                        id,
                        from,
                        text,
                    },
                    (None, to) => Answer::PrivateTo {
                        time,
                        id,
                        to: need(to, "to")?,
                        text,
                    },
                }));
            }
            Kind::Online => {
                return Ok(Self::Answer(Answer::Online {
                    count: need(json.count, "count")?,
                    members: need(json.members, "members")?,
                }));
            }
            Kind::Help => return Ok(Self::Answer(Answer::Help(need(json.lines, "lines")?))),
            Kind::Error => return Ok(Self::Answer(Answer::Error(need(json.text, "text")?))),
            Kind::Notice => return Ok(Self::Answer(Answer::Notice(need(json.text, "text")?))),
            Kind::Unknown => return Ok(Self::Unknown),
        };
        let record = Record {
            seq: need(json.seq, "seq")?,
            time: need(json.time, "time")?.0,
            event,
        };
        Ok(Self::Record(record, json.replay))
    }
}

fn need<T>(field: Option<T>, name: &'static str) -> Result<T, DecodeError> {
    field.ok_or(DecodeError::Missing(name))
}

/// A JSON line as it stands on the wire and in the history file: which fields there are depends on its type.
#[derive(Default, Serialize, Deserialize)]
struct Json {
    #[serde(rename = "type")]
    kind: Kind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    room: Option<Text>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    token: Option<Text>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    seq: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    time: Option<Millis>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    id: Option<MemberId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<Text>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    from: Option<Text>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    to: Option<Text>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    group: Option<Text>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<Text>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    text: Option<Text>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    count: Option<usize>,
    #[serde(
        default,
        deserialize_with = "list",
        skip_serializing_if = "Option::is_none"
    )]
    online: Option<Vec<Listed>>,
    #[serde(
        default,
        deserialize_with = "list",
        skip_serializing_if = "Option::is_none"
    )]
    members: Option<Vec<Listed>>,
    #[serde(
        default,
        deserialize_with = "list",
        skip_serializing_if = "Option::is_none"
    )]
    lines: Option<Vec<Text>>,
    #[serde(default, skip_serializing_if = "is_zero")]
    missing: u64,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    replay: bool,
}

impl Json {
    fn write(&self, out: &mut Vec<u8>) {
        // Writing text and numbers into memory does not fail.
        let _ = serde_json::to_writer(&mut *out, self);
        out.push(b'\n');
    }
}

/// Reads a list, of which it keeps as much as a server lists: a line of nothing but commas would take hundreds of times its length in memory.
fn list<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<Vec<T>>, D::Error> {
    deserializer.deserialize_seq(List(PhantomData)).map(Some)
}

struct List<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for List<T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut all: A) -> Result<Vec<T>, A::Error> {
        let mut kept = Vec::new();
        while let Some(one) = all.next_element()? {
            kept.push(one);
            if kept.len() == MAX_LISTED {
                while all.next_element::<IgnoredAny>()?.is_some() {}
                break;
            }
        }
        Ok(kept)
    }
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

#[derive(Clone, Copy, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Message,
    Joined,
    Left,
    Renamed,
    Server,
    Shutdown,
    Welcome,
    Private,
    Online,
    Help,
    Error,
    Notice,
    #[default]
    #[serde(other)]
    Unknown,
}

/// RFC 3339 in UTC with milliseconds.
struct Millis(Timestamp);

impl Serialize for Millis {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:.3}", self.0))
    }
}

impl<'de> Deserialize<'de> for Millis {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Parse(|raw: &str| raw.parse().map(Millis)))
    }
}

impl Serialize for Text {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// Cleans what it reads: a file or a server may hold anything.
impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Parse(|raw: &str| Ok::<_, Infallible>(Text::new(raw))))
    }
}

/// Reads a string where it lies, without a copy of it first.
struct Parse<F>(F);

impl<T, E: Display, F: FnOnce(&str) -> Result<T, E>> Visitor<'_> for Parse<F> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<D: serde::de::Error>(self, raw: &str) -> Result<T, D> {
        (self.0)(raw).map_err(D::custom)
    }
}
