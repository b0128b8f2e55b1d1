//! Those who came and went one after the other, as one line.

use std::fmt::{self, Display};
use std::io;

use jiff::Timestamp;
use termcolor::{Color, WriteColor};

use crate::protocol::text::Text;
use crate::tty::style;

/// Longest line of several, in bytes.
const MAX_LENGTH: usize = 400;

/// Time between the first and the last, at most, in seconds.
const MAX_TIME: i64 = 300;

/// What somebody did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Presence {
    Joined,
    /// With the reason, where it was not by themselves.
    Left(Option<Text>),
}

impl Presence {
    fn color(&self) -> Color {
        match self {
            Self::Joined => Color::Green,
            Self::Left(_) => Color::Red,
        }
    }
}

impl Display for Presence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Joined => f.write_str("joined"),
            Self::Left(None) => f.write_str("left"),
            Self::Left(Some(reason)) => write!(f, "left ({reason})"),
        }
    }
}

/// Some who came or went.
pub struct PresenceLine {
    pub first: Timestamp,
    /// Names, together where they did the same.
    parts: Vec<(Presence, String)>,
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

    /// Whether this one, too, is for this line.
    pub fn has_room(&self, time: Timestamp, who: &str) -> bool {
        self.length + who.len() < MAX_LENGTH && time.as_second() - self.first.as_second() < MAX_TIME
    }

    pub fn add(&mut self, coming: Presence, who: &str) {
        self.length += who.len();
        match self.parts.last_mut() {
            Some((last, names)) if *last == coming => {
                names.push_str(", ");
                names.push_str(who);
            }
            Some(_) | None => {
                self.length += coming.to_string().len();
                self.parts.push((coming, who.to_owned()));
            }
        }
    }

    pub fn paint(&self, out: &mut dyn WriteColor) -> io::Result<()> {
        for (index, (coming, names)) in self.parts.iter().enumerate() {
            let sign = if index == 0 { "* " } else { "; " };
            let text = format!("{sign}{names} {coming}");
            style::paint(out, coming.color(), &text)?;
        }
        Ok(())
    }
}
