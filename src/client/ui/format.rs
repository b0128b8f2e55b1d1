//! What everything looks like on the client's screen, without the screen: which lines there are for what happens.

use std::fmt::Display;
use std::io::{self, Write};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use termcolor::WriteColor;

use crate::client::ui::context::Conversation;
use crate::client::ui::presence::{Presence, PresenceLine};
use crate::protocol::commands;
use crate::protocol::event::{Answer, Event, Listed, MemberId, Record, Welcome};
use crate::protocol::text::{Text, clean};
use crate::tty::line::Line;
use crate::tty::style;
use crate::tty::wrap;

/// How the conversation becomes lines.
pub struct Formatter {
    conversation: Conversation,
    /// Whether lines begin with the time.
    pub has_times: bool,
    presence: Option<PresenceLine>,
}

impl Formatter {
    pub fn new(zone: TimeZone, now: Timestamp) -> Self {
        Self {
            conversation: Conversation::new(zone, now),
            has_times: true,
            presence: None,
        }
    }

    /// The client is a member now.
    pub fn welcome(&mut self, welcome: &Welcome) -> Line {
        self.conversation.enter(welcome);
        self.notice(&format!(
            "welcome, {}: {} online; /help lists the commands",
            welcome.name, welcome.count
        ))
    }

    /// The client is a member again.
    pub fn welcome_back(&mut self, welcome: &Welcome) -> Line {
        self.conversation.enter(welcome);
        self.notice(&format!(
            "connected again as {}: {} online",
            welcome.name, welcome.count
        ))
    }

    /// Something that the client says by itself.
    pub fn notice(&mut self, text: &str) -> Line {
        self.presence = None;
        Line::new(2, |line| write!(line, "* {}", clean(text)))
    }

    /// Why something is not done.
    pub fn refusal(&mut self, reason: &impl Display) -> Line {
        self.presence = None;
        let error = Answer::Error(Text::new(&reason.to_string()));
        Line::new(2, |line| style::paint_answer(line, &error))
    }

    /// What happened in the room, but for the client's own coming and going, which its welcomes tell.
    pub fn record(&mut self, record: &Record, replay: bool) -> Vec<Line> {
        let mut lines = Vec::new();
        if self.conversation.turn(replay) == Some(false) {
            lines.push(self.rule("end of the past messages"));
        }
        // Who comes back had not left, as far as they know.
        if let Event::Joined(Listed { id, .. }) | Event::Left { id, .. } = &record.event
            && self.conversation.is_own(*id)
        {
            return lines;
        }
        lines.extend(self.day(record.time));
        let is_call = self.calls(&record.event);
        let mut line = match &record.event {
            Event::Joined(Listed { name, group, .. }) => {
                let group = group.as_ref().map(|group| format!(" ({group})"));
                let who = format!("{name}{}", group.unwrap_or_default());
                self.coming(record.time, Presence::Joined, &who)
            }
            Event::Left { name, reason, .. } => {
                self.coming(record.time, Presence::Left(reason.clone()), name.as_str())
            }
            Event::Message { from, .. } => {
                self.timed(record.time, wrap::width(from.as_str()) + 2, |line| {
                    if is_call {
                        style::paint_call(line, &record.event)
                    } else {
                        style::paint_event(line, &record.event)
                    }
                })
            }
            Event::Server { text } => {
                self.timed(record.time, 4, |line| style::paint_said(line, text))
            }
            Event::Renamed { .. } | Event::Shutdown => self.timed(record.time, 2, |line| {
                style::paint_event(line, &record.event)
            }),
        };
        self.conversation.follow(&record.event);
        line.is_dim = replay && !is_call;
        lines.push(line);
        lines
    }

    /// An answer to this client alone, on a screen of so many columns.
    pub fn answer(&mut self, answer: &Answer, columns: usize) -> Vec<Line> {
        match answer {
            // It came already, and cannot come again; the past is told by its events.
            Answer::Welcome(_) | Answer::PastBegins(_) | Answer::PastEnds => Vec::new(),
            Answer::PrivateFrom { time, from, .. } => {
                let indent = wrap::width(from.as_str()) + 3;
                self.private(*time, indent, answer, "")
            }
            Answer::PrivateTo { time, to, .. } => {
                let indent = wrap::width(to.as_str()) + 6;
                self.private(*time, indent, answer, " (delivered)")
            }
            Answer::Online { count, members } => self.table(*count, members, columns),
            Answer::Help(lines) => {
                let keys =
                    "Tab completes names and commands; Ctrl+R searches what you typed before";
                let own = commands::client_help();
                let own = own.iter().map(Text::as_str).chain([keys]);
                let mut all: Vec<Line> = Vec::new();
                all.extend(lines.iter().map(|line| self.notice(line.as_str())));
                all.push(self.notice("in this window:"));
                all.extend(own.map(|line| self.notice(&format!("  {line}"))));
                all
            }
            Answer::Error(text) => {
                let mut lines = vec![self.refusal(text)];
                // The server knows only its own commands.
                if let Some(word) = text.as_str().strip_prefix("unknown command /")
                    && let Some(meant) = word.split(':').next().and_then(commands::suggest)
                {
                    lines.push(self.notice(&format!("perhaps you mean {meant}")));
                }
                lines
            }
            Answer::Notice(text) => vec![self.notice(text.as_str())],
        }
    }

    /// Whether an event calls the reader by name.
    pub fn calls(&self, event: &Event) -> bool {
        self.conversation.calls(event)
    }

    pub fn is_own(&self, id: MemberId) -> bool {
        self.conversation.is_own(id)
    }

    /// The line under the past, where that has not ended yet.
    pub fn end_past(&mut self) -> Option<Line> {
        let has_ended = self.conversation.turn(false) == Some(false);
        has_ended.then(|| self.rule("end of the past messages"))
    }

    fn rule(&mut self, text: &str) -> Line {
        self.presence = None;
        let mut line = Line::new(0, |line| write!(line, "--- {text} ---"));
        line.is_dim = true;
        line
    }

    fn day(&mut self, time: Timestamp) -> Option<Line> {
        let day = self.conversation.new_day(time)?;
        Some(self.rule(&day.strftime("%A, %-d %B %Y").to_string()))
    }

    /// A line of its own, with the time before it.
    fn timed(
        &mut self,
        time: Timestamp,
        indent: usize,
        write: impl FnOnce(&mut Line) -> io::Result<()>,
    ) -> Line {
        self.presence = None;
        self.clocked(time, indent, write)
    }

    fn clocked(
        &self,
        time: Timestamp,
        indent: usize,
        write: impl FnOnce(&mut Line) -> io::Result<()>,
    ) -> Line {
        let clock = match self.has_times {
            true => format!("{} ", self.conversation.clock(time)),
            false => String::new(),
        };
        let indent = indent + clock.len();
        Line::new(indent, |line| {
            line.write_all(clock.as_bytes())?;
            write(line)
        })
    }

    fn private(
        &mut self,
        time: Timestamp,
        indent: usize,
        answer: &Answer,
        mark: &str,
    ) -> Vec<Line> {
        let mut lines: Vec<Line> = self.day(time).into_iter().collect();
        lines.push(self.timed(time, indent, |line| {
            style::paint_answer(line, answer)?;
            line.set_color(&style::quiet())?;
            line.write_all(mark.as_bytes())
        }));
        lines
    }

    /// Somebody came or went: all who did, where nothing else was shown since.
    fn coming(&mut self, time: Timestamp, coming: Presence, who: &str) -> Line {
        let before = self.presence.take();
        let goes_on = before.filter(|presence| presence.has_room(time, who));
        let replaces = goes_on.is_some();
        let mut presence = goes_on.unwrap_or_else(|| PresenceLine::new(time));
        presence.add(coming, who);
        let mut line = self.clocked(presence.first, 2, |line| presence.paint(line));
        (line.is_open, line.replaces) = (true, replaces);
        self.presence = Some(presence);
        line
    }

    /// Who is here, in columns.
    fn table(&mut self, count: usize, members: &[Listed], columns: usize) -> Vec<Line> {
        let mut lines = vec![self.notice(&format!("{count} online"))];
        let group = |member: &Listed| match &member.group {
            Some(group) => format!(" ({group})"),
            None => String::new(),
        };
        let wide =
            |member: &Listed| wrap::width(member.name.as_str()) + wrap::width(&group(member));
        let cell = members.iter().map(wide).max().unwrap_or_default() + 2;
        for row in members.chunks((columns.saturating_sub(2) / cell).max(1)) {
            lines.push(Line::new(4, |line| {
                line.write_all(b"  ")?;
                for member in row {
                    style::paint_name(line, &member.name)?;
                    let rest = group(member);
                    let blanks = cell - wide(member);
                    write!(line, "{rest}{:blanks$}", "")?;
                }
                Ok(())
            }));
        }
        // A server may send anything.
        match count.saturating_sub(members.len()) {
            0 => {}
            more => lines.push(self.notice(&format!("and {more} more"))),
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use termcolor::Buffer;

    use super::*;
    use crate::protocol::json::Received;

    /// The lines of what happens, after a welcome as `ala`, member 7, at ten on the last of January.
    fn lines(happenings: &[&str]) -> Vec<Line> {
        let ten = "2026-01-31T10:00:00Z".parse().unwrap();
        let mut formatter = Formatter::new(TimeZone::UTC, ten);
        let welcome =
            r#"{"type":"welcome","room":"r","id":7,"name":"ala","count":1,"online":[],"seq":0}"#;
        let mut lines = Vec::new();
        for json in [welcome].iter().chain(happenings) {
            match Received::decode(json).unwrap() {
                Received::Answer(Answer::Welcome(welcome)) => drop(formatter.welcome(&welcome)),
                Received::Answer(answer) => lines.extend(formatter.answer(&answer, 40)),
                Received::Record(record, replay) => lines.extend(formatter.record(&record, replay)),
                Received::Unknown => {}
            }
        }
        lines
    }

    fn text(lines: &[Line]) -> Vec<String> {
        lines.iter().flat_map(|line| line.rows(200)).collect()
    }

    fn at(time: &str, rest: &str) -> String {
        format!(r#"{{"seq":1,"time":"{time}",{rest}}}"#)
    }

    #[test]
    fn a_line_stands_where_the_day_changes() {
        let said = r#""type":"message","id":3,"from":"ola","text":"hi""#;
        let seen = lines(&[
            &at("2026-01-31T23:59:00Z", said),
            &at("2026-02-01T00:01:00Z", said),
        ]);
        assert_eq!(
            text(&seen),
            [
                "23:59 ola: hi",
                "--- Sunday, 1 February 2026 ---",
                "00:01 ola: hi"
            ]
        );
    }

    #[test]
    fn comings_and_goings_become_one_line_until_something_else_is_shown_or_time_goes_by() {
        let joined = |name: &str| format!(r#""type":"joined","id":3,"name":"{name}","group":"x""#);
        let left =
            |name: &str| format!(r#""type":"left","id":3,"name":"{name}","reason":"too slow""#);
        let ten = "2026-01-31T10:00:00Z";
        let seen = lines(&[
            &at(ten, &joined("ola")),
            &at(ten, &joined("jan")),
            &at(ten, &left("ola")),
            &at(ten, &left("jan")),
            r#"{"type":"notice","text":"something"}"#,
            &at(ten, &joined("ela")),
            &at("2026-01-31T10:06:00Z", &joined("iza")),
        ]);
        assert_eq!(
            text(&seen),
            [
                "10:00 * ola (x) joined",
                "10:00 * ola (x), jan (x) joined",
                "10:00 * ola (x), jan (x) joined; ola left (too slow)",
                "10:00 * ola (x), jan (x) joined; ola, jan left (too slow)",
                "* something",
                "10:00 * ela (x) joined",
                "10:06 * iza (x) joined",
            ]
        );
        let replaces: Vec<bool> = seen.iter().map(|line| line.replaces).collect();
        assert_eq!(replaces, [false, true, true, true, false, false, false]);
    }

    #[test]
    fn without_colours_a_row_is_text_alone_and_with_them_it_takes_as_many_columns() {
        let seen = lines(&[
            r#"{"type":"private","time":"2026-01-31T10:00:00Z","id":3,"from":"ola","text":"one two three"}"#,
        ]);
        let plain = seen[0].rows(20);
        assert_eq!(plain, ["10:00 [ola] one two", "      three"]);
        let painted = seen[0].painted(20, &mut Buffer::ansi());
        assert_eq!(painted.len(), 2);
        assert!(painted[0].contains("\x1b[35m[") && painted[1].starts_with("      \x1b["));
    }

    #[test]
    fn who_is_online_stands_in_columns() {
        let seen = lines(&[
            r#"{"type":"online","count":5,"members":[{"id":1,"name":"ola","group":"3ID12"},{"id":2,"name":"日本"},{"id":3,"name":"jan"}]}"#,
        ]);
        assert_eq!(
            text(&seen),
            ["* 5 online", "  ola (3ID12)  日本", "  jan", "* and 2 more"]
        );
    }
}
