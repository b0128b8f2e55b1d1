//! What the operator sees: each thing that happens, on stdout, by a thread of its own.
//!
//! The operator's terminal is a slow peer too: it may be stopped, or its pipe may be gone. So nobody waits for
//! it; what it does not take in time is counted, and the count is shown when it takes something again.

use std::fmt::{self, Display};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender, TrySendError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use termcolor::{Color, ColorChoice, WriteColor};

use crate::protocol::event::{Answer, Record};
use crate::style;

/// Lines that may wait for the terminal.
const MAX_WAITING: usize = 1024;

/// How long the end of the program waits for a terminal that takes nothing.
const LAST_LINES: Duration = Duration::from_millis(500);

/// A line of the log.
pub(super) enum Entry {
    /// Something happened in the room.
    Record(Arc<Record>),
    /// Somebody connected.
    Connected(SocketAddr),
    /// Somebody is gone who never had a name.
    Disconnected(SocketAddr),
    /// What the operator is told, without a time.
    Plain(String),
    /// An answer to the operator's command.
    Answer(Answer),
    /// Something went wrong.
    Error(String),
}

/// The way to the log. Any thread may use it, and never waits.
pub(super) struct Log {
    entries: SyncSender<(Timestamp, Entry)>,
    lost: Arc<AtomicU64>,
}

/// The end of the log.
pub(super) struct Printing {
    thread: JoinHandle<()>,
    over: Receiver<()>,
}

impl Log {
    /// Begins to print to stdout.
    pub(super) fn start(coloured: bool) -> Result<(Self, Printing)> {
        let (entries, waiting) = mpsc::sync_channel(MAX_WAITING);
        let (ending, over) = mpsc::channel();
        let lost = Arc::new(AtomicU64::new(0));
        let choice = if coloured {
            ColorChoice::Always
        } else {
            ColorChoice::Never
        };
        let unseen = Arc::clone(&lost);
        let print = move || {
            print(&waiting, &unseen, choice);
            // Nobody may be waiting.
            let _ = ending.send(());
        };
        let thread = thread::Builder::new()
            .name("log".into())
            .spawn(print)
            .context("cannot start a thread: end other programs, or raise `ulimit -u`")?;
        Ok((Self { entries, lost }, Printing { thread, over }))
    }

    /// Shows `entry`, or counts it where the terminal does not keep up.
    pub(super) fn post(&self, entry: Entry) {
        match self.entries.try_send((Timestamp::now(), entry)) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                self.lost.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

impl Printing {
    /// Waits until all is shown, but not for a terminal that takes nothing: its thread ends with the program.
    /// The [`Log`] must be gone.
    pub(super) fn finish(self) {
        if self.over.recv_timeout(LAST_LINES).is_ok() {
            // It has ended.
            let _ = self.thread.join();
        }
    }
}

fn print(waiting: &Receiver<(Timestamp, Entry)>, lost: &AtomicU64, choice: ColorChoice) {
    let zone = TimeZone::system();
    let mut out = termcolor::BufferedStandardStream::stdout(choice);
    while let Ok(first) = waiting.recv() {
        for (time, entry) in std::iter::once(first).chain(waiting.try_iter()) {
            // Into memory; an error is seen at the flush.
            let _ = write_entry(&mut out, &zone, time, &entry);
        }
        let unseen = lost.swap(0, Ordering::Relaxed);
        if unseen > 0 {
            let text = format!("{unseen} lines not shown: this terminal does not keep up\n");
            let _ = style::paint(&mut out, Color::Yellow, &text);
        }
        // A terminal that is gone is no reason to end: the room goes on.
        let _ = out.flush();
    }
}

fn write_entry(
    out: &mut dyn WriteColor,
    zone: &TimeZone,
    time: Timestamp,
    entry: &Entry,
) -> io::Result<()> {
    if !matches!(entry, Entry::Plain(_)) {
        write!(out, "{} ", time.to_zoned(zone.clone()).strftime("%H:%M:%S"))?;
    }
    match entry {
        Entry::Record(record) => style::paint_event(out, &record.event)?,
        Entry::Connected(peer) => write!(out, "{} connected", Peer(peer))?,
        Entry::Disconnected(peer) => write!(out, "{} is gone, without a name", Peer(peer))?,
        Entry::Plain(text) => out.write_all(text.as_bytes())?,
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
