//! Consecutive joins and leaves, combined into one line.

use std::fmt::{self, Display};
use std::io;

use jiff::Timestamp;
use termcolor::{Color, WriteColor};

use crate::protocol::text::Text;
use crate::tty::style;

/// Limit on the length of a combined line, in bytes.
const MAX_LENGTH: usize = 400;

/// Limit on the time between the first and the last change in a line, in seconds.
const MAX_SECONDS: i64 = 300;

/// A change in who is online: a member joined or left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PresenceChange {
    Joined,
    /// A member left. Contains the reason, unless the member left voluntarily.
    Left(Option<Text>),
}

impl PresenceChange {
    fn color(&self) -> Color {
        match self {
            Self::Joined => Color::Green,
            Self::Left(_) => Color::Red,
        }
    }
}

impl Display for PresenceChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Joined => f.write_str("joined"),
            Self::Left(None) => f.write_str("left"),
            Self::Left(Some(reason)) => write!(f, "left ({reason})"),
        }
    }
}

/// A line of joins and leaves.
pub struct PresenceLine {
    /// The time of the first change.
    pub first: Timestamp,
    /// The changes in order, each with its names. Consecutive changes of the same kind are one
    /// entry, with their names separated by commas.
    parts: Vec<(PresenceChange, String)>,
    length: usize,
}

impl PresenceLine {
    pub fn new(first: Timestamp) -> Self {
        Self {
            first,
            parts: Vec::new(),
            length: 0,
        }
    }

    /// Whether another change fits into this line.
    pub fn has_room(&self, time: Timestamp, who: &str) -> bool {
        self.length + who.len() < MAX_LENGTH
            && time.as_second() - self.first.as_second() < MAX_SECONDS
    }

    pub fn add(&mut self, change: PresenceChange, who: &str) {
        self.length += who.len();
        match self.parts.last_mut() {
            Some((last, names)) if *last == change => {
                names.push_str(", ");
                names.push_str(who);
            }
            Some(_) | None => {
                self.length += change.to_string().len();
                self.parts.push((change, who.to_owned()));
            }
        }
    }

    pub fn paint(&self, out: &mut dyn WriteColor) -> io::Result<()> {
        for (index, (change, names)) in self.parts.iter().enumerate() {
            let sign = if index == 0 { "* " } else { "; " };
            let text = format!("{sign}{names} {change}");
            style::paint(out, change.color(), &text)?;
        }
        Ok(())
    }
}
