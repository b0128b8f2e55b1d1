//! The operator's log on stdout, written by a thread of its own.
//!
//! Stdout can block like a slow client: the terminal's output may be stopped, or no one may be
//! reading the pipe. Only the log's thread waits for stdout. If too many lines are queued, further
//! lines are dropped. Their number is shown once stdout accepts output again.

use std::collections::BTreeMap;
use std::fmt::{self, Display};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use termcolor::{Buffer, Color, WriteColor};

use crate::net::resolve::canonical;
use crate::os;
use crate::protocol::console::ServerLine;
use crate::protocol::event::{Answer, Event, Listed, MemberId, Record};
use crate::protocol::text::Text;
use crate::server::log_file::LogFile;
use crate::sync::thread::{self, JoinHandle};
use crate::sync::{Condvar, Mutex};
use crate::tty::console::{Console, LogOutput, PROMPT};
use crate::tty::member_table;
use crate::tty::name_colors::NameColors;
use crate::tty::{style, wrap};

/// Limit on the lines queued for stdout. Beyond the limit, lines are dropped.
const MAX_WAITING: usize = 4096;

/// How long the program waits, before it exits, for the last lines to be shown.
const LAST_LINES: Duration = Duration::from_millis(500);

/// Limit on the width, in columns, of a list of members that is shown in one line. Such a line fits
/// beside the time on a terminal of 80 columns. Longer lists are shown as a table.
const MAX_LIST: usize = 71;

/// Limit on the lines queued for the log file, so that a slow disk does not exhaust the memory.
const MAX_WAITING_FOR_FILE: usize = 32 * 1024;

/// A line of the log.
#[derive(Clone)]
pub(crate) enum Entry {
    /// An event in the room.
    Record(Arc<Record>),
    /// A client connected.
    Connected(SocketAddr),
    /// A client resumed the session of the member with this name.
    Returned(SocketAddr, Text),
    /// A connection ended before its client joined.
    Disconnected(SocketAddr, LoginOutcome),
    /// A message to the operator that is shown without a time.
    Plain(String),
    /// The echo of a line typed on the console.
    Typed(String),
    /// An answer to the operator's command.
    Answer(Answer),
    /// An error that the operator should know about.
    Error(String),
}

/// How a connection ended without joining.
#[derive(Clone)]
pub(crate) enum LoginOutcome {
    /// The client was asked for the password.
    PasswordNeeded,
    /// The client asked to resume a session that the server does not know.
    UnknownSession,
    /// The client left or was rejected. Contains the last error sent to the client, if any.
    Left(Option<Text>),
}

/// The log. None of its methods waits for the terminal, except [`Log::finish`].
pub(crate) struct Log {
    poster: Poster,
    threads: Vec<JoinHandle<()>>,
}

/// A handle that adds lines to the log, for threads that may outlive the [`Log`].
#[derive(Clone)]
pub(crate) struct Poster(Arc<Shared>);

#[derive(Default)]
struct Shared {
    /// The queue and its flags. No other lock is taken while this one is held.
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// The queued entries, each with its time and the color of the name in the entry, if there is a
    /// name.
    waiting: Vec<(Timestamp, Entry, Option<Color>)>,
    /// Number of lines dropped because the queue was full.
    lost: u64,
    /// The queue of the log file, if there is one.
    file: Option<FileQueue>,
    /// The members in the room after the last event posted.
    members: BTreeMap<MemberId, Text>,
    /// The members' colors. Updated when an event is posted and not when it is printed, because a
    /// dropped event is never printed, but may change the colors too.
    colors: NameColors,
    /// A console to show below the log, until the log's thread takes it.
    console: Option<Arc<Console>>,
    /// Whether the console has to be drawn again.
    is_console_stale: bool,
    /// Whether the log's threads must show all queued entries and exit.
    closing: bool,
    /// Number of the log's threads that have shown all entries and are about to exit.
    over: usize,
}

/// Entries for the log file, which has a thread of its own: a terminal whose output is stopped must
/// not hold up the file, and a slow disk must not hold up the terminal.
#[derive(Default)]
struct FileQueue {
    waiting: Vec<(Timestamp, Entry)>,
    /// Number of entries dropped because the queue was full.
    lost: u64,
}

impl FileQueue {
    fn push(&mut self, time: Timestamp, entry: Entry) {
        if self.waiting.len() < MAX_WAITING_FOR_FILE {
            self.waiting.push((time, entry));
        } else {
            self.lost += 1;
        }
    }
}

impl State {
    fn push(&mut self, time: Timestamp, entry: Entry) {
        let mut color = None;
        if let Entry::Record(record) = &entry {
            color = self.colors.event(&record.event);
            match &record.event {
                Event::Joined(member) => {
                    self.members.insert(member.id, member.name.clone());
                }
                Event::Renamed { id, to, .. } => {
                    self.members.insert(*id, to.clone());
                }
                Event::Left { id, .. } => {
                    self.members.remove(id);
                }
                Event::Message { .. } | Event::Server { .. } | Event::Shutdown => {}
            }
        }
        if let Some(file) = &mut self.file {
            file.push(time, entry.clone());
        }
        if self.waiting.len() < MAX_WAITING {
            self.waiting.push((time, entry, color));
        } else {
            self.lost += 1;
        }
    }
}

impl Log {
    /// Starts the log's thread, which prints to stdout. If `to_launcher`, the thread also prints
    /// the number and the names of the members whenever they change, as [`ServerLine`].
    /// If there is a `file`, the thread `log-file` writes the log to it as well.
    pub(crate) fn start(colored: bool, to_launcher: bool, file: Option<LogFile>) -> Result<Self> {
        let poster = Poster(Arc::default());
        let shared = Arc::clone(&poster.0);
        shared.state.lock().colors.fit_terminal(|| None);
        shared.state.lock().file = file.is_some().then(FileQueue::default);
        let line = if colored {
            Buffer::ansi()
        } else {
            Buffer::no_color()
        };
        let spawn = |name: &str| thread::Builder::new().name(name.into());
        let thread = spawn("log").spawn(move || print(&shared, line, to_launcher));
        let mut threads = vec![thread.context(os::NO_THREAD)?];
        if let Some(file) = file {
            let poster = poster.clone();
            let thread = spawn("log-file").spawn(move || write_file(&poster, file));
            threads.push(thread.context(os::NO_THREAD)?);
        }
        Ok(Self { poster, threads })
    }

    /// Creates a log that only collects its entries, for tests.
    #[cfg(any(test, shuttle))]
    pub(crate) fn silent() -> Self {
        Self {
            poster: Poster(Arc::default()),
            threads: Vec::new(),
        }
    }

    #[cfg(shuttle)]
    pub(crate) fn into_entries(self) -> Vec<Entry> {
        let waiting = std::mem::take(&mut self.poster.0.state.lock().waiting);
        waiting.into_iter().map(|(_, entry, _)| entry).collect()
    }

    /// A handle for threads that may outlive this log.
    pub(crate) fn poster(&self) -> Poster {
        self.poster.clone()
    }

    /// Shows a console below the log.
    pub(crate) fn attach(&self, console: Arc<Console>) {
        self.poster.0.state.lock().console = Some(console);
        self.poster.redraw();
    }

    /// Queues `entry` and wakes the log's thread to show it. If the queue is full, drops and counts
    /// the entry.
    pub(crate) fn post(&self, entry: Entry) {
        self.poster.post(entry);
    }

    /// Queues `entry` without waking the log's thread: the entry is shown with the next posted
    /// entry or by [`Log::show_queued`]. If the queue is full, drops and counts the entry.
    pub(crate) fn note(&self, entry: Entry) {
        self.poster.note(entry);
    }

    /// Moves all `records` to the queue without waking the log's thread, which would compete with
    /// the caller for the processor. They are shown with the next posted entry or by
    /// [`Log::show_queued`]. If the queue is full, drops and counts the records that do not fit.
    pub(crate) fn queue(&self, records: &mut Vec<Arc<Record>>) {
        if records.is_empty() {
            return;
        }
        let mut state = self.poster.0.state.lock();
        let now = Timestamp::now();
        for record in records.drain(..) {
            state.push(now, Entry::Record(record));
        }
    }

    /// Wakes the log's thread to show the queued entries.
    pub(crate) fn show_queued(&self) {
        self.poster.0.changed.notify_all();
    }

    /// Shows the queued entries and removes the console. If the terminal accepts no output, returns
    /// after a time limit, and the log's thread runs until the program exits.
    pub(crate) fn finish(self) {
        let shared = &self.poster.0;
        let mut state = shared.state.lock();
        state.closing = true;
        shared.changed.notify_all();
        let state = shared
            .changed
            .wait_timeout_while(state, LAST_LINES, |state| state.over < self.threads.len());
        let is_over = state.over == self.threads.len();
        drop(state);
        if is_over {
            // Waiting for these threads does not take long, because they are about to exit.
            for thread in self.threads {
                let _ = thread.join();
            }
        }
    }
}

impl Poster {
    /// Queues `entry` and wakes the log's thread, like [`Log::post`].
    pub(crate) fn post(&self, entry: Entry) {
        self.note(entry);
        self.0.changed.notify_all();
    }

    fn note(&self, entry: Entry) {
        let mut state = self.0.state.lock();
        // Read the clock under the lock, so that times in the log never go back. An event's own
        // time could be earlier than the time of an entry that is already queued.
        let now = Timestamp::now();
        state.push(now, entry);
    }

    /// Makes the log's thread draw the console again.
    pub(crate) fn redraw(&self) {
        self.0.state.lock().is_console_stale = true;
        self.0.changed.notify_all();
    }

    /// The members' names, for completion with Tab.
    pub(crate) fn names(&self) -> Vec<String> {
        let state = self.0.state.lock();
        let names = state.members.values();
        names.map(|name| name.as_str().to_owned()).collect()
    }
}

/// Prints entries until the log is finished. `line` is the buffer in which each entry is formatted.
fn print(shared: &Shared, mut line: Buffer, to_launcher: bool) {
    let mut clock = Clock::new("%H:%M:%S");
    let mut output = LogOutput::new();
    let mut entries = Vec::new();
    let mut last_online = 0;
    loop {
        let state = shared.state.lock();
        let is_idle = |state: &mut State| {
            state.waiting.is_empty() && !state.is_console_stale && !state.closing
        };
        let mut state = match output.wait() {
            None => shared.changed.wait_while(state, is_idle),
            Some(time) => shared.changed.wait_timeout_while(state, time, is_idle),
        };
        let is_over = state.waiting.is_empty() && state.closing;
        std::mem::swap(&mut state.waiting, &mut entries);
        let lost = std::mem::take(&mut state.lost);
        let online = state.members.len();
        let console = state.console.take();
        state.is_console_stale = false;
        drop(state);
        // Ignore errors from here on: the room continues without the terminal.
        if is_over {
            let _ = output.detach();
            shared.state.lock().over += 1;
            shared.changed.notify_all();
            return;
        }
        let _ = output.update();
        let mut show = |line: &mut Buffer| {
            let _ = output.write(line.as_slice());
            line.clear();
        };
        let mut changed_online = (to_launcher && online != last_online).then_some(online);
        last_online = online;
        for (time, entry, color) in entries.drain(..) {
            // Print the number of members before the entries: when the launcher shows that a member
            // has joined, it must already know the new number.
            if matches!(entry, Entry::Record(_))
                && let Some(online) = changed_online.take()
            {
                let _ = writeln!(line, "{}", ServerLine::Online(online));
                show(&mut line);
            }
            if to_launcher && let Entry::Record(record) = &entry {
                for change in name_changes(&record.event).into_iter().flatten() {
                    let _ = writeln!(line, "{change}");
                    show(&mut line);
                }
            }
            let _ = write_entry(&mut line, &mut clock, time, &entry, color);
            show(&mut line);
        }
        if lost > 0 {
            let lost = style::counted(lost, "line");
            let text = format!("{lost} not shown: this terminal does not keep up");
            let _ = style::paint(&mut line, Color::Yellow, &text);
            let _ = line.write_all(b"\n");
            show(&mut line);
        }
        if let Some(online) = changed_online {
            let _ = writeln!(line, "{}", ServerLine::Online(online));
            show(&mut line);
        }
        // Attach the console only after the first lines are printed, so that a program that reads
        // them through a pseudoterminal finds no escape sequences before the first line.
        if let Some(console) = console {
            output.attach(console);
            let _ = output.update();
        }
        let _ = output.flush();
    }
}

/// The names that an event removes from and adds to the room, for the launcher.
fn name_changes(event: &Event) -> [Option<ServerLine<'_>>; 2] {
    match event {
        Event::Joined(member) => [None, Some(ServerLine::Joined(member.name.as_str()))],
        Event::Left { name, .. } => [Some(ServerLine::Left(name.as_str())), None],
        Event::Renamed { from, to, .. } => [
            Some(ServerLine::Left(from.as_str())),
            Some(ServerLine::Joined(to.as_str())),
        ],
        Event::Message { .. } | Event::Server { .. } | Event::Shutdown => [None, None],
    }
}

/// Appends entries to the log file until the log is finished.
fn write_file(poster: &Poster, mut file: LogFile) {
    let shared = &poster.0;
    let mut clock = Clock::new("%Y-%m-%d %H:%M:%S");
    let mut lines = Buffer::no_color();
    loop {
        let state = shared.state.lock();
        let mut state = shared.changed.wait_while(state, |state| {
            let queue = state.file.as_ref();
            queue.is_some_and(|queue| queue.waiting.is_empty()) && !state.closing
        });
        let is_closing = state.closing;
        let FileQueue { waiting, lost } =
            state.file.replace(FileQueue::default()).unwrap_or_default();
        drop(state);
        if waiting.is_empty() && is_closing {
            shared.state.lock().over += 1;
            shared.changed.notify_all();
            return;
        }
        for (time, entry) in waiting {
            // Writing to a buffer does not fail.
            let _ = write!(lines, "{} ", clock.show(time));
            let _ = write_text(&mut lines, &entry, None);
        }
        if let Some(change) = file.append(lines.as_slice(), lost) {
            poster.post(Entry::Error(change.to_string()));
        }
        lines.clear();
    }
}

/// Formats the local time of day. Caches the text for the current second, because formatting the
/// time takes longer than writing a line.
struct Clock {
    zone: TimeZone,
    /// The format of the time, as for strftime(3).
    format: &'static str,
    second: i64,
    shown: String,
}

impl Clock {
    fn new(format: &'static str) -> Self {
        Self {
            zone: TimeZone::system(),
            format,
            second: i64::MIN,
            shown: String::new(),
        }
    }

    fn show(&mut self, time: Timestamp) -> &str {
        if self.second != time.as_second() {
            self.second = time.as_second();
            let local = time.to_zoned(self.zone.clone());
            self.shown = local.strftime(self.format).to_string();
        }
        &self.shown
    }
}

fn write_entry(
    out: &mut dyn WriteColor,
    clock: &mut Clock,
    time: Timestamp,
    entry: &Entry,
    name: Option<Color>,
) -> io::Result<()> {
    if let Entry::Answer(answer @ Answer::Online { count, members }) = entry
        && wrap::width(&answer.to_string()) > MAX_LIST
    {
        return write_members(out, clock.show(time), *count, members);
    }
    // Show these lines without a time: messages to the operator, the echo of a typed line, and the
    // help, because it has several lines.
    let has_time = !matches!(
        entry,
        Entry::Plain(_) | Entry::Typed(_) | Entry::Answer(Answer::Help(_))
    );
    if has_time {
        write!(out, "{} ", clock.show(time))?;
    }
    write_text(out, entry, name)
}

/// Writes the members online as a table. The table is one line, so that it can be wrapped to any
/// width. The line begins with the time like other lines, so all rows get the same indent.
fn write_members(
    out: &mut dyn WriteColor,
    time: &str,
    count: usize,
    members: &[Listed],
) -> io::Result<()> {
    let mut colors = NameColors::default();
    colors.fit_terminal(|| None);
    colors.learn_all(members);
    write!(out, "{time} * {count} online\n{time} ")?;
    member_table::write(out, members, &colors)?;
    out.write_all(b"\n")?;
    match count - members.len() {
        0 => Ok(()),
        more => writeln!(out, "{time} * and {more} more"),
    }
}

/// Writes an entry without its time.
fn write_text(out: &mut dyn WriteColor, entry: &Entry, name: Option<Color>) -> io::Result<()> {
    match entry {
        Entry::Record(record) => style::paint_event(out, &record.event, name)?,
        Entry::Connected(peer) => write!(out, "{} connected", Peer(peer))?,
        Entry::Returned(peer, name) => write!(out, "{} is {name}, who came back", Peer(peer))?,
        Entry::Disconnected(peer, outcome) => write!(out, "{} {outcome}", Peer(peer))?,
        Entry::Plain(text) => out.write_all(text.as_bytes())?,
        Entry::Typed(line) => {
            out.set_color(&style::quiet())?;
            write!(out, "{PROMPT}{line}")?;
            out.reset()?;
        }
        Entry::Answer(error @ Answer::Error(_)) => {
            style::paint(out, Color::Yellow, &error.to_string())?;
        }
        Entry::Answer(answer) => write!(out, "{answer}")?,
        Entry::Error(text) => style::paint(out, Color::Yellow, &format!("! {text}"))?,
    }
    out.write_all(b"\n")
}

impl Display for LoginOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PasswordNeeded => f.write_str("was asked for the password"),
            Self::UnknownSession => f.write_str("asked to resume an unknown session"),
            Self::Left(None) => f.write_str("left before joining"),
            Self::Left(Some(error)) => {
                // Leave out the part of the error after the colon, which is advice for the client's
                // user.
                let error = error.as_str();
                let reason = error.rsplit_once(": ").map_or(error, |(reason, _)| reason);
                write!(f, "left before joining ({reason})")
            }
        }
    }
}

/// A peer's address. Formatted as IPv4 if it is an IPv4-mapped IPv6 address (RFC 4291, section
/// 2.5.5.2).
struct Peer<'a>(&'a SocketAddr);

impl Display for Peer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        canonical(*self.0).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    #[test]
    fn the_times_of_log_lines_are_in_order() {
        let poster = Poster(Arc::default());
        let log = Log {
            poster: poster.clone(),
            threads: Vec::new(),
        };
        let before = Timestamp::try_from(SystemTime::now() - Duration::from_secs(2)).unwrap();
        let record = Record {
            seq: 1,
            time: before,
            event: Event::Shutdown,
        };
        log.post(Entry::Plain("a line".into()));
        log.queue(&mut vec![Arc::new(record)]);
        let state = poster.0.state.lock();
        assert!(state.waiting.is_sorted_by_key(|(time, _, _)| *time));
    }
}
