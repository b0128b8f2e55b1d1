//! Encodes and decodes the JSON form of events and answers, for the wire and the history file.

use std::cell::RefCell;
use std::convert::Infallible;
use std::fmt::{self, Display};
use std::marker::PhantomData;

use jiff::Timestamp;
use serde::de::{Deserializer, IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};
use thiserror::Error;

use crate::protocol::color::{self, ColorSlot};
use crate::protocol::event::{Answer, Event, Listed, MemberId, Record, Welcome};
use crate::protocol::limits::MAX_LISTED;
use crate::protocol::text::Text;

/// Writes a flat JSON object directly into a buffer, without a temporary copy. The order of the
/// fields is the order of the calls.
struct ObjectWriter<'a>(&'a mut Vec<u8>);

impl ObjectWriter<'_> {
    fn begin(self, kind: &'static str) -> Self {
        self.0.extend_from_slice(b"{\"type\":\"");
        self.0.extend_from_slice(kind.as_bytes());
        self.0.push(b'"');
        self
    }

    fn begin_event(self, kind: &'static str, record: &Record) -> Self {
        self.begin(kind)
            .field("seq", &record.seq)
            .field("time", &Millis(record.time))
    }

    /// Adds a field. `name` must not need escaping.
    fn field(self, name: &'static str, value: &impl Serialize) -> Self {
        self.0.extend_from_slice(b",\"");
        self.0.extend_from_slice(name.as_bytes());
        self.0.extend_from_slice(b"\":");
        // Ignore the result, because writing text and numbers to memory can't fail.
        let _ = serde_json::to_writer(&mut *self.0, value);
        self
    }

    fn field_if_any(self, name: &'static str, value: Option<&impl Serialize>) -> Self {
        match value {
            Some(value) => self.field(name, value),
            None => self,
        }
    }

    fn end(self) {
        self.0.extend_from_slice(b"}\n");
    }
}

impl Record {
    /// Appends the JSON form and a line ending. `replay` marks the event as part of the replay.
    pub fn write_json(&self, replay: bool, out: &mut Vec<u8>) {
        let line = ObjectWriter(out);
        let line = match &self.event {
            Event::Message { id, from, text } => line
                .begin_event("message", self)
                .field("id", id)
                .field("from", from)
                .field("text", text),
            Event::Joined(Listed {
                id,
                name,
                group,
                color,
            }) => line
                .begin_event("joined", self)
                .field("id", id)
                .field("name", name)
                .field_if_any("group", group.as_ref())
                .field_if_any("color", color.as_ref()),
            Event::Left { id, name, reason } => line
                .begin_event("left", self)
                .field("id", id)
                .field("name", name)
                .field_if_any("reason", reason.as_ref()),
            Event::Renamed { id, from, to } => line
                .begin_event("renamed", self)
                .field("id", id)
                .field("from", from)
                .field("to", to),
            Event::Server { text } => line.begin_event("server", self).field("text", text),
            Event::Shutdown => line.begin_event("shutdown", self),
        };
        line.field_if_any("replay", replay.then_some(&true)).end();
    }
}

impl Answer {
    /// Appends the JSON form and a line ending, or nothing if the answer has no JSON form.
    pub fn write_json(&self, out: &mut Vec<u8>) {
        let line = ObjectWriter(out);
        let line = match self {
            Self::Welcome(welcome) => line
                .begin("welcome")
                .field("room", &welcome.room)
                .field_if_any("token", welcome.token.as_ref())
                .field("seq", &welcome.seq)
                .field("id", &welcome.id)
                .field("name", &welcome.name)
                .field_if_any("group", welcome.group.as_ref())
                .field_if_any("color", welcome.color.as_ref())
                .field("count", &welcome.count)
                .field("online", &welcome.online)
                .field_if_any(
                    "missing",
                    Some(&welcome.missing).filter(|count| **count > 0),
                ),
            Self::PastBegins(_) | Self::PastEnds => return,
            Self::PrivateFrom {
                time,
                id,
                from,
                text,
            } => line
                .begin("private")
                .field("time", &Millis(*time))
                .field("id", id)
                .field("from", from)
                .field("text", text),
            Self::PrivateTo { time, id, to, text } => line
                .begin("private")
                .field("time", &Millis(*time))
                .field("id", id)
                .field("to", to)
                .field("text", text),
            Self::Online { count, members } => line
                .begin("online")
                .field("count", count)
                .field("members", members),
            Self::Help(lines) => line.begin("help").field("lines", lines),
            Self::Error(text) => line.begin("error").field("text", text),
            Self::Notice(text) => line.begin("notice").field("text", text),
        };
        line.end();
    }
}

/// A decoded JSON line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Received {
    /// An event of the room. The flag is true if the event is part of the replay.
    Record(Record, bool),
    /// An answer to this client only.
    Answer(Answer),
    /// A line of a type that this version doesn't know.
    Unknown,
}

/// Reason why a line can't be decoded.
#[derive(Debug, Error)]
pub enum DecodeError {
    /// The line isn't a JSON object with fields of the right types.
    #[error("{0}")]
    Json(String),
    /// The field with this name is missing.
    #[error("the field {0:?} is missing")]
    Missing(&'static str),
}

impl From<serde_json::Error> for DecodeError {
    /// Removes the position, such as ` at line 1 column 5`, from an error of the JSON parser. The
    /// position would mislead users, because it counts from the start of this JSON text. The caller
    /// states the number of the line in its own input.
    fn from(error: serde_json::Error) -> Self {
        let mut text = error.to_string();
        let position = format!(" at line {} column {}", error.line(), error.column());
        if let Some(reason) = text.strip_suffix(&position) {
            text.truncate(reason.len());
        }
        Self::Json(text)
    }
}

impl Received {
    /// Decodes a line. All text in the result is cleaned, as by [`Text::new`].
    pub fn decode(line: &str) -> Result<Self, DecodeError> {
        let fields: Fields = serde_json::from_str(line)?;
        let event = match fields.kind {
            LineKind::Message => Event::Message {
                id: need(fields.id, "id")?,
                from: need(fields.from, "from")?,
                text: need(fields.text, "text")?,
            },
            LineKind::Joined => Event::Joined(Listed {
                id: need(fields.id, "id")?,
                name: need(fields.name, "name")?,
                group: fields.group,
                color: fields.color,
            }),
            LineKind::Left => Event::Left {
                id: need(fields.id, "id")?,
                name: need(fields.name, "name")?,
                reason: fields.reason,
            },
            LineKind::Renamed => Event::Renamed {
                id: need(fields.id, "id")?,
                from: need(fields.from, "from")?,
                to: need(fields.to, "to")?,
            },
            LineKind::Server => Event::Server {
                text: need(fields.text, "text")?,
            },
            LineKind::Shutdown => Event::Shutdown,
            LineKind::Welcome => {
                return Ok(Self::Answer(Answer::Welcome(Welcome {
                    room: need(fields.room, "room")?,
                    token: fields.token,
                    id: need(fields.id, "id")?,
                    name: need(fields.name, "name")?,
                    group: fields.group,
                    color: fields.color,
                    count: need(fields.count, "count")?,
                    online: need(fields.online, "online")?,
                    seq: need(fields.seq, "seq")?,
                    missing: fields.missing,
                })));
            }
            LineKind::Private => {
                let time = need(fields.time, "time")?.0;
                let id = need(fields.id, "id")?;
                let text = need(fields.text, "text")?;
                return Ok(Self::Answer(match (fields.from, fields.to) {
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
            LineKind::Online => {
                return Ok(Self::Answer(Answer::Online {
                    count: need(fields.count, "count")?,
                    members: need(fields.members, "members")?,
                }));
            }
            LineKind::Help => return Ok(Self::Answer(Answer::Help(need(fields.lines, "lines")?))),
            LineKind::Error => return Ok(Self::Answer(Answer::Error(need(fields.text, "text")?))),
            LineKind::Notice => {
                return Ok(Self::Answer(Answer::Notice(need(fields.text, "text")?)));
            }
            LineKind::Unknown => return Ok(Self::Unknown),
        };
        let record = Record {
            seq: need(fields.seq, "seq")?,
            time: need(fields.time, "time")?.0,
            event,
        };
        Ok(Self::Record(record, fields.replay))
    }
}

fn need<T>(field: Option<T>, name: &'static str) -> Result<T, DecodeError> {
    field.ok_or(DecodeError::Missing(name))
}

/// The fields of all types of lines together. The type of a line, in `kind`, determines which
/// fields it must have.
#[derive(Deserialize)]
struct Fields {
    #[serde(rename = "type")]
    kind: LineKind,
    room: Option<Text>,
    token: Option<Text>,
    seq: Option<u64>,
    time: Option<Millis>,
    id: Option<MemberId>,
    name: Option<Text>,
    from: Option<Text>,
    to: Option<Text>,
    group: Option<Text>,
    #[serde(default, deserialize_with = "color::deserialize")]
    color: Option<ColorSlot>,
    reason: Option<Text>,
    text: Option<Text>,
    count: Option<usize>,
    #[serde(default, deserialize_with = "list")]
    online: Option<Vec<Listed>>,
    #[serde(default, deserialize_with = "list")]
    members: Option<Vec<Listed>>,
    #[serde(default, deserialize_with = "list")]
    lines: Option<Vec<Text>>,
    #[serde(default)]
    missing: u64,
    #[serde(default)]
    replay: bool,
}

/// Deserializes a list, but keeps only its first [`MAX_LISTED`] items: a huge list would take
/// hundreds of times the memory of its line.
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

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum LineKind {
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
    #[serde(other)]
    Unknown,
}

/// A time in the format of RFC 3339, in UTC with milliseconds.
struct Millis(Timestamp);

impl Serialize for Millis {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        thread_local! {
            /// Cache of the last time formatted, and its text. A busy room has hundreds of events
            /// per millisecond, and formatting a time takes as long as encoding the rest of the
            /// event.
            static LAST: RefCell<(Timestamp, String)> =
                const { RefCell::new((Timestamp::UNIX_EPOCH, String::new())) };
        }
        LAST.with_borrow_mut(|(time, printed)| {
            if *time != self.0 || printed.is_empty() {
                *time = self.0;
                *printed = format!("{:.3}", self.0);
            }
            serializer.serialize_str(printed)
        })
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

/// Deserializes and cleans a text, because a text from a history file or a server may contain any
/// characters.
impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Parse(|raw: &str| Ok::<_, Infallible>(Text::new(raw))))
    }
}

/// Deserializes a value by parsing a string, which is borrowed from the input if possible.
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
