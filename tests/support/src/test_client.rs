//! A client under attack by a hostile server: in a pipe or on a terminal, with its output read or
//! not.

use std::io::{Read, Write};
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use portable_pty::{PtyPair, PtySize, native_pty_system};

use crate::client::{FakeServer, chat_client};
use crate::emulation::{Emulation, assert_client_output, control_sequences};
use crate::terminal::command_builder;
use crate::{Program, Signal, Terminal, memory, wait_until};

/// A running client in a pipe or on a terminal.
pub enum TestClient {
    Pipe(Program),
    Terminal(Terminal),
}

/// The kind of a client's stdout.
#[derive(Clone, Copy, Debug)]
pub enum Output {
    Pipe,
    Terminal,
}

pub const OUTPUTS: [Output; 2] = [Output::Pipe, Output::Terminal];

impl TestClient {
    #[track_caller]
    pub fn start(output: Output, fake: &FakeServer) -> Self {
        match output {
            Output::Pipe => Self::Pipe(fake.piped()),
            Output::Terminal => Self::Terminal(Terminal::start(&[
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
            Self::Terminal(terminal) => terminal.expect(part),
        }
    }

    /// Leaves as a user would: SIGTERM in a pipe, Ctrl+C on a terminal.
    pub fn leave(&mut self) {
        match self {
            Self::Pipe(program) => program.signal(Signal::TERM),
            Self::Terminal(terminal) => terminal.press("\x03"),
        }
    }

    /// Waits for exit with this code and returns the output. Checks that it contains only text and
    /// allowed control sequences, and that the terminal is restored.
    #[track_caller]
    pub fn end(self, code: u8) -> String {
        match self {
            Self::Pipe(program) => {
                let exit = program.exit().expect_code(code.into());
                let wrote = exit.stdout + &exit.stderr;
                let found = control_sequences(wrote.replace('\n', "").as_bytes());
                assert!(found.is_empty(), "{found:?}");
                wrote
            }
            Self::Terminal(terminal) => {
                let wrote = terminal.exit(code.into());
                assert_client_output(wrote.as_bytes());
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

/// A client whose output is not read, or read and dropped.
pub struct UnreadClient {
    pub child: Child,
    /// Its terminal, if any, and the modes before the client started.
    terminal: Option<(PtyPair, String)>,
    keyboard: Option<Box<dyn Write + Send>>,
}

impl UnreadClient {
    #[track_caller]
    pub fn start(output: Output, fake: &FakeServer) -> Self {
        let mut command = chat_client(&[&fake.address(), "-n", "ala", "--no-reconnect"]);
        match output {
            Output::Pipe => Self {
                child: command
                    .stdout(Stdio::piped())
                    .stderr(Stdio::null())
                    .spawn()
                    .unwrap(),
                terminal: None,
                keyboard: None,
            },
            Output::Terminal => {
                let pair = native_pty_system().openpty(PtySize::default()).unwrap();
                let modes = modes(&pair);
                let child: Box<dyn portable_pty::Child> =
                    pair.slave.spawn_command(command_builder(&command)).unwrap();
                Self {
                    child: *child.downcast::<Child>().unwrap(),
                    keyboard: Some(pair.master.take_writer().unwrap()),
                    terminal: Some((pair, modes)),
                }
            }
        }
    }

    /// Types on its terminal.
    pub fn press(&mut self, keys: &str) {
        let keyboard = self.keyboard.as_mut().unwrap();
        keyboard.write_all(keys.as_bytes()).unwrap();
    }

    /// Starts to read its output. The returned buffer holds the last 1000 bytes of it.
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

    /// Waits for exit and returns the exit code. Checks that the terminal modes are restored.
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

impl Drop for UnreadClient {
    fn drop(&mut self) {
        if !matches!(self.child.try_wait(), Ok(Some(_))) {
            // It may have exited since.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Peak memory of a process so far, in KiB.
pub fn peak_memory(pid: u32) -> u64 {
    let process = procfs::process::Process::new(pid.cast_signed()).unwrap();
    memory(&process).1
}
