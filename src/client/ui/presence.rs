//! Consecutive joins and leaves, combined into one line.

use std::fmt::{self, Display};
use std::io;

use jiff::Timestamp;
use termcolor::{Color, WriteColor};

use crate::protocol::text::Text;
use crate::tty::style;

/// Limit on the total length, in bytes, of the names that one [`Part`] of a line keeps. Further
/// members are only counted, because no screen has space for their names.
const MAX_NAMES: usize = 1000;

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

/// A line of joins and leaves, all in the same minute.
pub struct PresenceLine {
    /// The minute of the changes, counted from 1970.
    minute: i64,
    parts: Vec<Part>,
    /// Maximum number of names that each [`Part`] shows, reduced until the line fits. A part with
    /// only one name always shows it.
    most: usize,
}

/// Part of the line, such as `ala, ola joined`: consecutive changes of the same kind.
struct Part {
    change: PresenceChange,
    /// Names of the first members in this part, up to [`MAX_NAMES`] bytes in total.
    names: Vec<String>,
    count: usize,
}

impl PresenceLine {
    /// Creates a line without any changes yet, for the minute of `time`.
    pub fn new(time: Timestamp) -> Self {
        Self {
            minute: minute(time),
            parts: Vec::new(),
            most: usize::MAX,
        }
    }

    /// Whether a change at `time` may be added to this line: all its changes must be in the same
    /// minute.
    pub fn includes(&self, time: Timestamp) -> bool {
        self.minute == minute(time)
    }

    pub fn add(&mut self, change: PresenceChange, who: &str) {
        match self.parts.last_mut() {
            Some(part) if part.change == change => {
                part.count += 1;
                let bytes: usize = part.names.iter().map(String::len).sum();
                if bytes + who.len() <= MAX_NAMES {
                    part.names.push(who.to_owned());
                }
            }
            Some(_) | None => self.parts.push(Part {
                change,
                names: vec![who.to_owned()],
                count: 1,
            }),
        }
    }

    /// Makes the line shorter: the parts that show the most names show one name fewer. Returns
    /// false if the line cannot become shorter, because each part shows either its only name or
    /// just a number of members.
    pub fn shorten(&mut self) -> bool {
        let longest = self.parts.iter().map(|part| part.names.len()).max();
        let shown = self.most.min(longest.unwrap_or(0));
        self.most = shown.saturating_sub(1);
        shown > 0
    }

    pub fn paint(&self, out: &mut dyn WriteColor) -> io::Result<()> {
        for (index, part) in self.parts.iter().enumerate() {
            let sign = if index == 0 { "* " } else { "; " };
            let text = format!("{sign}{} {}", part.who(self.most), part.change);
            style::paint(out, part.change.color(), &text)?;
        }
        Ok(())
    }
}

impl Part {
    /// Returns at most `most` names, and the number of members not named. A part with only one name
    /// always shows it.
    fn who(&self, most: usize) -> String {
        let shown = match self.names.len() {
            1 => 1,
            known => known.min(most),
        };
        let names = self.names[..shown].join(", ");
        match (shown, self.count - shown) {
            (_, 0) => names,
            (0, count) => count.to_string(),
            (_, more) => format!("{names} and {more} more"),
        }
    }
}

fn minute(time: Timestamp) -> i64 {
    time.as_second().div_euclid(60)
}
