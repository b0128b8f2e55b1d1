//! What the operator sees: each thing that happens, on stdout, by a thread of its own.
//!
//! The operator's terminal is a slow peer too: it may be stopped, or its pipe may be gone. So nobody waits for
//! it; what it does not take in time is counted, and the count is shown when it takes something again.

use std::fmt::{self, Display};
use std::io::{self, BufWriter, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use termcolor::{Buffer, Color, WriteColor};

use crate::os;
use crate::protocol::console::ServerLine;
use crate::protocol::event::{Answer, Event, Record};
use crate::protocol::text::Text;
use crate::sync::thread::{self, JoinHandle};
use crate::sync::{Condvar, Mutex};
use crate::tty;
use crate::tty::log_wrap;
use crate::tty::style;

/// Lines that may wait for the terminal.
const MAX_WAITING: usize = 4096;

/// How long the end of the program waits for a terminal that takes nothing.
const LAST_LINES: Duration = Duration::from_millis(500);

/// A line of the log.
pub(crate) enum Entry {
    /// Something happened in the room.
    Record(Arc<Record>),
    /// Somebody connected.
    Connected(SocketAddr),
    /// The member of this name came back.
    Returned(SocketAddr, Text),
    /// Somebody is gone who never had a name; with what was said last against it, if anything.
    Disconnected(SocketAddr, Option<Text>),
    /// What the operator is told, without a time.
    Plain(String),
    /// An answer to the operator's command.
    Answer(Answer),
    /// Something went wrong.
    Error(String),
}

/// The way to the log. Any thread may use it, and never waits for the terminal.
pub(crate) struct Log {
    shared: Arc<Shared>,
    thread: JoinHandle<()>,
}

#[derive(Default)]
struct Shared {
    /// Guards what waits; no other lock is taken while it is held.
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    waiting: Vec<(Timestamp, Entry)>,
    /// Lines that came when too many were waiting.
    lost: u64,
    /// Members who are here, as far as the log has been told.
    online: usize,
    closing: bool,
    over: bool,
}

impl Shared {}

impl State {
    fn push(&mut self, time: Timestamp, entry: Entry) {
        if let Entry::Record(record) = &entry {
            if let Event::Joined(_) = record.event {
                self.online += 1;
            } else if let Event::Left { .. } = record.event {
                self.online = self.online.saturating_sub(1);
            }
        }
        if self.waiting.len() < MAX_WAITING {
            self.waiting.push((time, entry));
        } else {
            self.lost += 1;
        }
    }
}

impl Log {
    /// Begins to print to stdout; with [`ServerLine::Online`], if that is a launcher's.
    pub(crate) fn start(coloured: bool, to_launcher: bool) -> Result<Self> {
        let shared = Arc::new(Shared::default());
        let printing = Arc::clone(&shared);
        let line = match coloured {
            true => Buffer::ansi(),
            false => Buffer::no_color(),
        };
        let thread = thread::Builder::new()
            .name("log".into())
            .spawn(move || print(&printing, line, to_launcher))
            .context(os::NO_THREAD)?;
        Ok(Self { shared, thread })
    }

    /// Shows `entry`, or counts it where the terminal does not keep up.
    pub(crate) fn post(&self, entry: Entry) {
        self.note(entry);
        self.show_queued();
    }

    /// Takes `entry`, or counts it. It is shown with what comes next, or by [`Log::show_queued`].
    pub(crate) fn note(&self, entry: Entry) {
        let mut state = self.shared.state.lock();
        // Under the lock, so that the times stand in order: what the room has recorded comes here a little later than it happened, and something else
        // may have come before.
        let now = Timestamp::now();
        state.push(now, entry);
    }

    /// Takes all of `records`, or counts them, and leaves none of them there. They are shown with what comes next, or
    /// by [`Log::show_queued`]: the log's thread is not to compete with what the caller has to do first.
    pub(crate) fn queue(&self, records: &mut Vec<Arc<Record>>) {
        if records.is_empty() {
            return;
        }
        let mut state = self.shared.state.lock();
        let now = Timestamp::now();
        for record in records.drain(..) {
            state.push(now, Entry::Record(record));
        }
    }

    /// Shows what was queued.
    pub(crate) fn show_queued(&self) {
        self.shared.changed.notify_all();
    }

    /// Waits until all is shown, but not for a terminal that takes nothing: its thread ends with the program.
    pub(crate) fn finish(self) {
        let mut state = self.shared.state.lock();
        state.closing = true;
        self.shared.changed.notify_all();
        let waited = self
            .shared
            .changed
            .wait_timeout_while(state, LAST_LINES, |state| !state.over);
        if waited.over {
            // It has ended.
            let _ = self.thread.join();
        }
    }
}

/// Prints what comes, each line of it made in `line`.
fn print(shared: &Shared, mut line: Buffer, to_launcher: bool) {
    let mut clock = Clock::new();
    let mut out = BufWriter::new(io::stdout());
    let mut entries = Vec::new();
    let mut told = 0;
    loop {
        let mut state = shared.changed.wait_while(shared.state.lock(), |state| {
            state.waiting.is_empty() && !state.closing
        });
        if state.waiting.is_empty() {
            state.over = true;
            shared.changed.notify_all();
            return;
        }
        std::mem::swap(&mut state.waiting, &mut entries);
        let lost = std::mem::take(&mut state.lost);
        let online = state.online;
        drop(state);
        let columns = tty::columns(out.get_ref());
        let mut show = |line: &mut Buffer| {
            // Into memory, here and below; an error is seen at the flush.
            let _ = out.write_all(&log_wrap::fitting(line.as_slice(), columns));
            line.clear();
        };
        for (time, entry) in entries.drain(..) {
            let _ = write_entry(&mut line, &mut clock, time, &entry);
            show(&mut line);
        }
        if lost > 0 {
            let text = format!("{lost} lines not shown: this terminal does not keep up");
            let _ = style::paint(&mut line, Color::Yellow, &text);
            let _ = line.write_all(b"\n");
            show(&mut line);
        }
        if to_launcher && online != told {
            let _ = writeln!(out, "{}", ServerLine::Online(online));
            told = online;
        }
        // A terminal that is gone is no reason to end: the room goes on.
        let _ = out.flush();
    }
}

/// The local time of day, which costs more to find than a line to write: once a second has to do.
struct Clock {
    zone: TimeZone,
    second: i64,
    shown: String,
}

impl Clock {
    fn new() -> Self {
        Self {
            zone: TimeZone::system(),
            second: i64::MIN,
            shown: String::new(),
        }
    }

    fn show(&mut self, time: Timestamp) -> &str {
        if self.second != time.as_second() {
            self.second = time.as_second();
            let local = time.to_zoned(self.zone.clone());
            self.shown = local.strftime("%H:%M:%S").to_string();
        }
        &self.shown
    }
}

fn write_entry(
    out: &mut dyn WriteColor,
    clock: &mut Clock,
    time: Timestamp,
    entry: &Entry,
) -> io::Result<()> {
    // A list of commands has several lines, and is nothing that has happened.
    if !matches!(entry, Entry::Plain(_) | Entry::Answer(Answer::Help(_))) {
        write!(out, "{} ", clock.show(time))?;
    }
    match entry {
        Entry::Record(record) => style::paint_event(out, &record.event)?,
        Entry::Connected(peer) => write!(out, "{} connected", Peer(peer))?,
        Entry::Returned(peer, name) => write!(out, "{} is {name}, who came back", Peer(peer))?,
        Entry::Disconnected(peer, reason) => {
            write!(out, "{} is gone, without a name", Peer(peer))?;
            if let Some(reason) = reason {
                write!(out, ": {reason}")?;
            }
        }
        Entry::Plain(text) => out.write_all(text.as_bytes())?,
        Entry::Answer(error @ Answer::Error(_)) => {
            style::paint(out, Color::Yellow, &error.to_string())?;
        }
        Entry::Answer(answer) => write!(out, "{answer}")?,
        Entry::Error(text) => style::paint(out, Color::Yellow, &format!("! {text}"))?,
    }
    out.write_all(b"\n")
}

/// Where somebody connects from: an IPv4 address that comes to an IPv6 socket as what it is (RFC 4291, 2.5.5.2).
struct Peer<'a>(&'a SocketAddr);

impl Display for Peer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        SocketAddr::new(self.0.ip().to_canonical(), self.0.port()).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    #[test]
    fn times_stand_in_the_order_of_the_lines() {
        let shared = Arc::new(Shared::default());
        let log = Log {
            shared: Arc::clone(&shared),
            thread: thread::spawn(|| {}),
        };
        let before = Timestamp::try_from(SystemTime::now() - Duration::from_secs(2)).unwrap();
        let record = Record {
            seq: 1,
            time: before,
            event: Event::Shutdown,
        };
        log.post(Entry::Plain("a line".into()));
        log.queue(&mut vec![Arc::new(record)]);
        let state = shared.state.lock();
        assert!(state.waiting.is_sorted_by_key(|(time, _)| *time));
    }
}
