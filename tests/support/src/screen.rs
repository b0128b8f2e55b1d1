//! A program on a terminal of any size: a pseudo-terminal whose output an emulator shows.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use portable_pty::{
    Child, CommandBuilder, ExitStatus, MasterPty, PtyPair, PtySize, native_pty_system,
};

use crate::DEADLINE;
use crate::emulation::Emulation;
use crate::terminal::command_builder;
use crate::wait::wait_at_most;

/// Output so far, shared with the thread that reads it.
struct Seen {
    emulation: Emulation,
    bytes: Vec<u8>,
}

/// A program on a terminal, killed on drop.
pub struct Screen {
    child: Box<dyn Child + Send + Sync>,
    keyboard: Box<dyn Write + Send>,
    terminal: Box<dyn MasterPty + Send>,
    /// Held open so that the terminal's modes can be read after the program has exited.
    _slave: Box<dyn portable_pty::SlavePty + Send>,
    seen: Arc<Mutex<Seen>>,
}

impl Screen {
    /// Starts `command` on a terminal of `columns` and `rows`.
    #[track_caller]
    pub fn start(command: &Command, columns: u16, rows: u16) -> Self {
        Self::start_built(command_builder(command), command, columns, rows)
    }

    /// Starts `command` on a terminal that is the controlling terminal of no process.
    #[track_caller]
    pub fn start_uncontrolled(command: &Command, columns: u16, rows: u16) -> Self {
        let mut builder = command_builder(command);
        builder.set_controlling_tty(false);
        Self::start_built(builder, command, columns, rows)
    }

    #[track_caller]
    fn start_built(
        mut builder: CommandBuilder,
        command: &Command,
        columns: u16,
        rows: u16,
    ) -> Self {
        builder.cwd(
            command
                .get_current_dir()
                .map_or_else(|| std::env::current_dir().expect("a directory"), Into::into),
        );
        let PtyPair { master, slave } = native_pty_system()
            .openpty(size(columns, rows))
            .expect("a terminal");
        let child = slave.spawn_command(builder).expect("it starts");
        let seen = Arc::new(Mutex::new(Seen {
            emulation: Emulation::new(columns, rows),
            bytes: Vec::new(),
        }));
        let mut reader = master.try_clone_reader().expect("a reader");
        let into = Arc::clone(&seen);
        thread::spawn(move || {
            let (mut buffer, mut held) = ([0; 8192], Vec::new());
            while let Ok(count @ 1..) = reader.read(&mut buffer) {
                let mut seen = lock(&into);
                seen.bytes.extend_from_slice(&buffer[..count]);
                held.extend_from_slice(&buffer[..count]);
                let whole = complete_updates(&held);
                seen.emulation.write(&held[..whole]);
                held.drain(..whole);
            }
            let mut seen = lock(&into);
            seen.emulation.write(&held);
        });
        Self {
            child,
            keyboard: master.take_writer().expect("a writer"),
            terminal: master,
            _slave: slave,
            seen,
        }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        lock(&self.seen)
    }

    pub fn pid(&self) -> u32 {
        self.child.process_id().expect("it was started")
    }

    /// Types keys: `\r` is Enter, `\x03` is Ctrl+C, `\x1b[A` is the up arrow.
    #[track_caller]
    pub fn type_keys(&mut self, keys: &str) {
        self.keyboard
            .write_all(keys.as_bytes())
            .expect("the terminal is there");
    }

    /// Resizes the terminal and the emulator.
    #[track_caller]
    pub fn resize(&mut self, columns: u16, rows: u16) {
        // The emulator first, so that output for the new size never meets the old size.
        self.seen().emulation.resize(columns, rows);
        self.terminal
            .resize(size(columns, rows))
            .expect("the terminal is there");
    }

    /// Text on the screen, one line per row, without trailing spaces.
    pub fn text(&self) -> String {
        self.seen().emulation.text()
    }

    /// Rows in the scrollback and on the screen; see [`Emulation::all_rows`].
    pub fn all_rows(&self) -> Vec<String> {
        self.seen().emulation.all_rows()
    }

    /// All bytes written to the terminal so far.
    pub fn bytes(&self) -> Vec<u8> {
        self.seen().bytes.clone()
    }

    /// Calls `inspect` with the emulated screen, for its colors, cursor and modes.
    pub fn inspect<T>(&self, inspect: impl FnOnce(&vt100::Screen) -> T) -> T {
        inspect(self.seen().emulation.screen())
    }

    /// The distinct requests beyond showing text; see [`Emulation::requests`].
    pub fn requests(&self) -> BTreeSet<String> {
        self.seen().emulation.requests().clone()
    }

    /// Modes of the terminal line, as text for comparison.
    pub fn modes(&self) -> String {
        format!("{:?}", self.terminal.get_termios())
    }

    /// Waits until `found` returns a value for the screen's text.
    #[track_caller]
    pub fn wait<T>(&self, what: &str, mut found: impl FnMut(&str) -> Option<T>) -> T {
        wait_at_most(DEADLINE, what, || self.text(), || found(&self.text()))
    }

    /// Waits until the screen contains `part`.
    #[track_caller]
    pub fn expect(&self, part: &str) {
        self.wait(&format!("{part:?}"), |text| {
            text.contains(part).then_some(())
        });
    }

    /// Waits until the screen does not contain `part`.
    #[track_caller]
    pub fn expect_gone(&self, part: &str) {
        self.wait(&format!("the end of {part:?}"), |text| {
            (!text.contains(part)).then_some(())
        });
    }

    /// Waits until the screen shows exactly `expected`, after `normalize` has replaced the parts
    /// that differ in every run.
    #[track_caller]
    pub fn expect_screen(&self, expected: &str, normalize: impl Fn(&str) -> String) {
        let expected = expected.trim_matches('\n');
        self.wait(&format!("this screen:\n{expected}\n"), |text| {
            (normalize(text).trim_end_matches('\n') == expected).then_some(())
        });
    }

    /// Waits until the last row that isn't empty is `expected`.
    #[track_caller]
    pub fn expect_last_row(&self, expected: &str) {
        self.wait(&format!("the last row {expected:?}"), |text| {
            (last_row(text) == expected).then_some(())
        });
    }

    /// Waits until a server says which address it listens on.
    #[track_caller]
    pub fn expect_address(&self) -> SocketAddr {
        self.wait("the address", |text| {
            let mut lines = text.lines();
            let line = lines.find_map(|line| line.strip_prefix("listening on "));
            line?.trim().parse().ok()
        })
    }

    /// Waits until the program has exited.
    #[track_caller]
    pub fn end(&mut self) -> ExitStatus {
        let Self { child, seen, .. } = self;
        let text = || lock(seen).emulation.text();
        wait_at_most(DEADLINE, "the program's exit", text, || {
            child.try_wait().expect("it can be waited for")
        })
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        if !matches!(self.child.try_wait(), Ok(Some(_))) {
            // It may have exited since.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// The last row of `text` that isn't empty.
pub fn last_row(text: &str) -> &str {
    text.trim_end().lines().last().unwrap_or_default()
}

/// Length of the part of `bytes` that a terminal shows: without an unfinished synchronized update
/// (DEC private mode 2026).
fn complete_updates(bytes: &[u8]) -> usize {
    let last = |mark: &[u8]| bytes.windows(mark.len()).rposition(|part| part == mark);
    match (last(b"\x1b[?2026h"), last(b"\x1b[?2026l")) {
        (Some(begin), None) => begin,
        (Some(begin), Some(end)) if begin > end => begin,
        (Some(_) | None, Some(_) | None) => bytes.len(),
    }
}

fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

fn size(columns: u16, rows: u16) -> PtySize {
    PtySize {
        rows,
        cols: columns,
        ..PtySize::default()
    }
}
