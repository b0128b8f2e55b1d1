//! A program on a terminal of any size, and what stands on its screen: a pseudo-terminal, and an emulation that reads it.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use portable_pty::{
    Child, CommandBuilder, ExitStatus, MasterPty, PtyPair, PtySize, native_pty_system,
};

use crate::DEADLINE;
use crate::emulation::Emulation;

/// How often a screen is looked at again.
const LOOK: Duration = Duration::from_millis(5);

/// What the emulation and the reader share.
struct Seen {
    emulation: Emulation,
    bytes: Vec<u8>,
}

/// A program on a terminal. It is killed when this is dropped.
pub struct Screen {
    child: Box<dyn Child + Send + Sync>,
    keyboard: Box<dyn Write + Send>,
    terminal: Box<dyn MasterPty + Send>,
    /// Held open, so that the terminal can be looked at when the program has ended.
    _other_side: Box<dyn portable_pty::SlavePty + Send>,
    seen: Arc<Mutex<Seen>>,
}

impl Screen {
    /// Starts `command` on a terminal of `columns` and `rows`.
    #[track_caller]
    pub fn start(command: &Command, columns: u16, rows: u16) -> Self {
        let mut builder = CommandBuilder::new(command.get_program());
        builder.args(command.get_args());
        builder.cwd(
            command
                .get_current_dir()
                .map_or_else(|| std::env::current_dir().expect("a folder"), Into::into),
        );
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => builder.env(name, value),
                None => builder.env_remove(name),
            }
        }
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
                let mut seen = into.lock().unwrap_or_else(PoisonError::into_inner);
                seen.bytes.extend_from_slice(&buffer[..count]);
                held.extend_from_slice(&buffer[..count]);
                let whole = shown_at_once(&held);
                seen.emulation.write(&held[..whole]);
                held.drain(..whole);
            }
            let mut seen = into.lock().unwrap_or_else(PoisonError::into_inner);
            seen.emulation.write(&held);
        });
        Self {
            child,
            keyboard: master.take_writer().expect("a writer"),
            terminal: master,
            _other_side: slave,
            seen,
        }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The id of its process.
    pub fn pid(&self) -> u32 {
        self.child.process_id().expect("it was started")
    }

    /// Types this; `\r` is Enter, `\x03` Ctrl+C, `\x1b[A` the arrow up.
    #[track_caller]
    pub fn type_keys(&mut self, keys: &str) {
        self.keyboard
            .write_all(keys.as_bytes())
            .expect("the terminal is there");
    }

    /// Makes the terminal this large, and the emulation with it.
    #[track_caller]
    pub fn resize(&mut self, columns: u16, rows: u16) {
        // The emulation first: what the program draws for the new size is not to meet the old one.
        self.seen().emulation.resize(columns, rows);
        self.terminal
            .resize(size(columns, rows))
            .expect("the terminal is there");
    }

    /// What stands on the screen, a line for each row, without blanks at their ends.
    pub fn text(&self) -> String {
        self.seen().emulation.text()
    }

    /// What has scrolled out of the screen and what stands on it, as [`Emulation::all_rows`] has it.
    pub fn all_rows(&self) -> Vec<String> {
        self.seen().emulation.all_rows()
    }

    /// Everything that was written to the terminal, as it came.
    pub fn bytes(&self) -> Vec<u8> {
        self.seen().bytes.clone()
    }

    /// Asks the emulation itself: for colours, the cursor, modes.
    pub fn look<T>(&self, ask: impl FnOnce(&vt100::Screen) -> T) -> T {
        ask(self.seen().emulation.screen())
    }

    /// What the terminal was asked for besides to show something, each thing once.
    pub fn asked(&self) -> BTreeSet<String> {
        self.seen().emulation.asked().clone()
    }

    /// The modes of the terminal line, as `stty -g` would have them.
    pub fn modes(&self) -> String {
        format!("{:?}", self.terminal.get_termios())
    }

    /// Waits until `found` finds something in the screen's text.
    #[track_caller]
    pub fn wait<T>(&self, what: &str, mut found: impl FnMut(&str) -> Option<T>) -> T {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let text = self.text();
            if let Some(found) = found(&text) {
                return found;
            }
            assert!(
                Instant::now() < deadline,
                "waited in vain for {what}; the screen:\n{text}"
            );
            thread::sleep(LOOK);
        }
    }

    /// Waits until the screen has `part` in one of its rows.
    #[track_caller]
    pub fn expect(&self, part: &str) {
        self.wait(&format!("{part:?}"), |text| {
            text.contains(part).then_some(())
        });
    }

    /// Waits until no row of the screen has `part`.
    #[track_caller]
    pub fn expect_gone(&self, part: &str) {
        self.wait(&format!("the end of {part:?}"), |text| {
            (!text.contains(part)).then_some(())
        });
    }

    /// Waits until the screen is exactly this. What differs in every run is taken out by `timeless` before.
    #[track_caller]
    pub fn expect_screen(&self, expected: &str, timeless: impl Fn(&str) -> String) {
        let expected = expected.trim_matches('\n');
        self.wait(&format!("this screen:\n{expected}\n"), |text| {
            (timeless(text).trim_end_matches('\n') == expected).then_some(())
        });
    }

    /// Waits until the program has ended.
    #[track_caller]
    pub fn end(&mut self) -> ExitStatus {
        let deadline = Instant::now() + DEADLINE;
        loop {
            if let Some(status) = self.child.try_wait().expect("it can be waited for") {
                return status;
            }
            assert!(
                Instant::now() < deadline,
                "it does not end; the screen:\n{}",
                self.text()
            );
            thread::sleep(LOOK);
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        if !matches!(self.child.try_wait(), Ok(Some(_))) {
            // Where it has just ended by itself, there is nothing to kill.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// How much of `bytes` a terminal shows: not the part of what is to be shown at once (DEC private mode 2026).
fn shown_at_once(bytes: &[u8]) -> usize {
    let last = |mark: &[u8]| bytes.windows(mark.len()).rposition(|part| part == mark);
    match (last(b"\x1b[?2026h"), last(b"\x1b[?2026l")) {
        (Some(begin), None) => begin,
        (Some(begin), Some(end)) if begin > end => begin,
        (Some(_) | None, Some(_) | None) => bytes.len(),
    }
}

fn size(columns: u16, rows: u16) -> PtySize {
    PtySize {
        rows,
        cols: columns,
        ..PtySize::default()
    }
}
