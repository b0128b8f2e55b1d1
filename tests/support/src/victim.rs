//! The client whom a hostile server harms if it can: in a pipe or on a terminal, read or not.

use std::io::{Read, Write};
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use portable_pty::{CommandBuilder, PtyPair, PtySize, native_pty_system};

use crate::client::{FakeServer, chat_client};
use crate::emulation::{Emulation, controls, expect_window};
use crate::{Program, Signal, Terminal, memory, wait_until};

/// A client, by what it stands on.
pub enum Victim {
    Pipe(Program),
    Window(Terminal),
}

#[derive(Clone, Copy, Debug)]
pub enum On {
    Pipe,
    Window,
}

pub const BOTH: [On; 2] = [On::Pipe, On::Window];

impl Victim {
    #[track_caller]
    pub fn start(on: On, fake: &FakeServer) -> Self {
        match on {
            On::Pipe => Self::Pipe(fake.piped()),
            On::Window => Self::Window(Terminal::start(&[
                &fake.address(),
                "-n",
                "ala",
                "--no-reconnect",
            ])),
        }
    }

    #[track_caller]
    pub fn expect(&mut self, part: &str) {
        match self {
            Self::Pipe(program) => drop(program.expect_stdout(part)),
            Self::Window(terminal) => terminal.expect(part),
        }
    }

    /// Leaves as its user would.
    pub fn leave(&mut self) {
        match self {
            Self::Pipe(program) => program.signal(Signal::TERM),
            Self::Window(terminal) => terminal.press("\x03"),
        }
    }

    /// Waits until it has ended with this code, and gives all that it wrote, which is text: a terminal is as it was before.
    #[track_caller]
    pub fn end(self, code: u8) -> String {
        match self {
            Self::Pipe(program) => {
                let exit = program.exit().expect_code(code.into());
                let wrote = exit.stdout + &exit.stderr;
                let found = controls(wrote.replace('\n', "").as_bytes());
                assert!(found.is_empty(), "{found:?}");
                wrote
            }
            Self::Window(terminal) => {
                let wrote = terminal.exit(code.into());
                expect_window(wrote.as_bytes());
                let mut emulation = Emulation::new(100, 24);
                emulation.write(wrote.as_bytes());
                let screen = emulation.screen();
                assert!(!screen.alternate_screen());
                assert!(!screen.bracketed_paste() && !screen.hide_cursor());
                assert_eq!(screen.cursor_position().1, 0, "{}", emulation.text());
                assert_eq!(screen.fgcolor(), vt100::Color::Default);
                wrote
            }
        }
    }
}

/// A client whose conversation nobody reads, or whose reader forgets it.
pub struct Unread {
    pub child: Child,
    /// What it stands on, where that is a terminal, and its modes before.
    terminal: Option<(PtyPair, String)>,
    keyboard: Option<Box<dyn Write + Send>>,
}

impl Unread {
    #[track_caller]
    pub fn start(on: On, fake: &FakeServer) -> Self {
        let mut command = chat_client(&[&fake.address(), "-n", "ala", "--no-reconnect"]);
        match on {
            On::Pipe => Self {
                child: command
                    .stdout(Stdio::piped())
                    .stderr(Stdio::null())
                    .spawn()
                    .unwrap(),
                terminal: None,
                keyboard: None,
            },
            On::Window => {
                let pair = native_pty_system().openpty(PtySize::default()).unwrap();
                let mut builder = CommandBuilder::new(command.get_program());
                builder.args(command.get_args());
                builder.env("TERM", "xterm");
                builder.env("XDG_STATE_HOME", "/dev/null/state");
                let modes = modes(&pair);
                let child: Box<dyn portable_pty::Child> =
                    pair.slave.spawn_command(builder).unwrap();
                Self {
                    child: *child.downcast::<Child>().unwrap(),
                    keyboard: Some(pair.master.take_writer().unwrap()),
                    terminal: Some((pair, modes)),
                }
            }
        }
    }

    /// Types this on its terminal.
    pub fn press(&mut self, keys: &str) {
        let keyboard = self.keyboard.as_mut().unwrap();
        keyboard.write_all(keys.as_bytes()).unwrap();
    }

    /// Begins to read it; gives the last that it has written.
    pub fn read(&mut self) -> Arc<Mutex<Vec<u8>>> {
        let mut reader: Box<dyn Read + Send> = match &self.terminal {
            Some((pair, _)) => pair.master.try_clone_reader().unwrap(),
            None => Box::new(self.child.stdout.take().unwrap()),
        };
        let end = Arc::new(Mutex::new(Vec::new()));
        let into = Arc::clone(&end);
        thread::spawn(move || {
            let mut buffer = [0; 64 * 1024];
            while let Ok(count @ 1..) = reader.read(&mut buffer) {
                let mut end = into.lock().unwrap();
                end.extend_from_slice(&buffer[..count]);
                let old = end.len().saturating_sub(1000);
                end.drain(..old);
            }
        });
        end
    }

    /// Waits until it has ended; gives its exit code. A terminal is in the modes that it was in before.
    #[track_caller]
    pub fn end(mut self) -> Option<i32> {
        let status = wait_until("the client has ended", || self.child.try_wait().unwrap());
        if let Some((pair, before)) = &self.terminal {
            assert_eq!(modes(pair), *before);
        }
        status.code()
    }
}

fn modes(pair: &PtyPair) -> String {
    format!("{:?}", pair.master.get_termios())
}

impl Drop for Unread {
    fn drop(&mut self) {
        if !matches!(self.child.try_wait(), Ok(Some(_))) {
            // Where it has just ended by itself, there is nothing to kill.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// The most memory that a process has had so far, in KiB.
pub fn most(pid: u32) -> u64 {
    let process = procfs::process::Process::new(pid.cast_signed()).unwrap();
    memory(&process).1
}
