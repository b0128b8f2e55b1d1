//! A program on a terminal, observed through the bytes that it writes and the modes that it sets.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::process::Command;
use std::thread::{self, JoinHandle};

use portable_pty::{CommandBuilder, MasterPty, PtySize, native_pty_system};
use rustix::fs::OFlags;
use rustix::process::{Pid, kill_process};
use rustix::termios::{LocalModes, Termios, tcgetattr};

use super::{Capture, Signal, wait_until};

/// A program on a terminal of 100 columns and 24 rows, killed on drop.
pub struct Terminal {
    child: Box<dyn portable_pty::Child + Send + Sync>,
    /// Held open; the terminal closes with it.
    _master: Box<dyn MasterPty + Send>,
    keyboard: Box<dyn Write + Send>,
    /// Held open, since a terminal loses its modes when no process has it open.
    line: Option<File>,
    /// Terminal modes before the program started.
    modes: String,
    screen: Capture,
    reader: Option<JoinHandle<()>>,
    /// Length of the output that was matched already.
    seen: usize,
}

impl Terminal {
    /// Starts `command` on a new terminal.
    #[track_caller]
    pub fn run(command: &Command) -> Self {
        let size = PtySize {
            rows: 24,
            cols: 100,
            ..PtySize::default()
        };
        let pair = native_pty_system().openpty(size).expect("a terminal");
        let line = OpenOptions::new()
            .read(true)
            .custom_flags(OFlags::NOCTTY.bits().cast_signed())
            .open(pair.master.tty_name().expect("it has one"))
            .expect("it can be opened");
        let modes = format!("{:?}", tcgetattr(&line).expect("it is a terminal"));
        let child = pair
            .slave
            .spawn_command(command_builder(command))
            .expect("it starts");
        let screen = Capture::default();
        let reader = screen.start(pair.master.try_clone_reader().expect("a reader"));
        Self {
            child,
            keyboard: pair.master.take_writer().expect("a writer"),
            _master: pair.master,
            modes,
            line: Some(line),
            screen,
            reader: Some(reader),
            seen: 0,
        }
    }

    /// Presses keys: `\r` is Enter, `\x03` is Ctrl+C.
    #[track_caller]
    pub fn press(&mut self, keys: impl AsRef<[u8]>) {
        self.keyboard
            .write_all(keys.as_ref())
            .expect("the terminal is there");
    }

    #[track_caller]
    pub fn type_line(&mut self, line: &str) {
        self.press(format!("{line}\r"));
    }

    /// Waits for `part` in the output after the last match.
    #[track_caller]
    pub fn expect(&mut self, part: &str) {
        let seen = self.seen;
        let what = format!("{part:?} in the output after its first {seen} bytes");
        self.seen = self.screen.wait(&what, |text| {
            let rest = text.get(seen..)?;
            rest.find(part).map(|at| seen + at + part.len())
        });
    }

    /// All output so far.
    pub fn text(&self) -> String {
        self.screen.text()
    }

    pub fn modes(&self) -> Termios {
        let line = self.line.as_ref().expect("it has not ended");
        tcgetattr(line).expect("it is a terminal")
    }

    pub fn echoes(&self) -> bool {
        self.modes().local_modes.contains(LocalModes::ECHO)
    }

    pub fn signal(&self, signal: Signal) {
        let pid = self
            .child
            .process_id()
            .and_then(|pid| Pid::from_raw(pid.cast_signed()));
        // The child has not been waited for, so its process ID is still valid.
        kill_process(pid.expect("it runs"), signal).expect("it is ours");
    }

    /// Waits until the program exits with this code and returns all output. Checks that the
    /// terminal modes are restored.
    #[track_caller]
    pub fn exit(mut self, code: u32) -> String {
        let status = wait_until("the program has ended", || {
            self.child.try_wait().expect("it can be waited for")
        });
        assert_eq!(format!("{:?}", self.modes()), self.modes);
        self.line = None;
        // The reader ends when no process has the terminal open.
        let reader = self.reader.take().expect("it has not ended");
        reader.join().expect("it reads on");
        assert_eq!(status.exit_code(), code, "{}", self.text());
        self.text()
    }
}

/// `command` with its arguments and environment, for a pseudo-terminal.
pub(crate) fn command_builder(command: &Command) -> CommandBuilder {
    let mut builder = CommandBuilder::new(command.get_program());
    builder.args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => builder.env(name, value),
            None => builder.env_remove(name),
        }
    }
    builder
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if !matches!(self.child.try_wait(), Ok(Some(_))) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        if thread::panicking() {
            eprintln!("the screen:\n{}", self.text().escape_debug());
        }
    }
}
