//! A program on a terminal, by the bytes that it writes and the modes that it sets.

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

/// A program on a terminal of its own, 24 lines of 100 columns. It is killed when this is dropped.
pub struct Terminal {
    child: Box<dyn portable_pty::Child + Send + Sync>,
    /// Its end is the terminal's.
    _master: Box<dyn MasterPty + Send>,
    keyboard: Box<dyn Write + Send>,
    /// Held open, as the modes of a terminal that nobody holds are forgotten.
    line: Option<File>,
    /// The modes that it was in before.
    modes: String,
    screen: Capture,
    reader: Option<JoinHandle<()>>,
    /// How much of the screen's text was expected already.
    seen: usize,
}

impl Terminal {
    /// Starts `template` on a new terminal.
    #[track_caller]
    pub fn run(template: &Command) -> Self {
        let size = PtySize {
            rows: 24,
            cols: 100,
            ..PtySize::default()
        };
        let pair = native_pty_system().openpty(size).expect("a terminal");
        let mut command = CommandBuilder::new(template.get_program());
        command.args(template.get_args());
        for (name, value) in template.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            }
        }
        let line = OpenOptions::new()
            .read(true)
            .custom_flags(OFlags::NOCTTY.bits().cast_signed())
            .open(pair.master.tty_name().expect("it has one"))
            .expect("it can be opened");
        let modes = format!("{:?}", tcgetattr(&line).expect("it is a terminal"));
        let child = pair.slave.spawn_command(command).expect("it starts");
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

    /// Presses keys; `\r` is Enter, `\x03` Ctrl+C.
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

    /// Waits until `part` comes to the screen, after what was expected before.
    #[track_caller]
    pub fn expect(&mut self, part: &str) {
        let seen = self.seen;
        let what = format!("{part:?} on the screen after its first {seen} bytes");
        self.seen = self.screen.wait(&what, |text| {
            let rest = text.get(seen..)?;
            rest.find(part).map(|at| seen + at + part.len())
        });
    }

    /// All that came to the screen.
    pub fn text(&self) -> String {
        self.screen.text()
    }

    pub fn modes(&self) -> Termios {
        let line = self.line.as_ref().expect("it has not ended");
        tcgetattr(line).expect("it is a terminal")
    }

    /// Whether what is typed shows.
    pub fn echoes(&self) -> bool {
        self.modes().local_modes.contains(LocalModes::ECHO)
    }

    pub fn signal(&self, signal: Signal) {
        let pid = self
            .child
            .process_id()
            .and_then(|pid| Pid::from_raw(pid.cast_signed()));
        // It was not waited for, so the id is still its own.
        kill_process(pid.expect("it runs"), signal).expect("it is ours");
    }

    /// Waits until the program has ended with this code, and gives all that came to the screen. The terminal is in the modes that it
    /// was in before.
    #[track_caller]
    pub fn exit(mut self, code: u32) -> String {
        let status = wait_until("the program has ended", || {
            self.child.try_wait().expect("it can be waited for")
        });
        assert_eq!(format!("{:?}", self.modes()), self.modes);
        self.line = None;
        // With nobody on the terminal, its reader ends.
        let reader = self.reader.take().expect("it has not ended");
        reader.join().expect("it reads on");
        assert_eq!(status.exit_code(), code, "{}", self.text());
        self.text()
    }
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
