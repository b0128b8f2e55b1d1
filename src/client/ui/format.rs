//! Turns events and answers into lines, for a stream or for the terminal UI.

use std::fmt::Display;
use std::io::{self, Write};

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use termcolor::{Color, WriteColor};

use crate::client::identity::OwnIdentity;
use crate::client::ui::presence::{PresenceChange, PresenceLine};
use crate::protocol::commands;
use crate::protocol::event::{Answer, Event, Listed, MemberId, Record, Welcome};
use crate::protocol::text::{Text, clean};
use crate::tty::line::Line;
use crate::tty::member_table;
use crate::tty::name_colors::NameColors;
use crate::tty::style;
use crate::tty::wrap;

const KEYS_HELP: &str = "  Tab completes names and commands; Ctrl+R searches what you typed before";

/// The kind of output for which lines are formatted.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// A pipe, a file, or a terminal that cannot move its cursor. The user's own messages are left
    /// out, because the terminal on which they were typed already shows them.
    Stream,
    /// The terminal UI, in which lines wrap with an indent, and a line may replace the previous
    /// line.
    Screen,
}

pub struct Formatter {
    layout: Layout,
    zone: TimeZone,
    /// The day of the previous line. A new day is shown on a line of its own, because lines have
    /// only the time of day.
    day: Date,
    own: Option<OwnIdentity>,
    pub(crate) names: NameColors,
    replay: ReplayState,
    /// Whether lines begin with the time.
    pub has_times: bool,
    /// The last line, if it consists of joins and leaves. The next join or leave can be added to
    /// it.
    presence: Option<PresenceLine>,
    /// Space for a line of several joins and leaves, in columns and rows. A join or leave for which
    /// there is no space begins a new line.
    pub(crate) presence_space: (usize, usize),
}

/// Progress of the replay of past events, which follows a welcome.
#[derive(Default)]
struct ReplayState {
    /// The number of the replay's last event. `None` once that event was received.
    end: Option<u64>,
    /// Whether the separator above the replay has been shown, but not the one below it.
    is_open: bool,
    /// Whether a mention in the replay may ring the bell. Only the first mention does, and only if
    /// the user missed the replayed events.
    may_ring: bool,
}

impl Formatter {
    pub fn new(layout: Layout, zone: TimeZone, now: Timestamp) -> Self {
        Self {
            layout,
            day: now.to_zoned(zone.clone()).date(),
            zone,
            own: None,
            names: NameColors::default(),
            replay: ReplayState::default(),
            has_times: true,
            presence: None,
            presence_space: (80, 2),
        }
    }

    /// The client's identity. `None` before the first welcome.
    pub fn own(&self) -> Option<&OwnIdentity> {
        self.own.as_ref()
    }

    /// Formats the welcome. `last_shown` is `Some` if the client has rejoined: it is the number of
    /// the last event shown, and the replay contains the events that the user missed.
    pub fn welcome(&mut self, welcome: &Welcome, last_shown: Option<u64>) -> Line {
        self.own = Some(OwnIdentity::new(welcome));
        self.names.enter(welcome);
        self.replay.end = Some(welcome.seq).filter(|end| *end > last_shown.unwrap_or(0));
        self.replay.may_ring = last_shown.is_some();
        let Welcome { name, count, .. } = welcome;
        self.notice(&match last_shown {
            None => format!("welcome, {name}: {count} online; /help lists the commands"),
            Some(_) => format!("connected again as {name}: {count} online"),
        })
    }

    /// Whether all events of the replay have been formatted.
    pub fn has_caught_up(&self) -> bool {
        self.replay.end.is_none()
    }

    /// Formats a notice from the client or the server.
    pub fn notice(&mut self, text: &str) -> Line {
        self.presence = None;
        Line::new(2, |line| write!(line, "* {}", clean(text)))
    }

    /// Formats the reason why a request failed.
    pub fn error(&mut self, reason: &impl Display) -> Line {
        self.presence = None;
        let error = Answer::Error(Text::new(&reason.to_string()));
        Line::new(2, |line| style::paint_answer(line, &error, None))
    }

    /// Formats an error that ends the client or loses input.
    pub fn failure(error: &impl Display) -> Line {
        Line::plain(&format!("error: {error}"))
    }

    /// Formats an event, and the separator above or below the replay if the replay begins or ends
    /// with this event. Adds no line for an event that is not shown, such as the user's own join.
    pub fn record(&mut self, record: &Record, replay: bool) -> Vec<Line> {
        let frame = if replay {
            self.begin_replay()
        } else {
            self.end_replay()
        };
        let mut lines: Vec<Line> = frame.into_iter().collect();
        let name = self.names.event(&record.event);
        if self.is_shown(&record.event) {
            lines.extend(self.day_change(record.time));
            lines.push(self.event(record, name, replay));
        }
        if let Some(own) = &mut self.own {
            own.follow(&record.event);
        }
        lines.extend(self.advance(record.seq));
        lines
    }

    /// Records that the event with this number was received. If it was the last event of the
    /// replay, returns the separator below the replay.
    pub fn advance(&mut self, seq: u64) -> Option<Line> {
        self.replay.end.take_if(|end| *end <= seq)?;
        self.end_replay()
    }

    fn begin_replay(&mut self) -> Option<Line> {
        let is_first = !std::mem::replace(&mut self.replay.is_open, true);
        // The separator does not say how many messages follow. Their number is known only after the
        // last one, and there may be too many to hold them back until then.
        (is_first && self.layout == Layout::Stream).then(|| self.notice("the past messages"))
    }

    fn end_replay(&mut self) -> Option<Line> {
        let was_open = std::mem::take(&mut self.replay.is_open);
        was_open.then(|| self.rule("end of the past messages"))
    }

    /// Whether to show an event. The user's own join is never shown, because the welcome announces
    /// it. On a screen, the user's own leave is not shown: after a reconnect, it only means that
    /// the old connection ended. A stream does not show the user's own messages.
    fn is_shown(&self, event: &Event) -> bool {
        match (event, self.layout) {
            (Event::Message { id, .. }, Layout::Stream)
            | (Event::Left { id, .. }, Layout::Screen)
            | (Event::Joined(Listed { id, .. }), _) => !self.is_own(*id),
            (Event::Message { .. }, Layout::Screen)
            | (Event::Left { .. }, Layout::Stream)
            | (Event::Renamed { .. } | Event::Server { .. } | Event::Shutdown, _) => true,
        }
    }

    fn event(&mut self, record: &Record, name: Option<Color>, replay: bool) -> Line {
        let Record { time, event, .. } = record;
        let is_mention = self.is_mention(event);
        let mut line = match (event, self.layout) {
            (Event::Message { from, .. }, _) => {
                self.timed(*time, wrap::width(from.as_str()) + 2, |line| {
                    if is_mention {
                        style::paint_call(line, event, name)
                    } else {
                        style::paint_event(line, event, name)
                    }
                })
            }
            (Event::Joined(Listed { name, group, .. }), Layout::Screen) => {
                let group = group.as_ref().map(|group| format!(" ({group})"));
                let who = format!("{name}{}", group.unwrap_or_default());
                self.presence(*time, PresenceChange::Joined, &who)
            }
            (Event::Left { name, reason, .. }, Layout::Screen) => {
                self.presence(*time, PresenceChange::Left(reason.clone()), name.as_str())
            }
            (Event::Server { text }, Layout::Screen) => {
                self.timed(*time, 4, |line| style::paint_said(line, text))
            }
            (Event::Joined(_) | Event::Left { .. } | Event::Server { .. }, Layout::Stream)
            | (Event::Renamed { .. } | Event::Shutdown, _) => {
                self.timed(*time, 2, |line| style::paint_event(line, event, name))
            }
        };
        line.is_dim = replay && !is_mention && self.layout == Layout::Screen;
        line
    }

    /// Formats an answer to this client.
    pub fn answer(&mut self, answer: &Answer) -> Vec<Line> {
        let name = self.names.answer(answer);
        match (answer, self.layout) {
            // Show nothing. [`Formatter::welcome`] formats the welcome, and the server announces
            // the start and the end of a replay only in the plain format, which this client does
            // not use.
            (Answer::Welcome(_) | Answer::PastBegins(_) | Answer::PastEnds, _) => Vec::new(),
            (Answer::PrivateFrom { time, from, .. }, _) => {
                let indent = wrap::width(from.as_str()) + 3;
                self.private(*time, indent, answer, name, "")
            }
            (Answer::PrivateTo { time, to, .. }, layout) => {
                let indent = wrap::width(to.as_str()) + 6;
                let mark = match layout {
                    Layout::Stream => "",
                    Layout::Screen => " (delivered)",
                };
                self.private(*time, indent, answer, name, mark)
            }
            (Answer::Online { .. }, Layout::Stream) => {
                vec![Line::new(2, |line| style::paint_answer(line, answer, name))]
            }
            (Answer::Online { count, members }, Layout::Screen) => self.table(*count, members),
            (Answer::Help(lines), layout) => {
                let mut help: Vec<Line> = Vec::new();
                help.extend(lines.iter().map(|line| self.notice(line.as_str())));
                if layout == Layout::Screen {
                    help.push(self.notice("in this window:"));
                    for line in commands::client_help() {
                        help.push(self.notice(&format!("  {line}")));
                    }
                    help.push(self.notice(KEYS_HELP));
                }
                help
            }
            (Answer::Error(text), layout) => {
                let mut lines = vec![self.error(text)];
                // Suggest a command in place of a misspelled one. The server cannot suggest the
                // client's own commands, because it does not know them.
                if layout == Layout::Screen
                    && let Some(word) = text.as_str().strip_prefix("unknown command /")
                    && let Some(command) = word.split(':').next().and_then(commands::suggest)
                {
                    lines.push(self.notice(&format!("did you mean {command}?")));
                }
                lines
            }
            (Answer::Notice(text), _) => vec![self.notice(text.as_str())],
        }
    }

    /// Whether `event` is another member's message that contains the user's name.
    fn is_mention(&self, event: &Event) -> bool {
        self.own.as_ref().is_some_and(|own| {
            event.author().is_some_and(|(id, _)| id != own.id)
                && event.text().is_some_and(|text| own.is_mentioned_in(text))
        })
    }

    /// Whether to ring the bell for an event. Every live mention rings, the mentions that the user
    /// missed ring once together, and mentions from before the user joined never ring. Must be
    /// called before [`Formatter::record`].
    pub fn should_ring(&mut self, event: &Event, replay: bool) -> bool {
        self.is_mention(event) && (!replay || std::mem::take(&mut self.replay.may_ring))
    }

    fn is_own(&self, id: MemberId) -> bool {
        self.own.as_ref().is_some_and(|own| own.id == id)
    }

    /// Formats a separator line.
    fn rule(&mut self, text: &str) -> Line {
        if self.layout == Layout::Stream {
            return self.notice(text);
        }
        self.presence = None;
        let mut line = Line::new(0, |line| write!(line, "--- {text} ---"));
        line.is_dim = true;
        line
    }

    /// Formats a separator line with the day of `time`, or returns `None` if the previous line has
    /// the same day.
    fn day_change(&mut self, time: Timestamp) -> Option<Line> {
        let day = time.to_zoned(self.zone.clone()).date();
        if day == std::mem::replace(&mut self.day, day) {
            return None;
        }
        Some(match self.layout {
            Layout::Stream => self.rule(&day.to_string()),
            Layout::Screen => self.rule(&day.strftime("%A, %-d %B %Y").to_string()),
        })
    }

    /// Formats a line that begins with `time`. A join or leave after this line begins a new line.
    fn timed(
        &mut self,
        time: Timestamp,
        indent: usize,
        write: impl FnOnce(&mut Line) -> io::Result<()>,
    ) -> Line {
        self.presence = None;
        self.with_time(time, indent, write)
    }

    fn with_time(
        &self,
        time: Timestamp,
        indent: usize,
        write: impl FnOnce(&mut Line) -> io::Result<()>,
    ) -> Line {
        let clock = if self.has_times {
            let time = time.to_zoned(self.zone.clone());
            time.strftime("%H:%M ").to_string()
        } else {
            String::new()
        };
        Line::new(indent + clock.len(), |line| {
            line.write_all(clock.as_bytes())?;
            write(line)
        })
    }

    fn private(
        &mut self,
        time: Timestamp,
        indent: usize,
        answer: &Answer,
        name: Option<Color>,
        mark: &str,
    ) -> Vec<Line> {
        let mut lines: Vec<Line> = self.day_change(time).into_iter().collect();
        lines.push(self.timed(time, indent, |line| {
            style::paint_answer(line, answer, name)?;
            line.set_color(&style::quiet())?;
            line.write_all(mark.as_bytes())
        }));
        lines
    }

    /// Formats a join or leave. If the previous line consists of joins and leaves of the same
    /// minute and has space for this one, returns a longer version of that line, which replaces it.
    fn presence(&mut self, time: Timestamp, change: PresenceChange, who: &str) -> Line {
        if let Some(mut presence) = self.presence.take()
            && presence.includes(time)
        {
            presence.add(change.clone(), who);
            if let Some(mut line) = self.fitting(time, &mut presence) {
                line.replaces = true;
                self.presence = Some(presence);
                return line;
            }
        }
        let mut presence = PresenceLine::new(time);
        presence.add(change, who);
        if let Some(line) = self.fitting(time, &mut presence) {
            self.presence = Some(presence);
            return line;
        }
        self.with_time(time, 2, |line| presence.paint(line))
    }

    /// Returns the line for `presence` with as many names as fit into
    /// [`Formatter::presence_space`]. The line is marked as open, so that a longer version can
    /// replace it. Returns `None` if even the shortest version does not fit.
    fn fitting(&self, time: Timestamp, presence: &mut PresenceLine) -> Option<Line> {
        let (columns, rows) = self.presence_space;
        loop {
            let mut line = self.with_time(time, 2, |line| presence.paint(line));
            if line.height(columns) <= rows {
                line.is_open = true;
                return Some(line);
            }
            if !presence.shorten() {
                return None;
            }
        }
    }

    /// Makes the next join or leave begin a new line.
    pub(crate) fn end_presence(&mut self) {
        self.presence = None;
    }

    /// Formats the members online in columns.
    fn table(&mut self, count: usize, members: &[Listed]) -> Vec<Line> {
        let mut lines = vec![self.notice(&format!("{count} online"))];
        if !members.is_empty() {
            lines.push(Line::new(2, |line| {
                line.write_all(b"  ")?;
                member_table::write(line, members, &self.names)
            }));
        }
        // The subtraction must not overflow: a hostile server may send a count that is smaller than
        // its list.
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

    const TEN: &str = "2026-01-31T10:00:00Z";

    /// Formats the lines of `received`. The client is `ala`, member 7, and has joined at ten on
    /// January 31.
    fn lines(layout: Layout, received: &[&str]) -> Vec<Line> {
        let mut formatter = Formatter::new(layout, TimeZone::UTC, TEN.parse().unwrap());
        let welcome =
            r#"{"type":"welcome","room":"r","id":7,"name":"ala","count":1,"online":[],"seq":0}"#;
        let mut lines = Vec::new();
        for json in [welcome].iter().chain(received) {
            match Received::decode(json).unwrap() {
                Received::Answer(Answer::Welcome(welcome)) => {
                    formatter.welcome(&welcome, None);
                }
                Received::Answer(answer) => lines.extend(formatter.answer(&answer)),
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

    fn message(time: &str, id: u64, text: &str) -> String {
        at(
            time,
            &format!(r#""type":"message","id":{id},"from":"ola","text":"{text}""#),
        )
    }

    /// Returns the bytes that are written to a colored stream for `received`.
    fn stream(received: &[&str]) -> String {
        let mut out = Buffer::ansi();
        for line in lines(Layout::Stream, received) {
            line.write_to(&mut out).unwrap();
            out.write_all(b"\n").unwrap();
        }
        String::from_utf8(out.into_inner()).unwrap()
    }

    #[test]
    fn a_message_begins_with_its_time_and_its_senders_name_is_in_color() {
        let shown = stream(&[&message(TEN, 3, "hi")]);
        assert!(shown.starts_with("10:00 \x1b[0m\x1b[38;5;"), "{shown:?}");
        assert!(shown.ends_with("mola\x1b[0m: hi\n"), "{shown:?}");
    }

    #[test]
    fn names_have_the_colors_that_the_server_assigned() {
        let online = r#"{"type":"online","count":1,"members":[{"id":4,"name":"jan","color":4}]}"#;
        let joined = r#""type":"joined","id":3,"name":"ola","color":3"#;
        let renamed = r#""type":"renamed","id":3,"from":"ola","to":"ula""#;
        let private =
            format!(r#"{{"type":"private","time":"{TEN}","id":4,"from":"jan","text":"psst"}}"#);
        let shown = stream(&[
            online,
            &at(TEN, joined),
            &message(TEN, 3, "hi"),
            &at(TEN, renamed),
            &private,
            &message(TEN, 3, "hi ala"),
        ]);
        for part in [
            "\x1b[38;5;95mola\x1b[0m: hi\n",
            "\x1b[38;5;95mola\x1b[0m is now \x1b[0m\x1b[38;5;95mula\x1b[0m\n",
            "\x1b[38;5;93mjan\x1b[0m\x1b[0m\x1b[35m] psst",
            "\x1b[1m\x1b[38;5;95mola",
        ] {
            assert!(shown.contains(part), "{part:?} in {shown:?}");
        }
    }

    #[test]
    fn a_message_with_the_users_name_in_it_is_bold() {
        assert!(stream(&[&message(TEN, 3, "hi ala")]).contains("\x1b[1m"));
        assert!(!stream(&[&message(TEN, 3, "hi koala")]).contains("\x1b[1m"));
    }

    #[test]
    fn piped_output_does_not_echo_the_users_own_messages() {
        assert_eq!(stream(&[&message(TEN, 7, "hi")]), "");
    }

    #[test]
    fn private_messages_have_their_sender_in_brackets_and_a_color_of_their_own() {
        let line =
            format!(r#"{{"type":"private","time":"{TEN}","id":3,"from":"ola","text":"psst"}}"#);
        let shown = stream(&[&line]);
        assert!(shown.contains("\x1b[35m["), "{shown:?}");
        assert!(shown.ends_with("\x1b[35m] psst\x1b[0m\n"), "{shown:?}");
    }

    #[test]
    fn a_piped_replay_begins_and_ends_with_a_notice_and_has_a_line_for_each_day() {
        let past =
            |time, text| message(time, 3, text).replace("\"seq\"", "\"replay\":true,\"seq\"");
        let shown = lines(
            Layout::Stream,
            &[
                &past("2026-01-30T09:00:00Z", "old"),
                &past("2026-01-31T09:00:00Z", "older"),
                &message(TEN, 3, "new"),
            ],
        );
        assert_eq!(
            text(&shown),
            [
                "* the past messages",
                "* 2026-01-30",
                "09:00 ola: old",
                "* 2026-01-31",
                "09:00 ola: older",
                "* end of the past messages",
                "10:00 ola: new"
            ]
        );
    }

    #[test]
    fn a_line_marks_each_new_day() {
        let said = r#""type":"message","id":3,"from":"ola","text":"hi""#;
        let shown = lines(
            Layout::Screen,
            &[
                &at("2026-01-31T23:59:00Z", said),
                &at("2026-02-01T00:01:00Z", said),
            ],
        );
        assert_eq!(
            text(&shown),
            [
                "23:59 ola: hi",
                "--- Sunday, 1 February 2026 ---",
                "00:01 ola: hi"
            ]
        );
    }

    fn joined(time: &str, name: &str) -> String {
        at(time, &format!(r#""type":"joined","id":3,"name":"{name}""#))
    }

    #[test]
    fn joins_and_leaves_share_a_line_until_something_else_is_shown() {
        let left =
            |name: &str| format!(r#""type":"left","id":3,"name":"{name}","reason":"too slow""#);
        let shown = lines(
            Layout::Screen,
            &[
                &at(TEN, r#""type":"joined","id":3,"name":"ola","group":"x""#),
                &joined(TEN, "jan"),
                &at(TEN, &left("ola")),
                &at(TEN, &left("jan")),
                r#"{"type":"notice","text":"something"}"#,
                &joined(TEN, "ela"),
            ],
        );
        assert_eq!(
            text(&shown),
            [
                "10:00 * ola (x) joined",
                "10:00 * ola (x), jan joined",
                "10:00 * ola (x), jan joined; ola left (too slow)",
                "10:00 * ola (x), jan joined; ola, jan left (too slow)",
                "* something",
                "10:00 * ela joined",
            ]
        );
        let replaces: Vec<bool> = shown.iter().map(|line| line.replaces).collect();
        assert_eq!(replaces, [false, true, true, true, false, false]);
    }

    #[test]
    fn joins_in_different_minutes_do_not_share_a_line() {
        let shown = lines(
            Layout::Screen,
            &[
                &joined("2026-01-31T10:00:01Z", "ola"),
                &joined("2026-01-31T10:00:59.999Z", "jan"),
                &joined("2026-01-31T10:01:00Z", "ela"),
                &joined("2026-01-31T10:00:59Z", "iza"),
            ],
        );
        assert_eq!(
            text(&shown),
            [
                "10:00 * ola joined",
                "10:00 * ola, jan joined",
                "10:01 * ela joined",
                "10:00 * iza joined",
            ]
        );
    }

    #[test]
    fn joins_that_do_not_fit_into_their_shared_line_are_counted() {
        let mut formatter = Formatter::new(Layout::Screen, TimeZone::UTC, TEN.parse().unwrap());
        let add = |formatter: &mut Formatter, event: &str| {
            let Ok(Received::Record(record, _)) = Received::decode(event) else {
                panic!("expected a record")
            };
            let line = formatter.record(&record, false).remove(0);
            (line.rows(200).remove(0), line.replaces)
        };
        formatter.presence_space = (40, 1);
        for (name, shown) in [
            ("first", "10:00 * first joined"),
            ("second", "10:00 * first, second joined"),
            ("third", "10:00 * first, second, third joined"),
            ("fourth", "10:00 * first, second and 2 more joined"),
        ] {
            let is_replaced = name != "first";
            let joined = joined(TEN, name);
            assert_eq!(add(&mut formatter, &joined), (shown.into(), is_replaced));
        }
        formatter.presence_space = (18, 1);
        let (shown, replaces) = add(&mut formatter, &joined(TEN, "fifth"));
        assert_eq!((shown.as_str(), replaces), ("10:00 * 5 joined", true));
        // The line of 18 columns has no space for the number of members who left, so the leave
        // begins a new line.
        let left = at(TEN, r#""type":"left","id":3,"name":"first""#);
        let (shown, replaces) = add(&mut formatter, &left);
        assert_eq!((shown.as_str(), replaces), ("10:00 * first left", false));
    }

    #[test]
    fn rows_wrap_at_the_same_places_with_and_without_colors() {
        let shown = lines(
            Layout::Screen,
            &[
                r#"{"type":"private","time":"2026-01-31T10:00:00Z","id":3,"from":"ola","text":"one two three"}"#,
            ],
        );
        let plain = shown[0].rows(20);
        assert_eq!(plain, ["10:00 [ola] one two", "      three"]);
        let painted = shown[0].painted(20, &mut Buffer::ansi());
        assert_eq!(painted.len(), 2);
        assert!(painted[0].contains("\x1b[35m[") && painted[1].starts_with("      \x1b["));
    }

    #[test]
    fn the_members_online_are_in_as_many_columns_as_the_window_has_room_for() {
        let shown = lines(
            Layout::Screen,
            &[
                r#"{"type":"online","count":5,"members":[{"id":1,"name":"ola","group":"3ID12"},{"id":2,"name":"日本"},{"id":3,"name":"jan"}]}"#,
            ],
        );
        let rows =
            |columns| -> Vec<String> { shown.iter().flat_map(|line| line.rows(columns)).collect() };
        for (columns, members) in [
            (39, &["  ola (3ID12)  日本         jan"][..]),
            (38, &["  ola (3ID12)  日本", "  jan"]),
            (26, &["  ola (3ID12)  日本", "  jan"]),
            (25, &["  ola (3ID12)", "  日本", "  jan"]),
            (13, &["  ola (3ID12)", "  日本", "  jan"]),
            (12, &["  ola", "  (3ID12)", "  日本", "  jan"]),
        ] {
            let expected = [&["* 5 online"], members, &["* and 2 more"]].concat();
            assert_eq!(rows(columns), expected, "{columns} columns");
        }
    }
}
